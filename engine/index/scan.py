"""Exact search in 16-bit vectors: all of them, or some, a block at a time in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.index.filters import Allowed, allowed_of
from engine.index.halves import BLOCK_BYTES, Halves
from engine.index.layouts import EXACT_FILE
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]

_QUERIES = 128
"""Queries compared with a block at a time: some 50 ms, so that a search can be cancelled."""


def scan(
    halves: Halves,
    queries: FloatArray,
    k: int,
    ids: IdArray | None = None,
    report: Report = silent,
) -> tuple[FloatArray, IdArray]:
    """The ``k`` largest inner products of every query [Q, D], equal ones by id.

    Args:
        ids: the only rows to look at, rising; None: all.
        report: called for every block.

    Returns:
        Scores and ids [Q, min(k, rows)].

    Raises:
        IndexFolderError: the vectors are damaged.
    """
    total = halves.count if ids is None else len(ids)
    k = min(k, total)
    scores = np.zeros((len(queries), 0), np.float32)
    found = np.zeros((len(queries), 0), np.int64)
    if k < 1 or not len(queries):
        return scores[:, :0], found
    done = 0
    for numbers, rows in _blocks(halves, ids):
        parts: list[tuple[FloatArray, IdArray]] = []
        for first in range(0, len(queries), _QUERIES):
            report(done, total, "")
            part = _search(rows, queries[first : first + _QUERIES], min(k, len(rows)))
            # What is no number never answers; where too few rows are left, faiss gives the id -1.
            halves.checked(np.where(part[1] < 0, np.nan, part[0]).astype(np.float32))
            parts.append(part)
        near = np.concatenate([part[1] for part in parts])
        scores = np.concatenate([scores, np.concatenate([part[0] for part in parts])], axis=1)
        found = np.concatenate([found, numbers[near]], axis=1)
        scores, found = best(scores, found, k)
        done += len(rows)
    return scores, found


def best(scores: FloatArray, ids: IdArray, k: int) -> tuple[FloatArray, IdArray]:
    """The ``k`` highest of scores [Q, n] with their ids, equal ones by id."""
    order = np.lexsort((ids, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def _blocks(halves: Halves, ids: IdArray | None) -> Iterator[tuple[IdArray, NDArray[np.float16]]]:
    if ids is None:
        for first, rows in halves.blocks():
            yield np.arange(first, first + len(rows)), rows
        return
    step = max(1, BLOCK_BYTES // (2 * halves.dimension))
    for first in range(0, len(ids), step):
        part = ids[first : first + step]
        yield part, halves.take_halves(part)


def _search(rows: NDArray[np.float16], queries: FloatArray, k: int) -> tuple[FloatArray, IdArray]:
    index, _codes = halves_index(rows)
    scores, found = index.search(queries, k)
    return scores, found


def halves_index(rows: NDArray[np.float16]) -> tuple[Any, NDArray[np.uint8]]:
    """A faiss index over 16-bit rows where they lie, and the view that must live as long as it is used."""
    import faiss  # not at the top: it takes a tenth of a second

    index: Any = faiss.IndexScalarQuantizer(
        rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    view = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
    show(index.codes, view)
    index.ntotal = len(rows)
    return index, view


def show(vector: Any, data: NDArray[Any]) -> None:
    """Let one of faiss's vectors show an array instead of owning memory; the array must outlive it."""
    import faiss

    pointer = faiss.swig_ptr(data)
    vector.is_owned = False
    vector.view_data = vector.c_ptr = pointer
    vector.view_size = vector.c_size = data.size


def checked_queries(queries: FloatArray, dimension: int) -> FloatArray:
    """Queries as faiss wants them.

    Raises:
        ValueError: they are of another shape, or no numbers.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise ValueError(f"queries must be [Q, {dimension}], not {queries.shape}")
    if not np.isfinite(queries).all():
        raise ValueError("queries must be finite numbers")
    return queries


class ExactStore:
    """Every vector with 16 bits a number, all of them looked at: a :class:`engine.index.vector_store.VectorStore`."""

    factory = "SQfp16"
    exact = True

    def __init__(self, folder: Path, count: int, dimension: int) -> None:
        self.count, self.dimension = count, dimension
        self._halves = Halves(folder / EXACT_FILE, count, dimension)

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[FloatArray, IdArray]:
        """See :class:`engine.index.vector_store.VectorStore`."""
        queries = checked_queries(queries, self.dimension)
        only = None if allowed is None else allowed_of(allowed, self.count).ids
        return scan(self._halves, queries, k, only, report)

    def vectors(self, ids: ArrayLike) -> FloatArray:
        """See :class:`engine.index.vector_store.VectorStore`."""
        return self._halves.take(ids)

    def close(self) -> None:
        """See :class:`engine.index.vector_store.VectorStore`."""
        self._halves.close()
