"""Where descriptors are kept and searched: the seam between an index and whatever searches it.

A store gives the best rows for queries by inner product. The stores in this package are files of an index's folder,
memory-mapped; :class:`engine.index.milvus.MilvusStore` is a server. All pass the same tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.filters import Allowed
from engine.progress import Report, silent

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]
Parts = Callable[[], Iterable[FloatArray]]


class VectorStore(Protocol):
    """Descriptors that can be searched. Safe in several threads.

    Attributes:
        count: how many there are; their ids are 0 .. count - 1.
        dimension: numbers in one.
        factory: how they are kept, in faiss's words.
        exact: whether a search looks at all of them; else it may miss some.
    """

    @property
    def count(self) -> int: ...

    @property
    def dimension(self) -> int: ...

    @property
    def factory(self) -> str: ...

    @property
    def exact(self) -> bool: ...

    def search(
        self,
        queries: FloatArray,
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[FloatArray, IdArray]:
        """The ``k`` largest inner products of every query.

        Args:
            queries: [Q, D]; they need not have length 1, and may be zero where a photo sees nothing.
            allowed: the rows that may answer; None: all. They are the only ones that are looked for, so that k
                results come wherever k rows may answer.
            report: called between the steps of a long search; raising :class:`engine.errors.Cancelled` ends it.

        Returns:
            Scores [Q, k'] and ids [Q, k'], k' = min(k, rows that may answer): best first, equal scores by id; the
            same for any number of threads.
        """
        ...

    def vectors(self, ids: ArrayLike) -> FloatArray:
        """Descriptors [n, D] by id, as they are kept. Raises ``IndexError`` for ids that do not exist."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


@dataclass(frozen=True)
class StoreFacts:
    """What was written: the factory for the manifest, and the names of the files."""

    factory: str
    files: tuple[str, ...]


class Described(Protocol):
    """As much of a manifest as a store needs."""

    @property
    def count(self) -> int: ...

    @property
    def dimension(self) -> int: ...

    @property
    def faiss_factory(self) -> str: ...


def write_store(
    folder: Path,
    layout: str,
    parts: Parts,
    count: int,
    dimension: int,
    report: Report = silent,
) -> StoreFacts:
    """Write descriptors into the files of an index.

    Args:
        layout: a name (:data:`engine.index.layouts.NAMES`), "auto", or a faiss factory string.
        parts: gives them in order, [n, D] at a time, L2-normalised; asked several times.

    Raises:
        IndexFolderError: there is no such layout, or it does not go with the count or dimension.
        OSError: they cannot be written.
    """
    from engine.index.vectors import write_vectors

    written = write_vectors(folder / "vectors.faiss", parts, dimension)
    if written != count:
        raise ValueError(f"{written} vectors were given, not {count}")
    return StoreFacts("SQ8", ("vectors.faiss",))


def open_store(folder: Path, manifest: Described) -> VectorStore:
    """Open the descriptors of an index, memory-mapped; lengths and contents that could mislead are checked first.

    Raises:
        IndexFolderError: a file is missing, damaged, or not what the manifest says.
    """
    from engine.index.vectors import Sq8Store

    if manifest.faiss_factory != Sq8Store.factory:
        raise IndexFolderError(
            f"its vectors are kept as {manifest.faiss_factory[:40]!r}, which this program does not read",
            folder,
            "Update Nadir, or build the index again",
        )
    return Sq8Store(folder, manifest.count, manifest.dimension)
