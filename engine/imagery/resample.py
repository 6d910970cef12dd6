"""Bringing the pixels of a georeferenced raster onto a north-up grid in local metres.

The way from the grid to the raster's pixels goes through WGS84 and the raster's own CRS. Over a few hundred metres
it is an affine map to a few millimetres, so every piece of ground is resampled by the affine map fitted to it; a
piece where the fit is worse than a twentieth of a pixel is divided. A raster that is turned against north is
turned at its own resolution first, once for all tiles of a piece; every tile is then scaled out of that at its
exact place, with a filter as wide as the scaling needs, so that nothing aliases.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_BaseError  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.warp import Resampling, reproject, transform

from engine.geo import LocalFrame, metres_per_degree

WGS84 = CRS.from_epsg(4326)
_PLANE = CRS.from_epsg(3857)  # any name for "one plane"
_FIT_TOLERANCE = 0.05  # pixels of the grid
_TURN_TOLERANCE = (
    0.1  # pixels of the grid, at the edge of a tile: a turn smaller than that is no turn
)
_SMALLEST_PIECE = 16  # pixels; below it the fit is taken as it is
_BLOCK_PIXELS = 1536  # side of the largest piece that is read at once
# Pieces are turned on a bare plane, which the warper remarks upon; files without a place are told by raster.py.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp")

_MERCATOR_WORLD_M = 2 * math.pi * 6378137.0
_SAID_CODE = re.compile(r'(?:AUTHORITY|ID)\["EPSG",\s*"?(\d+)"?\]\]\s*$')
_HIGHEST_LATITUDE = 89.9  # local metres mean nothing at the pole itself

Pixels = NDArray[np.uint8]


class PixelReader(Protocol):
    """A raster of 8-bit red, green and blue in some CRS. ``transform`` takes column and row to the CRS."""

    @property
    def raster_crs(self) -> CRS: ...

    @property
    def transform(self) -> Affine: ...

    @property
    def period(self) -> float:
        """:func:`world_width` of the CRS."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[Pixels, Pixels | None]:
        """Pixels [3, rows, columns] of a window inside the raster, averaged down to that size, and their validity
        (255 or 0) [rows, columns], None where all are valid."""
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


def centred_grid(lat: float, lon: float, extent_m: float, pixels: int) -> Grid:
    """The grid of one tile: its centre lies between the middle pixels."""
    half = extent_m / 2
    return Grid(LocalFrame(lat, lon), -half, half, extent_m / pixels, pixels, pixels)


def project(
    source: CRS, target: CRS, xs: Any, ys: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points from one CRS to another; inf where there are none.

    Raises:
        CRSError: there is no way between the two, as for a plane that lies nowhere on the Earth.
    """
    try:
        moved = transform(source, target, np.ravel(xs).tolist(), np.ravel(ys).tolist())
    except CPLE_BaseError as error:
        raise CRSError(str(error)) from error
    return np.asarray(moved[0], np.float64), np.asarray(moved[1], np.float64)


def to_raster(
    reader: PixelReader, lats: Any, lons: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows (fractional, pixel corners at whole numbers) of positions; inf where there are none."""
    x, y = project(WGS84, reader.raster_crs, lons, lats)
    rows, columns = reader.shape
    period = reader.period
    if period:
        # The same meridian has several longitudes; take the one nearest to the raster's own middle.
        middle, _ = reader.transform @ (columns / 2, rows / 2)
        x = x + period * np.round((middle - x) / period)
    with np.errstate(invalid="ignore"):
        inverse = ~reader.transform
        column = inverse.a * x + inverse.b * y + inverse.c
        row = inverse.d * x + inverse.e * y + inverse.f
    return column.reshape(np.shape(lons)), row.reshape(np.shape(lons))


def epsg_code(crs: CRS) -> int | None:
    """The code that a CRS says it has. (``CRS.to_epsg`` compares with the whole database where it says none.)"""
    said = _SAID_CODE.search(crs.to_wkt())
    return int(said[1]) if said else None


def world_width(crs: CRS) -> float:
    """After how much x the world begins anew: 360 for degrees, the equator for web mercator, 0 for "never"."""
    if crs.is_geographic:
        return 360.0
    return _MERCATOR_WORLD_M if epsg_code(crs) == 3857 else 0.0


def render(reader: PixelReader, grid: Grid) -> tuple[Pixels, NDArray[np.bool_]]:
    """Resample a raster onto a grid: pixels [height, width, 3] (0 where there are none) and which are valid."""
    size = (round(grid.height), round(grid.width))
    pixels = np.zeros((*size, 3), np.uint8)
    valid = np.zeros(size, np.bool_)
    _render_piece(reader, grid, (0, 0, size[1], size[0]), pixels, valid)
    return pixels, valid


def _render_piece(
    reader: PixelReader,
    grid: Grid,
    piece: tuple[int, int, int, int],
    pixels: Pixels,
    valid: NDArray[np.bool_],
) -> None:
    left, top, right, bottom = piece
    width, height = right - left, bottom - top
    fitted = _fit(reader, grid, piece)
    longest = max(width, height)
    good = fitted is not None and fitted[1] <= _FIT_TOLERANCE
    if longest > _BLOCK_PIXELS or (not good and longest > _SMALLEST_PIECE):
        middle_x, middle_y = (left + right + 1) // 2, (top + bottom + 1) // 2
        for x0, x1 in ((left, middle_x), (middle_x, right)):
            for y0, y1 in ((top, middle_y), (middle_y, bottom)):
                if x1 > x0 and y1 > y0:
                    _render_piece(reader, grid, (x0, y0, x1, y1), pixels, valid)
    elif fitted is not None:
        patch = _read_patch(reader, fitted[0], piece, longest)
        if patch is not None:
            centre = ((left + right) / 2, (top + bottom) / 2)
            colours, seen = patch.sample(*centre, width, height)
            pixels[top:bottom, left:right] = colours
            valid[top:bottom, left:right] = True if seen is None else seen


def cut_tiles(
    reader: PixelReader, lats: Any, lons: Any, extent_m: float, pixels: int, missing: int = 0
) -> tuple[Pixels, NDArray[np.float32]]:
    """Cut many tiles, reading once what several of them share; ``missing`` stands where there is nothing.

    Returns:
        Tiles uint8 [N, P, P, 3] and the share of valid pixels of each, float32 [N].
    """
    lats = np.atleast_1d(np.asarray(lats, np.float64))
    lons = np.atleast_1d(np.asarray(lons, np.float64))
    tiles = np.full((len(lats), pixels, pixels, 3), missing, np.uint8)
    shares = np.zeros(len(lats), np.float32)
    usable = np.flatnonzero(np.abs(lats) <= _HIGHEST_LATITUDE)
    if len(usable):
        _cut_group(reader, lats, lons, extent_m, usable, tiles, shares)
    return tiles, shares


def _cut_group(
    reader: PixelReader,
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
        piece = (0.0, 0.0, wide, high)
        fitted = _fit(reader, grid, piece)
        if fitted is not None and fitted[1] <= _FIT_TOLERANCE:
            patch = _read_patch(reader, fitted[0], piece, side)
            if patch is not None:
                x, y = (east - west) / pixel_m, (top - north) / pixel_m
                for member, centre_x, centre_y in zip(members, x, y, strict=True):
                    sampled = patch.sample(centre_x, centre_y, side, side)
                    shares[member] = _lay(tiles[member], *sampled)
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


def _fit(
    reader: PixelReader, grid: Grid, piece: tuple[float, float, float, float]
) -> tuple[Affine, float] | None:
    """The affine map from the grid's pixels to the raster's over a piece, and its largest error, grid pixels."""
    left, top, right, bottom = piece
    x, y = np.meshgrid(np.linspace(left, right, 5), np.linspace(top, bottom, 5))
    lats, lons = grid.positions(x.ravel(), y.ravel())
    if np.abs(lats).max() > _HIGHEST_LATITUDE:
        return None
    try:
        target = np.stack(to_raster(reader, lats, lons), axis=1)
    except CRSError:
        return None
    if not np.isfinite(target).all():
        return None
    # Solved about the middle: raster coordinates can be large, and the fit must be good to a hundredth of a pixel.
    centre = ((left + right) / 2, (top + bottom) / 2)
    design = np.column_stack([x.ravel() - centre[0], y.ravel() - centre[1], np.ones(x.size)])
    origin = target[12]
    solution, *_ = np.linalg.lstsq(design, target - origin, rcond=None)
    error = np.abs(design @ solution - (target - origin)).max()
    (a, d), (b, e), (c, f) = solution
    scale = math.sqrt(abs(a * e - b * d))
    if not scale > 0:
        return None
    affine = Affine(a, b, c + origin[0], d, e, f + origin[1])
    return affine @ Affine.translation(-centre[0], -centre[1]), float(error) / scale


@dataclass(frozen=True)
class _Patch:
    """Ground that has been read, north up.

    Args:
        image: colours, 0 where they are not valid.
        mask: 255 where they are valid; None where all are.
        place: from the grid's pixels to the image's; it turns nothing worth speaking of.
    """

    image: Image.Image
    mask: Image.Image | None
    place: Affine

    def sample(
        self, x: float, y: float, width: int, height: int
    ) -> tuple[Pixels, NDArray[np.bool_] | None]:
        """``width`` by ``height`` pixels of the grid about a centre, and which are valid (None: all)."""
        middle_x, middle_y = self.place @ (x, y)
        half_x, half_y = self.place.a * width / 2, self.place.e * height / 2
        box = (middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y)
        how = Image.Resampling.BILINEAR  # Pillow widens it with the scale
        pixels = np.asarray(self.image.resize((width, height), how, box))
        if self.mask is None:
            return pixels, None
        weight = np.asarray(self.mask.resize((width, height), how, box))
        if weight.min() == 255:
            return pixels, None
        seen = weight >= 128
        brighter = pixels * (255.0 / np.maximum(weight, 1).astype(np.float32))[..., None]
        return np.where(seen[..., None], np.minimum(np.round(brighter), 255), 0).astype(
            np.uint8
        ), seen


def _read_patch(
    reader: PixelReader,
    to_source: Affine,
    piece: tuple[float, float, float, float],
    side: int,
) -> _Patch | None:
    """Read what lies under a piece of the grid; None where the raster has nothing there.

    Args:
        to_source: from the grid's pixels to the raster's.
        side: the largest side of what will be sampled from it, pixels of the grid.
    """
    left, top, right, bottom = piece
    rows, columns = reader.shape
    # Where the grid is much coarser, the raster is averaged down while it is read (from its overviews if it has
    # any), in whole steps and not beyond the grid's own resolution.
    step_x = max(1, math.floor(math.hypot(to_source.a, to_source.b) + 1e-6))
    step_y = max(1, math.floor(math.hypot(to_source.d, to_source.e) + 1e-6))
    to_read = Affine.scale(1 / step_x, 1 / step_y) @ to_source
    corners = [to_read @ (x, y) for x in (left, right) for y in (top, bottom)]
    margin = 4 + 2 * max(abs(to_read.a) + abs(to_read.b), abs(to_read.d) + abs(to_read.e))
    x0 = math.floor(min(c[0] for c in corners) - margin)
    x1 = math.ceil(max(c[0] for c in corners) + margin)
    y0 = math.floor(min(c[1] for c in corners) - margin)
    y1 = math.ceil(max(c[1] for c in corners) + margin)
    # What lies beyond the raster stays empty.
    ax, ay = max(x0, 0), max(y0, 0)
    bx, by = min(x1, max(columns // step_x, 1)), min(y1, max(rows // step_y, 1))
    if bx <= ax or by <= ay:
        return None
    colours, mask = reader.read(
        ax * step_x,
        ay * step_y,
        min(bx * step_x, columns),
        min(by * step_y, rows),
        bx - ax,
        by - ay,
    )
    if (ax, ay, bx, by) == (x0, y0, x1, y1):
        pixels = np.ascontiguousarray(np.moveaxis(colours, 0, -1))
    else:
        pixels = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        pixels[ay - y0 : by - y0, ax - x0 : bx - x0] = np.moveaxis(colours, 0, -1)
        inner = np.full((by - ay, bx - ax), 255, np.uint8) if mask is None else mask
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        mask[ay - y0 : by - y0, ax - x0 : bx - x0] = inner
    place = Affine.translation(-x0, -y0) @ to_read
    turn = max(abs(place.b) / abs(place.a or 1e-9), abs(place.d) / abs(place.e or 1e-9)) * side
    if turn <= _TURN_TOLERANCE and place.a > 0 and place.e > 0:
        return _patch(pixels, mask, place)
    # Turn it, at the resolution it was read in.
    scale_x, scale_y = math.hypot(place.a, place.d), math.hypot(place.b, place.e)
    edge_x, edge_y = 4 + 2 * scale_x, 4 + 2 * scale_y
    north_up = Affine.translation(edge_x, edge_y) @ Affine.scale(scale_x, scale_y)
    north_up = north_up @ Affine.translation(-left, -top)
    size = (
        math.ceil((bottom - top) * scale_y + 2 * edge_y),
        math.ceil((right - left) * scale_x + 2 * edge_x),
    )
    turned, seen = _turn(pixels, mask, north_up @ ~place, size)
    return _patch(turned, seen, north_up)


def _patch(pixels: Pixels, mask: Pixels | None, place: Affine) -> _Patch:
    if mask is None:
        return _Patch(Image.fromarray(pixels), None, place)
    good = mask >= 128
    return _Patch(
        Image.fromarray(pixels * good[..., None]), Image.fromarray(good * np.uint8(255)), place
    )


def _turn(
    pixels: Pixels, mask: Pixels | None, move: Affine, size: tuple[int, int]
) -> tuple[Pixels, Pixels | None]:
    """Move pixels [H, W, 3] by an affine map that hardly scales, into an image of ``size`` (rows, columns)."""
    bands = np.moveaxis(pixels, -1, 0)
    if mask is not None:
        bands = np.concatenate([bands, mask[None]])
    out = np.zeros((len(bands), *size), np.uint8)
    # GDAL is told both sides as places on one plane, with y turned up, and away from the origin because it takes a
    # transform that looks like the identity for none at all.
    plane = Affine.translation(1000, 0) @ Affine.scale(1, -1)
    alpha: dict[str, Any] = {"src_alpha": 4, "dst_alpha": 4} if mask is not None else {}
    reproject(
        np.ascontiguousarray(bands),
        out,
        src_transform=plane @ move,
        dst_transform=plane,
        src_crs=_PLANE,
        dst_crs=_PLANE,
        resampling=Resampling.cubic,
        **alpha,
    )
    turned = np.ascontiguousarray(np.moveaxis(out[:3], 0, -1))
    return turned, out[3] if mask is not None else None
