"""The street plan: an irregular grid, bent by a smooth field so that parts are gridded and parts organic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bend:
    """A smooth map from the plan (u, v) to the ground (x, y), metres: a rotation plus a few long waves."""

    turn: float
    waves: Floats  # [n, 5]: wave vector (2), phase, amplitude along x and y
    calm: Floats  # [3]: wave vector and phase of the field that says where the plan stays straight

    def __call__(self, u: Floats | float, v: Floats | float) -> tuple[Floats, Floats]:
        """Ground position of plan points."""
        u, v = np.asarray(u, float), np.asarray(v, float)
        c, s = np.cos(self.turn), np.sin(self.turn)
        x, y = u * c - v * s, u * s + v * c
        loose = 0.5 + 0.5 * np.tanh(
            1.6 * np.sin(u * self.calm[0] + v * self.calm[1] + self.calm[2])
        )
        for ku, kv, phase, ax, ay in self.waves:
            wave = np.sin(u * ku + v * kv + phase) * loose
            x, y = x + ax * wave, y + ay * wave
        return x, y

    def angle(self, u: float, v: float) -> float:
        """Direction on the ground of the plan's u axis at a point, radians."""
        x, y = self(np.array([u - 1.0, u + 1.0]), np.array([v, v]))
        return float(np.arctan2(y[1] - y[0], x[1] - x[0]))


@dataclass(frozen=True)
class Segment:
    """A piece of street between two crossings, in plan coordinates; it runs along u or along v."""

    u0: float
    v0: float
    u1: float
    v1: float
    width: float
    rank: int  # 2 artery, 1 street, 0 lane
    pavement: float

    @property
    def length(self) -> float:
        """Length in the plan, metres."""
        return abs(self.u1 - self.u0) + abs(self.v1 - self.v0)

    def at(self, along: Floats | float, across: Floats | float) -> tuple[Floats, Floats]:
        """Plan coordinates of a point ``along`` metres from the start and ``across`` metres to its left."""
        du, dv = (self.u1 - self.u0) / self.length, (self.v1 - self.v0) / self.length
        along, across = np.asarray(along, float), np.asarray(across, float)
        return self.u0 + du * along - dv * across, self.v0 + dv * along + du * across


@dataclass(frozen=True)
class Cell:
    """A block between four street lines, already inset to the back of the pavements; plan coordinates."""

    u0: float
    v0: float
    u1: float
    v1: float
    open_sides: tuple[
        bool, bool, bool, bool
    ]  # is there a street at south (v0), north, west (u0), east


@dataclass(frozen=True)
class Plan:
    """Bend, streets and blocks."""

    bend: Bend
    segments: list[Segment]
    cells: list[Cell]


_WIDTHS = {2: (13.0, 17.0), 1: (7.5, 9.5), 0: (5.0, 6.2)}


def _lines(
    rng: np.random.Generator, reach: float, low: float, high: float
) -> list[tuple[float, float, int, float]]:
    """Positions, widths, ranks and pavement widths of parallel street lines."""
    at, lines, since = -reach, [], int(rng.integers(0, 3))
    while at < reach:
        since += 1
        if since >= 3 and rng.random() < 0.5:
            rank, since = 2, 0
        else:
            rank = 1 if rng.random() < 0.78 else 0
        width = float(rng.uniform(*_WIDTHS[rank]))
        pavement = float(
            rng.uniform(2.5, 4.5) if rank == 2 else rng.uniform(1.4, 2.8) if rank == 1 else 0.5
        )
        lines.append((at, width, rank, pavement))
        at += float(rng.uniform(low, high))
    return lines


def make_plan(rng: np.random.Generator, half_m: float) -> Plan:
    """Draw a street plan that covers a square of half side ``half_m``."""
    n = 5
    length = rng.uniform(280, 900, n)
    direction = rng.uniform(0, 2 * np.pi, n)
    k = 2 * np.pi / length
    amplitude = length * rng.uniform(0.02, 0.05, n)
    heading = rng.uniform(0, 2 * np.pi, n)
    waves = np.stack(
        [
            k * np.cos(direction),
            k * np.sin(direction),
            rng.uniform(0, 6.28, n),
            amplitude * np.cos(heading),
            amplitude * np.sin(heading),
        ],
        axis=1,
    )
    calm_k = 2 * np.pi / rng.uniform(700, 1400)
    calm_direction = rng.uniform(0, 6.28)
    calm = np.array(
        [calm_k * np.cos(calm_direction), calm_k * np.sin(calm_direction), rng.uniform(0, 6.28)]
    )
    bend = Bend(float(rng.uniform(-np.pi, np.pi)), waves, calm)

    reach = half_m * 1.5 + 100
    across_u = _lines(rng, reach, 78, 165)
    across_v = _lines(rng, reach, 56, 88)
    segments: list[Segment] = []
    present: dict[tuple[str, int, int], bool] = {}

    def keep(rank: int) -> bool:
        return rank == 2 or rng.random() > (0.13 if rank == 1 else 0.3)

    for i, (u, width, rank, pavement) in enumerate(across_u):
        for j in range(len(across_v) - 1):
            present["u", i, j] = keep(rank)
            if present["u", i, j]:
                segments.append(
                    Segment(u, across_v[j][0], u, across_v[j + 1][0], width, rank, pavement)
                )
    for j, (v, width, rank, pavement) in enumerate(across_v):
        for i in range(len(across_u) - 1):
            present["v", i, j] = keep(rank)
            if present["v", i, j]:
                segments.append(
                    Segment(across_u[i][0], v, across_u[i + 1][0], v, width, rank, pavement)
                )

    cells = []
    for i in range(len(across_u) - 1):
        for j in range(len(across_v) - 1):
            west, east, south, north = across_u[i], across_u[i + 1], across_v[j], across_v[j + 1]
            cells.append(
                Cell(
                    west[0] + west[1] / 2 + west[3],
                    south[0] + south[1] / 2 + south[3],
                    east[0] - east[1] / 2 - east[3],
                    north[0] - north[1] / 2 - north[3],
                    (
                        present["v", i, j],
                        present["v", i, j + 1],
                        present["u", i, j],
                        present["u", i + 1, j],
                    ),
                )
            )
    half = half_m + 40
    middles = [bend((s.u0 + s.u1) / 2, (s.v0 + s.v1) / 2) for s in segments]
    segments = [
        s
        for s, (x, y) in zip(segments, middles, strict=True)
        if max(abs(x), abs(y)) < half + s.length / 2
    ]
    spots = [bend((c.u0 + c.u1) / 2, (c.v0 + c.v1) / 2) for c in cells]
    cells = [c for c, (x, y) in zip(cells, spots, strict=True) if max(abs(x), abs(y)) < half + 60]
    return Plan(bend, segments, cells)
