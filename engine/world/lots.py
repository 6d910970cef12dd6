"""What all blocks are laid out with: the ground, rows of lots, car parks."""

from __future__ import annotations

import numpy as np

from engine.world.builder import (
    LEAF_COLOURS,
    Builder,
    Frame,
    pick,
)
from engine.world.model import Species
from engine.world.streets import Cell

WATER = (0.16, 0.27, 0.33)


def ground_of(
    builder: Builder, cell: Cell, colour: tuple[float, float, float], grain: float, layer: int = 1
) -> None:
    """Paint the whole block, bent as its streets are."""
    n = 10
    u = np.concatenate(
        [
            np.linspace(cell.u0, cell.u1, n),
            np.full(n, cell.u1),
            np.linspace(cell.u1, cell.u0, n),
            np.full(n, cell.u0),
        ]
    )
    v = np.concatenate(
        [
            np.full(n, cell.v0),
            np.linspace(cell.v0, cell.v1, n),
            np.full(n, cell.v1),
            np.linspace(cell.v1, cell.v0, n),
        ]
    )
    builder.patch(np.stack(builder.bend(u, v), axis=1), colour, layer, grain)


def street_rows(cell: Cell) -> list[tuple[str, float, float]]:
    """Sides of the block that lots can face: side, length, depth of a lot."""
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    south, north, west, east = cell.open_sides
    rows = []
    if width >= height:
        depth = height / 2 if (south and north) else height
        rows += [("south", width, min(depth, 38))] * south + [
            ("north", width, min(depth, 38))
        ] * north
    else:
        depth = width / 2 if (west and east) else width
        rows += [("west", height, min(depth, 38))] * west + [
            ("east", height, min(depth, 38))
        ] * east
    return rows


def lot_frame(builder: Builder, cell: Cell, side: str, along: float) -> Frame:
    """Frame at the street edge of a lot: x along the street, y into the block."""
    if side == "south":
        return builder.frame(cell.u0 + along, cell.v0)
    if side == "north":
        return builder.frame(cell.u1 - along, cell.v1, np.pi)
    if side == "west":
        return builder.frame(cell.u0, cell.v1 - along, -np.pi / 2)
    return builder.frame(cell.u1, cell.v0 + along, np.pi / 2)


def car_park(builder: Builder, frame: Frame, x0: float, y0: float, x1: float, y1: float) -> None:
    """A car park: asphalt, white bays in rows, cars, a few trees."""
    rng = builder.rng
    tone = rng.uniform(0.26, 0.4)
    builder.patch(frame.rectangle(x0, y0, x1, y1), (tone, tone, tone * 1.02), 3, 0.03)
    y = y0 + 0.4
    full = rng.uniform(0.25, 0.85)
    while y + 5 < y1:
        x = x0 + 1
        while x + 2.6 < x1:
            builder.patch(frame.rectangle(x, y, x + 0.22, y + 4.8), (0.82, 0.82, 0.8), 5)
            if rng.random() < full:
                builder.car(
                    frame,
                    x + 1.4,
                    y + 2.4 + rng.normal(0, 0.2),
                    turn=np.pi / 2 * (1 if rng.random() < 0.5 else -1),
                    passing=rng.random() < 0.35,
                )
            x += 2.7
        if rng.random() < 0.4:
            builder.tree(
                *frame.to_ground(x0 + 0.4, y + 5.4),
                rng.uniform(4, 7),
                Species.BROAD,
                pick(rng, LEAF_COLOURS),
            )
        y += 11.2 if rng.random() < 0.5 else 16.2
