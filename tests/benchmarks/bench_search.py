"""Searching millions of descriptors, beside faiss's exact search in the same run.

``python -m tests.benchmarks.bench_search [--count N] [--dimension D] [--layout NAME] [--work DIR] [--json FILE]``

Descriptors are made up, with the spectrum, the likeness of neighbours and the photos that were measured on an index of
the shipped encoder over a town it never saw (:mod:`engine.index.synthetic` says how). Queries are of three kinds:

* ``tiles``: tiles cut between the places of the index, which overlap those about them. The targets are asked of these;
* ``photos``: panoramas of the ground (cosine with their own tile 0.25), a far harder question for any layout that does
  not look at everything;
* ``sector``: photos that see a quarter of the horizon, the rest of their descriptor being zeros.

Every store is opened and searched in a process of its own, whose memory is read from ``/proc`` before it is opened and
after 1,000 queries. The truth, and the times to compare with, are those of faiss's ``IndexFlatIP`` over the same
vectors in 32 bits (``--exact blocks`` where those do not fit into memory: the vectors in 16 bits, a block at a time).
How far it goes: 512 numbers take 1,024 bytes in ``vectors.f16``, some 84 in the lists, and 512 more while they are
sorted into lists. 30 million are 33 GB, 49 GB while they are written; what is open holds 70 MB of its own (rotation,
centres) and maps the 2.5 GB of lists, of which the system may take back what is not in use. So the disk while building
ends first, then the time: 2.8 million took 102 s on two cores, and each doubling a little more than twice that.

Files are in the system's cache, as on a second start of the day; so that this holds, every query is asked twice.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine.index.layouts import EXACT_FILE
from engine.index.measure import BATCH, Facts, compare, memory
from engine.index.scan import ExactStore
from engine.index.synthetic import synthetic
from engine.index.vector_store import open_store, write_store

KINDS = ("tiles", "photos", "sector")
TARGETS = {
    "anonymous_mb": 200.0,
    "mapped_mb": 600.0,
    "one_ms": 2.0,
    "batch_ms": 0.5,
    "R@1": 0.995,
    "R@10": 0.98,
    "open_s": 0.5,
    "growth": 3.0,
}
_DEPTH = 20
_QUERIES = 400
_WARM = 1000


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_search")
    parser.add_argument("--count", type=int, default=2_800_000)
    parser.add_argument("--small", type=int, default=100_000, help="what growth is measured from")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--layout", default="auto")
    parser.add_argument("--exact", choices=("flat", "blocks"), default="flat")
    parser.add_argument("--work", type=Path, help="keep the files here, and take what is there")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "DIR"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(CHILDREN[args.child[0]](Path(args.child[1]))))
        return 0
    work = args.work or Path(tempfile.mkdtemp(prefix="bench-search-"))
    work.mkdir(exist_ok=True)
    try:
        result = measure(args, work)
    finally:
        if args.work is None:
            shutil.rmtree(work)
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All figures: of the layout at both sizes, and of exact search."""
    large = prepare(work / f"large-{args.count}", args.count, args.dimension, args.layout)
    layout = json.loads((large / "facts.json").read_text())["factory"]
    small = prepare(work / f"small-{args.small}", args.small, args.dimension, "auto")
    same = prepare(work / f"same-{args.small}", args.small, args.dimension, "ivf-pq")
    exact = child("flat" if args.exact == "flat" else "blocks", large)
    result = {
        "count": args.count,
        "dimension": args.dimension,
        "factory": layout,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cores": os.cpu_count(),
        "exact": exact,
        "large": child("store", large),
    }
    for name, folder in (("small", small), ("small, same layout", same)):
        child("blocks", folder)
        result[name] = child("store", folder)
    return result


def prepare(folder: Path, count: int, dimension: int, layout: str) -> Path:
    """Make the descriptors, their store and queries, unless they are there."""
    if (folder / "facts.json").exists():
        return folder
    folder.mkdir(exist_ok=True)
    made = synthetic(count, dimension)
    queries = {
        "tiles": made.tiles(_WARM)[0],
        "photos": made.photos(_QUERIES)[0],
        "sector": made.photos(_QUERIES, seen=0.25)[0],
    }
    np.savez(folder / "queries.npz", **queries)  # pyright: ignore[reportArgumentType]
    stages: dict[str, float] = {}

    def stage(_done: int, _total: int, text: str) -> None:
        stages.setdefault(text, time.perf_counter())

    begun = time.perf_counter()
    facts = write_store(folder, layout, made.parts, count, dimension, stage)
    ended = time.perf_counter()
    if EXACT_FILE not in facts.files:  # what the truth is told from
        with open(folder / "exact.f16", "wb") as file:
            for part in made.parts():
                part.astype(np.float16).tofile(file)
    starts = [*stages.values(), ended]
    seconds = dict(zip(stages, np.diff(starts).tolist(), strict=True))
    values = {
        "count": count,
        "dimension": dimension,
        "factory": facts.factory,
        "layout": facts.layout,
        "files": {name: (folder / name).stat().st_size for name in facts.files},
        "write_s": ended - begun,
        "stages_s": {text: round(value, 1) for text, value in seconds.items() if text},
    }
    (folder / "facts.json").write_text(json.dumps(values))
    return folder


def child(what: str, folder: Path) -> dict[str, Any]:
    """Ask a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_search", "--child", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _facts(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(folder / "queries.npz") as file:
        queries = {kind: file[kind] for kind in KINDS}
    return json.loads((folder / "facts.json").read_text()), queries


def _vectors(folder: Path, facts: dict[str, Any]) -> np.ndarray:
    name = EXACT_FILE if EXACT_FILE in facts["files"] else "exact.f16"
    return np.memmap(folder / name, np.float16, "r").reshape(-1, facts["dimension"])


def exact_flat(folder: Path) -> dict[str, Any]:
    """faiss's exact search over 32-bit vectors in memory; keeps what it finds as the truth."""
    import faiss

    facts, queries = _facts(folder)
    rows = _vectors(folder, facts)
    index: Any = faiss.IndexFlatIP(facts["dimension"])
    for first in range(0, len(rows), 1 << 16):
        index.add(rows[first : first + (1 << 16)].astype(np.float32))
    return _exact(folder, queries, lambda q, k: index.search(q, k)[1])


def exact_blocks(folder: Path) -> dict[str, Any]:
    """Exact search in 16-bit vectors, a block at a time."""
    facts, queries = _facts(folder)
    here = folder / "whole"
    here.mkdir(exist_ok=True)
    if not (here / EXACT_FILE).exists():
        name = EXACT_FILE if EXACT_FILE in facts["files"] else "exact.f16"
        os.link(folder / name, here / EXACT_FILE)
    store = ExactStore(here, facts["count"], facts["dimension"])
    return _exact(folder, queries, lambda q, k: store.search(q, k)[1])


def _exact(
    folder: Path,
    queries: dict[str, np.ndarray],
    search: Callable[[np.ndarray, int], np.ndarray],
) -> dict[str, Any]:
    begun = time.perf_counter()
    truth = {kind: search(values[:_QUERIES], _DEPTH) for kind, values in queries.items()}
    together = (time.perf_counter() - begun) / (len(KINDS) * _QUERIES)
    alone: list[float] = []
    for query in queries["tiles"][:5]:
        begun = time.perf_counter()
        search(query[None], 10)
        alone.append(time.perf_counter() - begun)
    np.savez(folder / "truth.npz", **truth)  # pyright: ignore[reportArgumentType]
    status = memory() or (0, 0)
    return {
        "one_ms": 1e3 * statistics.median(alone),
        "batch_ms": 1e3 * together,
        "anonymous_mb": status[0] / 1e6,
    }


def opened(folder: Path) -> dict[str, Any]:
    """Open a store, search it and compare with the truth."""
    import faiss  # its own memory is not the store's

    faiss.omp_get_max_threads()
    facts, queries = _facts(folder)
    truth = np.load(folder / "truth.npz")
    np.ones((256, 256), np.float32) @ np.ones((256, 256), np.float32)  # nor are NumPy's threads
    before = memory() or (0, 0)
    kept = Facts(facts["count"], facts["dimension"], facts["factory"], facts["files"])
    begun = time.perf_counter()
    store = open_store(folder, kept)
    open_s = time.perf_counter() - begun
    for first in range(0, _WARM, BATCH):
        store.search(queries["tiles"][first : first + BATCH], 10)
    after = memory() or (0, 0)
    found = {kind: compare(store, queries[kind][:_QUERIES], truth[kind]) for kind in KINDS}
    return {
        **facts,
        "open_s": open_s,
        "anonymous_mb": (after[0] - before[0]) / 1e6,
        "mapped_mb": (sum(after) - sum(before)) / 1e6,
        "found": {
            kind: {
                "recall": {str(k): round(v, 4) for k, v in values.recall.items()},
                "one_ms": round(values.one_ms, 3),
                "batch_ms": round(values.batch_ms, 3),
            }
            for kind, values in found.items()
        },
    }


CHILDREN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "flat": exact_flat,
    "blocks": exact_blocks,
    "store": opened,
}


def table(result: dict[str, Any]) -> str:
    """The figures against the targets, in Markdown."""
    large, tiles = result["large"], result["large"]["found"]["tiles"]
    growth = {
        name: tiles["one_ms"] / result[name]["found"]["tiles"]["one_ms"]
        for name in ("small", "small, same layout")
    }
    exact = result["exact"]
    rows = [
        ("memory, anonymous, MB", large["anonymous_mb"], "200", exact["anonymous_mb"]),
        ("memory with mapped pages after 1,000 queries, MB", large["mapped_mb"], "600", None),
        ("one query, ms", tiles["one_ms"], "2", exact["one_ms"]),
        ("a query in batches of 100, ms", tiles["batch_ms"], "0.5", exact["batch_ms"]),
        ("recall@1, overlapping tiles", tiles["recall"]["1"], "0.995", 1.0),
        ("recall@10, overlapping tiles", tiles["recall"]["10"], "0.98", 1.0),
        ("open, s", large["open_s"], "0.5", None),
        (
            f"one query against {result['small']['count']:,} ({result['small']['layout']}), times",
            growth["small"],
            "3",
            None,
        ),
        ("the same with the same layout, times", growth["small, same layout"], "", None),
    ]
    for kind, words in (("photos", "panoramas"), ("sector", "photos of 90°")):
        found = large["found"][kind]
        recalls = f"recall@1 / @10, {words}"
        rows.append((f"{recalls}: {found['recall']['1']:.3f} /", found["recall"]["10"], "", 1.0))
        rows.append((f"one query, {words}, ms", found["one_ms"], "", exact["one_ms"]))
        rows.append((f"in batches of 100, {words}, ms", found["batch_ms"], "", exact["batch_ms"]))
    lines = [
        f"{result['count']:,} × {result['dimension']}, {result['factory']}; load of the machine "
        f"{result['load']:.1f} on {result['cores']} cores; written in {large['write_s']:.0f} s; "
        f"{sum(large['files'].values()) / 1e6:,.0f} MB of files",
        "",
        "| | measured | target | faiss exact |",
        "| --- | --- | --- | --- |",
    ]
    for name, value, target, flat in rows:
        lines.append(
            f"| {name} | {value:.3g} | {target} | {'' if flat is None else f'{flat:.3g}'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
