"""A card that reads like a page: what an index or an encoder is, where it comes from, how it was checked."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QFont, QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.library.sections import Row, Section, Table
from app.theme import STEP
from app.widgets import Elided, ElidedButton, label, rule

LONG = 24  # characters without a space that no line would hold: such texts get a line that scrolls
NAME_WIDTH = 96
LONG_NAME = 20  # characters of a name that is cut in its middle


class Card(QWidget):
    """Sections under each other; all of their texts can be selected and copied."""

    link_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[Section] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)

    def show_sections(self, sections: Sequence[Section]) -> None:
        """Show these; nothing is made anew where they are the same."""
        if list(sections) == self._shown:
            return
        self._shown = list(sections)
        while self._column.count():
            item = self._column.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.setParent(None)
                widget.deleteLater()
        for section in sections:
            self._column.addWidget(self._section(section))
        self._column.addStretch(1)

    def _section(self, section: Section) -> QWidget:
        held = QWidget()
        column = QVBoxLayout(held)
        column.setContentsMargins(0, 3 * STEP, 0, 2 * STEP)
        column.setSpacing(2 * STEP)
        column.addWidget(rule())
        heading = Elided(section.title)
        heading.setProperty("weight", "bold")
        heading.setContentsMargins(0, STEP, 0, 0)
        column.addWidget(heading)
        if section.rows:
            column.addLayout(self._rows(section.rows))
        for text in section.texts:
            column.addWidget(label(text, wrap=True, selectable=True))
        for table in section.tables:
            column.addWidget(label(table.caption, size="small", muted=True, wrap=True))
            column.addWidget(_table(table))
        return held

    def _rows(self, rows: Sequence[Row]) -> QGridLayout:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(3 * STEP)
        grid.setVerticalSpacing(STEP)
        grid.setColumnMinimumWidth(0, NAME_WIDTH)
        grid.setColumnStretch(1, 1)
        top = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        for at, row in enumerate(rows):
            name = label(row.name, muted=True)
            if len(row.name) > LONG_NAME:
                name = Elided(row.name)
                name.setProperty("tone", "muted")
                name.setFixedWidth(NAME_WIDTH + 8 * STEP)
            if row.link and row.name:
                grid.addWidget(name, at, 0, top)
                grid.addWidget(self._link(row), at, 1, Qt.AlignmentFlag.AlignLeft)
                continue
            grid.addWidget(name, at, 0, top)
            grid.addWidget(_value(row), at, 1)
        return grid

    def _link(self, row: Row) -> ElidedButton:
        button = _Link()
        button.set_whole(row.text)
        button.setToolTip(row.text)
        button.setProperty("kind", "link")
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setAccessibleName(f"{row.name}: {row.text}")
        button.clicked.connect(lambda _=False: self.link_asked.emit(row.link))
        return button


class _Link(ElidedButton):
    """As wide as its text, for its column to begin where the others do."""

    MARGINS = 0

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self.toolTip()) + 4  # parts of pixels add up
        return QSize(width, super().sizeHint().height())


class _LongLine(QLineEdit):
    """A text that may be longer than its line: it loses its middle until somebody is in it, to select and copy."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._whole = text
        self.setReadOnly(True)
        self.setAccessibleDescription(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.setText(self._whole)
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        if (
            event.reason() != Qt.FocusReason.PopupFocusReason
        ):  # its own menu copies what is selected
            self._fit()

    def _fit(self) -> None:
        if self.hasFocus():
            return
        room = self.contentsRect().width() - 2 * STEP
        middle = Qt.TextElideMode.ElideMiddle
        self.setText(self.fontMetrics().elidedText(self._whole, middle, max(room, 6 * STEP)))
        self.setCursorPosition(0)


def _value(row: Row) -> QWidget:
    if max(map(len, row.text.split()), default=0) >= LONG:
        line = _LongLine(row.text)
        line.setTextMargins(-3, 0, 0, 0)
        line.setAccessibleName(row.name)
        line.setProperty("kind", "text")
        line.setToolTip(row.text)
        line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        return line
    text = label(row.text, wrap=True, selectable=True)
    if row.bad:
        text.setProperty("tone", "error")
    return text


def _table(table: Table) -> QFrame:
    frame = QFrame()
    grid = QGridLayout(frame)
    grid.setContentsMargins(0, 0, 0, STEP)
    grid.setHorizontalSpacing(3 * STEP)
    grid.setVerticalSpacing(STEP)
    grid.setColumnStretch(0, 1)
    for column, heading in enumerate(table.headings):
        grid.addWidget(_cell(heading, column, muted=True), 0, column)
    for at, row in enumerate(table.rows, 1):
        for column, text in enumerate(row):
            grid.addWidget(_cell(text, column), at, column)
    return frame


def _cell(text: str, column: int, *, muted: bool = False) -> QLabel:
    made = label(text, size="small", muted=muted, wrap=column == 0 or muted, selectable=not muted)
    if column:
        made.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        font = QFont(made.font())
        font.setFeature(QFont.Tag("tnum"), 1)
        made.setFont(font)
    return made
