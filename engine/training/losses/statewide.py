"""The decoupled cross entropy of "Statewide visual geolocalization in the wild" (Fervers et al., ECCV 2024).

``S = query @ reference.T`` over the whole batch, without a temperature (descriptors have norm 6). A pair is valid on
the diagonal and where photo and reference are far enough apart. For photo ``i``

    p[i, j] = S[i, j] - log sum_{k valid, k != j} exp S[i, k]

each entry left out of its own denominator ("decoupled": the better a pair is, the smaller its gradient would be
otherwise), and with smoothing ``e`` and ``n`` valid entries of the row

    row i = -(1 - e) p[i, i] - e / (n - 1) sum_{j valid, j != i} p[i, j],    0 where n < 2.

The loss is the mean over rows, averaged with the same over columns; it is negative for good batches.

The authors subtract the entry from the row's sum, which cancels in float32 when one entry dominates and has given
them infinities. Here the sum without an entry is that of the entries before it and of those after it, both by
running log-sums: as exact as the sum itself, in O(B^2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, others, register_loss, unit

_NONE = -1e30
"""The logarithm of an empty sum: finite, so that differences and gradients of unused entries stay finite."""


@register_loss("decoupled-cross-entropy")
class DecoupledCrossEntropy(Loss):
    """See the module.

    Args:
        smoothing: share of the target spread evenly over the valid negatives, 0..1.
        decoupled: leave every entry out of its own denominator; otherwise a plain cross entropy.
        exclude_near: pairs that are too near are not valid, as the authors have it (30 m).
        scale: descriptors are brought to this norm first; 0: taken as they are (their network gives them norm 6).
    """

    def __init__(
        self,
        smoothing: float = 0.1,
        decoupled: bool = True,
        exclude_near: bool = True,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError("smoothing must be from 0 to below 1")
        self.smoothing, self.decoupled = smoothing, decoupled
        self.exclude_near, self.scale = exclude_near, scale

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        query, reference = unit(query, self.scale > 0), unit(reference, self.scale > 0)
        scores = query @ reference.T * (self.scale**2 if self.scale else 1.0)
        negative = others(len(query), context, self.exclude_near, query.device)
        return (self._rows(scores, negative) + self._rows(scores.T, negative.T)) / 2

    def _rows(self, scores: Tensor, negative: Tensor) -> Tensor:
        valid = negative | torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        masked = scores.masked_fill(~valid, _NONE)
        if self.decoupled:
            total = without_each(masked)
        else:
            total = masked.logsumexp(1, keepdim=True)
        log_share = torch.where(valid, scores - total, 0.0)
        count = negative.sum(1)
        even = (log_share * negative).sum(1) / count.clamp_min(1)
        row = -(1 - self.smoothing) * log_share.diagonal() - self.smoothing * even
        return torch.where(count > 0, row, 0.0).mean()


def without_each(values: Tensor) -> Tensor:
    """[N, M]: entry (i, j) is the log of the sum of exp over row ``i`` without entry ``j``."""
    before = torch.logcumsumexp(values, 1)
    after = torch.logcumsumexp(values.flip(1), 1).flip(1)
    edge = values.new_full((len(values), 1), _NONE)
    return torch.logaddexp(
        torch.cat([edge, before[:, :-1]], dim=1), torch.cat([after[:, 1:], edge], dim=1)
    )
