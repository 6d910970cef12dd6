"""The visual geo-localization benchmark's way to test (Berton et al., CVPR 2022): faiss's lists, and merging crops.

Follows ``test.py`` of that repository: what a list of nearest photos is, when a query is answered, and how the lists
of five crops of one query become one.
"""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Indices = NDArray[np.int64]

CROPS = 5
MAJORITY_WEIGHT = 0.01
MAJORITY_DEPTHS = (1, 5, 10)


def nearest_by_faiss(
    references: FloatArray, queries: FloatArray, top: int
) -> tuple[FloatArray, Indices]:
    """Squared L2 distances [Q, K] and numbers [Q, K] of the nearest references, nearest first (``IndexFlatL2``)."""
    index = faiss.IndexFlatL2(references.shape[1])
    index.add(np.ascontiguousarray(references, np.float32))  # pyright: ignore[reportCallIssue]
    found = index.search(np.ascontiguousarray(queries, np.float32), min(top, len(references)))  # pyright: ignore[reportCallIssue]
    return found[0], found[1]


def recalls_of(
    predictions: Indices, positives: Sequence[Indices], ks: Sequence[int]
) -> NDArray[np.float64]:
    """Share of queries with a right reference among their first K, for every K.

    Queries without right references stay in the denominator.
    """
    hits = np.zeros(len(ks))
    for predicted, right in zip(predictions, positives, strict=True):
        places = np.flatnonzero(np.isin(predicted, right))
        if len(places):
            hits += places[0] < np.asarray(ks)
    return hits / len(predictions) if len(predictions) else hits


def merge_nearest(distances: FloatArray, predictions: Indices) -> Indices:
    """ "Nearest crop": a reference's distance is its least one over the crops' lists.

    Args:
        distances, predictions: [Q, C, K], every crop's list.

    Returns:
        [Q, K] the K nearest different references.
    """
    return np.stack(
        [
            _different(d.ravel(), p.ravel(), predictions.shape[2])
            for d, p in zip(distances, predictions, strict=True)
        ]
    )


def merge_majority(
    distances: FloatArray, predictions: Indices, weight: float = MAJORITY_WEIGHT
) -> Indices:
    """ "Majority voting": references that several crops agree on come nearer, then as :func:`merge_nearest`.

    For each of the first n = 1, 5 and 10 columns of a query's lists, in this order: a reference that stands c > 1
    times in them loses ``weight * c / n`` of its distance wherever it stands in them.
    """
    distances = distances.copy()
    for own, predicted in zip(distances, predictions, strict=True):
        for depth in MAJORITY_DEPTHS:
            _, inverse, counts = np.unique(
                predicted[:, :depth], return_inverse=True, return_counts=True
            )
            votes = counts[inverse].reshape(predicted[:, :depth].shape)
            own[:, :depth] -= np.where(votes > 1, weight * votes / depth, 0.0).astype(own.dtype)
    return merge_nearest(distances, predictions)


def _different(distances: FloatArray, predictions: Indices, top: int) -> Indices:
    order = np.argsort(distances, kind="stable")
    ranked = predictions[order]
    _, first = np.unique(ranked, return_index=True)
    return ranked[np.sort(first)][:top]
