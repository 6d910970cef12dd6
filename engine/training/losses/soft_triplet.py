"""Weighted soft-margin triplets over all pairs of a batch, as each project reduces them.

With ``D[i, j]`` the squared distance 2 - 2 cos of photo ``i`` and reference ``j`` (both of norm 1), every other
reference is a negative of a photo and every other photo one of a reference:

    l(i, j) = log(1 + exp(a (D[i, i] - D[i, j])))      by photo
    m(i, j) = log(1 + exp(a (D[j, j] - D[i, j])))      by reference

and the loss is half of the one's mean plus half of the other's. What differs is which terms enter the mean:

- SAFA, DSM, VIGOR, SAIG (a = 10): all B x B, the diagonal's log 2 included, divided by B (B - 1).
- SAFA with ``hardest = k``: the k largest terms of each row, the diagonal among them, averaged.
- TransGeo: cosines instead of distances with a = 20, which is a = 10 here; the diagonal left out, B (B - 1).
- SAIG's semi-hard variant: the int(sqrt(B)) nearest negatives of each row, averaged.

Sources: CVM-Net (Hu et al., CVPR 2018) for the loss; the projects' training code for the reductions.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, others, register_loss, unit
from engine.training.losses.sector import shift_scores

Negatives = Literal["top-k", "semi-hard"]


def squared_distances(query: Tensor, reference: Tensor) -> Tensor:
    """[B, B] squared distances of descriptors of norm 1, 2 - 2 cos."""
    return 2.0 - 2.0 * query @ reference.T


def turned_distances(query: Tensor, reference: Tensor, seen: Tensor) -> Tensor:
    """[B, B] squared distances at the best turn of each pair, as DSM compares them.

    The turn is where the correlation along the azimuth is highest; there the part of the reference that the photo
    sees is brought to norm 1, as the photo is. Source: Shi et al., "Where am I looking at?", CVPR 2020.

    Args:
        query: [B, k, d], blocks by bearing; a photo of less than the full turn may have fewer than K.
        reference: [M, K, d], of any norm.
        seen: [B, k], 0 or 1, the blocks that the photo shows.
    """
    missing = reference.shape[1] - query.shape[1]
    if missing < 0:
        raise ValueError("a photo has more blocks by bearing than the turn")
    # In double precision: thousands of products are added up, and the turn hangs on which sum is the largest.
    shown = F.pad(seen, (0, missing)).double()
    photo = F.pad(query, (0, 0, 0, missing)).double() * shown[:, :, None]
    photo = photo / photo.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    tile = reference.double()
    # The shared function weights by what is seen and makes a cosine of it, which is not wanted here.
    ones = torch.ones_like(shown)
    correlation = shift_scores(photo, tile, ones)
    energy = tile.square().sum(2, keepdim=True)
    covered = shift_scores(shown[:, :, None], energy, ones).clamp_min(1e-12)
    turn = correlation.detach().argmax(2, keepdim=True)
    best = (correlation / covered.sqrt()).gather(2, turn)
    return (2.0 - 2.0 * best.squeeze(2)).to(query.dtype)


def all_pairs(distance: Tensor, alpha: float, configured: int | None = None) -> Tensor:
    """SAFA's, DSM's, VIGOR's and SAIG's reduction of a [B, B] matrix of squared distances.

    Args:
        configured: the batch size whose B (B - 1) divides the sum; None: the batch's own. The authors use the
            configured one, so that a smaller last batch weighs less.
    """
    by_photo, by_reference = _terms(distance, alpha)
    size = configured or len(distance)
    return (by_photo.sum() + by_reference.sum()) / 2 / (size * (size - 1))


def hardest_pairs(distance: Tensor, alpha: float, count: int) -> Tensor:
    """SAFA's reduction with in-batch mining: the ``count`` largest terms of every row, of the diagonal's too."""
    by_photo, by_reference = _terms(distance, alpha)
    return (by_photo.topk(count, dim=1)[0].mean() + by_reference.topk(count, dim=0)[0].mean()) / 2


def semi_hard_distances(distance: Tensor, positive: Tensor) -> Tensor:
    """[B]: per row the farthest negative that is nearer than the positive, or the nearest of all if none is.

    Args:
        distance: [B, B] with the positives on the diagonal; positive: [B].
    """
    off = ~torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    nearer = (distance < positive[:, None]) & off
    farthest = (distance * nearer).amax(1)
    return torch.maximum(farthest, distance.masked_fill(~off, torch.inf).amin(1))


def nearest_distances(distance: Tensor, count: int) -> Tensor:
    """[B, count]: the smallest distances of each row, nearest first, without the diagonal."""
    off = ~torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    return distance.masked_fill(~off, torch.inf).topk(count, dim=1, largest=False)[0]


def _terms(distance: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    positive = distance.diagonal()
    return (
        F.softplus(alpha * (positive[:, None] - distance)),
        F.softplus(alpha * (positive[None, :] - distance)),
    )


class SoftTriplet(Loss):
    """SAFA's, DSM's, VIGOR's and SAIG's triplet loss, :func:`all_pairs` or :func:`hardest_pairs`.

    Args:
        alpha: the weight of a difference of squared distances.
        hardest: 0: all pairs; else how many of each row.
        configured_batch: see :func:`all_pairs`.
        normalise: bring descriptors to norm 1 first; their networks do it themselves.
        exclude_near: leave out pairs that are too near; the sum is then divided by what is left (the authors keep
            all pairs).
        turn: compare each pair at its best turn (needs descriptors of blocks by bearing), as DSM does.
    """

    def __init__(
        self,
        alpha: float = 10.0,
        hardest: int = 0,
        configured_batch: int | None = None,
        normalise: bool = True,
        exclude_near: bool = False,
        turn: bool = False,
    ) -> None:
        super().__init__()
        if hardest and exclude_near:
            raise ValueError("hardest pairs cannot leave out what is too near")
        self.alpha, self.hardest, self.configured_batch = alpha, hardest, configured_batch
        self.normalise, self.exclude_near, self.turn = normalise, exclude_near, turn

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        query, reference = unit(query, self.normalise), unit(reference, self.normalise)
        distance = self._distances(query, reference, context)
        if self.hardest:
            return hardest_pairs(distance, self.alpha, min(self.hardest, len(distance)))
        if not self.exclude_near or context.too_near is None:
            return all_pairs(distance, self.alpha, self.configured_batch)
        negative = others(len(query), context, True, query.device)
        keep = negative | torch.eye(len(query), dtype=torch.bool, device=query.device)
        by_photo, by_reference = _terms(distance, self.alpha)
        total = ((by_photo + by_reference) * keep).sum() / 2
        return total / negative.sum().clamp_min(1)

    def _distances(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        if not self.turn:
            return squared_distances(query, reference)
        blocks = context.azimuth_blocks
        if blocks < 1:
            raise ValueError("comparing at the best turn needs descriptors of blocks by bearing")
        tiles = reference.unflatten(1, (blocks, -1))
        photos = query.unflatten(1, (-1, tiles.shape[2]))
        seen = context.seen
        if seen is None or seen.shape[1] != photos.shape[1]:
            seen = photos.new_ones(photos.shape[:2])
        return turned_distances(photos, tiles, (seen >= 0.5).to(photos.dtype))


@register_loss("safa-triplet")
@register_loss("saig-triplet")
@register_loss("vigor-triplet")
def _soft_triplet(**options: object) -> Loss:
    return SoftTriplet(**options)  # pyright: ignore[reportArgumentType]


@register_loss("dsm-triplet")
def _dsm_triplet(**options: object) -> Loss:
    return SoftTriplet(**{"turn": True, **options})  # pyright: ignore[reportArgumentType]


@register_loss("transgeo-triplet")
class TransGeoTriplet(Loss):
    """TransGeo's triplet loss (Zhu et al., CVPR 2022): cosines, the diagonal left out, mean over B (B - 1).

    Args:
        alpha: the weight of a difference of cosines.
        normalise: bring descriptors to norm 1 first, as its loss does.
        exclude_near: leave out pairs that are too near.
    """

    def __init__(
        self, alpha: float = 20.0, normalise: bool = True, exclude_near: bool = False
    ) -> None:
        super().__init__()
        self.alpha, self.normalise, self.exclude_near = alpha, normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        distance = squared_distances(unit(query, self.normalise), unit(reference, self.normalise))
        negative = others(len(query), context, self.exclude_near, query.device)
        by_photo, by_reference = _terms(distance, self.alpha / 2)
        return ((by_photo + by_reference) * negative).sum() / 2 / negative.sum().clamp_min(1)


@register_loss("semi-hard-triplet")
class SemiHardTriplet(Loss):
    """SAIG's soft-margin triplet over few negatives of each row.

    Args:
        alpha: the weight of a difference of squared distances.
        negatives: "top-k", the ``count`` nearest (what SAIG trains with), or "semi-hard", the farthest one that is
            nearer than the positive (its alternative).
        count: how many; 0: int(sqrt(B)).
        normalise: bring descriptors to norm 1 first.
        exclude_near: never take a negative that is too near.
    """

    def __init__(
        self,
        alpha: float = 10.0,
        negatives: Negatives = "top-k",
        count: int = 0,
        normalise: bool = True,
        exclude_near: bool = False,
    ) -> None:
        super().__init__()
        if negatives not in ("top-k", "semi-hard"):
            raise ValueError('negatives is not "top-k" or "semi-hard"')
        self.alpha, self.negatives, self.count = alpha, negatives, count
        self.normalise, self.exclude_near = normalise, exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        distance = squared_distances(unit(query, self.normalise), unit(reference, self.normalise))
        positive = distance.diagonal()
        if self.exclude_near and context.too_near is not None:
            # Farther than anything, so that it is no hard negative and its term vanishes.
            distance = distance.masked_fill(context.too_near, 8.0)
        sides = (self._of(distance, positive), self._of(distance.T, positive))
        return (sides[0] + sides[1]) / 2

    def _of(self, distance: Tensor, positive: Tensor) -> Tensor:
        if self.negatives == "semi-hard":
            hard = semi_hard_distances(distance, positive)[:, None]
        else:
            count = self.count or int(len(distance) ** 0.5)
            hard = nearest_distances(distance, min(count, len(distance) - 1))
        return F.softplus(self.alpha * (positive[:, None] - hard)).mean()
