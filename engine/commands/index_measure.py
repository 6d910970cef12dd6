"""``nadir index measure``: what the layouts of an index's descriptors cost, and what they find."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.commands.common import Progress, positive, print_json
from engine.errors import IndexFolderError

if TYPE_CHECKING:
    from engine.index.measure import Measured, Rows


def add_measure(verbs: Any) -> None:
    """Add the verb to those of ``nadir index``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "measure",
        help="recall, time and memory of the ways to keep descriptors",
        description="Keep the descriptors of an index, or made-up ones that are distributed like those of overlapping "
        "tiles, in several layouts, search each, and print recall against exact search, time, memory and disk.",
        epilog="Layouts: auto, exact, sq8, ivf-sq8, ivf-pq, pq, hnsw, imi, or factory strings such as "
        "'PCA128,SQfp16' or 'OPQ64_128,IVF8192,PQ64x4fs'. Several are separated by spaces.",
    )
    parser.add_argument("index", type=Path, nargs="?", metavar="INDEX", help="NAME.index")
    parser.add_argument(
        "--synthetic", type=positive, metavar="N", help="N made-up descriptors instead of an index"
    )
    parser.add_argument(
        "--dimension", type=positive, default=512, metavar="D", help="theirs (default: 512)"
    )
    parser.add_argument(
        "--layouts",
        nargs="+",
        metavar="LAYOUT",
        default=["exact", "sq8", "ivf-sq8", "ivf-pq", "pq", "hnsw", "imi", "PCA128,SQfp16"],
        help="which (default: all that have names, and PCA)",
    )
    parser.add_argument("--queries", type=positive, default=200, metavar="Q", help="(default: 200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is made up")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="where to write (default: the system's temporary)"
    )
    parser.add_argument("--json", action="store_true", help="print an object for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from engine.index.measure import measure

    if (args.index is None) == (args.synthetic is None):
        raise IndexFolderError("give an index or --synthetic N, one of the two")
    if args.work is not None and not args.work.is_dir():
        raise IndexFolderError("there is no such folder", args.work, "Make it first")
    with (
        tempfile.TemporaryDirectory(prefix="nadir-measure-", dir=args.work) as folder,
        Progress() as report,
    ):
        rows, close = _synthetic(args) if args.index is None else _of_index(args)
        try:
            results = measure(Path(folder), rows, args.layouts, report)
        finally:
            close()
    if args.json:
        values = {
            "vectors": rows.count,
            "dimension": rows.dimension,
            "layouts": [asdict(result) for result in results],
        }
        print_json(json.dumps(values, indent=2) + "\n")
    else:
        print(table(rows, results))
    return 0


def table(rows: Rows, results: list[Measured]) -> str:
    """The figures for people: a line for every layout and kind of query."""
    head = f"{rows.count:,} descriptors of {rows.dimension:,} numbers; recall against exact search"
    lines = [
        head,
        f"{'layout':<37} {'queries':<8} {'R@1':>6} {'R@5':>6} {'R@10':>6} {'R@20':>6} {'one':>9} {'batch':>9} "
        f"{'own MB':>7} {'mapped':>7} {'disk MB':>8} {'open':>7} {'write':>8}",
    ]
    for result in results:
        named = f"{result.layout}: {result.factory}"
        for kind, found in result.found.items():
            recalls = " ".join(f"{found.recall.get(k, float('nan')):6.3f}" for k in (1, 5, 10, 20))
            lines.append(
                f"{named:<37} {kind:<8} {recalls} {found.one_ms:6.2f} ms {found.batch_ms:6.2f} ms "
                f"{_megabytes(result.anonymous):>7} {_megabytes(result.mapped):>7} {result.disk / 1e6:8.1f} "
                f"{result.open_s:5.2f} s {result.write_s:6.1f} s"
            )
    lines.append(
        "one: a query alone; batch: a query among 100; own: memory that is no file's; warm"
    )
    return "\n".join(lines)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _synthetic(args: argparse.Namespace):
    from engine.index.measure import Rows
    from engine.index.synthetic import synthetic

    made = synthetic(args.synthetic, args.dimension, args.seed)
    queries = {
        "tiles": made.tiles(args.queries)[0],
        "photos": made.photos(args.queries)[0],
        "sector": made.photos(args.queries, seen=0.25)[0],
    }
    return Rows(made.count, made.dimension, made.parts, queries), lambda: None


def _of_index(args: argparse.Namespace):
    """An index's own descriptors; queries are some of them with noise."""
    from engine.index import Index
    from engine.index.measure import Rows
    from engine.index.synthetic import PHOTO_COSINE

    index = Index.open(args.index)
    count, dimension = index.manifest.count, index.manifest.dimension

    def parts():
        for first in range(0, count, 1 << 16):
            yield index.vectors(np.arange(first, min(first + (1 << 16), count)))

    rng = np.random.default_rng(args.seed)
    some = index.vectors(rng.integers(0, count, args.queries))
    noise = rng.standard_normal(some.shape) / np.sqrt(dimension)
    queries = {
        kind: (cosine * some + np.sqrt(1 - cosine**2) * noise).astype(np.float32)
        for kind, cosine in (("tiles", 0.8), ("photos", PHOTO_COSINE))
    }
    return Rows(count, dimension, parts, queries), index.close
