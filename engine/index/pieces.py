"""Imagery in pieces that lie far apart: a lattice for each, so that the ground between them costs nothing.

Imagery in one piece has one lattice over its box. Pieces are found from the boxes that a source says hold what it
covers: what has no wide gap between is one piece, whatever its shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.geo import Bounds, metres_per_degree
from engine.imagery import AerialSource
from engine.imagery.footprint import around_all
from engine.imagery.mosaic import boxes_of
from engine.index.area import Area
from engine.index.grid import MAX_TILES, Grid, intersection, reckoned, too_many
from engine.index.references import Positions

MOST_PIECES = 128
"""Where there are more, neighbours are taken together: an index knows 256 imageries, and two should go together."""

APART_STRIDES = 32
"""Gaps so wide, as wide as a block of :class:`Grid`, part imagery into pieces."""

_DEGREE_M = 110_500.0  # of latitude, where it is shortest


class PieceGrids:
    """The lattices of pieces, one after the other; see :class:`engine.index.references.Places`.

    Attributes:
        ends: how many places there are up to the end of each piece.
    """

    def __init__(self, grids: Sequence[Grid]) -> None:
        self._grids = tuple(grids)
        self.stride_m = grids[0].stride_m
        self.ends = tuple(np.cumsum([grid.count for grid in grids]).tolist())
        self.count: int = self.ends[-1]

    def centres(self, first: int, last: int) -> Positions:
        """See :meth:`Grid.centres`."""
        if not 0 <= first <= last <= self.count:
            raise IndexError(f"the places of the grids run from 0 to {self.count}")
        found: list[Positions] = [(np.zeros(0), np.zeros(0))]
        for grid, end in zip(self._grids, self.ends, strict=True):
            start = end - grid.count
            low, high = max(first, start), min(last, end)
            if low < high:
                found.append(grid.centres(low - start, high - start))
        if len(found) == 2:
            return found[1]
        return np.concatenate([lats for lats, _ in found]), np.concatenate([x for _, x in found])


def grids_over(
    source: AerialSource, stride_m: float, area: Area | None, reach_m: float
) -> tuple[PieceGrids, tuple[Bounds, ...]]:
    """Where tiles of imagery stand, and the box of each piece that has places.

    Args:
        reach_m: how far from its centre a tile may need imagery; two pieces' tiles share none.

    Raises:
        ImageryError: the area holds no place, or too many.
    """
    boxes: list[Bounds] = []
    for piece in pieces_of(source, max(APART_STRIDES * stride_m, 2 * reach_m)):
        box = piece if area is None else intersection(piece, area.bounds)
        if box is not None:
            boxes.append(box)
    expected = sum(reckoned(box, stride_m) for box in boxes)
    if expected > MAX_TILES:
        raise too_many(expected, stride_m)
    made = [(Grid(box, stride_m, area), box) for box in boxes]
    held = [(grid, box) for grid, box in made if grid.count]
    if not held:
        raise ImageryError(
            f"the area holds no tile of the imagery {source.name}",
            None,
            "Choose an area that the imagery covers",
        )
    return PieceGrids([grid for grid, _ in held]), tuple(box for _, box in held)


def pieces_of(source: AerialSource, apart_m: float) -> tuple[Bounds, ...]:
    """Boxes that hold all that a source covers, at least ``apart_m`` of nothing between any two of them.

    From north to south, then west to east; the source's own box where it is one piece.
    """
    found: list[Bounds] = list(boxes_of(source))
    while True:
        found = _apart(found, apart_m)
        if len(found) == 1:
            return (source.bounds,)
        if len(found) <= MOST_PIECES:
            return tuple(sorted(found, key=lambda box: (-box.north, box.west)))
        apart_m *= 2


def _apart(boxes: Sequence[Bounds], apart_m: float) -> list[Bounds]:
    """The boxes around groups that a parallel or a meridian parts, until none parts any."""
    found: list[Bounds] = []
    open_ = [list(boxes)]
    while open_:
        group = open_.pop()
        around = around_all(group)
        parts = _split(
            group,
            np.array([box.south for box in group]),
            np.array([box.north for box in group]),
            apart_m / _DEGREE_M,
        )
        if len(parts) == 1 and around.width_deg < 360.0:
            highest = min(max(abs(around.south), abs(around.north)), 89.99)
            west = np.array([(box.west - around.west) % 360.0 for box in group])
            west[west > 360.0 - 1e-9] = 0.0  # the first one, but for rounding
            wide = np.array([box.width_deg for box in group])
            gap = apart_m / float(metres_per_degree(highest)[1])
            parts = _split(group, west, west + wide, gap)
        if len(parts) == 1:
            found.append(group[0] if len(group) == 1 else around)
        else:
            open_ += parts
    return found


def _split(
    group: Sequence[Bounds],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    gap: float,
) -> list[list[Bounds]]:
    """Parts of a group, with a gap of at least ``gap`` between them."""
    order = np.argsort(low, kind="stable")
    reach = np.maximum.accumulate(high[order])
    ends = np.flatnonzero(low[order][1:] - reach[:-1] >= gap) + 1
    return [[group[i] for i in part.tolist()] for part in np.split(order, ends)]
