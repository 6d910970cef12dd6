"""Tiles that were fetched so far, in a file beside the one that is to be: the work goes on from there."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import ImageryError
from engine.imagery.server.judge import Verdict
from engine.imagery.server.plan import TilePlan

_FORMAT = "nadir-fetch/1"
_PAGE = 4096
_MOST_COMPARED = 200_000
T = TypeVar("T")


class FetchStore:
    """The working file of a fetch. For the thread that made it.

    Every transaction is whole or not there, also after ``kill -9`` (SQLite's rollback journal).

    Args:
        path: the file; made where there is none.
        identity: of the server; a file of another one is not touched.

    Raises:
        ImageryError: it is another server's, damaged, or cannot be written.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self._mark = f"{_FORMAT} {hashlib.sha256(identity.encode()).hexdigest()}"
        self._db: sqlite3.Connection
        self._try(self._open)

    def _open(self) -> None:
        # Whoever has it open has it alone, until the process ends, however that is.
        self._db = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute(f"PRAGMA page_size={_PAGE}")
            self._db.execute("PRAGMA trusted_schema=OFF")
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("CREATE TABLE IF NOT EXISTS job (mark TEXT)")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS tiles (zoom INTEGER, row INTEGER, column INTEGER, state TEXT,"
                " digest BLOB, data BLOB)"
            )
            self._db.execute(
                "CREATE UNIQUE INDEX IF NOT EXISTS tile_index ON tiles (zoom, row, column)"
            )
            mark = self._db.execute("SELECT mark FROM job").fetchone()
            if mark is None:
                self._db.execute("INSERT INTO job VALUES (?)", (self._mark,))
            elif mark[0] != self._mark:
                raise ImageryError(
                    "tiles of another server are kept there",
                    self.path,
                    "Delete this file, or choose another name for what is fetched",
                )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.close()
            raise

    def _try(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._try(lambda: self._db.execute(sql, values).fetchall())

    def known(self, zoom: int, row: int, first: int, last: int) -> dict[int, str]:
        """Columns of a row that need not be asked for, with their state."""
        found = self._all(
            "SELECT column, state FROM tiles WHERE zoom = ? AND row = ? AND column BETWEEN ? AND ?",
            (zoom, row, first, last),
        )
        return {int(column): str(state) for column, state in found}

    def put(self, zoom: int, tiles: list[tuple[int, int, Verdict]]) -> None:
        """Keep what became of tiles (column, row, verdict), in one transaction."""
        rows = [
            (zoom, row, column, v.state, v.digest or None, v.data or None)
            for column, row, v in tiles
        ]

        def write() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

        self._try(write)

    def first_picture(self, zoom: int) -> bytes:
        """Some tile that is a picture; empty where there is none."""
        rows = self._all(
            "SELECT data FROM tiles WHERE zoom = ? AND state = 'stored' LIMIT 1", (zoom,)
        )
        return bytes(rows[0][0]) if rows else b""

    def sameness(self, plan: TilePlan) -> tuple[int, int]:
        """How many pictures of a plan there are, and how many of them are the commonest one; of many, a part."""
        count: Counter[bytes] = Counter()
        for row, first, last in plan.spans.tolist():
            if len(count) > _MOST_COMPARED:
                break
            found = self._all(
                "SELECT digest FROM tiles WHERE zoom = ? AND row = ? AND column BETWEEN ? AND ? AND state = 'stored'",
                (plan.level.zoom, row, first, last),
            )
            count.update(bytes(digest) for (digest,) in found)
        return count.total(), max(count.values(), default=0)

    def close(self) -> None:
        """Close the file; it stays."""
        self._db.close()

    def delete(self) -> None:
        """Close and remove it: it is needed no more."""
        self.close()
        for path in (self.path, self.path.with_name(self.path.name + "-journal")):
            path.unlink(missing_ok=True)


def store_error(error: sqlite3.Error, path: Path) -> ImageryError:
    """What SQLite could not do, in words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return ImageryError(
            "the disk is full", path, "Make room on it and run this again: it goes on from here"
        )
    if code == sqlite3.SQLITE_BUSY:
        return ImageryError("it is being fetched already", path, "Wait for the other one to end")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return ImageryError(
            "it cannot be written there", path, "Check the folder and its permissions"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return ImageryError(
            "what was fetched before is damaged", path, "Delete this file and begin again"
        )
    return ImageryError(f"it cannot be written ({error})", path)


def is_full(error: OSError) -> bool:
    """Whether there was no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
