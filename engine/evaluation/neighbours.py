"""Which references look like a query but are not its own: the neighbours that similarity sampling draws from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.ranks import best_first

FloatArray = NDArray[np.float32]
Indices = NDArray[np.int64]

GROUP = 1000


def nearest_others(
    queries: FloatArray,
    references: FloatArray,
    query_labels: Indices,
    reference_labels: Indices,
    count: int,
    *,
    spare: int = 1,
) -> dict[int, Indices]:
    """Labels of the most similar references that are not the query's own, by the query's label.

    Follows Sample4Geo's ``calculate_nearest``: the first ``count + spare`` references by inner product, those with
    the query's label taken out, the first ``count`` kept. Queries that share a label overwrite each other, the last
    one stays.

    Args:
        queries: [Q, D], references: [R, D].
        query_labels: [Q], reference_labels: [R].
        spare: 1 for CVUSA and CVACT; 2 for VIGOR, where two panoramas may show one tile.
    """
    found: dict[int, Indices] = {}
    top = min(count + spare, len(references))
    for start in range(0, len(queries), GROUP):
        scores = queries[start : start + GROUP] @ references.T
        for row, label in enumerate(query_labels[start : start + GROUP]):
            labels = reference_labels[best_first(scores[row], top)]
            found[int(label)] = labels[labels != label][:count]
    return found
