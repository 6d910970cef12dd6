"""Where the tiles of an index stand: a regular grid over an area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.geo import Bounds, metres_per_degree, wrap_longitude
from engine.index.area import Area
from engine.index.area_edges import AreaEdges

MAX_TILES = 100_000_000
_BLOCK = 32  # tiles; neighbours in the order are neighbours on the ground, so that they share what is read


class Grid:
    """Centres of tiles, ``stride_m`` metres apart both ways; any of them can be asked for without making the others.

    Rows are parallels; in each row the steps are metres at its own latitude, counted from the middle of the box, where
    one tile stands; so at 30 m these are not the cells of Fervers et al. (ECCV 2024), whose lattice begins at the
    equator, but as dense. The order runs through blocks of 32 by 32 tiles, north to south and west to east, every
    other band of blocks from east to west, so that a run of tiles nowhere jumps. What is held is some bytes a block.

    Args:
        bounds: the box they fill.
        area: leave out those that are not in it.

    Raises:
        ImageryError: there would be more tiles than :data:`MAX_TILES`.
    """

    def __init__(self, bounds: Bounds, stride_m: float, area: Area | None = None) -> None:
        self.stride_m = stride_m
        self._lat0, self._lon0 = bounds.centre
        if (expected := reckoned(bounds, stride_m)) > MAX_TILES:
            raise too_many(expected, stride_m)
        per_lat = float(metres_per_degree(self._lat0)[0])
        rows = _steps(bounds.north - bounds.south, per_lat, stride_m)
        steps = np.arange(-rows, rows + 1)
        self._lat = np.asarray(
            np.clip(self._lat0 - steps * stride_m / per_lat, -89.9, 89.9), np.float64
        )
        self._along = np.asarray(metres_per_degree(self._lat)[1], np.float64)
        starts = np.arange(0, len(steps), _BLOCK)
        longest = np.maximum.reduceat(self._along, starts)
        half = bounds.width_deg / 2
        self._reach = np.floor(half * longest / stride_m + 1e-9).astype(np.int64)
        # How far each row goes: the rounding of its last step decides, so it is tried, not computed.
        far = np.floor((half + 1e-12) * self._along / stride_m).astype(np.int64) + 1
        for _ in range(2):
            far -= far * stride_m / self._along > half + 1e-12
        self._far = np.minimum(far, np.repeat(self._reach, _BLOCK)[: len(far)])
        self._blocks = -(-(2 * self._reach + 1) // _BLOCK)
        self._first_block = np.concatenate([[0], np.cumsum(self._blocks)])
        self._edges = AreaEdges(area) if area is not None else None
        self._mixed = np.zeros(self._first_block[-1], np.bool_)
        counts = np.zeros(self._first_block[-1], np.int64)
        for band in range(len(starts)):
            here = slice(self._first_block[band], self._first_block[band + 1])
            counts[here], self._mixed[here] = self._count_band(band)
        self._ends = np.cumsum(counts)
        self.count = int(self._ends[-1])

    def centres(self, first: int, last: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [n] and longitudes [n] of the places ``first .. last`` (without ``last``)."""
        if not 0 <= first <= last <= self.count:
            raise IndexError(f"the places of the grid run from 0 to {self.count}")
        if first == last:
            return np.zeros(0), np.zeros(0)
        begin, end = np.searchsorted(self._ends, (first, last - 1), side="right")
        before = int(self._ends[begin - 1]) if begin else 0
        held = np.diff(self._ends[begin : end + 1], prepend=before)
        blocks = begin + np.flatnonzero(held)
        bands = np.searchsorted(self._first_block, blocks, side="right") - 1
        found = [
            self._points(band, block)
            for band, block in zip(bands.tolist(), blocks.tolist(), strict=True)
        ]
        lats, lons = np.concatenate(found, axis=1)[:, first - before : last - before]
        return lats, lons

    def _count_band(self, band: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Places in every block of a band, in the order they are walked, and which blocks the area's edge crosses."""
        rows = self._rows(band)
        low, high = self._columns(band)
        far = self._far[rows, None]
        held = np.minimum(high - 1, far) - np.maximum(low, -far) + 1
        counts = np.maximum(held, 0).sum(axis=0)
        mixed = np.zeros(len(counts), np.bool_)
        if self._edges is not None:
            steps = np.stack([low, high - 1]) * self.stride_m
            along = self._along[rows]
            reach = np.stack([steps / along.min(), steps / along.max()])
            lat = self._lat[rows]
            inside, mixed = self._edges.boxes(
                float(lat.min()),
                float(lat.max()),
                self._lon0 + reach.min(axis=(0, 1)),
                self._lon0 + reach.max(axis=(0, 1)),
            )
            counts[~inside & ~mixed] = 0
            mixed &= counts > 0
            start = self._first_block[band]
            for block in np.flatnonzero(mixed).tolist():
                at = len(counts) - 1 - block if band % 2 else block
                counts[block] = self._points(band, start + at, mixed=True).shape[1]
        turn = -1 if band % 2 else 1
        return counts[::turn], mixed[::turn]

    def _rows(self, band: int) -> slice:
        return slice(band * _BLOCK, min((band + 1) * _BLOCK, len(self._lat)))

    def _columns(self, band: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First step of every block of a band, and the one after its last, west to east."""
        wide, blocks = 2 * int(self._reach[band]) + 1, int(self._blocks[band])
        bounds = -(-np.arange(blocks + 1) * wide // blocks) - int(self._reach[band])
        return bounds[:-1], bounds[1:]

    def _points(self, band: int, block: int, mixed: bool | None = None) -> NDArray[np.float64]:
        """The places of a block: latitudes and longitudes [2, n]."""
        rows = self._rows(band)
        number = block - int(self._first_block[band])
        if band % 2:
            number = int(self._blocks[band]) - 1 - number
        wide, blocks = 2 * int(self._reach[band]) + 1, int(self._blocks[band])
        low, high = (-(-n * wide // blocks) - int(self._reach[band]) for n in (number, number + 1))
        steps = np.arange(low, high)
        row, column = np.nonzero(np.abs(steps) <= self._far[rows, None])
        lat = self._lat[rows][row]
        lon = wrap_longitude(self._lon0 + steps[column] * self.stride_m / self._along[rows][row])
        points: NDArray[np.float64] = np.stack([lat, np.asarray(lon, np.float64)])
        if self._edges is not None and (self._mixed[block] if mixed is None else mixed):
            points = points[:, self._edges.contains(points[0], points[1])]
        return points


def reckoned(bounds: Bounds, stride_m: float) -> int:
    """About how many places a :class:`Grid` over a box has, before any area; makes none of them."""
    per_lat, per_lon = (float(v) for v in metres_per_degree(bounds.centre[0]))
    rows = _steps(bounds.north - bounds.south, per_lat, stride_m)
    return (2 * rows + 1) * (2 * _steps(bounds.width_deg, per_lon, stride_m) + 1)


def too_many(expected: int, stride_m: float) -> ImageryError:
    """That there would be more than :data:`MAX_TILES`."""
    return ImageryError(
        f"{expected:,} tiles, {stride_m:g} m apart, would be needed to cover the area; "
        f"{MAX_TILES:,} are allowed",
        None,
        "Choose a smaller area or a larger stride",
    )


def _steps(side_deg: float, degree_m: float, stride_m: float) -> int:
    """Strides from the middle of a side to its end."""
    return int(side_deg / 2 * degree_m / stride_m + 1e-9)


def tile_centres(
    bounds: Bounds, stride_m: float, area: Area | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All places of a :class:`Grid` at once: latitudes [N] and longitudes [N]."""
    grid = Grid(bounds, stride_m, area)
    return grid.centres(0, grid.count)


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


class BoxAround:
    """The box around positions with a margin each, in metres; positions are added block by block."""

    def __init__(self) -> None:
        self._lon0: float | None = None
        self._box = np.array([np.inf, np.inf, -np.inf, -np.inf])  # south, west, north, east

    def add(
        self,
        lats: NDArray[np.float64],
        lons: NDArray[np.float64],
        margin_m: float | NDArray[np.floating],
    ) -> None:
        if not len(lats):
            return
        if self._lon0 is None:
            self._lon0 = float(lons[0])
        per_lat, per_lon = metres_per_degree(lats)
        turned = self._lon0 + (lons - self._lon0 + 180.0) % 360.0 - 180.0
        near, far = margin_m / per_lat, margin_m / per_lon
        low = (lats - near).min(), (turned - far).min()
        high = (lats + near).max(), (turned + far).max()
        self._box[:2] = np.minimum(self._box[:2], low)
        self._box[2:] = np.maximum(self._box[2:], high)

    @property
    def bounds(self) -> Bounds:
        south, west, north, east = (float(v) for v in self._box)
        if east - west >= 360.0:
            west, east = -180.0, 180.0
        else:
            west, east = float(wrap_longitude(west)), float(wrap_longitude(east))
        return Bounds(max(south, -90.0), west, min(north, 90.0), east)


def around(lats: NDArray[np.float64], lons: NDArray[np.float64], margin_m: float) -> Bounds:
    """The box around positions with a margin in metres."""
    box = BoxAround()
    box.add(lats, lons, margin_m)
    return box.bounds
