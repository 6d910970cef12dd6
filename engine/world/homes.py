"""Blocks where people live in houses: detached ones with gardens, terraces."""

from __future__ import annotations

import numpy as np

from engine.world.builder import (
    FLAT_COLOURS,
    GRASS_COLOURS,
    LEAF_COLOURS,
    PAVED_COLOURS,
    TILE_COLOURS,
    WALL_COLOURS,
    Builder,
    Frame,
    leafy,
    pick,
    vary,
)
from engine.world.lots import ground_of, lot_frame, street_rows
from engine.world.model import Kind, Roof
from engine.world.streets import Cell


def suburb(builder: Builder, cell: Cell) -> None:
    """Detached houses with gardens, drives, hedges, sheds, pools."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.08)
    taste = [pick(rng, WALL_COLOURS) for _ in range(3)], [pick(rng, TILE_COLOURS) for _ in range(3)]
    for side, length, depth in street_rows(cell):
        along = rng.uniform(1, 4)
        while along < length - 11:
            width = float(rng.uniform(12.5, 22))
            if along + width > length:
                break
            _house_lot(
                builder, lot_frame(builder, cell, side, along + width / 2), width, depth, taste
            )
            along += width


def _house_lot(
    builder: Builder, frame: Frame, width: float, depth: float, taste: tuple[list, list]
) -> None:
    rng = builder.rng
    half = width / 2 - 0.3
    builder.patch(frame.rectangle(-half, 0.2, half, depth - 0.4), pick(rng, GRASS_COLOURS), 2, 0.07)
    if rng.random() < 0.05:  # an empty lot, left to trees
        for _ in range(int(rng.integers(4, 9))):
            leafy(builder, *frame.to_ground(rng.uniform(-half, half), rng.uniform(3, depth - 2)))
        return
    hand = 1.0 if rng.random() < 0.5 else -1.0
    setback = float(rng.uniform(3.5, 9.5))
    house = float(min(rng.uniform(8, 13), width - 4.5))
    deep = float(min(rng.uniform(7, 10.5), depth - setback - 3))
    if deep < 5:
        return
    storeys = 1 if rng.random() < 0.4 else 2
    eave = 2.9 * storeys + rng.uniform(0.0, 0.6)
    roof = Roof(
        int(
            rng.choice(
                [Roof.GABLE, Roof.HIP, Roof.GABLE, Roof.FLAT, Roof.SHED],
                p=[0.34, 0.3, 0.2, 0.1, 0.06],
            )
        )
    )
    rise = {Roof.FLAT: 0.0, Roof.SHED: 1.2}.get(roof, deep / 2 * float(rng.uniform(0.45, 0.95)))
    wall = pick(rng, taste[0]) if rng.random() < 0.5 else pick(rng, WALL_COLOURS)
    top = (
        pick(rng, FLAT_COLOURS)
        if roof == Roof.FLAT
        else pick(rng, taste[1] if rng.random() < 0.5 else TILE_COLOURS)
    )
    x = -hand * (width / 2 - house / 2 - 1.2) * float(rng.uniform(0.3, 1))
    y = setback + deep / 2
    turn = float(rng.normal(0, 0.03))
    if roof == Roof.GABLE and rng.random() < 0.35:  # gable to the street
        ok = builder.box(
            frame,
            x,
            y,
            deep,
            house,
            eave,
            rise=house / 2 * 0.7,
            roof=roof,
            wall=wall,
            top=top,
            turn=turn + np.pi / 2,
        )
    else:
        ok = builder.box(
            frame, x, y, house, deep, eave, rise=rise, roof=roof, wall=wall, top=top, turn=turn
        )
    if not ok:
        return
    if rise > 1.5 and rng.random() < 0.6:
        builder.chimney(
            frame,
            x + rng.uniform(-0.3, 0.3) * house,
            y + rng.uniform(-0.1, 0.1) * deep,
            eave + rise,
        )
    if rng.random() < 0.35:  # a wing to the back
        wing = float(rng.uniform(3.5, 5.5))
        builder.box(
            frame,
            x + hand * (house / 2 - wing / 2),
            y + deep / 2 + wing / 2 - 0.5,
            wing,
            wing,
            2.8,
            rise=1.2,
            roof=Roof.HIP,
            wall=wall,
            top=top,
            turn=turn,
        )
    drive_x = hand * (width / 2 - 2.2)
    paved = pick(rng, PAVED_COLOURS)
    garage = rng.random() < 0.55
    reach = setback + (deep if garage else deep * 0.4)
    builder.patch(frame.rectangle(drive_x - 1.5, -2.2, drive_x + 1.5, reach), paved, 3, 0.03)
    if garage:
        builder.box(
            frame,
            drive_x,
            reach + 2.4,
            3.4,
            5.6,
            2.5,
            rise=0 if rng.random() < 0.5 else 1.3,
            roof=Roof.FLAT if rng.random() < 0.5 else Roof.GABLE,
            kind=Kind.SHED,
            wall=wall,
            top=vary(rng, top),
            turn=np.pi / 2,
        )
    if rng.random() < 0.5:
        builder.car(
            frame,
            drive_x,
            rng.uniform(2.6, max(2.7, setback)),
            turn=np.pi / 2,
            passing=rng.random() < 0.25,
        )
    builder.patch(frame.rectangle(x - 0.6, -0.2, x + 0.6, setback), pick(rng, PAVED_COLOURS), 3)
    _boundary(builder, frame, half, depth, drive_x, x)
    for _ in range(int(rng.integers(0, 3))):
        leafy(
            builder,
            *frame.to_ground(rng.uniform(-half, half), rng.uniform(1.2, max(1.4, setback - 1.5))),
            rng.uniform(2.5, 8),
        )
    back = setback + deep + 2
    if back < depth - 4:
        for _ in range(int(rng.integers(1, 5))):
            leafy(builder, *frame.to_ground(rng.uniform(-half, half), rng.uniform(back, depth - 1)))
        if rng.random() < 0.4:
            builder.box(
                frame,
                rng.uniform(-half + 2, half - 2),
                depth - 2.6,
                3,
                2.4,
                2.1,
                rise=0.5,
                roof=Roof.GABLE,
                kind=Kind.SHED,
                wall=(0.45, 0.36, 0.27),
                top=pick(rng, TILE_COLOURS),
            )
        if rng.random() < 0.13 and depth - back > 8:
            px, py = rng.uniform(-half + 4, half - 4) if half > 5 else 0.0, (back + depth) / 2
            builder.patch(frame.rectangle(px - 4, py - 2.6, px + 4, py + 2.6), (0.72, 0.7, 0.66), 3)
            builder.patch(
                frame.rectangle(px - 3.2, py - 1.8, px + 3.2, py + 1.8), (0.22, 0.6, 0.7), 4
            )
        if rng.random() < 0.5:
            builder.patch(
                frame.rectangle(x - house * 0.35, back - 2, x + house * 0.35, back + 1.5),
                pick(rng, PAVED_COLOURS),
                3,
            )


def _boundary(
    builder: Builder, frame: Frame, half: float, depth: float, drive_x: float, path_x: float
) -> None:
    """Hedges or fences along the front (with gaps for drive and path) and one side."""
    rng = builder.rng
    style = rng.random()
    if style < 0.3:
        return
    hedge = style < 0.7
    height = float(rng.uniform(0.9, 2.0) if hedge else rng.uniform(0.8, 1.5))
    thick = 0.9 if hedge else 0.14
    colour = (
        pick(rng, LEAF_COLOURS[:5])
        if hedge
        else pick(
            rng, [(0.5, 0.42, 0.33), (0.85, 0.85, 0.83), (0.55, 0.5, 0.47), (0.35, 0.3, 0.27)]
        )
    )
    kind = Kind.HEDGE if hedge else Kind.FENCE
    gaps = sorted([(drive_x - 1.8, drive_x + 1.8), (path_x - 0.9, path_x + 0.9)])
    start = -half
    if rng.random() < 0.75:
        for gap in [*gaps, (half, half)]:
            if gap[0] - start > 1.0:
                builder.box(
                    frame,
                    (start + gap[0]) / 2,
                    0.7,
                    gap[0] - start,
                    thick,
                    height,
                    kind=kind,
                    wall=colour,
                    top=colour,
                )
            start = max(start, gap[1])
    side = half if rng.random() < 0.5 else -half
    builder.box(
        frame,
        side,
        depth / 2,
        depth - 3,
        thick,
        height,
        kind=kind,
        wall=colour,
        top=colour,
        turn=np.pi / 2,
    )


def terraces(builder: Builder, cell: Cell) -> None:
    """Rows of narrow houses wall to wall, small gardens behind."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.08)
    for side, length, depth in street_rows(cell):
        setback, deep = float(rng.uniform(0.6, 4.0)), float(rng.uniform(8, 10.5))
        if depth < setback + deep + 2:
            continue
        storeys = int(rng.integers(2, 4))
        eave, rise = 2.9 * storeys + 0.3, deep / 2 * float(rng.uniform(0.6, 1.0))
        top, shared = pick(rng, TILE_COLOURS), pick(rng, WALL_COLOURS)
        uniform = rng.random() < 0.4
        along = rng.uniform(1, 5)
        while along < length - 6:
            run = int(rng.integers(4, 11))
            house = float(rng.uniform(5.2, 7.2))
            for _ in range(run):
                if along + house > length - 1:
                    break
                frame = lot_frame(builder, cell, side, along + house / 2)
                wall = vary(rng, shared, 0.03, 0.01) if uniform else pick(rng, WALL_COLOURS)
                roof = (
                    vary(rng, top, 0.05, 0.01) if rng.random() < 0.85 else pick(rng, TILE_COLOURS)
                )
                builder.box(
                    frame,
                    0,
                    setback + deep / 2,
                    house + 0.2,
                    deep,
                    eave,
                    rise=rise,
                    roof=Roof.GABLE,
                    kind=Kind.TERRACE,
                    wall=wall,
                    top=roof,
                )
                if rng.random() < 0.6:
                    builder.chimney(frame, house / 2 - 0.6, setback + deep / 2, eave + rise)
                builder.patch(
                    frame.rectangle(-house / 2 + 0.1, -0.1, house / 2 - 0.1, setback),
                    pick(rng, PAVED_COLOURS + GRASS_COLOURS),
                    2,
                )
                builder.patch(
                    frame.rectangle(-house / 2 + 0.1, setback + deep, house / 2 - 0.1, depth),
                    pick(rng, GRASS_COLOURS + PAVED_COLOURS[:2]),
                    2,
                    0.06,
                )
                if rng.random() < 0.4:
                    builder.box(
                        frame,
                        rng.uniform(-1, 1),
                        setback + deep + 1.6,
                        house * 0.5,
                        3.4,
                        2.7,
                        rise=0.8,
                        roof=Roof.SHED,
                        kind=Kind.SHED,
                        wall=wall,
                        top=roof,
                    )
                if rng.random() < 0.45 and depth - setback - deep > 5:
                    leafy(
                        builder,
                        *frame.to_ground(
                            rng.uniform(-2, 2), rng.uniform(setback + deep + 4, depth - 0.5)
                        ),
                        rng.uniform(3, 8),
                    )
                if setback > 2.2 and rng.random() < 0.35:
                    builder.box(
                        frame,
                        0,
                        0.4,
                        house - 1.6,
                        0.5,
                        1.0,
                        kind=Kind.HEDGE,
                        wall=(0.2, 0.32, 0.13),
                        top=(0.22, 0.34, 0.14),
                    )
                along += house
            along += rng.uniform(2.5, 9)
