"""What an evaluation measures, from answers and truths; every function takes arrays and knows no files.

Distances are metres, a limit is met by a distance equal to it, ties favour the query (the rank of a right tile counts
strictly better ones only), and queries without an answer stay in the denominator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def recall_at(ranks: NDArray[np.int64], k: int) -> float:
    """Share of queries whose right tile is among the first ``k``; ``ranks`` count from 1."""
    return float(np.mean(ranks <= k)) if len(ranks) else 0.0


def one_percent(tiles: int) -> int:
    """How many tiles the "top 1 %" are: 1 % rounded down, plus one, as VIGOR counts."""
    return int(tiles * 0.01) + 1


def recall_within(distances_m: FloatArray, k: int, limit_m: float) -> float:
    """Share of queries of which one of the first ``k`` places lies within ``limit_m`` of the truth.

    Args:
        distances_m: [queries, places] from the truth, best place first, infinity where there is none.
    """
    if not len(distances_m):
        return 0.0
    return float(np.mean((distances_m[:, :k] <= limit_m).any(axis=1)))


def median(values: FloatArray) -> float | None:
    """The median, None of nothing."""
    return float(np.median(values)) if len(values) else None


def rank_of(score: float, scores: FloatArray) -> int:
    """The rank, from 1, that a score takes among others: strictly better ones come first."""
    return 1 + int(np.count_nonzero(scores > score))
