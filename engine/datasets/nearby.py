"""Which references lie within a distance of a query, on a plane."""

from __future__ import annotations

import numpy as np

from engine.datasets.records import FloatArray, Indices


def positives_within(references: FloatArray, queries: FloatArray, radius_m: float) -> list[Indices]:
    """For every query the references at most ``radius_m`` away, nearest first, equally near ones by number.

    A reference exactly at the radius counts, as scikit-learn's ``radius_neighbors`` does, which the benchmark uses.

    Args:
        references: [R, 2] metres, queries: [Q, 2].
    """
    order = np.argsort(references[:, 0], kind="stable")
    east = references[order, 0]
    # Wide by a hair, because what counts is the squared distance below.
    reach = radius_m * (1 + 1e-9) + 1e-9
    first = np.searchsorted(east, queries[:, 0] - reach, "left")
    last = np.searchsorted(east, queries[:, 0] + reach, "right")
    found: list[Indices] = []
    for query, start, stop in zip(queries, first, last, strict=True):
        near = order[start:stop]
        squared = ((references[near] - query) ** 2).sum(axis=1)
        inside = squared <= radius_m**2
        near, squared = near[inside], squared[inside]
        found.append(near[np.lexsort((near, squared))].astype(np.int64))
    return found
