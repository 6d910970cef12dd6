"""Parts of the form: a choice with a menu, and a field with its name over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QActionGroup, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app.icons import icon
from app.theme import STEP
from app.widgets import Segments, label


class Choice(QPushButton):
    """One of several things by name, chosen from a menu; a name that is too long loses its middle."""

    picked = Signal(str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.setProperty("kind", "choice")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMenu(QMenu(self))
        self._value = self._title = ""

    def set_entries(
        self,
        entries: Sequence[tuple[str, str, str]],
        other: tuple[str, Callable[[], object]] | None = None,
    ) -> None:
        """Offer (value, title, tip), and something else below a line."""
        menu = self.menu()
        assert menu is not None
        menu.clear()
        menu.setToolTipsVisible(True)
        group = QActionGroup(menu)
        for value, title, tip in entries:
            action = menu.addAction(title)
            action.setCheckable(True)
            action.setChecked(value == self._value)
            action.setData(value)
            action.setToolTip(tip)
            group.addAction(action)
            action.triggered.connect(lambda _=False, value=value: self.picked.emit(value))
        if other is not None:
            menu.addSeparator()
            menu.addAction(icon("open"), other[0]).triggered.connect(lambda _=False: other[1]())

    def show_entry(self, value: str, title: str) -> None:
        """What is chosen now."""
        self._value = value
        self._title = title
        self._fit()
        self.setAccessibleName(f"{self._name}: {title}")
        menu = self.menu()
        for action in menu.actions() if menu is not None else ():
            if action.isCheckable():
                action.setChecked(action.data() == value)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = max(24, self.width() - 12 * STEP)
        shown = self.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideMiddle, room)
        # The style gives a button that has a menu no room on its left.
        if (padded := f"  {shown}") != self.text():
            self.setText(padded)


class Field(QWidget):
    """A name, and under it what is asked."""

    def __init__(self, name: str, *parts: QWidget) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(STEP)
        column.addWidget(label(name, size="small", muted=True))
        for part in parts:
            if isinstance(part, Segments):
                row = QHBoxLayout()
                row.addWidget(part)
                row.addStretch(1)
                column.addLayout(row)
            else:
                column.addWidget(part)
