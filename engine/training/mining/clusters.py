"""Statewide's hard-example mining: batches that are clusters of what is hard to tell apart.

Fervers et al., ECCV 2024. Training begins with random batches. After ``raise_after`` samples, whenever the mined
batches are used up, the next random batches are looked at with the weights of now (a "scan") and parted into clusters
of a batch's size: a cluster begins with the first unused pair and takes, again and again, the unused pair whose
reference the photos of the cluster like most, all together; a reference that is too near to one of those photos is
taken only when nothing else is left. Scans begin with one batch and double with every further ``raise_after`` samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from engine.training.mining.base import Floats, Indices, Pairs, in_batches, register_sampler
from engine.training.mining.memory import Memory

_LAST_RESORT = -100_000.0


@register_sampler("clusters")
class ClusterSampler:
    """See the module. An epoch is a scan's worth of batches.

    Args:
        apart_m: how far a reference must be from the photos of a cluster.
        raise_after: samples after which scans begin, and are doubled.
        largest: batches in the largest scan.
    """

    def __init__(
        self,
        pairs: Pairs,
        apart_m: float = 30.0,
        raise_after: int = 5000,
        largest: int = 16_384,
    ) -> None:
        self._pairs, self._apart_m = pairs, apart_m
        self._raise_after, self._largest = raise_after, largest
        # Scalar products as they are: the network gives its descriptors the norm it wants.
        self._memory = Memory(len(pairs), normalise=False)
        self._batches, self._since_raise, self._drawn = 1, 0, 0
        self._planned = 0

    def wanted(self, number: int) -> Indices:
        """The pairs of the next scan; none while batches are random."""
        self._plan(number)
        return self._scan() if self._mines() else np.empty(0, np.int64)

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``: random, or clusters of the scan."""
        self._plan(number)
        size = self._pairs.batch_size
        scan = self._scan()
        batches = in_batches(scan, size)
        if self._mines() and self._memory.known[scan].any():
            clusters = cluster(
                self._memory.query[scan],
                self._memory.reference[scan],
                size,
                self._near(scan),
            )
            batches = [scan[members] for members in clusters]
        self._drawn += len(scan)
        self._since_raise += len(scan)
        return batches

    def _plan(self, number: int) -> None:
        """Raise the size of the scan where it is time, once an epoch."""
        if self._planned == number:
            return
        self._planned = number
        if self._since_raise >= self._raise_after:
            self._batches = min(2 * self._batches, self._largest)
            self._since_raise = 0

    def _mines(self) -> bool:
        return self._batches > 1

    def _scan(self) -> Indices:
        """The next random pairs: walks through permutations, one after the other, each pair once in each."""
        size, count = self._pairs.batch_size, len(self._pairs)
        whole = count // size * size
        batches = self._batches
        if not self._mines():
            batches = math.ceil(self._raise_after / size)
        batches = min(batches, whole // size)
        start = self._drawn % whole
        turn = self._drawn // whole
        order = np.random.default_rng((self._pairs.seed, turn, 1)).permutation(count)[:whole]
        # A scan ends with its permutation, so that no pair is in it twice.
        return order[start : start + batches * size]

    def _near(self, scan: Indices) -> Callable[[int], NDArray[np.bool_]]:
        where = self._pairs.positions[scan]
        # Without a position nothing is near; comparing with not a number says so.
        return lambda member: np.hypot(*(where - where[member]).T) <= self._apart_m

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Remember descriptors."""
        self._memory.update(pairs, query, reference)

    def state(self) -> dict[str, Any]:
        """The descriptors, and how far the scans are."""
        return {
            "memory": self._memory.state(),
            "counts": torch.tensor([self._batches, self._since_raise, self._drawn, self._planned]),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._memory.load(state["memory"])
        self._batches, self._since_raise, self._drawn, self._planned = state["counts"].tolist()


def cluster(
    query: Floats,
    reference: Floats,
    size: int,
    near: Callable[[int], NDArray[np.bool_]],
) -> list[Indices]:
    """Part N pairs into N / size clusters of pairs that are hard to tell apart; see the module.

    Args:
        query, reference: [N, D], compared by scalar products, in float64.
        near: for a pair, bool [N], which references are too near to its photo.
    """
    photos, tiles = query.astype(np.float64), reference.astype(np.float64)
    unused = np.ones(len(photos), bool)
    clusters = []
    for _ in range(len(photos) // size):
        member = int(unused.argmax())
        members = [member]
        allowed = np.ones(len(photos), bool)
        liking = np.zeros(len(photos))
        while True:
            unused[member] = False
            if len(members) == size:
                break
            allowed &= ~near(member)
            liking += tiles @ photos[member]
            score = np.where(allowed, liking, _LAST_RESORT)
            member = int(np.where(unused, score, -np.inf).argmax())
            members.append(member)
        clusters.append(np.array(members, np.int64))
    return clusters
