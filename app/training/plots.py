"""Live curves: one card a quantity, one cursor through all of them.

Axes are drawn in the theme's colours with round numbers; a card without numbers says what it waits for. Raw loss is
noisy, so it lies faint behind its own moving average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme import STEP, Tokens, scaled_font, tokens_of
from app.widgets import label

# Apart for colour-blind eyes too (after Okabe and Ito); the first is the accent.
LIGHT_LINES = ("#0b62c4", "#c4570a", "#0c8a63", "#9b3f86", "#8a6d00", "#4a4a52")
DARK_LINES = ("#62aeff", "#ffa45c", "#45cf9d", "#e48fd2", "#e6cc4e", "#c8c8d0")
DASHES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
)
SMOOTH_FROM = 40  # points from which a noisy curve is smoothed
AXIS_WIDTH = 52
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """One curve: its name, its points, and whether it is noise to be smoothed."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    noisy: bool = False
    dots: bool = False


def line_colour(tokens: Tokens, number: int) -> QColor:
    """The colour of the n-th curve."""
    colours = DARK_LINES if tokens.dark else LIGHT_LINES
    return QColor(colours[number % len(colours)])


def smooth(values: Numbers) -> Numbers:
    """A moving average that looks back over a fortieth of the curve, at least 5 points; ``values`` [N]."""
    width = max(5, len(values) // 40)
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


class _Axis(pg.AxisItem):
    """An axis whose numbers are written by a function."""

    def __init__(self, orientation: str, words: Callable[[float, float], str]) -> None:
        super().__init__(orientation)
        self._words = words
        self.enableAutoSIPrefix(False)

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [self._words(value, spacing) for value in values]


def step_words(value: float, spacing: float) -> str:
    """A step on an axis: 500, 2k, 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size and spacing >= size / 10:
            return f"{value / size:g}{unit}"
    return f"{value:g}" if value == int(value) else ""


def plain(value: float, spacing: float) -> str:
    """A number with as many decimals as its neighbours need."""
    decimals = max(0, min(6, -math.floor(math.log10(spacing)))) if spacing > 0 else 2
    return f"{value:,.{decimals}f}"


def scientific(value: float, spacing: float) -> str:
    """A small number: 1e-3."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    return f"{value / 10**exponent:.3g}e{exponent}"


class Legend(QWidget):
    """Names of curves with a piece of their line and a value, in as many rows as they need."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[str, str]] = []
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def set_entries(self, entries: list[tuple[str, str]]) -> None:
        """Show (name, value) of every curve."""
        if entries != self._entries:
            moved = [name for name, _ in entries] != [name for name, _ in self._entries]
            self._entries = entries
            self.setAccessibleName("; ".join(f"{name} {value}".strip() for name, value in entries))
            self.setVisible(bool(entries))
            if moved:
                self.updateGeometry()
            self.update()

    def _rows(self, width: int) -> list[list[tuple[int, float, str, str]]]:
        """Rows of (number, x, name, value)."""
        metrics = QFontMetrics(scaled_font(self, "small"))
        room = metrics.horizontalAdvance("000.0 %")
        rows: list[list[tuple[int, float, str, str]]] = [[]]
        x = 0.0
        for number, (name, value) in enumerate(self._entries):
            shown = metrics.elidedText(
                name, Qt.TextElideMode.ElideMiddle, max(60, width - room - 40)
            )
            needed = max(room, metrics.horizontalAdvance(value))
            wide = 20 + metrics.horizontalAdvance(shown) + 6 + needed + 10
            if rows[-1] and x + wide > width:
                rows.append([])
                x = 0.0
            rows[-1].append((number, x, shown, value))
            x += wide
        return rows

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        line = QFontMetrics(scaled_font(self, "small")).height() + 2
        return len(self._rows(width)) * line if self._entries else 0

    def sizeHint(self) -> QSize:
        return QSize(120, self.heightForWidth(max(120, self.width())))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.updateGeometry()

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(scaled_font(self, "small"))
        metrics = painter.fontMetrics()
        line = metrics.height() + 2
        for at, row in enumerate(self._rows(self.width())):
            top = at * line
            for number, x, name, value in row:
                pen = QPen(line_colour(tokens, number), 2, DASHES[number % len(DASHES)])
                painter.setPen(pen)
                middle = top + line / 2
                painter.drawLine(QPointF(x, middle), QPointF(x + 14, middle))
                painter.setPen(tokens.colour("muted"))
                painter.drawText(QPointF(x + 20, top + metrics.ascent() + 1), name)
                if value:
                    painter.setPen(tokens.colour("text"))
                    left = x + 26 + metrics.horizontalAdvance(name)
                    painter.drawText(QPointF(left, top + metrics.ascent() + 1), value)
        painter.end()


class _Plot(pg.PlotWidget):
    """A plot that tells where the cursor is and does nothing else with the mouse."""

    moved = Signal(QPointF)
    left = Signal()

    def __init__(self, item: pg.PlotItem) -> None:
        super().__init__(plotItem=item)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMinimumHeight(80)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMouseTracking(True)

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        self.moved.emit(self.mapToScene(ev.position().toPoint()))

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        ev.ignore()

    def mouseReleaseEvent(self, ev: QMouseEvent) -> None:
        ev.ignore()

    def wheelEvent(self, ev: QWheelEvent) -> None:
        ev.ignore()  # the page under it scrolls

    def leaveEvent(self, ev: QEvent) -> None:
        super().leaveEvent(ev)
        self.left.emit()


class CurveCard(QFrame):
    """One quantity by step.

    Args:
        title: what it is.
        words: a value in words, for the readout.
        axis: a value on the axis, given the distance between ticks.
        bottom: the axis starts there; None: where the values do.
        top: and ends there at most.
    """

    pointed = Signal(object)  # the step under the cursor, or None

    def __init__(
        self,
        title: str,
        words: Callable[[float], str],
        axis: Callable[[float, float], str],
        *,
        bottom: float | None = None,
        top: float | None = None,
    ) -> None:
        self._ready = False  # the style tells of changes while this is being made
        super().__init__()
        self.setProperty("place", "raised")
        self.title = title
        self._words = words
        self._bottom, self._top = bottom, top
        self._lines: list[tuple[str, Numbers, Numbers]] = []
        self._drawn: list[Numbers] = []  # the values on the screen, faint ones included
        self._given: list[Line] = []
        self._span: tuple[float, float] | None = None
        self._at: float | None = None
        self._dressed: Tokens | None = None
        self._named = False
        heading = label(title, bold=True)
        self.value = label(muted=True)
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.legend = Legend()
        self.legend.hide()
        axes: dict[str, pg.AxisItem] = {}
        axes["left"], axes["bottom"] = _Axis("left", axis), _Axis("bottom", step_words)
        item = self._item = pg.PlotItem(axisItems=axes)
        self.plot = _Plot(item)
        self.plot.setAccessibleName(title)
        item.hideButtons()
        item.setMenuEnabled(False)
        item.setContentsMargins(0, 4, 14, 0)  # half of the last number stands beyond the axis
        item.setDownsampling(auto=True, mode="peak")
        item.setClipToView(True)
        self._box = item.getViewBox()
        self._box.setMouseEnabled(x=False, y=False)
        item.getAxis("left").setWidth(AXIS_WIDTH)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.hide()
        item.addItem(self._cursor, ignoreBounds=True)
        self._empty = label(muted=True, wrap=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setParent(self.plot)
        self._curves: list[pg.PlotDataItem] = []
        self.plot.moved.connect(self._moved)
        self.plot.left.connect(lambda: self.pointed.emit(None))
        head = QHBoxLayout()
        head.addWidget(heading)
        head.addWidget(self.value, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(3 * STEP, 2 * STEP, 2 * STEP, STEP)
        column.setSpacing(STEP)
        column.addLayout(head)
        column.addWidget(self.legend)
        column.addWidget(self.plot, 1)
        self._ready = True
        self.dress()

    def say_empty(self, text: str) -> None:
        """What is said while there is no number."""
        self._empty.setText(text)
        self._place_empty()

    def dress(self) -> None:
        """Take the theme's colours."""
        tokens = tokens_of(self)
        if tokens is self._dressed:
            return
        self._dressed = tokens
        self.plot.setBackground(tokens.colour("raised"))
        for side in ("left", "bottom"):
            axis = self._item.getAxis(side)
            axis.setPen(pg.mkPen(tokens.colour("line_strong"), width=1))
            axis.setTextPen(pg.mkPen(tokens.colour("muted")))
            axis.setStyle(
                tickFont=scaled_font(self, "small"),
                tickLength=-4,
                tickTextOffset=4,
                maxTickLevel=0,
                hideOverlappingLabels=16,
            )
        self._item.showGrid(x=False, y=True, alpha=0.16)
        self._cursor.setPen(pg.mkPen(tokens.colour("line_strong"), width=1))
        self.show_lines(self._given, named=self._named, span=self._span)

    def show_lines(
        self, lines: list[Line], *, named: bool, span: tuple[float, float] | None = None
    ) -> None:
        """Draw curves.

        Args:
            lines: what to draw.
            named: puts a legend over them; else there is one, and the title names it.
            span: the steps that the axis covers, so that cards beside each other agree; None: those of the curves.
        """
        tokens = self._dressed or tokens_of(self)
        self._given, self._named, self._span = lines, named, span
        for curve in self._curves:
            self._item.removeItem(curve)
        self._curves, self._lines, self._drawn = [], [], []
        for number, line in enumerate(lines):
            steps = np.asarray(line.steps, np.float64)
            values = np.asarray(line.values, np.float64)
            colour = line_colour(tokens, number)
            if line.noisy and len(values) >= SMOOTH_FROM:
                if len(lines) == 1:
                    faint = QColor(colour)
                    faint.setAlpha(80)
                    self._draw(steps, values, pg.mkPen(faint, width=1), depth=number)
                    self._drawn.append(values)
                values = smooth(values)
            pen = pg.mkPen(colour, width=2, style=DASHES[number % len(DASHES)])
            dots = (line.dots and len(values) <= 60) or len(values) == 1
            self._draw(steps, values, pen, colour if dots else None, depth=number)
            self._lines.append((line.name, steps, values))
            self._drawn.append(values)
        self._fit()
        some = any(len(steps) for _, steps, _ in self._lines)
        self._empty.setVisible(not some)
        for side in ("left", "bottom"):
            self._item.getAxis(side).setVisible(some)
        self._read()

    def _draw(
        self,
        steps: Numbers,
        values: Numbers,
        pen: QPen,
        dots: QColor | None = None,
        *,
        depth: int = 0,
    ) -> None:
        curve = pg.PlotDataItem(
            steps,
            values,
            pen=pen,
            antialias=True,
            symbol="o" if dots is not None else None,
            symbolSize=6,
            symbolBrush=dots,
            symbolPen=None,
        )
        curve.setZValue(-depth)  # the first curve is the one that is looked at: it lies on top
        self._item.addItem(curve)
        self._curves.append(curve)

    def _fit(self) -> None:
        """The axes' ends: all of the values, a little air, and the fixed ends that the quantity has."""
        values = np.concatenate(self._drawn or [np.zeros(0)])
        values = values[np.isfinite(values)]
        steps = np.concatenate([s for _, s, _ in self._lines] or [np.zeros(0)])
        if not len(values) or not len(steps):
            return
        low, high = float(values.min()), float(values.max())
        low = low if self._bottom is None else self._bottom
        air = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
        top = high + air if self._top is None else min(high + air, self._top)
        bottom = low - air if self._bottom is None else self._bottom
        self._box.setYRange(bottom, max(top, bottom + 1e-12), padding=0)
        first, last = self._span or (float(steps.min()), float(steps.max()))
        first = 0.0 if first < 0.3 * last else first
        self._box.setXRange(first, max(last, first + 1), padding=0.01)

    # The cursor -------------------------------------------------------------------------------------------------

    def _moved(self, at: QPointF) -> None:
        inside = self._box.sceneBoundingRect().contains(at)
        self.pointed.emit(self._box.mapSceneToView(at).x() if inside and self._lines else None)

    def point(self, step: float | None) -> None:
        """Show the values at a step, wherever the cursor is."""
        self._at = step
        self._read()

    def _read(self) -> None:
        """The readout: at the cursor, else the last values."""
        at = self._at
        found: list[tuple[str, str]] = []
        where: float | None = None
        for name, steps, values in self._lines:
            if not len(steps):
                found.append((name, ""))
                continue
            near = len(steps) - 1 if at is None else int(np.abs(steps - at).argmin())
            where = float(steps[near]) if where is None else where
            found.append((name, self._words(float(values[near]))))
        self._cursor.setVisible(at is not None and where is not None)
        if at is not None and where is not None:
            self._cursor.setValue(where)
        step = (
            self.tr("step {0}").format(f"{where:,.0f}")
            if at is not None and where is not None
            else ""
        )
        if self._named:
            self.legend.set_entries(found)
            self.value.setText(step)
        else:
            self.legend.set_entries([])
            value = found[0][1] if found else ""
            self.value.setText(f"{step} · {value}" if step and value else value)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_empty()

    def _place_empty(self) -> None:
        box = QRectF(self.plot.rect()).adjusted(12, 4, -12, -4).toRect()
        self._empty.setGeometry(box)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._ready:
            self.dress()
