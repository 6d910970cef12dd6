"""Blocks of the town at large: the centre, slabs, industry, shops with car parks."""

from __future__ import annotations

import numpy as np

from engine.world.builder import (
    FLAT_COLOURS,
    GRASS_COLOURS,
    LEAF_COLOURS,
    METAL_COLOURS,
    PAVED_COLOURS,
    TILE_COLOURS,
    WALL_COLOURS,
    Builder,
    leafy,
    pick,
    vary,
)
from engine.world.lots import car_park, ground_of, lot_frame
from engine.world.model import Kind, Roof, Species
from engine.world.streets import Cell


def centre(builder: Builder, cell: Cell) -> None:
    """Tall buildings along every street of the block, a court inside."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, PAVED_COLOURS), 0.03)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    deep = float(min(rng.uniform(11, 16), min(width, height) / 2 - 2))
    base_storeys = int(rng.integers(3, 6))
    for side, length, inset in (
        ("south", width, 0.0),
        ("north", width, 0.0),
        ("west", height, deep),
        ("east", height, deep),
    ):
        along = inset
        while along < length - inset - 7:
            span = float(min(rng.uniform(9, 24), length - inset - along))
            if span < 6:
                break
            frame = lot_frame(builder, cell, side, along + span / 2)
            along += span
            if rng.random() < 0.07:  # a gap: passage or small square
                for _ in range(2):
                    builder.tree(
                        *frame.to_ground(rng.uniform(-3, 3), rng.uniform(2, 8)),
                        rng.uniform(5, 8),
                        Species.BROAD,
                        pick(rng, LEAF_COLOURS),
                    )
                continue
            storeys = max(2, base_storeys + int(rng.integers(-1, 3)))
            eave = 3.2 * storeys + 1.0
            wall = pick(rng, WALL_COLOURS)
            pitched = rng.random() < 0.35
            top = pick(rng, TILE_COLOURS if pitched else FLAT_COLOURS)
            builder.box(
                frame,
                0,
                deep / 2 + 0.2,
                span + 0.1,
                deep,
                eave,
                rise=3.5 if pitched else 0.0,
                roof=Roof.GABLE if pitched else Roof.FLAT,
                kind=Kind.SHOP,
                wall=wall,
                top=top,
            )
            if not pitched:
                for _ in range(int(rng.integers(1, 4))):
                    builder.box(
                        frame,
                        rng.uniform(-span / 3, span / 3),
                        rng.uniform(3, deep - 2),
                        rng.uniform(1.5, 4),
                        rng.uniform(1.5, 3),
                        eave + rng.uniform(1, 2.5),
                        kind=Kind.SHED,
                        wall=(0.6, 0.6, 0.6),
                        top=pick(rng, FLAT_COLOURS),
                        base=eave,
                    )
    court = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    inner_w, inner_h = width / 2 - deep - 3, height / 2 - deep - 3
    if inner_w > 4 and inner_h > 4:
        if rng.random() < 0.5:
            builder.patch(
                court.rectangle(-inner_w, -inner_h, inner_w, inner_h),
                pick(rng, GRASS_COLOURS),
                2,
                0.06,
            )
            for _ in range(int(inner_w * inner_h / 60)):
                leafy(
                    builder,
                    *court.to_ground(
                        rng.uniform(-inner_w, inner_w), rng.uniform(-inner_h, inner_h)
                    ),
                )
        else:
            car_park(builder, court, -inner_w, -inner_h, inner_w, inner_h)


def slabs(builder: Builder, cell: Cell) -> None:
    """Free-standing apartment blocks on lawns."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.08)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    frame = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    count = max(1, int(width / rng.uniform(26, 40)))
    lengthwise = rng.random() < 0.4
    storeys = int(rng.integers(3, 8))
    wall, top = pick(rng, WALL_COLOURS), pick(rng, FLAT_COLOURS)
    if lengthwise:
        spots = [(0.0, -height * 0.24, width * 0.72, 11.5), (0.0, height * 0.24, width * 0.6, 11.5)]
    else:
        spots = [
            (-width / 2 + width / count * (i + 0.5), rng.uniform(-3, 3), 11.5, height * 0.62)
            for i in range(count)
        ]
    for x, y, w, d in spots:
        builder.box(
            frame,
            x,
            y,
            w,
            d,
            2.9 * storeys + 1,
            kind=Kind.BLOCK,
            wall=vary(rng, wall, 0.03, 0.02),
            top=vary(rng, top),
        )
        builder.patch(
            frame.rectangle(x - w / 2 - 2.4, y - d / 2 - 2, x - w / 2 - 0.8, y + d / 2 + 2),
            (0.6, 0.59, 0.57),
            3,
        )
    car_park(builder, frame, -width * 0.2, -height / 2 + 1, width * 0.2, -height / 2 + 7)
    for _ in range(int(width * height / 160)):
        x, y = rng.uniform(-0.48, 0.48) * width, rng.uniform(-0.48, 0.48) * height
        if (
            all(abs(x - a) > w / 2 + 2.5 or abs(y - b) > d / 2 + 2.5 for a, b, w, d in spots)
            and y > -height / 2 + 9
        ):
            leafy(builder, *frame.to_ground(x, y))


def industry(builder: Builder, cell: Cell) -> None:
    """Large sheds, yards, containers, fences."""
    rng = builder.rng
    tone = rng.uniform(0.38, 0.58)
    ground_of(builder, cell, (tone, tone * 0.98, tone * 0.94), 0.05)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    frame = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    halls = max(1, int(width / rng.uniform(38, 70)))
    pitch = width / halls
    for i in range(halls):
        x = -width / 2 + pitch * (i + 0.5)
        w, d = pitch * rng.uniform(0.55, 0.85), height * rng.uniform(0.4, 0.66)
        y = rng.uniform(-1, 1) * (height - d) * 0.35
        roof = Roof(int(rng.choice([Roof.FLAT, Roof.GABLE, Roof.SHED])))
        eave = float(rng.uniform(5, 10))
        wall = pick(rng, METAL_COLOURS)
        builder.box(
            frame,
            x,
            y,
            w,
            d,
            eave,
            rise=0 if roof == Roof.FLAT else 1.8,
            roof=roof,
            kind=Kind.INDUSTRY,
            wall=wall,
            top=pick(rng, METAL_COLOURS + FLAT_COLOURS),
        )
        if rng.random() < 0.5:
            builder.box(
                frame,
                x - w / 2 - 3,
                y + rng.uniform(-0.3, 0.3) * d,
                6,
                9,
                6.4,
                kind=Kind.BLOCK,
                wall=pick(rng, WALL_COLOURS),
                top=pick(rng, FLAT_COLOURS),
            )
        for _ in range(int(rng.integers(0, 7))):
            colour = pick(
                rng,
                [
                    (0.65, 0.25, 0.12),
                    (0.15, 0.3, 0.5),
                    (0.2, 0.42, 0.3),
                    (0.75, 0.7, 0.6),
                    (0.7, 0.5, 0.12),
                ],
            )
            side = 1 if y < 0 else -1
            builder.box(
                frame,
                x + rng.uniform(-w / 2, w / 2),
                side * height * rng.uniform(0.3, 0.44),
                6.1,
                2.45,
                2.6 * int(rng.integers(1, 3)),
                kind=Kind.CONTAINER,
                wall=colour,
                top=colour,
                turn=float(rng.choice([0, np.pi / 2])),
            )
        if rng.random() < 0.5:
            side = -1 if y > 0 else 1
            car_park(
                builder,
                frame,
                x - w / 2,
                side * height * 0.28,
                x + w / 2,
                side * height * 0.28 + 7.5,
            )
    for side in (-1, 1):
        builder.box(
            frame,
            0,
            side * (height / 2 - 0.5),
            width * 0.9,
            0.12,
            1.9,
            kind=Kind.FENCE,
            wall=(0.45, 0.47, 0.48),
            top=(0.45, 0.47, 0.48),
        )
    for _ in range(int(rng.integers(2, 9))):
        leafy(
            builder,
            *frame.to_ground(
                rng.choice([-1, 1]) * (width / 2 - 2), rng.uniform(-height / 2, height / 2)
            ),
        )


def parking(builder: Builder, cell: Cell) -> None:
    """A supermarket and its car park."""
    rng = builder.rng
    ground_of(builder, cell, (0.36, 0.36, 0.37), 0.04)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    frame = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    w = width * rng.uniform(0.3, 0.45)
    hand = 1 if rng.random() < 0.5 else -1
    builder.box(
        frame,
        hand * (width / 2 - w / 2 - 3),
        0,
        w,
        height * 0.74,
        rng.uniform(5, 7.5),
        kind=Kind.INDUSTRY,
        wall=pick(rng, WALL_COLOURS),
        top=pick(rng, FLAT_COLOURS),
    )
    x0, x1 = (
        (-width / 2 + 3, width / 2 - w - 6) if hand > 0 else (-width / 2 + w + 6, width / 2 - 3)
    )
    car_park(builder, frame, x0, -height / 2 + 3, x1, height / 2 - 3)
    for _ in range(8):
        builder.tree(
            *frame.to_ground(rng.uniform(x0, x1), rng.choice([-1, 1]) * (height / 2 - 1.5)),
            rng.uniform(4, 8),
            Species.BROAD,
            pick(rng, LEAF_COLOURS),
        )
