"""What the losses over labelled sets share: which pairs are alike, and averages over some of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.training.losses.base import LossContext, unit


@dataclass(frozen=True)
class LabelledSet:
    """N descriptors of norm 1 and which of their pairs are of one place.

    Attributes:
        descriptors: [N, D].
        positive, negative: bool [N, N]; the diagonal is in neither.
    """

    descriptors: Tensor
    positive: Tensor
    negative: Tensor

    @property
    def cosines(self) -> Tensor:
        """[N, N]."""
        return self.descriptors @ self.descriptors.T

    @property
    def distances(self) -> Tensor:
        """[N, N] Euclidean distances."""
        mode = "donot_use_mm_for_euclid_dist"  # no root of a difference's rounding
        return torch.cdist(self.descriptors, self.descriptors, compute_mode=mode)


def labelled_set(
    query: Tensor, reference: Tensor, context: LossContext, exclude_near: bool
) -> LabelledSet:
    """Put photos and references of a batch into one set.

    Args:
        query: [B, D]; reference: [R, D] with R = B, or R = 0 where the batch is one set of labelled images.
        exclude_near: pairs of different places that are too near are neither alike nor different.
    """
    descriptors = unit(torch.cat([query, reference]))
    labels = context.labels
    if labels is None:
        labels = torch.arange(len(query), device=query.device)
    labels = torch.cat([labels, labels[: len(reference)]])
    alike = labels[:, None] == labels[None, :]
    negative = ~alike
    if exclude_near and context.too_near is not None:
        near = context.too_near | context.too_near.T
        twice = 2 if len(reference) else 1
        negative &= ~near.repeat(twice, twice)
    alike.fill_diagonal_(False)
    return LabelledSet(descriptors, alike, negative)


def log_sum_exp(values: Tensor, keep: Tensor, one: bool = False) -> Tensor:
    """[N] over the kept entries of each row of [N, M]; with ``one``, of 1 besides them. 0 where none is kept."""
    # Emptied rows are filled with zeros before: a gradient through -inf would be no number.
    some = keep.any(1)
    masked = values.masked_fill(~keep, -torch.inf).masked_fill(~some[:, None], 0.0)
    if one:
        masked = torch.cat([masked, masked.new_zeros(len(masked), 1)], dim=1)
    return masked.logsumexp(1).masked_fill(~some, 0.0)


def mean_of(values: Tensor, keep: Tensor) -> Tensor:
    """Mean of the kept values; 0 where there is none."""
    return values.masked_fill(~keep, 0.0).sum() / keep.sum().clamp_min(1)
