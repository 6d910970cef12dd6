"""The picture of a map tile: what kind it is by its first bytes, its size before it is decoded, its pixels."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from engine.imagery.tile_grid import MOST_TILE_PIXELS

MOST_TILE_BYTES = 16 << 20
_OPENERS = {
    "png": PngImagePlugin.PngImageFile,
    "jpg": JpegImagePlugin.JpegImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
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
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Pillow warns of damaged metadata and of palettes; neither matters in a tile.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class TileError(Exception):
    """A tile's bytes are no picture that can be shown; ``str(error)`` says why in a few words."""


@dataclass(frozen=True, eq=False)
class TilePixels:
    """A decoded tile: colours uint8 [H, W, 3], 0 where there are none, and validity (255 or 0), None: all valid."""

    colours: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None

    @property
    def nbytes(self) -> int:
        return self.colours.nbytes + (0 if self.mask is None else self.mask.nbytes)


def kind_of(data: bytes) -> str:
    """``png``, ``jpg`` or ``webp`` by the first bytes; else what it is in words, empty where that is not known."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"\x1f\x8b"):
        return "a vector tile"  # they are gzipped, pictures never
    if data[:64].lstrip()[:1] in (b"<", b"{"):
        return "a text"
    return ""


def tile_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, without decoding it.

    Raises:
        TileError: it is no PNG, JPEG or WebP, or of a size that no tile has.
    """
    return _open(data).size


def decode_tile(data: bytes, width: int, height: int) -> TilePixels:
    """Decode a tile, scaled where it has another size than ``width`` by ``height`` but the same shape.

    A JPEG is decoded at about that size: an eighth is the means of its blocks, and takes a fraction of the time.

    Raises:
        TileError: it is damaged, no picture, or of another shape.
    """
    image = _open(data)
    if image.size[0] * height != image.size[1] * width:
        raise TileError(f"it has {image.size[0]} by {image.size[1]} pixels")
    try:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft("RGB", (width, height))
        image.load()
        transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La")
        if image.mode.startswith("I"):
            deep = np.asarray(image).astype(np.uint32)
            image = Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8))
        plain = image.convert("RGBA" if transparent else "RGB")
    except _BAD_DATA as error:
        raise TileError("it is damaged") from error
    if not transparent:
        return TilePixels(np.asarray(_scaled(plain, width, height)), None)
    pixels = np.asarray(plain)
    return scale_masked(
        np.ascontiguousarray(pixels[..., :3]),
        np.where(pixels[..., 3] >= 128, np.uint8(255), np.uint8(0)),
        None,
        width,
        height,
    )


def scale_masked(
    colours: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    box: tuple[float, float, float, float] | None,
    width: int,
    height: int,
) -> TilePixels:
    """Scale pixels [H, W, 3] with their validity, averaging what becomes smaller; ``box`` is the part to take.

    A pixel is valid where half of what it is made of is, and has the colour of that half.
    """
    rows, columns = colours.shape[:2]
    box = box or (0.0, 0.0, float(columns), float(rows))
    if mask is not None and mask.all():
        mask = None
    if mask is None:
        return TilePixels(np.asarray(_scaled(Image.fromarray(colours), width, height, box)), None)
    clean = colours * (mask >= 128)[..., None]
    if (width, height) == (columns, rows) and box == (0.0, 0.0, columns, rows):
        return TilePixels(clean, mask)
    shown = np.asarray(_scaled(Image.fromarray(clean), width, height, box)).astype(np.float32)
    weight = np.asarray(_scaled(Image.fromarray(mask), width, height, box))
    good = weight >= 128
    shown *= (255.0 / np.maximum(weight, 1))[..., None]
    brought = np.where(good[..., None], np.minimum(np.round(shown), 255), 0).astype(np.uint8)
    return TilePixels(brought, None if good.all() else good.astype(np.uint8) * np.uint8(255))


def _scaled(
    image: Image.Image,
    width: int,
    height: int,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    box = box or (0.0, 0.0, float(image.width), float(image.height))
    if image.size == (width, height) and box == (0.0, 0.0, width, height):
        return image
    across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height
    # Whole pixels that become one are averaged exactly; else every pixel counts by how near it lies.
    exact = all(float(value).is_integer() for value in (across, down, box[0], box[1]))
    how = Image.Resampling.BOX if exact else Image.Resampling.BILINEAR
    return image.resize((width, height), how, box)


def _open(data: bytes) -> Image.Image:
    kind = kind_of(data)
    if kind not in _OPENERS:
        raise TileError(f"it is {kind}" if kind else "it is no PNG, JPEG or WebP")
    if len(data) > MOST_TILE_BYTES:
        raise TileError("it is larger than 16 MB")
    try:
        image = _OPENERS[kind](io.BytesIO(data))
    except _BAD_DATA as error:
        raise TileError("it is damaged") from error
    if not (0 < image.width <= MOST_TILE_PIXELS and 0 < image.height <= MOST_TILE_PIXELS):
        raise TileError(f"it has {image.width} by {image.height} pixels")
    return image
