"""Aggregations that read tokens.

CLS: the class token is the descriptor, f = t [N, C]. SeqPool (Hassani et al. 2021, "Escaping the big data paradigm with
compact transformers"): f = sum over places of a(p) x_p with a = softmax over places of (w . x_p + b).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.dual import descriptors
from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.stages import sides


class Cls(nn.Module):
    """The class token [N, C], as it is."""

    reads_token = True
    token_only = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dim = channels

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        return token


class SeqPool(nn.Module):
    """Maps [N, C, h, w] to [N, C]: the places' mean by learned weights, which are its evidence."""

    evidence_kind: EvidenceKind = "attention"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_pool = nn.Linear(channels, 1)
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        return pooled(x, self.attention_pool)[0]

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor [N, C] of norm 1 and the places' weights [N, h, w]."""
        raw, weights = pooled(x, self.attention_pool)
        return descriptors(raw), weights


def pooled(x: Tensor, attention_pool: nn.Linear) -> tuple[Tensor, Tensor]:
    """SeqPool of the map [N, C, h, w]: [N, C] and the weights [N, h, w]."""
    places = x.flatten(2)
    weights = F.softmax(attention_pool(places.transpose(1, 2)), dim=1)  # [N, P, 1]
    return (places @ weights)[:, :, 0], weights[:, :, 0].unflatten(1, sides(x))


@register_aggregation("cls")
def _cls(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return Cls(channels, **options)


@register_aggregation("seqpool")
def _seqpool(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return SeqPool(channels, **options)
