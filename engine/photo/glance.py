"""What a picture's file says about it, read from its head alone: of a hundred thousand files no pixel is decoded.

Of a JPEG the segments before the picture are walked (ITU-T T.81, annex B); at most :data:`SEGMENTS` of them, so that no
file makes this slow. Other formats are opened by Pillow, unread.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.errors import PhotoError
from engine.photo import exif as exif_reader
from engine.photo.decode import Decoded, check_size, exif_of, open_picture
from engine.photo.exif import Exif, read_exif
from engine.photo.facts import WHOLE, PhotoFacts
from engine.photo.formats import HEAD_BYTES, Unreadable, identify
from engine.photo.read import facts_of

SEGMENTS = 400
"""Of 64 KB at most. Depth maps in XMP take a hundred; a file with more of them is made to cost time."""

_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FILLING = 1 << 10
_SAVE_AGAIN = "Try the original, or save it again as a JPEG"
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))


@dataclass(frozen=True)
class Glance:
    """What a picture's head says.

    Args:
        facts: as :func:`engine.photo.read_photo` gives them.
        magnetic: its heading is from magnetic north.
    """

    facts: PhotoFacts
    magnetic: bool


def glance(path: Path) -> Glance:
    """Look at a picture's head without reading it.

    Raises:
        PhotoError: it is no picture that can be read, or too large or small to be one.
    """
    try:
        with open(path, "rb") as stream:
            kind = identify(stream.read(HEAD_BYTES))
            if isinstance(kind, Unreadable):
                raise PhotoError(kind.problem, path, kind.remedy)
            stream.seek(0)
            decoded = _jpeg_head(stream) if kind == "JPEG" else _opened(stream, kind)
    except PhotoError as error:
        raise PhotoError(error.problem, path, error.remedy) from error
    except OSError as error:
        raise PhotoError(
            f"the file could not be read ({(error.strerror or str(error)).lower()})", path
        ) from error
    facts, direction = facts_of(decoded)[0], exif_reader.image_direction(decoded.exif)
    magnetic = facts.heading_source == "exif" and direction is not None and direction[1]
    return Glance(facts, magnetic)


def check_head(stream: BinaryIO) -> None:
    """See that what lies before a JPEG's picture is of a sane length, before anything else looks at it.

    Raises:
        PhotoError: it goes on and on, or leads to no picture.
    """
    _jpeg_head(stream)


def _opened(stream: BinaryIO, kind: str) -> Decoded:
    image = open_picture(stream, kind)
    check_size(image, kind)
    exif = read_exif(stream) if kind == "TIFF" else exif_of(image)
    return _head(image.size, exif, image.info.get("xmp") or b"")


def _head(size: tuple[int, int], exif: Exif, xmp: bytes | str) -> Decoded:
    turned = exif_reader.orientation(exif) >= 5
    width, height = (size[1], size[0]) if turned else size
    return Decoded(np.zeros((0, 0, 3), np.uint8), (width, height), turned, exif, xmp, WHOLE, ())


def _jpeg_head(stream: BinaryIO) -> Decoded:
    """The size, EXIF and XMP of a JPEG.

    Raises:
        PhotoError: its segments do not lead to a picture.
    """
    size: tuple[int, int] | None = None
    exif, xmp = Exif(), b""
    stream.seek(2)
    for _ in range(SEGMENTS):
        mark = stream.read(2)
        if len(mark) < 2 or mark[0] != 0xFF:
            raise _damaged()
        code, filling = mark[1], 0
        while code == 0xFF and filling < _FILLING:  # fill bytes
            code, filling = (stream.read(1) or b"\x00")[0], filling + 1
        if code in _STANDALONE:
            continue
        if code in (0xDA, 0xD9):
            break
        length = int.from_bytes(stream.read(2), "big") - 2
        if length < 0:
            raise _damaged()
        if code in _FRAMES:
            frame = stream.read(length)
            if len(frame) < 6:
                raise _damaged()
            size = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
        elif code == 0xE1 and not (exif.main and xmp):
            body = stream.read(length)
            if body.startswith(_EXIF) and not exif.main:
                exif = read_exif(io.BytesIO(body))
            elif body.startswith(_XMP) and not xmp:
                xmp = body[len(_XMP) :]
        else:
            stream.seek(length, io.SEEK_CUR)
    else:
        raise PhotoError("what lies before its picture goes on and on", remedy=_SAVE_AGAIN)
    if size is None or min(size) < 1:
        raise _damaged()
    return _head(size, exif, xmp)


def _damaged() -> PhotoError:
    return PhotoError("damaged beyond repair", remedy=_SAVE_AGAIN)
