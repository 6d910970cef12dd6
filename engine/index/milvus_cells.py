"""Regions as lists of cells: what a database that knows no geometry needs to filter by one exactly.

The Earth is cut into 2^level by 2^level cells of equal degrees. Every tile keeps the numbers of the cells that its
centre lies in, at each of :data:`LEVELS`. A region becomes the largest cells that lie wholly inside it, and the
smallest ones that its edge runs through; whoever filters tests the few tiles in the latter one by one. To call a cell
an edge cell that is none costs a little time; to call one an inner cell that is none would be wrong, so every doubt
is decided that way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.geo import Bounds
from engine.index.area import Area

LEVELS = (6, 8, 10, 12, 14, 16, 18)
"""Side of a cell at the equator: 626 km by 313 km at level 6, 153 m by 76 m at level 18."""

FINEST = LEVELS[-1]
MAX_EDGE_CELLS = 400_000
OUTSIDE, EDGE, INSIDE = 0, 1, 2

_STEP = 2  # levels a cell is divided by at a time: 16 children
_TOLERANCE_DEG = (
    1e-9  # a tenth of a millimetre; the rounding of positions and cell numbers stays below
)
_DEGREE_M = math.radians(6_371_008.8)  # of a great circle
_LONG_M = 20_000.0  # from here on geo.distance_m measures great circles
_SHORT_TOLERANCE = 1.015  # by which its shorter lines may differ from those


def cell_numbers(
    lats: NDArray[np.float64], lons: NDArray[np.float64], level: int
) -> NDArray[np.int64]:
    """Numbers [N] of the cells that positions lie in: row from the south, times 2^level, plus column from 180° W."""
    size = 1 << FINEST
    rows = np.clip(np.floor((lats + 90.0) / 180.0 * size), 0, size - 1).astype(np.int64)
    columns = np.floor((lons + 180.0) / 360.0 * size).astype(np.int64) % size
    down = (
        FINEST - level
    )  # from the finest ones, so that cells of all levels nest whatever the rounding
    return (rows >> down) << level | (columns >> down)


class Region(Protocol):
    """Something that has an inside, looked at from large cells to small ones."""

    def classify(self, boxes: NDArray[np.float64], parents: NDArray[np.intp]) -> NDArray[np.int8]:
        """:data:`OUTSIDE`, :data:`EDGE` or :data:`INSIDE` for cells [n].

        Args:
            boxes: [n, 4] west, south, east, north, degrees.
            parents: [n], which of the cells last kept each is a part of.
        """
        ...

    def keep(self, which: NDArray[np.intp]) -> None:
        """Of the cells last classified, these are divided next."""
        ...


class AreaRegion:
    """Polygons. Remembers which edges run through which cell, so that its children need to look at those alone."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._lines = _lines(area)
        self._edges = np.arange(len(self._lines))
        self._first = np.zeros(1, np.intp)
        self._number = np.array([len(self._lines)], np.intp)

    def classify(self, boxes: NDArray[np.float64], parents: NDArray[np.intp]) -> NDArray[np.int8]:
        number = self._number[parents]
        cell = np.repeat(np.arange(len(boxes)), number)
        place = np.arange(len(cell)) - np.repeat(np.cumsum(number) - number, number)
        edge = self._edges[np.repeat(self._first[parents], number) + place]
        hit = _touch(self._lines[edge], boxes[cell])
        self._edges = edge[hit]
        self._number = np.bincount(cell[hit], minlength=len(boxes))
        self._first = np.cumsum(self._number) - self._number
        kinds = np.full(len(boxes), EDGE, np.int8)
        whole = np.flatnonzero(self._number == 0)
        middle = (boxes[whole, :2] + boxes[whole, 2:]) / 2
        inside = self._area.contains(middle[:, 1], middle[:, 0])
        kinds[whole] = np.where(inside, INSIDE, OUTSIDE)
        return kinds

    def keep(self, which: NDArray[np.intp]) -> None:
        self._first, self._number = self._first[which], self._number[which]


class CircleRegion:
    """All within a radius of a position, by :func:`engine.geo.distance_m`."""

    def __init__(self, lat: float, lon: float, radius_m: float) -> None:
        self._lat, self._lon, self._radius = lat, lon, radius_m

    def classify(self, boxes: NDArray[np.float64], parents: NDArray[np.intp]) -> NDArray[np.int8]:
        west, south, east, north = boxes.T
        distance = _great_circle_m(self._lat, self._lon, (south + north) / 2, (west + east) / 2)
        widest = np.where((south < 0) & (north > 0), 0.0, np.minimum(np.abs(south), np.abs(north)))
        aside = (east - west) / 2 * np.cos(np.radians(widest))
        reach = np.hypot((north - south) / 2, aside) * _DEGREE_M + 1
        # Long lines are great circles there too. Short ones lie on the ellipsoid, and near a pole along a parallel,
        # which may be much longer.
        long = distance - reach > _LONG_M
        tolerance = np.where(long, 1 + 1e-9, _SHORT_TOLERANCE)
        ordinary = long | (np.maximum(np.abs(south), np.abs(north)) < 85.0)
        kinds = np.full(len(boxes), EDGE, np.int8)
        kinds[distance - reach > self._radius * tolerance] = OUTSIDE
        kinds[ordinary & ((distance + reach) * tolerance < self._radius)] = INSIDE
        return kinds

    def keep(self, which: NDArray[np.intp]) -> None:
        pass


class BoxRegion:
    """What may matter at all: a cell that touches the box counts as inside, so that it adds no edge of its own."""

    def __init__(self, box: Bounds) -> None:
        self._box = box

    def classify(self, boxes: NDArray[np.float64], parents: NDArray[np.intp]) -> NDArray[np.int8]:
        west, south, east, north = boxes.T
        slack = 1e-6
        near = (south <= self._box.north + slack) & (north >= self._box.south - slack)
        width = min(self._box.width_deg, 360.0) + 2 * slack
        start = self._box.west - slack
        near &= ((west - start) % 360.0 <= width) | ((start - west) % 360.0 <= east - west)
        return np.where(near, INSIDE, OUTSIDE).astype(np.int8)

    def keep(self, which: NDArray[np.intp]) -> None:
        pass


def _great_circle_m(
    lat: float, lon: float, lats: NDArray[np.float64], lons: NDArray[np.float64]
) -> NDArray[np.float64]:
    a, b = np.radians(lat), np.radians(lats)
    across = np.sin(np.radians(lons - lon) / 2) ** 2
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * across
    return 2 * np.degrees(np.arcsin(np.sqrt(np.clip(half, 0, 1)))) * _DEGREE_M


@dataclass(frozen=True, eq=False)
class Cover:
    """A region as cells.

    Attributes:
        inside: level -> numbers of cells wholly inside.
        edge: numbers of the cells that the edge runs through.
        level: of these; :data:`FINEST` unless the edge is so long that there would be too many.
    """

    inside: dict[int, NDArray[np.int64]]
    edge: NDArray[np.int64]
    level: int


def cover(regions: Sequence[Region], most: int = MAX_EDGE_CELLS) -> Cover:
    """The cells of what several regions share, with at most ``most`` cells at its edge."""
    rows, columns = np.zeros(1, np.int64), np.zeros(1, np.int64)
    inside: dict[int, NDArray[np.int64]] = {}
    level = 0
    while level < FINEST and len(rows):
        finer = level + _STEP
        parents = np.repeat(np.arange(len(rows)), 1 << 2 * _STEP)
        child_rows, child_columns = _children(rows, columns, _STEP)
        high, wide = 180.0 / (1 << finer), 360.0 / (1 << finer)
        corner = np.stack([child_columns * wide - 180.0, child_rows * high - 90.0], axis=1)
        boxes = np.concatenate([corner, corner + (wide, high)], axis=1)
        kinds = np.full(len(boxes), INSIDE, np.int8)
        for region in regions:
            kinds = np.minimum(kinds, region.classify(boxes, parents))
        kept = np.flatnonzero(kinds == EDGE)
        if len(kept) > most and level >= LEVELS[0]:
            break
        for region in regions:
            region.keep(kept)
        whole = kinds == INSIDE
        if whole.any():
            stored = max(finer, LEVELS[0])
            r, c = _children(child_rows[whole], child_columns[whole], stored - finer)
            inside[stored] = np.concatenate([inside.get(stored, r[:0]), r << stored | c])
        rows, columns, level = child_rows[kept], child_columns[kept], finer
    level = max(level, LEVELS[0])
    edge = np.sort(rows << level | columns)
    return Cover({key: np.sort(found) for key, found in inside.items()}, edge, level)


def _children(
    rows: NDArray[np.int64], columns: NDArray[np.int64], down: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cells that cells consist of, so many levels down."""
    part = np.arange(1 << down)
    rows_in, columns_in = (v.ravel() for v in np.meshgrid(part, part, indexing="ij"))
    return (
        ((rows[:, None] << down) + rows_in).ravel(),
        ((columns[:, None] << down) + columns_in).ravel(),
    )


def _lines(area: Area) -> NDArray[np.float64]:
    """All lines [m, 4] (x0, y0, x1, y1) at which :meth:`Area.contains` may change, between 180° W and 180° E."""
    lines: list[NDArray[np.float64]] = []
    for polygon in area.polygons:
        pieces = [np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in polygon]
        (west, south), (east, north) = polygon[0].min(axis=0), polygon[0].max(axis=0)
        everything = np.concatenate(polygon)
        beyond = (everything < (west, south)).any() or (everything > (east, north)).any()
        if beyond or east - west >= 359.0:
            # What the outer ring's box cuts off, and where a polygon around the Earth begins, are edges too.
            middle = (west + east) / 2
            sides = [west, east, middle - 180.0, middle + 180.0]
            upright = [(x, south, x, north) for x in sides]
            pieces.append(
                np.array([*upright, (west, south, east, south), (west, north, east, north)])
            )
        for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
            for piece in pieces:
                moved = piece + (turn, 0.0, turn, 0.0)
                low = np.minimum(moved[:, 0], moved[:, 2])
                high = np.maximum(moved[:, 0], moved[:, 2])
                lines.append(moved[(low <= 180.0 + 1e-6) & (high >= -180.0 - 1e-6)])
    return np.concatenate(lines)


def _touch(lines: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which lines [m, 4] come near the boxes [m, 4] they are paired with."""
    x0, y0, x1, y1 = lines.T
    west, south = boxes[:, 0] - _TOLERANCE_DEG, boxes[:, 1] - _TOLERANCE_DEG
    east, north = boxes[:, 2] + _TOLERANCE_DEG, boxes[:, 3] + _TOLERANCE_DEG
    near = (np.minimum(x0, x1) <= east) & (np.maximum(x0, x1) >= west)
    near &= (np.minimum(y0, y1) <= north) & (np.maximum(y0, y1) >= south)
    dx, dy = x1 - x0, y1 - y0
    sides = [dx * (y - y0) - dy * (x - x0) for x in (west, east) for y in (south, north)]
    slack = 1e-12 * (np.abs(dx) + np.abs(dy))
    low, high = np.minimum.reduce(sides), np.maximum.reduce(sides)
    return near & (low <= slack) & (high >= -slack)
