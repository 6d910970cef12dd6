"""Batches of labelled photos: several of each place, or one of each class.

- ``places``: P places with K photos each, as GSV-Cities' authors load them (Ali-bey et al., 2022): every epoch goes
  through all places once, city by city, the places of each city in random order, so that a batch's negatives are
  mostly of the same city; which K photos of a place are seen is drawn anew.
- ``class-groups``: one photo of each class, the classes of one group in an epoch (CosPlace), or of two that are
  trained at once, each with its half of the batch (EigenPlaces' views to the side and along the street).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.training.mining.base import Classes, Indices, Pairs, register_sampler


class LabelledSampler:
    """What both have in common: nothing is remembered, nothing is looked at."""

    def __init__(self, pairs: Pairs) -> None:
        if pairs.classes is None:
            raise ValueError('it needs labelled photos ("data.classes")')
        self._pairs = pairs
        self._classes: Classes = pairs.classes

    def wanted(self, number: int) -> Indices:
        """Nothing."""
        return np.empty(0, np.int64)

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Nothing."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


@register_sampler("places")
class PlaceSampler(LabelledSampler):
    """See the module.

    Args:
        images: K, photos of a place; ``batch.size`` is P times K. Places with fewer are left out.
        mixed: all places in random order, whichever city they are in.
    """

    def __init__(self, pairs: Pairs, images: int = 4, mixed: bool = False) -> None:
        super().__init__(pairs)
        if images < 2 or pairs.batch_size % images:
            raise ValueError(f"{images} photos of a place do not divide a batch")
        self._images, self._mixed = images, mixed
        self._places = pairs.batch_size // images
        labels = self._classes.labels
        self._order = np.argsort(labels, kind="stable")
        count = sum(self._classes.sizes)
        self._starts = np.searchsorted(labels[self._order], np.arange(count + 1))
        self._enough = np.diff(self._starts) >= images
        if int(self._enough.sum()) < self._places:
            raise ValueError(
                f"{int(self._enough.sum())} places have {images} photos, a batch needs {self._places}"
            )

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``; the last places, which fill no batch, wait for the next."""
        rng = self._pairs.chance(number)
        groups = range(len(self._classes.sizes))
        places = np.concatenate([rng.permutation(self._classes.in_group(g)) for g in groups])
        if self._mixed:
            places = rng.permutation(places)
        places = places[self._enough[places]]
        batches = []
        for first in range(0, len(places) - self._places + 1, self._places):
            chosen = places[first : first + self._places]
            photos = [self._photos(int(place), rng) for place in chosen]
            batches.append(np.concatenate(photos))
        return batches

    def _photos(self, place: int, rng: np.random.Generator) -> Indices:
        start, end = self._starts[place], self._starts[place + 1]
        return self._order[start + rng.permutation(end - start)[: self._images]]


@register_sampler("class-groups")
class GroupSampler(LabelledSampler):
    """See the module.

    Args:
        steps: batches in an epoch, after which the next group's turn comes.
        together: groups that are trained at once.
    """

    def __init__(self, pairs: Pairs, steps: int = 10_000, together: int = 1) -> None:
        super().__init__(pairs)
        if steps < 1 or together < 1:
            raise ValueError("steps and together must be at least 1")
        self._steps, self._together = steps, together
        # Every group must fill its part of a batch: said now, not after hours.
        smallest, part = min(self._classes.sizes), pairs.batch_size // together
        if pairs.batch_size % together or smallest < part:
            raise ValueError(f"a group has {smallest} classes, a batch needs {part} of each")

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``."""
        return self._classes.batches(
            number,
            self._pairs.batch_size,
            self._steps,
            self._pairs.seed,
            together=self._together,
        )
