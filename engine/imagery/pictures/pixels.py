"""From the bytes of a picture to pixels, upright and in sRGB, as photos are read."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError, PhotoError
from engine.photo.decode import decode, open_picture
from engine.photo.facts import WHOLE
from engine.photo.formats import HEAD_BYTES, Unreadable, identify
from engine.photo.glance import check_head
from engine.photo.read import MAX_PIXELS

MAX_PICTURE_PIXELS = 100_000_000
"""No tile and no photo of the street has more; a file that says so is damaged or means harm."""

_LARGE = 16_000_000
_one_large = threading.Lock()
"""Pictures larger than that are decoded one at a time, however many threads read: each may take some hundred MB."""


def read_pixels(stream: BinaryIO, name: str) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a picture; huge ones are shrunk as photos are.

    A picture of which a part is missing is refused: what it would be found by is not what was there.

    Raises:
        ImageryError: it is no whole picture.
    """
    try:
        kind = identify(stream.read(HEAD_BYTES))
        if isinstance(kind, Unreadable):
            raise ImageryError(kind.problem, name, kind.remedy)
        if kind == "JPEG":
            stream.seek(0)
            check_head(stream)
        width, height = open_picture(stream, kind).size
        if width * height > MAX_PICTURE_PIXELS:
            raise ImageryError(
                f"it says it has {width} × {height} pixels, more than any tile or photo",
                name,
                "Save it smaller",
            )
        with _one_large if width * height > _LARGE else contextlib.nullcontext():
            decoded = decode(stream, kind, MAX_PIXELS)
    except PhotoError as error:
        raise ImageryError(error.problem, name, error.remedy) from error
    except (OSError, MemoryError) as error:
        raise ImageryError("it cannot be read", name) from error
    if decoded.usable != WHOLE:
        raise ImageryError("a part of it is missing", name, "Get this file again")
    return decoded.pixels


def pixels_of(data: bytes, name: str) -> NDArray[np.uint8]:
    """:func:`read_pixels` of bytes in memory."""
    return read_pixels(io.BytesIO(data), name)


def letterboxed(picture: NDArray[np.uint8], side: int, missing: int = 0) -> NDArray[np.uint8]:
    """A picture [H, W, 3] as large as fits into a square [side, side, 3], ``missing`` around it."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(np.ascontiguousarray(picture)).resize(
        size, Image.Resampling.LANCZOS, reducing_gap=3.0
    )
    square = np.full((side, side, 3), missing, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return square
