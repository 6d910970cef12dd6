"""Making a town from a seed: plan, districts, river, blocks, streets and what stands along them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.world.builder import LEAF_COLOURS, PAVED_COLOURS, Builder, Frame, pick
from engine.world.homes import suburb, terraces
from engine.world.lots import WATER, ground_of
from engine.world.model import Colour, Kind, Species, Town
from engine.world.parks import park
from engine.world.quarters import centre, industry, parking, slabs
from engine.world.streets import Plan, Segment, make_plan

MARGIN_M = 70.0
"""The town goes on this far beyond the imagery, so that a view at its edge is not empty."""

WHITE: Colour = (0.84, 0.84, 0.82)


def make_town(seed: int, side_m: float) -> Town:
    """A town whose imagery covers a square of ``side_m`` metres; the same for the same seed, always."""
    rng = np.random.default_rng([seed, 0x4E454D4F])
    town = Town(seed, side_m / 2 + MARGIN_M)
    plan = make_plan(rng, town.half_m)
    water = _river(rng, town.half_m)
    builder = Builder(town, plan.bend, rng, water)
    _paint_water(builder, water)
    _fill(builder, plan, side_m)
    for segment in plan.segments:
        _street(builder, segment)
    return town


def _river(rng: np.random.Generator, half: float) -> NDArray[np.float64] | None:
    """A river as points with half widths [n, 3], or none."""
    if rng.random() < 0.3:
        return None
    t = np.linspace(-half * 1.5, half * 1.5, int(half / 2))
    offset = rng.uniform(-0.75, 0.75) * half
    sway = sum(
        rng.uniform(15, 60) * np.sin(t * 2 * np.pi / rng.uniform(350, 1100) + rng.uniform(0, 6))
        for _ in range(3)
    )
    angle = rng.uniform(0, np.pi)
    width = rng.uniform(7, 26) * (1 + 0.25 * np.sin(t / rng.uniform(60, 160)))
    across = offset + sway
    x, y = t * np.cos(angle) - across * np.sin(angle), t * np.sin(angle) + across * np.cos(angle)
    return np.stack([x, y, width], axis=1)


def _paint_water(builder: Builder, water: NDArray[np.float64] | None) -> None:
    if water is None:
        return
    step = np.gradient(water[:, :2], axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(
        step, axis=1, keepdims=True
    )

    def band(extra: float) -> NDArray[np.float64]:
        reach = normal * (water[:, 2:] + extra)
        return np.concatenate([water[:, :2] + reach, (water[:, :2] - reach)[::-1]])

    rng = builder.rng
    builder.patch(band(5.0), pick(rng, PAVED_COLOURS), 6, 0.03)
    builder.patch(band(2.0), (0.35, 0.4, 0.22), 6, 0.08)
    builder.patch(band(0.0), WATER, 6, 0.01)
    for x, y, width in water[:: int(rng.integers(3, 7))]:
        side = rng.choice([-1, 1])
        i = int(np.argmin(np.hypot(water[:, 0] - x, water[:, 1] - y)))
        px, py = np.array([x, y]) + normal[i] * side * (width + 6.5)
        if rng.random() < 0.6:
            builder.tree(
                float(px), float(py), rng.uniform(6, 12), Species.BROAD, pick(rng, LEAF_COLOURS)
            )


def _fill(builder: Builder, plan: Plan, side_m: float) -> None:
    """Choose what every block is, by district, and build it."""
    rng = builder.rng
    phase = rng.uniform(0, 6.28, 4)
    heart = rng.uniform(-0.2, 0.2, 2) * side_m
    waterfront = builder.water
    for cell in plan.cells:
        width, height = cell.u1 - cell.u0, cell.v1 - cell.v0
        if min(width, height) < 12:
            ground_of(builder, cell, (0.36, 0.44, 0.22), 0.08)
            continue
        u, v = (cell.u0 + cell.u1) / 2, (cell.v0 + cell.v1) / 2
        x, y = (float(a) for a in plan.bend(u, v))
        far = np.hypot(x - heart[0], y - heart[1]) / (side_m / 2)
        field = (
            np.sin(x / 170 + phase[0])
            + np.sin(y / 190 + phase[1])
            + 0.7 * np.sin((x + y) / 130 + phase[2])
        )
        by_water = waterfront is not None and bool(
            (np.hypot(waterfront[:, 0] - x, waterfront[:, 1] - y) - waterfront[:, 2]).min() < 45
        )
        chance = rng.random()
        if not any(cell.open_sides) or chance < (0.2 if by_water else 0.07):
            park(builder, cell)
        elif chance > 0.965:
            parking(builder, cell)
        elif far < 0.38 + 0.08 * field:
            centre(builder, cell)
        elif field > 1.15:
            industry(builder, cell)
        elif field < -1.25 or (by_water and rng.random() < 0.5):
            slabs(builder, cell)
        elif far < 0.72 + 0.2 * np.sin(phase[3] + x / 150) and rng.random() < 0.85:
            terraces(builder, cell)
        else:
            suburb(builder, cell)


def _ribbon(
    builder: Builder, s: Segment, a: float, b: float, left: float, right: float
) -> NDArray[np.float64]:
    """The ground polygon of a strip of a street from ``a`` to ``b`` metres along, bent with it."""
    t = np.linspace(a, b, max(2, int(abs(b - a) / 7) + 2))
    lx, ly = builder.bend(*s.at(t, left))
    rx, ry = builder.bend(*s.at(t[::-1], right))
    return np.stack([np.concatenate([lx, rx]), np.concatenate([ly, ry])], axis=1)


def _street(builder: Builder, s: Segment) -> None:
    """Paint one piece of street and set out its trees, lamps and cars."""
    rng = builder.rng
    half, walk = s.width / 2, s.pavement
    length = s.length
    over = half + 1.0
    tone = float(rng.uniform(0.24, 0.4))
    asphalt = (tone, tone, tone * 1.03)
    slab = pick(rng, [(0.62, 0.61, 0.58), (0.54, 0.53, 0.52), (0.66, 0.6, 0.53)])
    builder.patch(
        _ribbon(builder, s, -over, length + over, half + walk, -half - walk), slab, 7, 0.03
    )
    builder.patch(
        _ribbon(builder, s, -over, length + over, half + 0.3, -half - 0.3), (0.72, 0.71, 0.69), 8
    )
    builder.patch(_ribbon(builder, s, -over, length + over, half, -half), asphalt, 9, 0.03)
    for _ in range(int(rng.integers(0, 5))):  # mended places
        a = rng.uniform(0, length - 4)
        c = rng.uniform(-half + 1, half - 1)
        t = tone * rng.uniform(0.7, 1.25)
        builder.patch(
            _ribbon(builder, s, a, a + rng.uniform(2, 12), c + rng.uniform(0.4, 1.2), c - 0.6),
            (t, t, t),
            10,
            0.02,
        )
    inner = max(half, 6.5)
    if length < 2 * inner + 12:
        return
    _markings(builder, s, inner)
    _furniture(builder, s, inner)
    for along in np.arange(inner * 0.6, length - inner * 0.6, 7.0):
        across = rng.uniform(-0.35, 0.35) * s.width
        if rng.random() < 0.2:
            across = rng.choice([-1, 1]) * (half + walk * 0.5)
        x, y = builder.bend(*s.at(along, across))
        x1, y1 = builder.bend(*s.at(along + 1, across))
        builder.town.street_points.append((float(x), float(y), float(np.arctan2(y1 - y, x1 - x))))


def _markings(builder: Builder, s: Segment, inner: float) -> None:
    rng, half, length = builder.rng, s.width / 2, s.length

    def mark(a: float, b: float, c: float, w: float = 0.24, colour: Colour = WHITE) -> None:
        builder.patch(_ribbon(builder, s, a, b, c + w / 2, c - w / 2), colour, 12)

    if s.rank == 2:
        yellow: Colour = (0.85, 0.65, 0.16) if rng.random() < 0.4 else WHITE
        mark(inner, length - inner, 0.2, 0.22, yellow)
        mark(inner, length - inner, -0.2, 0.22, yellow)
        for c in (-half / 2, half / 2):
            for a in np.arange(inner, length - inner - 3, 9.0):
                mark(a, a + 3.2, c)
        for c in (-half + 0.5, half - 0.5):
            mark(inner, length - inner, c, 0.22)
        if s.width > 15 and rng.random() < 0.4:  # a planted median
            builder.patch(
                _ribbon(builder, s, inner + 6, length - inner - 6, 0.9, -0.9),
                (0.35, 0.45, 0.2),
                13,
                0.06,
            )
            for a in np.arange(inner + 9, length - inner - 8, rng.uniform(9, 15)):
                x, y = builder.bend(*s.at(a, 0.0))
                builder.tree(
                    float(x), float(y), rng.uniform(4, 8), Species.BROAD, pick(rng, LEAF_COLOURS)
                )
    elif s.rank == 1 and rng.random() < 0.75:
        for a in np.arange(inner, length - inner - 2, 7.0):
            mark(a, a + 2.6, 0.0)
    if s.rank >= 1:
        for end, way in ((inner - 1.5, 1), (length - inner + 1.5, -1)):
            if rng.random() < (0.75 if s.rank == 2 else 0.35):  # a zebra crossing
                for c in np.arange(-half + 0.7, half - 0.5, 1.1):
                    builder.patch(
                        _ribbon(builder, s, end, end + 3 * way, c + 0.28, c - 0.28), WHITE, 12
                    )
            mark(end + 4 * way, end + 4.5 * way, -way * half / 2, half * 0.9)


def _furniture(builder: Builder, s: Segment, inner: float) -> None:
    rng, half, walk, length = builder.rng, s.width / 2, s.pavement, s.length
    species = Species(int(rng.choice([0, 0, 0, 2, 1], p=[0.4, 0.2, 0.2, 0.15, 0.05])))
    colour = pick(rng, LEAF_COLOURS)
    spacing = float(rng.uniform(8, 18))
    for side in (-1, 1):
        if walk > 1.6 and rng.random() < (0.75 if s.rank == 2 else 0.4):
            size = rng.uniform(5, 10)
            for a in np.arange(inner + rng.uniform(0, spacing), length - inner, spacing):
                if rng.random() < 0.85:
                    x, y = builder.bend(*s.at(a, side * (half + min(1.1, walk * 0.5))))
                    builder.tree(float(x), float(y), size * rng.uniform(0.75, 1.2), species, colour)
        if walk > 1.2:
            for a in np.arange(inner + 3, length - inner, 27.0):
                u, v = s.at(a, side * (half + 0.5))
                frame = builder.frame(float(u), float(v))
                builder.box(
                    frame,
                    0,
                    0,
                    0.2,
                    0.2,
                    6.5,
                    kind=Kind.POLE,
                    wall=(0.32, 0.34, 0.34),
                    top=(0.5, 0.5, 0.5),
                )
        parked = rng.uniform(0, 0.55) if s.rank == 1 else rng.uniform(0, 0.2)
        if s.width > 7.8:
            for a in np.arange(inner + 5, length - inner - 5, 6.3):
                if rng.random() < parked:
                    _car_on(builder, s, a, side * (half - 1.1), passing=rng.random() < 0.35)
    for a in np.arange(inner, length - inner, 24.0):
        if rng.random() < 0.3:
            _car_on(builder, s, a, rng.choice([-1, 1]) * half * 0.45, passing=True)


def _car_on(builder: Builder, s: Segment, along: float, across: float, passing: bool) -> None:
    x, y = builder.bend(*s.at(along, across))
    x1, y1 = builder.bend(*s.at(along + 1, across))
    turn = 0.0 if across < 0 else np.pi
    builder.car(
        Frame(float(x), float(y), float(np.arctan2(y1 - y, x1 - x)) + turn), 0, 0, passing=passing
    )
