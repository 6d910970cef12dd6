"""Which tiles of a level an area needs, and what that costs: known before anything is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.geo import Bounds, metres_per_degree
from engine.imagery.projection import WGS84, project, world_width
from engine.imagery.server.service import Service, Span
from engine.imagery.tile_grid import WEB_MERCATOR, Level, TileGrid

FloatArray = NDArray[np.float64]
_PIECE = 0.25  # of a tile: how finely an area's edges are followed
_MOST_PIECES = 8_000_000
_FARTHEST = 2.0**50  # tiles
_FURTHEST = 85.0511287  # degrees; where web mercator ends
# Bytes a pixel of aerial tiles as servers send them, measured on a few cities; a guess to plan with.
_BYTES_A_PIXEL = {"jpg": 0.3, "webp": 0.22, "png": 1.6, "": 0.4}


class AreaLike(Protocol):
    """Polygons on the ground: rings [n, 2] of longitudes and latitudes; see ``engine.index.area.Area``."""

    @property
    def polygons(self) -> Sequence[Sequence[FloatArray]]: ...

    @property
    def bounds(self) -> Bounds: ...


@dataclass(frozen=True)
class BoxArea:
    """A box as an area."""

    bounds: Bounds

    @property
    def polygons(self) -> Sequence[Sequence[FloatArray]]:
        box = self.bounds
        west, east = box.west, box.west + box.width_deg
        ring = [(west, box.south), (east, box.south), (east, box.north), (west, box.north)]
        return ((np.array(ring, np.float64),),)


@dataclass(frozen=True, eq=False)
class TilePlan:
    """Tiles of one level: int64 [n, 3] of a row, its first and its last column, in order, none twice."""

    level: Level
    spans: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int((self.spans[:, 2] - self.spans[:, 1] + 1).sum())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Columns and rows."""
        for row, first, last in self.spans.tolist():
            for column in range(first, last + 1):
                yield column, row


@dataclass(frozen=True)
class Estimate:
    """What fetching an area would take.

    Args:
        tiles: how many are asked for.
        bytes: on the disk, guessed from the picture format.
        seconds: at the stated rate, at least.
        resolution_m: metres on the ground that a pixel spans.
        area_km2: of the tiles.
        hosts: which are asked.
    """

    tiles: int
    bytes: int
    seconds: float
    resolution_m: float
    area_km2: float
    hosts: tuple[str, ...]


def estimate_plan(service: Service, plan: TilePlan, lat: float, rate: float) -> Estimate:
    """What a plan costs; ``lat`` is where it lies."""
    level = plan.level
    pixels = level.tile_width * level.tile_height
    metre = ground_metres(service.grid, lat)
    count = plan.count
    return Estimate(
        tiles=count,
        bytes=round(count * pixels * _BYTES_A_PIXEL[service.kind]),
        seconds=count / rate,
        resolution_m=level.resolution * metre,
        area_km2=count * pixels * (level.resolution * metre) ** 2 / 1e6,
        hosts=service.hosts,
    )


def ground_metres(grid: TileGrid, lat: float) -> float:
    """Metres on the ground that a unit of a grid's CRS spans at a latitude, about."""
    if grid.crs.is_geographic:
        per_lat, per_lon = metres_per_degree(lat)
        return math.sqrt(float(per_lat) * float(per_lon))
    if grid.crs == WEB_MERCATOR:
        return float(metres_per_degree(lat)[1]) * 360.0 / world_width(grid.crs)
    return float(grid.crs.linear_units_factor[1])


def plan_tiles(service: Service, area: AreaLike, zoom: int, margin_m: float = 0.0) -> TilePlan:
    """The tiles that an area touches, with ``margin_m`` around it, of those that the service says it has.

    Raises:
        ImageryError: the service has no such zoom, nothing there, or the area is too large for it.
    """
    grid = service.grid
    if zoom not in grid.zooms:
        has = f"{grid.zooms[0]} to {grid.zooms[-1]}"
        raise ImageryError(f"the server has no zoom {zoom}", None, f"It has zoom {has}")
    level = grid.level(zoom)
    turns = grid.turns(level)
    found = [_polygon_spans(grid, level, polygon) for polygon in area.polygons]
    spans = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    if margin_m > 0:
        metre = ground_metres(grid, area.bounds.centre[0])
        more = math.ceil(margin_m / metre / min(level.tile_span))
        moved = [spans + np.array([d, -more, more]) for d in range(-more, more + 1)]
        spans = np.concatenate(moved)
    spans = _merged(_inside(spans, level, turns))
    within = [span for span in (service.limits.get(zoom), _bounds_span(service, level)) if span]
    for span in within:
        spans = _cut_to(spans, span, level.columns if turns else None)
    if not len(spans):
        where = "the area" if not within else "the area: it says that its imagery lies elsewhere"
        raise ImageryError(
            f"the server has no tiles in {where}", None, "Choose another area or server"
        )
    return TilePlan(level, spans)


def _to_grid(grid: TileGrid, level: Level, ring: FloatArray) -> FloatArray:
    """Longitudes and latitudes [n, 2] as columns and rows, fractional; columns run on around the Earth."""
    lons, lats = ring[:, 0], ring[:, 1]
    period = world_width(grid.crs)
    if grid.crs == WEB_MERCATOR:
        lats = np.clip(lats, -_FURTHEST, _FURTHEST)
        x = lons / 360.0 * period
        y = np.arcsinh(np.tan(np.radians(lats))) * period / (2 * math.pi)
    elif grid.crs.is_geographic:
        x, y = lons * (period / 360.0), lats * (period / 360.0)
    else:
        x, y = project(WGS84, grid.crs, lons, lats)
    wide, high = level.tile_span
    placed = np.column_stack([(x - level.west) / wide, (level.north - y) / high])
    if not (np.abs(placed) < _FARTHEST).all():  # nor where it is no number
        raise ImageryError("the area reaches beyond the server's coordinate system", None)
    return placed


def _polygon_spans(
    grid: TileGrid, level: Level, polygon: Sequence[FloatArray]
) -> NDArray[np.int64]:
    """Rows with first and last column of the tiles that a polygon touches; they may overlap."""
    starts, ends = [], []
    for ring in polygon:
        placed = _followed(grid, level, np.asarray(ring, np.float64))
        starts.append(placed)
        ends.append(np.roll(placed, -1, axis=0))
    a, b = np.concatenate(starts), np.concatenate(ends)
    ca, cb = np.floor(a).astype(np.int64), np.floor(b).astype(np.int64)
    # What the edges touch: a piece is so short that it touches the tiles of its ends, and those between them.
    columns = np.concatenate([ca[:, 0], cb[:, 0], ca[:, 0], cb[:, 0]])
    rows = np.concatenate([ca[:, 1], cb[:, 1], cb[:, 1], ca[:, 1]])
    rim = np.unique(np.column_stack([rows, columns]), axis=0)
    # What lies inside: between the first and second crossing of a row's middle, the third and fourth, and so on.
    ka, kb = np.floor(a[:, 1] - 0.5), np.floor(b[:, 1] - 0.5)
    crossing = ka != kb
    row = np.maximum(ka, kb)[crossing]
    a, b = a[crossing], b[crossing]
    x = a[:, 0] + (row + 0.5 - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    order = np.lexsort([x, row])
    row, x = row[order].astype(np.int64), x[order]
    first, last = np.ceil(x[::2] - 0.5).astype(np.int64), np.floor(x[1::2] - 0.5).astype(np.int64)
    inner = np.column_stack([row[::2], first, last])
    return np.concatenate([np.column_stack([rim, rim[:, 1]]), inner[last >= first]])


def _followed(grid: TileGrid, level: Level, ring: FloatArray) -> FloatArray:
    """A ring in columns and rows, its edges in pieces of a quarter of a tile at most."""
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    nodes = _to_grid(grid, level, ring)
    following = np.roll(nodes, -1, axis=0)
    long = np.abs(following - nodes).max(axis=1)
    pieces = np.ceil(long / _PIECE * 1.1).astype(np.int64) + 1
    if pieces.sum() > _MOST_PIECES:
        raise ImageryError(
            "the area is too large for this zoom", None, "Choose a lower zoom or a smaller area"
        )
    t = np.concatenate([np.arange(n) / n for n in pieces.tolist()])
    start = np.repeat(ring, pieces, axis=0)
    step = np.repeat(np.roll(ring, -1, axis=0) - ring, pieces, axis=0)
    return _to_grid(grid, level, start + step * t[:, None])


def _inside(spans: NDArray[np.int64], level: Level, turns: bool) -> NDArray[np.int64]:
    """Spans within the level; those beyond its last column begin at its first again where it goes around."""
    spans = spans[(spans[:, 0] >= 0) & (spans[:, 0] < level.rows)]
    count = level.columns
    if turns:
        whole = spans[:, 2] - spans[:, 1] + 1 >= count
        shift = np.floor_divide(spans[:, 1], count) * count
        row = spans[:, 0]
        first, last = spans[:, 1] - shift, spans[:, 2] - shift
        first, last = np.where(whole, 0, first), np.where(whole, count - 1, last)
        over = last >= count
        again = np.column_stack([row[over], np.zeros(over.sum(), np.int64), last[over] - count])
        spans = np.concatenate([np.column_stack([row, first, np.minimum(last, count - 1)]), again])
    else:
        spans = np.column_stack(
            [spans[:, 0], np.maximum(spans[:, 1], 0), np.minimum(spans[:, 2], count - 1)]
        )
    return spans[spans[:, 2] >= spans[:, 1]]


def _merged(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """In order of rows and columns, what overlaps or touches as one."""
    if not len(spans):
        return spans
    spans = spans[np.lexsort([spans[:, 1], spans[:, 0]])]
    # A span begins anew where it lies beyond all before it in its row.
    width = int(spans[:, 2].max()) + 2
    line = spans[:, 0] * width
    reach = np.maximum.accumulate(line + spans[:, 2])
    new = np.ones(len(spans), np.bool_)
    new[1:] = line[1:] + spans[1:, 1] > reach[:-1] + 1
    starts = np.flatnonzero(new)
    return np.column_stack(
        [spans[starts, 0], spans[starts, 1], np.maximum.reduceat(spans[:, 2], starts)]
    )


def _bounds_span(service: Service, level: Level) -> Span | None:
    """The tiles of the box that a service states, where its grid runs along latitudes and longitudes."""
    box = service.bounds
    if box is None or not world_width(service.grid.crs):
        return None
    ring = np.array([[box.west, box.north], [box.west + box.width_deg, box.south]])
    (left, top), (right, bottom) = _to_grid(service.grid, level, ring)
    slack = 1e-6
    return (
        math.floor(left + slack),
        math.floor(top + slack),
        math.ceil(right - slack) - 1,
        math.ceil(bottom - slack) - 1,
    )


def _cut_to(spans: NDArray[np.int64], span: Span, around: int | None) -> NDArray[np.int64]:
    left, top, right, bottom = span
    spans = spans[(spans[:, 0] >= top) & (spans[:, 0] <= bottom)]
    parts = []
    for shift in (0,) if around is None else (-around, 0, around):
        first, last = np.maximum(spans[:, 1], left + shift), np.minimum(spans[:, 2], right + shift)
        parts.append(np.column_stack([spans[:, 0], first, last])[last >= first])
    return _merged(np.concatenate(parts))
