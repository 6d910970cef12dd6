"""The rail: the workspaces, and the settings at its foot. Workspaces that do not exist yet have no button."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QFrame, QToolButton, QVBoxLayout

from app.icons import icon
from app.theme import STEP

WIDTH = 68  # at least; words may need more
NARROW = 48


class Rail(QFrame):
    """Buttons for what the window can show."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("place", "chrome")
        self.setProperty("line", "right")
        self.locate = self._button(self.tr("Locate"), "locate", checkable=True)
        self.locate.setChecked(True)
        self.locate.clicked.connect(lambda: self.locate.setChecked(True))
        self.settings = self._button(self.tr("Settings"), "settings", checkable=False)
        column = QVBoxLayout(self)
        column.setContentsMargins(STEP, 2 * STEP, STEP, 2 * STEP)
        column.setSpacing(STEP)
        column.addWidget(self.locate)
        column.addStretch(1)
        column.addWidget(self.settings)
        self.set_words(True)

    def set_words(self, shown: bool) -> None:
        """Words under the icons, or icons alone."""
        style = Qt.ToolButtonStyle
        for button in (self.locate, self.settings):
            button.setToolButtonStyle(
                style.ToolButtonTextUnderIcon if shown else style.ToolButtonIconOnly
            )
        wide = max(button.sizeHint().width() for button in (self.locate, self.settings))
        self.setFixedWidth(max(WIDTH, wide + 2 * STEP + 2) if shown else NARROW)

    def _button(self, text: str, icon_name: str, *, checkable: bool) -> QToolButton:
        button = QToolButton()
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
