"""The tile table ``tiles.gpkg``: where every tile lies, as a GeoPackage with an R-tree, so that any GIS shows it.

SQLite files can come from anybody: they are opened read-only and immutable, with an untrusted schema, and what is
read from them is checked.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import geo
from engine.errors import IndexFolderError

_APPLICATION_ID, _VERSION = 0x47504B47, 10300  # "GPKG" 1.3
_ROWS_A_QUERY = 500
_VERIFY = "Check it with: nadir index verify"
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
INSERT INTO gpkg_geometry_columns VALUES ('tiles', 'geom', 'POLYGON', 4326, 0, 0);
INSERT INTO gpkg_extensions VALUES
    ('tiles', 'geom', 'gpkg_rtree_index', 'http://www.geopackage.org/spec120/#extension_rtree', 'write-only');
CREATE TABLE tiles (id INTEGER PRIMARY KEY, geom BLOB, lat REAL NOT NULL, lon REAL NOT NULL, extent_m REAL NOT NULL,
    source TEXT NOT NULL);
CREATE VIRTUAL TABLE rtree_tiles_geom USING rtree(id, minx, maxx, miny, maxy);
"""
_POLYGON = np.dtype(
    [
        ("magic", "S2"),
        ("version", "u1"),
        ("flags", "u1"),
        ("srs", "<i4"),
        ("order", "u1"),
        ("kind", "<u4"),
        ("rings", "<u4"),
        ("points", "<u4"),
        ("xy", "<f8", (5, 2)),
    ]
)


@dataclass(frozen=True)
class Tile:
    """One reference tile.

    Args:
        id: its row in the vectors.
        lat, lon: its centre, WGS84.
        extent_m: metres along a side.
        source: the name of the imagery it was cut from.
    """

    id: int
    lat: float
    lon: float
    extent_m: float
    source: str

    @property
    def bounds(self) -> geo.Bounds:
        """Its footprint."""
        return geo.tile_bounds(self.lat, self.lon, self.extent_m)


def write_tiles(
    path: Path,
    lats: NDArray[np.float64],
    lons: NDArray[np.float64],
    extent_m: float,
    source: str,
) -> None:
    """Write the table; the same tiles give the same bytes. Ids are 0 .. N - 1 in the order given.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.executescript(
            "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_VERSION};"
        )
        connection.executescript("BEGIN;" + _SCHEMA)
        box = [math.inf, math.inf, -math.inf, -math.inf]
        for first in range(0, len(lats), 4096):
            part = slice(first, first + 4096)
            rows, boxes = _rows(first, lats[part], lons[part], extent_m, source)
            connection.executemany("INSERT INTO tiles VALUES (?,?,?,?,?,?)", rows)
            ids = range(first, first + len(boxes))
            connection.executemany(
                "INSERT INTO rtree_tiles_geom VALUES (?,?,?,?,?)",
                ((i, *b) for i, b in zip(ids, boxes.tolist(), strict=True)),
            )
            box = [
                min(box[0], float(boxes[:, 0].min())),
                min(box[1], float(boxes[:, 2].min())),
                max(box[2], float(boxes[:, 1].max())),
                max(box[3], float(boxes[:, 3].max())),
            ]
        connection.execute(
            "INSERT INTO gpkg_contents VALUES ('tiles','features','tiles','Reference tiles','2000-01-01T00:00:00.000Z',"
            "?,?,?,?,4326)",
            box,
        )
        connection.commit()
    finally:
        connection.close()


def _rows(
    first: int,
    lats: NDArray[np.float64],
    lons: NDArray[np.float64],
    extent_m: float,
    source: str,
) -> tuple[Iterator[tuple[Any, ...]], NDArray[np.float64]]:
    per_lat, per_lon = geo.metres_per_degree(lats)
    half_lat, half_lon = extent_m / 2 / per_lat, extent_m / 2 / per_lon
    west, east, south, north = lons - half_lon, lons + half_lon, lats - half_lat, lats + half_lat
    shapes = np.zeros(len(lats), _POLYGON)
    shapes["magic"], shapes["flags"], shapes["srs"] = b"GP", 1, 4326  # little-endian, no envelope
    shapes["order"], shapes["kind"], shapes["rings"], shapes["points"] = 1, 3, 1, 5
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    shapes["xy"] = np.stack([np.stack(corner, axis=1) for corner in ring], axis=1)
    blob, size = shapes.tobytes(), _POLYGON.itemsize
    rows = (
        (first + i, blob[i * size : (i + 1) * size], lat, lon, extent_m, source)
        for i, (lat, lon) in enumerate(zip(lats.tolist(), lons.tolist(), strict=True))
    )
    return rows, np.stack([west, east, south, north], axis=1)


class TileTable:
    """The table, open for reading, from any thread.

    Args:
        path: ``tiles.gpkg``.
        count: how many tiles the manifest says it holds.

    Raises:
        IndexFolderError: it is no such table.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self._lock = threading.Lock()
        self._centres: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._by_latitude: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1 << 20)
            self._connection.execute("PRAGMA trusted_schema=OFF")
            self._connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            self._check_schema()
        except BaseException:
            self._connection.close()
            raise

    def _check_schema(self) -> None:
        kinds = dict(
            self._query(
                "SELECT name, substr(sql, 1, 60) FROM sqlite_schema WHERE name IN ('tiles','rtree_tiles_geom')"
            )
        )
        table, tree = (str(kinds.get(name, "")).upper() for name in ("tiles", "rtree_tiles_geom"))
        if not table.startswith("CREATE TABLE") or "USING RTREE" not in tree:
            raise self._damaged("it holds no tiles")
        last = self._query("SELECT max(id), min(id) FROM tiles")[0]
        if last != (self.count - 1, 0):
            raise self._damaged(f"it does not hold the {self.count:,} tiles of the manifest")

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes of all tiles by id; read once."""
        if self._centres is None:
            rows = self._query("SELECT lat, lon FROM tiles ORDER BY id LIMIT ?", (self.count + 1,))
            if len(rows) != self.count:
                raise self._damaged(f"it does not hold the {self.count:,} tiles of the manifest")
            try:
                values = np.array(rows, np.float64)
            except (TypeError, ValueError) as error:
                raise self._damaged(error) from error
            good = np.isfinite(values).all() and (np.abs(values) <= [90.0, 180.0]).all()
            if not good:
                raise self._damaged("a tile's position is not on the Earth")
            self._centres = (
                np.ascontiguousarray(values[:, 0]),
                np.ascontiguousarray(values[:, 1]),
            )
        return self._centres

    def positions(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [n] and longitudes [n] of some tiles."""
        lats, lons = self.centres()
        return np.asarray(lats[ids], np.float64), np.asarray(lons[ids], np.float64)

    def tiles(self, ids: ArrayLike) -> list[Tile]:
        """Tiles by id, in the order asked for. Raises ``IndexError`` for ids that do not exist."""
        wanted = [int(i) for i in np.atleast_1d(np.asarray(ids, np.int64))]
        if any(not 0 <= i < self.count for i in wanted):
            raise IndexError(f"tile ids run from 0 to {self.count - 1}")
        found: dict[int, Tile] = {}
        for first in range(0, len(wanted), _ROWS_A_QUERY):
            part = wanted[first : first + _ROWS_A_QUERY]
            marks = ",".join("?" * len(part))
            for row in self._query(
                f"SELECT id, lat, lon, extent_m, source FROM tiles WHERE id IN ({marks})", part
            ):
                found[row[0]] = self._tile(row)
        try:
            return [found[i] for i in wanted]
        except KeyError as error:
            raise self._damaged(f"tile {error.args[0]} is missing") from error

    def near(self, lat: float, lon: float, radius_m: float) -> NDArray[np.int64]:
        """Ids of the tiles whose centres lie within ``radius_m`` of a position, nearest first."""
        per_lat, per_lon = (float(v) for v in geo.metres_per_degree(lat))
        reach_lat, reach_lon = radius_m / per_lat, min(radius_m / max(per_lon, 1.0), 180.0)
        rows: dict[int, tuple[float, float]] = {}
        for turn in (-360.0, 0.0, 360.0):
            west, east = lon + turn - reach_lon, lon + turn + reach_lon
            if east < -181.0 or west > 181.0:
                continue
            for row in self._query(
                "SELECT t.id, t.lat, t.lon FROM rtree_tiles_geom r JOIN tiles t ON t.id = r.id"
                " WHERE r.maxx >= ? AND r.minx <= ? AND r.maxy >= ? AND r.miny <= ?",
                (west, east, lat - reach_lat, lat + reach_lat),
            ):
                rows[row[0]] = (row[1], row[2])
        if not rows:
            return np.zeros(0, np.int64)
        try:
            ids = np.fromiter(rows.keys(), np.int64, len(rows))
            places = np.array(list(rows.values()), np.float64)
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        if ids.min() < 0 or ids.max() >= self.count:
            raise self._damaged("it holds tiles that the manifest does not know")
        distance = geo.distance_m(lat, lon, places[:, 0], places[:, 1])
        order = np.lexsort((ids, distance))
        return ids[order[distance[order] <= radius_m]]

    def around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> list[NDArray[np.int64]]:
        """Ids within ``radius_m`` of each of several positions, rising: quicker than :meth:`near` for many.

        All centres are in memory once they were asked for; sorted by latitude, a position's neighbours lie in a
        narrow band of them.
        """
        lat, lon = self.centres()
        if self._by_latitude is None:
            order = np.argsort(lat, kind="stable")
            self._by_latitude = (order, lat[order])
        order, sorted_lat = self._by_latitude
        found: list[NDArray[np.int64]] = []
        for here_lat, here_lon in zip(lats.tolist(), lons.tolist(), strict=True):
            per_lat, per_lon = (float(v) for v in geo.metres_per_degree(here_lat))
            reach = radius_m / per_lat
            first, last = np.searchsorted(sorted_lat, (here_lat - reach, here_lat + reach))
            band = order[first:last]
            east = ((lon[band] - here_lon + 180.0) % 360.0 - 180.0) * per_lon
            north = (lat[band] - here_lat) * per_lat
            found.append(np.sort(band[east * east + north * north <= radius_m * radius_m]))
        return found

    def having(self, extents_m: tuple[float, ...], sources: tuple[str, ...]) -> NDArray[np.int64]:
        """Ids of the tiles of one of these extents (none given: of any) and one of these sources (likewise)."""
        tests = [
            f"{column} IN ({','.join('?' * len(values))})"
            for column, values in (("extent_m", extents_m), ("source", sources))
            if values
        ]
        rows = self._query(
            f"SELECT id FROM tiles WHERE {' AND '.join(tests) or '1'} AND id BETWEEN 0 AND ?",
            (*extents_m, *sources, self.count - 1),
        )
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def problem(self) -> str:
        """What is wrong with the file as a whole, empty where nothing is; reads all of it."""
        said = self._query("PRAGMA integrity_check(1)")[0][0]
        if said != "ok":
            return f"its pages are damaged ({str(said)[:80]})"
        rows, indexed = (
            self._query(f"SELECT count(*) FROM {name}")[0][0]
            for name in ("tiles", "rtree_tiles_geom")
        )
        if rows != self.count or indexed != self.count:
            return (
                f"it holds {rows:,} tiles and {indexed:,} footprints, the manifest {self.count:,}"
            )
        self.centres()
        return ""

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _tile(self, row: Sequence[Any]) -> Tile:
        try:
            tile = Tile(
                int(row[0]), float(row[1]), float(row[2]), float(row[3]), str(row[4])[:1000]
            )
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        good = abs(tile.lat) <= 90 and abs(tile.lon) <= 180 and 0 < tile.extent_m < 1e6
        if not good:
            raise self._damaged(f"tile {tile.id} does not lie on the Earth")
        return tile

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, reason: object) -> IndexFolderError:
        return IndexFolderError(
            f"the tile table {self.path.name} cannot be used: {str(reason)[:120]}",
            self.path.parent,
            _VERIFY,
        )
