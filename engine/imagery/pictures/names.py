"""Where a picture lies, by its file's name.

Read are the names of VIGOR (Zhu et al., CVPR 2021)::

    satellite_LAT_LON.png        a tile, its centre
    ID,LAT,LON,.jpg              a panorama

those of the visual geo-localization benchmark (Berton et al., CVPR 2022), of which the first two are needed::

    @UTM_EAST@UTM_NORTH@ZONE@LETTER@LAT@LON@PANO@TILE@HEADING@PITCH@ROLL@HEIGHT@TIMESTAMP@NOTE@.jpg

and any name with one latitude followed by one longitude, both with three decimals or more: ``anything_LAT_LON.jpg``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

EXPECTED = (
    "satellite_LAT_LON.png",
    "@UTM_EAST@UTM_NORTH@ZONE@LETTER@….jpg",
    "ID,LAT,LON,.jpg",
    "…_LAT_LON.jpg",
)
"""The forms of names that are read, for messages."""

VIGOR_PIXELS = 640
"""Of a side of VIGOR's tiles."""

VIGOR_PIXEL_M = 156543.03392804097 / 2**20
"""Metres that a pixel of them spans at the equator: web mercator's zoom 20."""

_ZONE, _LETTER, _LAT, _LON, _HEADING = 3, 4, 5, 6, 9
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_PAIR = re.compile(r"(?<![\d.-])(?=(-?\d{1,2}\.\d{3,})[_, ](-?\d{1,3}\.\d{3,})(?![\d.]*\d))")


@dataclass(frozen=True)
class AtName:
    """A name of the benchmark. What it does not say is NaN, 0 (zone) or "" (letter).

    Args:
        east, north: metres in the UTM zone.
        zone: 1 to 60.
        letter: a band of latitude, C to X, which ``N`` and ``S`` may also mean as hemispheres.
        lat, lon: WGS84 degrees, on the Earth.
        heading_deg: clockwise from north, in [0, 360).
    """

    east: float
    north: float
    zone: int
    letter: str
    lat: float
    lon: float
    heading_deg: float


def at_name(name: str) -> AtName | None:
    """What a name of the benchmark says; None: it is none, or its metres are no numbers."""
    cells = name.split("@")
    if len(cells) < 4:
        return None
    east, north = _number(cells, 1), _number(cells, 2)
    if math.isnan(east) or math.isnan(north):
        return None
    zone = _number(cells, _ZONE)
    letter = cells[_LETTER].strip().upper() if len(cells) > _LETTER else ""
    place = on_earth(_number(cells, _LAT), _number(cells, _LON)) or (math.nan, math.nan)
    return AtName(
        east=east,
        north=north,
        zone=int(zone) if zone in range(1, 61) else 0,
        letter=letter if len(letter) == 1 and letter in _BANDS else "",
        lat=place[0],
        lon=place[1],
        heading_deg=_number(cells, _HEADING) % 360.0,
    )


def tile_place(name: str) -> tuple[float, float] | None:
    """The centre that the name of one of VIGOR's tiles says; None: it is none."""
    cells = name.removesuffix(".png").removesuffix(".jpg").split("_")
    return _place(cells[1:]) if len(cells) == 3 and cells[0] == "satellite" else None


def panorama_place(name: str) -> tuple[float, float] | None:
    """Where one of VIGOR's panoramas was taken, by its name; None: it is none."""
    cells = name.split(",")
    return _place(cells[1:3]) if len(cells) == 4 and "/" not in name else None


def named_place(name: str) -> tuple[float, float] | None:
    """The one latitude and longitude in any other name; None where there is none, or more than one."""
    found = _PAIR.findall(PurePosixPath(name).stem)
    return _place(found[0]) if len(found) == 1 else None


def on_earth(lat: float, lon: float) -> tuple[float, float] | None:
    """The position, where it is one; 0 0, which stands for "unknown" in many tables, is none."""
    if not (-90 <= lat <= 90 and -180 <= lon <= 180) or (lat == 0 and lon == 0):
        return None
    return lat, lon


def _place(cells: Sequence[str]) -> tuple[float, float] | None:
    try:
        lat, lon = (float(cell) for cell in cells)
    except ValueError:
        return None
    return on_earth(lat, lon)


def _number(cells: list[str], index: int) -> float:
    try:
        value = float(cells[index])
    except (IndexError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan
