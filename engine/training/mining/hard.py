"""Global hard mining: half of each batch at random, the other half hard for the first.

As VIGOR (Zhu et al., CVPR 2021) and TransGeo train: descriptors are remembered as training gives them; for each pair
of the first half one of the ``top`` references most like its photo, in a random pool of ``pool``, joins the batch
with its own photo. The first epoch is random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.training.mining.base import Indices, Pairs, in_batches, register_sampler
from engine.training.mining.memory import Memory, most_similar


@register_sampler("hard")
class HardSampler:
    """See the module.

    Args:
        top: how many of the most similar references one is drawn from.
        pool: how many references are looked at.
        apart_m: pairs nearer to each other than this never meet in a batch; 0: only a pair and itself.
    """

    def __init__(
        self, pairs: Pairs, top: int = 100, pool: int = 40_000, apart_m: float = 0.0
    ) -> None:
        if pairs.batch_size < 2 or pairs.batch_size % 2:
            raise ValueError("batches must be of an even size, for a random and a hard half")
        if top < 1 or pool < 1:
            raise ValueError("top and pool must be at least 1")
        self._pairs, self._top, self._pool, self._apart_m = pairs, top, pool, apart_m
        self._memory = Memory(len(pairs))

    def wanted(self, number: int) -> Indices:
        """Nothing: what training told is what its authors use."""
        return np.empty(0, np.int64)

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``: random ones until something is remembered."""
        size = self._pairs.batch_size
        rng = self._pairs.chance(number)
        order = rng.permutation(len(self._pairs))
        batches = in_batches(order, size)
        if not self._memory.known.any():
            return batches
        known = np.flatnonzero(self._memory.known)
        pool = rng.permutation(known)[: self._pool]
        half = size // 2
        firsts = order[: len(batches) * half].reshape(-1, half)
        found = pool[
            most_similar(
                self._memory.query[firsts.ravel()], self._memory.reference[pool], self._top
            )
        ].reshape(*firsts.shape, -1)
        return [
            np.concatenate([first, self._hard(first, near, rng)])
            for first, near in zip(firsts, found, strict=True)
        ]

    def _hard(self, first: Indices, near: Indices, rng: np.random.Generator) -> Indices:
        """One hard pair for each of the first half, from [half, top]."""
        batch = list(first)
        for pair, candidates in zip(first, near, strict=True):
            # A pair that nothing is known of has no hard one, and neither has one whose are all taken: anything goes.
            tries = candidates if self._memory.known[pair] else candidates[:0]
            batch.append(self._free(rng.permutation(tries), batch, rng))
        return np.array(batch[len(first) :], np.int64)

    def _free(self, tries: Indices, batch: list[int], rng: np.random.Generator) -> int:
        for candidate in tries.tolist():
            if candidate not in batch and not self._crowded(candidate, batch):
                return candidate
        anyone = [p for p in rng.permutation(len(self._pairs)).tolist() if p not in batch]
        apart = (candidate for candidate in anyone if not self._crowded(candidate, batch))
        return next(apart, anyone[0])

    def _crowded(self, candidate: int, batch: list[int]) -> bool:
        if self._apart_m <= 0:
            return False
        where = self._pairs.positions
        apart = np.hypot(*(where[batch] - where[candidate]).T)
        return bool((apart < self._apart_m).any())

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Remember descriptors."""
        self._memory.update(pairs, query, reference)

    def state(self) -> dict[str, Any]:
        """The descriptors."""
        return {"memory": self._memory.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._memory.load(state["memory"])
