"""The polar image of a reference tile: what a panorama taken at its middle would see, row by distance.

Columns follow the panorama's convention: column ``c`` of ``width`` looks along the bearing
``-180 + (c + 0.5) * 360 / width``, so they run S, W, N, E, S and the centre is north (the tile's up). The top row is
far, the bottom row near. Pixel centres are at half-integers and the centre of the polar image is exactly the tile's
middle, the corner between its four central pixels when the tile's size is even.

:func:`safa_warp` samples another grid, that of SAFA's authors (Shi et al., NeurIPS 2019), which DSM and most later
work on CVUSA and CVACT share: its rings lie about the middle of the pixel with index ``size / 2``, half a pixel away
from the tile's middle, the last row is that point alone, and column 0 looks exactly south.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.photo.pairs import PairTable, make_pairs, sample_pairs
from engine.photo.sampling import Table, bilinear_taps, make_table, sample


def polar_warp(
    tiles: NDArray[np.uint8],
    *,
    height: int,
    width: int,
    radius_fraction: float = 1.0,
    radii: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """Warp square, north-up tiles to polar images, bilinearly.

    Args:
        tiles: uint8 [N, S, S, 3].
        height, width: size of the polar image.
        radius_fraction: the radius reached by the upper edge of the top row, in half-extents of the tile.
        radii: the radius of every row in half-extents, top (far) row first, ``height`` numbers; None spaces them
            evenly: row ``i`` at ``(height - 0.5 - i) / height * radius_fraction``.

    Returns:
        uint8 [N, height, width, 3]. Beyond the tile's border the border pixel is repeated.

    Raises:
        ValueError: for tiles that are not square RGB, or a wrong number of radii.
    """
    _check_tiles(tiles)
    rows = tuple(radii) if radii is not None else even_radii(height, radius_fraction)
    if len(rows) != height:
        raise ValueError(f"{height} rows need {height} radii, not {len(rows)}")
    table = _polar_table(tiles.shape[1], width, rows)
    out = np.empty((len(tiles), height * width, 3), np.uint8)
    for tile, polar in zip(tiles, out, strict=True):
        sample(tile, table, polar)
    return out.reshape(len(tiles), height, width, 3)


def safa_warp(tiles: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Warp square, north-up tiles to polar images on the grid of SAFA's authors, bilinearly.

    Row ``i`` of ``height`` lies ``(height - 1 - i) / height`` half-extents from the middle, column ``j`` looks along
    the bearing ``-180 + j * 360 / width``. What lies beyond the tile is black, as theirs is; their later stretch of
    the picture to 0..255, an effect of how they saved it, is left out.

    Args:
        tiles: uint8 [N, S, S, 3].
        height, width: size of the polar image.

    Returns:
        uint8 [N, height, width, 3], within one grey level of :func:`safa_values` rounded; a view of planes by colour.

    Raises:
        ValueError: for tiles that are not square RGB.
    """
    _check_tiles(tiles)
    table = _safa_table(tiles.shape[1], height, width)
    out = np.empty((len(tiles), 3, height * width), np.uint8)
    for tile, planes in zip(tiles, out, strict=True):
        sample_pairs(tile, table, planes)
    return out.reshape(len(tiles), 3, height, width).transpose(0, 2, 3, 1)


def safa_values(tile: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.float64]:
    """What :func:`safa_warp` rounds, for one tile [S, S, 3]: float64 [height, width, 3]. Slow and obvious."""
    rows, columns = safa_grid(len(tile), height, width)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    around = np.zeros((len(tile) + 2, len(tile) + 2, 3))
    around[: len(tile), : len(tile)] = tile
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper = around[top, left] * (1 - right) + around[top, left + 1] * right
    lower = around[top + 1, left] * (1 - right) + around[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def safa_grid(
    size: int, height: int, width: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Rows and columns [height, width] of a tile, as fractional indices of pixels, that its polar image samples."""
    ring = size / 2.0 / height * (height - 1 - np.arange(height))[:, None]
    angle = 2 * np.pi * np.arange(width)[None, :] / width
    return size / 2.0 + ring * np.cos(angle), size / 2.0 - ring * np.sin(angle)


def _check_tiles(tiles: NDArray[np.uint8]) -> None:
    if tiles.ndim != 4 or tiles.shape[1] != tiles.shape[2] or tiles.shape[3] != 3:
        raise ValueError(f"tiles must be [N, S, S, 3], not {list(tiles.shape)}")


def even_radii(height: int, radius_fraction: float = 1.0) -> tuple[float, ...]:
    """Evenly spaced row radii in half-extents, top (far) row first."""
    return tuple((height - 0.5 - row) / height * radius_fraction for row in range(height))


def column_bearings(width: int) -> NDArray[np.float64]:
    """Bearing of every column's centre relative to the image's heading, degrees, -180..180."""
    return -180.0 + (np.arange(width) + 0.5) * 360.0 / width


def polar_to_tile(
    values: NDArray[np.float32],
    *,
    size: int,
    radius_fraction: float = 1.0,
    radii: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Draw what lies on a polar image (a heatmap) back onto the square tile, bilinearly.

    Args:
        values: float32 [height, width], as ``polar_warp`` lays it out.
        size: side of the tile wanted, in pixels.
        radius_fraction, radii: as they were given to ``polar_warp``.

    Returns:
        float32 [size, size]; 0 beyond the outermost ring.
    """
    height, width = values.shape
    rows = np.array(radii if radii is not None else even_radii(height, radius_fraction))
    offset = (np.arange(size) + 0.5) / size * 2 - 1
    east, north = np.broadcast_arrays(offset[None, :], -offset[:, None])
    radius = np.hypot(east, north)
    column = (np.degrees(np.arctan2(east, north)) + 180.0) / 360.0 * width
    row = np.interp(radius, rows[::-1], (np.arange(height) + 0.5)[::-1])
    indices, weights = bilinear_taps(column, row, width, height, wrap=True)
    drawn = (values.reshape(-1)[indices] * weights).sum(axis=0)
    edge = rows[0] + (rows[0] - rows[1]) / 2 if height > 1 else 2 * rows[0]
    drawn[radius > edge] = 0.0
    return drawn.astype(np.float32)


@lru_cache(maxsize=16)
def _polar_table(size: int, width: int, radii: tuple[float, ...]) -> Table:
    bearing = np.radians(column_bearings(width))[None, :]
    radius = np.asarray(radii, np.float64)[:, None] * (size / 2)
    x = size / 2 + radius * np.sin(bearing)
    y = size / 2 - radius * np.cos(bearing)
    indices, weights = bilinear_taps(x.ravel(), y.ravel(), size, size)
    return make_table(indices, weights)


@lru_cache(maxsize=8)
def _safa_table(size: int, height: int, width: int) -> PairTable:
    return make_pairs(*safa_grid(size, height, width), size, size)
