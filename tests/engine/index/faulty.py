"""Run as a process of its own, with ``tests/faulty_disk.c`` before the C library: a disk that fails at every write.

``python -m tests.engine.index.faulty WHAT FOLDER ERROR...`` does WHAT (``build`` or ``add``) again and again; the first
time the first call that changes something in its folder fails, then the second, until none is left to fail. After each
the disk is well again and the same is asked for again. Prints, for each error, how many calls failed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.errors import ImageryError, IndexFolderError
from engine.imagery import open_imagery
from engine.imagery.raster import RasterSource
from engine.index import Index, add_to_index, build_index, job, parts, verify_index
from tests.engine.index.places import DIMENSION, PIXELS, ProjectionEncoder, contents

STRIDE = 40.0


def build(folder: Path, out: Path) -> None:
    with open_imagery(folder / "place.tif") as source:
        build_index(out, source, ProjectionEncoder(), stride_m=STRIDE, workers=1).close()


def add(folder: Path, out: Path) -> None:
    with open_imagery(folder / "more.tif") as source:
        add_to_index(out, source, ProjectionEncoder(), workers=1)


def prepared_build(folder: Path, out: Path) -> None:
    """Nothing is there when a build begins."""


def prepared_add(folder: Path, out: Path) -> None:
    shutil.copytree(folder / "begun.index", out)


WORK: dict[str, tuple[Callable[[Path, Path], None], Callable[[Path, Path], None]]] = {
    "build": (prepared_build, build),
    "add": (prepared_add, add),
}


def attempt(what: str, folder: Path, at: int, error: int, once: bool, expected: dict) -> int:
    """One run on a disk that fails at the ``at``-th call; gives how many calls were refused."""
    disk = ctypes.CDLL(None)
    prepare, work = WORK[what]
    out = folder / "disk" / "a.index"
    shutil.rmtree(folder / "disk", ignore_errors=True)
    (folder / "disk").mkdir()
    prepare(folder, out)
    before = None
    if what == "add":
        with Index.open(out) as index:
            before = index.hash
    disk.nadir_fault_arm(os.fsencode(folder / "disk"), at, error, int(once))
    try:
        work(folder, out)
        told = True
    except (IndexFolderError, ImageryError) as problem:
        told = False
        message = str(problem)
        if error == errno.ENOSPC and "disk is full" not in message:
            raise AssertionError(f"a full disk was told as: {message}") from problem
    refused = disk.nadir_fault_refused()
    disk.nadir_fault_arm(b"", 0, 0, 0)
    if before is not None:  # the old index or the new one, and it works
        with Index.open(out) as index:
            left = [p for p in verify_index(out) if "does not belong" not in p.problem]
            assert left == []
            assert told <= (index.hash != before)
            index.search(np.ones((1, DIMENSION), np.float32), 3)
            index.crop(0, 16)
    elif not told:
        try:
            Index.open(out).close()
        except IndexFolderError:
            pass
        else:
            assert contents(out).items() >= expected.items(), "half an index was opened"
    work(folder, out)
    found = contents(out)
    assert found == expected, sorted(found.keys() ^ expected.keys())
    return refused


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    # Five chunks in three files of parts.
    job._CHUNK_BYTES = 8 * 3 * PIXELS * PIXELS
    parts._SEGMENT_BYTES = 2 * 8 * 2 * DIMENSION
    RasterSource(folder / "place.tif").close()
    if what == "add":
        build(folder, folder / "begun.index")
    done = folder / "whole" / "a.index"
    done.parent.mkdir()
    WORK[what][0](folder, done)
    WORK[what][1](folder, done)
    expected = contents(done)
    for name in sys.argv[3:]:
        code = getattr(errno, name.rstrip("!"))
        failed = 0
        for at in range(1, 5000):
            try:
                refused = attempt(what, folder, at, code, name.endswith("!"), expected)
            except BaseException:
                traceback.print_exc()
                sys.exit(f"{what}: {name} at call {at}")
            if not refused:
                break
            failed += 1
        print(name, failed, flush=True)


if __name__ == "__main__":
    main()
