"""Where descriptors are kept and searched: the seam between an index and whatever searches it.

A store gives the best rows for queries by inner product. The stores in this package are files of an index's folder,
memory-mapped; :class:`engine.index.milvus.MilvusStore` is a server. All pass the same tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.index.filters import Allowed
from engine.index.halves import write_halves
from engine.index.layouts import (
    ARRAYS_FILE,
    DEFAULT_MEMORY,
    EXACT_FILE,
    SQ8_FILE,
    Layout,
    choose_layout,
    parse_layout,
)
from engine.progress import Report, part, silent

FloatArray = NDArray[np.float32]
IdArray = NDArray[np.int64]
_AGAIN = "Get the index again from its source, or build it again"

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
    """What was written: the factory and the layout's name for the manifest, and the names of the files."""

    factory: str
    files: tuple[str, ...]
    layout: str = ""


class Described(Protocol):
    """As much of a manifest as a store needs."""

    @property
    def count(self) -> int: ...

    @property
    def dimension(self) -> int: ...

    @property
    def faiss_factory(self) -> str: ...

    @property
    def files(self) -> Mapping[str, object]: ...


def write_store(
    folder: Path,
    layout: str,
    parts: Parts,
    count: int,
    dimension: int,
    report: Report = silent,
    *,
    memory: int = DEFAULT_MEMORY,
) -> StoreFacts:
    """Write descriptors into the files of an index; what lies there of an attempt that was broken off is replaced.

    Args:
        layout: a name (:data:`engine.index.layouts.NAMES`), "auto", or a faiss factory string.
        parts: gives them in order, [n, D] at a time, L2-normalised; may be asked more than once.
        memory: bytes that the open index may use; decides where the layout is "auto".

    Raises:
        IndexFolderError: there is no such layout, or it does not go with the count or dimension.
        OSError: they cannot be written.
    """
    chosen = choose_layout(layout, count, dimension, memory)
    for name in (EXACT_FILE, SQ8_FILE, ARRAYS_FILE):
        (folder / name).unlink(missing_ok=True)
    if chosen.kind == "sq8":
        from engine.index.vectors import write_vectors

        written = write_vectors(folder / SQ8_FILE, parts, dimension, count, report)
    else:
        share = 1.0 if chosen.kind == "exact" else 0.2
        written = write_halves(folder / EXACT_FILE, parts, count, part(report, 0.0, share))
    if written != count:
        raise ValueError(f"{written} vectors were given, not {count}")
    if chosen.kind == "graph":
        from engine.index.graph import write_graph

        write_graph(folder, chosen, count, part(report, 0.2, 1.0))
    elif chosen.kind == "inverted":
        from engine.index.inverted_write import write_inverted

        write_inverted(folder, chosen, count, part(report, 0.2, 1.0))
    report(1, 1, "")
    return StoreFacts(chosen.factory, chosen.files, chosen.name)


def open_store(folder: Path, manifest: Described) -> VectorStore:
    """Open the descriptors of an index, memory-mapped; lengths and contents that could mislead are checked first.

    Raises:
        IndexFolderError: a file is missing, damaged, or not what the manifest says.
    """
    count, dimension = manifest.count, manifest.dimension
    try:
        layout = parse_layout(manifest.faiss_factory, dimension)
    except IndexFolderError as error:
        raise IndexFolderError(
            f"its {error.problem}", folder, "Update Nadir, or build the index again"
        ) from None
    for name in layout.files:
        if name not in manifest.files:
            raise IndexFolderError(f"the manifest does not list {name}", folder, _AGAIN)
    try:
        return _open(folder, layout, count)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise IndexFolderError(
            f"its vectors cannot be used ({str(error)[:80]})", folder, _AGAIN
        ) from error


def _open(folder: Path, layout: Layout, count: int) -> VectorStore:
    if layout.kind == "exact":
        from engine.index.scan import ExactStore

        return ExactStore(folder, count, layout.dimension)
    if layout.kind == "sq8":
        from engine.index.vectors import Sq8Store

        return Sq8Store(folder, count, layout.dimension)
    if layout.kind == "graph":
        from engine.index.graph import GraphStore

        return GraphStore(folder, layout, count)
    from engine.index.inverted import InvertedStore

    return InvertedStore(folder, layout, count)
