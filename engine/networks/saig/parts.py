"""SAIG's backbone and heads for any combination with others' (see :mod:`engine.networks.parts`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from engine.networks.parts import Side, register_aggregation, register_backbone
from engine.networks.saig.backbone import Saig
from engine.networks.saig.heads import ReduceDim, Smd


@register_backbone("saig")
def _saig(options: Mapping[str, Any]) -> nn.Module:
    """Options of :class:`Saig`; ``input_size`` says for which images the positions are learned."""
    return Saig(**options)


@register_aggregation("smd")
def _smd(
    options: Mapping[str, Any], *, side: Side, channels: int, map_size: tuple[int, int]
) -> nn.Module:
    return Smd(channels=channels, map_size=map_size, **options)


@register_aggregation("reduce-dim")
def _reduce_dim(
    options: Mapping[str, Any], *, side: Side, channels: int, map_size: tuple[int, int]
) -> nn.Module:
    return ReduceDim(channels=channels, map_size=map_size, **options)
