"""CosFace: places as classes, with a margin on the cosine of the right one.

    logits[i, c] = s (cos(x_i, w_c) - m [c = y_i]),      L = cross entropy

Sources: Wang et al., "CosFace", CVPR 2018; Berton et al., "Rethinking visual geo-localization", CVPR 2022 (CosPlace),
which trains one group of classes at a time, each group with weights of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.training.losses.base import Loss, LossContext, register_loss, unit


@register_loss("cosface")
class CosFace(Loss):
    """A classifier whose weights are trained with the network and thrown away after.

    A batch is of one group, or of several, whose losses are added (EigenPlaces' two). Labels count through the
    groups: a label below ``classes[0]`` is of the first, and so on (see
    :class:`engine.training.classes.PlaceClasses`). References, where there are any, are further images of the same
    places. A training fills ``dim`` and ``classes`` in.

    Args:
        dim: numbers in a descriptor.
        classes: how many classes, or how many each group has.
        scale, margin: s and m.
        seed: of the weights' start (Glorot's uniform distribution).
    """

    def __init__(
        self,
        dim: int,
        classes: int | Sequence[int],
        scale: float = 30.0,
        margin: float = 0.4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = [classes] if isinstance(classes, int) else list(classes)
        if not sizes or min(sizes) < 1:
            raise ValueError("every group needs a class")
        self.scale, self.margin = scale, margin
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.empty(size, dim) for size in sizes]
        for weight in weights:
            nn.init.xavier_uniform_(weight, generator=generator)
        self.weights = nn.ParameterList([nn.Parameter(weight) for weight in weights])
        starts = torch.tensor([0, *sizes]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        if context.labels is None:
            raise ValueError("CosFace needs labels")
        labels = torch.cat([context.labels, context.labels[: len(reference)]])
        descriptors = torch.cat([query, reference])
        groups = torch.searchsorted(self.starts, labels, right=True) - 1
        if int(groups.min()) < 0 or int(groups.max()) >= len(self.weights):
            raise ValueError("a label belongs to no class")
        losses = []
        for group in groups.unique().tolist():
            own = groups == group
            within = labels[own] - self.starts[group]
            losses.append(F.cross_entropy(self.logits(descriptors[own], within, group), within))
        return torch.stack(losses).sum()

    def logits(self, descriptors: Tensor, labels: Tensor, group: int = 0) -> Tensor:
        """[N, C] of descriptors [N, D] and labels int [N] within a group."""
        cosine = unit(descriptors) @ F.normalize(self.weights[group], dim=1).T
        return self.scale * (cosine - self.margin * F.one_hot(labels, cosine.shape[1]))
