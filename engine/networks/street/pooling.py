"""Poolings without a dictionary: average, maximum, generalised mean, and maxima of regions.

====== ============================================== =====================================================
SPoC   f_c = mean over places of x_c                  Babenko & Lempitsky 2015, "Aggregating deep
                                                      convolutional features for image retrieval"
MAC    f_c = max over places of x_c                   Razavian et al. 2016; Tolias et al. 2016
GeM    f_c = (mean over places of max(x_c, eps)^p)    Radenović et al. 2018, "Fine-tuning CNN image retrieval
       ^(1/p)                                         with no human annotation"; p is learned
R-MAC  f = sum over regions of MAC(region)/|.|        Tolias et al. 2016, "Particular object retrieval with
                                                      integral max-pooling"; square regions on L scales
====== ============================================== =====================================================

Each takes a map [N, C, h, w] and gives [N, C], as the deep visual geo-localization benchmark (Berton et al. 2022)
computes it, and each can give its parts (see :class:`~engine.networks.street.stages.Additive`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.stages import Chain, Flatten, L2Norm, chain, sides

OVERLAP = 0.4
"""Wanted overlap of neighbouring R-MAC regions, as a share of the area."""
RMAC_STEPS = range(2, 8)
"""How many regions may stand along the longer side."""


def gem(x: Tensor, p: Tensor | float = 3.0, eps: float = 1e-6) -> Tensor:
    """Generalised mean [N, C, h, w] to [N, C]."""
    return x.clamp(min=eps).pow(p).mean((2, 3)).pow(1.0 / p)


def rmac_regions(height: int, width: int, levels: int = 3) -> list[tuple[int, int, int]]:
    """Top row, left column and side of every region of R-MAC, the whole map not among them.

    On level l the side is floor(2 min(h, w) / (l + 1)). Along the shorter side stand l regions, along the longer one
    as many more as bring the overlap of level 1 closest to 0.4. The arithmetic, its roundings in float32 included, is
    the benchmark's.
    """
    short = min(width, height)
    steps = torch.tensor([float(n) for n in RMAC_STEPS])
    gap = (max(height, width) - short) / (steps - 1)
    more = int((((short**2 - short * gap) / short**2) - OVERLAP).abs().argmin()) + 1
    more_rows, more_columns = (more if height > width else 0), (more if height < width else 0)
    found: list[tuple[int, int, int]] = []
    for level in range(1, levels + 1):
        side = math.floor(2 * short / (level + 1))
        if side == 0:
            continue
        for top in _starts(height, side, level + more_rows):
            for left in _starts(width, side, level + more_columns):
                found.append((top, left, side))
    return found


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where ``count`` regions of ``side`` start along ``length``."""
    half = math.floor(side / 2 - 1)
    gap = 0.0 if count == 1 else (length - side) / (count - 1)
    centres = torch.floor(half + torch.arange(count, dtype=torch.float32) * gap)
    return [int(start) for start in centres - half]


def rmac(x: Tensor, levels: int = 3, eps: float = 1e-6) -> Tensor:
    """Regional maxima, each divided by its norm, summed: [N, C, h, w] to [N, C]."""
    total = _unit(x.amax((2, 3)), eps)
    for top, left, side in rmac_regions(*sides(x), levels):
        region = x[:, :, top : top + side, left : left + side]
        total = total + _unit(region.amax((2, 3)), eps)
    return total


def _unit(vector: Tensor, eps: float) -> Tensor:
    return vector / (vector.norm(dim=1, keepdim=True) + eps)


def _maxima(x: Tensor) -> Tensor:
    """The maxima where they are, 0 elsewhere; equal ones share: [N, C, h, w]."""
    top = x.amax((2, 3), keepdim=True)
    where = (x == top).to(x.dtype)
    return where * (top / where.sum((2, 3), keepdim=True))


class Spoc(nn.Module):
    """Mean over places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))

    def parts(self, x: Tensor) -> Tensor:
        height, width = sides(x)
        return x / (height * width)


class Mac(nn.Module):
    """Maximum over places; its part belongs to the place where it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3))

    def parts(self, x: Tensor) -> Tensor:
        return _maxima(x)


class Gem(nn.Module):
    """Generalised mean with a learned exponent ``p`` [1].

    With S_c = mean of max(x_c, eps)^p, the part of a place is its summand times S_c^(1/p - 1), so the parts sum to
    S_c^(1/p).
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.ones(1) * p)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return gem(x, self.p, self.eps)

    def parts(self, x: Tensor) -> Tensor:
        powers = x.clamp(min=self.eps).pow(self.p)
        mean = powers.mean((2, 3), keepdim=True)
        height, width = sides(x)
        return powers / (height * width) * mean.pow(1.0 / self.p - 1.0)


class Rmac(nn.Module):
    """Sum of regional maxima; the part of a region's maximum belongs to the place where it is."""

    def __init__(self, levels: int = 3, eps: float = 1e-6) -> None:
        super().__init__()
        self.levels = levels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rmac(x, self.levels, self.eps)

    def parts(self, x: Tensor) -> Tensor:
        return torch.stack(list(self._regional(x))).sum(0)

    def _regional(self, x: Tensor) -> Iterator[Tensor]:
        height, width = sides(x)
        yield self._region(x)
        for top, left, side in rmac_regions(height, width, self.levels):
            inner = self._region(x[:, :, top : top + side, left : left + side])
            yield F.pad(inner, (left, width - left - side, top, height - top - side))

    def _region(self, x: Tensor) -> Tensor:
        norm = x.amax((2, 3)).norm(dim=1) + self.eps
        return _maxima(x) / norm[:, None, None, None]


SHALLOW = {"gem": Gem, "spoc": Spoc, "mac": Mac, "rmac": Rmac}
"""The poolings of this file by the names that the benchmark gives them."""
L2_WHEN = ("before_pool", "after_pool", "none")


def shallow(
    name: str,
    channels: int,
    *,
    l2: str = "before_pool",
    fc_dim: int | None = None,
    **options: Any,
) -> Chain:
    """A pooling with its norm and, optionally, a linear layer: numbered as in the benchmark.

    Args:
        name: a key of :data:`SHALLOW`; ``options`` are its arguments.
        channels: C.
        l2: when channels are brought to norm 1: ``before_pool`` at every place, ``after_pool``, ``none``.
        fc_dim: D of a linear layer, after which the vector is brought to norm 1; None: there is none.
    """
    pool = SHALLOW[name](**options)
    rows: dict[str, list[nn.Module]] = {
        "before_pool": [L2Norm(), pool, Flatten()],
        "after_pool": [pool, L2Norm(), Flatten()],
        "none": [pool, Flatten()],
    }
    if l2 not in rows:
        raise ValueError(f'l2 is one of {", ".join(L2_WHEN)}, not "{l2}"')
    return with_fc(chain(channels, rows[l2]), fc_dim)


def with_fc(head: nn.Module, fc_dim: int | None) -> Any:
    """``head`` and a linear layer to ``fc_dim`` numbers brought to norm 1; None: ``head`` as it is."""
    if fc_dim is None:
        return head
    before: Any = head
    return chain(fc_dim, [head, nn.Linear(before.dim, fc_dim), L2Norm()])


def _register(name: str) -> None:
    @register_aggregation(name)
    def build(  # pyright: ignore[reportUnusedFunction]
        options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size
    ) -> nn.Module:
        return shallow(name, channels, **options)


for _name in SHALLOW:
    _register(_name)
