"""The page of curves: loss, recall, learning rate, throughput, waiting and memory of one run or of several."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QScrollArea, QSizePolicy, QWidget

from app.theme import STEP
from app.training.events import Series
from app.training.plots import CurveCard, Line, plain, scientific
from app.training.runs import Run, State
from app.training.words import gigabytes, percent, query_name

TWO_FROM, THREE_FROM = 620, 1180  # pixels of width from which cards stand two and three in a row
CARD_MIN = 142
MEMORY_KEYS = ("memory_bytes", "memory")


class Curves(QScrollArea):
    """Six cards under one cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(self.tr("Curves"))
        share: Callable[[float, float], str] = lambda v, s: plain(100 * v, 100 * s)  # noqa: E731
        self.loss = CurveCard(self.tr("Loss"), lambda v: f"{v:.3f}", plain)
        self.recall = CurveCard(self.tr("Recall, %"), percent, share, bottom=0.0, top=1.0)
        self.rate = CurveCard(
            self.tr("Learning rate"), lambda v: f"{v:.2e}" if v else "0", scientific, bottom=0.0
        )
        self.speed = CurveCard(self.tr("Pairs a second"), lambda v: f"{v:,.1f}", plain, bottom=0.0)
        self.waiting = CurveCard(
            self.tr("Waiting for data, %"), percent, share, bottom=0.0, top=1.0
        )
        self.memory = CurveCard(
            self.tr("Memory, GB"), gigabytes, lambda v, s: plain(v / 1e9, s / 1e9), bottom=0.0
        )
        self.waiting.setToolTip(
            self.tr("Share of the time that the network waits for batches. Near 0 is good.")
        )
        self.recall.setToolTip(
            self.tr("By field of view of the photo, and whether its heading is known")
        )
        self.cards = (self.loss, self.recall, self.rate, self.speed, self.waiting, self.memory)
        inside = QWidget()
        self._grid = QGridLayout(inside)
        self._grid.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 3 * STEP)
        self._grid.setSpacing(2 * STEP)
        for card in self.cards:
            card.setMinimumHeight(CARD_MIN)
            card.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
            card.pointed.connect(self._point)
        self.setWidget(inside)
        self._columns = 0
        self._arrange()

    def show_runs(self, runs: list[Run]) -> None:
        """Draw the first run's curves, with those of the others beside them."""
        several = len(runs) > 1
        span = _span(runs)
        for card, keys, noisy in (
            (self.loss, ("loss",), True),
            (self.rate, ("lr",), False),
            (self.speed, ("pairs_per_second",), True),
            (self.waiting, ("waiting",), True),
            (self.memory, MEMORY_KEYS, False),
        ):
            lines = [_line(run, keys, noisy) for run in runs]
            card.show_lines(lines, named=several, span=span)
        if several:
            recalls = [_recall_line(run.name, run.story.mean_recall()) for run in runs]
            self.recall.show_lines(recalls, named=True, span=span)
        else:
            recalls = _recalls(runs[0]) if runs else []
            self.recall.show_lines(recalls, named=True, span=span)
        self._say_empty(runs[0] if runs else None)

    def _say_empty(self, run: Run | None) -> None:
        waiting = run is not None and run.live
        nothing = self.tr("The first numbers come after some steps.")
        if run is not None and run.state == State.DATA:
            nothing = self.tr("The data is being rendered; training starts after that.")
        elif not waiting:
            nothing = self.tr("This run told nothing.")
        for card in self.cards:
            card.say_empty(nothing)
        self.recall.say_empty(
            self.tr("Comes with the first validation.")
            if waiting
            else self.tr("No validation yet.")
        )

    def _point(self, step: float | None) -> None:
        for card in self.cards:
            card.point(step)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        wide = self.viewport().width()
        columns = 3 if wide >= THREE_FROM else 2 if wide >= TWO_FROM else 1
        if columns == self._columns:
            return
        self._columns = columns
        for at, card in enumerate(self.cards):
            self._grid.addWidget(card, at // columns, at % columns)
        for row in range(len(self.cards)):
            self._grid.setRowStretch(row, 1 if row * columns < len(self.cards) else 0)
        for column in range(3):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)


def _span(runs: list[Run]) -> tuple[float, float] | None:
    """The first and the last step that any quantity was told at."""
    told = [series.steps for run in runs for series in run.story.series.values() if series.steps]
    if not told:
        return None
    return float(min(steps[0] for steps in told)), float(max(steps[-1] for steps in told))


def _line(run: Run, keys: tuple[str, ...], noisy: bool) -> Line:
    series = next((run.story.series[key] for key in keys if key in run.story.series), Series())
    return Line(run.name, series.steps, series.values, noisy=noisy)


def _recalls(run: Run) -> list[Line]:
    """The first measure of every kind of query."""
    firsts: dict[str, tuple[str, Series]] = {}
    for key, series in run.story.recalls.items():
        query, _, metric = key.rpartition(" ")
        firsts.setdefault(query, (metric, series))
    metrics = {metric for metric, _ in firsts.values()}
    return [
        _recall_line(
            query_name(query) if len(metrics) == 1 else f"{query_name(query)}, {metric}", series
        )
        for query, (metric, series) in firsts.items()
    ]


def _recall_line(name: str, series: Series) -> Line:
    return Line(name, series.steps, series.values, dots=True)
