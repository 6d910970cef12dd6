"""Cutting z/x/y map tiles (web mercator) out of any aerial source, for showing imagery on a map.

These are the tiles of a map page, not the reference tiles an index is made of: those are squares in local metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.geo import Bounds, LocalFrame, metres_per_degree

TILE_PIXELS = 256
HIGHEST_ZOOM = 24
# A square that is cut only to be brought to mercator is cut a little finer than it is shown.
_OVERSAMPLING = 1.25


class Cuttable(Protocol):
    """What is needed of an aerial source here; see :class:`engine.imagery.AerialSource`."""

    @property
    def bounds(self) -> Bounds: ...

    @property
    def resolution_m(self) -> float: ...

    def cut(
        self, lat: float, lon: float, extent_m: float, pixels: int
    ) -> tuple[NDArray[np.uint8], float]: ...


@runtime_checkable
class Renderable(Protocol):
    """A source that warps itself onto any grid of pixels; see :func:`engine.imagery.resample.render`."""

    def render(self, grid: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]: ...


@dataclass(frozen=True)
class WebGrid:
    """Pixels of a map tile, or of a part of it, as a grid that imagery is rendered on.

    ``pixels`` is the whole tile's side; ``left``, ``top``, ``width`` and ``height`` say which part. x runs to the
    right, y down, corners at whole numbers.
    """

    zoom: int
    column: int
    row: int
    pixels: int
    left: int
    top: int
    width: int
    height: int

    def positions(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes of points given in pixels."""
        across = (self.column + (self.left + np.asarray(x)) / self.pixels) / 2**self.zoom
        down = (self.row + (self.top + np.asarray(y)) / self.pixels) / 2**self.zoom
        return np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * down)))), across * 360.0 - 180.0


@dataclass(frozen=True)
class WebTile:
    """One map tile: pixels uint8 [P, P, 3], and which of them the imagery has, bool [P, P]; None where it has all."""

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None


def native_zoom(resolution_m: float, lat: float) -> int:
    """The zoom whose 256-pixel tiles first show all that imagery of this resolution holds."""
    _, per_lon = metres_per_degree(lat)
    exact = math.log2(360.0 * float(per_lon) / TILE_PIXELS / resolution_m)
    return min(max(math.ceil(exact - 0.25), 0), HIGHEST_ZOOM)


def web_tile(
    source: Cuttable, zoom: int, column: int, row: int, pixels: int = TILE_PIXELS
) -> WebTile | None:
    """Cut the map tile ``zoom/column/row`` at ``pixels`` a side; None where the source has nothing there."""
    if not (0 <= column < 2**zoom and 0 <= row < 2**zoom):
        return None
    grid = part_with(source.bounds, zoom, column, row, pixels)
    if grid is None:
        return None
    if isinstance(source, Renderable):
        part, seen = source.render(grid)
    else:
        part, seen = _from_square(source, grid)
    if not seen.any():
        return None
    if part.shape[:2] == (pixels, pixels):
        return WebTile(part, None if seen.all() else seen)
    out, valid = np.zeros((pixels, pixels, 3), np.uint8), np.zeros((pixels, pixels), np.bool_)
    rows, columns = (
        slice(grid.top, grid.top + grid.height),
        slice(grid.left, grid.left + grid.width),
    )
    out[rows, columns], valid[rows, columns] = part, seen
    return WebTile(out, valid)


def part_with(bounds: Bounds, zoom: int, column: int, row: int, pixels: int) -> WebGrid | None:
    """The part of a map tile that meets ``bounds``; None where they do not meet.

    A map tile may be far larger than the imagery, and reach to where the imagery's projection means nothing.
    """
    across = 2**zoom * pixels
    # Columns count from the imagery's western edge, so that the 180th meridian is no edge.
    west = (bounds.west + 180.0) / 360.0 * across
    wide = (bounds.east - bounds.west) % 360.0 / 360.0 * across
    start = column * pixels - west
    start -= across * round((start + pixels / 2 - wide / 2) / across)
    left, right = math.floor(-start) - 1, math.ceil(wide - start) + 1
    north, south = (
        _mercator_row(lat) * across - row * pixels for lat in (bounds.north, bounds.south)
    )
    top, bottom = math.floor(north) - 1, math.ceil(south) + 1
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, pixels), min(bottom, pixels)
    if right <= left or bottom <= top:
        return None
    return WebGrid(zoom, column, row, pixels, left, top, right - left, bottom - top)


def _mercator_row(lat: float) -> float:
    """How far down the web mercator world a latitude lies, 0..1."""
    lat = min(max(lat, -85.06), 85.06)
    return (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2


def _from_square(source: Cuttable, grid: WebGrid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A part of a map tile out of a source that only cuts squares in local metres.

    Both are straight in latitude and longitude, so bringing one to the other is an interpolation along the rows and
    one along the columns.
    """
    lats, _ = grid.positions(0, np.arange(grid.height) + 0.5)
    _, lons = grid.positions(np.arange(grid.width) + 0.5, 0)
    frame = LocalFrame(float((lats[0] + lats[-1]) / 2), float((lons[0] + lons[-1]) / 2))
    east, north = frame.to_local(lats, lons)
    step = 360.0 / 2**grid.zoom / grid.pixels * float(metres_per_degree(frame.lat)[1])
    reach = max(np.abs(east).max(), np.abs(north).max()) + step
    side = min(math.ceil(_OVERSAMPLING * 2 * reach / step), 4 * grid.pixels) + 4
    extent = 2 * reach * side / (side - 4)
    cut, share = source.cut(frame.lat, frame.lon, float(extent), side)
    pixel_m = extent / side
    rows = np.clip((extent / 2 - north) / pixel_m - 0.5, 0, side - 1.001)
    columns = np.clip((extent / 2 + east) / pixel_m - 0.5, 0, side - 1.001)
    out = _interpolate(_interpolate(cut, rows, 0), columns, 1)
    if share >= 1:
        return out, np.ones(out.shape[:2], np.bool_)
    # Such a source does not say which pixels it has; it leaves the others black.
    there = np.where(cut.any(axis=2, keepdims=True), np.uint8(255), np.uint8(0))
    return out, (_interpolate(_interpolate(there, rows, 0), columns, 1) == 255)[..., 0]


def _interpolate(image: NDArray[np.uint8], at: NDArray[np.float64], axis: int) -> NDArray[np.uint8]:
    """Linear interpolation of uint8 [H, W, C] at fractional positions along one axis, in 8-bit fixed point."""
    first = at.astype(np.intp)
    weight = np.round((at - first) * 256).astype(np.uint32)
    weight = weight[:, None, None] if axis == 0 else weight[None, :, None]
    before = np.take(image, first, axis=axis).astype(np.uint32)
    after = np.take(image, first + 1, axis=axis)
    return ((before * (256 - weight) + after * weight + 128) >> 8).astype(np.uint8)
