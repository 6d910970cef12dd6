"""Sample4Geo's batches: each full of neighbours, on the map at first, then in the space of descriptors.

Deuser et al., ICCV 2023. Pairs are drawn at random; each brings along ``select`` of its ``range`` nearest: the
nearest half of them always, the other half drawn from the rest. Until the first scan (``scan_every`` epochs) neighbours
are those on the map ("geographic" sampling), after it those whose references are most like the photo ("dynamic
similarity"), found anew at every scan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from engine.training.mining.base import Indices, Pairs, register_sampler
from engine.training.mining.memory import Memory, most_similar

_PATIENCE = 1024
"""An epoch ends when so many pairs on end were already in it, as the authors end it."""


@register_sampler("neighbours")
class NeighbourSampler:
    """See the module.

    Args:
        select: how many neighbours a pair brings.
        range: from how many nearest they are.
        geographic: begin with neighbours on the map; otherwise at random.
        scan_every: epochs between scans (the authors' 4); 0: never, neighbours are always those on the map.
        apart_m: pairs nearer to each other than this never meet in a batch; 0: any may.
    """

    def __init__(
        self,
        pairs: Pairs,
        select: int = 64,
        range: int = 128,
        geographic: bool = True,
        scan_every: int = 4,
        apart_m: float = 0.0,
    ) -> None:
        if not 0 < select <= range:
            raise ValueError("select must be from 1 to range")
        self._pairs, self._select, self._range = pairs, select, range
        self._scan_every, self._apart_m = scan_every, apart_m
        self._memory = Memory(len(pairs))
        self._neighbours: Indices | None = None
        if geographic:
            self._neighbours = neighbours_on_map(pairs.positions, range)

    def wanted(self, number: int) -> Indices:
        """Every pair, when a scan is due."""
        return np.arange(len(self._pairs) if self._due(number) else 0)

    def _due(self, number: int) -> bool:
        return self._scan_every > 0 and number > 1 and (number - 1) % self._scan_every == 0

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``."""
        if self._due(number) and self._memory.complete:
            self._neighbours = self._similar()
        rng = self._pairs.chance(number)
        crowd = self._crowd()
        return neighbour_batches(
            rng.permutation(len(self._pairs)),
            self._neighbours,
            self._pairs.batch_size,
            self._select,
            rng,
            crowd,
        )

    def _similar(self) -> Indices:
        found = most_similar(self._memory.query, self._memory.reference, self._range + 1)
        own = np.arange(len(found))[:, None]
        # The pair itself goes to the end (all others keep their order), and the end is cut off.
        order = np.argsort(np.equal(found, own), axis=1, kind="stable")
        return np.take_along_axis(found, order, axis=1)[:, : self._range]

    def _crowd(self) -> NDArray[np.float64] | None:
        return self._pairs.positions / self._apart_m if self._apart_m > 0 else None

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Remember descriptors."""
        self._memory.update(pairs, query, reference)

    def state(self) -> dict[str, Any]:
        """The neighbours and the descriptors."""
        found = self._neighbours
        return {
            "memory": self._memory.state(),
            "neighbours": None if found is None else torch.from_numpy(found.copy()),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._memory.load(state["memory"])
        found = state["neighbours"]
        self._neighbours = None if found is None else found.numpy().copy()


def neighbours_on_map(
    positions: NDArray[np.float64], count: int, rows: int = 128
) -> Indices | None:
    """[N, count] nearest other pairs on a plane, nearest first; None where no position is known.

    Pairs without a position have, and are, the last of neighbours.
    """
    unknown = np.isnan(positions[:, 0]) | np.isnan(positions[:, 1])
    if unknown.all():
        return None
    # Searched by differences: squares of map coordinates, as an index of scalar products has them, lose metres.
    where = np.where(unknown[:, None], 1e12, positions)
    count = min(count, len(where) - 1)
    found = np.empty((len(where), count), np.int64)
    for first in range(0, len(where), rows):
        part = slice(first, first + rows)
        apart = ((where[part, None] - where[None]) ** 2).sum(axis=2)
        apart[np.arange(len(apart)), np.arange(first, first + len(apart))] = np.inf
        near = np.argpartition(apart, count - 1, axis=1)[:, :count] if count else apart[:, :0]
        near = np.sort(near.astype(np.int64), axis=1)
        order = np.argsort(np.take_along_axis(apart, near, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(near, order, axis=1)
    return found


def neighbour_batches(
    order: Indices,
    neighbours: Indices | None,
    size: int,
    select: int,
    rng: np.random.Generator,
    positions: NDArray[np.float64] | None = None,
) -> list[Indices]:
    """Fill batches: the next pair of the order, then its neighbours, as far as they are free.

    Args:
        order: the pairs in random order.
        neighbours: [N, range], nearest first; None: there are none.
        size: of a batch; the last is dropped when it does not fill up.
        select: how many neighbours come along, half of them the nearest, half drawn from the rest.
        positions: [N, 2]; pairs less than 1 apart do not meet. None: any may.
    """
    pool, used = deque(order.tolist()), set[int]()
    batches: list[Indices] = []
    batch: list[int] = []
    seen_on_end = 0
    set_aside: list[int] = []

    def fits(pair: int) -> bool:
        if pair in used:
            return False
        if positions is None or not batch:
            return True
        apart = ((positions[batch] - positions[pair]) ** 2).sum(axis=1)
        return not bool((apart < 1).any())

    while pool and seen_on_end < _PATIENCE:
        pair = pool.popleft()
        if not fits(pair):
            seen_on_end += 1
            if pair not in used:
                set_aside.append(pair)
            continue
        seen_on_end = 0
        batch.append(pair)
        used.add(pair)
        if neighbours is not None and len(batch) < size:
            split = select // 2
            far = neighbours[pair][split:]
            for other in (*neighbours[pair][:split], *rng.permutation(far)[:split]):
                if len(batch) == size:
                    break
                if fits(int(other)):
                    batch.append(int(other))
                    used.add(int(other))
        if len(batch) == size:
            batches.append(np.array(batch, np.int64))
            batch = []
            # What was too near to something in this batch may be in the next.
            pool.extendleft(reversed(set_aside))
            set_aside = []
    return batches
