"""MBTiles with pictures (MBTiles 1.3), of any zoom: opened for reading alone, as a file from a stranger.

Rows count from the south as the format asks; a file whose rows count from the north is recognised by its metadata
(``scheme``) or by its bounds. A file that Nadir wrote of another grid than that of web maps says so (``nadir_grid``).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import ImageryError, printable
from engine.geo import Bounds
from engine.imagery.pyramid import PyramidFacts, TilePyramid
from engine.imagery.raster import file_fingerprint
from engine.imagery.tile_cover import Cover
from engine.imagery.tile_grid import (
    DEEPEST_ZOOM,
    TileGrid,
    grid_from_json,
    web_mercator_grid,
)
from engine.imagery.tile_image import MOST_TILE_BYTES, TileError, kind_of, tile_size
from engine.imagery.tile_rows import (
    RowRule,
    bounds_of,
    line,
    mercator_rows,
    row_rule,
    said,
    said_rows,
)

GRID_KEY, LICENCE_KEY, TERMS_KEY, FETCH_KEY = "nadir_grid", "licence", "terms", "nadir_fetch"
_DAMAGED = "It may be damaged or incomplete: copy or download it again"
_STEPS = 200_000  # of SQLite's machine between two looks at the budget
_LOOKS = 1_000  # such looks that opening, or a later question, may take: a few seconds
_MOST_METADATA = 1 << 20
_MOST_COLUMNS = 200_000  # of one zoom
_SAMPLES = 16
_NEXT_COLUMN = (
    "SELECT c, (SELECT min(tile_row) FROM tiles WHERE zoom_level = ?1 AND tile_column = c),"
    " (SELECT max(tile_row) FROM tiles WHERE zoom_level = ?1 AND tile_column = c)"
    " FROM (SELECT min(tile_column) AS c FROM tiles WHERE zoom_level = ?1 AND tile_column > ?2)"
)
_FUNCTIONS = frozenset({"min", "max", "count", "length", "substr", "typeof"})


def open_mbtiles(path: Path | str, *, zoom: int | None = None) -> TilePyramid:
    """Open MBTiles as imagery, at its deepest zoom or at the one asked for.

    Raises:
        ImageryError: it is no SQLite file, damaged, holds vector tiles, or nothing that can be placed.
    """
    store = MBTilesStore(Path(path).absolute())
    try:
        return TilePyramid(store, store.facts(), zoom=zoom)
    except BaseException:
        store.close()
        raise


class MBTilesStore:
    """The tiles of one file; see ``TileStore``.

    Raises:
        ImageryError: see :func:`open_mbtiles`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._looks, self._open = 0, False
        self._covers: dict[int, Cover | None] = {}
        try:
            with open(path, "rb") as file:
                header = file.read(16)
            if header != b"SQLite format 3\x00":
                raise ImageryError("this is no MBTiles file", path, "MBTiles are SQLite files")
            address = f"{path.as_uri()}?mode=ro&immutable=1"
            self._db = sqlite3.connect(address, uri=True, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ImageryError(f"it cannot be read ({error})", path) from error
        try:
            self._guard()
            self._look()
            self._open = True
        except BaseException:
            self._db.close()
            raise

    def _guard(self) -> None:
        """Nothing in the file may run, write, reach elsewhere, or go on for ever."""
        db = self._db
        try:
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_TILE_BYTES + 1024)
            db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000)
            db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            db.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50)
            db.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 10)
            for pragma in (
                "trusted_schema=OFF",
                "cell_size_check=ON",
                "query_only=ON",
                "mmap_size=0",
                "cache_size=-8192",
            ):
                db.execute(f"PRAGMA {pragma}")
            db.set_authorizer(_allowed)
            db.set_progress_handler(self._tick, _STEPS)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _tick(self) -> int:
        self._looks += 1
        return 1 if self._looks > _LOOKS else 0

    def _query(self, sql: str, values: tuple[int, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._open:
                self._looks = 0
            try:
                return self._db.execute(sql, values).fetchall()
            except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError) as error:
                # (SQLite's own words may repeat bytes of the file that are no text.)
                raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ImageryError:
        if "interrupted" in str(error):
            return ImageryError(
                "looking up its tiles takes far too long: they have no index",
                self.path,
                "Make one: CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row)",
            )
        reason = printable(str(error))[:120]
        return ImageryError(f"it cannot be read as MBTiles ({reason})", self.path, _DAMAGED)

    def _look(self) -> None:
        tables = {
            str(row[0]).lower() for row in self._query("SELECT name FROM sqlite_schema LIMIT 10000")
        }
        if "tiles" not in tables:
            raise ImageryError("it is a SQLite file without map tiles", self.path)
        self.metadata = self._metadata() if "metadata" in tables else {}
        self._refuse_vectors(line(self.metadata.get("format")).lower())
        found: list[int] = []
        last = DEEPEST_ZOOM + 1
        while len(found) <= DEEPEST_ZOOM:
            row = self._query("SELECT max(zoom_level) FROM tiles WHERE zoom_level < ?", (last,))[0][
                0
            ]
            if not isinstance(row, int) or row < 0:
                break
            found.append(row)
            last = row
        if not found:
            raise ImageryError("it holds no tiles", self.path)
        self._found = frozenset(found)
        self.zooms = tuple(reversed(found))
        self.grid, self._rule = self._placed(found)

    def _metadata(self) -> dict[str, str]:
        rows = self._query(
            "SELECT name, value FROM metadata WHERE length(value) <= ? LIMIT 1000",
            (_MOST_METADATA,),
        )
        return {str(name): value for name, value in rows if isinstance(value, str)}

    def _refuse_vectors(self, kind: str) -> None:
        first = self._query("SELECT substr(tile_data, 1, 64) FROM tiles LIMIT 1")
        data = first[0][0] if first else b""
        what = kind_of(data) if isinstance(data, bytes) else ""
        if kind in ("pbf", "mvt") or what == "a vector tile":
            raise ImageryError(
                "it holds vector tiles, which are drawings and no pictures",
                self.path,
                "Use MBTiles with aerial pictures (format png, jpg or webp)",
            )

    def _placed(self, found: list[int]) -> tuple[TileGrid, RowRule]:
        """The grid, and how rows count in it."""
        deepest = found[0]
        own = self.metadata.get(GRID_KEY)
        if own is not None:
            try:
                grid = grid_from_json(json.loads(own))
                grid.level(deepest)
            except (ValueError, KeyError, RecursionError) as error:
                raise ImageryError(
                    "what it says of its grid means nothing", self.path, _DAMAGED
                ) from error
            return grid, RowRule("tms")
        code = line(self.metadata.get("crs")).upper()
        if code.startswith("EPSG:") and code not in ("EPSG:3857", "EPSG:900913"):
            raise ImageryError(
                f"its tiles are in {printable(code)[:20]}, and MBTiles do not say on which grid",
                self.path,
                "Convert it to a GeoTIFF with the program that made it",
            )
        cover = self._stored_cover(deepest)
        if cover is None:
            raise ImageryError("its tiles have no columns and rows", self.path, _DAMAGED)
        count = 2**deepest
        ends = (int(cover.tops.min()), int(cover.bottoms.max()))
        if ends[0] < 0 or ends[1] >= count or cover.columns[0] < 0 or cover.columns[-1] >= count:
            raise ImageryError(
                f"it has tiles beyond the edge of the world at zoom {deepest}", self.path, _DAMAGED
            )
        box = bounds_of(self.metadata.get("bounds"))
        wanted = None if box is None or _whole(box) else mercator_rows(box, deepest)
        rule = row_rule(ends, count, wanted, "tms", said_rows(self.metadata))
        return web_mercator_grid(self._tile_pixels(deepest, cover), (0, deepest)), rule

    def _tile_pixels(self, zoom: int, cover: Cover) -> int:
        """The side of a tile, from the first of a few that can be read."""
        problem = ""
        for i in np.unique(np.linspace(0, len(cover.columns) - 1, _SAMPLES).astype(int)):
            column = int(cover.columns[i])
            for row in {int(cover.tops[i]), int(cover.bottoms[i])}:
                data = self._blob(zoom, column, row)
                try:
                    width, height = tile_size(data or b"")
                except TileError as error:
                    problem = problem or str(error)
                    continue
                if width == height:
                    return width
                problem = problem or f"it has {width} by {height} pixels"
        raise ImageryError(
            f"its tiles cannot be shown ({problem} in the first)", self.path, _DAMAGED
        )

    def cover(self, zoom: int) -> Cover | None:
        """See ``TileStore``."""
        if zoom not in self._found:
            return None
        if zoom not in self._covers:
            self._covers[zoom] = self._cover(zoom)
        return self._covers[zoom]

    def _cover(self, zoom: int) -> Cover | None:
        stored = self._stored_cover(zoom)
        if stored is None:
            return None
        level = self.grid.level(zoom)
        ends = [
            np.array([self._rule.from_north(int(row), level.rows) for row in rows], np.int64)
            for rows in (stored.tops, stored.bottoms)
        ]
        inside = (stored.columns >= 0) & (stored.columns < level.columns)
        tops, bottoms = np.minimum(*ends), np.maximum(*ends)
        inside &= (tops >= 0) & (bottoms < level.rows)
        if not inside.any():
            return None
        return Cover(stored.columns[inside], tops[inside], bottoms[inside])

    def _stored_cover(self, zoom: int) -> Cover | None:
        """Columns and their rows as they are stored: a few steps down the file's index for every column."""
        columns: list[tuple[int, int, int]] = []
        column = -1
        while len(columns) < _MOST_COLUMNS:
            column, low, high = self._query(_NEXT_COLUMN, (zoom, column))[0]
            if not isinstance(column, int):
                break
            if isinstance(low, int) and isinstance(high, int):
                columns.append((column, low, high))
        if not columns:
            return None
        table = np.array(columns, np.int64)
        return Cover(table[:, 0], table[:, 1], table[:, 2])

    def read(self, zoom: int, column: int, row: int) -> bytes | None:
        """See ``TileStore``."""
        if zoom not in self._found:
            return None
        return self._blob(zoom, column, self._rule.from_north(row, self.grid.level(zoom).rows))

    def _blob(self, zoom: int, column: int, stored_row: int) -> bytes | None:
        rows = self._query(
            "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ? LIMIT 1",
            (zoom, column, stored_row),
        )
        data = rows[0][0] if rows else None
        return data if isinstance(data, bytes) and data else None

    def facts(self) -> PyramidFacts:
        """What the file says of itself."""
        metadata = self.metadata
        notes = [self._rule.note] if self._rule.note else []
        beside = self.path.with_name(self.path.name + "-wal")
        if beside.exists() and beside.stat().st_size:
            notes.append(
                "another program is writing to it: what is not yet in the file itself is not seen"
            )
        notes.extend(_fetch_notes(metadata.get(FETCH_KEY)))
        return PyramidFacts(
            kind="MBTiles" if self.grid.is_web_mercator else "map tiles",
            name=self.path.stem,
            attribution=said(metadata.get("attribution")),
            licence=said(metadata.get(LICENCE_KEY) or metadata.get("license")),
            terms=said(metadata.get(TERMS_KEY)),
            notes=tuple(notes),
            fingerprint=file_fingerprint(self.path),
            bytes=self.path.stat().st_size,
            files=1,
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _allowed(action: int, first: str | None, second: str | None, *_: Any) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _whole(box: Bounds) -> bool:
    return box.north > 84 and box.south < -84


def _fetch_notes(value: str | None) -> list[str]:
    """What a fetch from a server could not get, or found empty, in words."""
    try:
        said = json.loads(value or "{}")
        asked, failed, absent, blank = (
            int(said.get(key, 0)) for key in ("asked", "failed", "absent", "blank")
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return []
    notes = []
    if failed > 0:
        notes.append(
            f"{failed:,} of {asked:,} tiles could not be fetched from the server and are missing"
        )
    if absent > 0 or blank > 0:
        notes.append(
            f"of {asked:,} tiles the server had {absent:,} not, and {blank:,} showed nothing"
        )
    return notes
