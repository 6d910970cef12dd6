"""How a picture sees the world: directions, tilts, and where in the picture a direction appears.

Directions are azimuths clockwise from the canvas centre and elevations above the horizon, in degrees. A camera is
turned in three steps: roll about its own axis, pitch about its right, heading about the vertical.

* heading: where the centre column looks. Views leave it out: a picture's centre column is at azimuth 0.
* pitch, positive = looking up: the horizon moves down in the picture.
* roll, positive = camera turned clockwise as its holder sees it: the horizon goes down to the left in the picture.

These are the conventions of GPano's PosePitchDegrees and PoseRollDegrees. Cameras are ideal: square pixels, the
principal point in the middle, no lens distortion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.photo.facts import WHOLE, Box, Kind, PhotoFacts

FloatArray = NDArray[np.float64]

EDGE = 1e-9
"""Slack, in pixels, so that a position computed to lie on the border counts as inside."""


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


def pixels_per_degree(view: View, width: int, height: int) -> tuple[float, float]:
    """Across and down, at the middle of the picture."""
    if view.kind == "panorama":
        return width / view.fov_deg, height / (view.top_deg - view.bottom_deg)
    density = float(np.radians(focal_pixels(view.fov_deg, width)))
    return density, density


def positions_in(
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
        azimuth, elevation = angles_of(right, forward, up)
        x = width / 2 + azimuth * (width / view.fov_deg)
        y = (view.top_deg - elevation) * (height / (view.top_deg - view.bottom_deg))
    left, top, rightmost, lowest = view.usable
    seen = ahead & (y >= top * height - EDGE) & (y <= lowest * height + EDGE)
    if not (view.full_turn and left <= 0.0 and rightmost >= 1.0):
        seen = seen & (x >= left * width - EDGE) & (x <= rightmost * width + EDGE)
    shape = np.broadcast_shapes(right.shape, up.shape)
    return np.broadcast_to(x, shape), np.broadcast_to(y, shape), np.broadcast_to(seen, shape)


def directions_of(
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


def angles_of(
    right: FloatArray, forward: FloatArray, up: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Azimuth and elevation of directions of any length, degrees."""
    azimuth = np.degrees(np.arctan2(right, forward))
    elevation = np.degrees(np.arctan2(up, np.hypot(right, forward)))
    return azimuth, elevation
