"""The log of a run, and its recipe beside those of others."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.theme import STEP, scaled_font
from app.training.events import LOG_LINES
from app.training.runs import Run, differences, flatten
from app.widgets import label


class Log(QPlainTextEdit):
    """What the trainer said, word for word, and the end of its standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setProperty("kind", "log")
        self.setAccessibleName(self.tr("Log"))
        self.setMaximumBlockCount(LOG_LINES + 100)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setPlaceholderText(self.tr("What the trainer says appears here."))
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setPointSizeF(scaled_font(self, "small").pointSizeF())
        self.setFont(font)
        self._run: Run | None = None
        self._logged = 0
        self._errors = ""

    def show_run(self, run: Run) -> None:
        """Add what is new; who has scrolled up stays there."""
        story = run.story
        if run is not self._run or story.logged < self._logged:
            self.clear()
            self._run, self._logged, self._errors = run, 0, ""
        fresh = story.logged - self._logged
        if fresh:
            lines = list(story.log)[-fresh:]
            self._append("\n".join(lines))
            self._logged = story.logged
        if run.errors != self._errors:
            self._errors = run.errors
            if run.errors:
                self._append(f"\n{run.errors}")

    def _append(self, text: str) -> None:
        bar = self.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        self.appendPlainText(text)
        if at_end:
            bar.setValue(bar.maximum())
            self.horizontalScrollBar().setValue(0)


class RecipeTable(QWidget):
    """The recipe of one run; of several, only where they differ."""

    def __init__(self) -> None:
        super().__init__()
        self.words = label(muted=True, wrap=True)
        self.table = QTableWidget()
        self.table.setAccessibleName(self.tr("Recipe"))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ContiguousSelection)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(False)
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.setTabKeyNavigation(False)
        header = self.table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 2 * STEP)
        column.setSpacing(2 * STEP)
        column.addWidget(self.words)
        column.addWidget(self.table, 1)
        self._shown: list[tuple[str, list[Any]]] | None = None
        self._names: list[str] = []

    def show_runs(self, runs: list[Run]) -> None:
        """One run: its recipe. Several: what is different."""
        recipes = [run.story.recipe for run in runs]
        names = [run.name for run in runs]
        if len(runs) == 1:
            rows = [(key, [value]) for key, value in flatten(recipes[0]).items()]
            words = "" if rows else self.tr("The trainer has not told its recipe yet.")
        else:
            rows = differences(recipes)
            words = self.tr("Where the recipes differ.")
            if not rows:
                words = self.tr("These runs have the same recipe.")
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.table.setVisible(bool(rows))
        if rows == self._shown and names == self._names:
            return
        self._shown, self._names = rows, names
        self.table.clear()
        self.table.setRowCount(len(rows))
        self.table.setColumnCount(1 + len(runs))
        titles = [self.tr("Key"), *(names if len(runs) > 1 else [self.tr("Value")])]
        self.table.setHorizontalHeaderLabels(titles)
        for at, (key, values) in enumerate(rows):
            for column, value in enumerate([key, *map(_written, values)]):
                item = QTableWidgetItem(value)
                item.setToolTip(value)
                self.table.setItem(at, column, item)
        self.table.resizeColumnToContents(0)
        header = self.table.horizontalHeader()
        for column in range(1, 1 + len(runs)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)


def _written(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
