"""Writing JPEGs whose metadata says how they see the world, the way cameras write it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from engine.files import atomic_write
from engine.photo import exif
from engine.photo.gpano import xmp_packet
from engine.photo.views import focal_pixels

_SENSOR_MM = 36.0


def save_jpeg(
    path: Path,
    pixels: NDArray[np.uint8],
    quality: int = 92,
    *,
    gpano: Mapping[str, str] | None = None,
    fov_deg: float | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    heading_deg: float | None = None,
    camera: str = "",
    taken: str = "",
) -> None:
    """Write a photo or a panorama; ``read_photo`` gives the same facts back.

    Args:
        path: the file, replaced whole or not at all.
        pixels: uint8 [H, W, 3], sRGB.
        quality: JPEG quality, 1..100.
        gpano: Photo Sphere properties, e.g. ``gpano.full_sphere(...)``.
        fov_deg: horizontal field of view of a perspective photo, written as focal lengths.
        latitude, longitude: WGS84 degrees; both or neither.
        heading_deg: where the centre column looks, from true north.
        camera: the camera's model.
        taken: ``YYYY-MM-DD HH:MM:SS``.
    """
    block = _exif_block(
        (pixels.shape[1], pixels.shape[0]), fov_deg, latitude, longitude, heading_deg, camera, taken
    )
    options: dict[str, object] = {}
    if gpano:
        options["xmp"] = xmp_packet(gpano)
    with atomic_write(path) as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, exif=block, **options)


def _exif_block(
    size: tuple[int, int],
    fov_deg: float | None,
    latitude: float | None,
    longitude: float | None,
    heading_deg: float | None,
    camera: str,
    taken: str,
) -> Image.Exif:
    block = Image.Exif()
    if camera:
        block[exif.MODEL] = camera
    details = block.get_ifd(exif.EXIF_IFD)
    details[exif.PIXELS_X], details[exif.PIXELS_Y] = size
    if taken:
        date, _, time = taken.partition(" ")
        details[exif.TIME_ORIGINAL] = f"{date.replace('-', ':')} {time}"
    if fov_deg is not None:
        details.update(_focal_tags(fov_deg, *size))
    gps = block.get_ifd(exif.GPS_IFD)
    if latitude is not None and longitude is not None:
        gps[exif.GPS_LAT_REF] = "S" if latitude < 0 else "N"
        gps[exif.GPS_LAT] = _sexagesimal(abs(latitude))
        gps[exif.GPS_LON_REF] = "W" if longitude < 0 else "E"
        gps[exif.GPS_LON] = _sexagesimal(abs(longitude))
    if heading_deg is not None:
        gps[exif.GPS_DIRECTION_REF] = "T"
        gps[exif.GPS_DIRECTION] = _rational(heading_deg % 360.0)
    return block


def _focal_tags(fov_deg: float, width: int, height: int) -> dict[int, object]:
    """The 35 mm equivalent, which is a whole number, and focal length and sensor density, which are exact."""
    focal = focal_pixels(fov_deg, width)
    film = focal * exif.DIAGONAL_35MM / math.hypot(width, height)
    per_cm = Fraction(max(width, height) * 10) / Fraction(_SENSOR_MM)
    return {
        exif.FOCAL_LENGTH: _rational(float(focal / (per_cm / 10))),
        exif.FOCAL_35MM: max(1, round(film)),
        exif.PLANE_X: _rational(float(per_cm)),
        exif.PLANE_Y: _rational(float(per_cm)),
        exif.PLANE_UNIT: 3,
    }


def _sexagesimal(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    whole = math.floor(degrees)
    minutes = math.floor((degrees - whole) * 60)
    seconds = (degrees - whole - minutes / 60) * 3600
    return IFDRational(whole, 1), IFDRational(minutes, 1), _rational(max(0.0, seconds))


def _rational(value: float) -> IFDRational:
    """As fine as two unsigned 32-bit numbers can say it, up to about 4,000."""
    scale = 1_000_000
    return IFDRational(round(value * scale), scale)
