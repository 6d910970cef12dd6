"""Run as a process of its own: build an index while being killed, again and again.

``python -m tests.engine.index.killed IMAGERY OUT TIMES`` prints how often a build was really cut off.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from engine.errors import IndexFolderError
from engine.imagery import open_imagery
from engine.imagery.raster import RasterSource
from engine.index import Index, build_index, job
from tests.engine.index.places import PIXELS, ProjectionEncoder


def _build_and_leave(path: Path, out: Path) -> None:
    with open_imagery(path) as source:
        build_index(out, source, ProjectionEncoder()).close()
    os._exit(0)


def main() -> None:
    path, out, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    job._CHUNK_BYTES = 32 * 3 * PIXELS * PIXELS
    RasterSource(path).close()  # what is loaded once is loaded before the forks
    import faiss  # noqa: F401  # pyright: ignore[reportUnusedImport]

    moments = random.Random(1)
    cut_off = 0
    longest = 0.6
    for _ in range(times):
        child = os.fork()
        if child == 0:
            try:
                _build_and_leave(path, out)
            finally:
                os._exit(1)
        time.sleep(moments.uniform(0.0, longest))
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.waitstatus_to_exitcode(status) != 0:
                sys.exit("a build failed on its own")
            longest *= 0.8  # this machine is fast: kill earlier
            if moments.random() < 0.7:
                import shutil

                shutil.rmtree(out)
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut_off += 1
        try:
            Index.open(out).close()
        except IndexFolderError:
            continue
        if not (out / "manifest.json").exists():
            sys.exit("half an index was opened")
    child = os.fork()
    if child == 0:
        try:
            _build_and_leave(path, out)
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit("the last build failed")
    print(cut_off)


if __name__ == "__main__":
    main()
