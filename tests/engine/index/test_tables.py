"""The two tables of an index on their own: where tiles lie, and their vectors."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest

from engine import geo
from engine.errors import IndexFolderError
from engine.index.filters import Allowed
from engine.index.rows import Block
from engine.index.tile_writer import write_tiles
from engine.index.tiles import TileTable
from engine.index.vectors import Sq8Store, file_size, open_vectors, search, write_vectors

RNG = np.random.default_rng(5)


def _places(lat: float, lon: float, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    frame = geo.LocalFrame(lat, lon)
    return frame.to_wgs84(RNG.uniform(-300, 300, count), RNG.uniform(-300, 300, count))


def _write(path: Path, lats: np.ndarray, lons: np.ndarray, extent_m: float, source: str) -> None:
    """A table of tiles of one extent and source, in blocks of 150."""
    blocks = (
        Block(
            lats[part],
            lons[part],
            np.full(len(lats[part]), extent_m, np.float32),
            np.zeros(len(lats[part]), np.uint16),
        )
        for part in (slice(first, first + 150) for first in range(0, len(lats), 150))
    )
    write_tiles(path, blocks, [source])


@pytest.mark.parametrize(("lat", "lon"), [(-48.87, -123.39), (0.0, 180.0), (70.0, -179.9995)])
def test_near_agrees_with_measuring_every_tile(tmp_path: Path, lat: float, lon: float) -> None:
    lats, lons = _places(lat, lon)
    _write(tmp_path / "tiles.gpkg", lats, lons, 70.0, "town")
    table = TileTable(tmp_path / "tiles.gpkg", len(lats))
    for at_lat, at_lon in [(lat, lon), (lats[3], lons[3]), (lat, float(geo.wrap_longitude(lon)))]:
        for radius in (0.01, 20.0, 90.0, 2000.0):
            distance = geo.distance_m(at_lat, at_lon, lats, lons)
            expected = np.flatnonzero(distance <= radius)
            found = table.near(at_lat, at_lon, radius)
            assert sorted(found) == sorted(expected)
            assert (np.diff(distance[found]) >= 0).all()
    assert len(table.near(-lat + 5, lon, 1000.0)) == 0
    table.close()


def test_tiles_come_in_the_order_asked_for(tmp_path: Path) -> None:
    lats, lons = _places(48.0, 9.0, 1500)
    _write(tmp_path / "tiles.gpkg", lats, lons, 70.0, "Größe 東京")
    table = TileTable(tmp_path / "tiles.gpkg", 1500)
    ids = RNG.permutation(1500)[:1100]
    tiles = table.tiles(ids)
    assert [tile.id for tile in tiles] == ids.tolist()
    assert [tile.lat for tile in tiles] == lats[ids].tolist()
    assert {tile.source for tile in tiles} == {"Größe 東京"}
    assert {tile.extent_m for tile in tiles} == {70.0}
    assert tiles[0].bounds.contains(tiles[0].lat, tiles[0].lon)
    assert table.tiles([]) == []
    for wrong in (-1, 1500):
        with pytest.raises(IndexError):
            table.tiles([wrong])
    assert (table.centres()[1] == lons).all()
    assert table.problem() == ""
    table.close()


def test_the_same_tiles_give_the_same_bytes(tmp_path: Path) -> None:
    lats, lons = _places(48.0, 9.0)
    for name in ("a", "b"):
        _write(tmp_path / name, lats, lons, 70.0, "town")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_table_is_a_geopackage(tmp_path: Path) -> None:
    lats, lons = np.array([48.0, 48.001]), np.array([9.0, 9.002])
    path = tmp_path / "tiles.gpkg"
    _write(path, lats, lons, 70.0, "town")
    with sqlite3.connect(path) as table:
        assert table.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
        box = table.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents").fetchone()
        blob = table.execute("SELECT geom FROM tiles WHERE id = 1").fetchone()[0]
    south, west = geo.LocalFrame(48.0, 9.0).to_wgs84(-35, -35)
    north, east = geo.LocalFrame(48.001, 9.002).to_wgs84(35, 35)
    assert box == pytest.approx((west, south, east, north), abs=1e-9)
    magic, version, flags, srs = struct.unpack_from("<2sBBi", blob)
    assert (magic, version, flags, srs) == (b"GP", 0, 1, 4326)
    order, kind, rings, points = struct.unpack_from("<BIII", blob, 8)
    assert (order, kind, rings, points) == (1, 3, 1, 5)
    ring = np.frombuffer(blob, "<f8", 10, 21).reshape(5, 2)
    assert (ring[0] == ring[4]).all()
    assert ring.max(axis=0) == pytest.approx((east, north), abs=1e-9)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE tiles",
        "DROP TABLE rtree_tiles_geom",
        "DELETE FROM tiles WHERE id > 100",
        "DELETE FROM tiles WHERE id = 0",
        "DROP TABLE tiles; CREATE VIEW tiles AS SELECT 1 AS id, 2.0 AS lat, 3.0 AS lon",
        "ALTER TABLE tiles RENAME TO others",
    ],
)
def test_tables_that_are_not_what_they_should_be(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "tiles.gpkg"
    _write(path, *_places(48.0, 9.0), 70.0, "town")
    with sqlite3.connect(path) as table:
        table.executescript(statement)
    with pytest.raises(IndexFolderError, match=r"tiles\.gpkg cannot be used"):
        TileTable(path, 400)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tiles SET lat = 'north' WHERE id = 7",
        "UPDATE tiles SET lat = 9e999 WHERE id = 7",
        "UPDATE tiles SET lon = 4000 WHERE id = 7",
        "UPDATE tiles SET lon = x'00ff' WHERE id = 7",
        "DELETE FROM tiles WHERE id = 7",
    ],
)
def test_rows_that_are_not_what_they_should_be(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "tiles.gpkg"
    _write(path, *_places(48.0, 9.0), 70.0, "town")
    with sqlite3.connect(path) as table:
        table.executescript(statement)
    opened = TileTable(path, 400)
    for use in (opened.centres, lambda: opened.tiles([7])):
        with pytest.raises(IndexFolderError, match=r"tiles\.gpkg"):
            use()
    opened.close()


def test_damaged_pages_never_crash(tmp_path: Path) -> None:
    good = tmp_path / "tiles.gpkg"
    lats, lons = _places(48.0, 9.0)
    _write(good, lats, lons, 70.0, "town")
    whole = bytearray(good.read_bytes())
    bad = tmp_path / "bad" / "tiles.gpkg"
    bad.parent.mkdir()
    for _ in range(60):
        damaged = bytearray(whole)
        for at in RNG.integers(0, len(whole), 40):
            damaged[at] = RNG.integers(0, 256)
        bad.write_bytes(damaged[: RNG.integers(100, len(whole))] if RNG.random() < 0.3 else damaged)
        try:
            table = TileTable(bad, 400)
        except IndexFolderError:
            continue
        for use in (
            lambda t=table: t.near(48.0, 9.0, 50.0),
            lambda t=table: t.tiles([0, 5, 399]),
            table.centres,
            table.problem,
        ):
            with contextlib.suppress(IndexFolderError):
                use()
        table.close()


def _unit(count: int, dimension: int) -> np.ndarray:
    vectors = RNG.standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    vectors = _unit(700, 64)
    path = tmp_path_factory.mktemp("vectors") / "vectors.faiss"
    assert write_vectors(path, lambda: np.array_split(vectors, 5), 64) == 700
    return path, vectors


def test_search_is_exact(kept: tuple[Path, np.ndarray]) -> None:
    path, vectors = kept
    index = open_vectors(path, 700, 64)
    rounded = index.reconstruct_n(0, 700)
    assert np.abs(rounded - vectors).max() < 0.005
    queries = _unit(9, 64)
    scores, ids = search(index, queries, 25, None)
    truth = queries.astype(np.float64) @ rounded.T.astype(np.float64)
    assert (ids == np.argsort(-truth, axis=1)[:, :25]).all()
    assert np.abs(scores - np.take_along_axis(truth, ids, axis=1)).max() < 1e-5
    assert np.abs(scores - np.take_along_axis(queries @ vectors.T, ids, axis=1)).max() < 0.01


def test_filters_act_inside_the_search(kept: tuple[Path, np.ndarray]) -> None:
    store = Sq8Store(kept[0].parent, 700, 64)
    few = np.sort(RNG.permutation(700)[:60])
    allowed = Allowed.of_ids(few, 700)
    queries = _unit(4, 64)
    scores, ids = store.search(queries, 10, allowed)
    truth = queries @ store.vectors(few).T
    assert (ids == few[np.argsort(-truth, axis=1)[:, :10]]).all()
    assert scores.shape == (4, 10)
    assert store.search(queries, 100, allowed)[0].shape == (4, 60)
    assert store.search(queries, 100, Allowed.of_ids([], 700))[0].shape == (4, 0)
    assert store.search(queries, 10_000)[0].shape == (4, 700)
    assert store.search(queries[:0], 10)[1].shape == (0, 10)
    for wrong in ([700], [-1]):
        with pytest.raises(IndexError):
            Allowed.of_ids(wrong, 700)
    with pytest.raises(ValueError, match="queries"):
        store.search(queries[:, :60], 5)
    store.close()


def test_vectors_are_mapped_not_read(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    vectors = _unit(20_000, 512)
    write_vectors(tmp_path / "vectors.faiss", lambda: [vectors], 512)
    before = psutil.Process().memory_info()
    index = open_vectors(tmp_path / "vectors.faiss", 20_000, 512)
    grown = psutil.Process().memory_info().rss - before.rss
    assert grown < 3_000_000
    assert search(index, vectors[:1], 1, None)[1][0, 0] == 0


def test_the_same_vectors_give_the_same_bytes_however_they_are_divided(tmp_path: Path) -> None:
    vectors = _unit(100, 16)
    for name, parts in (("a", 1), ("b", 7)):
        write_vectors(tmp_path / name, lambda n=parts: np.array_split(vectors, n), 16)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size == file_size(100, 16)


def test_files_of_vectors_that_are_not_what_the_manifest_says(
    tmp_path: Path, kept: tuple[Path, np.ndarray]
) -> None:
    path = Path(shutil.copy(kept[0], tmp_path / "vectors.faiss"))
    for count, dimension in ((701, 64), (700, 65), (1400, 32), (350, 128)):
        with pytest.raises(IndexFolderError, match=r"vectors\.faiss"):
            open_vectors(path, count, dimension)
    whole = path.read_bytes()
    for size in (0, 10, 80, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(IndexFolderError, match=r"vectors\.faiss has"):
            open_vectors(path, 700, 64)
    path.unlink()
    with pytest.raises(IndexFolderError, match=r"vectors\.faiss cannot be read"):
        open_vectors(path, 700, 64)


def test_headers_that_lie_are_refused_before_anything_is_allocated(
    tmp_path: Path, kept: tuple[Path, np.ndarray]
) -> None:
    """Each byte of the header that matters, turned over: refused, or of no consequence; never a crash."""
    whole = kept[0].read_bytes()
    path = tmp_path / "vectors.faiss"
    header = len(whole) - 700 * 64
    refused = 0
    for at in [*range(73), *range(header - 8, header)]:
        for value in (0xFF, 0x7F, 0x01):
            damaged = bytearray(whole)
            damaged[at] ^= value
            path.write_bytes(damaged)
            try:
                index = open_vectors(path, 700, 64)
            except IndexFolderError:
                refused += 1
            else:
                assert (index.ntotal, index.d) == (700, 64)
                search(index, kept[1][:1], 3, None)
    assert refused > 150
    damaged = bytearray(whole)
    first_range = header - 8 - 2 * 64 * 4
    damaged[first_range : first_range + 4] = struct.pack("<f", float("nan"))
    path.write_bytes(damaged)
    with pytest.raises(IndexFolderError, match="ranges"):
        open_vectors(path, 700, 64)
