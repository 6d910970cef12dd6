"""Where the cells of a feature map lie: spread over the graph's input, the photo and the tile.

Every transformation of the preprocessing is undone here: rolls, fits, polar grids, south-up tiles. What is spread
keeps its sum, so that a map over pixels adds up to the score as the cells did; what is drawn over a photo is the map's
height there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Branch
from engine.encoder.card import TileUp
from engine.encoder.preprocess import placement
from engine.photo.polar import even_radii
from engine.photo.projections import View, canvas_to_picture

FloatArray = NDArray[np.float32]


def on_canvas(
    cells: FloatArray, size: tuple[int, int], roll: int, *, around: bool = True
) -> FloatArray:
    """Cells [h, w] of a rolled canvas spread over the upright one [H, W]; the sum stays.

    Bilinear spreading onto a whole multiple of the cells hands every cell out exactly once.

    Args:
        around: whether the left and the right edge are neighbours; not so on a plain photo.
    """
    height, width = size
    rows, columns = cells.shape
    down = _axis_spread(height, rows, 0, height, height, wrap=False)
    across = _axis_spread(width, columns, 0, width, width, wrap=around)
    return np.roll(down.T @ cells @ across, -roll, axis=1).astype(np.float32)


def on_tile(cells: FloatArray, branch: Branch, up: TileUp = "north") -> FloatArray:
    """Cells [h, w] of the reference branch's input spread over the square, north-up tile [P, P]; the sum stays.

    Of an input that holds the tile with a margin, what lies on the margin is left out.
    """
    side = branch.tile_pixels or 0
    if branch.projection != "polar":
        return on_picture(cells, branch, (side, side), up)
    rows, columns = cells.shape
    pixels, owners, weights = _polar_spread(rows, columns, branch)
    drawn = np.bincount(pixels, weights * cells.ravel()[owners], side * side).reshape(side, side)
    return (drawn[::-1, ::-1] if up == "south" else drawn).astype(np.float32)


def on_picture(
    cells: FloatArray, branch: Branch, size: tuple[int, int], up: TileUp = "north"
) -> FloatArray:
    """Cells [h, w] of a plain reference branch's input spread over a picture of this height and width, as
    :func:`on_tile`."""
    rows, columns = cells.shape
    (height, width), at = branch.input_size, placement(*size, branch)
    down = _axis_spread(size[0], rows, at.top, at.height, height, wrap=False)
    across = _axis_spread(size[1], columns, at.left, at.width, width, wrap=False)
    drawn = down.T @ cells @ across
    return (drawn[::-1, ::-1] if up == "south" else drawn).astype(np.float32)


def over_photo(
    values: FloatArray, branch: Branch, view: View, photo: tuple[int, int], size: tuple[int, int]
) -> FloatArray:
    """A map [H, W] over the query branch's input drawn over the photo itself, bilinearly.

    Args:
        view: how the photo sees the world.
        photo: its height and width.
        size: height and width wanted, of the photo's shape.

    Returns:
        float32 of that size; 0 where the graph sees nothing of the photo.
    """
    height, width = size
    if branch.projection != "plain":
        return canvas_to_picture(
            values,
            view,
            width=width,
            height=height,
            top_deg=branch.top_deg or 0.0,
            bottom_deg=branch.bottom_deg or 0.0,
        )
    at = placement(photo[0], photo[1], branch)
    down = _axis_reading(height, values.shape[0], at.top, at.height)
    across = _axis_reading(width, values.shape[1], at.left, at.width)
    return (down @ values @ across.T).astype(np.float32)


@lru_cache(maxsize=32)
def _axis_spread(
    pixels: int, cells: int, start: int, length: int, total: int, *, wrap: bool
) -> FloatArray:
    """[cells, pixels]: how much of a cell every pixel of a picture gets, linear between the cells' centres.

    The picture's pixels fill ``length`` of the input's ``total``, from ``start`` on; the cells fill all of it. Rows add
    up to 1, or to 0 where the picture shows nothing of a cell.
    """
    at = start + (np.arange(pixels) + 0.5) * length / pixels
    inside = np.flatnonzero((at > 0) & (at < total))
    position = at[inside] * cells / total - 0.5
    low = np.floor(position).astype(int)
    share = position - low
    weights = np.zeros((cells, pixels))
    for index, part in ((low, 1 - share), (low + 1, share)):
        index = index % cells if wrap else np.clip(index, 0, cells - 1)
        np.add.at(weights, (index, inside), part)
    sums = weights.sum(axis=1, keepdims=True)
    # A cell of which the picture shows a part gives that part, not all of itself.
    shown = np.ones((cells, 1))
    if start > 0 or start + length < total:
        edges = np.arange(cells + 1) * total / cells
        covered = np.minimum(edges[1:], start + length) - np.maximum(edges[:-1], start)
        shown = np.clip(covered * cells / total, 0.0, 1.0)[:, None]
    scaled = np.divide(weights * shown, sums, out=np.zeros_like(weights), where=sums > 0)
    return scaled.astype(np.float32)


@lru_cache(maxsize=16)
def _axis_reading(pixels: int, total: int, start: int, length: int) -> FloatArray:
    """[pixels, total]: which of the input's values every pixel of a picture reads; none beyond the input."""
    at = start + (np.arange(pixels) + 0.5) * length / pixels
    inside = np.flatnonzero((at > 0) & (at < total))
    position = np.clip(at[inside] - 0.5, 0, total - 1)
    low = np.floor(position).astype(int)
    weights = np.zeros((pixels, total), np.float32)
    np.add.at(weights, (inside, low), 1 - (position - low))
    np.add.at(weights, (inside, np.minimum(low + 1, total - 1)), position - low)
    return weights


@lru_cache(maxsize=8)
def _polar_spread(
    rows: int, columns: int, branch: Branch
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Which pixel of the tile gets how much of which polar cell; every cell is handed out once."""
    side = branch.tile_pixels or 0
    height, width = branch.input_size
    centre, turned = side / 2, 0.0
    if branch.polar == "safa":
        # Rings about the middle of a pixel, columns that look along their left edge's bearing.
        radii = (height - 1 - np.arange(height)) / height
        centre, turned = centre + 0.5, 0.5 / width
    else:
        given = branch.radii if branch.radii is not None else even_radii(height)
        radii = np.asarray(given, np.float64)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    east, north = (x - centre) / (side / 2), (centre - y) / (side / 2)
    radius = np.hypot(east, north).ravel()
    bearing = np.degrees(np.arctan2(east, north)).ravel()
    # Radii fall from the top row down; a half row beyond either end still belongs to that row.
    order = np.argsort(radii)
    image_row = np.interp(radius, radii[order], (np.arange(height) + 0.5)[order])
    gap = abs(radii[0] - radii[1]) / 2 if height > 1 else 0.0
    inside = np.flatnonzero(radius <= radii.max() + gap)
    row = image_row[inside] * rows / height - 0.5
    column = ((bearing[inside] + 180.0) / 360.0 + turned) * columns - 0.5
    low_row, low_column = np.floor(row).astype(int), np.floor(column).astype(int)
    row_share, column_share = row - low_row, column - low_column
    parts = []
    for dr, row_weight in ((0, 1 - row_share), (1, row_share)):
        for dc, column_weight in ((0, 1 - column_share), (1, column_share)):
            owner = np.clip(low_row + dr, 0, rows - 1) * columns + (low_column + dc) % columns
            parts.append((inside, owner, row_weight * column_weight))
    pixels, owners, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    total = np.bincount(owners, weights, rows * columns)
    missed = np.flatnonzero(
        total == 0
    )  # cells smaller than a pixel: their share goes to the tile's middle
    if len(missed):
        middle = np.full(len(missed), (side // 2) * side + side // 2)
        pixels, owners = np.concatenate([pixels, middle]), np.concatenate([owners, missed])
        weights = np.concatenate([weights, np.ones(len(missed))])
        total[missed] = 1.0
    return pixels, owners, weights / total[owners]
