"""Encoded pictures for the page: what one is, and a few held in memory under addresses of their own."""

from __future__ import annotations

from base64 import b64decode
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEPT = 8


@dataclass(frozen=True)
class Picture:
    """Encoded pixels as a browser takes them."""

    mime: str
    data: bytes


# One clear pixel.
NOTHING = Picture(
    "image/gif", b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
)


class Pictures:
    """The pictures the page may ask for now; the oldest beyond a few are let go."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Picture] = OrderedDict()
        self._number = 0

    def add(self, picture: Picture) -> str:
        """Hold a picture; returns its path."""
        self._number += 1
        path = f"memory/{self._number}"
        self._held[path] = picture
        while len(self._held) > KEPT:
            self._held.popitem(last=False)
        return path

    def get(self, path: str) -> Picture | None:
        """The picture at a path, while it is held."""
        return self._held.get(path)


def heat_picture(heat: QImage | bytes | NDArray[np.float32]) -> Picture:
    """A heat map as PNG: a coloured image with alpha, its encoded bytes, or the map itself, coloured by the ramp."""
    if isinstance(heat, bytes):
        return Picture("image/png", heat)
    if not isinstance(heat, QImage):
        from app.ramp import heat_image

        heat = heat_image(heat)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    heat.save(buffer, "PNG", 90)  # type: ignore[call-overload]  # quality 90: quick, a little larger
    return Picture("image/png", bytes(buffer.data().data()))
