"""A world that is a formula: the colour of every direction, to compare projections with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def colour(right: Floats, forward: Floats, up: Floats) -> Floats:
    """The colour, 0..255, of directions of any length; smooth, and different everywhere."""
    length = np.sqrt(right**2 + forward**2 + up**2)
    x, y, z = right / length, forward / length, up / length
    red = 0.5 + 0.25 * np.sin(5 * x + 2 * z) + 0.2 * y
    green = 0.5 + 0.25 * np.sin(6 * y - 3 * x) + 0.2 * z
    blue = 0.5 + 0.25 * np.cos(7 * z + 4 * x * y) + 0.2 * x
    return 255 * np.stack([red, green, blue], axis=-1).clip(0, 1)


def equirectangular(
    width: int, height: int, *, top: float = 90, bottom: float = -90, fov: float = 360
) -> Floats:
    """The world as seen level, looking north, on an equirectangular grid: [height, width, 3]."""
    azimuth = np.radians(-fov / 2 + (np.arange(width) + 0.5) * fov / width)[None, :]
    elevation = np.radians(top - (np.arange(height) + 0.5) * (top - bottom) / height)[:, None]
    level = np.cos(elevation)
    return colour(
        *np.broadcast_arrays(
            level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation) + 0 * azimuth
        )
    )


def turn(heading: float, pitch: float, roll: float) -> Floats:
    """Camera (right, forward, up) to world (east, north, up), as three elementary rotations in a row."""
    h, p, r = np.radians([heading, pitch, roll])
    about_forward = np.array(  # the right hand goes down
        [[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]]
    )
    about_right = np.array(  # the front goes up
        [[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]]
    )
    about_up = np.array(  # the front goes to the east
        [[np.cos(h), np.sin(h), 0], [-np.sin(h), np.cos(h), 0], [0, 0, 1]]
    )
    return about_up @ about_right @ about_forward


def perspective(
    width: int, height: int, fov: float, heading: float = 0, pitch: float = 0, roll: float = 0
) -> Floats:
    """The world through a pinhole: [height, width, 3]."""
    focal = width / 2 / np.tan(np.radians(fov / 2))
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(x - width / 2) / focal, np.ones_like(x), (height / 2 - y) / focal], axis=-1)
    east, north, up = np.moveaxis(rays @ turn(heading, pitch, roll).T, -1, 0)
    return colour(east, north, up)


def tilted_panorama(width: int, height: int, pitch: float, roll: float) -> Floats:
    """A full panorama by a camera that looks north but was not held level."""
    azimuth = np.radians(-180 + (np.arange(width) + 0.5) * 360 / width)[None, :]
    elevation = np.radians(90 - (np.arange(height) + 0.5) * 180 / height)[:, None]
    level = np.cos(elevation)
    rays = np.stack(
        np.broadcast_arrays(
            level * np.sin(azimuth), level * np.cos(azimuth), np.sin(elevation) + 0 * azimuth
        ),
        axis=-1,
    )
    east, north, up = np.moveaxis(rays @ turn(0, pitch, roll).T, -1, 0)
    return colour(east, north, up)


def as_pixels(colours: Floats) -> NDArray[np.uint8]:
    """Rounded to bytes."""
    return np.rint(colours).astype(np.uint8)
