"""Looking into a dataset's folder, and saying what was expected where when it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from engine.datasets.records import Dataset, Indices, Records
from engine.errors import DatasetError

T = TypeVar("T")

_SHOWN = 8


def contents(folder: Path) -> str:
    """The first names in a folder, for messages: what was found instead."""
    if not folder.is_dir():
        return "nothing: there is no such folder"
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing: it is empty"


def need_folder(folder: Path, what: str) -> Path:
    """``folder``, which ``what`` (a phrase) says the purpose of.

    Raises:
        DatasetError: it is not there; the message says what stands beside it.
    """
    if folder.is_dir():
        return folder
    raise DatasetError(
        f"the folder {folder.name}/ is missing, {what}; {folder.parent} holds {contents(folder.parent)}",
        folder.parent,
        "Complete the dataset, or check --dataset and --format",
    )


def need_file(places: Sequence[Path], what: str) -> Path:
    """The first of ``places`` that is a file.

    Raises:
        DatasetError: none is; the message lists where it was looked for and what the folder holds.
    """
    for path in places:
        if path.is_file():
            return path
    tried = " or ".join(str(path) for path in places)
    here = next((p.parent for p in places if p.parent.is_dir()), places[0].parent)
    raise DatasetError(
        f"{what} is missing: looked for {tried}; {here} holds {contents(here)}",
        places[0].parent,
        "Complete the dataset, or check --dataset and --format",
    )


def read_lines(path: Path) -> list[str]:
    """The lines of a list without their ends; empty ones at the end of the file are left out.

    Raises:
        DatasetError: it cannot be read as text.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot be read as text ({error})", path, "Get this file of the dataset again"
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DatasetError("the list is empty", path, "Get this file of the dataset again")
    return lines


def bad_line(path: Path, number: int, problem: str) -> DatasetError:
    """The error for one line of a list, counted from 1."""
    return DatasetError(f"line {number}: {problem}", path, "Get this file of the dataset again")


def check_split(split: str | None, known: Sequence[str], default: str, folder: Path) -> str:
    """``split``, ``default`` for None.

    Raises:
        DatasetError: the format has no such split.
    """
    if split is None:
        return default
    if split not in known:
        raise DatasetError(f"there is no split {split!r}", folder, f"Known: {', '.join(known)}")
    return split


def missing_pictures(files: Iterable[Path]) -> list[Path]:
    """Those of ``files`` that do not exist, each once, in order; every folder is listed once."""
    listed: dict[Path, set[str]] = {}
    missing: dict[Path, None] = {}
    for path in files:
        folder = path.parent
        if folder not in listed:
            listed[folder] = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        if path.name not in listed[folder]:
            missing[path] = None
    return list(missing)


def check_pictures(
    dataset: Dataset, remedy: str = "Complete the dataset; --skip-missing leaves them out"
) -> None:
    """See that every picture of a dataset is there, before hours of work.

    Raises:
        DatasetError: naming the first that are missing, and how many.
    """
    queries = missing_pictures(dataset.queries.files)
    references = missing_pictures(dataset.references.files)
    missing = list(dict.fromkeys([*queries, *references]))
    if not missing:
        return
    total = len({*dataset.queries.files, *dataset.references.files})
    shown = ", ".join(str(path) for path in missing[:5])
    more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
    raise DatasetError(
        f"{len(missing):,} of its {total:,} pictures are missing: {shown}{more}",
        dataset.folder,
        remedy,
    )


def without_missing(dataset: Dataset) -> Dataset:
    """The dataset without the pictures that are not there; a note says how many were left out.

    A query whose true reference is missing is left out too, as the papers' code does for CVACT.

    Raises:
        DatasetError: nothing is left.
    """
    gone = set(missing_pictures([*dataset.queries.files, *dataset.references.files]))
    if not gone:
        return dataset
    keep_reference = np.array([path not in gone for path in dataset.references.files], bool)
    number = np.cumsum(keep_reference) - 1
    number[~keep_reference] = -1
    true = dataset.true_references
    kept = [
        i
        for i, path in enumerate(dataset.queries.files)
        if path not in gone and (true[i] < 0 or keep_reference[true[i]])
    ]
    if not kept or not keep_reference.any():
        check_pictures(dataset, "Without them nothing is left to measure: complete the dataset")

    def renumbered(indices: Indices) -> Indices:
        new = number[indices]
        return new[new >= 0].astype(np.int64)

    chosen = np.asarray(kept, np.int64)
    return replace(
        dataset,
        queries=select(dataset.queries, chosen),
        references=select(dataset.references, np.flatnonzero(keep_reference)),
        positives=tuple(renumbered(dataset.positives[i]) for i in kept),
        semi_positives=tuple(renumbered(dataset.semi_positives[i]) for i in kept)
        if dataset.semi_positives
        else (),
        query_reader=_Renumbered(dataset.query_reader, chosen),
        reference_reader=_Renumbered(dataset.reference_reader, np.flatnonzero(keep_reference)),
        offsets_px=None if dataset.offsets_px is None else dataset.offsets_px[chosen],
        notes=(
            *dataset.notes,
            f"{len(gone):,} pictures are missing; {len(dataset.queries) - len(kept):,} queries were left out.",
        ),
    )


def first_queries(dataset: Dataset, count: int) -> Dataset:
    """The dataset with its first ``count`` queries alone, and all references."""
    kept = list(range(min(count, len(dataset.queries))))
    return replace(
        dataset,
        queries=select(dataset.queries, np.asarray(kept, np.int64)),
        positives=tuple(dataset.positives[i] for i in kept),
        semi_positives=tuple(dataset.semi_positives[i] for i in kept)
        if dataset.semi_positives
        else (),
        offsets_px=None if dataset.offsets_px is None else dataset.offsets_px[kept],
    )


def select(records: Records, indices: Indices) -> Records:
    """Some of the pictures."""
    return Records(
        files=tuple(records.files[i] for i in indices),
        lat=records.lat[indices],
        lon=records.lon[indices],
        heading_deg=records.heading_deg[indices],
        extent_m=records.extent_m[indices],
        splits=tuple(records.splits[i] for i in indices),
        labels=tuple(records.labels[i] for i in indices),
        utm=None if records.utm is None else records.utm[indices],
        fov_deg=None if records.fov_deg is None else records.fov_deg[indices],
    )


@dataclass(frozen=True, eq=False)
class _Renumbered(Generic[T]):
    """A reader for some of the pictures, which knows them by their new numbers."""

    reader: Callable[[Path, int], T]
    indices: Indices

    def __call__(self, path: Path, index: int) -> T:
        return self.reader(path, int(self.indices[index]))
