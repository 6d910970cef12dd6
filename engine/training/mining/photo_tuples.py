"""The visual geo-localization benchmark's tuples, exactly (Berton et al., CVPR 2022).

What is numbered are photos: first the queries, then the database. A round draws ``queries`` queries among those that
have a photo of the database within ``positive_m``; :func:`engine.training.mining.tuples.mine` finds each its best
positive and its hardest negatives, by descriptors that are computed anew before every round. A batch of B tuples is
one row of numbers: B queries, their B positives, and n negatives of each, query by query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from engine.datasets.nearby import positives_within
from engine.errors import TrainingError
from engine.training.mining.base import Floats, Indices, Pairs, register_sampler
from engine.training.mining.tuples import Mining, Tuples, mine


@register_sampler("tuples-random")
def _random(pairs: Pairs, **options: Any) -> PhotoTuples:
    return PhotoTuples(pairs, "random", **options)


@register_sampler("tuples-partial")
def _partial(pairs: Pairs, **options: Any) -> PhotoTuples:
    return PhotoTuples(pairs, "partial", **options)


@register_sampler("tuples-full")
def _full(pairs: Pairs, **options: Any) -> PhotoTuples:
    return PhotoTuples(pairs, "full", **options)


def negatives_of(options: Mapping[str, Any]) -> int:
    """How many negatives a tuple has, by a recipe's options."""
    return int(options.get("negatives", 10))


def flat(tuples: Tuples, first: int, count: int, queries: int) -> Indices:
    """The numbers of ``count`` tuples from ``first`` on, as the module says; the database begins at ``queries``."""
    some = slice(first, first + count)
    parts = (
        tuples.queries[some],
        tuples.positives[some] + queries,
        tuples.negatives[some].reshape(-1) + queries,
    )
    return np.concatenate(parts)


class PhotoTuples:
    """See the module.

    Args:
        mining: "random", "partial" or "full".
        queries: of a round, after which descriptors are computed anew.
        negatives: n.
        samples: photos of the database that negatives are searched among.
        positive_m, soft_m: photos within the first show the place, within the second they are no negatives.
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
        if not 0 < pairs.queries < len(pairs):
            raise ValueError("it needs photos and a database of photos")
        if negatives < 1:
            raise ValueError("a tuple needs a negative")
        if not np.isfinite(pairs.positions).all():
            raise ValueError("it needs the position of every photo")
        self._pairs = pairs
        self._mining: Mining = mining
        self._queries, self._negatives, self._samples = queries, negatives, samples
        database, photos = pairs.positions[pairs.queries :], pairs.positions[: pairs.queries]
        self._positives = positives_within(database, photos, positive_m)
        self._soft = positives_within(database, photos, soft_m)
        self._usable = np.flatnonzero([len(near) > 0 for near in self._positives])
        if len(self._usable) < pairs.batch_size:
            raise ValueError(
                f"{len(self._usable)} photos have one of the database within {positive_m:g} m, "
                f"a batch needs {pairs.batch_size}"
            )
        self._before: dict[int, Indices] = {}
        self._row = np.full(len(pairs), -1)
        self._told: Floats | None = None

    def wanted(self, number: int) -> Indices:
        """The photos that round ``number`` compares: its queries, their positives, and what is searched."""
        queries, drawn, _ = self._draw(number)
        near = [self._positives[query] for query in queries.tolist()]
        searched = {
            "random": [],
            "partial": [drawn],
            "full": [np.arange(len(self._pairs) - self._pairs.queries)],
        }[self._mining]
        database = np.unique(np.concatenate([*near, *searched])) + self._pairs.queries
        wanted = np.concatenate([np.sort(queries), database]).astype(np.int64)
        self._row[:] = -1
        self._row[wanted] = np.arange(len(wanted))
        self._told = None
        return wanted

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Hear the descriptors [n, D] of photos that were wanted; what training says of others is passed over."""
        rows = self._row[pairs]
        if not (rows >= 0).any():
            return
        values = query.detach().float().cpu() if isinstance(query, torch.Tensor) else query
        values = np.asarray(values, np.float32)
        if self._told is None:
            self._told = np.zeros((int(self._row.max()) + 1, values.shape[1]), np.float32)
        self._told[rows[rows >= 0]] = values[rows >= 0]

    def epoch(self, number: int) -> list[Indices]:
        """The batches of round ``number``; the last tuples, which fill no batch, are dropped as the authors do.

        Raises:
            TrainingError: when what was wanted was not told, or there are not enough negatives.
        """
        queries, drawn, rng = self._draw(number)
        told = self._told
        if told is None:
            raise TrainingError("the descriptors that tuples are mined by are missing")
        first = self._pairs.queries
        query: Any = _Rows(told, self._row[:first])
        reference: Any = _Rows(told, self._row[first:])
        found = mine(
            self._mining,
            queries,
            query,
            reference,
            {query: self._positives[query] for query in queries.tolist()},
            {query: self._soft[query] for query in queries.tolist()},
            rng,
            count=self._negatives,
            samples=self._samples,
            drawn=drawn if self._mining == "partial" else None,
            before=self._before if self._mining == "full" else None,
        )
        self._told = None
        self._row[:] = -1
        size = self._pairs.batch_size
        return [
            flat(found, start, size, self._pairs.queries)
            for start in range(0, len(found.queries) - size + 1, size)
        ]

    def _draw(self, number: int) -> tuple[Indices, Indices, np.random.Generator]:
        """The queries of a round, the photos of the database drawn for it, and what chance comes after."""
        rng = self._pairs.chance(number)
        queries = rng.permutation(self._usable)[: self._queries]
        database = len(self._pairs) - self._pairs.queries
        return queries, rng.permutation(database)[: self._samples], rng

    def state(self) -> dict[str, Any]:
        """The negatives that photos had; descriptors are computed anew."""
        before = sorted(self._before.items())
        return {
            "queries": torch.tensor([query for query, _ in before], dtype=torch.int64),
            "before": [torch.from_numpy(negatives.copy()) for _, negatives in before],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        self._before = {
            query: negatives.numpy().copy()
            for query, negatives in zip(state["queries"].tolist(), state["before"], strict=True)
        }


class _Rows:
    """Descriptors by number, of those few that were told."""

    def __init__(self, told: Floats, row: Indices) -> None:
        self._told, self._row = told, row

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, numbers: Indices | int) -> Floats:
        rows = self._row[numbers]
        if np.min(rows, initial=0) < 0:
            raise TrainingError("a photo was to be compared that nobody described")
        return self._told[rows]
