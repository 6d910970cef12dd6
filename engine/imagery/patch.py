"""Reading the ground under a piece of a north-up grid, and sampling tiles from what was read.

Over a few hundred metres the way from a grid in local metres to a raster's pixels is an affine map to a few
millimetres, so a piece of ground is resampled by the affine map fitted to it. Every tile is scaled out of what was
read at its exact place, with a filter as wide as the scaling needs, so that nothing aliases. A raster that is turned
against north is brought to the tiles' resolution first, once for all tiles of a piece, and every tile turned out of
that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import CRSError

from engine.imagery.projection import HIGHEST_LATITUDE, PixelReader, to_raster

_NEARLY = 1.02
_TURN_TOLERANCE = (
    0.1  # pixels of the grid, at the edge of a tile: a turn smaller than that is no turn
)
_FINE_ENOUGH = 1.1  # pixels of what was read in one of the grid: no more than that are passed over

Pixels = NDArray[np.uint8]
Piece = tuple[float, float, float, float]  # left, top, right, bottom in pixels of a grid


class AnyGrid(Protocol):
    """Pixels whose places on the Earth are known: x to the right, y down, corners at whole numbers."""

    def positions(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


@dataclass(frozen=True)
class Fit:
    """The affine map from a grid's pixels to a raster's over a piece, and its largest error in pixels of the grid."""

    to_source: Affine
    error: float


def fit(reader: PixelReader, grid: AnyGrid, piece: Piece) -> list[Fit]:
    """How a piece of a grid lies on a raster: nowhere, once, or twice where the world begins anew inside the piece."""
    left, top, right, bottom = piece
    x, y = np.meshgrid(np.linspace(left, right, 5), np.linspace(top, bottom, 5))
    lats, lons = grid.positions(x.ravel(), y.ravel())
    lats, lons = np.broadcast_arrays(lats, lons)
    if np.abs(lats).max() > HIGHEST_LATITUDE:
        return []
    try:
        target = np.stack(to_raster(reader, lats, lons, together=True), axis=1)
    except CRSError:
        return []
    if not np.isfinite(target).all():
        return []
    # Solved about the middle: raster coordinates can be large, and the fit must be good to a hundredth of a pixel.
    centre = ((left + right) / 2, (top + bottom) / 2)
    design = np.column_stack([x.ravel() - centre[0], y.ravel() - centre[1], np.ones(x.size)])
    origin = target[12]
    solution, *_ = np.linalg.lstsq(design, target - origin, rcond=None)
    error = np.abs(design @ solution - (target - origin)).max()
    (a, d), (b, e), (c, f) = solution
    scale = math.sqrt(abs(a * e - b * d))
    if not scale > 0:
        return []
    once = Affine(a, b, c + origin[0], d, e, f + origin[1])
    once = once @ Affine.translation(-centre[0], -centre[1])
    places = [once]
    if reader.period:
        rows, columns = reader.shape
        inverse = ~reader.transform
        turn = np.array([inverse.a, inverse.d]) * reader.period
        low, high = target.min(axis=0), target.max(axis=0)
        for sign in (-1, 1):
            first, last = low + sign * turn, high + sign * turn
            if (last > 0).all() and (first < (columns, rows)).all():
                places.append(Affine.translation(*(sign * turn)) @ once)
    return [Fit(place, float(error) / scale) for place in places]


@dataclass(frozen=True)
class Patch:
    """Ground that has been read.

    Args:
        image: colours times how far they are there, so 0 where they are not.
        weight: how far they are there, 0..255; None where all are.
        place: from the grid's pixels to the image's.
        turned: whether ``place`` turns or mirrors; its scale then is one at which nothing aliases.
    """

    image: Image.Image
    weight: Image.Image | None
    place: Affine
    turned: bool

    def sample(self, x: float, y: float, width: int, height: int) -> _Sample | None:
        """``width`` by ``height`` pixels of the grid about a centre; None where nothing was read."""
        if self.turned:
            return self._turned(
                self.place @ Affine.translation(x - width / 2, y - height / 2), width, height
            )
        middle_x, middle_y = self.place @ (x, y)
        scale_x, scale_y = self.place.a, self.place.e
        first_x, first_y = middle_x - scale_x * width / 2, middle_y - scale_y * height / 2
        columns = _inside(first_x, scale_x, width, self.image.width)
        rows = _inside(first_y, scale_y, height, self.image.height)
        if columns is None or rows is None:
            return None
        size = (columns[1] - columns[0], rows[1] - rows[0])
        box = (
            max(first_x + scale_x * columns[0], 0.0),
            max(first_y + scale_y * rows[0], 0.0),
            min(first_x + scale_x * columns[1], self.image.width),
            min(first_y + scale_y * rows[1], self.image.height),
        )
        how = Image.Resampling.BILINEAR  # Pillow widens it with the scale
        weight = None if self.weight is None else np.asarray(self.weight.resize(size, how, box))
        if weight is not None and not weight.any():
            return None
        pixels = np.asarray(self.image.resize(size, how, box))
        if weight is not None and weight.min() == 255:
            weight = None
        if size == (width, height):
            return _Sample(pixels, weight)
        part = (slice(*rows), slice(*columns))
        whole, there = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        whole[part] = pixels
        there[part] = 255 if weight is None else weight
        return _Sample(whole, there)

    def _turned(self, place: Affine, width: int, height: int) -> _Sample | None:
        corners = [place @ (x, y) for x in (0, width) for y in (0, height)]
        xs, ys = [c[0] for c in corners], [c[1] for c in corners]
        if (
            max(xs) <= 0
            or max(ys) <= 0
            or min(xs) >= self.image.width
            or min(ys) >= self.image.height
        ):
            return None
        beyond = (
            min(xs) < 0 or min(ys) < 0 or max(xs) > self.image.width or max(ys) > self.image.height
        )
        size, how, data = (width, height), Image.Transform.AFFINE, place[:6]
        fine = Image.Resampling.BILINEAR
        weight = None
        if self.weight is not None:
            box = (
                max(math.floor(min(xs)) - 2, 0),
                max(math.floor(min(ys)) - 2, 0),
                min(math.ceil(max(xs)) + 2, self.image.width),
                min(math.ceil(max(ys)) + 2, self.image.height),
            )
            least, most = self.weight.crop(box).getextrema()
            if most == 0:
                return None
            if beyond or least != 255:
                weight = np.asarray(self.weight.transform(size, how, data, fine))
        elif beyond:  # what was read ends inside the tile
            inside = Image.new("L", self.image.size, 255)
            weight = np.asarray(inside.transform(size, how, data, fine))
        return _Sample(np.asarray(self.image.transform(size, how, data, fine)), weight)


@dataclass(frozen=True)
class _Sample:
    """Colours [H, W, 3] times how far they are there, and that, 0..255 [H, W]; None where all are wholly."""

    pixels: Pixels
    weight: Pixels | None


def _inside(first: float, step: float, count: int, size: int) -> tuple[int, int] | None:
    """Which of ``count`` pixels of width ``step`` lie wholly on an image of ``size``, to a thousandth."""
    low = max(0, math.ceil(-first / step - 1e-3))
    high = min(count, math.floor((size - first) / step + 1e-3))
    return (low, high) if high > low else None


def compose(
    patches: Iterable[Patch], x: float, y: float, width: int, height: int
) -> tuple[Pixels, NDArray[np.bool_] | None] | None:
    """Lay patches over each other, the first on top: colours [H, W, 3] and where there are any (None: everywhere).

    Every patch fills what those above it leave open, by the share of each pixel that it has. Two rasters that end
    along one line so make together what one raster would, and leave no line of holes. None where nothing is there.
    """
    top: _Sample | None = None
    colours: NDArray[np.float32] | None = None
    total = np.zeros((height, width), np.float32)
    for patch in patches:
        sample = patch.sample(x, y, width, height)
        if sample is None:
            continue
        if top is None:
            top = sample
            if sample.weight is None:
                return sample.pixels, None
            continue
        if colours is None:
            assert top.weight is not None
            colours, total = top.pixels.astype(np.float32), top.weight.astype(np.float32)
        weight = np.float32(255) if sample.weight is None else sample.weight.astype(np.float32)
        taken = np.minimum(weight, 255 - total)
        colours += sample.pixels * (taken / np.maximum(weight, 1))[..., None]
        total += taken
        if total.min() >= 255:
            break
    if top is None or top.weight is None:
        return None
    if colours is None:
        total = top.weight.astype(np.float32)
    seen = total >= 128
    brighter = (top.pixels if colours is None else colours) * (255 / np.maximum(total, 1))[
        ..., None
    ]
    whole = np.where(seen[..., None], np.minimum(np.round(brighter), 255), 0).astype(np.uint8)
    return whole, None if seen.all() else seen


def read_patch(reader: PixelReader, to_source: Affine, piece: Piece, side: int) -> Patch | None:
    """Read what lies under a piece of the grid; None where the raster has nothing there.

    Args:
        to_source: from the grid's pixels to the raster's.
        side: the largest side of what will be sampled from it, pixels of the grid.
    """
    left, top, right, bottom = piece
    rows, columns = reader.shape
    # Where the grid is much coarser, the raster is averaged down while it is read (from its overviews if it has
    # any), in whole steps and not beyond the grid's own resolution, or by no more than what no one sees: a map's
    # metre is seldom quite a metre, and twice the pixels a side are four times the work.
    step_x = max(1, math.floor(math.hypot(to_source.a, to_source.b) * _NEARLY))
    step_y = max(1, math.floor(math.hypot(to_source.d, to_source.e) * _NEARLY))
    to_read = Affine.scale(1 / step_x, 1 / step_y) @ to_source
    corners = [to_read @ (x, y) for x in (left, right) for y in (top, bottom)]
    margin = 4 + 2 * max(abs(to_read.a) + abs(to_read.b), abs(to_read.d) + abs(to_read.e))
    # What lies beyond the raster stays empty; a margin of it is kept, over which the edge fades.
    edge = math.ceil(margin)
    x0 = max(math.floor(min(c[0] for c in corners) - margin), -edge)
    x1 = min(math.ceil(max(c[0] for c in corners) + margin), -(-columns // step_x) + edge)
    y0 = max(math.floor(min(c[1] for c in corners) - margin), -edge)
    y1 = min(math.ceil(max(c[1] for c in corners) + margin), -(-rows // step_y) + edge)
    if x1 <= x0 or y1 <= y0:
        return None
    found = _read_cells(reader, (x0, y0, x1, y1), step_x, step_y)
    if found is None:
        return None
    pixels, weight = found
    place = Affine.translation(-x0, -y0) @ to_read
    turn = max(abs(place.b) / abs(place.a or 1e-9), abs(place.d) / abs(place.e or 1e-9)) * side
    if turn <= _TURN_TOLERANCE and place.a > 0 and place.e > 0:
        return _patch(pixels, weight, place, turned=False)
    return _patch(pixels, weight, place, turned=True)


def segments(low: int, high: int, step: int) -> list[tuple[int, int, int, int, float]]:
    """How ``low`` to ``high`` divide into cells of ``step`` counted from 0: (from, to, first cell, number of cells,
    share of each that is there). A cell that is there in part stands alone."""
    out: list[tuple[int, int, int, int, float]] = []
    at = low
    while at < high:
        cell = at // step
        if at % step or high < (cell + 1) * step:
            stop = min(high, (cell + 1) * step)
            out.append((at, stop, cell, 1, (stop - at) / step))
        else:
            stop = high - high % step
            out.append((at, stop, cell, (stop - at) // step, 1.0))
        at = stop
    return out


def _read_cells(
    reader: PixelReader, cells: tuple[int, int, int, int], step_x: int, step_y: int
) -> tuple[Pixels, Pixels | None] | None:
    """Cells of ``step_x`` by ``step_y`` pixels [H, W, 3] with how far each is there; some may lie beyond the raster."""
    x0, y0, x1, y1 = cells
    rows, columns = reader.shape
    across = segments(max(x0 * step_x, 0), min(x1 * step_x, columns), step_x)
    down = segments(max(y0 * step_y, 0), min(y1 * step_y, rows), step_y)
    if len(across) == len(down) == 1 and (across[0][3], down[0][3]) == (x1 - x0, y1 - y0):
        (left, right, _, wide, share_x), (top, bottom, _, high, share_y) = across[0], down[0]
        if share_x * share_y == 1:
            colours, mask = reader.read(left, top, right, bottom, wide, high)
            if mask is not None and not mask.any():
                return None
            return np.ascontiguousarray(np.moveaxis(colours, 0, -1)), mask
    pixels = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    weight = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for left, right, column, wide, share_x in across:
        for top, bottom, row, high, share_y in down:
            colours, mask = reader.read(left, top, right, bottom, wide, high)
            part = (slice(row - y0, row - y0 + high), slice(column - x0, column - x0 + wide))
            pixels[part] = np.moveaxis(colours, 0, -1)
            share = share_x * share_y
            weight[part] = round(255 * share) if mask is None else np.round(mask * share)
    return (pixels, weight) if weight.any() else None


def _patch(pixels: Pixels, weight: Pixels | None, place: Affine, *, turned: bool) -> Patch | None:
    if weight is None:
        image, mask = Image.fromarray(pixels), None
    else:
        colours = pixels * (weight > 0)[..., None]
        partly = (weight > 0) & (weight < 255)
        if partly.any():
            shares = weight[partly].astype(np.float32)[:, None] / 255
            colours[partly] = np.round(pixels[partly] * shares).astype(np.uint8)
        image, mask = Image.fromarray(colours), Image.fromarray(weight)
        # What is not there need not be looked at again and again.
        there = mask.getbbox()
        if there is None:
            return None
        rim = 4 + 3 * math.ceil(max(abs(v) for v in (place.a, place.b, place.d, place.e)))
        box = (
            max(there[0] - rim, 0),
            max(there[1] - rim, 0),
            min(there[2] + rim, image.width),
            min(there[3] + rim, image.height),
        )
        if box != (0, 0, *image.size):
            image, mask = image.crop(box), mask.crop(box)
            place = Affine.translation(-box[0], -box[1]) @ place
    if turned:
        scale_x, scale_y = math.hypot(place.a, place.b), math.hypot(place.d, place.e)
        if max(scale_x, scale_y) > _FINE_ENOUGH:
            size = (
                max(1, round(image.width / max(scale_x, 1))),
                max(1, round(image.height / max(scale_y, 1))),
            )
            place = Affine.scale(size[0] / image.width, size[1] / image.height) @ place
            # Sharper than the triangle, which would be the second one.
            image = image.resize(size, Image.Resampling.HAMMING)
            mask = None if mask is None else mask.resize(size, Image.Resampling.HAMMING)
    return Patch(image, mask, place, turned)
