"""What stands in a block: detached houses, terraces, the centre, industry, parks, parking.

Every function works in the block's own straight frame: x along the plan's u axis from its middle, y along v.
"""

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
    Frame,
    leafy,
    pick,
    vary,
)
from engine.world.model import Kind, Roof, Species
from engine.world.streets import Cell

WATER = (0.16, 0.27, 0.33)


def ground_of(builder: Builder, cell: Cell, colour: tuple[float, float, float], grain: float, layer: int = 1) -> None:
    """Paint the whole block, bent as its streets are."""
    n = 10
    u = np.concatenate([np.linspace(cell.u0, cell.u1, n), np.full(n, cell.u1), np.linspace(cell.u1, cell.u0, n), np.full(n, cell.u0)])
    v = np.concatenate([np.full(n, cell.v0), np.linspace(cell.v0, cell.v1, n), np.full(n, cell.v1), np.linspace(cell.v1, cell.v0, n)])
    builder.patch(np.stack(builder.bend(u, v), axis=1), colour, layer, grain)


def _rows(cell: Cell) -> list[tuple[str, float, float]]:
    """Sides of the block that lots can face: side, length, depth of a lot."""
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    south, north, west, east = cell.open_sides
    rows = []
    if width >= height:
        depth = height / 2 if (south and north) else height
        rows += [("south", width, min(depth, 38))] * south + [("north", width, min(depth, 38))] * north
    else:
        depth = width / 2 if (west and east) else width
        rows += [("west", height, min(depth, 38))] * west + [("east", height, min(depth, 38))] * east
    return rows


def _lot_frame(builder: Builder, cell: Cell, side: str, along: float) -> Frame:
    """Frame at the street edge of a lot: x along the street, y into the block."""
    if side == "south":
        return builder.frame(cell.u0 + along, cell.v0)
    if side == "north":
        return builder.frame(cell.u1 - along, cell.v1, np.pi)
    if side == "west":
        return builder.frame(cell.u0, cell.v1 - along, -np.pi / 2)
    return builder.frame(cell.u1, cell.v0 + along, np.pi / 2)


def suburb(builder: Builder, cell: Cell) -> None:
    """Detached houses with gardens, drives, hedges, sheds, pools."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.08)
    taste = [pick(rng, WALL_COLOURS) for _ in range(3)], [pick(rng, TILE_COLOURS) for _ in range(3)]
    for side, length, depth in _rows(cell):
        along = rng.uniform(1, 4)
        while along < length - 11:
            width = float(rng.uniform(12.5, 22))
            if along + width > length:
                break
            _house_lot(builder, _lot_frame(builder, cell, side, along + width / 2), width, depth, taste)
            along += width


def _house_lot(builder: Builder, frame: Frame, width: float, depth: float, taste: tuple[list, list]) -> None:
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
    roof = Roof(int(rng.choice([Roof.GABLE, Roof.HIP, Roof.GABLE, Roof.FLAT, Roof.SHED], p=[0.34, 0.3, 0.2, 0.1, 0.06])))
    rise = {Roof.FLAT: 0.0, Roof.SHED: 1.2}.get(roof, deep / 2 * float(rng.uniform(0.45, 0.95)))
    wall = pick(rng, taste[0]) if rng.random() < 0.5 else pick(rng, WALL_COLOURS)
    top = pick(rng, FLAT_COLOURS) if roof == Roof.FLAT else pick(rng, taste[1] if rng.random() < 0.5 else TILE_COLOURS)
    x = -hand * (width / 2 - house / 2 - 1.2) * float(rng.uniform(0.3, 1))
    y = setback + deep / 2
    turn = float(rng.normal(0, 0.03))
    if roof == Roof.GABLE and rng.random() < 0.35:  # gable to the street
        ok = builder.box(frame, x, y, deep, house, eave, rise=house / 2 * 0.7, roof=roof, wall=wall, top=top, turn=turn + np.pi / 2)
    else:
        ok = builder.box(frame, x, y, house, deep, eave, rise=rise, roof=roof, wall=wall, top=top, turn=turn)
    if not ok:
        return
    if rise > 1.5 and rng.random() < 0.6:
        builder.chimney(frame, x + rng.uniform(-0.3, 0.3) * house, y + rng.uniform(-0.1, 0.1) * deep, eave + rise)
    if rng.random() < 0.35:  # a wing to the back
        wing = float(rng.uniform(3.5, 5.5))
        builder.box(
            frame, x + hand * (house / 2 - wing / 2), y + deep / 2 + wing / 2 - 0.5, wing, wing, 2.8,
            rise=1.2, roof=Roof.HIP, wall=wall, top=top, turn=turn,
        )  # fmt: skip
    drive_x = hand * (width / 2 - 2.2)
    paved = pick(rng, PAVED_COLOURS)
    garage = rng.random() < 0.55
    reach = setback + (deep if garage else deep * 0.4)
    builder.patch(frame.rectangle(drive_x - 1.5, -2.2, drive_x + 1.5, reach), paved, 3, 0.03)
    if garage:
        builder.box(
            frame, drive_x, reach + 2.4, 3.4, 5.6, 2.5, rise=0 if rng.random() < 0.5 else 1.3,
            roof=Roof.FLAT if rng.random() < 0.5 else Roof.GABLE, kind=Kind.SHED, wall=wall, top=vary(rng, top), turn=np.pi / 2,
        )  # fmt: skip
    if rng.random() < 0.5:
        builder.car(frame, drive_x, rng.uniform(2.6, max(2.7, setback)), turn=np.pi / 2, passing=rng.random() < 0.25)
    builder.patch(frame.rectangle(x - 0.6, -0.2, x + 0.6, setback), pick(rng, PAVED_COLOURS), 3)
    _boundary(builder, frame, half, depth, drive_x, x)
    for _ in range(int(rng.integers(0, 3))):
        leafy(builder, *frame.to_ground(rng.uniform(-half, half), rng.uniform(1.2, max(1.4, setback - 1.5))), rng.uniform(2.5, 8))
    back = setback + deep + 2
    if back < depth - 4:
        for _ in range(int(rng.integers(1, 5))):
            leafy(builder, *frame.to_ground(rng.uniform(-half, half), rng.uniform(back, depth - 1)))
        if rng.random() < 0.4:
            builder.box(
                frame, rng.uniform(-half + 2, half - 2), depth - 2.6, 3, 2.4, 2.1, rise=0.5, roof=Roof.GABLE,
                kind=Kind.SHED, wall=(0.45, 0.36, 0.27), top=pick(rng, TILE_COLOURS),
            )  # fmt: skip
        if rng.random() < 0.13 and depth - back > 8:
            px, py = rng.uniform(-half + 4, half - 4) if half > 5 else 0.0, (back + depth) / 2
            builder.patch(frame.rectangle(px - 4, py - 2.6, px + 4, py + 2.6), (0.72, 0.7, 0.66), 3)
            builder.patch(frame.rectangle(px - 3.2, py - 1.8, px + 3.2, py + 1.8), (0.22, 0.6, 0.7), 4)
        if rng.random() < 0.5:
            builder.patch(frame.rectangle(x - house * 0.35, back - 2, x + house * 0.35, back + 1.5), pick(rng, PAVED_COLOURS), 3)


def _boundary(builder: Builder, frame: Frame, half: float, depth: float, drive_x: float, path_x: float) -> None:
    """Hedges or fences along the front (with gaps for drive and path) and one side."""
    rng = builder.rng
    style = rng.random()
    if style < 0.3:
        return
    hedge = style < 0.7
    height = float(rng.uniform(0.9, 2.0) if hedge else rng.uniform(0.8, 1.5))
    thick = 0.9 if hedge else 0.14
    colour = pick(rng, LEAF_COLOURS[:5]) if hedge else pick(rng, [(0.5, 0.42, 0.33), (0.85, 0.85, 0.83), (0.55, 0.5, 0.47), (0.35, 0.3, 0.27)])
    kind = Kind.HEDGE if hedge else Kind.FENCE
    gaps = sorted([(drive_x - 1.8, drive_x + 1.8), (path_x - 0.9, path_x + 0.9)])
    start = -half
    if rng.random() < 0.75:
        for gap in [*gaps, (half, half)]:
            if gap[0] - start > 1.0:
                builder.box(frame, (start + gap[0]) / 2, 0.7, gap[0] - start, thick, height, kind=kind, wall=colour, top=colour)
            start = max(start, gap[1])
    side = half if rng.random() < 0.5 else -half
    builder.box(frame, side, depth / 2, depth - 3, thick, height, kind=kind, wall=colour, top=colour, turn=np.pi / 2)


def terraces(builder: Builder, cell: Cell) -> None:
    """Rows of narrow houses wall to wall, small gardens behind."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, GRASS_COLOURS), 0.08)
    for side, length, depth in _rows(cell):
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
                frame = _lot_frame(builder, cell, side, along + house / 2)
                wall = vary(rng, shared, 0.03, 0.01) if uniform else pick(rng, WALL_COLOURS)
                roof = vary(rng, top, 0.05, 0.01) if rng.random() < 0.85 else pick(rng, TILE_COLOURS)
                builder.box(
                    frame, 0, setback + deep / 2, house + 0.2, deep, eave, rise=rise, roof=Roof.GABLE, kind=Kind.TERRACE,
                    wall=wall, top=roof,
                )  # fmt: skip
                if rng.random() < 0.6:
                    builder.chimney(frame, house / 2 - 0.6, setback + deep / 2, eave + rise)
                builder.patch(frame.rectangle(-house / 2 + 0.1, -0.1, house / 2 - 0.1, setback), pick(rng, PAVED_COLOURS + GRASS_COLOURS), 2)
                builder.patch(frame.rectangle(-house / 2 + 0.1, setback + deep, house / 2 - 0.1, depth), pick(rng, GRASS_COLOURS + PAVED_COLOURS[:2]), 2, 0.06)
                if rng.random() < 0.4:
                    builder.box(
                        frame, rng.uniform(-1, 1), setback + deep + 1.6, house * 0.5, 3.4, 2.7, rise=0.8, roof=Roof.SHED,
                        kind=Kind.SHED, wall=wall, top=roof,
                    )  # fmt: skip
                if rng.random() < 0.45 and depth - setback - deep > 5:
                    leafy(builder, *frame.to_ground(rng.uniform(-2, 2), rng.uniform(setback + deep + 4, depth - 0.5)), rng.uniform(3, 8))
                if setback > 2.2 and rng.random() < 0.35:
                    builder.box(frame, 0, 0.4, house - 1.6, 0.5, 1.0, kind=Kind.HEDGE, wall=(0.2, 0.32, 0.13), top=(0.22, 0.34, 0.14))
                along += house
            along += rng.uniform(2.5, 9)


def centre(builder: Builder, cell: Cell) -> None:
    """Tall buildings along every street of the block, a court inside."""
    rng = builder.rng
    ground_of(builder, cell, pick(rng, PAVED_COLOURS), 0.03)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    deep = float(min(rng.uniform(11, 16), min(width, height) / 2 - 2))
    base_storeys = int(rng.integers(3, 6))
    for side, length, inset in (("south", width, 0.0), ("north", width, 0.0), ("west", height, deep), ("east", height, deep)):
        along = inset
        while along < length - inset - 7:
            span = float(min(rng.uniform(9, 24), length - inset - along))
            if span < 6:
                break
            frame = _lot_frame(builder, cell, side, along + span / 2)
            along += span
            if rng.random() < 0.07:  # a gap: passage or small square
                for _ in range(2):
                    builder.tree(*frame.to_ground(rng.uniform(-3, 3), rng.uniform(2, 8)), rng.uniform(5, 8), Species.BROAD, pick(rng, LEAF_COLOURS))
                continue
            storeys = max(2, base_storeys + int(rng.integers(-1, 3)))
            eave = 3.2 * storeys + 1.0
            wall = pick(rng, WALL_COLOURS)
            pitched = rng.random() < 0.35
            top = pick(rng, TILE_COLOURS if pitched else FLAT_COLOURS)
            builder.box(
                frame, 0, deep / 2 + 0.2, span + 0.1, deep, eave, rise=3.5 if pitched else 0.0,
                roof=Roof.GABLE if pitched else Roof.FLAT, kind=Kind.SHOP, wall=wall, top=top,
            )  # fmt: skip
            if not pitched:
                for _ in range(int(rng.integers(1, 4))):
                    builder.box(
                        frame, rng.uniform(-span / 3, span / 3), rng.uniform(3, deep - 2), rng.uniform(1.5, 4), rng.uniform(1.5, 3),
                        eave + rng.uniform(1, 2.5), kind=Kind.SHED, wall=(0.6, 0.6, 0.6), top=pick(rng, FLAT_COLOURS), base=eave,
                    )  # fmt: skip
    court = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    inner_w, inner_h = width / 2 - deep - 3, height / 2 - deep - 3
    if inner_w > 4 and inner_h > 4:
        if rng.random() < 0.5:
            builder.patch(court.rectangle(-inner_w, -inner_h, inner_w, inner_h), pick(rng, GRASS_COLOURS), 2, 0.06)
            for _ in range(int(inner_w * inner_h / 60)):
                leafy(builder, *court.to_ground(rng.uniform(-inner_w, inner_w), rng.uniform(-inner_h, inner_h)))
        else:
            _bays(builder, court, -inner_w, -inner_h, inner_w, inner_h)


def _bays(builder: Builder, frame: Frame, x0: float, y0: float, x1: float, y1: float) -> None:
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
                builder.car(frame, x + 1.4, y + 2.4 + rng.normal(0, 0.2), turn=np.pi / 2 * (1 if rng.random() < 0.5 else -1), passing=rng.random() < 0.35)
            x += 2.7
        if rng.random() < 0.4:
            builder.tree(*frame.to_ground(x0 + 0.4, y + 5.4), rng.uniform(4, 7), Species.BROAD, pick(rng, LEAF_COLOURS))
        y += 11.2 if rng.random() < 0.5 else 16.2


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
        builder.box(frame, x, y, w, d, eave, rise=0 if roof == Roof.FLAT else 1.8, roof=roof, kind=Kind.INDUSTRY, wall=wall, top=pick(rng, METAL_COLOURS + FLAT_COLOURS))
        if rng.random() < 0.5:
            builder.box(frame, x - w / 2 - 3, y + rng.uniform(-0.3, 0.3) * d, 6, 9, 6.4, kind=Kind.BLOCK, wall=pick(rng, WALL_COLOURS), top=pick(rng, FLAT_COLOURS))
        for _ in range(int(rng.integers(0, 7))):
            colour = pick(rng, [(0.65, 0.25, 0.12), (0.15, 0.3, 0.5), (0.2, 0.42, 0.3), (0.75, 0.7, 0.6), (0.7, 0.5, 0.12)])
            side = 1 if y < 0 else -1
            builder.box(frame, x + rng.uniform(-w / 2, w / 2), side * height * rng.uniform(0.3, 0.44), 6.1, 2.45, 2.6 * int(rng.integers(1, 3)), kind=Kind.CONTAINER, wall=colour, top=colour, turn=float(rng.choice([0, np.pi / 2])))
        if rng.random() < 0.5:
            side = -1 if y > 0 else 1
            _bays(builder, frame, x - w / 2, side * height * 0.28, x + w / 2, side * height * 0.28 + 7.5)
    for side in (-1, 1):
        builder.box(frame, 0, side * (height / 2 - 0.5), width * 0.9, 0.12, 1.9, kind=Kind.FENCE, wall=(0.45, 0.47, 0.48), top=(0.45, 0.47, 0.48))
    for _ in range(int(rng.integers(2, 9))):
        leafy(builder, *frame.to_ground(rng.choice([-1, 1]) * (width / 2 - 2), rng.uniform(-height / 2, height / 2)))


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
        builder.patch(frame.rectangle(-w / 2, -d / 2, w / 2, d / 2), vary(rng, (0.28, 0.48, 0.2)), 4, 0.03)
        white = (0.9, 0.9, 0.88)
        for a, b, c, e in ((-w / 2, -d / 2, w / 2, -d / 2 + 0.3), (-w / 2, d / 2 - 0.3, w / 2, d / 2), (-w / 2, -d / 2, -w / 2 + 0.3, d / 2), (w / 2 - 0.3, -d / 2, w / 2, d / 2), (-0.15, -d / 2, 0.15, d / 2)):
            builder.patch(frame.rectangle(a, b, c, e), white, 5)
        keep_out.append((0, 0, max(w, d) * 0.55))
    elif chance < 0.65:  # a pond
        a = np.linspace(0, 2 * np.pi, 36)
        size = min(width, height) * rng.uniform(0.14, 0.26)
        r = size * (1 + 0.2 * np.sin(2 * a + rng.uniform(0, 6)) + 0.12 * np.sin(3 * a + rng.uniform(0, 6)))
        px, py = rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.15, 0.15) * height
        builder.patch(np.array([frame.to_ground(px + q * np.cos(b), py + q * np.sin(b)) for q, b in zip(r, a, strict=True)]), WATER, 4, 0.01)
        keep_out.append((px, py, size * 1.3))
    else:  # a playground
        builder.patch(frame.rectangle(-8, -6, 8, 6), (0.76, 0.66, 0.45), 4, 0.04)
        for _ in range(5):
            builder.box(frame, rng.uniform(-6, 6), rng.uniform(-4, 4), 2.2, 0.5, rng.uniform(1, 2.6), kind=Kind.CONTAINER, wall=pick(rng, [(0.8, 0.2, 0.15), (0.15, 0.35, 0.7), (0.85, 0.7, 0.1)]), top=(0.6, 0.5, 0.2), turn=rng.uniform(0, 3))
        keep_out.append((0, 0, 10))
    for _ in range(int(width * height / rng.uniform(70, 190))):
        x, y = rng.uniform(-0.48, 0.48) * width, rng.uniform(-0.48, 0.48) * height
        if all(np.hypot(x - a, y - b) > r for a, b, r in keep_out):
            leafy(builder, *frame.to_ground(x, y))


def parking(builder: Builder, cell: Cell) -> None:
    """A supermarket and its car park."""
    rng = builder.rng
    ground_of(builder, cell, (0.36, 0.36, 0.37), 0.04)
    width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
    frame = builder.frame((cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2)
    w = width * rng.uniform(0.3, 0.45)
    hand = 1 if rng.random() < 0.5 else -1
    builder.box(frame, hand * (width / 2 - w / 2 - 3), 0, w, height * 0.74, rng.uniform(5, 7.5), kind=Kind.INDUSTRY, wall=pick(rng, WALL_COLOURS), top=pick(rng, FLAT_COLOURS))
    x0, x1 = (-width / 2 + 3, width / 2 - w - 6) if hand > 0 else (-width / 2 + w + 6, width / 2 - 3)
    _bays(builder, frame, x0, -height / 2 + 3, x1, height / 2 - 3)
    for _ in range(8):
        builder.tree(*frame.to_ground(rng.uniform(x0, x1), rng.choice([-1, 1]) * (height / 2 - 1.5)), rng.uniform(4, 8), Species.BROAD, pick(rng, LEAF_COLOURS))


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
        spots = [(-width / 2 + width / count * (i + 0.5), rng.uniform(-3, 3), 11.5, height * 0.62) for i in range(count)]
    for x, y, w, d in spots:
        builder.box(frame, x, y, w, d, 2.9 * storeys + 1, kind=Kind.BLOCK, wall=vary(rng, wall, 0.03, 0.02), top=vary(rng, top))
        builder.patch(frame.rectangle(x - w / 2 - 2.4, y - d / 2 - 2, x - w / 2 - 0.8, y + d / 2 + 2), (0.6, 0.59, 0.57), 3)
    _bays(builder, frame, -width * 0.2, -height / 2 + 1, width * 0.2, -height / 2 + 7)
    for _ in range(int(width * height / 160)):
        x, y = rng.uniform(-0.48, 0.48) * width, rng.uniform(-0.48, 0.48) * height
        if all(abs(x - a) > w / 2 + 2.5 or abs(y - b) > d / 2 + 2.5 for a, b, w, d in spots) and y > -height / 2 + 9:
            leafy(builder, *frame.to_ground(x, y))
