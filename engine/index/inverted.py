"""Searching inverted lists of codes, and ordering the best of what they give by the 16-bit vectors.

A query is rotated and shortened like the vectors were and compared with the centres of all lists. The codes in the
nearest few are compared; how many more lists are looked at is the query's own: a vector's score is its centre's plus
that of the rest, whose spread over all vectors is known for every direction, so lists whose centre lies
:data:`CERTAINTY` spreads below the k-th best score so far hold hardly any better. A tile's own picture is found in a
hundredth of the lists; a photo of the ground, which is far from all tiles, asks for a tenth or more. In the same way
the error of the codes says of how many rows the vectors themselves must be read and compared.

Lists are searched by faiss, over mapped memory; every number of the file that could lead it astray is checked when it
is opened. With a filter faiss looks at the codes of allowed rows alone, in as many more lists; where few rows are
allowed, their vectors are compared directly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.arrays import Shape, open_arrays
from engine.index.filters import Allowed, allowed_of
from engine.index.halves import Halves
from engine.index.layouts import ARRAYS_FILE, EXACT_FILE, Layout
from engine.index.lists import MappedLists, offsets
from engine.index.scan import best, checked_queries, scan
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]

FEW = 20_000
"""Up to so many allowed rows are compared directly: some 5 ms."""

BLOCK_ROWS = 1 << 16
"""Rows in each of the lists of a layout that looks at all of them."""

CERTAINTY = 3.75
"""Spreads below the k-th best score at which lists are left out."""

CODE_CERTAINTY = 2.5
"""Errors of a code below the k-th best score at which rows are left out."""

_QUERIES = 100
_RERANK_FLOATS = 1 << 23
_AGAIN = "Get the index again from its source, or build it again"


def _faiss() -> Any:
    import faiss  # not at the top: it takes a tenth of a second, and its types are incomplete

    return faiss


def list_count(layout: Layout, count: int) -> int:
    """Lists in the file: those of the layout, or blocks of rows where it looks at all."""
    return layout.lists if layout.lists > 1 else max(1, -(-count // BLOCK_ROWS))


def arrays_of(layout: Layout, count: int) -> dict[str, tuple[Any, Shape]]:
    """Types and shapes of the arrays that such an index has; of ``lists`` the length follows from ``sizes``."""
    inner = layout.inner
    wanted: dict[str, tuple[Any, Shape]] = {"effort": ("<i4", (2,))}
    if layout.transform:
        wanted["rotation"] = ("<f4", (inner, layout.dimension))
    if layout.imi_bits:
        wanted["centres"] = ("<f4", (2, 1 << layout.imi_bits, inner // 2))
    elif layout.lists > 1:
        wanted["centres"] = ("<f4", (layout.lists, inner))
    if layout.code == "PQ":
        wanted["pieces"] = ("<f4", (layout.pieces, 1 << layout.bits, inner // layout.pieces))
    elif layout.code != "SQfp16":
        wanted["ranges"] = ("<f4", (2 * inner,))
    wanted["errors"] = ("<f4", (inner, inner))
    wanted["dropped"] = ("<f4", (1,))
    if layout.lists > 1 and not layout.imi_bits:
        wanted["spread"] = ("<f4", (inner, inner))
    wanted["sizes"] = ("<i4", (list_count(layout, count),))
    wanted["lists"] = ("|u1", (-1,))
    return wanted


class InvertedStore:
    """Codes in inverted lists: a :class:`engine.index.vector_store.VectorStore`.

    Attributes:
        probes: lists looked at for every query; all in a layout that has no lists.
        most: lists looked at for a query at most.
        short: rows whose vectors are read for a query, at most (or twice the results wanted); 0: none, the codes' own
            order is given.
        certainty: see :data:`CERTAINTY`; 0: no more lists than ``probes``.
    """

    exact = False

    def __init__(self, folder: Path, layout: Layout, count: int) -> None:
        self.layout, self.factory = layout, layout.factory
        self.count, self.dimension = count, layout.dimension
        self._halves = Halves(folder / EXACT_FILE, count, layout.dimension)
        path = folder / ARRAYS_FILE
        arrays = open_arrays(path, arrays_of(layout, count))
        _check(path, arrays, layout, count)
        self._rotation: FloatArray | None = None
        if layout.transform:
            self._rotation = np.array(arrays["rotation"])
        self._centres: FloatArray | None = None
        self._halves_of_centres: Any = None
        if layout.imi_bits:
            self._halves_of_centres = _multi_index(np.array(arrays["centres"]))
        elif layout.lists > 1:
            self._centres = np.array(arrays["centres"])
        sizes = np.array(arrays["sizes"])
        self.list_count = len(sizes)
        probes, self.short = (int(v) for v in arrays["effort"])
        self.probes = min(probes, self.list_count) if layout.lists > 1 else self.list_count
        self.most, self.certainty = self.list_count, CERTAINTY
        self._errors, self._dropped = np.array(arrays["errors"]), float(arrays["dropped"][0])
        self._spread = np.array(arrays["spread"]) if "spread" in arrays else None
        self._lists = MappedLists(arrays["lists"], sizes, layout.code_bytes, layout.fast)
        self._index = _index(layout, arrays, self.list_count, count)
        self._index.replace_invlists(self._lists.faiss, False)

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[FloatArray, IdArray]:
        """See :class:`engine.index.vector_store.VectorStore`."""
        queries = checked_queries(queries, self.dimension)
        if allowed is not None and allowed_of(allowed, self.count).count <= max(FEW, k):
            return scan(self._halves, queries, k, allowed.ids, report)
        k = min(k, self.count if allowed is None else allowed.count)
        scores = np.zeros((len(queries), max(k, 0)), np.float32)
        found = np.zeros(scores.shape, np.int64)
        if k < 1:
            return scores, found
        selector, share, _bits = None, 1.0, None
        if allowed is not None:
            _bits = allowed.bitmap  # faiss does not keep it
            selector, share = _faiss().IDSelectorBitmap(_bits), allowed.count / self.count
        probes = min(self.list_count, -int(-self.probes // share))
        for first in range(0, len(queries), _QUERIES):
            report(first, len(queries), "")
            part = slice(first, first + _QUERIES)
            scores[part], found[part] = self._some(
                queries[part], k, probes, allowed, selector, report
            )
        return scores, found

    def vectors(self, ids: ArrayLike) -> FloatArray:
        """See :class:`engine.index.vector_store.VectorStore`."""
        return self._halves.take(ids)

    def close(self) -> None:
        """See :class:`engine.index.vector_store.VectorStore`."""
        self._halves.close()

    def _some(
        self,
        queries: FloatArray,
        k: int,
        probes: int,
        allowed: Allowed | None,
        selector: Any,
        report: Report,
    ) -> tuple[FloatArray, IdArray]:
        """The best ``k`` of some queries."""
        inner = queries if self._rotation is None else queries @ self._rotation.T
        inner = np.ascontiguousarray(inner)
        short = min(self.count, max(self.short, 2 * k))
        keys, near, left = self._nearest(inner, probes)
        scores, ids = self._codes(inner, keys, near, short, selector)
        if probes < self.list_count:
            report(0, 0, "")
            lowest = np.where(ids[:, k - 1] >= 0, scores[:, k - 1], -np.inf)
            more, keys, near = self._further(inner, lowest, left)
            if len(more):
                further = self._codes(inner[more], keys, near, short, selector)
                # Side by side: which of them are read is decided below.
                wide = np.full((len(inner), 2 * short), -np.inf, np.float32)
                whose = np.full(wide.shape, -1, np.int64)
                wide[:, :short], whose[:, :short] = scores, ids
                wide[more, short:], whose[more, short:] = further
                scores, ids = wide, whose
        report(0, 0, "")
        scores, ids = self._ordered(queries, inner, scores, ids, k, short)
        few = np.flatnonzero((ids < 0).any(axis=1))
        if len(few) and probes < self.list_count:  # then all lists
            better = self._some(queries[few], k, self.list_count, allowed, selector, report)
            scores[few], ids[few] = better
        elif len(few):  # fast scanning never gives the very worst
            only = None if allowed is None else allowed.ids
            scores[few], ids[few] = scan(self._halves, queries[few], k, only, report)
        return scores, ids

    def _codes(
        self, inner: FloatArray, keys: IdArray, near: FloatArray, short: int, selector: Any
    ) -> tuple[FloatArray, IdArray]:
        """The best codes of some lists: scores and ids [Q, short], best first, -1 where there are fewer."""
        faiss = _faiss()
        parameters = faiss.SearchParametersIVF(nprobe=keys.shape[1], sel=selector)
        scores = np.empty((len(inner), short), np.float32)
        ids = np.empty((len(inner), short), np.int64)
        inner, near = np.ascontiguousarray(inner), np.ascontiguousarray(near)
        keys = np.ascontiguousarray(keys)
        self._index.search_preassigned_c(
            len(inner),
            faiss.swig_ptr(inner),
            short,
            faiss.swig_ptr(keys),
            faiss.swig_ptr(near),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(ids),
            False,
            parameters,
        )
        if ids.max(initial=-1) >= self.count or ids.min(initial=0) < -1:
            raise self._damaged("holds rows that the index does not have")
        scores[ids < 0] = -np.inf
        return scores, ids

    def _nearest(
        self, inner: FloatArray, probes: int
    ) -> tuple[IdArray, FloatArray, FloatArray | None]:
        """The nearest lists [Q, probes], how near their centres are, and how near those of the others are."""
        if self._centres is not None:
            scores = inner @ self._centres.T
            if probes >= self.list_count:
                return np.tile(np.arange(self.list_count), (len(inner), 1)), scores, None
            keys = np.argpartition(scores, -probes, axis=1)[:, -probes:].astype(np.int64)
            near = np.take_along_axis(scores, keys, 1)
            np.put_along_axis(scores, keys, -np.inf, 1)
            return keys, near, scores
        if self._halves_of_centres is not None and probes < self.list_count:
            # It knows distances alone; among vectors of one length, and a query of that length, they say the same.
            length = np.maximum(np.linalg.norm(inner, axis=1, keepdims=True), 1e-12)
            far, keys = self._halves_of_centres.search(
                np.ascontiguousarray(inner / length, np.float32), probes
            )
            return keys, -far, None
        keys = np.tile(np.arange(self.list_count), (len(inner), 1))
        return keys, np.zeros(keys.shape, np.float32), None

    def _further(
        self, inner: FloatArray, lowest: FloatArray, left: FloatArray | None
    ) -> tuple[IdArray, IdArray, FloatArray]:
        """Queries that need more lists, those [n, m] (-1 where one needs fewer), and how near their centres are.

        Args:
            lowest: [Q], the k-th best score so far.
            left: [Q, lists], how near the other lists' centres are, -inf for those that were looked at.
        """
        nobody = np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32)
        if left is None or self._spread is None or not self.certainty:
            return nobody
        spread = np.sqrt(np.maximum(_quadratic(inner, self._spread), 0.0))
        least = lowest - self.certainty * spread
        wanted = (left > least[:, None]).sum(axis=1)
        more = np.flatnonzero(wanted)
        most = min(int(wanted.max(initial=0)), self.most)
        if not len(more) or most < 1:
            return nobody
        if most < int(wanted.max()):
            least = np.maximum(least, np.partition(left, -most - 1, axis=1)[:, -most - 1])
        owners, at, place = _side_by_side(left[more] > least[more][:, None])
        keys = np.full((len(more), int(place.max(initial=-1)) + 1), -1, np.int64)
        near = np.zeros(keys.shape, np.float32)
        keys[owners, place], near[owners, place] = at, left[more][owners, at]
        return more, keys, near

    def _ordered(
        self,
        queries: FloatArray,
        inner: FloatArray,
        scores: FloatArray,
        ids: IdArray,
        k: int,
        short: int,
    ) -> tuple[FloatArray, IdArray]:
        """The best ``k`` of codes [Q, n], by the vectors of ``short`` of them; -1 where there are fewer."""
        if self.short:
            kth = np.partition(scores, -k, axis=1)[:, -k]
            error = _quadratic(inner, self._errors)
            if self._rotation is not None:
                beside = (queries * queries).sum(axis=1) - (inner * inner).sum(axis=1)
                error += np.maximum(beside, 0.0) * self._dropped
            least = kth - CODE_CERTAINTY * np.sqrt(np.maximum(error, 0.0))
            if scores.shape[1] > short:
                least = np.maximum(least, np.partition(scores, -short, axis=1)[:, -short])
            owners, at, place = _side_by_side((ids >= 0) & (scores >= least[:, None]))
            rows = ids[owners, at]
            exact = np.empty(len(rows), np.float32)
            step = max(1, _RERANK_FLOATS // self.dimension)
            for first in range(0, len(rows), step):
                part = slice(first, first + step)
                exact[part] = np.einsum(
                    "nd,nd->n", self._halves.take(rows[part]), queries[owners[part]]
                )
            width = max(k, int(place.max(initial=-1)) + 1)
            scores = np.full((len(queries), width), -np.inf, np.float32)
            ids = np.full(scores.shape, -1, np.int64)
            scores[owners, place], ids[owners, place] = exact, rows
        return best(scores, ids, k)

    def _damaged(self, what: str) -> IndexFolderError:
        return IndexFolderError(f"{ARRAYS_FILE} {what}", None, _AGAIN)


def _side_by_side(
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """What a mask [Q, n] marks: rows, columns, and each one's place among those of its row."""
    rows, columns = np.nonzero(mask)
    counts = np.bincount(rows, minlength=len(mask))
    return rows, columns, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _quadratic(queries: FloatArray, matrix: FloatArray) -> FloatArray:
    """q' M q of every query [Q]."""
    return ((queries @ matrix) * queries).sum(axis=1)


def _check(path: Path, arrays: dict[str, NDArray[Any]], layout: Layout, count: int) -> None:
    """Whether the numbers make sense.

    Raises:
        IndexFolderError: naming what is wrong.
    """
    for name, values in arrays.items():
        if values.dtype == np.float32 and not (
            np.isfinite(values).all() and np.abs(values).max(initial=0) < 1e6
        ):
            raise IndexFolderError(
                f"{path.name} holds {name} that are no numbers", path.parent, _AGAIN
            )
    sizes, effort = arrays["sizes"], arrays["effort"]
    if sizes.min(initial=0) < 0 or int(sizes.sum(dtype=np.int64)) != count:
        raise IndexFolderError(f"{path.name} has lists of impossible lengths", path.parent, _AGAIN)
    if int(offsets(sizes, layout.code_bytes, layout.fast)[-1]) != arrays["lists"].size:
        raise IndexFolderError(f"{path.name} has lists of other lengths", path.parent, _AGAIN)
    if not (1 <= effort[0] <= 1 << 20 and 0 <= effort[1] <= 1 << 20):
        raise IndexFolderError(f"{path.name} asks for an impossible effort", path.parent, _AGAIN)


def _multi_index(centres: FloatArray) -> Any:
    faiss = _faiss()
    halves, size, half = centres.shape
    quantizer: Any = faiss.MultiIndexQuantizer(halves * half, halves, size.bit_length() - 1)
    faiss.copy_array_to_vector(centres.reshape(-1), quantizer.pq.centroids)
    quantizer.is_trained, quantizer.ntotal = True, size**halves
    return quantizer


def _index(layout: Layout, arrays: dict[str, NDArray[Any]], lists: int, count: int) -> Any:
    """faiss's index for codes, without any list."""
    faiss = _faiss()
    inner, metric = layout.inner, faiss.METRIC_INNER_PRODUCT
    quantizer: Any = faiss.IndexFlatIP(inner)  # never asked: the lists are chosen here
    index: Any
    if layout.code == "PQ":
        if layout.fast:
            index = faiss.IndexIVFPQFastScan(quantizer, inner, lists, layout.pieces, 4, metric)
        else:
            index = faiss.IndexIVFPQ(quantizer, inner, lists, layout.pieces, layout.bits, metric)
        index.by_residual = layout.residual
        faiss.copy_array_to_vector(np.array(arrays["pieces"]).reshape(-1), index.pq.centroids)
    else:
        kind = {
            "SQ8": faiss.ScalarQuantizer.QT_8bit,
            "SQ4": faiss.ScalarQuantizer.QT_4bit,
            "SQfp16": faiss.ScalarQuantizer.QT_fp16,
        }[layout.code]
        index = faiss.IndexIVFScalarQuantizer(quantizer, inner, lists, kind, metric, False)
        if "ranges" in arrays:
            faiss.copy_array_to_vector(np.array(arrays["ranges"]), index.sq.trained)
    index.is_trained, index.ntotal = True, count
    index.own_fields = False
    index.referenced_objects = [quantizer]
    return index
