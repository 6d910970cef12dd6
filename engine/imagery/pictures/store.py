"""``pictures.sqlite``: pictures with their places in one file, their bytes as they were.

SQLite, so that one file holds a hundred thousand pictures and any of them is read at once. Such a file may come from
anybody: it is opened read-only and immutable, with an untrusted schema; what is read from it is checked, and the length
of a picture is asked for before the picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.imagery.pictures.kinds import Kind
from engine.imagery.pictures.listing import MAX_PICTURE_BYTES
from engine.imagery.pictures.pixels import pixels_of
from engine.imagery.pictures.source import bounds_of
from engine.progress import Report, silent
from engine.sqlite import StrangeDatabase

_APPLICATION_ID, _VERSION = 0x4E504943, 1  # "NPIC"
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL,
    heading_deg REAL, extent_m REAL, bytes INTEGER NOT NULL);
CREATE TABLE files (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_MAX_NAME = 1000
_DAMAGED = "Get the index again from its source, or build it again"


@dataclass(frozen=True)
class Kept:
    """One picture: its number, name, place, and the bytes of its file. NaN where a heading or extent is not known."""

    number: int
    name: str
    lat: float
    lon: float
    heading_deg: float
    extent_m: float
    data: bytes


def write_store(
    path: Path, kind: Kind, pictures: Iterable[Kept], count: int, report: Report = silent
) -> None:
    """Write pictures, in the order given; the same pictures give the same bytes.

    Args:
        count: how many there will be, for the report.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
        ImageryError: from ``pictures``.
    """
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA page_size=16384; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            f"PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_VERSION};"
        )
        connection.executescript("BEGIN;" + _SCHEMA)
        connection.execute("INSERT INTO about VALUES ('kind', ?)", (kind,))
        for done, one in enumerate(pictures):
            if done % 20 == 0:
                report(done, count, f"Keeping pictures: {done:,} of {count:,}")
            name = one.name.encode("utf-8", "replace").decode()[:_MAX_NAME]
            connection.execute(
                "INSERT INTO pictures VALUES (?,?,?,?,?,?,?)",
                (one.number, name, one.lat, one.lon, _nothing(one.heading_deg), _nothing(one.extent_m), len(one.data)),
            )  # fmt: skip
            connection.execute("INSERT INTO files VALUES (?,?)", (one.number, one.data))
        connection.commit()
    report(count, count, "")


def _nothing(value: float) -> float | None:
    return value if math.isfinite(value) else None


class PictureStore:
    """A file of pictures, open for reading; see :class:`engine.imagery.pictures.PictureSource`.

    Its pictures keep the numbers they were written with, which need not be consecutive; ``places()``, ``headings()``
    and ``extents_m()`` are in the order of :attr:`numbers`.

    Raises:
        ImageryError: it is no such file, or damaged.
    """

    crs = "EPSG:4326"
    attribution = ""
    licence = ""
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self._lock = threading.Lock()
        self._columns: NDArray[np.float64] | None = None
        try:
            rows = self.path.stat().st_size // 64  # no picture takes less
            self._database = StrangeDatabase(self.path, MAX_PICTURE_BYTES + (1 << 16), rows)
        except (OSError, sqlite3.Error) as error:
            raise self._damaged(error) from error
        try:
            self.kind: Kind = self._look()
        except BaseException:
            self._database.close()
            raise

    def _look(self) -> Kind:
        kinds = dict(
            self._query(
                "SELECT name, substr(sql, 1, 12) FROM sqlite_schema WHERE type='table' AND name IN"
                " ('about','pictures','files')"
            )
        )
        if {str(sql).upper() for sql in kinds.values()} != {"CREATE TABLE"} or len(kinds) != 3:
            raise self._damaged("it holds no pictures")
        said = self._query("SELECT substr(value, 1, 20) FROM about WHERE key='kind'")
        if said == [("aerial",)]:
            return "aerial"
        if said == [("street",)]:
            return "street"
        raise self._damaged("it does not say what its pictures are")

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def numbers(self) -> NDArray[np.int64]:
        """[N] rising."""
        return self._read_columns()[0].astype(np.int64)

    @property
    def bounds(self):
        """See :attr:`PictureSource.bounds`."""
        return bounds_of(*self.places())

    @property
    def resolution_m(self) -> float:
        """See :attr:`PictureSource.resolution_m`."""
        extents = self.extents_m()
        if extents is None:
            return 0.0
        middle = int(np.argsort(extents, kind="stable")[len(extents) // 2])
        return float(extents[middle]) / max(1, self.read(int(self.numbers[middle])).shape[1])

    def places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :meth:`PictureSource.places`."""
        columns = self._read_columns()
        return columns[1], columns[2]

    def headings(self) -> NDArray[np.float64]:
        """See :meth:`PictureSource.headings`."""
        return self._read_columns()[3]

    def extents_m(self) -> NDArray[np.float64] | None:
        """See :meth:`PictureSource.extents_m`."""
        return self._read_columns()[4] if self.kind == "aerial" else None

    def data(self, number: int) -> bytes:
        """The bytes of a picture's file.

        Raises:
            ImageryError: there is no such picture, or it is damaged.
        """
        length = self._query("SELECT length(data) FROM files WHERE id=?", (number,))
        if not length or not isinstance(length[0][0], int) or length[0][0] > MAX_PICTURE_BYTES:
            raise self._damaged(f"picture {number} is missing or too long")
        (row,) = self._query("SELECT data FROM files WHERE id=?", (number,))
        if not isinstance(row[0], bytes):
            raise self._damaged(f"picture {number} is none")
        return row[0]

    def read(self, number: int) -> NDArray[np.uint8]:
        """See :meth:`PictureSource.read`."""
        return pixels_of(self.data(number), f"{self.path.name}: {self.file_name(number)}")

    def file_name(self, number: int) -> str:
        """See :meth:`PictureSource.file_name`."""
        rows = self._query(
            "SELECT substr(name, 1, ?) FROM pictures WHERE id=?", (_MAX_NAME, number)
        )
        if not rows:
            raise self._damaged(f"picture {number} is missing")
        return str(rows[0][0])

    def fingerprint(self) -> str:
        """See :meth:`PictureSource.fingerprint`: of all its bytes."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def pictures(self, numbers: Sequence[int] | None = None) -> Iterator[Kept]:
        """Pictures with their bytes, one at a time: all, or those of some numbers in that order."""
        columns = self._read_columns()
        rows = {int(number): row for row, number in enumerate(columns[0])}
        for number in rows if numbers is None else numbers:
            _, lat, lon, heading, extent = (float(v) for v in columns[:, rows[number]])
            yield Kept(number, self.file_name(number), lat, lon, heading, extent, self.data(number))

    def write_copy(self, path: Path, numbers: NDArray[np.int64], report: Report = silent) -> None:
        """See :meth:`PictureSource.write_copy`."""
        write_store(path, self.kind, self.pictures(numbers.tolist()), len(numbers), report)

    def problem(self) -> str:
        """What is wrong with the file as a whole, empty where nothing is; reads all of it."""
        said = self._query("PRAGMA integrity_check(1)")[0][0]
        if said != "ok":
            return f"its pages are damaged ({str(said)[:80]})"
        pictures, files = (
            self._query(f"SELECT count(*) FROM {name}")[0][0] for name in ("pictures", "files")
        )
        if pictures != files:
            return f"it names {pictures:,} pictures and holds {files:,}"
        self._read_columns()
        return ""

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_columns(self) -> NDArray[np.float64]:
        """Number, lat, lon, heading and extent of all pictures, [5, N], by number."""
        if self._columns is None:
            rows = self._query(
                "SELECT id, lat, lon, heading_deg, extent_m FROM pictures ORDER BY id"
            )
            try:
                columns = np.array(rows, np.float64).reshape(-1, 5).T
            except (TypeError, ValueError) as error:
                raise self._damaged(error) from error
            good = np.isfinite(columns[1:3]).all() and (np.abs(columns[1]) <= 90).all()
            if not len(rows) or not good or not (np.abs(columns[2]) <= 180).all():
                raise self._damaged("a picture's place is not on the Earth")
            self._columns = np.ascontiguousarray(columns)
        return self._columns

    def _query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._database.query(sql, tuple(values))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, reason: object) -> ImageryError:
        return ImageryError(
            f"these pictures cannot be used: {str(reason)[:120]}", self.path, _DAMAGED
        )
