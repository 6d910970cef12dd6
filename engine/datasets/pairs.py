"""Pairs of one's own: a table ``pairs.csv``, or two folders of pictures with the same names.

The table's first line names its columns. ``query`` and ``reference`` are files relative to the table; one line a pair,
the first line of a query is its true reference and further ones are other right answers. A line with a reference
alone adds a wrong answer to choose from. Optional columns: ``split``, ``label``, ``lat``, ``lon`` (of the photo),
``heading_deg``, ``fov_deg``, ``kind`` (panorama, perspective), ``reference_lat``, ``reference_lon``, ``extent_m``.

The folders are ``queries/`` and ``references/``, any depth; a pair has the same path but for the ending, and
references that no query names are wrong answers to choose from.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path, PurePosixPath
from typing import Literal, cast

import numpy as np

from engine.datasets.reading import FilesAsTiles, Photos
from engine.datasets.records import Dataset, Indices, make_records
from engine.errors import DatasetError

TABLE = "pairs.csv"
QUERIES, REFERENCES = "queries", "references"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")

_REQUIRED = ("query", "reference")
_NUMBERS = {
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "heading_deg": (-360.0, 720.0),
    "fov_deg": (1.0, 360.0),
    "reference_lat": (-90.0, 90.0),
    "reference_lon": (-180.0, 180.0),
    "extent_m": (0.1, 1e5),
}
_TEXTS = ("split", "label", "kind")

Kind = Literal["panorama", "perspective", ""]
Row = dict[str, str | float]


def open_pairs(folder: Path, split: str | None = None) -> Dataset:
    """A table of pairs (the file, or a folder with :data:`TABLE`), or a folder of two folders.

    Args:
        split: of the queries; None: all. References of every split stay to choose from.

    Raises:
        DatasetError: naming the file, and the line where there is one.
    """
    if folder.is_file():
        return _from_table(folder, split)
    if not folder.is_dir():
        raise DatasetError("there is no such dataset folder", folder, "Check the path")
    if (folder / TABLE).is_file():
        return _from_table(folder / TABLE, split)
    if (folder / QUERIES).is_dir() and (folder / REFERENCES).is_dir():
        return _from_folders(folder, split)
    found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    raise DatasetError(
        f"holds neither {TABLE} nor the folders {QUERIES} and {REFERENCES} (it holds {found})",
        folder,
        f"Write a {TABLE} with the columns query,reference",
    )


def pictures_under(folder: Path) -> list[Path]:
    """The pictures in a folder and below, by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())


def _from_folders(folder: Path, split: str | None) -> Dataset:
    if split:
        raise DatasetError("two folders of pictures know no splits", folder, f"Write a {TABLE}")
    queries, references = (pictures_under(folder / side) for side in (QUERIES, REFERENCES))
    for side, files in ((QUERIES, queries), (REFERENCES, references)):
        if not files:
            raise DatasetError(f"holds no pictures ({', '.join(ENDINGS)})", folder / side)
    by_name = {
        p.relative_to(folder / REFERENCES).with_suffix(""): i for i, p in enumerate(references)
    }
    positives: list[Indices] = []
    for path in queries:
        index = by_name.get(path.relative_to(folder / QUERIES).with_suffix(""))
        if index is None:
            raise DatasetError(
                f"no reference has its name (looked for {REFERENCES}/{path.stem} with any ending)",
                path,
                f"Add it, or write a {TABLE}",
            )
        positives.append(np.array([index], np.int64))
    records = make_records(queries)
    return Dataset(
        format="pairs",
        folder=folder,
        split="",
        queries=records,
        references=make_records(references),
        positives=tuple(positives),
        query_reader=Photos(np.full(len(records), np.nan), _unknown_kinds(len(records))),
        reference_reader=FilesAsTiles(),
    )


def _unknown_kinds(count: int) -> list[Kind]:
    return [""] * count


def _from_table(table: Path, split: str | None) -> Dataset:
    rows = _read_rows(table)
    references: dict[str, Row] = {}
    for row in rows:
        references.setdefault(str(row["reference"]), row)
    number = {name: i for i, name in enumerate(references)}
    queries: dict[str, Row] = {}
    positives: dict[str, list[int]] = {}
    for row in rows:
        name = str(row["query"])
        if not name or split not in (None, row["split"]):
            continue
        queries.setdefault(name, row)
        index = number[str(row["reference"])]
        if index not in positives.setdefault(name, []):
            positives[name].append(index)
    if not queries:
        known = ", ".join(sorted({str(row["split"]) for row in rows if row["split"]})) or "none"
        of = f" of the split {split!r}" if split is not None else ""
        raise DatasetError(f"holds no queries{of}", table, f"Its splits: {known}")
    root = table.parent
    asked, offered = list(queries.values()), list(references.values())

    def numbers(rows: list[Row], key: str) -> list[float]:
        return [cast(float, row[key]) for row in rows]

    records = make_records(
        (root / name for name in queries),
        lat=numbers(asked, "lat"),
        lon=numbers(asked, "lon"),
        heading_deg=[heading % 360.0 for heading in numbers(asked, "heading_deg")],
        split=[str(row["split"]) for row in asked],
        labels=(str(row["label"]) for row in asked),
        fov_deg=numbers(asked, "fov_deg"),
    )
    assert records.fov_deg is not None
    return Dataset(
        format="pairs",
        folder=root,
        split=split or "",
        queries=records,
        references=make_records(
            (root / name for name in references),
            lat=numbers(offered, "reference_lat"),
            lon=numbers(offered, "reference_lon"),
            heading_deg=0.0,
            extent_m=numbers(offered, "extent_m"),
            labels=(str(row["label"]) for row in offered),
            split=[str(row["split"]) for row in offered],
        ),
        positives=tuple(np.array(positives[name], np.int64) for name in queries),
        query_reader=Photos(records.fov_deg, [cast(Kind, row["kind"]) for row in asked]),
        reference_reader=FilesAsTiles(),
    )


def _read_rows(table: Path) -> list[Row]:
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise DatasetError(
                    f"has no column {', '.join(missing)} (its first line: {found[:200]})",
                    table,
                    "Its first line should name at least: query,reference",
                )
            rows = [_row(table, raw, line) for line, raw in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"cannot be read ({error})", table, "It should be a CSV file in UTF-8"
        ) from error
    return rows


def _row(table: Path, raw: dict[str, str | None], line: int) -> Row:
    row: Row = {name: (raw.get(name) or "").strip() for name in (*_REQUIRED, *_TEXTS)}
    for name in _REQUIRED:
        path = PurePosixPath(str(row[name]))
        if (name == "reference" and not path.parts) or path.is_absolute() or ".." in path.parts:
            raise DatasetError(
                f"line {line}: {row[name]!r} is no file inside the dataset",
                table,
                "Correct that line",
            )
    if row["kind"] not in ("", "panorama", "perspective"):
        raise DatasetError(
            f"line {line}: kind {row['kind']!r} is neither panorama nor perspective",
            table,
            "Correct that line",
        )
    for key, (low, high) in _NUMBERS.items():
        text = (raw.get(key) or "").strip()
        try:
            value = float(text) if text else math.nan
        except ValueError:
            value = math.inf
        if not math.isnan(value) and not low <= value <= high:
            raise DatasetError(
                f"line {line}: {key} {text!r} is no number from {low:g} to {high:g}",
                table,
                "Correct that line",
            )
        row[key] = value
    return row
