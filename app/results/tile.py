"""A reference tile, north up: its heat map, the wedge of the heading, a bar of length. A photo is shown as it is."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, radians, sin

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.photo.view import OVER, SHADE
from app.results.words import distance
from app.theme import scaled_font, tokens_of


class TileView(QWidget):
    """Draws what it is given; always a square."""

    pointed = Signal(object)  # (bearing, metres from the centre) under the cursor, or None

    def __init__(self, side: int) -> None:
        super().__init__()
        self._tile: QImage | None = None
        self._heat: QImage | None = None
        self._opacity = 0.0
        self._heading: float | None = None
        self._fov = 360.0
        self._extent = 0.0
        self._mark: tuple[float, float] | None = None
        self._side = side
        self.setMinimumSize(96, 96)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setMouseTracking(True)
        self.setAccessibleName(self.tr("Tile"))

    def sizeHint(self) -> QSize:
        return QSize(self._side, self._side)

    def show_tile(self, tile: QImage | None, extent_m: float) -> None:
        """Another tile; ``extent_m`` is its side on the ground. 0: a photo, of which nothing is drawn but itself."""
        self._tile, self._extent = tile, extent_m
        self.update()

    def set_heat(self, heat: QImage | None, opacity: float) -> None:
        """Lay a heat map over it."""
        self._heat, self._opacity = heat, opacity
        self.update()

    def set_heading(self, heading: float | None, fov: float) -> None:
        """Draw where the photo looks from the tile's middle."""
        self._heading, self._fov = heading, fov
        self.update()

    def mark(self, place: tuple[float, float] | None) -> None:
        """Show the shared cursor at (bearing, metres from the centre)."""
        self._mark = place
        self.update()

    def square(self) -> QRectF:
        """Where the tile is drawn; a photo in its own shape."""
        side = min(self.width(), self.height())
        wide = high = float(side)
        if self._tile is not None and self._extent <= 0 and not self._tile.isNull():
            scale = side / max(self._tile.width(), self._tile.height())
            wide, high = self._tile.width() * scale, self._tile.height() * scale
        return QRectF((self.width() - wide) / 2, (self.height() - high) / 2, wide, high)

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
        )
        box = self.square()
        shape = QPainterPath()
        shape.addRoundedRect(box, 4, 4)
        painter.fillPath(shape, tokens.colour("well"))
        painter.setClipPath(shape)
        if self._tile is not None:
            painter.drawImage(box, self._tile)
            if self._heat is not None and self._opacity > 0:
                painter.setOpacity(self._opacity)
                painter.drawImage(box, self._heat)
                painter.setOpacity(1.0)
            if self._extent > 0:
                self._draw_heading(painter, box)
                self._draw_scale(painter, box)
            if self._mark is not None:
                self._draw_mark(painter, box, *self._mark)
        painter.end()

    def _draw_heading(self, painter: QPainter, box: QRectF) -> None:
        centre = box.center()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._heading is not None:
            edges = [self._heading]
            if self._fov < 359:
                edges = [self._heading - self._fov / 2, self._heading + self._fov / 2]
            for colour, width in ((SHADE, 3.5), (OVER, 1.5)):
                painter.setPen(QPen(colour, width))
                for edge in edges:
                    painter.drawLine(centre, _on(centre, box.width() * 0.45, edge))
        painter.setPen(QPen(SHADE, 1))
        painter.setBrush(OVER)
        painter.drawEllipse(centre, 3.5, 3.5)

    def _draw_scale(self, painter: QPainter, box: QRectF) -> None:
        if self._extent <= 0:
            return
        length = next((m for m in (100, 50, 20, 10, 5, 2) if m <= self._extent * 0.4), 1)
        wide = box.width() * length / self._extent
        painter.setFont(scaled_font(self, "small"))
        text = distance(length)
        ground = QRectF(box.left() + 6, box.bottom() - 26, max(wide, 32) + 8, 20)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(SHADE)
        painter.drawRoundedRect(ground, 3, 3)
        painter.setPen(QPen(OVER, 2))
        y = ground.bottom() - 4
        painter.drawLine(QPointF(ground.left() + 4, y), QPointF(ground.left() + 4 + wide, y))
        painter.drawText(ground.adjusted(4, 0, 0, -6), Qt.AlignmentFlag.AlignLeft, text)

    def _draw_mark(self, painter: QPainter, box: QRectF, bearing: float, metres: float) -> None:
        away = metres / self._extent * box.width() if self._extent else 0.0
        at = _on(box.center(), away, bearing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in ((SHADE, 3.5), (OVER, 1.5)):
            painter.setPen(QPen(colour, width))
            painter.drawLine(box.center(), at)
            painter.drawEllipse(at, 5, 5)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        box = self.square()
        if self._tile is None or not box.contains(event.position()) or not self._extent:
            self.pointed.emit(None)
            return
        away = event.position() - box.center()
        metres = hypot(away.x(), away.y()) / box.width() * self._extent
        self.pointed.emit((degrees(atan2(away.x(), -away.y())) % 360.0, metres))

    def leaveEvent(self, event: object) -> None:
        self.pointed.emit(None)


def _on(centre: QPointF, radius: float, bearing: float) -> QPointF:
    angle = radians(bearing)
    return QPointF(centre.x() + radius * sin(angle), centre.y() - radius * cos(angle))
