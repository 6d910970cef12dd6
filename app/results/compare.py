"""Compare: the photo above, the tile unrolled under it, both on the same bearings, one cursor through all."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QAction, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.photo.geometry import bearing_name, degrees_text
from app.photos import ComparePictures
from app.results.words import coordinates, distance
from app.session import Session
from app.theme import STEP, line_height, scaled_font, tokens_of
from app.widgets import Elided, label, tool_button

BARS = 36  # height of the parts of the score by bearing


class Strips(QWidget):
    """The two pictures with the ruler of bearings between them."""

    pointed = Signal(object)  # (bearing, metres or None) under the cursor, or None

    def __init__(self) -> None:
        super().__init__()
        self._pictures: ComparePictures | None = None
        self._opacity = 0.0
        self._cursor: tuple[float, float | None] | None = None
        self._waiting = ""
        self.setMouseTracking(True)
        self.setMinimumSize(200, 120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(self.tr("The photo beside what it was matched with"))

    def sizeHint(self) -> QSize:
        return QSize(800, 400)

    def show_pictures(self, pictures: ComparePictures | None, waiting: str = "") -> None:
        """Compare something else; ``waiting`` stands there while there is nothing yet."""
        self._pictures, self._waiting = pictures, waiting
        self.update()

    def set_opacity(self, opacity: float) -> None:
        """How strongly the heat maps cover."""
        self._opacity = opacity
        self.update()

    def set_cursor(self, cursor: tuple[float, float | None] | None) -> None:
        """Show the shared cursor at (bearing, metres)."""
        self._cursor = cursor
        self.update()

    def boxes(self) -> tuple[QRectF, QRectF, QRectF]:
        """Where photo, ruler and tile are drawn."""
        room = QRectF(self.rect()).adjusted(8, 8, -8, -8)
        if self._pictures is not None and not self._pictures.aligned:
            return self._side_by_side(room, self._pictures)
        aspect = 4.5
        if self._pictures is not None:
            aspect = self._pictures.photo.width() / max(self._pictures.photo.height(), 1)
        band = line_height("small") + 8 + (BARS if self._has_parts() else 0)
        tall = min((room.height() - band) / 2, room.width() / aspect * 1.6)
        top = room.top() + (room.height() - band - 2 * tall) / 2
        photo = QRectF(room.left(), top, room.width(), tall)
        ruler = QRectF(room.left(), photo.bottom(), room.width(), band)
        return photo, ruler, QRectF(room.left(), ruler.bottom(), room.width(), tall)

    def _side_by_side(
        self, room: QRectF, pictures: ComparePictures
    ) -> tuple[QRectF, QRectF, QRectF]:
        """Photo left, tile or matched photo right, equally high, a line of words under both."""
        band = line_height("small") + 8
        wide = pictures.photo.width() / max(pictures.photo.height(), 1)
        other = pictures.tile.width() / max(pictures.tile.height(), 1)
        high = min(room.height() - band, (room.width() - 8) / (wide + other))
        top = room.top() + (room.height() - band - high) / 2
        left = room.left() + (room.width() - 8 - high * (wide + other)) / 2
        photo = QRectF(left, top, high * wide, high)
        tile = QRectF(photo.right() + 8, top, high * other, high)
        return photo, QRectF(room.left(), photo.bottom(), room.width(), band), tile

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.fillRect(self.rect(), tokens.colour("well"))
        if self._pictures is not None and not self._pictures.aligned:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            photo, band, tile = self.boxes()
            self._draw(painter, photo, self._pictures.photo, self._pictures.photo_heat)
            self._draw(painter, tile, self._pictures.tile, self._pictures.tile_heat)
            painter.setFont(scaled_font(self, "small"))
            painter.setPen(tokens.colour("muted"))
            painter.drawText(band, Qt.AlignmentFlag.AlignCenter, self._pictures.caption)
        elif self._pictures is not None:
            painter.setRenderHints(
                QPainter.RenderHint.SmoothPixmapTransform | QPainter.RenderHint.Antialiasing
            )
            photo, ruler, tile = self.boxes()
            painter.fillRect(photo, tokens.colour("line"))
            self._draw(painter, photo, self._pictures.photo, self._pictures.photo_heat)
            self._draw(painter, tile, self._pictures.tile, self._pictures.tile_heat)
            self._draw_words(painter, photo, tile, self._pictures)
            self._draw_ruler(painter, ruler)
            if self._cursor is not None:
                self._draw_cursor(painter, photo, tile, *self._cursor)
        else:
            painter.setPen(tokens.colour("muted"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self._waiting)
        painter.end()

    def _draw(self, painter: QPainter, box: QRectF, picture: QImage, heat: QImage | None) -> None:
        painter.drawImage(box, picture)
        if heat is not None and self._opacity > 0:
            painter.setOpacity(self._opacity)
            painter.drawImage(box, heat)
            painter.setOpacity(1.0)

    def _draw_words(
        self, painter: QPainter, photo: QRectF, tile: QRectF, pictures: ComparePictures
    ) -> None:
        painter.setFont(scaled_font(self, "small"))
        far, near = distance(max(pictures.radii_m)), distance(min(pictures.radii_m))
        words = (
            (photo.topLeft() + QPointF(6, 6), f"{pictures.elevation_deg[0]:+.0f}°"),
            (photo.bottomLeft() + QPointF(6, -24), f"{pictures.elevation_deg[1]:+.0f}°"),
            (tile.topLeft() + QPointF(6, 6), self.tr("{0} away").format(far)),
            (tile.bottomLeft() + QPointF(6, -24), self.tr("{0} away").format(near)),
        )
        for at, text in words:
            ground = QRectF(at.x(), at.y(), painter.fontMetrics().horizontalAdvance(text) + 8, 18)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(Qt.GlobalColor.black)
            painter.setOpacity(0.5)
            painter.drawRoundedRect(ground, 3, 3)
            painter.setOpacity(1.0)
            painter.setPen(Qt.GlobalColor.white)
            painter.drawText(ground, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_ruler(self, painter: QPainter, box: QRectF) -> None:
        tokens = tokens_of(self)
        painter.fillRect(box, tokens.colour("window"))
        if self._has_parts():
            self._draw_parts(painter, QRectF(box.left(), box.top(), box.width(), BARS))
            box = box.adjusted(0, BARS, 0, 0)
        painter.setFont(scaled_font(self, "small"))
        step = 15 if box.width() > 1100 else 45
        first = int((self._centre() - 180) // step + 1) * step
        for bearing in range(first, int(self._centre()) + 181, step):
            x = self._x_of(bearing, box)
            painter.setPen(QPen(tokens.colour("line_strong"), 1))
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.top() + 4))
            painter.drawLine(QPointF(x, box.bottom() - 4), QPointF(x, box.bottom()))
            whole = bearing % 45 == 0
            text = bearing_name(bearing % 360) if whole else f"{bearing % 360}°"
            painter.setPen(tokens.colour("text" if whole else "muted"))
            half = painter.fontMetrics().horizontalAdvance(text) / 2 + 2
            middle = min(max(x, box.left() + half), box.right() - half)
            spot = QRectF(middle - half, box.top(), 2 * half, box.height())
            painter.drawText(spot, Qt.AlignmentFlag.AlignCenter, text)

    def _has_parts(self) -> bool:
        return self._pictures is not None and bool(self._pictures.parts)

    def _draw_parts(self, painter: QPainter, box: QRectF) -> None:
        """What every bearing adds to the score, as bars on a line of nothing; below it, what speaks against."""
        assert self._pictures is not None
        tokens, parts = tokens_of(self), self._pictures.parts
        most = max(max(parts), -min(parts), 1e-9)
        zero = box.bottom() - (box.height() - 4) * max(-min(parts), 0.0) / (
            most + max(-min(parts), 0.0)
        )
        wide = box.width() / len(parts)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(Qt.PenStyle.NoPen)
        for at, (part, seen) in enumerate(zip(parts, self._pictures.seen, strict=True)):
            if seen <= 0:
                continue
            left = self._x_of(-180 + at * 360 / len(parts), box)
            high = (
                abs(part) / most * (zero - box.top() - 4)
                if part > 0
                else -part / most * (zero - box.top() - 4)
            )
            top = zero - high if part > 0 else zero
            bar = QRectF(left + 1, top, max(wide - 2, 1), high)
            painter.setBrush(tokens.colour("accent" if part > 0 else "line_strong"))
            painter.drawRect(bar)
            if (
                bar.right() > box.right()
            ):  # a bearing that is cut by the edge goes on at the other side
                painter.drawRect(bar.translated(-box.width(), 0))
        painter.setPen(QPen(tokens.colour("line_strong"), 1))
        painter.drawLine(QPointF(box.left(), zero), QPointF(box.right(), zero))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _draw_cursor(
        self, painter: QPainter, photo: QRectF, tile: QRectF, bearing: float, metres: float | None
    ) -> None:
        x = self._x_of(bearing, photo)
        for colour, width in ((Qt.GlobalColor.black, 3), (Qt.GlobalColor.white, 1)):
            painter.setPen(QPen(colour, width))
            painter.drawLine(QPointF(x, photo.top()), QPointF(x, photo.bottom()))
            painter.drawLine(QPointF(x, tile.top()), QPointF(x, tile.bottom()))
        y = self._row_of(metres, tile)
        if y is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(Qt.GlobalColor.white, 1.5))
            painter.drawEllipse(QPointF(x, y), 5, 5)

    def _centre(self) -> float:
        return self._pictures.centre_deg if self._pictures is not None else 0.0

    def _x_of(self, bearing: float, box: QRectF) -> float:
        return box.left() + ((bearing - self._centre() + 180) % 360) / 360 * box.width()

    def _row_of(self, metres: float | None, tile: QRectF) -> float | None:
        if metres is None or self._pictures is None:
            return None
        radii = self._pictures.radii_m
        if metres > max(radii) * 1.05:
            return None
        row = min(range(len(radii)), key=lambda i: abs(radii[i] - metres))
        return tile.top() + (row + 0.5) / len(radii) * tile.height()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        photo, ruler, tile = self.boxes()
        at = event.position()
        whole = photo.united(ruler).united(tile)
        unaligned = self._pictures is None or not self._pictures.aligned
        if self._pictures is None or unaligned or not whole.contains(at):
            self.pointed.emit(None)
            return
        turn = (at.x() - photo.left()) / photo.width() * 360 - 180
        bearing = (turn + self._centre()) % 360
        metres: float | None = None
        if tile.contains(at):
            radii = self._pictures.radii_m
            row = min(int((at.y() - tile.top()) / tile.height() * len(radii)), len(radii) - 1)
            metres = radii[row]
        self.pointed.emit((bearing, metres))

    def leaveEvent(self, event: object) -> None:
        self.pointed.emit(None)


class CompareView(QFrame):
    """Takes the photo panel's place while the Compare view is open."""

    pointed = Signal(object)

    def __init__(self, session: Session, close: QAction) -> None:
        super().__init__()
        self._session = session
        self.setProperty("place", "panel")
        self.title = Elided()
        self.title.setProperty("weight", "bold")
        self._readout = label(muted=True)
        self.strips = Strips()
        self.strips.pointed.connect(self._point)
        top = QHBoxLayout()
        top.setContentsMargins(3 * STEP, STEP, 2 * STEP, STEP)
        top.setSpacing(3 * STEP)
        top.addWidget(self.title, 1)
        top.addWidget(self._readout)
        top.addWidget(tool_button(close))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addWidget(self.strips, 1)
        for signal in (
            session.compare_changed,
            session.candidate_changed,
            session.answer_changed,
            session.overlay_changed,
        ):
            signal.connect(self.refresh)

    def refresh(self) -> None:
        """Show the session's candidate."""
        session = self._session
        if not session.comparing:
            return
        candidate = session.candidate
        self.strips.set_opacity(session.overlay_opacity if session.overlay_shown else 0.0)
        waiting = self.tr("Unrolling the tile…")
        if session.result is not None and session.result.of_photos:
            waiting = self.tr("Fetching the photo…")
        self.strips.show_pictures(session.compared, waiting)
        self._readout.setText(self._sum())
        if candidate is not None and session.current is not None:
            words = self.tr("{0} and candidate {1} at {2}")
            self.title.setText(
                words.format(session.current.name, candidate.rank, coordinates(candidate))
            )

    def set_cursor(self, place: tuple[float, float | None] | None) -> None:
        """Show the shared cursor."""
        self.strips.set_cursor(place)
        if place is None:
            self._readout.setText(self._sum())
            return
        bearing, metres = place
        words = f"{bearing_name(bearing)} {degrees_text(bearing)}"
        self._readout.setText(f"{words} · {distance(metres)}" if metres is not None else words)

    def _sum(self) -> str:
        """What the bars are, while no bearing is pointed at."""
        pictures = self._session.compared
        if pictures is None or not pictures.parts:
            return ""
        return self.tr("Score by bearing: {0} in all").format(f"{sum(pictures.parts):.3f}")

    def _point(self, place: tuple[float, float | None] | None) -> None:
        self.set_cursor(place)
        self.pointed.emit(place)
