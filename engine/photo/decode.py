"""From a file of any readable format to 8-bit sRGB pixels, in bounded memory, keeping what a damaged file still has.

Every format is opened with its own Pillow class after its first bytes were recognised, never by extension, and its
size is known before a pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from engine.errors import PhotoError
from engine.photo.colour import to_srgb
from engine.photo.exif import Exif, is_raw_camera_file, orientation, read_exif
from engine.photo.facts import WHOLE, Box
from engine.photo.formats import RAW

MAX_JPEG_PIXELS = 1_000_000_000
"""A JPEG can be decoded at an eighth of its size in a few rows of memory."""

MAX_PROGRESSIVE_PIXELS = 256_000_000
"""A progressive one needs all its coefficients at once, up to six bytes a pixel."""

MAX_OTHER_PIXELS = 160_000_000
"""Other formats are decoded whole, four bytes a pixel."""

MIN_SIDE = 8
LEAST_READABLE = 0.1
"""The share of rows below which a damaged picture is refused."""

# Pillow warns on standard error of damaged metadata, which is read here on its own and tolerantly.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_OPENERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}

_BAD_DATA = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    SystemError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers are known to raise on damaged files."""

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture out of its file.

    Attributes:
        pixels: uint8 [H, W, 3], sRGB, upright, read-only.
        size: width and height in the file, upright, before anything was shrunk.
        turned: whether turning it upright swapped width and height.
        exif: its EXIF.
        xmp: its XMP packet, empty when there is none.
        usable: the part that could be read, of the upright picture.
        notes: what had to be done to it, one or two sentences each.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    turned: bool
    exif: Exif
    xmp: bytes | str
    usable: Box
    notes: tuple[str, ...]


def decode(stream: BinaryIO, format_name: str, max_pixels: int) -> Decoded:
    """Decode a picture whose format is known.

    Args:
        stream: the file, seekable.
        format_name: as ``identify`` gives it.
        max_pixels: larger pictures are shrunk by whole factors until they have at most so many pixels.

    Raises:
        PhotoError: for a picture that is too large, too small or too damaged to be used; without a path.
    """
    image = open_picture(stream, format_name)
    if format_name == "TIFF":
        # Read before Pillow loads the pixels, for it then takes the orientation out.
        exif = read_exif(stream)
        if is_raw_camera_file(exif):
            raise PhotoError(RAW.problem, remedy=RAW.remedy)
    else:
        exif = None
    check_size(image, format_name)
    frames_note = _frames_note(image)
    stored_width, stored_height = image.size
    shrink = _draft(image, max_pixels) if format_name == "JPEG" else 1
    image, share, damage_note = _load(image, stream, format_name, shrink)
    turn = 1
    if exif is None:
        exif = exif_of(image)
        turn = orientation(exif)
    elif damage_note and orientation(exif) != 1:
        raise _beyond_repair()  # Pillow turns a TIFF upright itself, but not one that failed
    xmp = image.info.get("xmp") or b""
    factor = 1
    while image.width * image.height > max_pixels * factor**2:
        factor += 1
    try:
        picture, colour_notes = to_srgb(image, factor)
        if turn in _TRANSPOSES:
            picture = picture.transpose(_TRANSPOSES[turn])
        pixels = np.asarray(picture)
    except _BAD_DATA as error:
        raise _beyond_repair() from error
    pixels.setflags(write=False)
    width, height = (stored_height, stored_width) if turn >= 5 else (stored_width, stored_height)
    size_note = ""
    if shrink * factor > 1:
        size_note = (
            f"It has {width} × {height} pixels and was read at 1/{shrink * factor} of its size."
        )
    return Decoded(
        pixels=pixels,
        size=(width, height),
        turned=turn >= 5,
        exif=exif,
        xmp=xmp,
        usable=_usable(share, turn),
        notes=tuple(filter(None, (damage_note, frames_note, size_note, *colour_notes))),
    )


_FROM_THE_TOP = ("JPEG", "PNG", "TIFF", "PPM")
"""Formats of which a cut file still has its upper rows, whole."""

_TRY_ORIGINAL = "Try the original, or copy it again"


def open_picture(stream: BinaryIO, format_name: str) -> ImageFile.ImageFile:
    """A picture whose head was read and nothing more; :class:`PhotoError` where even that is damaged."""
    stream.seek(0)
    try:
        # The class itself, not Image.open: that has a limit of its own, below a large panorama.
        return _OPENERS[format_name](stream)
    except _BAD_DATA as error:
        raise _beyond_repair() from error


def exif_of(image: Image.Image) -> Exif:
    """The EXIF of an opened picture that is no TIFF."""
    block = image.info.get("exif")
    if not block and "Raw profile type exif" in image.info:
        # Old editors keep EXIF in a PNG's text, as hexadecimal digits; Pillow knows how.
        try:
            block = image.getexif().tobytes()
        except _BAD_DATA:
            block = None
    return read_exif(io.BytesIO(block)) if isinstance(block, bytes) else Exif()


def check_size(image: ImageFile.ImageFile, format_name: str) -> None:
    """Refuse, by :class:`PhotoError`, a picture that says it is too small or too large."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"the picture is only {width} × {height} pixels", remedy="Try a larger one"
        )
    limit = MAX_OTHER_PIXELS
    if format_name == "JPEG":
        limit = MAX_PROGRESSIVE_PIXELS if image.info.get("progressive") else MAX_JPEG_PIXELS
    if width * height > limit:
        raise PhotoError(
            f"the picture says it has {width} × {height} pixels, more than Nadir opens",
            remedy=f"Save it with at most {limit // 1_000_000} million pixels",
        )


def _frames_note(image: ImageFile.ImageFile) -> str:
    try:
        frames = int(getattr(image, "n_frames", 1))
        image.seek(0)
    except _BAD_DATA:
        return ""
    if frames <= 1:
        return ""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return f"The file holds {frames} pictures; the first was used."
    return f"It is animated; the first of its {frames} frames was used."


def _draft(image: ImageFile.ImageFile, max_pixels: int) -> int:
    """Ask a JPEG to be decoded at a half, quarter or eighth. Returns by how much it will be."""
    width, height = image.size
    shrink = 1
    while shrink < 8 and width * height > max_pixels * shrink**2:
        shrink *= 2
    if shrink > 1:
        image.draft(None, (max(1, width // shrink), max(1, height // shrink)))
    return round(width / image.width)


def _load(
    image: ImageFile.ImageFile, stream: BinaryIO, format_name: str, shrink: int
) -> tuple[ImageFile.ImageFile, float, str]:
    """Decode. Returns the picture, the share of its rows that could be read, and a note on damage."""
    try:
        image.load()
        return image, 1.0, ""
    except _BAD_DATA as error:
        if format_name not in _FROM_THE_TOP or image.info.get("interlace"):
            raise _beyond_repair() from error
        rows = _rows_loaded(image)
    if rows == 0 and image.info.get("progressive"):
        image, rows = _load_progressive(stream, shrink)
        if rows == image.height:
            return image, 1.0, "Damaged or cut short; some detail is lost. Try the original."
    if rows == 0:
        raise _beyond_repair()
    share = rows / image.height
    if share < LEAST_READABLE:
        raise PhotoError(
            f"damaged after row {rows * shrink}, which leaves too little", remedy=_TRY_ORIGINAL
        )
    if rows == image.height:
        return image, 1.0, "Damaged at its end; all of its rows could be read."
    note = f"Damaged after row {rows * shrink}. The readable part was used; try the original."
    return image, share, note


def _beyond_repair() -> PhotoError:
    return PhotoError(
        "the picture is damaged or cut short and cannot be read", remedy=_TRY_ORIGINAL
    )


def _rows_loaded(image: ImageFile.ImageFile) -> int:
    """How many rows a failed decoding filled: memory starts as zeros, and rows come from the top."""
    image.tile = []
    try:
        box = image.getbbox(alpha_only=False)
    except _BAD_DATA:
        return 0
    return box[3] if box else 0


def _load_progressive(stream: BinaryIO, shrink: int) -> tuple[ImageFile.ImageFile, int]:
    """Decode what a progressive JPEG that is cut short has: all of it coarsely, or its upper rows.

    Its decoder waits for the end, so the end is given to it; what never came is flat grey.
    """
    stream.seek(0)
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(stream.read() + b"\xff\xd9"))
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))
    try:
        image.load()
    except _BAD_DATA as error:
        raise _beyond_repair() from error
    last = image.getpixel((0, image.height - 1))
    flat = Image.new(image.mode, image.size, last)
    box = ImageChops.difference(image, flat).getbbox(alpha_only=False)
    return image, box[3] if box else 0


def _usable(share: float, turn: int) -> Box:
    """The readable part of the upright picture, when the upper ``share`` of the stored one is."""
    if share >= 1.0:
        return WHOLE
    rest = 1.0 - share
    if turn in (3, 4):
        return (0.0, rest, 1.0, 1.0)
    if turn in (5, 8):
        return (0.0, 0.0, share, 1.0)
    if turn in (6, 7):
        return (rest, 0.0, 1.0, 1.0)
    return (0.0, 0.0, 1.0, share)
