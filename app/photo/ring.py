"""The heading as a dial: north on top, the field of view as a wedge; dragging or the arrow keys turn it."""

from __future__ import annotations

from math import atan2, cos, degrees, radians, sin

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QWidget

from app.photo.geometry import degrees_text
from app.theme import scaled_font, tokens_of

DIAMETER = 80


class HeadingRing(QWidget):
    """Shows where the photo looks. A heading that is given is solid, one that was found is dashed."""

    turned = Signal(float)  # the user set a heading, degrees

    def __init__(self) -> None:
        super().__init__()
        self._heading: float | None = None
        self._found = False
        self._used = True
        self._fov = 90.0
        self.setFixedSize(DIAMETER, DIAMETER)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._tell()

    def sizeHint(self) -> QSize:
        return QSize(DIAMETER, DIAMETER)

    def show_heading(
        self, heading: float | None, fov: float, *, found: bool, used: bool = True
    ) -> None:
        """Show a heading, or none, with the field of view about it; ``used``: whether anybody asks for one."""
        self._heading, self._fov, self._found, self._used = heading, fov, found, used
        self._tell()
        self.update()

    def _tell(self) -> None:
        if not self._used:
            text = self.tr("This encoder answers no heading")
            self.setAccessibleName(text)
            self.setToolTip(text)
            return
        if self._heading is None:
            text = self.tr("Heading: to be found")
        else:
            words = self.tr("Heading found: {0}") if self._found else self.tr("Heading: {0}")
            text = words.format(degrees_text(self._heading))
        self.setAccessibleName(text)
        self.setToolTip(
            text + "\n" + self.tr("Drag or use the arrow keys to say where the photo looks")
        )

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(10, 13, -10, -7)
        centre, radius = box.center(), box.width() / 2
        if not self.isEnabled():
            painter.setOpacity(0.4)
        painter.setPen(
            QPen(
                tokens.colour("accent" if self.hasFocus() else "line_strong"),
                2 if self.hasFocus() else 1,
            )
        )
        painter.setBrush(tokens.colour("raised"))
        painter.drawEllipse(box)
        if self._heading is not None:
            self._draw_wedge(painter, box)
        painter.setPen(QPen(tokens.colour("muted"), 1))
        for bearing in range(0, 360, 30):
            inner = radius - (7 if bearing % 90 == 0 else 4)
            painter.drawLine(_on(centre, inner, bearing), _on(centre, radius - 1, bearing))
        painter.setFont(scaled_font(self, "small", bold=True))
        painter.setPen(tokens.colour("text"))
        painter.drawText(
            QRectF(centre.x() - 10, box.top() - 13, 20, 12), Qt.AlignmentFlag.AlignCenter, "N"
        )
        if self._heading is None:
            painter.setFont(scaled_font(self, "large", bold=True))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "?" if self._used else "–")
        painter.end()

    def _draw_wedge(self, painter: QPainter, box: QRectF) -> None:
        tokens = tokens_of(self)
        assert self._heading is not None
        painter.setBrush(tokens.colour("accent_soft"))
        style = Qt.PenStyle.DashLine if self._found else Qt.PenStyle.SolidLine
        painter.setPen(QPen(tokens.colour("accent"), 1.25, style))
        if self._fov < 359:
            start = 90.0 - self._heading - self._fov / 2
            painter.drawPie(box, round(start * 16), round(self._fov * 16))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tokens.colour("accent"))
        centre, radius = box.center(), box.width() / 2
        tip = _on(centre, radius - 1, self._heading)
        sides = (
            _on(centre, radius - 13, self._heading - 13),
            _on(centre, radius - 13, self._heading + 13),
        )
        painter.drawPolygon([tip, *sides])
        painter.drawEllipse(centre, 2.5, 2.5)

    def _set(self, heading: float) -> None:
        self.turned.emit(heading % 360.0)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._drag(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._drag(event.position())

    def _drag(self, position: QPointF) -> None:
        away = position - QRectF(self.rect()).center()
        if away.manhattanLength() > 8:
            self._set(round(degrees(atan2(away.x(), -away.y()))))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus() and self._heading is not None:
            self._set(self._heading + (1 if event.angleDelta().y() > 0 else -1))
            event.accept()
        else:
            event.ignore()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = 10.0 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1.0
        key = event.key()
        now = self._heading or 0.0
        if key in (Qt.Key.Key_Right, Qt.Key.Key_Up):
            self._set(now + step)
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Down):
            self._set(now - step)
        else:
            super().keyPressEvent(event)


def _on(centre: QPointF, radius: float, bearing: float) -> QPointF:
    angle = radians(bearing)
    return QPointF(centre.x() + radius * sin(angle), centre.y() - radius * cos(angle))
