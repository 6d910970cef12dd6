"""Asking of many small boxes and places whether they lie in an area, looking only at the edges that are near.

The answers are those of :meth:`engine.index.area.Area.contains`, to the last place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.index.area import Area

_SLACK_DEG = 1e-9  # boxes are judged a tenth of a millimetre larger than they are
_PAIRS = 1 << 20  # places x edges compared at a time

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _Edges:
    """A polygon's edges [n] of all rings, and the box of its outer ring."""

    x0: NDArray[np.float64]
    y0: NDArray[np.float64]
    x1: NDArray[np.float64]
    y1: NDArray[np.float64]
    west: float
    south: float
    east: float
    north: float

    @property
    def middle(self) -> float:
        return (self.west + self.east) / 2

    def between(self, south: float, north: float) -> _Edges:
        """The edges that reach into a belt of latitudes; no others have a say there."""
        near = (np.minimum(self.y0, self.y1) <= north) & (np.maximum(self.y0, self.y1) >= south)
        return replace(self, x0=self.x0[near], y0=self.y0[near], x1=self.x1[near], y1=self.y1[near])

    def contains(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Flags:
        inside = (y >= self.south) & (y <= self.north) & (x >= self.west) & (x <= self.east)
        near = np.flatnonzero(inside)
        if not len(self.x0):
            inside[near] = False
            return inside
        many = max(1, _PAIRS // len(self.x0))
        for first in range(0, len(near), many):
            some = near[first : first + many]
            px, py = x[some, None], y[some, None]
            spans = (self.y0 > py) != (self.y1 > py)
            with np.errstate(divide="ignore", invalid="ignore"):
                west_of = px < self.x0 + (py - self.y0) * (self.x1 - self.x0) / (self.y1 - self.y0)
            inside[some] = np.count_nonzero(spans & west_of, axis=1) % 2 == 1
        return inside

    def crossed(
        self, south: float, north: float, west: NDArray[np.float64], east: NDArray[np.float64]
    ) -> Flags:
        """Which boxes of a belt an edge may touch; the edges are those of :meth:`between`."""
        # Where the edge enters and leaves the belt; level edges lie in it whole.
        rise = np.where(self.y1 == self.y0, 1.0, self.y1 - self.y0)
        at = [((belt - self.y0) / rise).clip(0, 1) for belt in (south, north)]
        ends = [
            np.where(self.y1 == self.y0, t, self.x0 + s * (self.x1 - self.x0))
            for s, t in zip(at, (self.x0, self.x1), strict=True)
        ]
        low = np.minimum(*ends) - _SLACK_DEG
        high = np.maximum(*ends) + _SLACK_DEG
        # The outer box is an edge too: contains() believes nothing beyond it.
        for wall in (self.west, self.east):
            low, high = np.append(low, wall - _SLACK_DEG), np.append(high, wall + _SLACK_DEG)
        if any(south - _SLACK_DEG <= v <= north + _SLACK_DEG for v in (self.south, self.north)):
            low, high = np.append(low, self.west), np.append(high, self.east)
        hit = np.zeros(len(west), np.bool_)
        many = max(1, _PAIRS // len(low))
        for first in range(0, len(west), many):
            some = slice(first, first + many)
            touch = (west[some, None] <= high) & (east[some, None] >= low)
            hit[some] = touch.any(axis=1)
        return hit


class AreaEdges:
    """An area, ready to be asked about many belts of latitude."""

    def __init__(self, area: Area) -> None:
        self._polygons: list[_Edges] = []
        for polygon in area.polygons:
            ends = np.concatenate(
                [np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in polygon]
            )
            outer = polygon[0]
            (west, south), (east, north) = outer.min(axis=0), outer.max(axis=0)
            self._polygons.append(
                _Edges(
                    *(ends[:, column].copy() for column in range(4)),
                    west=float(west),
                    south=float(south),
                    east=float(east),
                    north=float(north),
                )
            )

    def contains(self, lats: NDArray[np.float64], lons: NDArray[np.float64]) -> Flags:
        """Which positions lie inside; quickest where they are close together in latitude."""
        inside = np.zeros(len(lats), np.bool_)
        if not len(lats):
            return inside
        south, north = float(lats.min()), float(lats.max())
        for polygon in self._polygons:
            if polygon.south <= north and polygon.north >= south:
                x = lons + 360.0 * np.round((polygon.middle - lons) / 360.0)
                inside |= polygon.between(south, north).contains(x, lats)
        return inside

    def boxes(
        self, south: float, north: float, west: NDArray[np.float64], east: NDArray[np.float64]
    ) -> tuple[Flags, Flags]:
        """Of boxes between two parallels: which lie inside whole, and of which that must be asked place by place.

        Args:
            west, east: [n] the boxes' sides; they may run on beyond 180°.
        """
        inside, mixed = np.zeros(len(west), np.bool_), np.zeros(len(west), np.bool_)
        south, north = south - _SLACK_DEG, north + _SLACK_DEG
        for polygon in self._polygons:
            if polygon.south > north or polygon.north < south:
                continue
            edges = polygon.between(south, north)
            middle = (west + east) / 2
            turn = 360.0 * np.round((polygon.middle - middle) / 360.0)
            x0, x1 = west + turn - _SLACK_DEG, east + turn + _SLACK_DEG
            # A box that reaches to the far side of the world holds places that are seen from both sides.
            far = np.maximum(np.abs(x0 - polygon.middle), np.abs(x1 - polygon.middle)) >= 180.0
            asked = far | edges.crossed(south, north, x0, x1)
            level = np.full(len(west), (south + north) / 2)
            inside |= ~asked & edges.contains(middle + turn, level)
            mixed |= asked
        return inside, mixed & ~inside
