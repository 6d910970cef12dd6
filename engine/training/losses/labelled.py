"""Losses over sets of labelled images, as GSV-Cities trains with them.

A batch is P places with K images each, or pairs (then every pair is a place). Descriptors are brought to norm 1;
``s`` are cosines, ``d`` Euclidean distances, P and N the positives and negatives of an anchor. Settings are those of
Ali-bey et al., "GSV-Cities", 2022, whose code uses the losses and averages of pytorch-metric-learning; that is
followed here. "Mean of what is above 0" is an average that leaves out terms that are already 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.training.losses.base import Loss, LossContext, register_loss
from engine.training.losses.masks import LabelledSet, labelled_set, log_sum_exp, mean_of


class LabelledLoss(Loss):
    """What they have in common.

    Args:
        exclude_near: pairs of different places that are too near do not count as negatives.
    """

    def __init__(self, exclude_near: bool = False) -> None:
        super().__init__()
        self.exclude_near = exclude_near

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch; ``reference`` may be empty [0, D]."""
        return self._of(labelled_set(query, reference, context, self.exclude_near))

    def _of(self, labelled: LabelledSet) -> Tensor:
        raise NotImplementedError


def similarity_pairs(labelled: LabelledSet, epsilon: float) -> tuple[Tensor, Tensor]:
    """The miner of the multi-similarity loss: the positives and negatives that are worth while.

    A positive is kept where it is less like the anchor than the most alike negative plus ``epsilon``, a negative
    where it is more like the anchor than the least alike positive minus ``epsilon``.

    Returns:
        bool [N, N] twice.
    """
    cosines = labelled.cosines.detach()
    top = cosines.masked_fill(~labelled.negative, -torch.inf).amax(1, keepdim=True)
    low = cosines.masked_fill(~labelled.positive, torch.inf).amin(1, keepdim=True)
    return (
        labelled.positive & (cosines - epsilon < top),
        labelled.negative & (cosines + epsilon > low),
    )


@register_loss("multi-similarity")
class MultiSimilarity(LabelledLoss):
    """Wang et al., CVPR 2019: mean over anchors of

        1/alpha log(1 + sum_P exp(alpha (base - s))) + 1/beta log(1 + sum_N exp(beta (s - base)))

    Args:
        alpha, beta, base: as above.
        epsilon: of the miner, see :func:`similarity_pairs`; below 0: no mining.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 50.0,
        base: float = 0.0,
        epsilon: float = 0.1,
        exclude_near: bool = False,
    ) -> None:
        super().__init__(exclude_near)
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def _of(self, labelled: LabelledSet) -> Tensor:
        positive, negative = labelled.positive, labelled.negative
        if self.epsilon >= 0:
            positive, negative = similarity_pairs(labelled, self.epsilon)
        cosines = labelled.cosines
        pull = log_sum_exp(self.alpha * (self.base - cosines), positive, one=True) / self.alpha
        push = log_sum_exp(self.beta * (cosines - self.base), negative, one=True) / self.beta
        return (pull + push).mean()


@register_loss("sup-con")
class SupCon(LabelledLoss):
    """Supervised contrastive, Khosla et al., NeurIPS 2020: over anchors, the mean of what is above 0 of

    -1/|P| sum_P log(exp(s / t) / sum_{P and N} exp(s / t))
    """

    def __init__(self, temperature: float = 0.07, exclude_near: bool = False) -> None:
        super().__init__(exclude_near)
        self.temperature = temperature

    def _of(self, labelled: LabelledSet) -> Tensor:
        logits = labelled.cosines / self.temperature
        total = log_sum_exp(logits, labelled.positive | labelled.negative)
        share = (logits - total[:, None]) * labelled.positive
        each = -share.sum(1) / labelled.positive.sum(1).clamp_min(1)
        return mean_of(each, each > 0)


@register_loss("circle")
class Circle(LabelledLoss):
    """Sun et al., CVPR 2020: over anchors that have both, the mean of what is above 0 of

        log(1 + sum_N exp(g [s + m]_+ (s - m)) sum_P exp(-g [1 + m - s]_+ (s - 1 + m)))

    where the weights in brackets are not differentiated.
    """

    def __init__(
        self, margin: float = 0.4, gamma: float = 80.0, exclude_near: bool = False
    ) -> None:
        super().__init__(exclude_near)
        self.margin, self.gamma = margin, gamma

    def _of(self, labelled: LabelledSet) -> Tensor:
        cosines, margin = labelled.cosines, self.margin
        fixed = cosines.detach()
        pull = -self.gamma * F.relu(1 + margin - fixed) * (cosines - 1 + margin)
        push = self.gamma * F.relu(fixed + margin) * (cosines - margin)
        positive, negative = labelled.positive, labelled.negative
        each = F.softplus(log_sum_exp(pull, positive) + log_sum_exp(push, negative))
        return mean_of(each, positive.any(1) & negative.any(1) & (each > 0))


@register_loss("contrastive")
class Contrastive(LabelledLoss):
    """Hadsell et al., CVPR 2006, with distances not squared: the mean of what is above 0 of ``[d - p]_+`` over
    positive pairs plus that of ``[n - d]_+`` over negative pairs, with the margins p and n.
    """

    def __init__(
        self, positive: float = 0.0, negative: float = 1.0, exclude_near: bool = False
    ) -> None:
        super().__init__(exclude_near)
        self.positive, self.negative = positive, negative

    def _of(self, labelled: LabelledSet) -> Tensor:
        distances = labelled.distances
        pull, push = F.relu(distances - self.positive), F.relu(self.negative - distances)
        return mean_of(pull, labelled.positive & (pull > 0)) + mean_of(
            push, labelled.negative & (push > 0)
        )


@register_loss("lifted")
class Lifted(LabelledLoss):
    """Lifted structure as Hermans et al., 2017 generalise it: mean over anchors of

    [log sum_P exp(p - s) + log sum_N exp(s - n)]_+
    """

    def __init__(
        self, positive: float = 1.0, negative: float = 0.0, exclude_near: bool = False
    ) -> None:
        super().__init__(exclude_near)
        self.positive, self.negative = positive, negative

    def _of(self, labelled: LabelledSet) -> Tensor:
        cosines = labelled.cosines
        pull = log_sum_exp(self.positive - cosines, labelled.positive)
        push = log_sum_exp(cosines - self.negative, labelled.negative)
        return F.relu(pull + push).mean()


@register_loss("fast-ap")
class FastAP(LabelledLoss):
    """Cakir et al., CVPR 2019: 1 - the average precision of each anchor that has positives, on a soft histogram of
    squared distances 0..4 with ``bins`` + 1 triangles:

        AP = 1/|P| sum_b h+(b) H+(b) / H(b),   H the running sums of h
    """

    def __init__(self, bins: int = 30, exclude_near: bool = False) -> None:
        super().__init__(exclude_near)
        if bins < 1:
            raise ValueError("bins must be at least 1")
        self.bins = bins

    def _of(self, labelled: LabelledSet) -> Tensor:
        squared = labelled.distances.square()
        middles = torch.linspace(0.0, 4.0, self.bins + 1).to(squared)
        pulse = F.relu(1 - (squared[:, :, None] - middles).abs() * (self.bins / 4.0))
        right = (pulse * labelled.positive[:, :, None]).sum(1)
        any_ = right + (pulse * labelled.negative[:, :, None]).sum(1)
        product, running = right * right.cumsum(1), any_.cumsum(1)
        used = (product > 0) & (running > 0)
        ratio = product.masked_fill(~used, 0.0) / running.masked_fill(~used, 1.0)
        count = labelled.positive.sum(1)
        return mean_of(1 - ratio.sum(1) / count.clamp_min(1), count > 0)


@register_loss("nt-xent")
class NTXent(LabelledLoss):
    """Normalised temperature-scaled cross entropy (SimCLR's): mean over positive pairs of

    -log(exp(s / t) / (exp(s / t) + sum_N exp(s_N / t)))
    """

    def __init__(self, temperature: float = 0.07, exclude_near: bool = False) -> None:
        super().__init__(exclude_near)
        self.temperature = temperature

    def _of(self, labelled: LabelledSet) -> Tensor:
        logits = labelled.cosines / self.temperature
        masked = logits.masked_fill(~labelled.negative, -torch.inf)
        some = labelled.negative.any(1)
        wrong = masked.masked_fill(~some[:, None], 0.0).logsumexp(1)
        each = F.softplus(wrong[:, None] - logits)
        return mean_of(each, labelled.positive & some[:, None])


@register_loss("triplet-margin")
class TripletMargin(LabelledLoss):
    """All triplets of a set: the mean of what is above 0 of ``[d_P - d_N + margin]_+``.

    Args:
        margin: as above.
        mine: "all", or "semi-hard": those that violate the margin although the negative is farther.
    """

    def __init__(
        self, margin: float = 0.1, mine: str = "semi-hard", exclude_near: bool = False
    ) -> None:
        super().__init__(exclude_near)
        if mine not in ("all", "semi-hard"):
            raise ValueError('mine is not "all" or "semi-hard"')
        self.margin, self.mine = margin, mine

    def _of(self, labelled: LabelledSet) -> Tensor:
        distances = labelled.distances
        each = F.relu(distances[:, :, None] - distances[:, None, :] + self.margin)
        return mean_of(each, triplets(labelled, self.margin, self.mine) & (each > 0))


def triplets(labelled: LabelledSet, margin: float, mine: str) -> Tensor:
    """Bool [N, N, N]: which (anchor, positive, negative) count; see :class:`TripletMargin`."""
    every = labelled.positive[:, :, None] & labelled.negative[:, None, :]
    if mine == "all":
        return every
    distances = labelled.distances.detach()
    gap = distances[:, None, :] - distances[:, :, None]
    return every & (gap > 0) & (gap <= margin)
