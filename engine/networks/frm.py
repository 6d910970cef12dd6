"""Pooling by regions: FRM, the feature recombination module of FRGeo, and the plain mean it is compared with.

Zhang and Zhu, "Aligning Geometric Spatial Layout in Cross-View Geo-Localization via Feature Recombination" (AAAI
2024), equations 2-11. Around the camera lie four regions, between south and west, west and north, north and east,
east and south. A panorama whose columns run S, W, N, E, S shows them as four groups of columns; a north-up tile has
them as its quarters. Every region is pooled, and the four stand in one order in both descriptors::

    ground  F [C, h, w]:  g_k = mean of F[:, :, k*w/4 : (k+1)*w/4]                       k = 0..3
    aerial  F [C, h, w]:  a_0 = lower left, a_1 = upper left, a_2 = upper right, a_3 = lower right quarter's mean
    descriptor = [ LN(r_0), LN(r_1), LN(r_2), LN(r_3) ]                                  [N, 4C]

with one LayerNorm for all (eps 1e-6), as the authors' code has it. Odd sizes: a group has ``w // 4`` columns and the
last one the rest, a quarter ``h // 2`` x ``w // 2`` and its neighbours the rest. Which view it is comes as an
argument: the authors tell it from the map's shape, which a square ground map would break.

Evidence is exact: a mean is a sum over places, and a LayerNorm is affine once its mean and deviation are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation

EPS = 1e-6
RegionNorm = Literal["none", "l2", "layernorm"]
Region = tuple[slice, slice]
"""Rows and columns."""


def whole(height: int, width: int) -> list[Region]:
    """The one region of the plain mean."""
    return [(slice(0, height), slice(0, width))]


def column_groups(height: int, width: int) -> list[Region]:
    """The four regions of a panorama's map."""
    if width < 4:
        raise ValueError(f"a map of {width} columns has no four groups of them")
    step = width // 4
    edges = [0, step, 2 * step, 3 * step, width]
    return [(slice(0, height), slice(low, high)) for low, high in pairwise(edges)]


def quarters(height: int, width: int) -> list[Region]:
    """The four regions of a north-up tile's map: SW, NW, NE, SE."""
    if min(height, width) < 2:
        raise ValueError(f"a map of {height} x {width} has no quarters")
    upper, lower = slice(0, height // 2), slice(height // 2, height)
    left, right = slice(0, width // 2), slice(width // 2, width)
    return [(lower, left), (upper, left), (upper, right), (lower, right)]


def regions_of(side: Side) -> Callable[[int, int], list[Region]]:
    """How FRM divides the map of one side."""
    return column_groups if side == "query" else quarters


def pool(x: Tensor, regions: list[Region]) -> Tensor:
    """Means [N, R, C] of a map [N, C, h, w] over its regions."""
    return torch.stack([x[:, :, rows, columns].mean((2, 3)) for rows, columns in regions], dim=1)


def region_descriptor(pooled: Tensor, norm: nn.LayerNorm | RegionNorm) -> Tensor:
    """Raw descriptors [N, R * C] of pooled regions [N, R, C]."""
    if isinstance(norm, nn.LayerNorm):
        return norm(pooled).flatten(1)
    descriptor = pooled.flatten(1)
    return F.normalize(descriptor, dim=1) if norm == "l2" else descriptor


def region_evidence(
    x: Tensor, regions: list[Region], norm: nn.LayerNorm | RegionNorm
) -> tuple[Tensor, Tensor]:
    """Descriptors [N, R * C] of norm 1 and what every place adds to them, [N, R * C, h, w].

    A place adds to its own region's numbers alone. With a LayerNorm of gain ``g`` and bias ``b``, a region of ``n``
    places with the mean ``m``, and ``s`` the deviation of m over its channels, place p adds
    ``((x_p - mean over channels of x_p) / (n * s) * g + b / n)``, divided by the descriptor's norm.
    """
    x = x.float()
    height, width = int(x.shape[2]), int(x.shape[3])
    pooled = pool(x, regions)
    raw = norm(pooled).flatten(1) if isinstance(norm, nn.LayerNorm) else pooled.flatten(1)
    length = raw.norm(dim=1).clamp_min(1e-12)[:, None]
    parts: list[Tensor] = []
    for index, (rows, columns) in enumerate(regions):
        places = x[:, :, rows, columns]
        count = places.shape[2] * places.shape[3]
        if isinstance(norm, nn.LayerNorm):
            mean = pooled[:, index, :, None, None]
            deviation = torch.sqrt(mean.var(1, unbiased=False, keepdim=True) + norm.eps)
            centred = places - places.mean(1, keepdim=True)
            gain, bias = norm.weight[:, None, None], norm.bias[:, None, None]
            part = centred / (count * deviation) * gain + bias / count
        else:
            part = places / count
        around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
        parts.append(F.pad(part, around))
    return raw / length, torch.cat(parts, dim=1) / length[:, :, None, None]


def divided(x: Tensor, regions: Callable[[int, int], list[Region]]) -> list[Region]:
    """The regions of a map [N, C, h, w]."""
    # As plain numbers, which an exported graph then holds as such.
    return regions(int(x.shape[2]), int(x.shape[3]))


class RegionPool(nn.Module):
    """A map [N, C, h, w] to raw descriptors [N, R * C], the means over R regions.

    Args:
        channels: C.
        regions: how a map of h rows and w columns is divided.
        map_size: h and w, to know R; maps of other sizes are divided by the same rule.
        norm: "layernorm": of every region (one for all, with gain and bias); "l2": of the whole descriptor; "none".
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        channels: int,
        regions: Callable[[int, int], list[Region]],
        map_size: Size,
        *,
        norm: RegionNorm = "layernorm",
    ) -> None:
        super().__init__()
        if norm not in ("none", "l2", "layernorm"):
            raise ValueError(f'there is no norm "{norm}", only "none", "l2" and "layernorm"')
        self.regions = regions
        self.dim = channels * len(regions(*map_size))
        self.rule: RegionNorm = norm
        if norm == "layernorm":
            self.norm = nn.LayerNorm(channels, eps=EPS)

    @property
    def _norm(self) -> nn.LayerNorm | RegionNorm:
        return self.norm if self.rule == "layernorm" else self.rule

    def forward(self, x: Tensor) -> Tensor:
        """Raw descriptors [N, R * C]."""
        return region_descriptor(pool(x, divided(x, self.regions)), self._norm)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`region_evidence`."""
        return region_evidence(x, divided(x, self.regions), self._norm)


@register_aggregation("frm")
def _frm(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return RegionPool(channels, regions_of(side), map_size, **options)


@register_aggregation("gap")
def _gap(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return RegionPool(channels, whole, map_size, **options)
