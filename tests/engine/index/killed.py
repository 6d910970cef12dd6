"""Run as a process of its own: build an index while being killed, again and again.

``python -m tests.engine.index.killed IMAGERY OUT TIMES`` prints how often a build was really cut off, and in how many
different states of its folder. Kills come at random moments of a build, the sealing included, and of a merge of shares.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import IndexFolderError
from engine.imagery import open_imagery
from engine.imagery.raster import RasterSource
from engine.index import (
    Index,
    Shard,
    build_index,
    build_shard,
    job,
    merge_shards,
    parts,
    verify_index,
)
from engine.index.job import Settings
from tests.engine.index.places import DIMENSION, PIXELS, ProjectionEncoder


def _build(path: Path, out: Path) -> None:
    with open_imagery(path) as source:
        build_index(out, source, ProjectionEncoder()).close()


def _in_shares(path: Path, out: Path) -> None:
    """Two shares, begun or gone on with, and their merge."""
    shares = [out.with_name(f"{number}.share") for number in (1, 2)]
    if not (out / "manifest.json").exists():
        for number, share in enumerate(shares, 1):
            with open_imagery(path) as source:
                build_shard(share, source, ProjectionEncoder(), Shard(number, 2), Settings())
        merge_shards(out, shares).close()


def _forked(work: Callable[[Path, Path], None], path: Path, out: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            work(path, out)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def _ended(child: int) -> None:
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit("a build failed on its own")


def _state(out: Path) -> tuple[str, ...]:
    """Which files there are: what tells one moment of a build from another."""
    return tuple(sorted(str(p.relative_to(out)) for p in out.rglob("*"))) if out.exists() else ()


def main() -> None:
    path, out, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    job._CHUNK_BYTES = 32 * 3 * PIXELS * PIXELS
    parts._SEGMENT_BYTES = 3 * 32 * 2 * DIMENSION
    RasterSource(path).close()  # what is loaded once is loaded before the forks
    import faiss  # noqa: F401  # pyright: ignore[reportUnusedImport]

    works = (_build, _in_shares)
    begin = time.perf_counter()
    _ended(_forked(_build, path, out))
    whole = time.perf_counter() - begin
    shutil.rmtree(out)
    moments = random.Random(1)
    cut_off = 0
    states: set[tuple[str, ...]] = set()
    work = _build
    while cut_off < times:
        child = _forked(work, path, out)
        # Mostly early, so that a build is cut off many times before it is whole.
        time.sleep(moments.uniform(0.0, 1.1) ** 2 * whole)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.waitstatus_to_exitcode(status) != 0:
                sys.exit("a build failed on its own")
            if verify_index(out):
                sys.exit("a whole index is not whole")
            for folder in (out, *out.parent.glob("*.share")):
                shutil.rmtree(folder, ignore_errors=True)
            work = moments.choice(works)
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut_off += 1
        states.add(_state(out))
        try:
            Index.open(out).close()
        except IndexFolderError:
            continue
        if not (out / "manifest.json").exists():
            sys.exit("half an index was opened")
    _ended(_forked(work, path, out))
    print(cut_off, len(states))


if __name__ == "__main__":
    main()
