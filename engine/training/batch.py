"""A batch of pairs of a photo and the tile it was taken in, and what chance decides about it.

Photos of the street alone make batches too, labelled by place or as mined tuples: then there are no tiles.

Everything in batch ``n`` follows from the seed, ``n`` and the data: nothing else is drawn from, so a training that is
resumed sees the batches it would have seen. Where several processes train together, each draws the whole batch and
makes the pixels of its own part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.training.mining.base import Classes

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Which part of every batch is this process's."""

    rank: int = 0
    ranks: int = 1

    def of(self, count: int) -> slice:
        """Its share of ``count`` pairs."""
        each = count // self.ranks
        return slice(self.rank * each, (self.rank + 1) * each)


WHOLE = Part()


@dataclass(frozen=True)
class Batch:
    """What the model is given: b of the B pairs of a batch, b = B where one process trains.

    Attributes:
        canvases: float32 [b, 3, H, W], photos, normalised; what they do not show is 0.
        tiles: float32 [b, 3, H, W], or [b, S, 3, H, W] where S extents are read together.
        seen: float32 [b, K], share of every block of bearings that the photo shows.
        shift: float32 [B], blocks that the photo must be rolled right to fit its tile, 0..K.
        too_near: bool [B, B], pairs of a photo and another's tile that are no fair negatives.
        pairs: int64 [B], the pairs' numbers in their source.
        labels: int64 [B], the place or class of each.
        negatives: int64 [T, n] where the photos are T tuples: T queries, their T positives, then what is compared
            with them; row ``t`` says which of all but the queries are query ``t``'s negatives. Else empty.
    """

    canvases: Tensor
    tiles: Tensor
    seen: Tensor
    shift: Tensor
    too_near: Tensor
    pairs: Tensor
    labels: Tensor
    negatives: Tensor = field(default_factory=lambda: torch.empty((0, 0), dtype=torch.int64))

    def to(self, device: torch.device, *, channels_last: bool = True) -> Batch:
        """The batch on another device."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        if channels_last:
            for name in ("canvases", "tiles"):
                if moved[name].ndim == 4:
                    moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
        return Batch(**moved)


class PairSource(Protocol):
    """Pairs to train on, numbered from 0. It is made anew in every process that needs it, so it is cheap to open."""

    @property
    def names(self) -> list[str]:
        """What it is made of, for the log: towns, splits."""
        ...

    def __len__(self) -> int: ...

    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres east and south on one plane, not a number where unknown; other towns lie far away."""
        ...

    def draw_pairs(self, size: int, rng: np.random.Generator) -> Indices:
        """``size`` pairs that meet in a batch, where nobody else says which."""
        ...

    def make(self, pairs: Indices, rng: np.random.Generator, part: Part = WHOLE) -> Batch:
        """The batch of these pairs."""
        ...


@runtime_checkable
class PhotoSource(PairSource, Protocol):
    """A source of photos alone."""

    @property
    def classes(self) -> Classes | None:
        """Which show the same place, where they are labelled."""
        ...

    @property
    def queries(self) -> int:
        """How many are queries, where the others are a database; else 0."""
        ...

    def look(self, photos: Indices) -> Batch:
        """These photos as they are, for a sampler or a network that wants to see them; no augmentation."""
        ...


def make_batch(
    source: PairSource,
    seed: int,
    number: int,
    size: int,
    *,
    pairs: Indices | None = None,
    part: Part = WHOLE,
) -> Batch:
    """Batch ``number`` of a training, of ``size`` pairs, or of the ``pairs`` that a sampler chose."""
    rng = np.random.default_rng((seed, number))
    drawn = source.draw_pairs(size, rng) if pairs is None else pairs
    return source.make(drawn, rng, part)


def near_pairs(
    photos: NDArray[np.float64], tiles: NDArray[np.float64], within_m: float
) -> NDArray[np.bool_]:
    """Which photos [B, 2] lie within ``within_m`` of which others' tiles [B, 2]; unknown positions are near nothing."""
    distance = np.linalg.norm(photos[:, None] - tiles[None], axis=2)
    near = np.less(distance, within_m)
    np.fill_diagonal(near, False)
    return near
