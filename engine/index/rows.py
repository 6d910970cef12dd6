"""Rows on their way into an index: in blocks, from the pieces of a build or from other indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.index.references import PictureRows


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other.

    Args:
        lats, lons: [n] centres, degrees.
        extents: [n] metres.
        sources: [n] which of the index's imageries they are from.
        pictures: more about them where they are pictures.
        vectors: [n, D] descriptors, where they were asked for.
    """

    lats: NDArray[np.float64]
    lons: NDArray[np.float64]
    extents: NDArray[np.float32]
    sources: NDArray[np.uint16]
    pictures: PictureRows | None = None
    vectors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.lats)


class Rows(Protocol):
    """All rows of an index that is being made; they may be gone through several times, always in the same order."""

    @property
    def count(self) -> int: ...

    def blocks(self, *, vectors: bool) -> Iterator[Block]:
        """The rows in order, some thousand at most at a time; ``vectors`` False: all but the descriptors."""
        ...
