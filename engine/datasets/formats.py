"""The layouts by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.datasets.cvact import open_cvact
from engine.datasets.cvusa import open_cvusa
from engine.datasets.gsv import open_gsv_cities
from engine.datasets.pairs import open_pairs
from engine.datasets.records import Dataset
from engine.datasets.streets import open_sfxl, open_streets
from engine.datasets.university import open_university
from engine.datasets.vigor import open_vigor
from engine.datasets.world_tiles import open_world
from engine.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """One layout: how to open it (folder, split, then options by name), and its layout in a sentence."""

    open: Callable[..., Dataset]
    layout: str


FORMATS: dict[str, Format] = {
    "cvact": Format(open_cvact, "ACT_data.mat, ANU_data_small/ and ANU_data_test/"),
    "cvusa": Format(open_cvusa, "splits/*-19zl.csv, bingmap/ and streetview/"),
    "gsv-cities": Format(open_gsv_cities, "Dataframes/CITY.csv and Images/CITY/"),
    "pairs": Format(open_pairs, "pairs.csv (query,reference,...), or queries/ and references/"),
    "sfxl": Format(
        open_sfxl, "train/, val/ and test/ of @-named photos, queries_v1 and queries_v2"
    ),
    "university": Format(open_university, "train/VIEW/BUILDING/ and test/query_VIEW, gallery_VIEW"),
    "vg": Format(open_streets, "images/SPLIT/database and queries of @-named photos"),
    "vigor": Format(open_vigor, "splits/CITY/*.txt, CITY/panorama and CITY/satellite"),
    "world": Format(open_world, "imagery.tif, queries.csv and what it names (nadir world)"),
}


_MARKS: dict[str, tuple[str, ...]] = {
    "cvact": ("ACT_data.mat",),
    "cvusa": ("splits/*-19zl.csv",),
    "gsv-cities": ("Dataframes/*.csv", "Images"),
    "pairs": ("pairs.csv",),
    "university": ("train", "test/query_*"),
    "vg": ("images/*/database",),
    "vigor": ("splits/*/*.txt",),
    "world": ("imagery.tif", "queries.csv"),
}


def format_of(folder: Path) -> str:
    """The name of the layout that a folder looks like by what lies in it; empty where it looks like none."""
    for name, marks in _MARKS.items():
        if all(next(folder.glob(mark), None) is not None for mark in marks):
            return name
    return ""


def open_dataset(
    format: str, folder: Path | str, *, split: str | None = None, **options: Any
) -> Dataset:
    """Open a dataset folder.

    Args:
        format: one of :data:`FORMATS`.
        split: which of the format's splits; None: the one its papers evaluate on (all of a world or of pairs).
        options: the format's own, see its module; as they are or as a command line's texts.

    Raises:
        DatasetError: an unknown format, split or option; or the folder is not laid out as the format says: what was
            expected where, and what was found.
    """
    known = FORMATS.get(format)
    if known is None:
        raise DatasetError(
            f"there is no dataset format {format!r}", None, f"Known: {', '.join(sorted(FORMATS))}"
        )
    allowed = {
        name: kind
        for name, kind in get_type_hints(known.open).items()
        if name not in ("folder", "split", "return")
    }
    for name in options:
        if name not in allowed:
            raise DatasetError(
                f"the format {format!r} has no option {name!r}",
                None,
                f"It has: {', '.join(allowed) or 'none'}",
            )
    fitting = {name: _fitting(name, allowed[name], value) for name, value in options.items()}
    return known.open(Path(folder), split, **fitting)


def _fitting(name: str, kind: Any, value: Any) -> Any:
    """A value for an option of this type; texts are read as what the option is, lists with commas.

    Raises:
        DatasetError: it is of another type, or none of the known values.
    """
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for one in kinds:
        found = _as(one, value)
        if found is not None:
            return found
    if value is None and type(None) in kinds:
        return None
    named = " or ".join(_kind_text(one) for one in kinds if one is not type(None))
    raise DatasetError(f"the option {name!r} cannot be {value!r}", None, f"It is {named}")


def _as(kind: Any, value: Any) -> Any:
    """The value as this plain type; None where it is not one."""
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    if get_origin(kind) is Sequence:
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts:
            return None
        found = tuple(_as(get_args(kind)[0], part) for part in parts)
        return None if None in found else found
    if kind is str:
        return value if isinstance(value, str) else None
    if kind not in (int, float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number) or (kind is int and number != int(number)):
        return None
    return kind(number)


def _kind_text(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is Sequence:
        return f"several of: {_kind_text(get_args(kind)[0])}"
    return {int: "a whole number", float: "a number"}.get(kind, "a text")
