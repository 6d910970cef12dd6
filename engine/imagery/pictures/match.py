"""Which pictures the rows of a table speak of."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engine.geo import distance_m
from engine.imagery.pictures.kinds import bare_stem, kind_by_words
from engine.imagery.pictures.listing import ENDINGS
from engine.imagery.pictures.tables import Row, Table, TableError, likely_file_columns

_SAMPLE = 400
_SAME_M = 2.0  # two tables that round differently still mean the same place
_NAMED = 3


class Names:
    """Pictures by the stems of their names, so that a table may name them with or without folder and ending.

    Args:
        files: paths relative to the folder, with ``/``.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        self._by_stem: dict[str, list[int] | int] = {}
        for number, file in enumerate(files):
            stem = bare_stem(posixpath.splitext(file.rpartition("/")[2])[0])[0]
            known = self._by_stem.get(stem)
            if known is None:
                self._by_stem[stem] = number
            elif isinstance(known, int):
                self._by_stem[stem] = [known, number]
            else:
                known.append(number)

    def find(self, value: str, beside: str) -> list[int]:
        """The pictures that a table's cell names: one, or one of each kind; more are ambiguous.

        Args:
            value: a path, a file's name, or that without its ending.
            beside: the table's own folder, relative to the pictures'; its pictures come first.
        """
        folder, _, name = value.replace("\\", "/").rstrip("/").rpartition("/")
        if not name or len(value) > 1000:
            return []
        stem, suffix = posixpath.splitext(name)
        suffix = suffix.lower()
        dotted = suffix in ENDINGS
        stem = stem if dotted else name
        bare, kind = bare_stem(stem)
        known = self._by_stem.get(bare)
        if known is None:
            return []
        found = [known] if isinstance(known, int) else list(known)
        if dotted or kind is not None:  # it names one file, not the place that two show
            found = [n for n in found if PurePosixPath(self.files[n]).stem == stem]
        if dotted and len(found) > 1:
            found = [n for n in found if self.files[n].lower().endswith(suffix)] or found
        if folder and len(found) > 1:
            tail = "/".join(part for part in folder.split("/") if part not in ("", ".", ".."))
            tail = f"/{tail}/"
            found = [n for n in found if tail in "/" + self.files[n]] or found
        if len(found) > 1 and beside:
            found = [n for n in found if self.files[n].startswith(beside + "/")] or found
        return found


AERIAL, STREET = 1, 2
CODES = {"aerial": AERIAL, "street": STREET, None: 0}


@dataclass(eq=False)
class Facts:
    """What is known of pictures [N] so far; NaN and 0 where nothing is.

    Args:
        kind: 0, :data:`AERIAL` or :data:`STREET`.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    extent_m: NDArray[np.float64]
    kind: NDArray[np.uint8]
    tabled: NDArray[np.bool_]
    conflicts: dict[int, None] = field(default_factory=dict)

    @staticmethod
    def unknown(count: int) -> Facts:
        """Facts of pictures of which nothing is known."""
        lat, lon, heading, extent = (np.full(count, math.nan) for _ in range(4))
        kind, tabled = np.zeros(count, np.uint8), np.zeros(count, np.bool_)
        return Facts(lat, lon, heading, extent, kind, tabled)


@dataclass(frozen=True)
class Matched:
    """What came of a table.

    Args:
        pictures: it gave a place to.
        missing, off, ambiguous: rows that name no picture here, give no position on the Earth, or several pictures.
        first_off: what the first of those names.
    """

    column: str
    pictures: int
    missing: int
    off: int
    ambiguous: int
    first_off: str


def apply_table(table: Table, names: Names, root: Path, facts: Facts) -> Matched:
    """Write what a table says into ``facts``.

    Raises:
        TableError: it names no picture that is here, or cannot be read.
    """
    beside = table.path.parent.relative_to(root).as_posix()
    beside = "" if beside == "." else beside
    column = _file_column(table, names, beside)
    words = kind_by_words(table.words, table.path.stem)
    given = missing = off = ambiguous = 0
    first_off = ""
    for row in table.rows():
        value = row.texts.get(column, "")
        found = names.find(value, beside)
        if not found:
            missing += 1
            continue
        if not row.placed:
            off += 1
            first_off = first_off or value
            continue
        # One place may be shown by a tile and by a photo; two of one kind are one too many.
        kinds = [_kind_of(names.files[n], row, table, words) for n in found]
        if len(found) != len(set(kinds)):
            ambiguous += 1
            continue
        for number, kind in zip(found, kinds, strict=True):
            given += _put(facts, number, kind, row, table)
    return Matched(column, given, missing, off, ambiguous, first_off)


def _file_column(table: Table, names: Names, beside: str) -> str:
    """The column whose values are most often pictures that are here."""
    sample = list(islice(table.rows(), _SAMPLE))
    best, most = "", 0
    for column in likely_file_columns(table.columns):
        hits = sum(bool(names.find(row.texts.get(column, ""), beside)) for row in sample)
        if hits > most:
            best, most = column, hits
    if not best:
        # The first rows may speak of pictures that are not here, as in a part of a dataset: then all are looked at.
        for row in table.rows():
            for column in likely_file_columns(tuple(row.texts)):
                if names.find(row.texts[column], beside):
                    return column
        raise TableError("none of its columns names a picture that is here")
    return best


def _kind_of(file: str, row: Row, table: Table, words: str | None) -> int:
    path = PurePosixPath(file)
    told = bare_stem(path.stem)[1] or kind_by_words(path.stem, *reversed(path.parts[:-1]))
    if told is None and table.has_heading and not table.has_extent:
        told = "street"
    if told is None and (table.has_extent or math.isfinite(table.extent_m)):
        told = "aerial"
    return CODES[told or words]


def _put(facts: Facts, number: int, kind: int, row: Row, table: Table) -> bool:
    if facts.tabled[number]:
        apart = distance_m(facts.lat[number], facts.lon[number], row.lat, row.lon)
        if apart > _SAME_M:
            facts.conflicts[number] = None
        return False
    facts.tabled[number] = True
    facts.lat[number], facts.lon[number], facts.kind[number] = row.lat, row.lon, kind
    facts.heading_deg[number] = row.heading_deg if kind != AERIAL else math.nan
    extent = row.extent_m if math.isfinite(row.extent_m) else table.extent_m
    facts.extent_m[number] = extent if kind != STREET else math.nan
    return True


def shown(names: Sequence[str]) -> str:
    """The first few of some names, and how many more, for messages."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
