"""Where the tiles of an index stand: a regular grid over an area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.geo import Bounds, metres_per_degree, wrap_longitude
from engine.index.area import Area

MAX_TILES = 100_000_000
_BLOCK = 32  # tiles; neighbours in the order are neighbours on the ground, so that they share what is read


def tile_centres(
    bounds: Bounds, stride_m: float, area: Area | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of tiles, ``stride_m`` metres apart both ways: latitudes [N] and longitudes [N].

    Rows are parallels; in each row the steps are metres at its own latitude, counted from the middle of the box, where
    one tile stands; so at 30 m these are not the cells of Fervers et al. (ECCV 2024), whose lattice begins at the
    equator, but as dense. The order runs through blocks of 32 by 32 tiles, north to south and west to east.

    Raises:
        ImageryError: there would be more tiles than :data:`MAX_TILES`.
    """
    lat0, lon0 = bounds.centre
    per_lat, per_lon = (float(v) for v in metres_per_degree(lat0))
    rows = int((bounds.north - bounds.south) / 2 * per_lat / stride_m + 1e-9)
    columns = int(bounds.width_deg / 2 * per_lon / stride_m + 1e-9)
    expected = (2 * rows + 1) * (2 * columns + 1)
    if expected > MAX_TILES:
        raise ImageryError(
            f"{expected:,} tiles, {stride_m:g} m apart, would be needed to cover the area; {MAX_TILES:,} are allowed",
            None,
            "Choose a smaller area or a larger stride",
        )
    kept: list[NDArray[np.floating]] = []
    for first in range(-rows, rows + 1, _BLOCK):
        band = np.arange(first, min(first + _BLOCK, rows + 1))
        lat = np.clip(lat0 - band * stride_m / per_lat, -89.9, 89.9)
        along = metres_per_degree(lat)[1]
        reach = int(bounds.width_deg / 2 * float(along.max()) / stride_m + 1e-9)
        steps = np.arange(-reach, reach + 1)
        row, step = (v.ravel() for v in np.meshgrid(np.arange(len(band)), steps, indexing="ij"))
        offset = step * stride_m / along[row]
        inside = np.abs(offset) <= bounds.width_deg / 2 + 1e-12
        row, step, offset = row[inside], step[inside], offset[inside]
        points = np.stack([lat[row], wrap_longitude(lon0 + offset)])
        # Every other band of blocks is walked from east to west, so that a run of tiles nowhere jumps.
        block = (step + reach) * -(-(2 * reach + 1) // _BLOCK) // (2 * reach + 1)
        order = np.lexsort((step, row, -block if (first + rows) // _BLOCK % 2 else block))
        points = points[:, order]
        if area is not None:
            points = points[:, area.contains(points[0], points[1])]
        kept.append(points)
    lats, lons = np.concatenate(kept, axis=1)
    return lats, lons


def intersection(a: Bounds, b: Bounds) -> Bounds | None:
    """The box that two boxes share, None where they share nothing (the larger part where there are two)."""
    south, north = max(a.south, b.south), min(a.north, b.north)
    if north <= south:
        return None
    if max(a.width_deg, b.width_deg) >= 360.0:
        narrow = min(a, b, key=lambda box: box.width_deg)
        return Bounds(south, narrow.west, north, narrow.east)
    best: tuple[float, float] | None = None
    for turn in (-360.0, 0.0, 360.0):
        west = max(a.west, b.west + turn)
        east = min(a.west + a.width_deg, b.west + turn + b.width_deg)
        if east > west and (best is None or east - west > best[1] - best[0]):
            best = (west, east)
    if best is None:
        return None
    return Bounds(south, float(wrap_longitude(best[0])), north, float(wrap_longitude(best[1])))


def around(lats: NDArray[np.float64], lons: NDArray[np.float64], margin_m: float) -> Bounds:
    """The box around positions with a margin in metres."""
    per_lat, per_lon = metres_per_degree(lats)
    turned = lons[0] + (lons - lons[0] + 180.0) % 360.0 - 180.0
    south, north = (lats - margin_m / per_lat).min(), (lats + margin_m / per_lat).max()
    west, east = (turned - margin_m / per_lon).min(), (turned + margin_m / per_lon).max()
    if east - west >= 360.0:
        west, east = -180.0, 180.0
    else:
        west, east = wrap_longitude(west), wrap_longitude(east)
    return Bounds(float(max(south, -90.0)), float(west), float(min(north, 90.0)), float(east))
