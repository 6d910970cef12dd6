"""RRM, the residual retrieval module.

Kordopatis-Zilos et al. 2021, "Leveraging EfficientNet and contrastive learning for accurate global-scale location
estimation": with g the mean of the map over places,

    y = LN1(g);  f = LN2(y + W2 relu(W1 y + b1) + b2);  descriptor = f / |f|          [N, C, h, w] to [N, C]

Names follow the deep visual geo-localization benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.pooling import with_fc


class Rrm(nn.Module):
    """Maps [N, C, h, w] to [N, C] of norm 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels)
        self.fc2 = nn.Linear(channels, channels)
        self.ln2 = nn.LayerNorm(channels)
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        mean = self.ln1(x.mean((2, 3)))
        mixed = self.fc2(F.relu(self.fc1(mean))) + mean
        return F.normalize(self.ln2(mixed), p=2.0, dim=1)


@register_aggregation("rrm")
def _build(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return build_rrm(channels, **options)


def build_rrm(channels: int, *, fc_dim: int | None = None) -> nn.Module:
    """RRM, and a linear layer to ``fc_dim`` numbers if it is given."""
    return with_fc(Rrm(channels), fc_dim)
