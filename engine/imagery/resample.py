"""Bringing georeferenced pixels onto north-up grids in local metres: one tile, many tiles, any grid.

The way from the grid to a raster's pixels goes through WGS84 and the raster's own CRS. Every piece of ground is
resampled by the affine map fitted to it (:mod:`engine.imagery.patch`); a piece where the fit is worse than a
twentieth of a pixel is divided. Where several rasters lie under a piece, they are laid over each other pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.geo import LocalFrame, metres_per_degree
from engine.imagery.patch import AnyGrid, Fit, Patch, Piece, Pixels, compose, fit, read_patch
from engine.imagery.projection import (
    HIGHEST_LATITUDE,
    WGS84,
    PixelReader,
    epsg_code,
    project,
    to_raster,
    world_width,
)

__all__ = [
    "WGS84",
    "Grid",
    "Layered",
    "PixelReader",
    "centred_grid",
    "cut_tiles",
    "epsg_code",
    "project",
    "render",
    "to_raster",
    "world_width",
]

_FIT_TOLERANCE = 0.05  # pixels of the grid
_SMALLEST_PIECE = 16  # pixels; below it the fit is taken as it is
_BLOCK_PIXELS = 1536  # side of the largest piece that is read at once
_MOST_PATCHES = 64  # kept at once for the tiles of a group; more are read again for every tile


@runtime_checkable
class Layered(Protocol):
    """Several rasters that lie over and beside each other."""

    def under(self, lats: NDArray[np.float64], lons: NDArray[np.float64]) -> Sequence[PixelReader]:
        """Those that may have something inside the box around positions, the one on top first.

        The positions are of one piece of ground; their longitudes may leave [-180, 180) but nowhere jump.
        """
        ...


@dataclass(frozen=True)
class Grid:
    """Square pixels in the local metres of ``frame``: north up, x to the right, y down, corners at whole numbers.

    ``west`` and ``north`` are where the upper left corner lies, metres from the frame's origin.
    """

    frame: LocalFrame
    west: float
    north: float
    pixel_m: float
    width: float
    height: float

    def positions(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes of points given in pixels. Longitudes may leave [-180, 180)."""
        per_lat, per_lon = metres_per_degree(self.frame.lat)
        lon = self.frame.lon + (self.west + np.asarray(x) * self.pixel_m) / per_lon
        return self.frame.lat + (self.north - np.asarray(y) * self.pixel_m) / per_lat, lon


class SizedGrid(AnyGrid, Protocol):
    """A grid that says how many pixels it has."""

    @property
    def width(self) -> float: ...

    @property
    def height(self) -> float: ...


def centred_grid(lat: float, lon: float, extent_m: float, pixels: int) -> Grid:
    """The grid of one tile: its centre lies between the middle pixels."""
    half = extent_m / 2
    return Grid(LocalFrame(lat, lon), -half, half, extent_m / pixels, pixels, pixels)


def render(reader: PixelReader | Layered, grid: SizedGrid) -> tuple[Pixels, NDArray[np.bool_]]:
    """Resample imagery onto a grid: pixels [height, width, 3] (0 where there are none) and which are valid."""
    size = (round(grid.height), round(grid.width))
    pixels = np.zeros((*size, 3), np.uint8)
    valid = np.zeros(size, np.bool_)
    _render_piece(reader, grid, (0, 0, size[1], size[0]), pixels, valid)
    return pixels, valid


def _render_piece(
    reader: PixelReader | Layered,
    grid: SizedGrid,
    piece: tuple[int, int, int, int],
    pixels: Pixels,
    valid: NDArray[np.bool_],
) -> None:
    left, top, right, bottom = piece
    width, height = right - left, bottom - top
    longest = max(width, height)
    layers = _Layers(reader, grid, piece)
    if not layers.readers:
        return
    if longest > _BLOCK_PIXELS or (not layers.good and longest > _SMALLEST_PIECE):
        middle_x, middle_y = (left + right + 1) // 2, (top + bottom + 1) // 2
        for x0, x1 in ((left, middle_x), (middle_x, right)):
            for y0, y1 in ((top, middle_y), (middle_y, bottom)):
                if x1 > x0 and y1 > y0:
                    _render_piece(reader, grid, (x0, y0, x1, y1), pixels, valid)
        return
    centre = ((left + right) / 2, (top + bottom) / 2)
    found = compose(layers.patches(longest), *centre, width, height)
    if found is not None:
        colours, seen = found
        pixels[top:bottom, left:right] = colours
        valid[top:bottom, left:right] = True if seen is None else seen


class _Layers:
    """The rasters under a piece of a grid, each with its fit; what one has is read when it is first needed."""

    def __init__(self, reader: PixelReader | Layered, grid: AnyGrid, piece: Piece) -> None:
        self.piece = piece
        left, top, right, bottom = piece
        if isinstance(reader, Layered):
            x = np.array([left, right, left, right, (left + right) / 2])
            y = np.array([top, top, bottom, bottom, (top + bottom) / 2])
            lats, lons = np.broadcast_arrays(*grid.positions(x, y))
            self.readers = reader.under(lats, lons)
        else:
            self.readers = (reader,)
        self.fits: list[tuple[PixelReader, Fit]] = []
        self.good = True
        for one in self.readers:
            fits = fit(one, grid, piece)
            self.good = self.good and bool(fits) and max(f.error for f in fits) <= _FIT_TOLERANCE
            self.fits += [(one, f) for f in fits]
        self._read: list[Patch | bool | None] = [False] * len(self.fits)

    def patches(self, side: int) -> Iterator[Patch]:
        """What is there, the one on top first; ``side`` is the largest side of what is sampled, pixels."""
        for i, (reader, found) in enumerate(self.fits):
            patch = self._read[i]
            if isinstance(patch, bool):
                patch = read_patch(reader, found.to_source, self.piece, side)
                if i < _MOST_PATCHES:
                    self._read[i] = patch
            if patch is not None:
                yield patch


def cut_tiles(
    reader: PixelReader | Layered,
    lats: Any,
    lons: Any,
    extent_m: float,
    pixels: int,
    missing: int = 0,
) -> tuple[Pixels, NDArray[np.float32]]:
    """Cut many tiles, reading once what several of them share; ``missing`` stands where there is nothing.

    Returns:
        Tiles uint8 [N, P, P, 3] and the share of valid pixels of each, float32 [N].
    """
    lats = np.atleast_1d(np.asarray(lats, np.float64))
    lons = np.atleast_1d(np.asarray(lons, np.float64))
    tiles = np.full((len(lats), pixels, pixels, 3), missing, np.uint8)
    shares = np.zeros(len(lats), np.float32)
    usable = np.flatnonzero(np.abs(lats) <= HIGHEST_LATITUDE)
    if len(usable):
        _cut_group(reader, lats, lons, extent_m, usable, tiles, shares)
    return tiles, shares


def _cut_group(
    reader: PixelReader | Layered,
    lats: NDArray[np.float64],
    lons: NDArray[np.float64],
    extent_m: float,
    members: NDArray[np.intp],
    tiles: Pixels,
    shares: NDArray[np.float32],
) -> None:
    side = tiles.shape[1]
    pixel_m = extent_m / side
    if len(members) == 1:
        one = members[0]
        grid = centred_grid(float(lats[one]), float(lons[one]), extent_m, side)
        shares[one] = _lay(tiles[one], *render(reader, grid))
        return
    frame = LocalFrame(float(lats[members[0]]), float(lons[members[0]]))
    east, north = frame.to_local(lats[members], lons[members])
    spread = (float(np.ptp(east)), float(np.ptp(north)))
    # A frame's metres are exact at its own latitude: keep the error at a tile's edge under a tenth of a pixel.
    slope = abs(math.tan(math.radians(frame.lat))) + 1e-9
    reach = min(_BLOCK_PIXELS * pixel_m - extent_m, 0.4 / side * 6.37e6 / slope)
    area = (spread[0] + extent_m) * (spread[1] + extent_m)
    scattered = area > 4 * len(members) * extent_m**2
    if max(spread) <= max(reach, 0.0) and not scattered:
        # The frame's origin is moved to the middle, where its metres then are exact.
        middle = frame.to_wgs84((east.min() + east.max()) / 2, (north.min() + north.max()) / 2)
        frame = LocalFrame(float(middle[0]), float(middle[1]))
        east, north = frame.to_local(lats[members], lons[members])
        west, top = float(east.min()) - extent_m / 2, float(north.max()) + extent_m / 2
        wide, high = spread[0] / pixel_m + side, spread[1] / pixel_m + side
        grid = Grid(frame, west, top, pixel_m, wide, high)
        layers = _Layers(reader, grid, (0.0, 0.0, wide, high))
        if layers.good:
            x, y = (east - west) / pixel_m, (top - north) / pixel_m
            for member, centre_x, centre_y in zip(members, x, y, strict=True):
                found = compose(layers.patches(side), centre_x, centre_y, side, side)
                if found is not None:
                    shares[member] = _lay(tiles[member], *found)
            return
    order = np.argsort(east if spread[0] >= spread[1] else north, kind="stable")
    for half in np.array_split(members[order], 2):
        _cut_group(reader, lats, lons, extent_m, half, tiles, shares)


def _lay(tile: Pixels, colours: Pixels, seen: NDArray[np.bool_] | None) -> float:
    """Lay colours into a tile where they are seen (None: everywhere); their share of it."""
    if seen is None or seen.all():
        tile[...] = colours
        return 1.0
    np.copyto(tile, colours, where=seen[..., None])
    return float(seen.mean())
