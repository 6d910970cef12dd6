"""The visual geo-localization benchmark's mining: a photo, its best positive, and its hardest negatives.

Berton et al., CVPR 2022. Every round draws ``queries`` photos. The positive of each is the one whose descriptor is
nearest among those within ``positive_m``. Its negatives, ``negatives`` of them and never within ``soft_m``, are

- random: any;
- partial: the nearest in descriptors among ``samples`` references, drawn once a round;
- full: the nearest among ``samples`` references drawn for each photo, and those it had the last time.

Descriptors are compared by distance, as they are. What is near is searched by faiss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from engine.errors import TrainingError
from engine.training.mining.base import Floats, Indices, Pairs, in_batches, register_sampler
from engine.training.mining.memory import Memory, nearest

Mining = Literal["random", "partial", "full"]


@dataclass(frozen=True)
class Tuples:
    """T mined tuples.

    Attributes:
        queries, positives: [T] rows of photos and of references.
        negatives: [T, n] rows of references.
    """

    queries: Indices
    positives: Indices
    negatives: Indices


def best_positive(query: Floats, references: Floats, positives: Indices) -> int:
    """The row of ``references`` nearest to ``query`` [D] among ``positives``."""
    return int(positives[nearest(query[None], references[positives], 1)[0, 0]])


def hardest_negatives(query: Floats, references: Floats, among: Indices, count: int) -> Indices:
    """[count] rows of ``references`` nearest to ``query`` [D] among those given, nearest first."""
    if not len(among):
        return among
    return among[nearest(query[None], references[among], count)[0]]


def mine(
    mining: Mining,
    queries: Indices,
    query: Floats,
    reference: Floats,
    positives: Mapping[int, Indices],
    soft: Mapping[int, Indices],
    rng: np.random.Generator,
    *,
    count: int = 10,
    samples: int = 1000,
    drawn: Indices | None = None,
    before: dict[int, Indices] | None = None,
) -> Tuples:
    """Mine tuples for ``queries``.

    Args:
        query, reference: [Q, D] and [R, D].
        positives, soft: per photo, references within the positives' radius and within the larger one in which
            nothing is a negative.
        count: negatives of each; samples: see the module.
        drawn: for "partial", the references that were drawn; None: they are drawn here.
        before: for "full", the negatives that photos had the last time; brought up to date.

    Raises:
        TrainingError: when there are not enough negatives.
    """
    every = len(reference)
    samples = min(samples, every)
    if drawn is None:
        drawn = rng.choice(every, samples, replace=False)
    best, hard = [], []
    for number in queries.tolist():
        best.append(best_positive(query[number], reference, positives[number]))
        if mining == "random":
            among = rng.choice(every, min(every, count + len(soft[number])), replace=False)
            among = among[~np.isin(among, soft[number])]
            hard.append(among[:count])
            continue
        if mining == "full":
            drawn = rng.choice(every, samples, replace=False)
        among = np.setdiff1d(drawn, soft[number], assume_unique=True)
        if mining == "full" and before is not None and number in before:
            among = np.unique(np.concatenate([before[number], among]))
        found = hardest_negatives(query[number], reference, among, count)
        if before is not None:
            before[number] = found
        hard.append(found)
    short = min(len(row) for row in hard)
    if short < count:
        raise TrainingError(
            f"a photo has {short} negatives, fewer than {count}",
            None,
            "Mine fewer negatives, among more samples, or with a smaller soft_m",
        )
    return Tuples(np.asarray(queries, np.int64), np.array(best, np.int64), np.array(hard, np.int64))


@register_sampler("random-negatives")
def _random(pairs: Pairs, **options: Any) -> TupleSampler:
    return TupleSampler(pairs, "random", **options)


@register_sampler("partial")
def _partial(pairs: Pairs, **options: Any) -> TupleSampler:
    return TupleSampler(pairs, "partial", **options)


@register_sampler("full")
def _full(pairs: Pairs, **options: Any) -> TupleSampler:
    return TupleSampler(pairs, "full", **options)


class TupleSampler:
    """Mined tuples as batches of pairs: a photo's pair, the pairs of its negatives, the next photo's.

    The loss then sees every negative with its own photo too, and the positive of a photo is its own reference; who
    wants the benchmark's own loss takes :meth:`tuples`. Until descriptors are known batches are random.

    Args:
        queries: photos in a round (the benchmark's 1000), at most all.
        negatives: of each; the last photo of a batch has as many as there is room for.
        samples: references that negatives are searched among.
        positive_m, soft_m: within the first references are positives, within the second no negatives.
    """

    def __init__(
        self,
        pairs: Pairs,
        mining: Mining,
        queries: int = 1000,
        negatives: int = 10,
        samples: int = 1000,
        positive_m: float = 10.0,
        soft_m: float = 25.0,
    ) -> None:
        if negatives < 1 or 1 + negatives > pairs.batch_size:
            raise ValueError("a photo and its negatives do not fit into a batch")
        self._pairs = pairs
        self._mining: Mining = mining
        self._queries, self._negatives, self._samples = queries, negatives, samples
        self._positive_m, self._soft_m = positive_m, soft_m
        self._memory = Memory(len(pairs), normalise=False)
        self._before: dict[int, Indices] = {}

    def wanted(self, number: int) -> Indices:
        """The photos of the round, their positives, and what negatives are searched among."""
        if self._mining == "full":
            return np.arange(len(self._pairs))
        queries, drawn, _ = self._draw(number)
        positives = [self._within(query, self._positive_m) for query in queries.tolist()]
        searched = [drawn] if self._mining == "partial" else []
        return np.unique(np.concatenate([queries, *positives, *searched]))

    def tuples(self, number: int) -> Tuples:
        """The tuples of round ``number``, among the pairs that are known; references are numbered like pairs."""
        queries, drawn, rng = self._draw(number)
        known = self._memory.known
        queries = queries[known[queries]]
        positives, soft = {}, {}
        for query in queries.tolist():
            near = self._within(query, self._positive_m)
            positives[query] = near[known[near]]
            soft[query] = self._within(query, self._soft_m)
            if self._mining != "random":
                soft[query] = np.union1d(soft[query], np.flatnonzero(~known))
        return mine(
            self._mining,
            queries,
            self._memory.query,
            self._memory.reference,
            positives,
            soft,
            rng,
            count=self._negatives,
            samples=self._samples,
            drawn=drawn if self._mining == "partial" else None,
            before=self._before if self._mining == "full" else None,
        )

    def _draw(self, number: int) -> tuple[Indices, Indices, np.random.Generator]:
        """The photos of a round, the references drawn for it, and what chance comes after."""
        rng = self._pairs.chance(number)
        queries = rng.permutation(len(self._pairs))[: self._queries]
        return queries, rng.permutation(len(self._pairs))[: self._samples], rng

    def _within(self, pair: int, metres: float) -> Indices:
        where = self._pairs.positions
        apart = np.hypot(*(where - where[pair]).T)
        apart[pair] = 0.0  # where nothing is known of the place too
        return np.flatnonzero(apart <= metres)

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``."""
        size = self._pairs.batch_size
        if not self._memory.known.any():
            order = self._pairs.chance(number).permutation(len(self._pairs))
            return in_batches(order, size)[: max(1, self._queries // size)]
        mined = self.tuples(number)
        batches: list[Indices] = []
        batch: dict[int, None] = {}
        for query, negatives in zip(mined.queries, mined.negatives, strict=True):
            for pair in (query, *negatives):
                if len(batch) < size:
                    batch.setdefault(int(pair))
            if len(batch) == size:
                batches.append(np.array(list(batch), np.int64))
                batch = {}
        return batches

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Remember descriptors."""
        self._memory.update(pairs, query, reference)

    def state(self) -> dict[str, Any]:
        """The descriptors, and the negatives that photos had."""
        before = sorted(self._before.items())
        return {
            "memory": self._memory.state(),
            "queries": torch.tensor([query for query, _ in before], dtype=torch.int64),
            "before": [torch.from_numpy(negatives.copy()) for _, negatives in before],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._memory.load(state["memory"])
        self._before = {
            query: negatives.numpy().copy()
            for query, negatives in zip(state["queries"].tolist(), state["before"], strict=True)
        }
