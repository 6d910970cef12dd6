"""The rail: the workspaces, and the settings at its foot. Workspaces that do not exist yet have no button."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton, QVBoxLayout

from app.icons import icon
from app.theme import STEP, tokens_of

WIDTH = 68  # at least; words may need more
NARROW = 48


LOCATE, LIBRARY, TRAIN = "locate", "library", "train"


class RailButton(QToolButton):
    """A workspace's button; a dot says that something is at work there."""

    def __init__(self) -> None:
        super().__init__()
        self._busy = False

    def set_busy(self, busy: bool, words: str) -> None:
        """Show or hide the dot."""
        if busy != self._busy:
            self._busy = busy
            self.setToolTip(words)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._busy:
            return
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(tokens.colour("window"), 2))
        painter.setBrush(tokens.colour("accent"))
        painter.drawEllipse(QPointF(self.width() / 2 + 11, 11), 5, 5)
        painter.end()


class Rail(QFrame):
    """Buttons for what the window can show."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("place", "chrome")
        self.setProperty("line", "right")
        self.locate = self._button(self.tr("Locate"), "locate", checkable=True)
        self.library = self._button(self.tr("Library"), "library", checkable=True)
        self.train = self._button(self.tr("Train"), "train", checkable=True)
        self._group = QButtonGroup(self)
        self._workspaces = {LOCATE: self.locate, LIBRARY: self.library, TRAIN: self.train}
        for value, button in self._workspaces.items():
            self._group.addButton(button)
            button.clicked.connect(lambda _=False, value=value: self.chosen.emit(value))
        self.locate.setChecked(True)
        self.settings = self._button(self.tr("Settings"), "settings", checkable=False)
        column = QVBoxLayout(self)
        column.setContentsMargins(STEP, 2 * STEP, STEP, 2 * STEP)
        column.setSpacing(STEP)
        for button in self._workspaces.values():
            column.addWidget(button)
        column.addStretch(1)
        column.addWidget(self.settings)
        self.set_words(True)

    def show_chosen(self, value: str) -> None:
        """Mark a workspace without telling anybody."""
        self._workspaces[value].setChecked(True)

    def set_words(self, shown: bool) -> None:
        """Words under the icons, or icons alone."""
        style = Qt.ToolButtonStyle
        buttons = (*self._workspaces.values(), self.settings)
        for button in buttons:
            button.setToolButtonStyle(
                style.ToolButtonTextUnderIcon if shown else style.ToolButtonIconOnly
            )
        wide = max(button.sizeHint().width() for button in buttons)
        self.setFixedWidth(max(WIDTH, wide + 2 * STEP + 2) if shown else NARROW)

    def _button(self, text: str, icon_name: str, *, checkable: bool) -> RailButton:
        button = RailButton()
        button.setProperty("kind", "rail")
        button.setText(text)
        button.setIcon(icon(icon_name))
        button.setIconSize(QSize(22, 22))
        button.setCheckable(checkable)
        button.setToolTip(text)
        button.setAccessibleName(text)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        policy = button.sizePolicy()
        policy.setHorizontalPolicy(policy.Policy.Expanding)
        button.setSizePolicy(policy)
        return button
