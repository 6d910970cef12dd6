"""Photos of the street alone, as :class:`engine.training.batch.PhotoSource`: labelled by place, or mined as tuples.

Every photo is shaped as the query branch's card says; both sides of such networks are one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.datasets import Dataset, open_dataset
from engine.encoder import project_photo
from engine.encoder.preprocess import canvas_to_input
from engine.errors import DatasetError
from engine.photo.projections import View
from engine.training.batch import WHOLE, Batch, Indices, Part, near_pairs
from engine.training.mining.base import Classes
from engine.training.mining.photo_tuples import negatives_of
from engine.training.photo_classes import cut_towards, labelled_photos
from engine.training.photometric import draw_light, recolour
from engine.training.recipes import Recipe
from engine.training.variation import draw_variation


class Photos(ABC):
    """What both have in common."""

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.recipe = recipe
        options = {**recipe.data.options, "split": split}
        self.dataset: Dataset = open_dataset(recipe.data.format, folder, **options)

    @property
    def names(self) -> list[str]:
        """The dataset's name and split."""
        return [f"{self.dataset.name} {self.dataset.split}".strip()]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres on a plane, not a number where unknown."""

    @property
    def classes(self) -> Classes | None:
        """Which photos show the same place, where they are labelled."""
        return None

    @property
    def queries(self) -> int:
        """How many photos are queries, where the others are a database; else 0."""
        return 0

    @abstractmethod
    def _read(self, photo: int) -> tuple[NDArray[np.uint8], View]:
        """A photo's pixels, and how it sees the world."""

    def draw_pairs(self, size: int, rng: np.random.Generator) -> Indices:
        """Any photos, none twice while there are enough."""
        drawn = rng.permutation(len(self))[:size]
        return drawn[np.arange(size) % len(drawn)].astype(np.int64)

    def make(self, pairs: Indices, rng: np.random.Generator, part: Part = WHOLE) -> Batch:
        """The batch of these photos."""
        recipe, canvas = self.recipe, self.recipe.canvas
        mine = part.of(len(pairs))
        light = draw_light(len(pairs), recipe.photometric, rng).part(mine)
        varied = draw_variation(recipe.augment, rng, mine.start)
        pixels = self._canvases(pairs[mine])
        if varied is not None:
            pixels = varied.photos(pixels)
        images = recolour(pixels, canvas.mean, canvas.std, light, canvas.channels)
        if varied is not None:
            images, _ = varied.covered(images, "photos")
        return self._batch(pairs, images)

    def look(self, photos: Indices) -> Batch:
        """These photos as they are."""
        branch = self.recipe.query_branch
        inputs = [canvas_to_input(canvas, None, branch) for canvas in self._canvases(photos)]
        return _batch_of(photos, torch.from_numpy(np.concatenate(inputs)))

    def _canvases(self, photos: Indices) -> NDArray[np.uint8]:
        branch = self.recipe.query_branch
        return np.stack([project_photo(*self._read(int(photo)), branch)[0] for photo in photos])

    @abstractmethod
    def _batch(self, photos: Indices, images: torch.Tensor) -> Batch:
        """The batch of all these photos and of this process's images."""


class LabelledPhotos(Photos):
    """Photos of places, or of classes of a map; see :mod:`engine.training.photo_classes`."""

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        super().__init__(recipe, folder, split)
        self._labelled = labelled_photos(self.dataset, recipe.data.classes)
        queries = self.dataset.queries
        self._where = _metres(queries.utm, len(queries))[self._labelled.photo]

    def __len__(self) -> int:
        return len(self._labelled.photo)

    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres on a plane, not a number where unknown."""
        return self._where

    @property
    def classes(self) -> Classes:
        """Which photos show the same place."""
        return self._labelled.classes

    def _read(self, photo: int) -> tuple[NDArray[np.uint8], View]:
        number, bearing = int(self._labelled.photo[photo]), self._labelled.bearing_deg[photo]
        pixels, view = self.dataset.read_query(number)
        if np.isnan(bearing):
            return pixels, view
        heading = float(self.dataset.queries.heading_deg[number])
        return cut_towards(pixels, heading, float(bearing)), view

    def _batch(self, photos: Indices, images: torch.Tensor) -> Batch:
        labels = self.classes.labels[photos]
        where = self._where[photos]
        near = near_pairs(where, where, self.recipe.loss.exclude_m)
        near &= labels[:, None] != labels[None]
        return _batch_of(photos, images, labels=labels, too_near=near)


class TuplePhotos(Photos):
    """The queries and the database of a split, in tuples; see :mod:`engine.training.mining.photo_tuples`."""

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        super().__init__(recipe, folder, split)
        dataset = self.dataset
        if dataset.queries.utm is None or dataset.references.utm is None:
            raise DatasetError("does not give every photo's place in metres (UTM)", folder)
        self._where = np.concatenate([dataset.queries.utm, dataset.references.utm])
        self._negatives = negatives_of(recipe.mining.options)

    def __len__(self) -> int:
        return len(self._where)

    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres on a plane."""
        return self._where

    @property
    def queries(self) -> int:
        """How many photos are queries."""
        return len(self.dataset.queries)

    def _read(self, photo: int) -> tuple[NDArray[np.uint8], View]:
        # A photo of the database sees the world as a query does; a plain canvas does not ask.
        if photo < self.queries:
            return self.dataset.read_query(photo)
        return self.dataset.read_reference(photo - self.queries), View("perspective", 90.0)

    def _batch(self, photos: Indices, images: torch.Tensor) -> Batch:
        count = len(photos) // (2 + self._negatives)
        negatives = count + np.arange(count * self._negatives).reshape(count, -1)
        return _batch_of(photos, images, negatives=negatives)


def _metres(utm: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    return np.full((count, 2), np.nan) if utm is None else utm


def _batch_of(
    photos: Indices,
    images: torch.Tensor,
    *,
    labels: Indices | None = None,
    too_near: NDArray[np.bool_] | None = None,
    negatives: Indices | None = None,
) -> Batch:
    """A batch without tiles."""
    queries = len(photos) if negatives is None else len(negatives)
    if too_near is None:
        too_near = np.zeros((queries, queries), bool)
    if negatives is None:
        negatives = np.empty((0, 0), np.int64)
    return Batch(
        images,
        torch.empty((0, *images.shape[1:])),
        torch.ones((len(images), 1)),
        torch.zeros(len(photos)),
        torch.from_numpy(too_near),
        torch.from_numpy(np.asarray(photos, np.int64)),
        torch.from_numpy(np.asarray(photos if labels is None else labels, np.int64)),
        torch.from_numpy(negatives),
    )
