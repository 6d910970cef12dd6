"""Losses over tuples (a photo, its positive, mined negatives), of the visual geo-localization benchmark.

The negatives are those of ``context.negatives``; without it every other pair's reference is one. As in the benchmark
(Berton et al., "Deep Visual Geo-localization Benchmark", CVPR 2022) descriptors are taken as the network gives them,
and sums are divided by the number of (photo, negative) pairs, B n, in all three losses.

- margin triplet: ``max(0, |q - p| - |q - n| + margin)``;
- SARE (Liu et al., ICCV 2019), with ``d`` the squared distance: joint ``-log softmax`` of ``-d`` over the positive and
  all negatives of a photo, independent the same over the positive and one negative at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, others, register_loss, unit

_EPSILON = 1e-6
"""Added to every difference, as torch's own triplet loss does."""


class TupleLoss(Loss):
    """What the three have in common.

    Args:
        normalise: bring descriptors to norm 1 first.
        exclude_near: with negatives from the batch: leave out what is too near.
    """

    def __init__(self, normalise: bool = False, exclude_near: bool = False) -> None:
        super().__init__()
        self.normalise, self.exclude_near = normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        query, reference = unit(query, self.normalise), unit(reference, self.normalise)
        count = len(query)
        if context.negatives is None:
            rows = torch.arange(count, device=query.device).expand(count, -1)
            used = others(count, context, self.exclude_near, query.device)
        else:
            rows = context.negatives
            used = torch.ones_like(rows, dtype=torch.bool)
        terms = self._terms(query, reference[:count], reference[rows], used)
        return terms / used.sum().clamp_min(1)

    def _terms(self, query: Tensor, positive: Tensor, negatives: Tensor, used: Tensor) -> Tensor:
        """The sum of all terms: descriptors [B, D], [B, D] and [B, n, D], which negatives count [B, n]."""
        raise NotImplementedError


@register_loss("margin-triplet")
class MarginTriplet(TupleLoss):
    """The triplet loss with a margin on distances; see the module.

    Args:
        margin: by how much a negative must be farther than the positive (the benchmark's default is 0.1).
        normalise, exclude_near: see :class:`TupleLoss`.
    """

    def __init__(
        self, margin: float = 0.1, normalise: bool = False, exclude_near: bool = False
    ) -> None:
        super().__init__(normalise, exclude_near)
        self.margin = margin

    def _terms(self, query: Tensor, positive: Tensor, negatives: Tensor, used: Tensor) -> Tensor:
        near = torch.linalg.vector_norm(query - positive + _EPSILON, dim=1)
        far = torch.linalg.vector_norm(query[:, None] - negatives + _EPSILON, dim=2)
        return (F.relu(near[:, None] - far + self.margin) * used).sum()


@register_loss("sare-joint")
class SareJoint(TupleLoss):
    """SARE with all negatives of a photo at once; see the module."""

    def _terms(self, query: Tensor, positive: Tensor, negatives: Tensor, used: Tensor) -> Tensor:
        near, far = _squared(query, positive, negatives)
        rows = torch.cat([-near[:, None], (-far).masked_fill(~used, -torch.inf)], dim=1)
        return (rows.logsumexp(1) + near).sum()


@register_loss("sare-independent")
class SareIndependent(TupleLoss):
    """SARE with one negative at a time; see the module."""

    def _terms(self, query: Tensor, positive: Tensor, negatives: Tensor, used: Tensor) -> Tensor:
        near, far = _squared(query, positive, negatives)
        return (F.softplus(near[:, None] - far) * used).sum()


def _squared(query: Tensor, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    near = (query - positive).square().sum(1)
    return near, (query[:, None] - negatives).square().sum(2)
