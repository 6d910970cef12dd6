"""Samplers: which pairs meet in a batch, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import TrainingError

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Classes:
    """Which images show the same place.

    Attributes:
        labels: [N], the class of each image, -1: none. Classes are counted through the groups, one after the other.
        sizes: how many classes each group has; a group may be a city, or what is trained together.
    """

    labels: Indices
    sizes: tuple[int, ...]

    def in_group(self, group: int) -> Indices:
        """The classes of a group."""
        first = sum(self.sizes[:group])
        return np.arange(first, first + self.sizes[group])

    def batches(
        self, epoch: int, batch_size: int, count: int, seed: int, *, together: int = 1
    ) -> list[Indices]:
        """``count`` batches of images for epoch ``epoch`` (from 1), which trains one group after the other.

        Each image is drawn at random from its class, and each class comes once before any comes again: rounds of all
        classes in random order, whose last incomplete batch is dropped, as the authors of CosPlace load them.

        Args:
            together: groups that an epoch trains at once, each with an equal part of every batch.

        Raises:
            ValueError: when a group has fewer classes than its part of a batch.
        """
        if batch_size % together or len(self.sizes) % together:
            raise ValueError(f"{together} groups at once do not divide a batch and the groups")
        first = (epoch - 1) * together % len(self.sizes)
        order = np.argsort(self.labels, kind="stable")
        starts = np.searchsorted(self.labels[order], np.arange(sum(self.sizes) + 1))
        rng = np.random.default_rng((seed, epoch))
        parts = []
        for group in range(first, first + together):
            rounds = self._rounds(group, batch_size // together, count, rng)
            parts.append([order[rng.integers(starts[c], starts[c + 1])] for c in rounds])
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _rounds(self, group: int, size: int, count: int, rng: np.random.Generator) -> list[Indices]:
        """``count`` times ``size`` classes of a group."""
        classes = self.in_group(group)
        if len(classes) < size:
            raise ValueError(f"a group has {len(classes)} classes, fewer than a batch")
        found: list[Indices] = []
        while len(found) < count:
            drawn = rng.permutation(classes)
            found += [drawn[i : i + size] for i in range(0, len(drawn) - size + 1, size)]
        return found[:count]


@dataclass(frozen=True)
class Pairs:
    """What a sampler is told of the pairs, numbered from 0.

    Attributes:
        positions: [N, 2] metres on a plane, not a number where unknown.
        batch_size: pairs in a batch, over all processes.
        seed: what chance follows from, together with the number of the epoch.
        classes: where what is numbered are labelled images.
        queries: where what is numbered are photos, and after them those of a database: how many photos there are.
    """

    positions: NDArray[np.float64]
    batch_size: int
    seed: int
    classes: Classes | None = None
    queries: int = 0

    def __len__(self) -> int:
        return len(self.positions)

    def chance(self, epoch: int) -> np.random.Generator:
        """The random numbers of an epoch."""
        return np.random.default_rng((self.seed, epoch))


class Sampler(Protocol):
    """Chooses the batches of an epoch.

    An epoch's batches follow from the seed, the epoch's number, and what :meth:`update` told; with :meth:`state` put
    back they are the same again.
    """

    def wanted(self, number: int) -> Indices:
        """Pairs whose descriptors by the weights of now it would like to be told before ``epoch(number)``; empty:
        what training told is enough.
        """
        ...

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number`` (from 1): int64 arrays of ``batch_size`` pairs."""
        ...

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Hear the descriptors [n, D] of pairs (arrays, or tensors on any device)."""
        ...

    def state(self) -> dict[str, Any]:
        """All that it remembers: numbers, texts, tensors."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        ...


SamplerBuilder = Callable[..., Sampler]
AnyBuilder = TypeVar("AnyBuilder", bound=SamplerBuilder)
_BUILDERS: dict[str, SamplerBuilder] = {}


def register_sampler(name: str) -> Callable[[AnyBuilder], AnyBuilder]:
    """Decorate what builds a sampler from :class:`Pairs` and a recipe's options, as keyword arguments."""

    def keep(builder: AnyBuilder) -> AnyBuilder:
        _BUILDERS[name] = builder
        return builder

    return keep


def build_sampler(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    positions: NDArray[np.float64],
    batch_size: int,
    seed: int,
    classes: Classes | None = None,
    queries: int = 0,
) -> Sampler:
    """Build the sampler ``name``; see :class:`Pairs` for the rest.

    Raises:
        TrainingError: for a name or an option that nobody knows, or with too few pairs for a batch.
    """
    if name not in _BUILDERS:
        known = ", ".join(sampler_names())
        raise TrainingError(f'there is no mining "{name}"', None, f"Known are: {known}")
    if len(positions) < batch_size:
        raise TrainingError(
            f"{len(positions)} pairs are fewer than a batch of {batch_size}",
            None,
            "Choose a smaller batch.size",
        )
    pairs = Pairs(np.asarray(positions, np.float64), batch_size, seed, classes, queries)
    try:
        return _BUILDERS[name](pairs, **(options or {}))
    except (TypeError, ValueError) as error:
        raise TrainingError(f'the mining "{name}" cannot be set up: {error}') from error


def sampler_names() -> list[str]:
    """Every sampler that can be built."""
    return sorted(_BUILDERS)


def in_batches(order: Indices, size: int) -> list[Indices]:
    """Whole batches of an order; what is left over is dropped."""
    return [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
