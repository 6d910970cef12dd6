"""InfoNCE: tell the right reference of a photo from all others of the batch, and the right photo of a reference.

Two forms, by their projects:

- Sample4Geo (Deuser et al., ICCV 2023), after CLIP: two cross entropies over B candidates each, averaged, with label
  smoothing and a learned temperature.
- SAIG (Zhu et al., 2023): one cross entropy over 2B - 1 candidates, a reference against all photos and its photo
  against all other references, at a fixed temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.training.losses.base import (
    Loss,
    LossContext,
    fair_cross_entropy,
    others,
    register_loss,
    unit,
)


@register_loss("info-nce")
class InfoNCE(Loss):
    """Sample4Geo's: both directions' cross entropies, averaged. Needs ``context.scale``.

    Args:
        smoothing: share of the target spread evenly over all candidates, 0..1.
        scale, scale_limit: where the learned factor on cosines starts (1 / 0.07), and the most that it may become
            (the authors set no bound).
        normalise: bring descriptors to norm 1 first, as its loss does.
        exclude_near: leave out candidates that are too near.
    """

    learns_scale = True

    def __init__(
        self,
        smoothing: float = 0.1,
        scale: float = 1 / 0.07,
        scale_limit: float = torch.inf,
        normalise: bool = True,
        exclude_near: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError("smoothing must be from 0 to below 1")
        self.smoothing, self.start_scale, self.scale_limit = smoothing, scale, scale_limit
        self.normalise, self.exclude_near = normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        if context.scale is None:
            raise ValueError("InfoNCE needs a scale")
        query, reference = unit(query, self.normalise), unit(reference, self.normalise)
        logits = context.scale * query @ reference.T
        truth = torch.eye(len(query), dtype=logits.dtype, device=logits.device)
        fair = others(len(query), context, self.exclude_near, query.device) | (truth > 0)
        by_photo = fair_cross_entropy(logits, truth, fair, self.smoothing)
        by_reference = fair_cross_entropy(logits.T, truth, fair.T, self.smoothing)
        return (by_photo + by_reference) / 2


@register_loss("saig-info-nce")
class SaigInfoNCE(Loss):
    """SAIG's: one cross entropy over 2B - 1 candidates.

    Args:
        temperature: cosines are divided by it.
        normalise: bring descriptors to norm 1 first; its networks do it themselves.
        exclude_near: leave out candidates that are too near.
    """

    def __init__(
        self, temperature: float = 0.02, normalise: bool = True, exclude_near: bool = False
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.normalise, self.exclude_near = normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        query, reference = unit(query, self.normalise), unit(reference, self.normalise)
        logits = query @ reference.T / self.temperature
        negative = others(len(query), context, self.exclude_near, query.device)
        one = torch.eye(len(query), dtype=torch.bool, device=query.device)
        by_reference = logits.T.masked_fill(~(negative.T | one), -torch.inf)
        by_photo = logits.masked_fill(~negative, -torch.inf)
        total = torch.cat([by_reference, by_photo], dim=1).logsumexp(1)
        return (total - logits.diagonal()).mean()
