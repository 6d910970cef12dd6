"""SQLite files from strangers: opened so that they can only be read, and hold nothing but plain tables.

A database may compute while it is read (views, generated columns, CHECK constraints, indexes over expressions), and its
pages may be woven so that a short file has more rows than one could ever count. Files that this program writes need
none of that, so all of it is refused, and every question may take so many steps.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

_COMPUTES = re.compile(r"\b(AS|CHECK|COLLATE|GENERATED|WHERE|WITH\s+RECURSIVE)\b", re.IGNORECASE)
_VIRTUAL = re.compile(r"\bVIRTUAL\b", re.IGNORECASE)
_RTREE = re.compile(
    r"CREATE\s+VIRTUAL\s+TABLE\s+\w+\s+USING\s+rtree\s*\([\w\s,]+\)\s*", re.IGNORECASE
)
_MAX_OBJECTS = 100
_STEPS = 100_000  # of SQLite's machine between two looks at the budget


class _Budget:
    """Ends a question that takes too many steps."""

    def __init__(self, looks: int) -> None:
        self.looks, self.left = looks, looks

    def tick(self) -> bool:
        self.left -= 1
        return self.left < 0


class StrangeDatabase:
    """A connection that reads; use it from one thread at a time.

    Args:
        path: the file. Journals that lie beside it are neither read nor touched.
        longest: bytes of the longest value that may be read.
        rows: how many rows its largest table should have; questions may take steps in proportion.

    Raises:
        sqlite3.Error: it is no database, is damaged, or holds something else than tables.
    """

    def __init__(self, path: Path, longest: int, rows: int) -> None:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._budget = _Budget(20 + rows * 400 // _STEPS)
        self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            for pragma in (
                "trusted_schema=OFF",
                "query_only=ON",
                "cell_size_check=ON",
                "mmap_size=0",
            ):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.set_progress_handler(self._budget.tick, _STEPS)
            self._check()
        except BaseException:
            self._connection.close()
            raise

    def query(self, sql: str, values: tuple[object, ...] | list[object] = ()) -> list[tuple]:
        """All rows of an answer. A bare ``count(*)`` is one step however long it takes: ask for ``sum(1)``.

        Raises:
            sqlite3.Error: the file is damaged, or the question took too many steps.
        """
        self._budget.left = self._budget.looks
        try:
            return self._connection.execute(sql, values).fetchall()
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError("it holds text that is none") from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _check(self) -> None:
        objects = self.query(f"SELECT type, name, sql FROM sqlite_schema LIMIT {_MAX_OBJECTS + 1}")
        if len(objects) > _MAX_OBJECTS:
            raise sqlite3.DatabaseError("it holds too many tables")
        for kind, name, sql in objects:
            text = sql if isinstance(sql, str) else ""
            plain = kind in ("table", "index") and not _COMPUTES.search(text)
            if _VIRTUAL.search(text) and not _RTREE.fullmatch(text):
                plain = False
            if kind == "index" and text.count("(") > 1:
                plain = False
            if not plain:
                raise sqlite3.DatabaseError(f"{str(name)[:40]} is more than a plain table")
