"""MBTiles: rows either way, what the file says, and files that mean harm."""

from __future__ import annotations

import gzip
import random
import sqlite3
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from engine.errors import ImageryError
from engine.imagery import open_imagery
from engine.imagery.mbtiles import open_mbtiles
from tests.engine.imagery.map_tiles import picture, ramp_tiles, tile_at, write_mbtiles

LAT, LON, ZOOM = 48.2, 16.37, 18
BOUNDS = f"{LON - 0.002},{LAT - 0.002},{LON + 0.002},{LAT + 0.002}"


def lies_right(path: Path) -> bool:
    with open_mbtiles(path) as source:
        return source.bounds.contains(LAT, LON) and source.cut(LAT, LON, 4.0, 8)[1] == 1.0


@pytest.mark.parametrize("xyz", [False, True])
@pytest.mark.parametrize(
    "metadata", [[("bounds", BOUNDS)], [("scheme", "xyz")], [("scheme", "tms")], []]
)
def test_rows_of_both_kinds(tmp_path: Path, xyz: bool, metadata: list[tuple[str, str]]) -> None:
    path = write_mbtiles(tmp_path / "t.mbtiles", ramp_tiles(LAT, LON, ZOOM), metadata, xyz=xyz)
    says = dict(metadata)
    # With bounds it is found out; else what the file says, else the format's own way, is believed.
    told = "bounds" in says or says.get("scheme", "tms") == ("xyz" if xyz else "tms")
    assert lies_right(path) == told


def test_bounds_overrule_a_wrong_scheme_and_say_so(tmp_path: Path) -> None:
    metadata = [("scheme", "tms"), ("bounds", BOUNDS)]
    path = write_mbtiles(tmp_path / "t.mbtiles", ramp_tiles(LAT, LON, ZOOM), metadata, xyz=True)
    assert lies_right(path)
    with open_mbtiles(path) as source:
        assert any("count from the north" in note for note in source.notes)


def test_bounds_that_fit_nothing_are_told(tmp_path: Path) -> None:
    path = write_mbtiles(
        tmp_path / "t.mbtiles", ramp_tiles(LAT, LON, ZOOM), [("bounds", "1,1,2,2")]
    )
    with open_mbtiles(path) as source:
        assert any("do not lie where" in note for note in source.notes)


def test_a_real_file(realdata: Path) -> None:
    with open_imagery(realdata / "mbtiles" / "one_tile.mbtiles") as source:
        assert source.zooms == (0, 1)  # pyright: ignore[reportAttributeAccessIssue]
        # Its metadata says 53..77° N: the tile of zoom 1 lies in the north-west, though its row is 1.
        assert (source.bounds.south, source.bounds.west) == (0.0, -180.0)
        tile, share = source.cut(60.0, -100.0, 1_000_000.0, 64)
        assert share == 1.0 and tile.std() > 1


@pytest.mark.parametrize(
    "name",
    [
        "netherlands_28992_025m.tif",
        "drone_32632_006m.tif",
        "201404_13SED190110_201404_0x1500m_CL_1.tif",
    ],
)
def test_a_file_that_gdal_wrote_is_read_as_gdal_reads_it(
    realdata: Path, tmp_path: Path, name: str
) -> None:
    with rasterio.Env() as environment:
        if "MBTiles" not in environment.drivers():
            pytest.skip("this GDAL writes no MBTiles")
    path = tmp_path / "gdal.mbtiles"
    options = {"TILE_FORMAT": "PNG", "ZOOM_LEVEL_STRATEGY": "UPPER", "RESAMPLING": "BILINEAR"}
    rasterio.shutil.copy(realdata / "geotiff" / name, path, driver="MBTiles", **options)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    with rasterio.open(path) as file, open_mbtiles(path) as source:
        assert source.zooms[1] - source.zooms[0] >= 1
        theirs, transform = file.read(), file.transform
        assert transform.a == pytest.approx(source.transform.a, rel=1e-9)
        # GDAL takes the corner from the rounded bounds: the same place to within half a pixel, and the same pixels.
        x = (transform.c - source.transform.c) / transform.a
        y = (transform.f - source.transform.f) / transform.e
        left, top = round(x), round(y)
        rows, columns = theirs.shape[1:]
        right, bottom = min(left + columns, source.shape[1]), min(top + rows, source.shape[0])
        assert left >= 0 and top >= 0 and right - left > 250 and bottom - top > 250
        mine, mask = source.read(left, top, right, bottom, right - left, bottom - top)
        theirs = theirs[:, : bottom - top, : right - left]
        there = theirs[3] >= 128
        assert there.mean() > 0.5 and (mask is None or np.array_equal(mask > 0, there))
        assert np.array_equal(np.where(there, mine, 0), np.where(there, theirs[:3], 0))


def test_a_file_whose_tiles_are_a_view(tmp_path: Path) -> None:
    """As mbutil and others write them: one picture for many places."""
    path = tmp_path / "view.mbtiles"
    tile = picture(np.full((256, 256, 3), 50, np.uint8))
    column, row = tile_at(LAT, LON, ZOOM)
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE map (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_id TEXT);"
            "CREATE TABLE images (tile_data BLOB, tile_id TEXT);"
            "CREATE UNIQUE INDEX m ON map (zoom_level, tile_column, tile_row);"
            "CREATE UNIQUE INDEX i ON images (tile_id);"
            "CREATE VIEW tiles AS SELECT map.zoom_level AS zoom_level, map.tile_column AS tile_column,"
            " map.tile_row AS tile_row, images.tile_data AS tile_data FROM map"
            " JOIN images ON images.tile_id = map.tile_id"
        )
        db.execute("INSERT INTO images VALUES (?, 'a')", (tile,))
        db.execute("INSERT INTO map VALUES (?, ?, ?, 'a')", (ZOOM, column, 2**ZOOM - 1 - row))
    db.close()
    with open_imagery(path) as source:
        lat, lon = source.bounds.centre
        assert source.cut(lat, lon, 30.0, 16)[1] == 1.0


def png(width: int, height: int) -> bytes:
    """A PNG that says it is that large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("tile", "said"),
    [
        (gzip.compress(b"\x1a\x05water"), "vector tiles"),
        (b"<html>Not found</html>", "a text"),
        (b"", "cannot be shown"),
        (png(100_000, 100_000), "100000 by 100000"),
        (png(256, 100), "256 by 100"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_tiles_that_are_no_pictures(tmp_path: Path, tile: bytes, said: str) -> None:
    path = write_mbtiles(tmp_path / "t.mbtiles", {(3, 4, 2): tile})
    with pytest.raises(ImageryError, match=said):
        open_imagery(path)


def test_vector_tiles_by_what_the_file_says(tmp_path: Path) -> None:
    path = write_mbtiles(tmp_path / "t.mbtiles", {(3, 4, 2): b"\x1a\x00"}, [("format", "pbf")])
    with pytest.raises(ImageryError, match="vector tiles"):
        open_imagery(path)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    cases = {
        "empty": (b"", "no MBTiles"),
        "text": (b"hello" * 100, "no MBTiles"),
        "cut": (b"SQLite format 3\x00" + b"\0" * 50, "cannot be read"),
    }
    for name, (data, said) in cases.items():
        path = tmp_path / f"{name}.mbtiles"
        path.write_bytes(data)
        with pytest.raises(ImageryError, match=said):
            open_imagery(path)
    other = tmp_path / "other.mbtiles"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE letters (text)")
    with pytest.raises(ImageryError, match="without map tiles"):
        open_imagery(other)
    with pytest.raises(ImageryError, match="holds no tiles"):
        open_imagery(write_mbtiles(tmp_path / "none.mbtiles", {}))


@pytest.mark.parametrize(
    "body",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS zoom_level,"
        " i AS tile_column, i AS tile_row, x'00' AS tile_data FROM n WHERE i < 0",
        "SELECT 1 AS zoom_level, 0 AS tile_column, 0 AS tile_row, randomblob(1000000000) AS tile_data",
        "SELECT 1 AS zoom_level, 0 AS tile_column, 0 AS tile_row, load_extension('x') AS tile_data",
        "SELECT 1 AS zoom_level, 0 AS tile_column, 0 AS tile_row, readfile('/etc/passwd') AS tile_data",
        "SELECT a.v * b.v AS zoom_level, c.v AS tile_column, d.v AS tile_row, x'00' AS tile_data"
        " FROM big a, big b, big c, big d",
        "SELECT * FROM tiles",
    ],
)
def test_a_schema_that_means_harm_is_stopped(tmp_path: Path, body: str) -> None:
    path = tmp_path / "bad.mbtiles"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE big (v INTEGER)")
        db.executemany("INSERT INTO big VALUES (?)", [(i % 5,) for i in range(300)])
        db.execute(f"CREATE VIEW tiles AS {body}")
    db.close()
    start = time.perf_counter()
    with pytest.raises(ImageryError):
        open_imagery(path)
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    "place",
    [
        (40, 0, 0),
        (3, 8, 0),
        (3, 0, 8),
        (3, -1, 0),
        (3, 2**62, 0),
        (-2, 0, 0),
        ("a", 0, 0),
        (3, "x", 0),
        (3, 1.5, 0),
    ],
)
def test_tiles_at_places_that_are_none(
    tmp_path: Path, place: tuple[object, object, object]
) -> None:
    path = write_mbtiles(tmp_path / "t.mbtiles", {})
    with sqlite3.connect(path) as db:
        tile = picture(np.full((256, 256, 3), 50, np.uint8))
        db.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", (*place, tile))
    db.close()
    with pytest.raises(ImageryError):
        open_imagery(path)


def test_a_file_is_never_written_to(tmp_path: Path) -> None:
    path = write_mbtiles(tmp_path / "t.mbtiles", ramp_tiles(LAT, LON, ZOOM, reach=0))
    before = path.read_bytes()
    path.chmod(0o444)
    with open_mbtiles(path) as source:
        source.cut(LAT, LON, 10.0, 16)
        assert [p.name for p in tmp_path.iterdir()] == ["t.mbtiles"]
    assert path.read_bytes() == before


def test_a_file_that_is_being_written_to(tmp_path: Path) -> None:
    """What stands in its log beside it is not in it yet: that is said, and the log is left alone."""
    path = write_mbtiles(tmp_path / "t.mbtiles", ramp_tiles(LAT, LON, ZOOM, reach=0))
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE tiles SET tile_column = tile_column + 1")
    writer.commit()
    try:
        log = path.with_name("t.mbtiles-wal").read_bytes()
        assert log
        with open_mbtiles(path) as source:
            assert any("writing to it" in note for note in source.notes)
            assert source.cut(LAT, LON, 4.0, 8)[1] == 1.0
        assert path.with_name("t.mbtiles-wal").read_bytes() == log
    finally:
        writer.close()


def test_many_columns_open_quickly(tmp_path: Path) -> None:
    """300,000 tiles in 3,000 columns: found down the index, not by reading them all."""
    path = write_mbtiles(tmp_path / "t.mbtiles", {})
    tile = picture(np.full((256, 256, 3), 50, np.uint8))
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE one AS SELECT ? AS data", (tile,))
        db.execute(
            "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 299999)"
            " INSERT INTO tiles SELECT 18, 140000 + i / 100, 90000 + i % 100, zeroblob(60) FROM c"
        )
        db.execute("UPDATE tiles SET tile_data = (SELECT data FROM one) WHERE tile_column = 140000")
    db.close()
    start = time.perf_counter()
    with open_mbtiles(path) as source:
        assert source.shape == (100 * 256, 3000 * 256)
    assert time.perf_counter() - start < 5


def test_bytes_that_were_changed_never_do_more_than_fail(tmp_path: Path) -> None:
    good = write_mbtiles(
        tmp_path / "good.mbtiles", ramp_tiles(LAT, LON, ZOOM, reach=0), [("bounds", BOUNDS)]
    )
    data = good.read_bytes()
    bad = tmp_path / "bad.mbtiles"
    chance = random.Random(5)
    failed = 0
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 4, 40))):
            # The pages that say how things are laid out, rather than the picture.
            changed[chance.randrange(min(len(changed), 20_000))] = chance.randrange(256)
        if chance.random() < 0.3:
            del changed[chance.randrange(len(changed)) :]
        bad.write_bytes(changed)
        try:
            with open_mbtiles(bad) as source:
                source.cut(LAT, LON, 10.0, 16)
        except ImageryError as error:
            failed += 1
            assert "bad.mbtiles" in str(error)
    assert 10 < failed < 150
