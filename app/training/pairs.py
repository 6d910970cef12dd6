"""Pairs of photo and tile to look at: before a training, and as its validations improve."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QPainterPath, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.theme import STEP, scaled_font, tokens_of
from app.training.work import PairImage
from app.widgets import Elided, label

GAP = 2 * STEP
TALLEST, LOWEST = 190, 72


class PairView(QWidget):
    """A photo, and beside it the tile, as tall as each other; heat maps over both."""

    def __init__(self, pair: PairImage, opacity: float) -> None:
        super().__init__()
        self.pair = pair
        self._opacity = opacity
        self.setAccessibleName(pair.caption)
        self.setToolTip(pair.caption)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_opacity(self, opacity: float) -> None:
        """How strongly the heat maps cover."""
        self._opacity = opacity
        self.update()

    def _picture_height(self, width: int) -> float:
        photo = self.pair.photo
        shape = photo.width() / max(1, photo.height())
        return min(TALLEST, max(LOWEST, (width - GAP) / (shape + 1)))

    def _caption_height(self) -> int:
        return QFontMetrics(scaled_font(self, "small")).height() + STEP if self.pair.caption else 0

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.setFixedHeight(round(self._picture_height(self.width())) + self._caption_height())

    def sizeHint(self) -> QSize:
        return QSize(320, self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = self._picture_height(self.width())
        photo, tile = self.pair.photo, self.pair.tile
        wide = min(height * photo.width() / max(1, photo.height()), self.width() - GAP - height)
        for box, picture, heat in (
            (QRectF(0, 0, wide, height), photo, self.pair.photo_heat),
            (QRectF(wide + GAP, 0, height, height), tile, self.pair.tile_heat),
        ):
            painter.save()
            path = QPainterPath()
            path.addRoundedRect(box, 4, 4)
            painter.setClipPath(path)
            painter.drawImage(box, picture)
            if heat is not None and self._opacity > 0:
                painter.setOpacity(self._opacity)
                painter.drawImage(box, heat)
            painter.restore()
        if self.pair.caption:
            painter.setFont(scaled_font(self, "small"))
            painter.setPen(tokens.colour("muted"))
            metrics = painter.fontMetrics()
            words = metrics.elidedText(self.pair.caption, Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(0, round(height) + metrics.ascent() + STEP // 2, words)
        painter.end()


class PairList(QScrollArea):
    """Pairs below each other; a word where there are none."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(name)
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(3 * STEP, 0, 3 * STEP, 3 * STEP)
        self._column.setSpacing(2 * STEP)
        self._empty = label(muted=True, wrap=True)
        self._column.addWidget(self._empty)
        self._column.addStretch(1)
        self.setWidget(inside)
        self.views: list[PairView] = []

    def show_pairs(self, pairs: list[PairImage], empty: str, opacity: float = 0.6) -> None:
        """Show these, or say why there are none. The place one has scrolled to stays."""
        for view in self.views:
            self._column.removeWidget(view)
            view.hide()  # while a dialog is open it is not deleted yet
            view.deleteLater()
        self.views = [PairView(pair, opacity) for pair in pairs]
        for at, view in enumerate(self.views):
            self._column.insertWidget(at, view)
        self._empty.setText(empty)
        self._empty.setVisible(not pairs)

    def set_opacity(self, opacity: float) -> None:
        """How strongly the heat maps cover."""
        for view in self.views:
            view.set_opacity(opacity)


class Progress(QWidget):
    """The pairs of every validation, from the first to the latest."""

    wanted = Signal(int)  # which gallery to show

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName(self.tr("Validation"))
        self.slider.setPageStep(1)
        self.slider.setMaximumWidth(320)
        self.slider.hide()
        self.words = Elided(mode=Qt.TextElideMode.ElideRight)
        self.words.setProperty("tone", "muted")
        self.pairs = PairList(self.tr("Pairs of the validation"))
        self.slider.valueChanged.connect(self._moved)
        row = QHBoxLayout()
        row.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, STEP)
        row.setSpacing(3 * STEP)
        row.addWidget(self.slider, 1)
        row.addWidget(self.words, 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(STEP)
        column.addLayout(row)
        column.addWidget(self.pairs, 1)
        self._steps: list[int] = []

    def set_steps(self, steps: list[int]) -> None:
        """Which validations there are. Who looks at the latest goes on looking at the latest."""
        if steps == self._steps:
            return
        follow = self.slider.value() >= len(self._steps) - 1
        self._steps = steps
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(steps) - 1))
        if follow:
            self.slider.setValue(max(0, len(steps) - 1))
        self.slider.blockSignals(False)
        self.slider.setVisible(len(steps) > 1)
        self._moved()

    def _moved(self) -> None:
        at = self.slider.value()
        if not self._steps:
            self.words.setText("")
            return
        words = self.tr("After step {0}, {1} of {2}. Beside each photo: the tile it was placed in.")
        self.words.setText(words.format(f"{self._steps[at]:,}", at + 1, len(self._steps)))
        self.wanted.emit(at)
