"""Parks: grass, paths, groves, and a pitch, a pond or a playground."""

from __future__ import annotations

import numpy as np

from engine.world.builder import (
    GRASS_COLOURS,
    Builder,
    leafy,
    pick,
    vary,
)
from engine.world.lots import WATER, ground_of
from engine.world.model import Kind
from engine.world.streets import Cell


def park(builder: Builder, cell: Cell) -> None:
    """Grass, winding paths, groves, a pond, a pitch or a playground."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.1)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    frame = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    gravel = pick(rng, [(0.7, 0.65, 0.54), (0.55, 0.52, 0.5), (0.62, 0.5, 0.38)])
    for _ in range(int(rng.integers(2, 5))):
        t = np.linspace(0, 1, 24)
        start, stop = rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.5, 0.5, 2)
        if rng.random() < 0.5:
            x, y = (t - 0.5) * width, (start[0] + (stop[0] - start[0]) * t) * height
        else:
            x, y = (start[1] + (stop[1] - start[1]) * t) * width, (t - 0.5) * height
        sway = rng.uniform(2, 7) * np.sin(t * rng.uniform(3, 9) + rng.uniform(0, 6))
        x, y = x + sway, y + sway
        left = [frame.to_ground(a - 0.9, b - 0.9) for a, b in zip(x, y, strict=True)]
        right = [frame.to_ground(a + 0.9, b + 0.9) for a, b in zip(x, y, strict=True)]
        builder.patch(np.array(left + right[::-1]), gravel, 3, 0.03)
    keep_out: list[tuple[float, float, float]] = []
    chance = rng.random()
    if chance < 0.35 and min(width, height) > 34:  # a sports pitch
        w, d = min(width * 0.6, 60), min(height * 0.62, 38)
        builder.patch(
            frame.rectangle(-w / 2, -d / 2, w / 2, d / 2), vary(rng, (0.28, 0.48, 0.2)), 4, 0.03
        )
        white = (0.9, 0.9, 0.88)
        for a, b, c, e in (
            (-w / 2, -d / 2, w / 2, -d / 2 + 0.3),
            (-w / 2, d / 2 - 0.3, w / 2, d / 2),
            (-w / 2, -d / 2, -w / 2 + 0.3, d / 2),
            (w / 2 - 0.3, -d / 2, w / 2, d / 2),
            (-0.15, -d / 2, 0.15, d / 2),
        ):
            builder.patch(frame.rectangle(a, b, c, e), white, 5)
        keep_out.append((0, 0, max(w, d) * 0.55))
    elif chance < 0.65:  # a pond
        a = np.linspace(0, 2 * np.pi, 36)
        size = min(width, height) * rng.uniform(0.14, 0.26)
        r = size * (
            1 + 0.2 * np.sin(2 * a + rng.uniform(0, 6)) + 0.12 * np.sin(3 * a + rng.uniform(0, 6))
        )
        px, py = rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.15, 0.15) * height
        builder.patch(
            np.array(
                [
                    frame.to_ground(px + q * np.cos(b), py + q * np.sin(b))
                    for q, b in zip(r, a, strict=True)
                ]
            ),
            WATER,
            4,
            0.01,
        )
        keep_out.append((px, py, size * 1.3))
    else:  # a playground
        builder.patch(frame.rectangle(-8, -6, 8, 6), (0.76, 0.66, 0.45), 4, 0.04)
        for _ in range(5):
            builder.box(
                frame,
                rng.uniform(-6, 6),
                rng.uniform(-4, 4),
                2.2,
                0.5,
                rng.uniform(1, 2.6),
                kind=Kind.CONTAINER,
                wall=pick(rng, [(0.8, 0.2, 0.15), (0.15, 0.35, 0.7), (0.85, 0.7, 0.1)]),
                top=(0.6, 0.5, 0.2),
                turn=rng.uniform(0, 3),
            )
        keep_out.append((0, 0, 10))
    for _ in range(int(width * height / rng.uniform(70, 190))):
        x, y = rng.uniform(-0.48, 0.48) * width, rng.uniform(-0.48, 0.48) * height
        if all(np.hypot(x - a, y - b) > r for a, b, r in keep_out):
            leafy(builder, *frame.to_ground(x, y))
