"""Placing things on the ground from plan coordinates, in a straight local frame of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.world.model import Box, Colour, Kind, Patch, Roof, Species, Town, Tree
from engine.world.streets import Bend


def vary(
    rng: np.random.Generator, colour: Colour, spread: float = 0.08, tint: float = 0.015
) -> Colour:
    """A colour like another: brighter or darker by ``spread``, tinted by ``tint``."""
    level = 1 + rng.normal(0, spread)
    shifted = [float(np.clip(c * level + rng.normal(0, tint), 0.01, 0.98)) for c in colour]
    return shifted[0], shifted[1], shifted[2]


def pick(rng: np.random.Generator, colours: list[Colour]) -> Colour:
    """One of the colours, varied a little."""
    return vary(rng, colours[int(rng.integers(len(colours)))])


class Frame:
    """A straight local frame on the ground: origin and direction; x along, y to the left."""

    def __init__(self, x: float, y: float, angle: float) -> None:
        self.x, self.y, self.angle = x, y, angle
        self.cos, self.sin = float(np.cos(angle)), float(np.sin(angle))

    def to_ground(self, x: float, y: float) -> tuple[float, float]:
        """Ground position of a local point."""
        return self.x + x * self.cos - y * self.sin, self.y + x * self.sin + y * self.cos

    def rectangle(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
        """Corners on the ground of a local rectangle, [4, 2]."""
        return np.array([self.to_ground(*p) for p in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))])


class Builder:
    """Adds things to a town, and refuses what would stand in water or outside."""

    def __init__(
        self, town: Town, bend: Bend, rng: np.random.Generator, water: NDArray[np.float64] | None
    ) -> None:
        self.town, self.bend, self.rng, self.water = town, bend, rng, water

    def frame(self, u: float, v: float, turn: float = 0.0) -> Frame:
        """The local frame whose x axis is the plan's u axis at (u, v), turned by ``turn``."""
        x, y = self.bend(u, v)
        return Frame(float(x), float(y), self.bend.angle(u, v) + turn)

    def dry(self, x: float, y: float, margin: float) -> bool:
        """Whether a place is inside the town and at least ``margin`` metres from the water."""
        if max(abs(x), abs(y)) > self.town.half_m - 4:
            return False
        if self.water is None:
            return True
        gap = np.hypot(self.water[:, 0] - x, self.water[:, 1] - y) - self.water[:, 2]
        return bool(gap.min() > margin)

    def patch(
        self, points: NDArray[np.float64], colour: Colour, layer: int, grain: float = 0.0
    ) -> None:
        """Paint a polygon of ground."""
        self.town.patches.append(Patch(points, colour, layer, grain))

    def box(
        self,
        frame: Frame,
        x: float,
        y: float,
        length: float,
        depth: float,
        eave: float,
        *,
        rise: float = 0.0,
        roof: Roof = Roof.FLAT,
        kind: Kind = Kind.HOUSE,
        wall: Colour = (0.7, 0.7, 0.68),
        top: Colour = (0.4, 0.4, 0.4),
        base: float = 0.0,
        turn: float = 0.0,
        passing: bool = False,
    ) -> bool:
        """Stand a box at a local point, ``length`` along the frame's x axis. Says whether it found room."""
        gx, gy = frame.to_ground(x, y)
        if not self.dry(gx, gy, 0.5 * max(length, depth) if eave > 1.8 else 0.5):
            return False
        made = Box(
            gx,
            gy,
            frame.angle + turn,
            length / 2,
            depth / 2,
            base,
            eave,
            eave + rise,
            int(roof),
            int(kind),
            *wall,
            *top,
            int(self.rng.integers(0, 4096)),
        )
        (self.town.passing if passing else self.town.boxes).append(made)
        return True

    def chimney(self, frame: Frame, x: float, y: float, ridge: float) -> None:
        """A brick chimney through the roof, ending a little above the ridge."""
        tone = vary(self.rng, (0.42, 0.28, 0.23), 0.15)
        self.box(
            frame,
            x,
            y,
            0.9,
            0.7,
            ridge + self.rng.uniform(0.4, 1.0),
            kind=Kind.SHED,
            wall=tone,
            top=tone,
            base=ridge - 2.2,
        )

    def tree(self, x: float, y: float, height: float, species: Species, colour: Colour) -> None:
        """Plant a tree at a ground position."""
        if not self.dry(x, y, 0.5):
            return
        rng = self.rng
        wide = {Species.BROAD: 0.34, Species.CONIFER: 0.2, Species.COLUMN: 0.13, Species.BUSH: 0.6}[
            species
        ]
        bare = {
            Species.BROAD: 0.26,
            Species.CONIFER: 0.08,
            Species.COLUMN: 0.07,
            Species.BUSH: 0.0,
        }[species]
        self.town.trees.append(
            Tree(
                x,
                y,
                height,
                height * wide * rng.uniform(0.8, 1.25),
                height * bare,
                int(species),
                *colour,
                int(rng.integers(0, 4096)),
            )
        )

    def car(
        self, frame: Frame, x: float, y: float, turn: float = 0.0, passing: bool = False
    ) -> None:
        """Park a car (or van) along the frame's x axis."""
        rng = self.rng
        colour = pick(rng, CAR_COLOURS)
        van = rng.random() < 0.12
        length, width = (5.2, 2.0) if van else (rng.uniform(3.9, 4.7), 1.78)
        if van:
            self.box(
                frame,
                x,
                y,
                length,
                width,
                2.1,
                kind=Kind.CAR,
                wall=colour,
                top=colour,
                turn=turn,
                passing=passing,
            )
            return
        self.box(
            frame,
            x,
            y,
            length,
            width,
            0.9,
            kind=Kind.CAR,
            wall=colour,
            top=colour,
            turn=turn,
            passing=passing,
        )
        back = -0.25
        cx, cy = x + back * np.cos(turn), y + back * np.sin(turn)
        glass = (0.12, 0.14, 0.17)
        self.box(
            frame,
            cx,
            cy,
            length * 0.52,
            width * 0.86,
            1.45,
            kind=Kind.CABIN,
            wall=glass,
            top=vary(rng, colour, 0.02, 0.01),
            base=0.88,
            turn=turn,
            passing=passing,
        )


CAR_COLOURS: list[Colour] = [
    (0.85, 0.85, 0.86),
    (0.1, 0.1, 0.11),
    (0.55, 0.56, 0.58),
    (0.3, 0.31, 0.33),
    (0.6, 0.08, 0.08),
    (0.1, 0.18, 0.42),
    (0.85, 0.85, 0.86),
    (0.62, 0.6, 0.52),
    (0.12, 0.3, 0.2),
    (0.8, 0.5, 0.1),
]
LEAF_COLOURS: list[Colour] = [
    (0.2, 0.32, 0.11),
    (0.26, 0.38, 0.14),
    (0.15, 0.27, 0.1),
    (0.32, 0.38, 0.14),
    (0.22, 0.36, 0.2),
    (0.42, 0.36, 0.12),
    (0.4, 0.2, 0.12),
    (0.3, 0.14, 0.16),
]
NEEDLE_COLOURS: list[Colour] = [(0.09, 0.2, 0.11), (0.12, 0.23, 0.16), (0.16, 0.27, 0.24)]
GRASS_COLOURS: list[Colour] = [
    (0.3, 0.42, 0.17),
    (0.36, 0.45, 0.2),
    (0.27, 0.38, 0.15),
    (0.46, 0.47, 0.26),
    (0.33, 0.47, 0.2),
]
WALL_COLOURS: list[Colour] = [
    (0.86, 0.84, 0.78),
    (0.62, 0.33, 0.24),
    (0.52, 0.28, 0.22),
    (0.8, 0.72, 0.56),
    (0.72, 0.74, 0.76),
    (0.9, 0.9, 0.88),
    (0.55, 0.62, 0.66),
    (0.68, 0.6, 0.5),
    (0.42, 0.44, 0.46),
    (0.78, 0.55, 0.42),
    (0.56, 0.66, 0.55),
]
TILE_COLOURS: list[Colour] = [
    (0.58, 0.28, 0.19),
    (0.42, 0.2, 0.16),
    (0.27, 0.27, 0.29),
    (0.36, 0.35, 0.35),
    (0.46, 0.4, 0.34),
    (0.2, 0.21, 0.23),
    (0.52, 0.36, 0.26),
    (0.35, 0.42, 0.44),
    (0.3, 0.4, 0.32),
]
FLAT_COLOURS: list[Colour] = [
    (0.5, 0.5, 0.49),
    (0.68, 0.67, 0.64),
    (0.35, 0.35, 0.36),
    (0.78, 0.78, 0.77),
    (0.55, 0.5, 0.45),
    (0.33, 0.4, 0.3),
]
METAL_COLOURS: list[Colour] = [
    (0.7, 0.72, 0.73),
    (0.5, 0.55, 0.6),
    (0.35, 0.45, 0.55),
    (0.75, 0.72, 0.65),
    (0.55, 0.3, 0.25),
    (0.4, 0.5, 0.42),
]
PAVED_COLOURS: list[Colour] = [
    (0.58, 0.57, 0.55),
    (0.45, 0.45, 0.45),
    (0.6, 0.5, 0.43),
    (0.52, 0.42, 0.36),
    (0.68, 0.66, 0.6),
    (0.35, 0.35, 0.36),
]


def leafy(builder: Builder, x: float, y: float, height: float | None = None) -> None:
    """Plant some tree of a garden or park."""
    rng = builder.rng
    chance = rng.random()
    if chance < 0.62:
        builder.tree(x, y, height or rng.uniform(5, 12.5), Species.BROAD, pick(rng, LEAF_COLOURS))
    elif chance < 0.8:
        builder.tree(x, y, height or rng.uniform(6, 15), Species.CONIFER, pick(rng, NEEDLE_COLOURS))
    elif chance < 0.86:
        builder.tree(x, y, height or rng.uniform(7, 14), Species.COLUMN, pick(rng, LEAF_COLOURS))
    else:
        builder.tree(x, y, rng.uniform(1.0, 2.6), Species.BUSH, pick(rng, LEAF_COLOURS))
