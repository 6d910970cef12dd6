"""All that may be asked of an index, in a process with little memory that notices what it touches.

Reads a path a line and answers a line of JSON: ``refused`` (a NadirError in words), ``answered`` (well-formed answers),
or ``fault`` with what was wrong. A crash, a hang and a killed process are seen by who started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import NadirError
from engine.index import Index, area_from_geojson, verify_index
from engine.index.filters import Filter
from engine.index.shards import merge_shards
from tests.engine.index.places import DIMENSION, LAT, LON

ROOM_BYTES = 600 << 20
SECONDS = 40  # on a busy machine nothing takes so long but what does not end
_READ_ONLY_MASK = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_IN_OPEN, _IN_ISDIR = 0x20, 0x40000000


class Watch:
    """Files that are opened elsewhere than allowed, or to be written, as Python's audit hooks report them."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        paths = sysconfig.get_paths()
        self._free = (
            *{paths[name] for name in ("stdlib", "purelib", "platlib")},
            *(str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix)),
            *(str(Path(__file__).resolve().parents[2] / name) for name in ("engine", "tests")),
            *("/proc/", "/sys/", "/etc/", "/usr/", "/dev/null", "/dev/urandom"),
        )
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int):
                return
            name = os.path.abspath(os.fsdecode(path))
            writes = (isinstance(flags, int) and bool(flags & _READ_ONLY_MASK)) or (
                isinstance(mode, str) and any(c in mode for c in "wax+")
            )
            # An index that holds no imagery looks for the original beside itself.
            inside = (name + os.sep).startswith(self.folder + os.sep)
            inside |= not writes and os.path.dirname(name) == os.path.dirname(self.folder)
            merges = os.path.isdir(os.path.join(self.folder, "1.index"))  # writes inside, too
            if (writes and not (inside and merges)) or not (inside or name.startswith(self._free)):
                self.seen.append(f"{event} {name} {mode or ''}")
        elif os.path.isdir(os.path.join(self.folder, "1.index")):
            return
        elif event in (
            "os.remove",
            "os.truncate",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.symlink",
            "os.link",
        ):
            self.seen.append(f"{event} {args[:2]}")
        elif event in (
            "subprocess.Popen",
            "os.system",
            "os.exec",
            "socket.connect",
            "pickle.find_class",
        ):
            self.seen.append(f"{event} {args[:1]}")


class Neighbours:
    """Whether anything, C libraries too, opens a file in a folder; False everywhere but on Linux."""

    def __init__(self, folder: Path) -> None:
        self._handle = -1
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            self._handle = libc.inotify_init1(os.O_NONBLOCK)
            libc.inotify_add_watch(self._handle, os.fsencode(folder), _IN_OPEN)

    def touched(self) -> bool:
        if self._handle < 0:
            return False
        try:
            data = os.read(self._handle, 65536)
        except BlockingIOError:
            return False
        at, files = 0, 0
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            files += not mask & _IN_ISDIR
            at += 16 + length
        return files > 0


def ask(path: Path) -> str:
    """Open an index and use it in every way; "answered" or "refused: WORDS".

    Raises:
        AssertionError: an answer is not well-formed.
    """
    refused: list[str] = []

    def attempt(step: Any) -> None:
        try:
            step()
        except NadirError as error:
            words = str(error)
            assert words.strip() and len(words) < 1000 and "\n" not in words, words[:2000]
            refused.append(words)

    if (path / "1.index").is_dir():
        return _merge(path)
    problems = verify_index(path)
    assert all(len(str(problem)) < 1000 for problem in problems), problems
    try:
        index = Index.open(path)
    except NadirError as error:
        assert str(error).strip() and len(str(error)) < 1000, str(error)[:2000]
        assert problems, f"verify finds nothing wrong, but: {error}"
        return f"refused: {error}"
    with index:
        for step in (_searches, _places, _filters, _pictures):
            attempt(lambda step=step: step(index))
    if refused:
        return f"refused: {refused[0]}"
    return "answered with problems" if problems else "answered"


def _merge(both: Path) -> str:
    """Put shares together; the index that comes of it is one like any other."""
    out = both / "out.index"
    try:
        merge_shards(out, [both / "1.index", both / "2.index"]).close()
    except NadirError as error:
        assert str(error).strip() and len(str(error)) < 1000, str(error)[:2000]
        return f"refused: {error}"
    return ask(out)


def _queries(index: Index) -> np.ndarray:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((5, index.manifest.dimension)).astype(np.float32)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def _check_found(index: Index, scores: np.ndarray, ids: np.ndarray, rows: int) -> None:
    count = index.manifest.count
    assert scores.shape == ids.shape and scores.shape[0] == rows
    assert ((ids >= -1) & (ids < count)).all(), "ids of no tile"
    good = ids >= 0
    assert np.isfinite(scores[good]).all(), "scores that are no numbers"
    for row in range(rows):
        own = scores[row][good[row]]
        assert (np.diff(own) <= 0).all(), "not best first"
        assert len(set(ids[row][good[row]].tolist())) == good[row].sum(), "a tile twice"


def _searches(index: Index) -> None:
    queries = _queries(index)
    for some, k in ((queries, 10), (queries[:1], 3), (np.zeros_like(queries[:1]), 4)):
        _check_found(index, *index.search(some, k), len(some))
    ids = np.array([0, index.manifest.count - 1])
    vectors = index.vectors(ids)
    assert vectors.shape == (2, index.manifest.dimension) and np.isfinite(vectors).all()


def _places(index: Index) -> None:
    last = min(index.manifest.count, 40)
    tiles = index.tiles(np.arange(last))
    assert [tile.id for tile in tiles] == list(range(last))
    lats, lons = index.centres
    assert len(lats) == len(lons) == index.manifest.count
    assert all(0 <= i < index.manifest.count for i in index.near(LAT, LON, 50.0))
    index.around(lats[:3], lons[:3], 10.0)
    lats, lons = index.positions(np.array([0, index.manifest.count - 1]))
    assert (np.abs(lats) <= 90).all() and (np.abs(lons) <= 180).all()


def _filters(index: Index) -> None:
    ring = [[LON - 0.001, LAT - 0.001], [LON + 0.001, LAT - 0.001], [LON, LAT + 0.001]]
    area = area_from_geojson({"type": "Polygon", "coordinates": [[*ring, ring[0]]]})
    queries = _queries(index)
    for filter in (
        Filter(area=area),
        Filter(near=(LAT, LON, 30.0)),
        Filter(extents_m=(20.0, 40.0)),
        Filter(sources=("place",)),
    ):
        allowed = index.select(filter)
        scores, ids = index.search(queries, 10, allowed)
        _check_found(index, scores, ids, len(queries))
        assert allowed.contains(ids[ids >= 0]).all(), "a tile that may not answer"


def _pictures(index: Index) -> None:
    for tile_id in (0, index.manifest.count - 1):
        picture = index.crop(tile_id, 16)
        assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8


def _limit_memory() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, used + ROOM_BYTES))


def _late(*_: object) -> None:
    raise TimeoutError(f"it took more than {SECONDS} s")


def main(sample: Path, outside: Path) -> None:
    """Warm up with a valid index, then answer for every path on standard input."""
    assert ask(sample) == "answered", ask(sample)
    watch, neighbours = Watch(), Neighbours(outside)
    _limit_memory()
    signal.signal(signal.SIGALRM, _late)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        watch.folder, watch.seen = os.path.abspath(path), []
        signal.alarm(SECONDS)
        try:
            outcome = ask(path)
        except BaseException:
            outcome = "fault: " + traceback.format_exc(limit=-8)
        signal.alarm(0)
        watch.folder = None
        if watch.seen:
            outcome = f"fault: it touched {watch.seen[:5]}"
        if neighbours.touched():
            outcome = "fault: it opened a file beside the index"
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    assert DIMENSION and tempfile.gettempdir()  # imported before memory is short
    main(Path(sys.argv[1]), Path(sys.argv[2]))
