"""Sector InfoNCE: find the tile, and how far the photo is turned in it, among all tiles and turns of a batch.

Descriptors are K blocks by bearing. Turning a photo's blocks right by ``s`` (1/K of a turn each) gives the score

    S[i, j, s] = sum_k w[i, k-s] <q[i, k-s], t[j, k]> * K / sum_k w[i, k]

a cosine over the blocks that the photo sees (weights ``w``, 0..1). It is a circular correlation, so it is computed
with the Fourier transform along k. Each photo has the right answer (its own tile, its true shift, a fraction between
two whole ones) among B*K, each tile likewise; both cross entropies are averaged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, fair_cross_entropy, register_loss


def shift_scores(query: Tensor, reference: Tensor, seen: Tensor) -> Tensor:
    """Scores of every photo against every tile at every shift.

    Args:
        query, reference: [N, K, d] and [M, K, d], each block of norm 1/sqrt(K).
        seen: [N, K], how much of each block the photo shows.

    Returns:
        [N, M, K] in -1..1.
    """
    blocks = query.shape[1]
    weights = seen * (blocks / seen.sum(1, keepdim=True).clamp_min(1e-6))
    spectrum_q = torch.fft.rfft(query * weights[:, :, None], dim=1).transpose(0, 1)  # [F, N, d]
    spectrum_t = torch.fft.rfft(reference, dim=1).transpose(0, 1)
    product = torch.matmul(spectrum_q.conj(), spectrum_t.transpose(1, 2))  # [F, N, M]
    return torch.fft.irfft(product.permute(1, 2, 0), n=blocks, dim=2)


def shift_targets(shift: Tensor, blocks: int) -> Tensor:
    """Where the truth lies among the whole shifts: [B] of fractions to [B, K], split between the two nearest."""
    low = torch.floor(shift)
    share = (shift - low)[:, None]
    first = F.one_hot(low.long() % blocks, blocks).to(shift.dtype)
    second = F.one_hot((low.long() + 1) % blocks, blocks).to(shift.dtype)
    return first * (1 - share) + second * share


def sector_info_nce(
    query: Tensor,
    reference: Tensor,
    seen: Tensor,
    shift: Tensor,
    too_near: Tensor,
    scale: Tensor,
    smoothing: float = 0.1,
) -> Tensor:
    """The loss of a batch of pairs, photo ``i`` belonging to tile ``i``.

    Args:
        query, reference: [B, K, d], each block of norm 1/sqrt(K).
        seen: [B, K].
        shift: [B], how far the photo's blocks must be rolled right to fit its tile, 0..K, fractions allowed.
        too_near: bool [B, B], pairs (i, j) that are no fair negatives; the diagonal is False.
        scale: what scores are multiplied by.
        smoothing: share of the target spread evenly over all fair candidates.

    Returns:
        a scalar.

    Example:
        >>> q = t = F.normalize(torch.randn(8, 4, 16), dim=2) / 2
        >>> near = torch.zeros(8, 8, dtype=torch.bool)
        >>> sector_info_nce(q, t, torch.ones(8, 4), torch.zeros(8), near, torch.tensor(9.0))
        tensor(...)
    """
    count, blocks = query.shape[:2]
    logits = shift_scores(query, reference, seen) * scale
    target = torch.zeros_like(logits)
    index = torch.arange(count, device=logits.device)
    target[index, index] = shift_targets(shift, blocks).to(logits.dtype)
    fair = ~too_near[:, :, None]
    by_photo = fair_cross_entropy(logits, target, fair, smoothing)
    by_tile = fair_cross_entropy(
        logits.transpose(0, 1), target.transpose(0, 1), fair.transpose(0, 1), smoothing
    )
    return (by_photo + by_tile) / 2


@register_loss("sector-info-nce")
class SectorInfoNCE(Loss):
    """:func:`sector_info_nce` on raw descriptors of K blocks by bearing, each block of norm 1/sqrt(K).

    Needs ``azimuth_blocks`` and ``scale`` of the context. Without ``seen`` the photo shows everything, without
    ``shift`` it is aligned, without ``too_near`` every negative is fair.

    Args:
        smoothing: share of the target spread evenly over all fair candidates, 0..1.
        scale, scale_limit: where the learned factor on scores starts, and the most that it may become.
    """

    learns_scale = True

    def __init__(
        self, smoothing: float = 0.1, scale: float = 14.0, scale_limit: float = 100.0
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError("smoothing must be from 0 to below 1")
        self.smoothing, self.start_scale, self.scale_limit = smoothing, scale, scale_limit

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        blocks = context.azimuth_blocks
        if blocks < 1 or context.scale is None:
            raise ValueError("sector InfoNCE needs descriptors of blocks by bearing, and a scale")
        count = len(query)
        seen, shift, too_near = context.seen, context.shift, context.too_near
        return sector_info_nce(
            query.unflatten(1, (blocks, -1)),
            reference.unflatten(1, (blocks, -1)),
            query.new_ones(count, blocks) if seen is None else seen,
            query.new_zeros(count) if shift is None else shift,
            torch.zeros(count, count, dtype=torch.bool, device=query.device)
            if too_near is None
            else too_near,
            context.scale,
            self.smoothing,
        )
