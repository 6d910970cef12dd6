"""The descriptors ``vectors.faiss``: a faiss scalar quantiser with 8 bits a number, memory-mapped, searched exactly.

Every dimension has its own range, so that encoders with uneven dimensions lose nothing either. For 16,000 x 1,536 on
two threads that is 25 MB instead of 98 and 64 queries in 42 ms (exact floats: 84 ms, half floats: 44 ms); the largest
error of a cosine is 0.0007.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.filters import Allowed, allowed_of
from engine.index.scan import best, checked_queries
from engine.progress import Report, silent

if TYPE_CHECKING:
    from faiss import IndexScalarQuantizer

VECTORS_FILE = "vectors.faiss"

_SCANNED = 1 << 30  # bytes between two chances to cancel: a fifth of a second

# faiss's file: "IxSQ"; dimension, count, two unused, trained?, metric; kind of quantiser, range rule and its argument,
# dimension, bytes a code; length of the ranges, then the ranges; length of the codes, then the codes.
_HEAD = struct.Struct("<4siqqq?iiifQQQ")
_LENGTH = struct.Struct("<Q")
_INNER_PRODUCT, _QT_8BIT = 0, 0
_AGAIN = "Get the index again from its source, or build it again"


def _faiss() -> Any:
    import faiss  # not at the top: it takes a tenth of a second, and its types are incomplete

    return faiss


def file_size(count: int, dimension: int) -> int:
    """Bytes of a file of vectors."""
    return _HEAD.size + 8 * dimension + _LENGTH.size + count * dimension


def write_vectors(
    path: Path,
    parts: Callable[[], Iterable[NDArray[np.float32]]],
    dimension: int,
    count: int = 0,
    report: Report = silent,
) -> int:
    """Quantise and write vectors; ``parts`` gives them in order, and is asked twice. Returns how many there are.

    Raises:
        OSError: it cannot be written.
    """
    faiss = _faiss()
    low = np.full(dimension, np.inf, np.float32)
    high = np.full(dimension, -np.inf, np.float32)
    read = 0
    for part in parts():
        report(read, 2 * count, "Writing vectors")
        read += len(part)
        if len(part):
            low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
    index = faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.train(np.stack([low, high]))  # it keeps the ranges and nothing else
    for part in parts():
        report(count + index.ntotal, 2 * count, "Writing vectors")
        if len(part):
            index.add(np.ascontiguousarray(part, np.float32))
    failure: list[OSError] = []
    with open(path, "wb") as file:

        def write(data: bytes) -> int:
            try:
                return file.write(data)
            except OSError as error:  # faiss would lose what kind of error it was
                failure.append(error)
                return 0

        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        except RuntimeError as error:
            raise failure[0] if failure else OSError(str(error)) from error
        if failure:
            raise failure[0]
    if path.stat().st_size != file_size(index.ntotal, dimension):
        raise OSError(f"{path.name} was not written whole")
    return index.ntotal


def open_vectors(path: Path, count: int, dimension: int) -> IndexScalarQuantizer:
    """Map a file of vectors into memory, after checking that it is what the manifest says.

    Raises:
        IndexFolderError: it is another kind of file, is too short or too long, or faiss cannot read it.
    """
    faiss = _faiss()
    try:
        _check(path, count, dimension)
        index: Any = None
        for flags in (faiss.IO_FLAG_MMAP_IFC, 0):  # not every system maps files
            try:
                index = faiss.read_index(str(path), flags)
                break
            except RuntimeError:
                if flags == 0:
                    raise
    except (OSError, RuntimeError) as error:
        raise _damaged(path, f"cannot be read ({str(error)[:80]})") from error
    good = isinstance(index, faiss.IndexScalarQuantizer)
    if not good or (index.ntotal, index.d) != (count, dimension):
        raise _damaged(path, "is not what the manifest says")
    return index


def _check(path: Path, count: int, dimension: int) -> None:
    size = path.stat().st_size
    if size != file_size(count, dimension):
        raise _damaged(
            path,
            f"has {size:,} bytes where {count:,} vectors of {dimension:,} need {file_size(count, dimension):,}",
        )
    with open(path, "rb") as file:
        head = _HEAD.unpack(file.read(_HEAD.size))
        ranges = np.frombuffer(file.read(8 * dimension), "<f4")
        (codes,) = _LENGTH.unpack(file.read(_LENGTH.size))
    kind, d, n, _, _, trained, metric, quantiser, _, _, inner_d, code_size, in_ranges = head
    wanted = (b"IxSQ", dimension, count, True, _INNER_PRODUCT, _QT_8BIT)
    if (kind, d, n, trained, metric, quantiser) != wanted:
        raise _damaged(path, "is not what the manifest says")
    lengths = (dimension, dimension, 2 * dimension, count * dimension)
    if (inner_d, code_size, in_ranges, codes) != lengths:
        raise _damaged(path, "contradicts itself about its length")
    if not np.isfinite(ranges).all() or np.abs(ranges).max(initial=0) > 1e6:
        raise _damaged(path, "holds ranges that are no numbers")


class Sq8Store:
    """The rows of ``vectors.faiss``: a :class:`engine.index.vector_store.VectorStore`."""

    factory = "SQ8"
    exact = True

    def __init__(self, folder: Path, count: int, dimension: int) -> None:
        self.count, self.dimension = count, dimension
        self._index = open_vectors(folder / VECTORS_FILE, count, dimension)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See :class:`engine.index.vector_store.VectorStore`."""
        queries = checked_queries(queries, self.dimension)
        k = min(k, self.count if allowed is None else allowed_of(allowed, self.count).count)
        scores = np.zeros((len(queries), max(k, 0)), np.float32)
        found = np.zeros(scores.shape, np.int64)
        step = max(1, _SCANNED // (self.count * self.dimension))
        for first in range(0, len(queries) if k > 0 else 0, step):
            report(first, len(queries), "")
            some = slice(first, first + step)
            scores[some], found[some] = search(self._index, queries[some], k, allowed)
        return scores, found

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """See :class:`engine.index.vector_store.VectorStore`."""
        wanted = np.ascontiguousarray(np.atleast_1d(np.asarray(ids, np.int64)))
        if not len(wanted):
            return np.zeros((0, self.dimension), np.float32)
        if wanted.min() < 0 or wanted.max() >= self.count:
            raise IndexError(f"tile ids run from 0 to {self.count - 1}")
        return self._index.reconstruct_batch(wanted)

    def close(self) -> None:
        """See :class:`engine.index.vector_store.VectorStore`."""


def search(
    index: IndexScalarQuantizer, queries: NDArray[np.float32], k: int, allowed: Allowed | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` largest inner products of every query, exactly, equal ones by id; ``k`` rows may answer at least."""
    faiss = _faiss()
    bits = None if allowed is None else allowed.bitmap  # faiss does not keep it
    parameters = None
    if bits is not None:
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
    scores, found = index.search(queries, k, params=parameters)
    return best(scores, found, k)


def _damaged(path: Path, what: str) -> IndexFolderError:
    return IndexFolderError(f"{path.name} {what}", path.parent, _AGAIN)
