"""The weighted (B+1)-tuple loss: one photo, its reference and all B-1 others at once.

    L = 1/B sum_i log(1 + sum_{j != i} exp(a (d(i, i) - d(i, j))))

averaged over both directions. FRGeo's paper (Zhang et al., AAAI 2024) writes ``d`` as the distance with a = 10; its
code uses cosines, ``exp(a (cos(i, j) - cos(i, i)))`` with a = 10, which is the *squared* distance with a = 5. Both
are here by name.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, others, register_loss, unit

Distance = Literal["cosine", "l2", "squared-l2"]


@register_loss("weighted-tuple")
class WeightedTuple(Loss):
    """The (B+1)-tuple loss as FRGeo's code has it.

    Args:
        alpha: the weight of a difference.
        distance: "cosine" (1 - cos), "l2" or "squared-l2", of descriptors of norm 1.
        normalise: bring descriptors to norm 1 first, as its loss does.
        exclude_near: leave out negatives that are too near.
    """

    def __init__(
        self,
        alpha: float = 10.0,
        distance: Distance = "cosine",
        normalise: bool = True,
        exclude_near: bool = False,
    ) -> None:
        super().__init__()
        if distance not in ("cosine", "l2", "squared-l2"):
            raise ValueError('distance is not "cosine", "l2" or "squared-l2"')
        self.alpha, self.distance = alpha, distance
        self.normalise, self.exclude_near = normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        query, reference = unit(query, self.normalise), unit(reference, self.normalise)
        negative = others(len(query), context, self.exclude_near, query.device)
        matrix = self._distances(query, reference)
        return (self._rows(matrix, negative) + self._rows(matrix.T, negative.T)) / 2

    def _distances(self, query: Tensor, reference: Tensor) -> Tensor:
        if self.distance == "cosine":
            return 1 - query @ reference.T
        # Not by way of cosines: the root of their rounding would be large where pairs are close.
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(query, reference, compute_mode=mode)
        return distances if self.distance == "l2" else distances.square()

    def _rows(self, matrix: Tensor, negative: Tensor) -> Tensor:
        exponent = self.alpha * (matrix.diagonal()[:, None] - matrix)
        # The diagonal's exponent is 0: it is the 1 of log(1 + ...).
        one = torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
        return exponent.masked_fill(~(negative | one), -torch.inf).logsumexp(1).mean()


@register_loss("weighted-tuple-paper")
def _paper(**options: object) -> Loss:
    """As the paper's formula has it: the distance, not its square."""
    return WeightedTuple(**{"distance": "l2", **options})  # pyright: ignore[reportArgumentType]
