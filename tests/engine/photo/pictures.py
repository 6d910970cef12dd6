"""Pictures and files to read, made on the spot."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scene(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """A picture like a photo: smooth, different in its four corners, nowhere black."""
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    waves = 20 * np.sin(9 * x + 5 * y) + 20 * np.cos(13 * y - 3 * x)
    colours = [60 + 120 * x + waves, 60 + 120 * y + waves, 180 - 100 * x * y + waves]
    return np.stack(np.broadcast_arrays(*colours), axis=2).clip(1, 255).astype(np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, format_name: str, **options: Any) -> bytes:
    """A picture's file as bytes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(encoded(scene(64, 64), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header says another size, its checksum made good."""
    import zlib

    data = bytearray(encoded(scene(64, 64), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def exif_block(
    main: dict[int, Any] | None = None,
    camera: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
) -> Image.Exif:
    """EXIF with these tags."""
    exif = Image.Exif()
    exif.update(main or {})
    if camera:
        exif.get_ifd(0x8769).update(camera)
    if gps:
        exif.get_ifd(0x8825).update(gps)
    return exif


PHOTOS = [
    ("land_768x1024", 8501, 768, 1024),
    ("wide_576x1024", 8502, 576, 1024),
    ("portrait_1024x768", 8503, 1024, 768),
    ("small_150x200", 8504, 150, 200),
    ("odd_683x1024", 8505, 683, 1024),
]


def coarse_photo(seed: int, height: int, width: int) -> np.ndarray:
    """The synthetic photos that the golden numbers were made for (statewide/NOTES.md)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    blocks = generator.integers(0, 256, (-(-height // 16), -(-width // 16), 3)).astype(np.uint8)
    grain = generator.integers(0, 32, (height, width, 3)).astype(np.uint8)
    coarse = np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1)[:height, :width]
    return coarse // 32 * 28 + grain
