"""A panorama as one would see it standing there: drag to look around, the wheel to look closer.

Drawing it is numerical work, so it is a job of the `view` lane; while one is drawn the latest wish waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import tasks
from app.jobs import Jobs
from app.photo.geometry import degrees_text
from app.photo.view import OVER, SHADE
from app.theme import scaled_font, tokens_of

FINE_AFTER_MS = 120  # after the last movement, the sharp picture


@dataclass(frozen=True)
class Look:
    """Where one looks: azimuth from the panorama's centre column, pitch, field of view, degrees."""

    azimuth: float = 0.0
    pitch: float = 0.0
    fov: float = 90.0


class AroundView(QWidget):
    """Shows a panorama through an ordinary camera's eyes."""

    looked = Signal(float)  # the azimuth that is looked at

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._scene: tasks.Scene | None = None
        self._heading: float | None = None
        self._look = Look()
        self._shown: QImage | None = None
        self._busy = False
        self._wish: tuple[Look, bool] | None = None
        self._grabbed: QPointF | None = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(FINE_AFTER_MS)
        self._settle.timeout.connect(lambda: self._draw(fine=True))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 80)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAccessibleName(self.tr("Look around in the panorama"))
        self.setAccessibleDescription(self.tr("Arrows turn, plus and minus zoom, 0 looks ahead"))

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    def set_scene(self, scene: tasks.Scene | None) -> None:
        """Look at another panorama, or at the same with another heat map."""
        fresh = scene is None or self._scene is None or scene.picture is not self._scene.picture
        self._scene = scene
        if fresh:
            self._look = Look()
            self._shown = None
        self._draw(fine=True)

    def set_heading(self, heading: float | None) -> None:
        """The heading of the panorama's centre column, for the words in the corner."""
        self._heading = heading
        self.update()

    def look(self, look: Look) -> None:
        """Look somewhere."""
        self._look = Look(
            (look.azimuth + 180) % 360 - 180,
            min(max(look.pitch, -85.0), 85.0),
            min(max(look.fov, 25.0), 120.0),
        )
        self.looked.emit(self._look.azimuth)
        self._draw(fine=False)
        self._settle.start()

    def _draw(self, *, fine: bool) -> None:
        if self._scene is None or not self.isVisible():
            self.update()
            return
        self._wish = (self._look, fine)
        if not self._busy:
            self._start()

    def _start(self) -> None:
        assert self._wish is not None and self._scene is not None
        (look, fine), scene = self._wish, self._scene
        self._wish = None
        self._busy = True
        ratio = self.devicePixelRatioF() * (1.0 if fine else 0.5)
        width, height = max(round(self.width() * ratio), 16), max(round(self.height() * ratio), 16)
        self._jobs.start(
            "",
            lambda report: tasks.look_around(
                scene, look.azimuth, look.pitch, look.fov, width, height
            ),
            done=self._drawn,
            failed=lambda error: self._drawn(None),
            cancelled=lambda: self._drawn(None),
            lane="view",
            quiet=True,
        )

    def _drawn(self, image: QImage | None) -> None:
        self._busy = False
        if image is not None and self._scene is not None:
            self._shown = image
            self.update()
        if self._wish is not None and self._scene is not None:
            self._start()

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.fillRect(self.rect(), tokens.colour("well"))
        if self._shown is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(self.rect(), self._shown)
            self._draw_words(painter)
        if self.hasFocus():
            painter.setPen(QPen(tokens.colour("accent"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        painter.end()

    def _draw_words(self, painter: QPainter) -> None:
        if self._heading is None:
            text = f"{self._look.azimuth:+.0f}°"
        else:
            text = degrees_text(self._heading + self._look.azimuth)
        painter.setFont(scaled_font(self, "normal", bold=True))
        wide = painter.fontMetrics().horizontalAdvance(text) + 16
        box = self.rect().adjusted(0, 8, 0, 0)
        box.setHeight(24)
        box.setLeft((self.width() - wide) // 2)
        box.setWidth(wide)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(SHADE)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(OVER)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._settle.start()

    def showEvent(self, event: object) -> None:
        self._draw(fine=True)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._grabbed = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grabbed is None:
            return
        moved = event.position() - self._grabbed
        self._grabbed = event.position()
        scale = self._look.fov / max(self.width(), 1)
        look = self._look
        self.look(
            replace(
                look, azimuth=look.azimuth - moved.x() * scale, pitch=look.pitch + moved.y() * scale
            )
        )

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.look(Look())

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.look(replace(self._look, fov=self._look.fov * 0.999 ** event.angleDelta().y()))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        look, step = self._look, self._look.fov / 12
        wishes = {
            Qt.Key.Key_Left: replace(look, azimuth=look.azimuth - step),
            Qt.Key.Key_Right: replace(look, azimuth=look.azimuth + step),
            Qt.Key.Key_Up: replace(look, pitch=look.pitch + step),
            Qt.Key.Key_Down: replace(look, pitch=look.pitch - step),
            Qt.Key.Key_Plus: replace(look, fov=look.fov * 0.85),
            Qt.Key.Key_Equal: replace(look, fov=look.fov * 0.85),
            Qt.Key.Key_Minus: replace(look, fov=look.fov / 0.85),
            Qt.Key.Key_0: Look(),
        }
        wish = wishes.get(Qt.Key(event.key()))
        if wish is None:
            super().keyPressEvent(event)
        else:
            self.look(wish)
