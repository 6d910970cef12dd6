"""Ways to spoil an index: its bytes, its manifest, its databases, its folder. Each says what it did."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from engine.index.manifest import MANIFEST_FILE
from tests.fuzz.samples import seal_again

Spoiler = Callable[[Path, random.Random, Path], str]

NUMBERS = (
    0,
    1,
    2,
    3,
    255,
    256,
    65535,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    1 << 62,
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, float("inf"), float("-inf"), float("nan"))


def files_of(index: Path, *suffixes: str) -> list[Path]:
    """The data files of an index."""
    found = [p for p in sorted(index.rglob("*")) if p.is_file() and p.name != MANIFEST_FILE]
    return [p for p in found if not suffixes or p.suffix in suffixes]


def spoil_bytes(index: Path, rng: random.Random, outside: Path) -> str:
    """Change a file's bytes; most often in its head, where the lengths stand."""
    path = rng.choice(files_of(index))
    data = bytearray(path.read_bytes())
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        done.append(_spoil_once(data, rng))
    path.write_bytes(data)
    sealed = rng.random() < 0.85
    if sealed:
        seal_again(index)
    return f"{path.name}: {', '.join(done)}{'' if sealed else ', not sealed'}"


def _spoil_once(data: bytearray, rng: random.Random) -> str:
    if not data:
        data += bytes(rng.randrange(1, 100))
        return "bytes where were none"
    size = len(data)
    at = min(size - 1, int(size * rng.random() ** rng.choice((1, 4, 12))))
    way = rng.randrange(9)
    if way == 0:
        data[at] ^= 1 << rng.randrange(8)
        return f"bit at {at}"
    if way == 1:
        data[at] = rng.choice((0, 1, 127, 128, 255))
        return f"byte at {at}"
    if way == 2:
        del data[at:]
        return f"cut at {at}"
    if way == 3:
        data += rng.randbytes(rng.choice((1, 8, 4096)))
        return "longer"
    if way == 4:
        number = rng.choice(NUMBERS) * rng.choice((1, 1, 1, -1))
        at -= at % 4 if rng.random() < 0.7 else 0
        data[at : at + 8] = struct.pack("<q", number)[: len(data[at : at + 8])]
        return f"{number} as 64 bits at {at}"
    if way == 5:
        number = rng.choice(NUMBERS) & 0xFFFFFFFF
        order = rng.choice("<>")
        data[at : at + 4] = struct.pack(f"{order}I", number)[: len(data[at : at + 4])]
        return f"{number} as 32 bits at {at}"
    if way == 6:
        value = rng.choice(FLOATS)
        form = rng.choice(("<f", "<d", "<e"))
        with_room = struct.pack(form, value if abs(value) < 6e4 or value * 0 != 0 else 6e4)
        data[at : at + len(with_room)] = with_room[: len(data[at : at + len(with_room)])]
        return f"{value} as {form} at {at}"
    last = min(size, at + rng.choice((4, 16, 64, 1024)))
    if way == 7:
        data[at:last] = bytes(last - at) if rng.random() < 0.5 else b"\xff" * (last - at)
        return f"blank {at}..{last}"
    piece = bytes(data[at:last])
    to = rng.randrange(size)
    data[to : to + len(piece)] = piece[: len(data[to : to + len(piece)])]
    return f"{at}..{last} again at {to}"


TEXTS = (
    "",
    "../outside/imagery.tif",
    "/etc/passwd",
    "..",
    ".",
    "a\x00b",
    "\ud800",
    "C:\\secret.tif",
    "x" * 5000,
    "x" * 300_000,
    "\x1b[2J\x07",
    "aux.txt",
    "imagery.tif/..",
    "~/.profile",
    "$(id)",
    "SQ8",
    "IVF1,Flat",
    "IVF1000000000,SQ8",
    "OPQ64_100000000,PQ64",
    "HNSW100000",
    "PQ8x30",
    "IMI2x40,SQ8",
    "EPSG:4326",
    "EPSG:999999",
    "+proj=pipeline +step +proj=longlat",
    "0" * 64,
    "generation-1",
    "street",
    "manifest.json",
)


def spoil_manifest(index: Path, rng: random.Random, outside: Path) -> str:
    """Change what the manifest says: values, keys, nesting, the text itself."""
    path = index / MANIFEST_FILE
    raw = json.loads(path.read_text("utf-8"))
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(raw))
        owner, key = rng.choice(places)
        way = rng.randrange(6)
        if way == 0 and isinstance(owner, dict):
            owner.pop(key, None)
            done.append(f"without {key}")
        elif way == 1 and isinstance(owner, dict):
            name = rng.choice((str(key) + "x", *TEXTS))
            owner[name] = owner[key]
            done.append(f"{name[:40]!r} like {key}")
        elif way == 2:
            other, other_key = rng.choice(places)
            owner[key] = json.loads(
                json.dumps(other.get(other_key) if isinstance(other, dict) else other[other_key])
            )
            done.append(f"{key} from {other_key}")
        else:
            owner[key] = value = _value(rng, outside)
            done.append(f"{key} = {str(value)[:60]!r}")
    text = json.dumps(raw)
    way = rng.randrange(20)
    if way == 0:
        data = bytearray(text.encode())
        done.append(_spoil_once(data, rng))
        path.write_bytes(data)
    elif way == 1:
        path.write_text("[" * 200_000 + text, "utf-8")
    elif way == 2:
        path.write_text(text.replace('"count"', '"count": 1, "count"', 1), "utf-8")
    else:
        path.write_text(text, "utf-8")
    return f"manifest: {', '.join(done)}"


def _places(raw: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(raw) if isinstance(raw, dict) else range(len(raw))
    for key in keys:
        yield raw, key
        if isinstance(raw[key], dict | list):
            yield from _places(raw[key])


def _value(rng: random.Random, outside: Path) -> Any:
    way = rng.randrange(8)
    if way == 0:
        return rng.choice(TEXTS)
    if way == 1:
        return str(outside / rng.choice(("imagery.tif", "tiles.gpkg")))
    if way == 2:
        return rng.choice((*NUMBERS, 1 << 64, 1 << 200, -1)) * rng.choice((1, -1))
    if way == 3:
        return rng.choice((*FLOATS[:7], 1e308, 0.5, 91.0, 181.0, 44.1))
    if way == 4:
        return rng.choice((None, True, False, [], {}, [[]], {"": ""}))
    if way == 5:
        return ["x"] * rng.choice((1, 1000))
    if way == 6:
        return {str(i): {"sha256": "0" * 64, "bytes": 1} for i in range(rng.choice((1, 500)))}
    return [rng.choice(NUMBERS) for _ in range(3)]


SQL = (
    "DELETE FROM tiles WHERE id % 2",
    "DELETE FROM tiles",
    "UPDATE tiles SET id = id + 1000000000000 WHERE id > 20",
    "UPDATE tiles SET lat = 'north', lon = x'00ff'",
    "UPDATE tiles SET lat = 1e308, lon = -1e308",
    "UPDATE tiles SET lat = 91",
    "UPDATE tiles SET extent_m = -1",
    "UPDATE tiles SET extent_m = 1e300",
    "UPDATE tiles SET extent_m = 'wide'",
    "UPDATE tiles SET source = zeroblob(900000) WHERE id = 0",
    "UPDATE tiles SET source = printf('%.*c', 900000, 'x') WHERE id = 0",
    "UPDATE tiles SET source = zeroblob(20000000) WHERE id = 0",
    "UPDATE tiles SET source = CAST(x'ff41fe' AS TEXT)",
    "UPDATE tiles SET geom = zeroblob(1000)",
    "UPDATE tiles SET geom = x'4750'",
    "CREATE TRIGGER t AFTER INSERT ON tiles BEGIN DELETE FROM tiles; END",
    "ALTER TABLE tiles RENAME TO other; CREATE VIEW tiles AS SELECT * FROM other",
    "ALTER TABLE tiles RENAME TO other; CREATE VIEW tiles AS WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1"
    " FROM n) SELECT id, x'00' AS geom, 0.0 AS lat, 0.0 AS lon, 40.0 AS extent_m, 'x' AS source FROM n",
    "ALTER TABLE tiles RENAME TO other; CREATE TABLE tiles (id INTEGER PRIMARY KEY, geom BLOB, lat REAL, lon REAL AS"
    " (abs(-9223372036854775808)), extent_m REAL, source TEXT)",
    "ALTER TABLE tiles RENAME TO other; CREATE TABLE tiles (id INTEGER PRIMARY KEY, geom BLOB, lat REAL, lon REAL,"
    " extent_m REAL AS (randomblob(900000000)), source TEXT); INSERT INTO tiles (id, geom, lat, lon, source) SELECT id,"
    " geom, lat, lon, source FROM other",
    "DROP TABLE tiles; CREATE VIRTUAL TABLE tiles USING rtree(id, lat, lon)",
    "DROP TABLE tiles; CREATE TABLE tiles (id TEXT)",
    "DROP TABLE tiles",
    "DROP TABLE rtree_tiles_geom",
    "DELETE FROM rtree_tiles_geom",
    "UPDATE rtree_tiles_geom_node SET data = zeroblob(length(data))",
    "UPDATE rtree_tiles_geom_node SET data = randomblob(length(data))",
    "UPDATE rtree_tiles_geom_node SET data = x'0000'",
    "INSERT INTO rtree_tiles_geom SELECT 900000000 + id, -180, 180, -90, 90 FROM tiles LIMIT 100",
    "CREATE INDEX spoiled ON tiles (abs(lat))",
    "CREATE TABLE spare AS SELECT randomblob(200000) FROM tiles LIMIT 3",
    "PRAGMA journal_mode = WAL",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
    "PRAGMA page_size = 65536; VACUUM",
    "PRAGMA application_id = 1; PRAGMA user_version = -1",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE tiles (id)' WHERE name = 'tiles'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 900000 WHERE name = 'tiles'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 1",
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'rtree', 'fts5')",
    "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM sqlite_schema",
)


def spoil_database(index: Path, rng: random.Random, outside: Path) -> str:
    """Run hostile statements over the tile table or the pictures."""
    path = rng.choice(files_of(index, ".gpkg", ".sqlite"))
    statements = rng.sample(SQL, rng.choice((1, 1, 2)))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            with suppress(sqlite3.Error):
                connection.executescript(statement)
    seal_again(index)
    return f"{path.name}: {'; '.join(statement[:90] for statement in statements)}"


def spoil_folder(index: Path, rng: random.Random, outside: Path) -> str:
    """Put something else where a file should be."""
    path = rng.choice([*files_of(index), index / MANIFEST_FILE])
    path.unlink()
    way = rng.choice(
        ("gone", "link", "folder", "pipe", "empty", "another", "link to itself", "huge")
    )
    if way == "link":
        path.symlink_to(outside / path.name)
    elif way == "link to itself":
        path.symlink_to(path)
    elif way == "folder":
        path.mkdir()
    elif way == "pipe":
        os.mkfifo(path)
    elif way == "empty":
        path.touch()
    elif way == "another":
        shutil.copyfile(rng.choice(files_of(index)), path)
    elif way == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    if way in ("another", "empty"):
        with suppress(ValueError):
            seal_again(index)
    if way == "huge" and path.name != MANIFEST_FILE:
        raw = json.loads((index / MANIFEST_FILE).read_text("utf-8"))
        if path.name in raw["files"]:
            raw["files"][path.name]["bytes"] = 1 << 40
        (index / MANIFEST_FILE).write_text(json.dumps(raw), "utf-8")
    return f"{path.name}: {way}"


_HEAD = struct.Struct("<4s6I")  # of a record of a part, see engine.index.parts


def spoil_shares(both: Path, rng: random.Random, outside: Path) -> str:
    """Spoil shares of an index, which are to be put together: one file of one of them, or what both say."""
    files = [path for path in sorted(both.rglob("*")) if path.is_file()]
    path = rng.choice(files)
    way = rng.randrange(8)
    if way == 0:
        path.unlink()
        target = rng.choice(
            (outside / "tiles.gpkg", outside / "manifest.json", path.with_suffix(".x"))
        )
        path.symlink_to(target)
        return f"{path.name}: a link to {target.name}"
    if path.suffix == ".json" and way < 7:
        raw = json.loads(path.read_text("utf-8"))
        owner, key = rng.choice(list(_places(raw)))
        owner[key] = value = rng.choice((_value(rng, outside), 1 << 39, 1 << 30))
        for twin in {path, *_twins(both, path)}:
            if twin.is_file():
                twin.write_text(json.dumps(raw), "utf-8")
        return f"{path.name}: {key} = {str(value)[:60]!r}"
    data = bytearray(path.read_bytes())
    done = _spoil_once(data, rng)
    if path.suffix == ".part":
        _sum_again(data)
    path.write_bytes(data)
    return f"{path.name}: {done}"


def _twins(both: Path, path: Path) -> list[Path]:
    """The same file of both shares, but what says which share it is."""
    return [] if path.name.startswith("sha") else [p for p in both.rglob(path.name) if p.is_file()]


def _sum_again(data: bytearray) -> None:
    """Make the checksums of a part's records true again."""
    at = 0
    while at + _HEAD.size <= len(data):
        magic, chunk, count, dimension, more, _, _ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + count * (24 + 2 * dimension) + more
        if magic != b"NPRT" or end > len(data):
            return
        head = _HEAD.pack(
            magic, chunk, count, dimension, more, zlib.crc32(data[at + _HEAD.size : end]), 0
        )[:-4]
        data[at : at + _HEAD.size] = head + struct.pack("<I", zlib.crc32(head))
        at = end


SPOILERS: tuple[tuple[Spoiler, int], ...] = (
    (spoil_bytes, 10),
    (spoil_manifest, 5),
    (spoil_database, 3),
    (spoil_folder, 1),
)
