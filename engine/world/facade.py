"""Walls: floors, windows, doors, shop fronts, garage doors, by kind of building."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.world.model import Boxes, Kind

F32 = NDArray[np.floating[Any]]
Ints = NDArray[np.intp]


def _chance(*values: NDArray) -> F32:
    """A repeatable number 0..1 for whole-number keys."""
    mixed = np.zeros(values[0].shape, np.uint32)
    for i, value in enumerate(values):
        mixed = (mixed ^ value.astype(np.int64).astype(np.uint32)) * np.uint32(2654435761 + 2 * i)
        mixed ^= mixed >> np.uint32(15)
    return (mixed & np.uint32(0xFFFF)).astype(np.float32) / np.float32(65536)


def wall_colours(
    boxes: Boxes, which: Ints, face: NDArray[np.int8], along: F32, height: F32, fine: F32
) -> F32:
    """Colours of wall points before light, [N, 3].

    ``which``: the box of each point; ``along``: metres from the wall's middle.
    """
    wall = np.stack([boxes.wall_r, boxes.wall_g, boxes.wall_b], axis=1)[which]
    kind, style = boxes.kind[which], boxes.style[which].astype(np.int32)
    grain = fine[(height * 24).astype(np.int32) & 255, (along * 24).astype(np.int32) & 255]
    colour = wall * (1 + 0.08 * grain)[:, None]

    dwelling = (kind <= Kind.BLOCK + 1) & (kind != Kind.INDUSTRY)
    if dwelling.any():
        n = np.flatnonzero(dwelling)
        colour[n] = _windows(
            colour[n], boxes, which[n], face[n], along[n], height[n], style[n], kind[n]
        )
    hall = np.flatnonzero(kind == Kind.INDUSTRY)
    if len(hall):
        rib = np.abs((along[hall] * 1.2) % 1 - 0.5) * 0.14
        gate = ((along[hall] + style[hall] % 7) % 14 < 4) & (height[hall] < 4.2) & (face[hall] == 1)
        band = (height[hall] > boxes.eave[which[hall]] - 0.7) & (style[hall] % 2 == 0)
        shade = (0.95 + rib)[:, None]
        colour[hall] = np.where(
            gate[:, None],
            colour[hall] * 0.55,
            np.where(band[:, None], colour[hall] * 0.7, colour[hall] * shade),
        )
    crate = np.flatnonzero(kind == Kind.CONTAINER)
    if len(crate):
        colour[crate] *= (0.88 + 0.24 * (np.abs((along[crate] * 3) % 1 - 0.5)))[:, None]
    shed = np.flatnonzero(kind == Kind.SHED)
    if len(shed):
        door = (
            (np.abs(along[shed]) < 1.25)
            & (height[shed] < 2.1)
            & (face[shed] == 0)
            & (boxes.base[which[shed]] < 0.1)
        )
        colour[shed] = np.where(
            door[:, None],
            np.array([0.8, 0.8, 0.78], np.float32) * (0.6 + 0.05 * (style[shed] % 8))[:, None],
            colour[shed],
        )
    car = np.flatnonzero(kind == Kind.CAR)
    if len(car):
        dark = (height[car] < 0.32) | (
            (np.abs(np.abs(along[car]) - 1.35) < 0.33) & (height[car] < 0.6) & (face[car] == 1)
        )
        colour[car] = np.where(
            dark[:, None], np.array([0.05, 0.05, 0.055], np.float32), colour[car]
        )
    return colour.astype(np.float32)


def _windows(
    colour: F32,
    boxes: Boxes,
    which: Ints,
    face: NDArray[np.int8],
    along: F32,
    height: F32,
    style: NDArray[np.int32],
    kind: F32,
) -> F32:
    eave = boxes.eave[which]
    half = np.where(face == 0, boxes.half_y[which], boxes.half_x[which])
    shop = kind == Kind.SHOP
    storey = np.where(shop, 3.2, 2.9)
    first = np.where(shop, 1.0, 0.0)
    floor = np.floor((height - first) / storey)
    floors = np.maximum(np.floor((eave - first) / storey), 1)
    up = height - first - floor * storey
    pitch = 2.0 + (style % 5) * 0.35 + np.where(kind == Kind.BLOCK, 0.8, 0)
    count = np.maximum(np.floor(2 * half / pitch), 1)
    cell = (along + half) / (2 * half) * count
    bay = np.floor(cell)
    inside = (cell - bay - 0.5) * (2 * half / count)
    wide = 0.45 + (style // 5 % 4) * 0.14
    low, high = 0.85 + (style // 20 % 3) * 0.12, 2.15 + (style // 60 % 3) * 0.15
    window = (np.abs(inside) < wide) & (up > low) & (up < high) & (floor >= 0) & (floor < floors)
    draw = _chance(style, floor, bay, face)
    window &= (draw < np.where((face == 0) & (kind != Kind.BLOCK), 0.7, 0.97)) | shop
    frame = window & (
        (np.abs(inside) > wide - 0.09)
        | (up < low + 0.1)
        | (up > high - 0.1)
        | (np.abs(inside) < 0.04)
    )
    ground = floor <= 0
    door_bay = np.floor(count * (0.2 + 0.6 * (style % 13) / 13))
    door = ground & (bay == door_bay) & (np.abs(inside) < 0.5) & (up < 2.1) & (face == 1) & ~shop
    front = shop & (height < 3.4) & (height > 0.45) & (np.abs(inside) < pitch * 0.44)
    awning = shop & (height >= 3.0) & (height < 3.75) & (_chance(style, style + 1) < 0.5)
    plinth = (
        (height < 0.35)
        | (shop & (np.abs(height - 4.1) < 0.16))
        | ((eave - height < 0.28) & (height < eave))
    )

    glass = (0.13 + 0.3 * draw**3)[:, None] * np.array([0.85, 1.0, 1.15], np.float32)
    trim = np.where(
        (style % 3 == 0)[:, None],
        np.array([0.9, 0.9, 0.88], np.float32),
        np.array([0.35, 0.3, 0.27], np.float32),
    )
    hue = np.stack(
        [_chance(style, style + 2), _chance(style, style + 3), _chance(style, style + 4)], axis=1
    )
    colour = np.where(plinth[:, None], colour * 0.78, colour)
    colour = np.where(window[:, None], glass, colour)
    colour = np.where(frame[:, None], trim, colour)
    colour = np.where(door[:, None], 0.12 + 0.5 * hue, colour)
    colour = np.where(front[:, None], glass * 0.9 + 0.03, colour)
    return np.where(awning[:, None], 0.15 + 0.65 * hue, colour)
