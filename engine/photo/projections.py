"""The one place that turns any photo into the canvas an encoder reads. Conventions: ``engine.photo.views``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.photo.sampling import Table, bilinear_taps, make_table, sample
from engine.photo.views import (
    EDGE,
    FULL_PANORAMA,
    FloatArray,
    View,
    angles_of,
    camera_axes,
    directions_of,
    focal_pixels,
    pixels_per_degree,
    positions_in,
    view_of,
)

__all__ = [
    "FULL_PANORAMA",
    "View",
    "area_reduce",
    "camera_axes",
    "canvas_to_picture",
    "crop_to_fov",
    "focal_pixels",
    "perspective_from_panorama",
    "seen_blocks",
    "to_canvas",
    "view_of",
]

Pixels = NDArray[np.uint8]

KEPT_PIXELS = 128 * 1024
"""Plans of targets up to this size are kept for the next photo of the same shape."""


def to_canvas(
    pixels: Pixels, view: View, *, height: int, width: int, top_deg: float, bottom_deg: float
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Project a picture onto an equirectangular canvas over the full turn.

    Args:
        pixels: uint8 [H, W, 3].
        view: how the picture sees the world.
        height, width: size of the canvas.
        top_deg, bottom_deg: elevations of its upper and lower edge.

    Returns:
        the canvas, uint8 [height, width, 3], averaged over the area of each of its pixels, 0 where nothing is seen;
        and the mask of what is seen, bool [height, width]: where the pixel's centre lies in the picture.
    """
    target = View("panorama", 360.0, top_deg=top_deg, bottom_deg=bottom_deg)
    return _resample(pixels, view, target, 0.0, width, height)


def perspective_from_panorama(
    panorama: Pixels,
    *,
    heading_offset_deg: float,
    fov_deg: float,
    width: int,
    height: int,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    view: View = FULL_PANORAMA,
) -> Pixels:
    """What an ordinary camera at the panorama's place would see.

    Args:
        panorama: uint8 [H, W, 3].
        heading_offset_deg: where to look, clockwise from the panorama's centre column.
        fov_deg: horizontal field of view, below 180.
        width, height: size of the picture.
        pitch_deg, roll_deg: the camera's tilt.
        view: the panorama's own, a full level one unless said otherwise.

    Returns:
        uint8 [height, width, 3], antialiased; 0 where the panorama does not reach.
    """
    camera = View("perspective", fov_deg, pitch_deg, roll_deg)
    return _resample(panorama, view, camera, heading_offset_deg, width, height)[0]


def crop_to_fov(pixels: Pixels, view: View, fov_deg: float) -> tuple[Pixels, View]:
    """Cut a picture about its centre column to a narrower horizontal field of view.

    The width stays even or odd as it was, so that the centre column does not move; the view returned says the
    field of view that the whole pixels kept really span. A picture that is already narrower is returned as it is.
    """
    width = pixels.shape[1]
    if fov_deg >= view.fov_deg:
        return pixels, view
    if view.kind == "perspective":
        focal = focal_pixels(view.fov_deg, width)
        wanted = 2 * focal * np.tan(np.radians(fov_deg) / 2)
    else:
        focal = 0.0
        wanted = width * fov_deg / view.fov_deg
    margin = max(0, min(round((width - wanted) / 2), (width - 1) // 2))
    kept = width - 2 * margin
    if view.kind == "perspective":
        kept_fov = float(np.degrees(2 * np.arctan(kept / 2 / focal)))
    else:
        kept_fov = view.fov_deg * kept / width
    left, top, right, bottom = view.usable
    left, right = (
        float(np.clip((side * width - margin) / kept, 0.0, 1.0)) for side in (left, right)
    )
    cropped = replace(view, fov_deg=kept_fov, usable=(left, top, right, bottom))
    return pixels[:, margin : width - margin], cropped


def seen_blocks(mask: NDArray[np.bool_], blocks: int) -> NDArray[np.float32]:
    """How much of every block of columns a picture sees.

    Args:
        mask: bool [H, W], what of the canvas is seen.
        blocks: how many equal blocks the columns make; divides W.

    Returns:
        float32 [blocks], 0..1: the share of the block's columns of which at least a quarter is seen.
    """
    height, width = mask.shape
    if width % blocks:
        raise ValueError(f"{width} columns do not make {blocks} equal blocks")
    columns = 4 * np.count_nonzero(mask, axis=0) >= height
    return columns.reshape(blocks, width // blocks).mean(axis=1).astype(np.float32)


def canvas_to_picture(
    values: NDArray[np.float32],
    view: View,
    *,
    width: int,
    height: int,
    top_deg: float,
    bottom_deg: float,
) -> NDArray[np.float32]:
    """Draw what lies on the canvas (a heatmap) back onto the picture, bilinearly.

    Args:
        values: float32 [h, w] on a canvas over the full turn.
        view: how the picture sees the world.
        width, height: size wanted, of the picture's shape.
        top_deg, bottom_deg: elevations of the canvas's upper and lower edge.

    Returns:
        float32 [height, width]; 0 where the picture shows what the canvas does not reach.
    """
    rows, columns = values.shape
    x, y = _grid(width, height, 1)
    right, forward, up = directions_of(view, x, y, width, height)
    azimuth, elevation = angles_of(right, forward, up)
    column = (azimuth + 180.0) / 360.0 * columns
    row = (top_deg - elevation) / (top_deg - bottom_deg) * rows
    column, row = np.broadcast_arrays(column, row)
    indices, weights = bilinear_taps(column, row, columns, rows, wrap=True)
    drawn = (values.reshape(-1)[indices] * weights).sum(axis=0)
    drawn[(row < -EDGE) | (row > rows + EDGE)] = 0.0
    return drawn.astype(np.float32)


def area_reduce(pixels: Pixels, factor_x: int, factor_y: int) -> Pixels:
    """Shrink by whole factors, every pixel the mean of those it replaces (the last of a row, of what is left)."""
    if factor_x == 1 and factor_y == 1:
        return pixels
    height, width = pixels.shape[:2]
    pixels = np.ascontiguousarray(pixels)
    if factor_y < 4:
        # In one go: means of few values end on a half often, and rounding up twice would brighten.
        return np.asarray(Image.fromarray(pixels).reduce((factor_x, factor_y)))
    # Seen as one grey picture three times as wide, rows are averaged without unpacking the colours first.
    grey = Image.fromarray(pixels.reshape(height, width * 3)).reduce((1, factor_y))
    fewer = np.asarray(grey).reshape(-1, width, 3)
    return fewer if factor_x == 1 else np.asarray(Image.fromarray(fewer).reduce((factor_x, 1)))


def _resample(
    pixels: Pixels, view: View, target: View, turn_deg: float, width: int, height: int
) -> tuple[Pixels, NDArray[np.bool_]]:
    """The picture as another view, ``turn_deg`` to its right, would show it, and what of that it sees."""
    source_height, source_width = pixels.shape[:2]
    make = _kept_plan if width * height <= KEPT_PIXELS else _make_plan
    plan = make(view, source_width, source_height, target, turn_deg, width, height)
    out = np.zeros((height * width, 3), np.uint8)
    out[plan.seen] = sample(area_reduce(pixels, *plan.factors), plan.table)
    mask = np.zeros(height * width, np.bool_)
    mask[plan.seen] = True
    return out.reshape(height, width, 3), mask.reshape(height, width)


@dataclass(frozen=True, eq=False)
class _Plan:
    """How to resample one shape of picture: shrink by factors, then read the table into the pixels seen."""

    factors: tuple[int, int]
    table: Table
    seen: NDArray[np.intp]


def _make_plan(
    view: View,
    source_width: int,
    source_height: int,
    target: View,
    turn_deg: float,
    width: int,
    height: int,
) -> _Plan:
    """Every target pixel whose centre is seen averages ``samples``² positions, as many of them as are seen."""
    density_x, density_y = pixels_per_degree(view, source_width, source_height)
    wanted_x, wanted_y = pixels_per_degree(target, width, height)
    samples = 1 if max(density_x / wanted_x, density_y / wanted_y) <= 1.25 else 2
    if view.kind == "perspective" and view.fov_deg > 90:
        samples = 3  # towards its edges such a picture has several times the pixels a degree
    factors = (
        _factor(density_x / wanted_x / samples, source_width),
        _factor(density_y / wanted_y / samples, source_height),
    )

    def positions(samples: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        x, y = _grid(width, height, samples)
        right, forward, up = directions_of(target, x, y, width, height)
        if turn_deg:
            sin, cos = np.sin(np.radians(turn_deg)), np.cos(np.radians(turn_deg))
            right, forward = cos * right + sin * forward, cos * forward - sin * right
        return positions_in(view, right, forward, up, source_width, source_height)

    x, y, seen = (_by_pixel(values, samples) for values in positions(samples))
    count = np.count_nonzero(seen, axis=0)
    centre_seen = positions(1)[2].reshape(-1) if samples > 1 else seen[0]
    picked = np.flatnonzero(centre_seen & (count > 0))
    x = _reduced_position(x[:, picked], source_width, factors[0], view.full_turn)
    y = _reduced_position(y[:, picked], source_height, factors[1], False)
    reduced_width, reduced_height = -(-source_width // factors[0]), -(-source_height // factors[1])
    indices, weights = bilinear_taps(x, y, reduced_width, reduced_height, wrap=view.full_turn)
    weights *= seen[:, picked] / count[picked]
    # Not -1: where nothing is seen there are no columns to divide by.
    taps = (4 * samples**2, len(picked))
    table = make_table(indices.reshape(taps), weights.reshape(taps))
    return _Plan(factors, table, picked)


_kept_plan = lru_cache(maxsize=8)(_make_plan)
"""For canvases, which come in few shapes. A large picture's plan is a hundred megabytes, and is used once."""


def _grid(width: int, height: int, samples: int) -> tuple[FloatArray, FloatArray]:
    """Positions of ``samples``² places a pixel: [1, width * samples] and [height * samples, 1]."""
    across = ((np.arange(width * samples) + 0.5) / samples).astype(np.float64)
    down = ((np.arange(height * samples) + 0.5) / samples).astype(np.float64)
    return across[None, :], down[:, None]


def _by_pixel(fine: NDArray, samples: int) -> NDArray:
    """[height * samples, width * samples] as [samples², height * width]."""
    rows, columns = fine.shape
    split = fine.reshape(rows // samples, samples, columns // samples, samples)
    return split.transpose(1, 3, 0, 2).reshape(samples * samples, -1)


def _factor(source_pixels_a_sample: float, size: int) -> int:
    return int(np.clip(round(source_pixels_a_sample), 1, size))


def _reduced_position(position: FloatArray, size: int, factor: int, wrap: bool) -> FloatArray:
    """Where a position lies after ``area_reduce``, whose last pixel may stand for fewer than the others."""
    if factor == 1:
        return position
    if size % factor == 0:
        return position / factor
    edges = np.append(np.arange(0, size, factor), size)
    centres = (edges[:-1] + edges[1:]) / 2
    places = np.arange(len(centres)) + 0.5
    if wrap:
        centres = np.concatenate([[centres[-1] - size], centres, [centres[0] + size]])
        places = np.concatenate([[places[0] - 1], places, [places[-1] + 1]])
    return np.interp(position, centres, places)
