"""The tile table ``tiles.gpkg``: where every tile lies, as a GeoPackage with an R-tree, so that any GIS shows it.

SQLite files can come from anybody: they are opened read-only and immutable, with an untrusted schema, and what is
read from them is checked.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import geo
from engine.errors import IndexFolderError
from engine.sqlite import StrangeDatabase

_ROWS_A_QUERY = 500
_LONGEST = 1 << 20  # bytes of one value
_VERIFY = "Check it with: nadir index verify"


@dataclass(frozen=True)
class Tile:
    """One reference: a tile, or a photo of the street.

    Args:
        id: its row in the vectors.
        lat, lon: its centre, or where it was taken, WGS84.
        extent_m: metres along a side; 0 of a photo.
        source: the name of the imagery it was cut from, or of the pictures it is one of.
        picture: of a reference that is a picture of its own: its number among them; else None.
        heading_deg: where a photo was taken towards, clockwise from north; None: not known.
        name: of a picture's file.
        source_number: which of the manifest's imageries it is from.
    """

    id: int
    lat: float
    lon: float
    extent_m: float
    source: str
    picture: int | None = None
    heading_deg: float | None = None
    name: str = ""
    source_number: int = 0

    @property
    def bounds(self) -> geo.Bounds:
        """Its footprint."""
        return geo.tile_bounds(self.lat, self.lon, self.extent_m)


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
        try:
            self._database = StrangeDatabase(path, _LONGEST, count)
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        try:
            self._columns = self._check_schema()
        except BaseException:
            self._database.close()
            raise

    def _check_schema(self) -> str:
        """The columns that are read of a row; those of pictures where the table has them."""
        kinds = dict(
            self._query(
                "SELECT name, substr(sql, 1, 60) FROM sqlite_schema WHERE name IN ('tiles','rtree_tiles_geom')"
            )
        )
        table, tree = (str(kinds.get(name, "")).upper() for name in ("tiles", "rtree_tiles_geom"))
        if not table.startswith("CREATE TABLE") or "USING RTREE" not in tree:
            raise self._damaged("it holds no tiles")
        # Each on its own is looked up; together they would be searched for in all rows.
        last = self._query("SELECT (SELECT max(id) FROM tiles), (SELECT min(id) FROM tiles)")[0]
        if last != (self.count - 1, 0):
            raise self._damaged(f"it does not hold the {self.count:,} tiles of the manifest")
        names = {row[0] for row in self._query("SELECT name FROM pragma_table_info('tiles')")}
        more = ", picture, heading_deg, name" if "picture" in names else ""
        return f"id, lat, lon, extent_m, source{more}"

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

    def places(self, first: int, last: int) -> NDArray[np.float64]:
        """Latitude, longitude and extent [n, 3] of the rows ``first .. last`` (without ``last``)."""
        rows = self._query(
            "SELECT lat, lon, extent_m FROM tiles WHERE id >= ? AND id < ? ORDER BY id",
            (first, last),
        )
        try:
            values = np.array(rows, np.float64).reshape(-1, 3)
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        if len(values) != last - first or not np.isfinite(values).all():
            raise self._damaged(f"it does not hold the {self.count:,} tiles of the manifest")
        return values

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
                f"SELECT {self._columns} FROM tiles WHERE id IN ({marks})", part
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
        return ""

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def _tile(self, row: Sequence[Any]) -> Tile:
        heading = name = picture = None
        if len(row) > 5:
            picture, heading, name = row[5:8]
        try:
            tile = Tile(
                id=int(row[0]),
                lat=float(row[1]),
                lon=float(row[2]),
                extent_m=float(row[3]),
                source=str(row[4])[:1000],
                picture=None if picture is None else int(picture),
                heading_deg=None if heading is None else float(heading) % 360.0,
                name="" if name is None else str(name)[:1000],
            )
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        # A photo of the street covers no ground that is known.
        least = 0.0 if tile.picture is None else -1e-9
        good = abs(tile.lat) <= 90 and abs(tile.lon) <= 180 and least < tile.extent_m < 1e6
        good &= tile.picture is None or 0 <= tile.picture < 1 << 40
        good &= tile.heading_deg is None or math.isfinite(tile.heading_deg)
        if not good:
            raise self._damaged(f"tile {tile.id} does not lie on the Earth")
        return tile

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._database.query(sql, tuple(values))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, reason: object) -> IndexFolderError:
        return IndexFolderError(
            f"the tile table {self.path.name} cannot be used: {str(reason)[:120]}",
            self.path.parent,
            _VERIFY,
        )
