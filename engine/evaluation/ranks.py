"""How a query's right reference stands among all references, by exact comparison with every one of them.

A query may have several vectors (turns of its heading); a reference's score is then the best over them, as in the
search that answers a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
Indices = NDArray[np.int64]

BLOCK_BYTES = 128 << 20
"""Scores are computed for so many queries at once that they take this much memory."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """What was found for Q queries.

    Attributes:
        better: [Q] references with a strictly better score than the right one: its rank from 0, ties favouring the
            query; R where there is no right one.
        better_hit: [Q] the same without counting semi-positives.
        first: [Q, K] the best references, best first; equally good ones by number.
        scores: [Q, K] their scores, falling.
        vector: [Q, K] which of the query's vectors gave the score.
        references: R.
    """

    better: Indices
    better_hit: Indices
    first: Indices
    scores: FloatArray
    vector: Indices
    references: int


class Vectors(Protocol):
    """Queries whose vectors are made when they are compared."""

    def __len__(self) -> int: ...

    @property
    def turns(self) -> int:
        """V, vectors a query."""
        ...

    def block(self, start: int, stop: int) -> FloatArray:
        """[n, V, D] of the queries from ``start`` to ``stop``."""
        ...


@dataclass(frozen=True, eq=False)
class _Given:
    """Vectors [Q, V, D] that are there already."""

    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def turns(self) -> int:
        return self.vectors.shape[1]

    def block(self, start: int, stop: int) -> FloatArray:
        return self.vectors[start:stop]


def rank_references(
    queries: FloatArray | Vectors,
    references: FloatArray,
    positives: Sequence[Indices],
    semi_positives: Sequence[Indices] = (),
    *,
    any_positive: bool = False,
    top: int = 20,
    report: Report = silent,
) -> Ranking:
    """Compare every query with every reference by inner product.

    Args:
        queries: [Q, D], [Q, V, D], or what makes them; references: [R, D]; of norm 1 for cosines.
        positives: for every query its right references, the true one first.
        semi_positives: references that are neither right nor wrong for the hit rate.
        any_positive: the best of the positives counts as found; else the first one alone.
        top: K.
    """
    if isinstance(queries, np.ndarray):
        queries = _Given(queries[:, None] if queries.ndim == 2 else queries)
    count, turns = len(queries), queries.turns
    total, top = len(references), min(top, len(references))
    result = Ranking(
        better=np.full(count, total, np.int64),
        better_hit=np.full(count, total, np.int64),
        first=np.zeros((count, top), np.int64),
        scores=np.zeros((count, top), np.float32),
        vector=np.zeros((count, top), np.int64),
        references=total,
    )
    group = max(1, BLOCK_BYTES // max(1, 4 * max(total, turns * references.shape[-1])))
    transposed = references.T
    for start in range(0, count, group):
        report(start, count, "Comparing with all references")
        part = queries.block(start, min(start + group, count))
        scores = part[:, 0] @ transposed
        for turn in range(1, turns):
            np.maximum(scores, part[:, turn] @ transposed, out=scores)
        for row, number in enumerate(range(start, start + len(part))):
            _rank_one(result, number, scores[row], positives, semi_positives, any_positive)
            result.first[number] = first = best_first(scores[row], top)
            result.scores[number] = scores[row, first]
            if turns > 1:
                result.vector[number] = (part[row] @ transposed[:, first]).argmax(axis=0)
    return result


def _rank_one(
    result: Ranking,
    number: int,
    scores: FloatArray,
    positives: Sequence[Indices],
    semi_positives: Sequence[Indices],
    any_positive: bool,
) -> None:
    right = positives[number]
    if not len(right):
        return
    mark = scores[right].max() if any_positive else scores[right[0]]
    better = scores > mark
    result.better[number] = hits = int(np.count_nonzero(better))
    if len(semi_positives):
        # A tile listed twice is one tile.
        hits -= int(np.count_nonzero(better[np.unique(semi_positives[number])]))
    result.better_hit[number] = hits


def best_first(scores: NDArray[np.floating], top: int) -> Indices:
    """Indices [top] of the largest scores, falling; equal ones in their order."""
    if top >= len(scores):
        return np.argsort(-scores, kind="stable")
    limit = np.partition(scores, len(scores) - top)[len(scores) - top]
    kept = np.flatnonzero(scores >= limit)
    return kept[np.argsort(-scores[kept], kind="stable")][:top]


def better_counts(scores: NDArray[np.floating], true: Indices) -> Indices:
    """[Q] how many of a row's scores [Q, R] are strictly better than that of ``true`` [Q].

    For distances give their negatives.
    """
    mark = np.take_along_axis(scores, true[:, None], axis=1)
    return np.count_nonzero(scores > mark, axis=1).astype(np.int64)


def normalised(vectors: FloatArray) -> FloatArray:
    """Vectors [..., D] divided by their norm, as the papers' code does before it compares."""
    return vectors / np.sqrt(np.sum(vectors**2, axis=-1, keepdims=True))
