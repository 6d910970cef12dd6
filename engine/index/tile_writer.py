"""Writing ``tiles.gpkg``: a GeoPackage with an R-tree, made in one pass over any number of rows.

The R-tree's nodes are packed here and written as they are, full ones, instead of growing one row at a time: the rows
come in an order that keeps neighbours together, so consecutive ones share a node. The layout of a node is that of
SQLite's R*Tree module (https://www.sqlite.org/rtree.html, "Shadow tables"): 16 bits depth (in the root alone), 16 bits
number of cells, then cells of a 64-bit id and 32-bit floats min x, max x, min y, max y, all big-endian.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import geo
from engine.index.rows import Block

_APPLICATION_ID, _VERSION = 0x47504B47, 10300  # "GPKG" 1.3
_WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
)
_SCHEMA = f"""
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
INSERT INTO gpkg_spatial_ref_sys VALUES
    ('Undefined Cartesian', -1, 'NONE', -1, 'undefined', NULL),
    ('Undefined geographic', 0, 'NONE', 0, 'undefined', NULL),
    ('WGS 84', 4326, 'EPSG', 4326, '{_WKT}', NULL);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
    srs_id INTEGER REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL PRIMARY KEY REFERENCES gpkg_contents(table_name),
    column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
    srs_id INTEGER NOT NULL REFERENCES gpkg_spatial_ref_sys(srs_id), z TINYINT NOT NULL, m TINYINT NOT NULL);
CREATE TABLE gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL,
    definition TEXT NOT NULL, scope TEXT NOT NULL);
INSERT INTO gpkg_extensions VALUES
    ('tiles', 'geom', 'gpkg_rtree_index', 'http://www.geopackage.org/spec120/#extension_rtree', 'write-only');
CREATE VIRTUAL TABLE rtree_tiles_geom USING rtree(id, minx, maxx, miny, maxy);
"""
_TABLE = """CREATE TABLE tiles (id INTEGER PRIMARY KEY, geom BLOB, lat REAL NOT NULL, lon REAL NOT NULL,
    extent_m REAL NOT NULL, source TEXT NOT NULL{more})"""
_PICTURE_COLUMNS = ", picture INTEGER NOT NULL, heading_deg REAL, name TEXT NOT NULL"
_HEAD = [("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs", "<i4"), ("order", "u1")]
_POLYGON = np.dtype(
    [*_HEAD, ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)
_POINT = np.dtype([*_HEAD, ("kind", "<u4"), ("xy", "<f8", 2)])
_CELL = np.dtype([("id", ">i8"), ("box", ">f4", 4)])
_NODE_CELLS = 51  # of a tree whose pages have 4096 bytes
_NODE_BYTES = 4 + _NODE_CELLS * _CELL.itemsize

Boxes = NDArray[np.float64]  # [n, 4] west, east, south, north


def write_tiles(
    path: Path, blocks: Iterable[Block], sources: Sequence[str], *, pictures: bool = False
) -> None:
    """Write the table; the same rows give the same bytes. Ids are 0 .. N - 1 in the order given.

    Args:
        sources: the names that the blocks' ``sources`` count.
        pictures: whether the blocks say which picture a row is; such rows are points where they have no extent.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    path.unlink(missing_ok=True)
    path.touch()  # SQLite would not say why it cannot
    connection = sqlite3.connect(path)
    try:
        connection.executescript(
            "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;"
            f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_VERSION};"
        )
        more = _PICTURE_COLUMNS if pictures else ""
        connection.executescript("BEGIN;" + _SCHEMA + _TABLE.format(more=more))
        marks = ",".join("?" * (9 if pictures else 6))
        tree = _Tree(connection)
        points, low, high = False, np.full(4, np.inf), np.full(4, -np.inf)
        for block in blocks:
            if not len(block):
                continue
            boxes = _boxes(block)
            points |= not block.extents.all()
            rows = _rows(tree.count, block, boxes, sources)
            connection.executemany(f"INSERT INTO tiles VALUES ({marks})", rows)
            tree.add(boxes)
            low = np.minimum(low, boxes.min(axis=0))
            high = np.maximum(high, boxes.max(axis=0))
        tree.finish()
        connection.execute(
            "INSERT INTO gpkg_geometry_columns VALUES ('tiles', 'geom', ?, 4326, 0, 0)",
            ("GEOMETRY" if points else "POLYGON",),
        )
        connection.execute(
            "INSERT INTO gpkg_contents VALUES ('tiles','features','tiles','Reference tiles','2000-01-01T00:00:00.000Z',"
            "?,?,?,?,4326)",
            [float(v) for v in (low[0], low[2], high[1], high[3])],
        )
        connection.commit()
    finally:
        connection.close()


def _boxes(block: Block) -> Boxes:
    per_lat, per_lon = geo.metres_per_degree(block.lats)
    half = block.extents.astype(np.float64) / 2
    half_lat, half_lon = half / per_lat, half / per_lon
    west, east = block.lons - half_lon, block.lons + half_lon
    return np.stack([west, east, block.lats - half_lat, block.lats + half_lat], axis=1)


def _rows(
    first: int, block: Block, boxes: Boxes, sources: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    shape = _POINT if not block.extents.any() else _POLYGON
    shapes = np.zeros(len(block), shape)
    shapes["magic"], shapes["flags"], shapes["srs"] = b"GP", 1, 4326  # little-endian, no envelope
    shapes["order"] = 1
    if shape is _POINT:
        shapes["kind"] = 1
        shapes["xy"] = np.stack([block.lons, block.lats], axis=1)
    else:
        shapes["kind"], shapes["rings"], shapes["points"] = 3, 1, 5
        west, east, south, north = boxes.T
        ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        shapes["xy"] = np.stack([np.stack(corner, axis=1) for corner in ring], axis=1)
    blob, size = memoryview(shapes.tobytes()), shape.itemsize
    columns: list[Iterable[Any]] = [
        range(first, first + len(block)),
        (blob[i : i + size] for i in range(0, len(blob), size)),
        block.lats.tolist(),
        block.lons.tolist(),
        # As people wrote them: 32 bits of 70.7 are 70.69999694824219.
        np.round(block.extents.astype(np.float64), 4).tolist(),
        [sources[number] for number in block.sources.tolist()],
    ]
    if block.pictures is not None:
        headings = block.pictures.headings_deg.tolist()
        columns += [
            block.pictures.numbers.tolist(),
            [None if math.isnan(heading) else heading for heading in headings],
            block.pictures.names,
        ]
    return zip(*columns, strict=True)


class _Tree:
    """The R-tree's shadow tables, leaves first; the root is node 1, the others are counted from 2."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rest = np.zeros((0, 4))
        self._boxes: list[NDArray[np.float32]] = []  # of the leaves
        self._held = 0  # rows in leaves that are written
        self._next = 2

    @property
    def count(self) -> int:
        return self._held + len(self._rest)

    def add(self, boxes: Boxes) -> None:
        self._rest = np.concatenate([self._rest, boxes])
        full = len(self._rest) // _NODE_CELLS * _NODE_CELLS
        if full < len(self._rest):
            self._leaves(full)
        elif full > _NODE_CELLS:
            self._leaves(full - _NODE_CELLS)  # one stays: it may be the root

    def finish(self) -> None:
        """Write what is left and the levels above."""
        if not self._boxes and len(self._rest) <= _NODE_CELLS:
            ids = np.arange(len(self._rest))
            self._root(0, ids, _outward(self._rest))
            self._connection.executemany(
                "INSERT INTO rtree_tiles_geom_rowid VALUES (?, 1)", ((int(i),) for i in ids)
            )
            return
        self._leaves(len(self._rest))
        leaves = self._next - 2
        self._connection.execute(
            "WITH RECURSIVE r(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i + 1 < ?) "
            "INSERT INTO rtree_tiles_geom_rowid SELECT i, 2 + i / ? FROM r",
            (self._held, _NODE_CELLS),
        )
        ids = np.arange(2, 2 + leaves)
        boxes = np.concatenate(self._boxes)
        depth = 1
        while len(ids) > _NODE_CELLS:
            ids, boxes = self._level(ids, boxes)
            depth += 1
        self._root(depth, ids, boxes)
        self._connection.executemany(
            "INSERT INTO rtree_tiles_geom_parent VALUES (?, 1)", ((int(i),) for i in ids)
        )

    def _leaves(self, count: int) -> None:
        if count:
            boxes = _outward(self._rest[:count])
            self._boxes.append(self._nodes(np.arange(self._held, self._held + count), boxes))
            self._held += count
            self._rest = self._rest[count:]

    def _level(
        self, ids: NDArray[np.int64], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        first = self._next
        around = self._nodes(ids, boxes)
        parents = first + np.arange(len(ids)) // _NODE_CELLS
        self._connection.executemany(
            "INSERT INTO rtree_tiles_geom_parent VALUES (?, ?)",
            zip(ids.tolist(), parents.tolist(), strict=True),
        )
        return np.arange(first, self._next), around

    def _nodes(self, ids: NDArray[np.int64], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write nodes that hold these cells; their boxes."""
        starts = np.arange(0, len(ids), _NODE_CELLS)
        self._connection.executemany(
            "INSERT INTO rtree_tiles_geom_node VALUES (?, ?)",
            (
                (self._next + i, _node(0, ids[s : s + _NODE_CELLS], boxes[s : s + _NODE_CELLS]))
                for i, s in enumerate(starts.tolist())
            ),
        )
        self._next += len(starts)
        around = np.empty((len(starts), 4), np.float32)
        for column in range(4):
            best = np.maximum if column % 2 else np.minimum
            around[:, column] = best.reduceat(boxes[:, column], starts)
        return around

    def _root(self, depth: int, ids: NDArray[np.int64], boxes: NDArray[np.float32]) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO rtree_tiles_geom_node VALUES (1, ?)",
            (_node(depth, ids, boxes),),
        )


def _node(depth: int, ids: NDArray[np.int64], boxes: NDArray[np.float32]) -> bytes:
    cells = np.empty(len(ids), _CELL)
    cells["id"], cells["box"] = ids, boxes
    head = depth.to_bytes(2, "big") + len(ids).to_bytes(2, "big")
    return (head + cells.tobytes()).ljust(_NODE_BYTES, b"\0")


def _outward(boxes: Boxes) -> NDArray[np.float32]:
    """As 32-bit floats that hold the boxes whole."""
    rounded = boxes.astype(np.float32)
    low, high = rounded[:, ::2], rounded[:, 1::2]
    low = np.where(low > boxes[:, ::2], np.nextafter(low, np.float32(-np.inf)), low)
    high = np.where(high < boxes[:, 1::2], np.nextafter(high, np.float32(np.inf)), high)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
