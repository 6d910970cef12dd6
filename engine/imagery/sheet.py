"""Raster files whose pixels stand in one grid, read as one raster: no seam can show where nothing is resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from engine.imagery.bands import BandRule
from engine.imagery.facts import RasterFacts, open_dataset
from engine.imagery.handles import Handles, environment
from engine.imagery.patch import segments
from engine.imagery.projection import world_width
from engine.imagery.raster import has_gaps, read_window

_SMALL = (
    1 << 18
)  # pixels that are averaged here rather than by GDAL, which may have overviews for more
_ALIGNED = 0.05  # pixels; files that are off by more do not stand in one grid


class Sheet:
    """Several rasters in one grid; a :class:`engine.imagery.projection.PixelReader`.

    Args:
        crs: of all of them.
        transform: of the whole sheet.
        members: the files, the one on top first.
        rules: how the values of each become colours.
        places: int64 [N, 4]: left, top, right, bottom of each in the pixels of the sheet.
        handles: where open files are borrowed.
    """

    def __init__(
        self,
        crs: CRS,
        transform: Affine,
        members: Sequence[RasterFacts],
        rules: Sequence[BandRule],
        places: NDArray[np.int64],
        handles: Handles,
    ) -> None:
        self.raster_crs = crs
        self.transform = transform
        self.members = tuple(members)
        self.rules = tuple(rules)
        self.places = places
        self.shape = (int(places[:, 3].max()), int(places[:, 2].max()))
        self.period = world_width(crs)
        self.gaps = any(has_gaps(m, r) for m, r in zip(members, rules, strict=True)) or (
            not _covered(places, self.shape)
        )
        self._handles = handles

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See ``PixelReader``."""
        step_x, step_y = (right - left) // columns, (bottom - top) // rows
        p = self.places
        met = (p[:, 0] < right) & (p[:, 2] > left) & (p[:, 1] < bottom) & (p[:, 3] > top)
        pixels = np.zeros((3, rows, columns), np.uint8)
        weight = np.zeros((rows, columns), np.uint8)
        for i in np.flatnonzero(met).tolist():
            x0, y0, x1, y1 = (int(v) for v in p[i])
            if x0 <= left and y0 <= top and x1 >= right and y1 >= bottom and not weight.any():
                window = (left - x0, top - y0, right - x0, bottom - y0)
                pixels, mask = self._read_member(i, window, columns, rows)
                if mask is None:
                    return pixels, None
                weight = mask
                continue
            small = (min(x1, right) - max(x0, left)) * (min(y1, bottom) - max(y0, top)) <= _SMALL
            if small and max(step_x, step_y) > 1:
                self._lay_small(i, (left, top, right, bottom), (step_x, step_y), pixels, weight)
                if weight.min() == 255:
                    return pixels, None
                continue
            across = segments(max(x0, left) - left, min(x1, right) - left, step_x)
            down = segments(max(y0, top) - top, min(y1, bottom) - top, step_y)
            for first_x, last_x, column, wide, share_x in across:
                for first_y, last_y, row, high, share_y in down:
                    part = (slice(row, row + high), slice(column, column + wide))
                    if weight[part].min() == 255:
                        continue
                    x, y = left - x0, top - y0
                    window = (first_x + x, first_y + y, last_x + x, last_y + y)
                    colours, mask = self._read_member(i, window, wide, high)
                    _fill(pixels[:, *part], weight[part], colours, mask, share_x * share_y)
            if weight.min() == 255:
                return pixels, None
        return pixels, weight

    def _lay_small(
        self,
        i: int,
        window: tuple[int, int, int, int],
        steps: tuple[int, int],
        pixels: NDArray[np.uint8],
        weight: NDArray[np.uint8],
    ) -> None:
        """Average a member of few pixels at once: what it gives to cells that it has in part is exact."""
        left, top, right, bottom = window
        x0, y0, x1, y1 = self.places[i].tolist()
        low_x, high_x = max(x0, left), min(x1, right)
        low_y, high_y = max(y0, top), min(y1, bottom)
        own = (low_x - x0, low_y - y0, high_x - x0, high_y - y0)
        colours, mask = self._read_member(i, own, high_x - low_x, high_y - low_y)
        across = segments(low_x - left, high_x - left, steps[0])
        down = segments(low_y - top, high_y - top, steps[1])
        columns, rows = _starts(across, steps[0]), _starts(down, steps[1])
        columns, rows = columns + left - low_x, rows + top - low_y
        there = np.ones(colours.shape[1:]) if mask is None else mask / 255.0
        share = _sums(there, rows, columns)
        averages = _sums(colours * there, rows, columns) / np.maximum(share, 1e-9)
        first_x, first_y = across[0][2], down[0][2]
        part = (slice(first_y, first_y + len(rows)), slice(first_x, first_x + len(columns)))
        _fill(
            pixels[:, *part],
            weight[part],
            np.round(averages).astype(np.uint8),
            np.round(share * (255.0 / (steps[0] * steps[1]))).astype(np.uint8),
            1.0,
        )

    def _read_member(
        self, i: int, window: tuple[int, int, int, int], columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        facts = self.members[i]

        def opener():
            return open_dataset(facts.path, str(facts.path), "GTiff")

        with environment(), self._handles.borrow(facts.path, opener) as dataset:
            return read_window(dataset, facts, self.rules[i], window, columns, rows)


def _starts(pieces: list[tuple[int, int, int, int, float]], step: int) -> NDArray[np.int64]:
    """Where each of the cells of :func:`segments` begins."""
    return np.concatenate(
        [np.arange(count) * step + first for first, _, _, count, _ in pieces]
    ).astype(np.int64)


def _sums(
    values: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sums over cells that begin at ``rows`` and ``columns`` of the last two axes."""
    summed = np.add.reduceat(values, columns, axis=-1, dtype=np.float64)
    return np.add.reduceat(summed, rows, axis=-2)


def _fill(
    pixels: NDArray[np.uint8],
    weight: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    share: float,
) -> None:
    """Put colours [3, H, W] under what is there already, as far as each pixel still has room."""
    there = np.full(weight.shape, 255, np.uint8) if mask is None else mask
    if share == 1 and not (weight.any() and ((weight > 0) & (weight < 255)).any()):
        free = (weight == 0) & (there > 0)
        np.copyto(pixels, colours, where=free)
        np.copyto(weight, there, where=free)
        return
    before = weight.astype(np.float32)
    taken = np.minimum(there * np.float32(share), 255 - before)
    total = before + taken
    mixed = (pixels * before + colours * taken) / np.maximum(total, 1)
    np.copyto(pixels, np.round(mixed).astype(np.uint8), where=taken > 0)
    weight[...] = np.round(total)


def lay_out(
    members: Sequence[RasterFacts], rules: Sequence[BandRule], handles: Handles
) -> list[tuple[Sheet, list[int]]]:
    """Gather files into as few sheets as their grids allow; with each, which of ``members`` (in order) it holds."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, facts in enumerate(members):
        groups.setdefault(_grid_of(facts), []).append(i)
    sheets: list[tuple[Sheet, list[int]]] = []
    for which in groups.values():
        while which:  # what does not fit the first one's grid after all makes another sheet
            sheet, held, which = _sheet(members, rules, which, handles)
            sheets.append((sheet, held))
    return sheets


def _grid_of(facts: RasterFacts) -> tuple[object, ...]:
    """The same for files that stand in one grid (and for few others)."""
    t = facts.transform
    scale = math.sqrt(abs(t.determinant))
    linear = tuple(round(v / scale, 7) for v in (t.a, t.b, t.d, t.e))
    size = round(math.log(scale), 6)
    column, row = ~Affine(t.a, t.b, 0, t.d, t.e, 0) @ (t.c, t.f)
    phase = tuple(round((v % 1.0) * 10) % 10 for v in (column, row))
    return (facts.crs.to_wkt(), linear, size, phase)


def _sheet(
    members: Sequence[RasterFacts],
    rules: Sequence[BandRule],
    which: list[int],
    handles: Handles,
) -> tuple[Sheet, list[int], list[int]]:
    """One sheet in the grid of the first; which it holds, and which it does not."""
    first = members[which[0]].transform
    inverse = ~first
    transforms = np.array([members[i].transform[:6] for i in which])
    shapes = np.array([members[i].shape for i in which], np.int64)
    a, b, c, d, e, f = transforms.T
    left = inverse.a * c + inverse.b * f + inverse.c
    top = inverse.d * c + inverse.e * f + inverse.f
    far_x, far_y = a * shapes[:, 1] + b * shapes[:, 0] + c, d * shapes[:, 1] + e * shapes[:, 0] + f
    right = inverse.a * far_x + inverse.b * far_y + inverse.c
    bottom = inverse.d * far_x + inverse.e * far_y + inverse.f
    start = np.round(np.stack([left, top], axis=1))
    places = np.concatenate([start, start + shapes[:, ::-1]], axis=1)
    off = np.abs(np.stack([left, top, right, bottom], axis=1) - places).max(axis=1)
    fits = off <= _ALIGNED
    fits[0] = True
    held = [i for i, good in zip(which, fits, strict=True) if good]
    rest = [i for i, good in zip(which, fits, strict=True) if not good]
    places = places[fits].astype(np.int64)
    corner = places[:, :2].min(axis=0)
    places -= np.tile(corner, 2)
    transform = first @ Affine.translation(int(corner[0]), int(corner[1]))
    sheet = Sheet(
        members[held[0]].crs,
        transform,
        [members[i] for i in held],
        [rules[i] for i in held],
        places,
        handles,
    )
    return sheet, held, rest


def _covered(places: NDArray[np.int64], shape: tuple[int, int]) -> bool:
    """Whether rectangles cover all of a sheet. Where they overlap it may say no although they do."""
    areas = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    if len(places) == 1:
        return int(areas[0]) == shape[0] * shape[1]
    apart = not _any_overlap(places)
    return apart and int(areas.sum()) == shape[0] * shape[1]


def _any_overlap(places: NDArray[np.int64]) -> bool:
    order = places[np.lexsort((places[:, 0], places[:, 1]))]
    for i, (left, top, right, bottom) in enumerate(order):
        later = order[i + 1 :]
        later = later[: np.searchsorted(later[:, 1], bottom)]
        if ((later[:, 0] < right) & (later[:, 2] > left) & (later[:, 3] > top)).any():
            return True
    return False
