"""Reading EXIF that cameras, phones and editors really write, garbage included.

Every entry is read on its own and within bounds; one that is damaged, of the wrong type or out of range counts as
absent and spoils nothing else. Format: CIPA DC-008 (Exif 3.0), which lays it out like a TIFF file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

Value = tuple[float, ...] | str | bytes

MAKE, MODEL, ORIENTATION, SOFTWARE_TIME = 0x010F, 0x0110, 0x0112, 0x0132
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TIME_ORIGINAL, FOCAL_LENGTH = 0x9003, 0x920A
PIXELS_X, PIXELS_Y = 0xA002, 0xA003
PLANE_X, PLANE_Y, PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
ZOOM, FOCAL_35MM = 0xA404, 0xA405
GPS_LAT_REF, GPS_LAT, GPS_LON_REF, GPS_LON = 1, 2, 3, 4
GPS_DIRECTION_REF, GPS_DIRECTION = 16, 17
SUB_IFDS, SUBFILE_TYPE, DNG_VERSION = 0x014A, 0x00FE, 0xC612
GEO_TRANSFORM, GEO_KEYS, GEO_TIES = 0x85D8, 0x87AF, 0x8482  # OGC 19-008, GeoTIFF

DIAGONAL_35MM = math.hypot(36.0, 24.0)
_PLANE_UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}
_MAX_ENTRIES = 512
_MAX_VALUE_BYTES = 1 << 16


@dataclass(frozen=True)
class Exif:
    """The entries of the three directories that matter, by tag. Numbers are finite floats."""

    main: Mapping[int, Value] = field(default_factory=dict)
    camera: Mapping[int, Value] = field(default_factory=dict)
    gps: Mapping[int, Value] = field(default_factory=dict)


def read_exif(stream: BinaryIO) -> Exif:
    """Read the directories of an EXIF block, or of a TIFF file, from where the stream stands at its start.

    Never raises for what the bytes hold; what cannot be read is absent.
    """
    stream.seek(0)
    head = stream.read(14)
    start = 6 if head.startswith(b"Exif\x00\x00") else 0
    order = {b"II": "<", b"MM": ">"}.get(head[start : start + 2])
    if order is None or len(head) < start + 8:
        return Exif()
    reader = _Reader(stream, start, order)
    (first,) = struct.unpack(order + "I", head[start + 4 : start + 8])
    main = reader.directory(first)
    camera = reader.directory(_offset(main.get(EXIF_IFD)))
    gps = reader.directory(_offset(main.get(GPS_IFD)))
    return Exif(main, camera, gps)


def orientation(exif: Exif) -> int:
    """How the stored picture must be turned to stand upright, 1..8; 1 when unknown."""
    value = _number(exif.main, ORIENTATION)
    return int(value) if value is not None and value in range(1, 9) else 1


def camera_name(exif: Exif) -> str:
    """Maker and model in one, without repeating the maker; may be empty."""
    make, model = _text(exif.main, MAKE), _text(exif.main, MODEL)
    if make and model.lower().startswith(make.lower()):
        return model
    return f"{make} {model}".strip()


def time_taken(exif: Exif) -> str:
    """Local time as ``YYYY-MM-DD HH:MM:SS``, or an empty string."""
    text = _text(exif.camera, TIME_ORIGINAL) or _text(exif.main, SOFTWARE_TIME)
    date, _, time = text.partition(" ")
    if len(date) != 10 or not date.replace(":", "").isdigit() or date.startswith("0000"):
        return ""
    return f"{date.replace(':', '-')} {time[:8]}".strip()


def position(exif: Exif) -> tuple[float, float] | None:
    """Latitude and longitude in WGS84 degrees. Without N/S and E/W, out of range, or at 0 0 it is unknown."""
    lat = _angle(exif.gps, GPS_LAT, GPS_LAT_REF, "NS", 90.0)
    lon = _angle(exif.gps, GPS_LON, GPS_LON_REF, "EW", 180.0)
    if lat is None or lon is None or (lat == 0.0 and lon == 0.0):
        return None
    return lat, lon


def image_direction(exif: Exif) -> tuple[float, bool] | None:
    """Where the camera looked, degrees clockwise from north, and whether that is magnetic north."""
    value = _number(exif.gps, GPS_DIRECTION)
    if value is None or not 0.0 <= value <= 360.0:
        return None
    return value % 360.0, _text(exif.gps, GPS_DIRECTION_REF).upper().startswith("M")


def focal_pixels(exif: Exif, width: int, height: int) -> float | None:
    """Focal length in pixels of the picture as it is stored, ``width`` × ``height``; None when EXIF does not say.

    From the focal length in 35 mm film, read as the standard for cameras has it (equal angles over the diagonal), or
    from the focal length and the pixels a millimetre on the sensor. Where both are there and agree, the second is the
    finer, for the first is a whole number. A picture that was cropped after it was taken is assumed to have kept its
    full width or its full height.
    """
    taken_width = _number(exif.camera, PIXELS_X) or 0.0
    taken_height = _number(exif.camera, PIXELS_Y) or taken_width * height / width
    if min(taken_width, taken_height) < 1:
        taken_width, taken_height = float(width), float(height)
    if (taken_width > taken_height) != (width > height):
        taken_width, taken_height = taken_height, taken_width
    scale = max(width / taken_width, height / taken_height)
    film = _film_focal(exif, math.hypot(taken_width, taken_height))
    plane = _plane_focal(exif, max(taken_width, taken_height))
    if film and plane and abs(plane / film - 1) > max(0.06, _film_rounding(exif)):
        plane = None
    focal = plane or film
    return focal * scale if focal else None


def is_raw_camera_file(exif: Exif) -> bool:
    """Whether a TIFF-like file is a camera's raw file, of which only a thumbnail would be seen."""
    reduced = _number(exif.main, SUBFILE_TYPE)
    return DNG_VERSION in exif.main or (reduced == 1 and SUB_IFDS in exif.main)


def is_georeferenced(exif: Exif) -> bool:
    """Whether a TIFF file says where on the ground its pixels lie, as aerial imagery does."""
    return GEO_KEYS in exif.main and (GEO_TIES in exif.main or GEO_TRANSFORM in exif.main)


def _film_rounding(exif: Exif) -> float:
    """How far off the focal length in 35 mm film may be for being a whole number, as a share, and a little more."""
    return 0.55 / max(_number(exif.camera, FOCAL_35MM) or 1.0, 1.0)


def _film_focal(exif: Exif, diagonal_pixels: float) -> float | None:
    value = _number(exif.camera, FOCAL_35MM)
    if value is None or not 3.0 <= value <= 3000.0:
        return None
    return value / DIAGONAL_35MM * diagonal_pixels


def _plane_focal(exif: Exif, long_pixels: float) -> float | None:
    focal_mm = _number(exif.camera, FOCAL_LENGTH)
    density = _number(exif.camera, PLANE_X)
    unit = _PLANE_UNITS_MM.get(int(_number(exif.camera, PLANE_UNIT) or 2))
    if not focal_mm or not density or unit is None or density <= 0:
        return None
    sensor_mm = long_pixels / density * unit
    if not (2.0 <= sensor_mm <= 80.0 and 0.5 <= focal_mm <= 3000.0):
        return None
    zoom = _number(exif.camera, ZOOM) or 1.0
    return focal_mm * density / unit * (zoom if 1.0 <= zoom <= 100.0 else 1.0)


def _number(tags: Mapping[int, Value], tag: int) -> float | None:
    value = tags.get(tag)
    if isinstance(value, tuple) and value:
        return value[0]
    return None


def _text(tags: Mapping[int, Value], tag: int) -> str:
    value = tags.get(tag)
    return value if isinstance(value, str) else ""


def _angle(
    tags: Mapping[int, Value], tag: int, ref_tag: int, signs: str, limit: float
) -> float | None:
    value, ref = tags.get(tag), _text(tags, ref_tag).upper()[:1]
    if not isinstance(value, tuple) or not value or not ref or ref not in signs:
        return None
    parts = (*value[:3], 0.0, 0.0)
    if min(parts) < 0 or max(parts[1:3]) > 60:
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    if degrees > limit:
        return None
    return -degrees if ref == signs[1] else degrees


def _offset(value: Value | None) -> int:
    return int(value[0]) if isinstance(value, tuple) and value else 0


@dataclass(frozen=True)
class _Reader:
    stream: BinaryIO
    start: int
    order: str

    def directory(self, offset: int) -> dict[int, Value]:
        """The entries of the directory at an offset; none where there is no directory."""
        if offset < 8:
            return {}
        head = self._read(offset, 2)
        if len(head) < 2:
            return {}
        (count,) = struct.unpack(self.order + "H", head)
        block = self._read(offset + 2, 12 * min(count, _MAX_ENTRIES))
        entries: dict[int, Value] = {}
        for at in range(0, len(block) - 11, 12):
            tag, kind, length = struct.unpack(self.order + "HHI", block[at : at + 8])
            value = self._value(kind, length, block[at + 8 : at + 12])
            if value is not None:
                entries[tag] = value
        return entries

    def _value(self, kind: int, length: int, inline: bytes) -> Value | None:
        size = _SIZES.get(kind, 0) * length
        if not 0 < size <= _MAX_VALUE_BYTES:
            return None
        data = inline[:size]
        if size > 4:
            data = self._read(struct.unpack(self.order + "I", inline)[0], size)
            if len(data) < size:
                return None
        if kind == 2:
            return _decoded(data)
        if kind == 7:
            return data
        if kind in (5, 10):
            parts = struct.unpack(f"{self.order}{2 * length}{'I' if kind == 5 else 'i'}", data)
            ratios = zip(parts[::2], parts[1::2], strict=True)
            numbers = tuple(a / b if b else math.nan for a, b in ratios)
        else:
            numbers = struct.unpack(f"{self.order}{length}{_CODES[kind]}", data)
        return tuple(map(float, numbers)) if all(map(math.isfinite, numbers)) else None

    def _read(self, offset: int, size: int) -> bytes:
        self.stream.seek(self.start + offset)
        return self.stream.read(size)


def _decoded(data: bytes) -> str:
    data = data.split(b"\x00", 1)[0]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip()
