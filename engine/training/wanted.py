"""The towns that a recipe asks for, and where each of them is or is to be.

A town counts only where it was rendered with what the recipe asks for (:func:`engine.world.cache.fits`): rendering,
training and the window's questions all look here, so that they never mean different towns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.training.cache import find_towns
from engine.training.sections import DataSection
from engine.world.cache import (
    TownAsked,
    is_there,
    place_of,
    rough_seconds,
    seconds_taken,
    town_folder,
)

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class WantedTown:
    """A town that a recipe names, its folder, and whether it is rendered."""

    asked: TownAsked
    folder: Path
    there: bool


def wanted_towns(
    data: DataSection, folder: Path, kept: Mapping[int, Path] | None = None
) -> list[WantedTown]:
    """The towns of a recipe, those to train on first.

    Args:
        kept: by their seeds, the folders of the towns that a training in progress has begun with, whatever is in them.
    """
    splits: dict[int, Split] = dict.fromkeys(data.towns, "train")
    splits |= dict.fromkeys(data.validation, "validation")
    wanted = []
    for seed, split in splits.items():
        pairs = data.pairs if split == "train" else data.validation_pairs
        asked = TownAsked(seed, split, pairs, data.area_km2)
        place = (kept or {}).get(seed) or place_of(folder, asked)
        wanted.append(WantedTown(asked, place, is_there(place)))
    return wanted


def names_of(
    data: DataSection, folder: Path, split: Split, kept: Mapping[int, Path] | None = None
) -> list[str]:
    """The names of the folders of a recipe's towns of one split, as far as they are rendered, in order.

    ``kept``: see :func:`wanted_towns`.
    """
    return sorted(
        town.folder.name
        for town in wanted_towns(data, folder, kept)
        if town.there and town.asked.split == split
    )


def kept_towns(progress: Mapping[str, Any], data: DataSection, folder: Path) -> dict[int, Path]:
    """Which towns a training goes on with, by a checkpoint's ``progress``: those it began with.

    Versions before towns were compared with what was asked took any town of the seed. Their trainings go on with it.
    """
    names = list(progress.get("names") or ())
    if not names:
        return {}
    kept: dict[int, Path] = {}
    for name in names:
        if (seed := _seed_of(name)) in data.towns:
            kept[seed] = folder / name
    validated = str(progress.get("validation") or "")
    if (seed := _seed_of(validated)) in data.validation:
        kept[seed] = folder / validated
    elif not validated:
        for seed in data.validation:
            if is_there(town_folder(folder, seed)):
                kept[seed] = town_folder(folder, seed)
    return kept


def _seed_of(name: str) -> int:
    """The seed in the name of a town's folder; -1, which is none, where there is none in it."""
    found = re.match(r"town-(\d+)", name)
    return int(found[1]) if found else -1


def seconds_to_render(towns: list[WantedTown], folder: Path, speed: float | None = None) -> float:
    """About how long the towns that are missing take on all cores.

    Args:
        speed: how many times as long as :func:`engine.world.cache.rough_seconds` this machine takes; None: as towns in
            the folder tell, else as long.
    """
    each = [rough_seconds(town.asked) for town in towns if not town.there]
    if speed is None:
        known = [told for town in _rendered(folder) if (told := seconds_taken(town)) is not None]
        took, reckoned = (sum(column) for column in zip(*known, strict=True)) if known else (1, 1)
        speed = took / max(reckoned, 1e-9)
    cores = max(1, min(len(each), os.cpu_count() or 1))
    return speed * max(max(each, default=0.0), sum(each) / cores)


def _rendered(folder: Path) -> list[Path]:
    return find_towns(folder) if folder.is_dir() else []
