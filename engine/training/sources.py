"""Opening what a recipe trains on, in whatever process needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DatasetError
from engine.training.batch import PairSource
from engine.training.cache import open_town, open_towns
from engine.training.recipes import Recipe
from engine.training.towns import TownPairs
from engine.training.wanted import names_of

TOWNS = "towns"
TUPLES = "tuples-"
"""How the names of samplers begin that want :class:`engine.training.photo_source.TuplePhotos`."""


@dataclass(frozen=True)
class SourcePlan:
    """All that is needed to open a source again: a recipe, a folder and, for towns, which of them."""

    recipe: Recipe
    data: Path
    names: tuple[str, ...] = ()

    def open(self) -> PairSource:
        """Open it.

        Raises:
            DatasetError: naming what is missing or wrong.
        """
        recipe, split = self.recipe, self.recipe.data.train_split
        if recipe.data.format == TOWNS:
            return TownPairs([open_town(self.data / name) for name in self.names], recipe)
        if recipe.data.classes:
            from engine.training.photo_source import LabelledPhotos

            return LabelledPhotos(recipe, self.data, split)
        if recipe.mining.name.startswith(TUPLES):
            from engine.training.photo_source import TuplePhotos

            return TuplePhotos(recipe, self.data, split)
        from engine.training.dataset_pairs import DatasetPairs

        return DatasetPairs(recipe, self.data, split)


def plan_source(
    recipe: Recipe,
    data: Path,
    names: tuple[str, ...] = (),
    kept: Mapping[int, Path] | None = None,
) -> SourcePlan:
    """What there is to train on now.

    Args:
        names: the towns of an epoch that was begun.
        kept: see :func:`engine.training.wanted.wanted_towns`.

    Raises:
        DatasetError: when there is nothing.
    """
    if recipe.data.format == TOWNS and not names:
        if recipe.data.towns:
            names = tuple(names_of(recipe.data, data, "train", kept))
        else:
            names = tuple(town.folder.name for town in open_towns(data, "train"))
        if not names:
            raise DatasetError(
                "holds none of the recipe's towns, rendered as the recipe asks",
                data,
                "nadir train renders those that are missing",
            )
    return SourcePlan(recipe, data, names)
