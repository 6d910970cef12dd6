"""The vector town: what stands where.

Coordinates are metres east (x) and north (y) of the town's centre; heights are metres above the flat ground;
angles are radians counter-clockwise from east; colours are linear-ish RGB in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.floating[Any]]
I32 = NDArray[np.int32]
Colour = tuple[float, float, float]


class Kind(IntEnum):
    """What a box is; decides how its walls are drawn and how far away it is still looked for."""

    HOUSE = 0
    TERRACE = 1
    BLOCK = 2
    SHOP = 3
    INDUSTRY = 4
    SHED = 5
    HEDGE = 6
    FENCE = 7
    CAR = 8
    CABIN = 9
    CONTAINER = 10
    POLE = 11


class Roof(IntEnum):
    """Roof shapes; the ridge of GABLE and HIP runs along the box's own x axis, SHED falls along its y axis."""

    FLAT = 0
    GABLE = 1
    HIP = 2
    SHED = 3


class Species(IntEnum):
    """Kinds of tree, by silhouette."""

    BROAD = 0
    CONIFER = 1
    COLUMN = 2
    BUSH = 3


@dataclass(frozen=True)
class Box:
    """An upright box with a roof: a building part, a hedge, a car body."""

    x: float
    y: float
    angle: float
    half_x: float
    half_y: float
    base: float
    eave: float
    ridge: float
    roof: int
    kind: int
    wall_r: float
    wall_g: float
    wall_b: float
    roof_r: float
    roof_g: float
    roof_b: float
    style: int


@dataclass(frozen=True)
class Tree:
    """A tree or bush: trunk from the ground, crown from ``base`` to ``height``."""

    x: float
    y: float
    height: float
    radius: float
    base: float
    species: int
    r: float
    g: float
    b: float
    style: int


@dataclass(frozen=True)
class Boxes:
    """Boxes as columns (structure of arrays), for vectorised drawing. All of length N."""

    x: F32
    y: F32
    angle: F32
    half_x: F32
    half_y: F32
    base: F32
    eave: F32
    ridge: F32
    roof: F32
    kind: F32
    wall_r: F32
    wall_g: F32
    wall_b: F32
    roof_r: F32
    roof_g: F32
    roof_b: F32
    style: F32

    def __len__(self) -> int:
        return len(self.x)

    def take(self, ids: NDArray[np.intp]) -> Boxes:
        """The boxes with these positions, in this order."""
        return Boxes(**{f.name: getattr(self, f.name)[ids] for f in fields(self)})


@dataclass(frozen=True)
class Trees:
    """Trees as columns. All of length N."""

    x: F32
    y: F32
    height: F32
    radius: F32
    base: F32
    species: F32
    r: F32
    g: F32
    b: F32
    style: F32

    def __len__(self) -> int:
        return len(self.x)

    def take(self, ids: NDArray[np.intp]) -> Trees:
        """The trees with these positions, in this order."""
        return Trees(**{f.name: getattr(self, f.name)[ids] for f in fields(self)})


def columns_of_boxes(boxes: list[Box]) -> Boxes:
    """Turn a list of boxes into columns."""
    names = [f.name for f in fields(Boxes)]
    table = np.array([[getattr(b, n) for n in names] for b in boxes], np.float32).reshape(
        -1, len(names)
    )
    return Boxes(**{name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)})


def columns_of_trees(trees: list[Tree]) -> Trees:
    """Turn a list of trees into columns."""
    names = [f.name for f in fields(Trees)]
    table = np.array([[getattr(t, n) for n in names] for t in trees], np.float32).reshape(
        -1, len(names)
    )
    return Trees(**{name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)})


@dataclass(frozen=True)
class Patch:
    """A polygon of ground: a lawn, a drive, a marking. ``layer`` orders the painting, low first."""

    points: NDArray[np.float64]
    colour: Colour
    layer: int
    grain: float = 0.0


@dataclass
class Town:
    """A town and everything in it.

    ``half_m``: half the side of the square that holds everything. ``parked``: cars that stand for long, seen in
    every view. ``passing``: cars seen from the air only; each ground view draws its own.
    """

    seed: int
    half_m: float
    patches: list[Patch] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    passing: list[Box] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    street_points: list[tuple[float, float, float]] = field(default_factory=list)

    @cached_property
    def patch_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest x, y of every patch, [N, 2] each; asked for once the town is complete."""
        low = np.array([p.points.min(axis=0) for p in self.patches])
        return low, np.array([p.points.max(axis=0) for p in self.patches])
