"""The one place that turns any photo into the canvas an encoder reads.

Directions are azimuths clockwise from the canvas centre and elevations above the horizon, in degrees. A camera is
turned in three steps: roll about its own axis, pitch about its right, heading about the vertical.

* heading: where the centre column looks. The canvas leaves it out: a photo's centre column is the canvas centre.
* pitch, positive = looking up: the horizon moves down in the picture.
* roll, positive = camera turned clockwise as its holder sees it: the horizon goes down to the left in the picture.

These are the conventions of GPano's PosePitchDegrees and PoseRollDegrees. Cameras are ideal: square pixels, the
principal point in the middle, no lens distortion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.photo.facts import WHOLE, Box, Kind, PhotoFacts
from engine.photo.sampling import Table, bilinear_taps, make_table, sample

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_EDGE = 1e-9
"""Slack, in pixels and degrees, so that a position computed to lie on the border counts as inside."""


@dataclass(frozen=True)
class View:
    """How a picture sees the world, whatever its size in pixels.

    Attributes:
        kind: equirectangular or an ordinary camera's.
        fov_deg: horizontal field of view of the whole width, 360 for a full panorama.
        pitch_deg, roll_deg: the tilt, see the module's conventions.
        top_deg, bottom_deg: elevations of a panorama's upper and lower edge (before its tilt); not used for a
            perspective photo, whose height follows from its shape.
        usable: left, top, right, bottom of the part that counts, in fractions; the rest is treated as unseen.
    """

    kind: Kind
    fov_deg: float
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    top_deg: float = 90.0
    bottom_deg: float = -90.0
    usable: Box = WHOLE

    @property
    def full_turn(self) -> bool:
        """Whether the left edge continues at the right one."""
        return self.kind == "panorama" and self.fov_deg >= 360.0


FULL_PANORAMA = View("panorama", 360.0)


def view_of(facts: PhotoFacts) -> View:
    """The view that a photo's facts describe."""
    return View(
        facts.kind,
        facts.fov_deg,
        facts.pitch_deg,
        facts.roll_deg,
        facts.top_deg,
        facts.bottom_deg,
        facts.usable,
    )


def focal_pixels(fov_deg: float, width: float) -> float:
    """Focal length in pixels of a camera whose ``width`` pixels span ``fov_deg``."""
    return width / 2 / np.tan(np.radians(fov_deg) / 2)


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
        and the mask of what is seen, bool [height, width]: where at least half of the pixel lies in the picture.
    """
    source_height, source_width = pixels.shape[:2]
    plan = _canvas_plan(view, source_width, source_height, height, width, top_deg, bottom_deg)
    canvas = np.zeros((height * width, 3), np.uint8)
    canvas[plan.seen] = sample(area_reduce(pixels, *plan.factors), plan.table)
    return canvas.reshape(height, width, 3), plan.mask.copy()


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
    source_height, source_width = panorama.shape[:2]
    plan = _camera_plan(
        view, source_width, source_height, camera, heading_offset_deg, height, width
    )
    picture = np.zeros((height * width, 3), np.uint8)
    picture[plan.seen] = sample(area_reduce(panorama, *plan.factors), plan.table)
    return picture.reshape(height, width, 3)


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
    right, forward, up = _directions_of(view, x, y, width, height)
    azimuth, elevation = _angles(right, forward, up)
    column = (azimuth + 180.0) / 360.0 * columns
    row = (top_deg - elevation) / (top_deg - bottom_deg) * rows
    indices, weights = bilinear_taps(column, row, columns, rows, wrap=True)
    drawn = (values.reshape(-1)[indices] * weights).sum(axis=0)
    drawn[(row < -_EDGE) | (row > rows + _EDGE)] = 0.0
    return drawn.astype(np.float32)


def area_reduce(pixels: Pixels, factor_x: int, factor_y: int) -> Pixels:
    """Shrink by whole factors, every pixel the mean of those it replaces (the last of a row, of what is left)."""
    if factor_x == 1 and factor_y == 1:
        return pixels
    height, width = pixels.shape[:2]
    if factor_y > 1:
        # Seen as one grey picture three times as wide, rows are averaged without unpacking the colours first.
        grey = Image.fromarray(np.ascontiguousarray(pixels).reshape(height, width * 3))
        pixels = np.asarray(grey.reduce((1, factor_y))).reshape(-1, width, 3)
    if factor_x > 1:
        pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce((factor_x, 1)))
    return pixels


def camera_axes(pitch_deg: float, roll_deg: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Right, forward and up of a tilted camera as unit vectors (right, forward, up) of the level one."""
    sin_pitch, cos_pitch = np.sin(np.radians(pitch_deg)), np.cos(np.radians(pitch_deg))
    sin_roll, cos_roll = np.sin(np.radians(roll_deg)), np.cos(np.radians(roll_deg))
    level = np.array([1.0, 0.0, 0.0])
    forward = np.array([0.0, cos_pitch, sin_pitch])
    upright = np.array([0.0, -sin_pitch, cos_pitch])
    return cos_roll * level - sin_roll * upright, forward, sin_roll * level + cos_roll * upright


def turned_pose(pitch_deg: float, roll_deg: float, turn_deg: float) -> tuple[float, float, float]:
    """The pose of a tilted panorama as another of its columns sees it.

    Args:
        pitch_deg, roll_deg: the tilt at its centre column.
        turn_deg: how far right of the centre the other column lies.

    Returns:
        heading relative to the centre column's, pitch and roll of that column, degrees.
    """
    right, forward, up = camera_axes(pitch_deg, roll_deg)
    sin, cos = np.sin(np.radians(turn_deg)), np.cos(np.radians(turn_deg))
    ahead = cos * forward + sin * right
    aside = cos * right - sin * forward
    heading = np.degrees(np.arctan2(ahead[0], ahead[1]))
    pitch = np.degrees(np.arcsin(np.clip(ahead[2], -1.0, 1.0)))
    roll = np.degrees(np.arctan2(-aside[2], up[2]))
    return float(heading), float(pitch), float(roll)


@dataclass(frozen=True, eq=False)
class _Plan:
    """How to resample one shape of picture: shrink by factors, then read the table into the pixels seen."""

    factors: tuple[int, int]
    table: Table
    seen: NDArray[np.intp]
    mask: NDArray[np.bool_]


@lru_cache(maxsize=8)
def _canvas_plan(
    view: View,
    source_width: int,
    source_height: int,
    height: int,
    width: int,
    top_deg: float,
    bottom_deg: float,
) -> _Plan:
    samples = 2 if view.kind == "panorama" or view.fov_deg <= 90 else 3
    step_x = 360.0 / (width * samples)
    step_y = (top_deg - bottom_deg) / (height * samples)
    azimuth = (np.radians(-180.0 + (np.arange(width * samples) + 0.5) * step_x))[None, :]
    elevation = (np.radians(top_deg - (np.arange(height * samples) + 0.5) * step_y))[:, None]
    level = np.cos(elevation)
    right, forward, up = level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation)
    x, y, seen = _positions_in(view, right, forward, up, source_width, source_height)
    density_x, density_y = _pixels_per_degree(view, source_width, source_height)
    factors = _factor(density_x * step_x, source_width), _factor(density_y * step_y, source_height)
    return _make_plan(x, y, seen, samples, factors, source_width, source_height, view.full_turn)


@lru_cache(maxsize=8)
def _camera_plan(
    view: View,
    source_width: int,
    source_height: int,
    camera: View,
    turn_deg: float,
    height: int,
    width: int,
) -> _Plan:
    density_x, density_y = _pixels_per_degree(view, source_width, source_height)
    wanted, _ = _pixels_per_degree(camera, width, height)
    samples = 2 if max(density_x, density_y) > wanted else 1
    x, y = _grid(width, height, samples)
    right, forward, up = _directions_of(camera, x, y, width, height)
    sin, cos = np.sin(np.radians(turn_deg)), np.cos(np.radians(turn_deg))
    right, forward = cos * right + sin * forward, cos * forward - sin * right
    x, y, seen = _positions_in(view, right, forward, up, source_width, source_height)
    step = 1 / (wanted * samples)
    factors = _factor(density_x * step, source_width), _factor(density_y * step, source_height)
    return _make_plan(x, y, seen, samples, factors, source_width, source_height, view.full_turn)


def _make_plan(
    x: FloatArray,
    y: FloatArray,
    seen: NDArray[np.bool_],
    samples: int,
    factors: tuple[int, int],
    source_width: int,
    source_height: int,
    wrap: bool,
) -> _Plan:
    """Average ``samples``² positions into every output pixel; those outside the picture do not count."""
    seen = _by_pixel(seen, samples)
    count = seen.sum(axis=0)
    picked = np.flatnonzero(2 * count >= samples * samples)
    mask = (2 * count >= samples * samples).reshape(x.shape[0] // samples, x.shape[1] // samples)
    x = _reduced_position(_by_pixel(x, samples)[:, picked], source_width, factors[0], wrap)
    y = _reduced_position(_by_pixel(y, samples)[:, picked], source_height, factors[1], False)
    width, height = -(-source_width // factors[0]), -(-source_height // factors[1])
    indices, weights = bilinear_taps(x, y, width, height, wrap=wrap)
    weights *= seen[:, picked] / count[picked]
    table = make_table(indices.reshape(-1, len(picked)), weights.reshape(-1, len(picked)))
    return _Plan(factors, table, picked, mask)


def _grid(width: int, height: int, samples: int) -> tuple[FloatArray, FloatArray]:
    """Positions of ``samples``² places a pixel, [height * samples, width * samples]."""
    across = ((np.arange(width * samples) + 0.5) / samples).astype(np.float64)
    down = ((np.arange(height * samples) + 0.5) / samples).astype(np.float64)
    x, y = np.broadcast_arrays(across[None, :], down[:, None])
    return x, y


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


def _pixels_per_degree(view: View, width: int, height: int) -> tuple[float, float]:
    """Across and down, at the middle of the picture."""
    if view.kind == "panorama":
        return width / view.fov_deg, height / (view.top_deg - view.bottom_deg)
    density = float(np.radians(focal_pixels(view.fov_deg, width)))
    return density, density


def _positions_in(
    view: View, right: FloatArray, forward: FloatArray, up: FloatArray, width: int, height: int
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Where directions appear in a picture, in pixels, and whether they do."""
    if view.pitch_deg or view.roll_deg:
        axes = camera_axes(view.pitch_deg, view.roll_deg)
        right, forward, up = (a[0] * right + a[1] * forward + a[2] * up for a in axes)
    if view.kind == "perspective":
        focal = focal_pixels(view.fov_deg, width)
        ahead = forward > 1e-6
        depth = np.where(ahead, forward, 1.0)
        x = width / 2 + focal * right / depth
        y = height / 2 - focal * up / depth
    else:
        ahead = np.True_
        azimuth, elevation = _angles(right, forward, up)
        x = width / 2 + azimuth * (width / view.fov_deg)
        y = (view.top_deg - elevation) * (height / (view.top_deg - view.bottom_deg))
    left, top, rightmost, lowest = view.usable
    seen = ahead & (y >= top * height - _EDGE) & (y <= lowest * height + _EDGE)
    if not (view.full_turn and left <= 0.0 and rightmost >= 1.0):
        seen = seen & (x >= left * width - _EDGE) & (x <= rightmost * width + _EDGE)
    shape = np.broadcast_shapes(right.shape, up.shape)
    return np.broadcast_to(x, shape), np.broadcast_to(y, shape), np.broadcast_to(seen, shape)


def _directions_of(
    view: View, x: FloatArray, y: FloatArray, width: int, height: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Right, forward and up of what the pixels at ``x``, ``y`` show."""
    if view.kind == "perspective":
        focal = focal_pixels(view.fov_deg, width)
        right, up = (x - width / 2) / focal, (height / 2 - y) / focal
        forward = np.ones_like(right)
    else:
        azimuth = np.radians((x - width / 2) * (view.fov_deg / width))
        elevation = np.radians(view.top_deg - y * ((view.top_deg - view.bottom_deg) / height))
        level = np.cos(elevation)
        right, forward, up = level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation)
    if not (view.pitch_deg or view.roll_deg):
        return right, forward, up
    aside, ahead, upward = camera_axes(view.pitch_deg, view.roll_deg)
    turned = [right * aside[i] + forward * ahead[i] + up * upward[i] for i in range(3)]
    return turned[0], turned[1], turned[2]


def _angles(
    right: FloatArray, forward: FloatArray, up: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Azimuth and elevation of directions of any length, degrees."""
    azimuth = np.degrees(np.arctan2(right, forward))
    elevation = np.degrees(np.arctan2(up, np.hypot(right, forward)))
    return azimuth, elevation
