"""Pooling by attention over places: the head of the statewide encoder.

Fervers et al., "Statewide Visual Geolocalization in the Wild" (ECCV 2024). With ``x_p`` [C] the map's vector at place
p, ``LN`` the norm over channels (eps 1e-5) and H heads of D/H numbers each::

    a_hp = softmax over p of (A LN(x_p))_h                 A: C -> H, no bias
    v_p  = V LN(x_p) + b                                   V: C -> D
    descriptor[h, c] = sum over p of a_hp * v_p[h, c]      head-major, c in 0..D/H

The places are those of all maps together when one descriptor has several (four extents of one spot). The head does
not see where a place is; only the backbone knows directions.

Given the attention the descriptor is linear in the values, so evidence is exact: place p adds ``a_hp * v_p``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation


class SpatialSoftmax(nn.Module):
    """A map [N, C, h, w], or several [N, S, C, h, w], to raw descriptors [N, D].

    Args:
        channels: C.
        heads: H, a divisor of ``dim``.
        dim: D.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, channels: int, *, heads: int = 64, dim: int = 1024) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"{dim} numbers do not make {heads} equal heads")
        self.heads, self.dim = heads, dim
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.attention = nn.Linear(channels, heads, bias=False)
        self.value = nn.Linear(channels, dim)

    def _weighted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attention [N, P, H] and values [N, P, H, D/H] of all places, those of several maps one after another."""
        places = x.flatten(-2).transpose(-1, -2).flatten(1, -2)  # [N, P, C]
        places = self.norm(places)
        attention = self.attention(places).softmax(dim=1)
        return attention, self.value(places).unflatten(2, (self.heads, -1))

    def forward(self, x: Tensor) -> Tensor:
        """Raw descriptors [N, D]."""
        attention, value = self._weighted(x)
        return torch.einsum("nph,nphc->nhc", attention, value).flatten(1)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, D] of norm 1 and what every place adds to them, [N, D, h, w] or [N, S, D, h, w]."""
        attention, value = self._weighted(x.float())
        parts = (attention[..., None] * value).flatten(2)  # [N, P, D]
        raw = parts.sum(1)
        parts = parts / raw.norm(dim=1).clamp_min(1e-12)[:, None, None]
        height, width = int(x.shape[-2]), int(x.shape[-1])
        if x.ndim == 5:
            parts = parts.unflatten(1, (int(x.shape[1]), height, width)).permute(0, 1, 4, 2, 3)
        else:
            parts = parts.unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return F.normalize(raw, dim=1), parts


@register_aggregation("spatial-softmax")
def _build(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return SpatialSoftmax(channels, **options)
