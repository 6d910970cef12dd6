"""Encoding and searching without a window: what takes how long, and how much of it is our own.

Run by :mod:`tests.benchmarks.bench_spine` as a process of its own; writes one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.memory import memory_of


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("photos", type=Path, nargs="+")
    options = parser.parse_args()

    loading, _ = timed(_import)
    from engine.encoder import open_encoder
    from engine.index import Index
    from engine.localize import Query, explain, localize
    from engine.photo import read_photo

    opening, encoder = timed(lambda: open_encoder(options.encoder))
    mapping, index = timed(lambda: Index.open(options.index, encoder))
    rows: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        rows.setdefault(name, []).append(seconds)

    photos = []
    for path in options.photos:
        seconds, photo = timed(lambda path=path: read_photo(path))
        note("read", seconds)
        photos.append(photo)
    for heading, name in ((0.0, "known"), (None, "unknown")):
        for photo in photos[:2]:  # warm: tables, threads, pages
            localize(Query(photo, heading_deg=heading), encoder, index)
        for run in range(options.runs):
            photo = photos[run % len(photos)]
            query = Query(photo, heading_deg=heading)
            seconds, result = timed(lambda query=query: localize(query, encoder, index))
            spent = result.timings
            note(f"localize {name}", seconds)
            note(f"encode {name}", spent.project + spent.encode)
            note(f"encode_run {name}", spent.encode_run)
            note(f"search {name}", spent.search + spent.refine)
            note(f"search_run {name}", spent.search_run)
            whole = spent.project + spent.encode + spent.search + spent.refine
            note(f"own {name}", (whole - spent.encode_run - spent.search_run) / whole)
            if run < len(photos) and result.candidates and encoder.card.outputs.features:
                best = result.candidates[0]
                seconds, _ = timed(lambda q=query, b=best: explain(q, b, encoder, index))
                note("explain", seconds)
    facts = {
        "median": {name: statistics.median(values) for name, values in rows.items()},
        "least": {name: min(values) for name, values in rows.items()},
        "most": {name: max(values) for name, values in rows.items()},
        "imports": loading,
        "open_encoder": opening,
        "open_index": mapping,
        "rss": memory_of(_own_pid()).rss,
        "tiles": index.manifest.count,
        "encoder": encoder.name,
        "index": index.manifest.name,
        "device": encoder.device,
    }
    print(json.dumps(facts))
    index.close()
    return 0


def _import() -> None:
    import engine.localize  # noqa: F401 - this is what is timed


def _own_pid() -> int:
    import os

    return os.getpid()


if __name__ == "__main__":
    sys.exit(main())
