"""The outline of the ground that an index covers, coarse enough to be drawn, whatever the number of its tiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.geo import metres_per_degree
from engine.index import Index

CELLS = 384  # at most, along the longer side
GROUND_M = 25.0  # about a photo's place
MAX_POINTS = 20_000  # of all rings together; beyond that the cells are made coarser

Ring = NDArray[np.float64]
Coordinates = NDArray[np.floating[Any]]


def index_outline(index: Index) -> list[Ring]:
    """Rings around the places that an index holds: [n, 2] longitudes and latitudes, holes among them (even-odd).

    Longitudes run on across the 180° meridian.
    """
    lats, lons = index.centres
    return outline(np.asarray(lats), np.asarray(lons), index.manifest.stride_m)


def outline(lats: Coordinates, lons: Coordinates, stride_m: float) -> list[Ring]:
    """Rings around squares of ``stride_m`` metres about positions; neighbours grow together.

    A stride of 0 says that they stand on no grid; each is then drawn with a little ground about it.
    """
    if not len(lats):
        return []
    stride_m = stride_m or GROUND_M
    lons = lons[0] + (lons - lons[0] + 180.0) % 360.0 - 180.0
    per_lat, per_lon = (float(v) for v in metres_per_degree((lats.min() + lats.max()) / 2))
    span = max(np.ptp(lats) * per_lat, np.ptp(lons) * per_lon) + stride_m
    cell = float(max(1.02 * stride_m, span / CELLS))
    while True:
        rings = _trace(lats, lons, cell / per_lat, cell / per_lon)
        if sum(map(len, rings)) <= MAX_POINTS or span / cell < 8:
            return rings
        cell *= 2


def _trace(lats: Coordinates, lons: Coordinates, high: float, wide: float) -> list[Ring]:
    from affine import Affine
    from rasterio.features import shapes

    # Half a cell around the outermost centres, and the grid's lines between the centres of a regular lattice.
    rows = math.ceil(np.ptp(lats) / high + 1e-6) + 1
    columns = math.ceil(np.ptp(lons) / wide + 1e-6) + 1
    north = (lats.min() + lats.max()) / 2 + rows * high / 2
    west = (lons.min() + lons.max()) / 2 - columns * wide / 2
    mask = np.zeros((rows, columns), np.uint8)
    mask[
        np.clip(((north - lats) / high).astype(np.int64), 0, rows - 1),
        np.clip(((lons - west) / wide).astype(np.int64), 0, columns - 1),
    ] = 1
    mask = _closed(mask)
    place = Affine(wide, 0, west, 0, -high, north)
    found = shapes(mask, mask=mask.astype(bool), connectivity=4, transform=place)
    return [np.asarray(ring, np.float64) for shape, _ in found for ring in shape["coordinates"]]


def _closed(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Single empty cells between two full ones are filled: a lattice does not fall into cells evenly."""
    wide = np.pad(mask, 1)
    across = wide[1:-1, :-2] & wide[1:-1, 2:]
    upright = wide[:-2, 1:-1] & wide[2:, 1:-1]
    return mask | across | upright
