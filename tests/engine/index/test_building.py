"""Builds that are stopped: by the user, by a full disk, by a kill. All go on, and end in the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import Cancelled, EncoderError, ImageryError, IndexFolderError
from engine.geo import Bounds
from engine.imagery import open_imagery
from engine.index import Index, build_index, job, parts, verify_index
from engine.index.encoding import BuildProgress
from engine.index.grid import Grid
from engine.index.rows import Block
from engine.index.runs import Runs
from engine.index.tile_writer import write_tiles
from tests.engine.index.places import (
    DIMENSION,
    LAT,
    LON,
    PIXELS,
    ProjectionEncoder,
    contents,
    write_place,
)
from tests.full_disk import full_disk

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some chunks in some files instead of one, so that there is something to be interrupted between."""
    monkeypatch.setattr(parts, "_SEGMENT_BYTES", 3 * 32 * 2 * DIMENSION)
    monkeypatch.setattr(job, "_CHUNK_BYTES", 32 * 3 * PIXELS * PIXELS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The imagery, and what an index of it holds that was built in one go."""
    folder = tmp_path_factory.mktemp("finished")
    path = write_place(folder / "place.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_CHUNK_BYTES", 32 * 3 * PIXELS * PIXELS)
        with open_imagery(path) as source:
            build_index(folder / "a.index", source, ProjectionEncoder()).close()
    return path, contents(folder / "a.index")


def _build(path: Path, out: Path, **more) -> Index:
    with open_imagery(path) as source:
        return build_index(out, source, ProjectionEncoder(), **more)


def _same(out: Path, expected: dict[str, bytes]) -> bool:
    found = contents(out)
    return found.keys() == expected.keys() and all(
        # The name of the folder is the name of the index.
        found[name].replace(f'"name": "{out.stem}"'.encode(), b'"name": "a"') == expected[name]
        for name in found
    )


def test_progress_only_grows_and_ends_full(finished, tmp_path: Path) -> None:
    shares: list[float] = []
    texts: list[str] = []

    def report(done: int, total: int, text: str) -> None:
        shares.append(done / total)
        texts.append(text)

    _build(finished[0], tmp_path / "a.index", report=report).close()
    assert shares == sorted(shares)
    assert shares[-1] > 0.95
    assert any(text.startswith("Encoding tiles: 441 of 441") for text in texts)
    assert len(shares) > 20


def test_cancelled_again_and_again_it_ends_in_the_same_bytes(finished, tmp_path: Path) -> None:
    path, expected = finished
    out = tmp_path / "b.index"
    for stop_after in (1, 3, 8, 9, 13, 20, 40):
        calls = 0

        def report(done: int, total: int, text: str, limit: int = stop_after) -> None:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Cancelled

        try:
            _build(path, out, report=report).close()
            break
        except Cancelled:
            with pytest.raises(IndexFolderError, match=r"not finished. Continue with: .*--resume"):
                Index.open(out)
    else:
        _build(path, out).close()
    assert _same(out, expected)
    assert verify_index(out) == []


@pytest.mark.timeout(400)
def test_killed_a_hundred_times_it_ends_in_the_same_bytes(finished, tmp_path: Path) -> None:
    """A process is killed with SIGKILL a hundred times while it builds, at random moments, then left alone."""
    if not hasattr(os, "fork"):
        pytest.skip("this test kills forks of a process")
    path, expected = finished
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.engine.index.killed",
            str(path),
            str(tmp_path / "k.index"),
            "100",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed, states = map(int, done.stdout.split())
    assert killed == 100
    assert states >= 8  # at different moments
    assert _same(tmp_path / "k.index", expected)


@pytest.mark.parametrize("stage", ["vectors.f16", "tiles.gpkg", "manifest.json"])
def test_interrupted_while_the_files_move_up(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path, expected = finished
    out = tmp_path / "m.index"
    replace = os.replace

    def stop(source, target) -> None:
        if Path(target) == out / stage:
            raise Cancelled
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Cancelled):
        _build(path, out)
    monkeypatch.undo()
    with pytest.raises(IndexFolderError, match="not finished"):
        Index.open(out)
    monkeypatch.setattr(job, "_CHUNK_BYTES", 32 * 3 * PIXELS * PIXELS)
    _build(path, out).close()
    assert _same(out, expected)


def test_asked_again_a_finished_index_is_opened_not_built(finished, tmp_path: Path) -> None:
    path, expected = finished
    out = tmp_path / "a.index"
    _build(path, out).close()
    reports: list[str] = []
    _build(path, out, report=lambda done, total, text: reports.append(text)).close()
    assert reports == []
    assert contents(out) == expected
    for other in ({"stride_m": 16.0}, {"resume": False}):
        with pytest.raises(IndexFolderError, match="there is an index here already"):
            _build(path, out, **other)
    assert contents(out) == expected


def test_only_the_same_build_goes_on(finished, tmp_path: Path) -> None:
    path, expected = finished
    out = tmp_path / "c.index"

    def stop(done: int, total: int, text: str) -> None:
        if done > 300:
            raise Cancelled

    with pytest.raises(Cancelled):
        _build(path, out, report=stop)
    before = contents(out)
    for other, message in (
        ({"stride_m": 9.0}, r"another stride \(8, not 9\)"),
        ({"extent_m": 30.0}, r"another tile extent \(40, not 30\)"),
        ({"embed_imagery": False}, r"hold a copy of the imagery \(with, not without\)"),
        ({"minimum_valid": 0.5}, "least share of imagery"),
        ({"attribution": "me"}, r"another attribution \(Test survey, not me\)"),
        ({"resume": False}, r"not finished. Continue with: nadir index build .* --resume"),
    ):
        with pytest.raises(IndexFolderError, match=message):
            _build(path, out, **other)
    with (
        open_imagery(path) as source,
        pytest.raises(IndexFolderError, match=r"another encoder \(projections, not others\)"),
    ):
        build_index(out, source, ProjectionEncoder("others"))
    another = write_place(tmp_path / "other.tif", seed=3)
    with pytest.raises(IndexFolderError, match=r"another imagery \(place, not other\)"):
        _build(another, out)
    assert contents(out) == before
    _build(path, out).close()
    assert _same(out, expected)


def _turn_a_bit(at: int):
    def damage(piece: bytearray) -> None:
        piece[at] ^= 4

    return damage


DAMAGE = {
    "cut off in a head": lambda piece: piece.__delitem__(slice(10, None)),
    "cut off in a record": lambda piece: piece.__delitem__(slice(-100, None)),
    "empty": lambda piece: piece.clear(),
    "a head's bit": _turn_a_bit(9),
    "a row's bit": _turn_a_bit(40),
    "a bit in the last record": _turn_a_bit(-40),
    "more than was written": lambda piece: piece.extend(bytes(1000)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_piece_is_made_again(finished, tmp_path: Path, damage) -> None:
    path, expected = finished
    out = tmp_path / "d.index"

    def stop(done: int, total: int, text: str) -> None:
        if done > 800:
            raise Cancelled

    with pytest.raises(Cancelled):
        _build(path, out, report=stop)
    piece = sorted((out / "building" / "parts").glob("*.part"))[1]
    spoilt = bytearray(piece.read_bytes())
    damage(spoilt)
    piece.write_bytes(spoilt)
    (out / "building" / ".nadir-1-1.part").write_bytes(b"left by a kill")
    _build(path, out).close()
    assert _same(out, expected)


def test_two_builds_in_one_folder(finished, tmp_path: Path) -> None:
    path, _ = finished
    out = tmp_path / "e.index"
    seen: list[str] = []

    def report(done: int, total: int, text: str) -> None:
        if not seen:
            try:
                _build(path, out)
            except IndexFolderError as error:
                seen.append(str(error))

    _build(path, out, report=report).close()
    assert seen == ["e.index: another build is at work in this folder. Wait for it."]


@pytest.mark.parametrize("kilobytes", [10, 40, 64, 100, 120, 156, 176, 220])
def test_a_full_disk_loses_nothing(finished, kilobytes: int) -> None:
    """The disk fills up at different moments of the build; with room made, it goes on to the same bytes."""
    path, expected = finished
    with full_disk(megabytes=1) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((1024 - kilobytes) * 1024))
        out = disk / "a.index"
        with pytest.raises(IndexFolderError, match=r"a\.index: the disk is full.*--resume"):
            _build(path, out)
        with pytest.raises(IndexFolderError):
            Index.open(out)
        ballast.unlink()
        _build(path, out).close()
        assert contents(out) == expected


def test_a_folder_that_cannot_be_written(finished) -> None:
    with (
        full_disk(megabytes=1, read_only=True) as disk,
        pytest.raises(IndexFolderError, match=r"a\.index: .*cannot be written.*permissions"),
    ):
        _build(finished[0], disk / "a.index")


def test_a_disk_that_fills_up_while_the_imagery_is_written(realdata: Path) -> None:
    name = "rotterdam_4band_float64_1m.tif"
    with (
        full_disk(megabytes=0.03) as disk,
        open_imagery(realdata / "geotiff" / name) as source,
        pytest.raises(IndexFolderError, match=r"a\.index: the disk is full.*--resume"),
    ):
        build_index(disk / "a.index", source, ProjectionEncoder())


def test_folders_in_the_way(finished, tmp_path: Path) -> None:
    file = tmp_path / "file.index"
    file.write_text("mine")
    with pytest.raises(IndexFolderError, match="in the way"):
        _build(finished[0], file)
    other = tmp_path / "other.index"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(IndexFolderError, match="holds other things"):
        _build(finished[0], other)
    assert contents(other) == {"letter.txt": b"mine"}
    with pytest.raises(IndexFolderError, match="cannot be written"):
        _build(finished[0], file / "a.index")


class _Wrong(ProjectionEncoder):
    def __init__(self, change) -> None:
        super().__init__("wrong")
        self._change = change

    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        return self._change(super().encode_tiles(tiles))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:, :-1], "its card says 48"),
        (lambda v: v[:-1], "its card says 48"),
        (lambda v: v * 3, "not of length 1"),
        (lambda v: v * np.nan, "not of length 1"),
    ],
)
def test_encoders_that_give_no_descriptors(finished, tmp_path: Path, change, message: str) -> None:
    with (
        open_imagery(finished[0]) as source,
        pytest.raises(EncoderError, match=f"the encoder wrong gave .*{message}"),
    ):
        build_index(tmp_path / "a.index", source, _Wrong(change))


def test_imagery_that_breaks_off_in_the_middle(finished, tmp_path: Path) -> None:
    whole = finished[0].read_bytes()
    path = tmp_path / "place.tif"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ImageryError, match=r"\.tif: "):
        _build(path, tmp_path / "a.index")


def test_a_place_with_other_letters(finished, tmp_path: Path) -> None:
    folder = tmp_path / "Städte und 街 #1?%20"
    folder.mkdir()
    path = Path(shutil.copy(finished[0], folder / "Übersicht.tif"))
    with _build(path, folder / "Größe.index") as index:
        assert index.manifest.name == "Größe"
        assert index.tiles([0])[0].source == "Übersicht"
        assert len(index.near(LAT, LON, 5.0)) == 1
    assert verify_index(folder / "Größe.index") == []


class _Slow:
    """Imagery that takes its time."""

    def __init__(self, source, seconds: float) -> None:
        self._source, self._seconds = source, seconds

    def __getattr__(self, name: str):
        return getattr(self._source, name)

    def cut_many(self, *args, **options):
        time.sleep(self._seconds)
        return self._source.cut_many(*args, **options)


class _SlowEncoder(ProjectionEncoder):
    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        time.sleep(0.02)
        return super().encode_tiles(tiles)


def test_how_long_the_encoder_waited_is_told(finished, tmp_path: Path) -> None:
    path, expected = finished
    told: list[BuildProgress] = []
    with open_imagery(path) as source:
        build_index(
            tmp_path / "a.index", source, _SlowEncoder(), embed_imagery=False, watch=told.append
        ).close()
        assert told[-1].done == told[-1].total == 441
        assert told[-1].waiting < 0.5
        slow: Any = _Slow(source, 0.1)
        build_index(
            tmp_path / "b.index",
            slow,
            ProjectionEncoder(),
            embed_imagery=False,
            workers=2,
            watch=told.append,
        ).close()
    assert told[-1].waiting > 0.7
    # However many threads cut, the bytes are the same.
    for workers in (1, 5):
        _build(path, tmp_path / f"{workers}" / "a.index", workers=workers).close()
        assert contents(tmp_path / f"{workers}" / "a.index") == expected


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """The places of 60,000 rows (30 MB in the table) are written and looked up with a few megabytes."""
    count = 60_000
    grid = Grid(Bounds(45.0, 5.0, 46.0, 6.0), 100.0)

    def blocks() -> Iterator[Block]:
        for first in range(0, count, 1000):
            lats, lons = grid.centres(first, first + 1000)
            yield Block(lats, lons, np.full(1000, 70, np.float32), np.zeros(1000, np.uint16))

    with open(tmp_path / "centres.f64", "wb") as file:
        tracemalloc.start()
        for block in blocks():
            file.write(np.stack([block.lats, block.lons], axis=1).tobytes())
        write_tiles(tmp_path / "tiles.gpkg", blocks(), ["a"])
    runs = Runs(np.memmap(tmp_path / "centres.f64", "<f8", "r", shape=(count, 2)))
    lats, lons = grid.centres(count // 2, count // 2 + 1)
    rows = runs.rows(float(lats[0]), float(lons[0]), 0.005, 0.005)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count // 2 in rows
    assert len(rows) < 5000
    assert peak < 6e6
