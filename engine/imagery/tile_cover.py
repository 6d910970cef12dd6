"""Which tiles a level of a pyramid has, as runs along its columns: found without looking at every tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_MOST_BOXES = 200


@dataclass(frozen=True, eq=False)
class Cover:
    """The columns of a level that have tiles, ascending, and in each the first and the last row that has one.

    Args:
        columns, tops, bottoms: int64 [n] each.
        exact: False where only a part of the columns was looked at (rows of the others are taken from these).
    """

    columns: NDArray[np.int64]
    tops: NDArray[np.int64]
    bottoms: NDArray[np.int64]
    exact: bool = True

    def meets(self, left: float, top: float, right: float, bottom: float) -> bool:
        """Whether a tile may lie in a box of columns and rows (ends not included)."""
        first, last = np.searchsorted(self.columns, (np.floor(left), np.ceil(right)))
        if first >= last:
            return False
        part = slice(int(first), int(last))
        return bool(((self.tops[part] < bottom) & (self.bottoms[part] + 1 > top)).any())

    def box(self, across: int | None) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of all tiles (ends not included).

        ``across`` is how many columns go around the Earth: the box then begins after the widest gap, so that it
        may run beyond the last column. None: the level does not go around.
        """
        left, right = int(self.columns[0]), int(self.columns[-1]) + 1
        if across is not None and len(self.columns) > 1:
            gaps = np.diff(np.append(self.columns, self.columns[0] + across))
            widest = int(gaps.argmax())
            if widest < len(self.columns) - 1 and gaps[widest] > gaps[-1]:
                left = int(self.columns[widest + 1])
                right = int(self.columns[widest]) + 1 + across
        return left, int(self.tops.min()), right, int(self.bottoms.max()) + 1

    @cached_property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Left, top, right and bottom of boxes that hold all tiles: neighbouring columns of one height are one,
        and where that makes too many, columns are taken together."""
        together = 1
        while True:
            found = self._boxes(together)
            if len(found) <= _MOST_BOXES:
                return found
            together *= 2

    def _boxes(self, together: int) -> list[tuple[int, int, int, int]]:
        groups = self.columns // together
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        tops = np.minimum.reduceat(self.tops, starts)
        bottoms = np.maximum.reduceat(self.bottoms, starts) + 1
        lefts = self.columns[starts]
        rights = self.columns[np.append(starts[1:], len(self.columns)) - 1] + 1
        out: list[tuple[int, int, int, int]] = []
        for left, top, right, bottom in zip(lefts, tops, rights, bottoms, strict=True):
            box = (int(left), int(top), int(right), int(bottom))
            if out and out[-1][2] == box[0] and out[-1][1::2] == box[1::2]:
                out[-1] = (out[-1][0], box[1], box[2], box[3])
            else:
                out.append(box)
        return out
