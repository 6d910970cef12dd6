"""MixVPR (Ali-bey et al. 2023, "MixVPR: feature mixing for visual place recognition").

Every channel is a row of P = h * w numbers. ``depth`` times a row is mixed with itself, z + W2 relu(W1 LN(z)); then the
channels go linearly to d of them and the places linearly to r, and the d * r numbers are brought to norm 1:
[N, C, h, w] to [N, d * r]. The layers hold P, so a network is bound to the size it was made for. Names as the authors'.
Every number depends on all places, so there is no evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Side, Size, register_aggregation


class _Mixer(nn.Module):
    def __init__(self, places: int, ratio: float) -> None:
        super().__init__()
        hidden = int(places * ratio)
        self.mix = nn.Sequential(
            nn.LayerNorm(places), nn.Linear(places, hidden), nn.ReLU(), nn.Linear(hidden, places)
        )
        for layer in self.mix:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x)


class MixVpr(nn.Module):
    """Maps [N, C, h, w] to [N, d * r] of norm 1.

    Args:
        channels: C.
        map_size: h and w.
        out_channels: d.
        rows: r.
        depth: how many times rows are mixed.
        ratio: hidden numbers of a mixer, as a multiple of P.
    """

    def __init__(
        self,
        channels: int,
        map_size: Size,
        *,
        out_channels: int = 1024,
        rows: int = 4,
        depth: int = 4,
        ratio: float = 1.0,
    ) -> None:
        super().__init__()
        places = map_size[0] * map_size[1]
        self.mix = nn.Sequential(*(_Mixer(places, ratio) for _ in range(depth)))
        self.channel_proj = nn.Linear(channels, out_channels)
        self.row_proj = nn.Linear(places, rows)
        self.dim = out_channels * rows

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(x.flatten(2))
        mixed = self.channel_proj(mixed.transpose(1, 2)).transpose(1, 2)
        return F.normalize(self.row_proj(mixed).flatten(1), p=2.0, dim=1)


@register_aggregation("mixvpr")
def _build(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return MixVpr(channels, map_size, **options)
