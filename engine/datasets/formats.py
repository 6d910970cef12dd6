"""The layouts by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def open_dataset(
    format: str, folder: Path | str, *, split: str | None = None, **options: Any
) -> Dataset:
    """Open a dataset folder.

    Args:
        format: one of :data:`FORMATS`.
        split: which of the format's splits; None: the one its papers evaluate on (all of a world or of pairs).
        options: the format's own, see its module.

    Raises:
        DatasetError: an unknown format, split or option; or the folder is not laid out as the format says: what was
            expected where, and what was found.
    """
    known = FORMATS.get(format)
    if known is None:
        raise DatasetError(
            f"there is no dataset format {format!r}", None, f"Known: {', '.join(sorted(FORMATS))}"
        )
    allowed = [
        name for name in inspect.signature(known.open).parameters if name not in ("folder", "split")
    ]
    for name in options:
        if name not in allowed:
            raise DatasetError(
                f"the format {format!r} has no option {name!r}",
                None,
                f"It has: {', '.join(allowed) or 'none'}",
            )
    return known.open(Path(folder), split, **options)
