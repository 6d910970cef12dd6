"""The photo, flat: the picture with its heat map, a ruler of bearings on top and the horizon across.

The wheel and + - zoom, dragging moves, 0 or a double click fits the picture again.
"""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QEnterEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.photo.geometry import Pose, bearing_name
from app.theme import line_height, scaled_font, tokens_of

MARGIN = 8
ZOOM_MAX = 16.0
OVER = QColor(
    255, 255, 255, 235
)  # drawn over pictures, on a dark ground of its own: the same in both themes
SHADE = QColor(0, 0, 0, 130)


class PhotoView(QWidget):
    """Shows one picture; it reads nothing and knows no engine."""

    pointed = Signal(
        object
    )  # the azimuth under the cursor, degrees from the centre column, or None

    def __init__(self) -> None:
        super().__init__()
        self._picture: QImage | None = None
        self._heat: QImage | None = None
        self._opacity = 0.0
        self._pose: Pose | None = None
        self._zoom = 1.0
        self._centre = QPointF(0.5, 0.5)  # the picture's point in the middle of the widget
        self._grabbed: QPointF | None = None
        self._cursor_x: float | None = None
        self._scaled: tuple[tuple[int, int, int], QPixmap] | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 80)
        self.setAccessibleName(self.tr("Photo"))
        self.setAccessibleDescription(self.tr("Plus and minus zoom, 0 fits, arrows move"))

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    def set_picture(self, picture: QImage | None) -> None:
        """Show another picture, fitted."""
        if picture is self._picture:
            return
        self._picture = picture
        self._scaled = None
        self.fit()

    def set_heat(self, heat: QImage | None) -> None:
        """Lay a heat map over the picture; it covers it from edge to edge."""
        self._heat = heat
        self.update()

    def set_opacity(self, opacity: float) -> None:
        """How strongly the heat map covers, 0..1."""
        self._opacity = opacity
        self.update()

    def set_pose(self, pose: Pose | None) -> None:
        """How the picture looks at the world."""
        self._pose = pose
        self.update()

    def point_at(self, azimuth: float | None) -> None:
        """Show a cursor line at an azimuth, from another view."""
        self._cursor_x = None if azimuth is None or self._pose is None else self._pose.x_of(azimuth)
        self.update()

    def fit(self) -> None:
        """The whole picture again."""
        self._zoom = 1.0
        self._centre = QPointF(0.5, 0.5)
        self.update()

    def picture_rect(self) -> QRectF:
        """Where the picture is drawn, in the widget's pixels."""
        if self._picture is None:
            return QRectF()
        room = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        width, height = self._picture.width(), self._picture.height()
        scale = min(room.width() / width, room.height() / height) * self._zoom
        size = QPointF(width * scale, height * scale)
        corner = room.center() - QPointF(self._centre.x() * size.x(), self._centre.y() * size.y())
        return QRectF(corner.x(), corner.y(), size.x(), size.y())

    # Painting ---------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), tokens_of(self).colour("well"))
        if self._picture is not None:
            rect = self.picture_rect()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            self._draw_picture(painter, rect)
            if self._heat is not None and self._opacity > 0:
                painter.setOpacity(self._opacity)
                painter.drawImage(rect, self._heat)
                painter.setOpacity(1.0)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if self._pose is not None:
                painter.save()
                painter.setClipRect(rect)
                self._draw_horizon(painter, rect, self._pose)
                painter.restore()
                self._draw_ruler(painter, rect, self._pose)
            if self._cursor_x is not None:
                x = rect.left() + self._cursor_x * rect.width()
                painter.setPen(QPen(OVER, 1))
                painter.drawLine(QPointF(x, rect.top()), QPointF(x, rect.bottom()))
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setPen(QPen(tokens_of(self).colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    def _draw_picture(self, painter: QPainter, rect: QRectF) -> None:
        """From a copy at the size shown while the whole is fitted, so that painting again costs nothing."""
        assert self._picture is not None
        ratio = self.devicePixelRatioF()
        size = (round(rect.width() * ratio), round(rect.height() * ratio), self._picture.width())
        if self._zoom > 1.0 or size[0] >= self._picture.width():
            painter.drawImage(rect, self._picture)
            return
        if self._scaled is None or self._scaled[0] != size:
            scaled = self._picture.scaled(
                size[0],
                size[1],
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            self._scaled = (size, QPixmap.fromImage(scaled))
        painter.drawPixmap(rect, self._scaled[1], QRectF(self._scaled[1].rect()))

    def _draw_horizon(self, painter: QPainter, rect: QRectF, pose: Pose) -> None:
        points = [
            QPointF(rect.left() + x * rect.width(), rect.top() + y * rect.height())
            for x, y in pose.horizon()
        ]
        path = QPainterPath(points[0])
        for point in points[1:]:
            path.lineTo(point)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(SHADE, 2.5, Qt.PenStyle.SolidLine))
        painter.drawPath(path)
        painter.setPen(QPen(OVER, 1, Qt.PenStyle.DashLine))
        painter.drawPath(path)

    def _draw_ruler(self, painter: QPainter, rect: QRectF, pose: Pose) -> None:
        height = line_height("small") + 6
        band = QRectF(rect.left(), max(rect.top(), 0.0), rect.width(), height)
        painter.fillRect(band, SHADE)
        painter.setFont(scaled_font(self, "small"))
        metrics = painter.fontMetrics()
        wide = metrics.horizontalAdvance("-180°") + 12
        per_degree = rect.width() / pose.fov_deg
        steps = (5, 15, 45, 90) if pose.fov_deg <= 45 else (15, 45, 90)
        step = next((s for s in steps if s * per_degree >= wide), 180)
        painter.setPen(QPen(OVER, 1))
        last = -1e9
        for x, bearing in pose.ticks(step):
            at = rect.left() + x * rect.width()
            painter.drawLine(QPointF(at, band.bottom() - 5), QPointF(at, band.bottom()))
            text = self._tick_text(pose, bearing)
            half = metrics.horizontalAdvance(text) / 2
            left = min(max(at - half, rect.left() + 2), rect.right() - 2 * half - 2)
            if left < last + 8:
                continue
            last = left + 2 * half
            painter.drawText(QPointF(left, band.top() + metrics.ascent()), text)
        self._draw_centre(painter, rect, band)

    def _draw_centre(self, painter: QPainter, rect: QRectF, band: QRectF) -> None:
        """A notch at the centre column: that is where the heading points."""
        accent = tokens_of(self).colour("accent")
        x = rect.center().x()
        notch = QPainterPath(QPointF(x - 5, band.bottom()))
        notch.lineTo(x + 5, band.bottom())
        notch.lineTo(x, band.bottom() + 7)
        notch.closeSubpath()
        painter.setPen(QPen(OVER, 1))
        painter.setBrush(accent)
        painter.drawPath(notch)

    def _tick_text(self, pose: Pose, bearing: int) -> str:
        if pose.heading_deg is None:
            return f"{bearing:+d}°" if bearing else "0°"
        return bearing_name(bearing) if bearing % 45 == 0 else f"{bearing}°"

    # Moving about -----------------------------------------------------------------------------------------------

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom about a point of the widget (its middle unless given)."""
        if self._picture is None:
            return
        at = at if at is not None else QPointF(self.rect().center())
        before = self.picture_rect()
        share = QPointF(
            (at.x() - before.left()) / before.width(), (at.y() - before.top()) / before.height()
        )
        self._zoom = min(max(self._zoom * factor, 1.0), ZOOM_MAX)
        after = self.picture_rect()
        there = QPointF(
            after.left() + share.x() * after.width(), after.top() + share.y() * after.height()
        )
        self._move(at - there)

    def _move(self, by: QPointF) -> None:
        rect = self.picture_rect()
        self._centre -= QPointF(by.x() / rect.width(), by.y() / rect.height())
        room = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        for axis, length, space in (
            ("x", rect.width(), room.width()),
            ("y", rect.height(), room.height()),
        ):
            half = 0.5 if length <= space else space / length / 2
            value = getattr(self._centre, axis)()
            getattr(self._centre, f"set{axis.upper()}")(min(max(value, half), 1 - half))
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.zoom_by(1.0015 ** event.angleDelta().y(), event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._grabbed = event.position()
            if self._zoom > 1.0:
                self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grabbed is not None:
            self._move(event.position() - self._grabbed)
            self._grabbed = event.position()
        rect = self.picture_rect()
        if self._pose is not None and rect.contains(event.position()):
            self.pointed.emit(
                self._pose.azimuth_of((event.position().x() - rect.left()) / rect.width())
            )
        else:
            self.pointed.emit(None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = None
        self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.fit()

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)

    def leaveEvent(self, event: object) -> None:
        self.pointed.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = 40.0
        moves = {
            Qt.Key.Key_Left: QPoint(1, 0),
            Qt.Key.Key_Right: QPoint(-1, 0),
            Qt.Key.Key_Up: QPoint(0, 1),
            Qt.Key.Key_Down: QPoint(0, -1),
        }
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(1.25)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(0.8)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key in moves and self._zoom > 1.0:
            self._move(QPointF(moves[key]) * step)
        else:
            super().keyPressEvent(event)
