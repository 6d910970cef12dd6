"""A graph of neighbours over the 16-bit vectors (HNSW), searched by faiss over mapped memory.

Malkov and Yashunin 2018. Every vector has a level; on the lowest it is linked to ``2 * links`` others, on each above to
``links``. Links from a stranger could lead a search anywhere in memory, so all of them are checked when the file is
opened: that they lead to vectors of the index, and on higher levels to vectors that have that level.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.arrays import ArraysWriter, Shape, open_arrays
from engine.index.filters import Allowed, allowed_of
from engine.index.halves import Halves
from engine.index.inverted import FEW
from engine.index.layouts import ARRAYS_FILE, EXACT_FILE, Layout
from engine.index.scan import best, checked_queries, halves_index, scan, show
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]

BREADTH = 512
"""Vectors that a search keeps in view where nobody says."""

_MAX_LEVELS = 24
_QUERIES = 100
_BLOCK = 4096
_CHECKED = 1 << 22
_BUILD_BREADTH = 100
_AGAIN = "Get the index again from its source, or build it again"


def _faiss() -> Any:
    import faiss  # not at the top: it takes a tenth of a second, and its types are incomplete

    return faiss


def _arrays(count: int) -> dict[str, tuple[Any, Shape]]:
    return {
        "effort": ("<i4", (1,)),
        "entry": ("<i4", (2,)),
        "levels": ("<i4", (count,)),
        "neighbours": ("<i4", (-1,)),
    }


def write_graph(folder: Path, layout: Layout, count: int, report: Report = silent) -> None:
    """Link the vectors of ``vectors.f16``, which must be there whole.

    Raises:
        OSError: it cannot be written.
    """
    faiss = _faiss()
    halves = Halves(folder / EXACT_FILE, count, layout.dimension)
    index = faiss.IndexHNSWSQ(
        layout.dimension,
        faiss.ScalarQuantizer.QT_fp16,
        layout.links,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.hnsw.efConstruction = _BUILD_BREADTH
    index.is_trained = True
    faiss.downcast_index(index.storage).is_trained = True
    # By one thread: several link in another order every time, and the same vectors must give the same index.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for first in range(0, count, _BLOCK):
            report(first, count, "Linking vectors")
            index.add(halves.part(first, min(first + _BLOCK, count)))
    finally:
        faiss.omp_set_num_threads(threads)
    graph = index.hnsw
    neighbours = faiss.vector_to_array(graph.neighbors)
    wanted = _arrays(count) | {"neighbours": ("<i4", (len(neighbours),))}
    with ArraysWriter(folder / ARRAYS_FILE, wanted) as file:
        file.add("effort", np.array([BREADTH], np.int32))
        file.add("entry", np.array([graph.entry_point, graph.max_level], np.int32))
        file.add("levels", faiss.vector_to_array(graph.levels).astype(np.int32))
        file.add("neighbours", neighbours.astype(np.int32))
    halves.close()


class GraphStore:
    """A graph over all vectors: a :class:`engine.index.vector_store.VectorStore`.

    Attributes:
        breadth: vectors that a search keeps in view; more find more and take longer.
    """

    exact = False

    def __init__(self, folder: Path, layout: Layout, count: int) -> None:
        self.layout, self.factory = layout, layout.factory
        self.count, self.dimension = count, layout.dimension
        self._halves = Halves(folder / EXACT_FILE, count, layout.dimension)
        path = folder / ARRAYS_FILE
        arrays = open_arrays(path, _arrays(count))
        self.breadth = int(arrays["effort"][0])
        starts = _check(path, arrays, layout, count)
        faiss = _faiss()
        storage, self._view = halves_index(self._halves.rows)
        self._storage = storage
        self._index = faiss.IndexHNSW(storage, layout.links)
        graph = self._index.hnsw
        self._neighbours = arrays["neighbours"]
        show(graph.neighbors, self._neighbours)
        faiss.copy_array_to_vector(np.array(arrays["levels"]), graph.levels)
        faiss.copy_array_to_vector(starts.astype(np.uint64), graph.offsets)
        graph.entry_point, graph.max_level = (int(v) for v in arrays["entry"])
        self._index.ntotal, self._index.is_trained = count, True
        self._index.metric_type = faiss.METRIC_INNER_PRODUCT

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[FloatArray, IdArray]:
        """See :class:`engine.index.vector_store.VectorStore`."""
        faiss = _faiss()
        queries = checked_queries(queries, self.dimension)
        if allowed is not None and allowed_of(allowed, self.count).count <= max(FEW, k):
            return scan(self._halves, queries, k, allowed.ids, report)
        k = min(k, self.count if allowed is None else allowed.count)
        scores = np.zeros((len(queries), max(k, 0)), np.float32)
        found = np.zeros(scores.shape, np.int64)
        if k < 1:
            return scores, found
        bits = None if allowed is None else allowed.bitmap  # faiss does not keep it
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersHNSW(efSearch=max(self.breadth, 2 * k), sel=selector)
        for first in range(0, len(queries), _QUERIES):
            report(first, len(queries), "")
            part = slice(first, first + _QUERIES)
            near, ids = self._index.search(queries[part], k, params=parameters)
            scores[part], found[part] = best(self._halves.checked(near), ids, k)
            short = np.flatnonzero((ids < 0).any(axis=1)) + first
            if len(short):  # the way led past too few that may answer
                only = None if allowed is None else allowed.ids
                scores[short], found[short] = scan(self._halves, queries[short], k, only, report)
        self._halves.let_go()
        return scores, found

    def vectors(self, ids: ArrayLike) -> FloatArray:
        """See :class:`engine.index.vector_store.VectorStore`."""
        return self._halves.take(ids)

    def close(self) -> None:
        """See :class:`engine.index.vector_store.VectorStore`."""
        self._halves.close()


def _check(
    path: Path, arrays: dict[str, NDArray[Any]], layout: Layout, count: int
) -> NDArray[np.int64]:
    """Whether every link leads somewhere.

    Returns:
        Where the links of every vector begin [count + 1].

    Raises:
        IndexFolderError: one does not.
    """

    def damaged(what: str) -> IndexFolderError:
        return IndexFolderError(f"{path.name} {what}", path.parent, _AGAIN)

    levels, neighbours = arrays["levels"], arrays["neighbours"]
    entry, top = (int(v) for v in arrays["entry"])
    if levels.min(initial=1) < 1 or levels.max(initial=1) > _MAX_LEVELS:
        raise damaged("has vectors on impossible levels")
    if not 0 <= entry < count or top != int(levels.max(initial=1)) - 1 or levels[entry] != top + 1:
        raise damaged("has no way in")
    if not 1 <= int(arrays["effort"][0]) <= 1 << 20:
        raise damaged("asks for an impossible effort")
    links = layout.links
    starts = np.concatenate([[0], np.cumsum((levels.astype(np.int64) + 1) * links)])
    if int(starts[-1]) != len(neighbours):
        raise damaged("has links for another number of vectors")
    for first in range(0, len(neighbours), _CHECKED):
        part = neighbours[first : first + _CHECKED]
        if part.min(initial=0) < -1 or part.max(initial=0) >= count:
            raise damaged("has links that lead nowhere")
    for level in range(1, top + 1):
        here = np.flatnonzero(levels > level)
        at = starts[here][:, None] + (level + 1) * links + np.arange(links)
        there = neighbours[at]
        if (levels[np.maximum(there, 0)][there >= 0] <= level).any():
            raise damaged("has links that lead nowhere")
    return starts
