"""Tables beside pictures that say where they lie: CSV, JSON and GeoJSON, by the usual names of their columns.

Which column names the pictures is not told by its name: it is the one whose values are names of pictures that are
there (see :mod:`engine.imagery.pictures.match`).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from engine.imagery.pictures.names import on_earth

ENDINGS = (".csv", ".tsv", ".json", ".geojson", ".jsonl")
MAX_JSON_BYTES = 64 << 20  # JSON is read whole, at some ten times its size
MAX_CSV_BYTES = 4 << 30
MAX_ROWS = 20_000_000
_MAX_CELL = 4096
_SAMPLE = 400  # rows by which columns are told

_LAT = ("lat", "latitude", "gpslat", "gpslatitude", "latdeg", "centerlat", "centrelat", "tilelat",
        "maplatitude")  # fmt: skip
_LON = ("lon", "lng", "long", "longitude", "gpslon", "gpslng", "gpslongitude", "londeg", "centerlon", "centrelon",
        "tilelon", "maplongitude")  # fmt: skip
_HEADING = ("heading", "headingdeg", "compassangle", "computedcompassangle", "compass", "compassdeg", "bearing",
            "bearingdeg", "azimuth", "yaw", "yawdeg", "northdeg", "ca", "gpsimgdirection", "trueheading")  # fmt: skip
_EXTENT = (
    "extentm",
    "extent",
    "tileextentm",
    "groundextentm",
    "sizem",
    "sidem",
    "tilem",
    "tilesizem",
    "cellm",
)
_FILES = ("file", "filename", "image", "imagename", "img", "name", "path", "key", "id")


@dataclass(frozen=True)
class Row:
    """One line: its texts by column, and what it says; NaN where it says nothing."""

    texts: Mapping[str, str]
    lat: float
    lon: float
    heading_deg: float
    extent_m: float

    @property
    def placed(self) -> bool:
        """Whether it says a position on the Earth."""
        return on_earth(self.lat, self.lon) is not None


@dataclass(frozen=True)
class Table:
    """A table with a latitude and a longitude in every row.

    Args:
        columns: all of them, as they are written.
        words: what the list is called where it has a name ("tiles"), for telling what its pictures are.
        extent_m: what is said once for all rows; NaN where nothing is.
        extent_from: the key that says so.
        has_heading, has_extent: whether there are such columns.
    """

    path: Path
    columns: tuple[str, ...]
    words: str
    extent_m: float
    extent_from: str
    has_heading: bool
    has_extent: bool

    def rows(self) -> Iterator[Row]:
        """All rows, one at a time.

        Raises:
            TableError: the file cannot be read on.
        """
        for raw in _raw_rows(self.path)[0]:
            yield _row(raw)


class TableError(Exception):
    """Why a file is no table of places, in a few words."""


def open_table(path: Path) -> Table:
    """Look at a file's first rows.

    Raises:
        TableError: it is no table, or has no latitude and longitude.
    """
    rows, words, shared = _raw_rows(path)
    sample = list(islice(rows, _SAMPLE))
    columns = tuple(dict.fromkeys(key for raw in sample for key in raw))
    if not sample:
        raise TableError("it has no rows")
    known = {_plain(column) for column in columns}
    if not (known.intersection(_LAT) and known.intersection(_LON)):
        named = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
        raise TableError(f"no latitude and longitude among its columns {named[:200]}")
    extent_key = next((key for key in shared if _plain(key) in _EXTENT), "")
    extent = _length(shared[extent_key]) if extent_key else math.nan
    return Table(
        path=path,
        columns=columns,
        words=words,
        extent_m=extent,
        extent_from=extent_key if math.isfinite(extent) else "",
        has_heading=bool(known.intersection(_HEADING)),
        has_extent=bool(known.intersection(_EXTENT)),
    )


def _raw_rows(path: Path) -> tuple[Iterator[dict[str, Any]], str, Mapping[str, Any]]:
    """The rows as they are, the list's own name, and what is said beside the list."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise TableError(f"it cannot be read ({error.strerror})") from error
    if path.suffix.lower() in (".csv", ".tsv"):
        if size > MAX_CSV_BYTES:
            raise TableError("it is larger than 4 GB")
        return _csv_rows(path), "", {}
    if path.suffix.lower() == ".jsonl":
        return _line_rows(path), "", {}
    if size > MAX_JSON_BYTES:
        raise TableError(
            f"it is larger than {MAX_JSON_BYTES >> 20} MB; a CSV file may be as large as needed"
        )
    try:
        return _json_rows(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise TableError("it is no JSON") from error


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.read(1 << 16)
            file.seek(0)
            first = head.split("\n", 1)[0]
            if "\x00" in head:
                raise TableError("it is no text")
            mark = max(("\t", ";", ","), key=first.count)
            for number, raw in enumerate(csv.DictReader(file, delimiter=mark)):
                if number >= MAX_ROWS:
                    raise TableError(f"it has more than {MAX_ROWS:,} rows")
                raw.pop(None, None)  # pyright: ignore[reportCallIssue, reportArgumentType] - cells beyond the header
                yield {str(key): value for key, value in raw.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"it cannot be read as CSV in UTF-8 ({str(error)[:80]})") from error


def _line_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            while line := file.readline(1 << 20):
                value = json.loads(line) if line.strip() else None
                if isinstance(value, dict):
                    yield _flat(value)
    except (OSError, ValueError, RecursionError) as error:
        raise TableError("it is no list of JSON lines") from error


def _json_rows(value: Any) -> tuple[Iterator[dict[str, Any]], str, Mapping[str, Any]]:
    """Lists of objects, under any key or none; objects by name; GeoJSON."""
    if isinstance(value, list):
        return (_flat(one) for one in value if isinstance(one, dict)), "", {}
    if not isinstance(value, dict):
        raise TableError("it is no list of objects")
    lists = {
        key: one
        for key, one in value.items()
        if isinstance(one, list) and any(isinstance(part, dict) for part in one[:_SAMPLE])
    }
    if lists:
        key = max(lists, key=lambda name: len(lists[name]))
        return (_flat(one) for one in lists[key] if isinstance(one, dict)), str(key), value
    named = {key: one for key, one in value.items() if isinstance(one, dict)}
    if len(named) < max(1, len(value) // 2):
        raise TableError("it is no list of objects")
    return ({"name": key, **_flat(one)} for key, one in named.items()), "", value


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """One object with its nested ones' keys beside its own; a GeoJSON point becomes lat and lon."""
    flat: dict[str, Any] = {}
    for key, one in value.items():
        if key == "geometry" and isinstance(one, dict) and one.get("type") == "Point":
            spot = one.get("coordinates")
            if isinstance(spot, list) and len(spot) >= 2:
                flat["lon"], flat["lat"] = spot[0], spot[1]
        elif isinstance(one, dict):
            for inner, value_ in one.items():
                if not isinstance(value_, dict | list):
                    flat.setdefault(str(inner), value_)
        elif not isinstance(one, list):
            flat[str(key)] = one
    return flat


def _row(raw: Mapping[str, Any]) -> Row:
    said = {_plain(key): value for key, value in raw.items()}
    heading = _first(said, _HEADING)
    return Row(
        texts={
            key: str(value).strip()
            for key, value in raw.items()
            if isinstance(value, str | int) and not isinstance(value, bool)
            if len(str(value)[:_MAX_CELL]) < _MAX_CELL
        },
        lat=_first(said, _LAT),
        lon=_first(said, _LON),
        heading_deg=heading % 360.0,
        extent_m=next((_length(said[key]) for key in _EXTENT if key in said), math.nan),
    )


def likely_file_columns(columns: tuple[str, ...]) -> list[str]:
    """The columns, those first that are usually the file's; a number of a position names no file."""
    others = (*_LAT, *_LON, *_HEADING, *_EXTENT)
    kept = [column for column in columns if _plain(column) not in others]
    return sorted(kept, key=lambda column: _plain(column) not in _FILES)


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> float:
    return next((_number(said[name]) for name in names if name in said), math.nan)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _length(value: Any) -> float:
    metres = _number(value)
    return metres if 0.1 <= metres <= 1e5 else math.nan
