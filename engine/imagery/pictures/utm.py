"""Universal transverse Mercator to WGS84, for names that give nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # 8° of latitude each, from 80° S; the last is 12° high
_SLACK_DEG = 1.0
_OVERLAP_NORTH = (3_500_000.0, 4_500_000.0)  # northings of band S, which as a hemisphere is south


def utm_to_wgs84(
    east: ArrayLike, north: ArrayLike, zones: ArrayLike, letters: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes [N] of UTM coordinates [N] in metres; NaN where they make none.

    Args:
        zones: 1 to 60.
        letters: bands of latitude (C to X); ``N`` and ``S`` may also be hemispheres. A position whose latitude is not
            in its band is none: zone, letter or metres are wrong.
    """
    from rasterio.crs import CRS

    from engine.imagery.resample import WGS84, project

    east, north = np.asarray(east, np.float64), np.asarray(north, np.float64)
    zones = np.asarray(zones, np.int64)
    lats, lons = np.full(len(east), np.nan), np.full(len(east), np.nan)
    south = np.array(
        [_southern(letter, y) for letter, y in zip(letters, north.tolist(), strict=True)], np.bool_
    )
    known = (zones >= 1) & (zones <= 60) & np.array([bool(letter) for letter in letters], np.bool_)
    known &= (np.abs(east - 500_000) < 1_000_000) & (north > -1e6) & (north < 1.1e7)
    for zone in np.unique(zones[known]):
        for below in (False, True):
            rows = np.flatnonzero(known & (zones == zone) & (south == below))
            if len(rows):
                crs = CRS.from_epsg((32700 if below else 32600) + int(zone))
                lons[rows], lats[rows] = project(crs, WGS84, east[rows], north[rows])
    with np.errstate(invalid="ignore"):
        good = np.isfinite(lats) & np.isfinite(lons) & (np.abs(lats) <= 90) & (np.abs(lons) <= 180)
    for row in np.flatnonzero(good):
        good[row] = _in_band(letters[row], float(lats[row]), bool(south[row]))
    return np.where(good, lats, np.nan), np.where(good, lons, np.nan)


def _southern(letter: str, north: float) -> bool:
    if (
        letter == "S"
    ):  # band S lies north of the equator; "south" is meant where its northings are not those
        return not _OVERLAP_NORTH[0] <= north <= _OVERLAP_NORTH[1]
    return bool(letter) and letter < "N"


def _in_band(letter: str, lat: float, south: bool) -> bool:
    if letter in "NS":
        return (lat < _SLACK_DEG) if south else (lat > -_SLACK_DEG)
    low = -80.0 + 8.0 * _BANDS.index(letter)
    high = 84.0 if letter == "X" else low + 8.0
    return low - _SLACK_DEG <= lat <= high + _SLACK_DEG
