"""The icon set: drawn with one pen in ``resources/icons``, tinted with the theme's text colour when painted."""

from __future__ import annotations

import logging
from functools import cache

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from app.resources import resource

log = logging.getLogger(__name__)


@cache
def _sources() -> dict[str, bytes]:
    """Every icon by its name, read once: the program's files may go while it runs, when it is renewed or removed."""
    return {path.stem: path.read_bytes() for path in resource("icons").glob("*.svg")}


@cache
def _source(name: str) -> bytes | None:
    svg = _sources().get(name)
    if svg is None:
        log.warning("there is no icon %s", name)
    return svg


def paint_icon(painter: QPainter, rect: QRectF, name: str, colour: QColor) -> None:
    """Draw one icon in one colour; nothing where there is none of this name."""
    svg = _source(name)
    if svg is None:
        return
    drawn = svg.replace(b"currentColor", colour.name().encode())
    QSvgRenderer(QByteArray(drawn)).render(painter, rect)


class _Engine(QIconEngine):
    """Paints in the palette's current colours, so that icons turn with the theme."""

    def __init__(self, name: str, role: QPalette.ColorRole) -> None:
        super().__init__()
        self._name = name
        self._role = role

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        palette = QApplication.palette()
        group = (
            QPalette.ColorGroup.Disabled
            if mode == QIcon.Mode.Disabled
            else QPalette.ColorGroup.Active
        )
        role = self._role
        if (
            state == QIcon.State.On
            and mode != QIcon.Mode.Disabled
            and role == QPalette.ColorRole.ButtonText
        ):
            role = QPalette.ColorRole.Accent
        paint_icon(painter, QRectF(rect), self._name, palette.color(group, role))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _Engine(self._name, self._role)


def icon(name: str, role: QPalette.ColorRole = QPalette.ColorRole.ButtonText) -> QIcon:
    """An icon that follows the theme; ``role`` says which of the palette's colours it takes."""
    return QIcon(_Engine(name, role))


def application_icon() -> QIcon:
    """The program's own icon."""
    return QIcon(str(resource("icons", "nadir.svg")))
