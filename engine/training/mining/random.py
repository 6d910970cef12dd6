"""Every pair once, in random order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine.training.mining.base import Indices, Pairs, in_batches, register_sampler


@register_sampler("random")
class RandomSampler:
    """Every pair at most once an epoch; what does not fill a batch is left for another."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    def wanted(self, number: int) -> Indices:
        """Nothing."""
        return np.empty(0, np.int64)

    def epoch(self, number: int) -> list[Indices]:
        """The batches of epoch ``number``."""
        order = self._pairs.chance(number).permutation(len(self._pairs))
        return in_batches(order, self._pairs.batch_size)

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Nothing is remembered."""

    def state(self) -> dict[str, Any]:
        """Nothing is remembered."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing is remembered."""
