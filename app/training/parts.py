"""Parts of the form: a choice with a menu, and a field with its name over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QActionGroup, QCursor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from app.icons import icon
from app.theme import STEP
from app.widgets import Segments, label


@dataclass(frozen=True)
class Entry:
    """One thing to choose: its value, its name, and what it is in a few words and at length."""

    value: str
    name: str
    words: str = ""
    tip: str = ""


class Choice(QPushButton):
    """One of several things by name, chosen from a menu; a name that is too long loses its middle."""

    picked = Signal(str)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.setProperty("kind", "choice")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        menu = QMenu(self)
        menu.aboutToHide.connect(lambda: QTimer.singleShot(0, self, self._look_for_pointer))
        self.setMenu(menu)
        self._value = self._title = ""

    def set_entries(
        self,
        groups: Sequence[tuple[str, Sequence[Entry]]],
        other: tuple[str, Callable[[], object]] | None = None,
    ) -> None:
        """Offer groups under their headings, and something else below a line."""
        menu = self.menu()
        assert menu is not None
        menu.clear()
        menu.setToolTipsVisible(True)
        group = QActionGroup(menu)
        for heading, entries in groups:
            if menu.actions():
                menu.addSeparator()
            menu.addAction(heading).setEnabled(False)
            for entry in entries:
                action = menu.addAction(f"{entry.name}\t{entry.words}")
                action.setCheckable(True)
                action.setChecked(entry.value == self._value)
                action.setData(entry.value)
                action.setToolTip(entry.tip)
                group.addAction(action)
                action.triggered.connect(lambda _=False, v=entry.value: self.picked.emit(v))
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

    def _look_for_pointer(self) -> None:
        """A menu that closes elsewhere does not tell the button that the pointer has left it."""
        here = self.rect().contains(self.mapFromGlobal(QCursor.pos()))
        self.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, here)
        self.update()

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
