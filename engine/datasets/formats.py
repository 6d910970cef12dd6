"""The layouts by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.datasets.pairs import open_pairs
from engine.datasets.records import Dataset
from engine.datasets.world_tiles import open_world
from engine.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """One layout: how to open it (folder, split, then options by name), and its layout in a sentence."""

    open: Callable[..., Dataset]
    layout: str


FORMATS: dict[str, Format] = {
    "pairs": Format(open_pairs, "pairs.csv (query,reference,...), or queries/ and references/"),
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
