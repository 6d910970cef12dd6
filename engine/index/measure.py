"""What a layout of descriptors costs and what it finds, measured against exact search.

Every trade-off that Berton et al. (CVPR 2022, "Deep Visual Geo-localization Benchmark", section 5) discuss for the
search can be made again: exact search, inverted files, product quantisation, both together, HNSW, the inverted
multi-index, and shorter descriptors by PCA (``PCA128,SQfp16`` and the like).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.index.layouts import EXACT_FILE, choose_layout
from engine.index.scan import ExactStore
from engine.index.vector_store import VectorStore, open_store, write_store
from engine.progress import Report, part, silent

FloatArray = NDArray[np.float32]

DEPTHS = (1, 5, 10, 20)
BATCH = 100
_ALONE = 50
_STATUS = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Rows:
    """Descriptors to measure with.

    Attributes:
        parts: gives all of them, some at a time.
        queries: [Q, D] for every kind of query, by name.
    """

    count: int
    dimension: int
    parts: Callable[[], Iterable[FloatArray]]
    queries: dict[str, FloatArray]


@dataclass(frozen=True)
class Found:
    """How much of the truth a layout finds: the share of the exact first ``k``, by ``k``; milliseconds a query."""

    recall: dict[int, float]
    one_ms: float
    batch_ms: float


@dataclass(frozen=True)
class Measured:
    """A layout's figures.

    Attributes:
        found: by kind of query.
        anonymous, mapped: bytes of memory that opening it and searching took, of its own and of files that are mapped;
            None where the system does not say.
        disk: bytes of its files.
        write_s, open_s: seconds for learning and adding, and for opening.
    """

    layout: str
    factory: str
    found: dict[str, Found]
    anonymous: int | None
    mapped: int | None
    disk: int
    write_s: float
    open_s: float


@dataclass(frozen=True)
class Facts:
    """As much of a manifest as a store needs."""

    count: int
    dimension: int
    faiss_factory: str
    files: Mapping[str, object] = field(default_factory=dict)


def measure(
    folder: Path, rows: Rows, layouts: Sequence[str], report: Report = silent
) -> list[Measured]:
    """Write, open and search descriptors in several layouts, one after the other.

    Args:
        folder: an empty one, with room for the exact vectors and one more layout.
        layouts: as :func:`engine.index.layouts.choose_layout` takes them.

    Raises:
        IndexFolderError: a layout does not exist or go with the rows.
        OSError: something cannot be written.
    """
    for layout in layouts:
        choose_layout(layout, rows.count, rows.dimension)
    whole = folder / "whole"
    whole.mkdir()
    share = 1.0 / (len(layouts) + 1)
    write_store(whole, "exact", rows.parts, rows.count, rows.dimension, part(report, 0.0, share))
    exact = ExactStore(whole, rows.count, rows.dimension)
    truth = {kind: exact.search(q, max(DEPTHS))[1] for kind, q in rows.queries.items()}
    results: list[Measured] = []
    for number, layout in enumerate(layouts, 1):
        here = folder / f"layout-{number}"
        here.mkdir()
        step = part(report, number * share, (number + 1) * share, f"Measuring {layout}")
        results.append(_one(here, rows, layout, truth, whole / EXACT_FILE, step))
        for file in here.iterdir():
            file.unlink()
    return results


def _one(
    folder: Path,
    rows: Rows,
    layout: str,
    truth: dict[str, NDArray[np.int64]],
    exact: Path,
    report: Report,
) -> Measured:
    begun = time.perf_counter()
    facts = write_store(
        folder, layout, rows.parts, rows.count, rows.dimension, part(report, 0.0, 0.8)
    )
    written = time.perf_counter() - begun
    before = memory()
    begun = time.perf_counter()
    kept = dict.fromkeys(facts.files)
    store = open_store(folder, Facts(rows.count, rows.dimension, facts.factory, dict(kept)))
    opened = time.perf_counter() - begun
    found: dict[str, Found] = {}
    for kind, queries in rows.queries.items():
        report(800, 1000, "")
        found[kind] = compare(store, queries, truth[kind])
    after = memory()
    store.close()
    return Measured(
        layout=facts.layout,
        factory=facts.factory,
        found=found,
        anonymous=None if before is None or after is None else max(0, after[0] - before[0]),
        mapped=None if before is None or after is None else max(0, after[1] - before[1]),
        disk=sum((folder / name).stat().st_size for name in facts.files),
        write_s=written,
        open_s=opened,
    )


def compare(store: VectorStore, queries: FloatArray, truth: NDArray[np.int64]) -> Found:
    """Search a store and compare with what exact search gave, at the store's present effort."""
    k = min(max(DEPTHS), truth.shape[1])
    ids = store.search(queries, k)[1]  # and warm from here on
    alone: list[float] = []
    for query in queries[:_ALONE]:
        begun = time.perf_counter()
        store.search(query[None], 10)
        alone.append(time.perf_counter() - begun)
    together: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        store.search(queries[:BATCH], 10)
        together.append((time.perf_counter() - begun) / len(queries[:BATCH]))
    return Found(
        {depth: recall(ids, truth, depth) for depth in DEPTHS if depth <= k},
        1e3 * statistics.median(alone),
        1e3 * min(together),
    )


def recall(ids: NDArray[np.int64], truth: NDArray[np.int64], depth: int) -> float:
    """The share of the exact first ``depth`` that is among the first ``depth`` found."""
    same = [len(set(a) & set(b)) for a, b in zip(ids[:, :depth], truth[:, :depth], strict=True)]
    return float(np.mean(same)) / depth


def memory() -> tuple[int, int] | None:
    """Bytes of this process's own memory, and of files that it has mapped and touched; None where nobody says."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return sizes["Anonymous"], sizes["Rss"] - sizes["Anonymous"]
