"""Conv-AP (Ali-bey et al. 2022, "GSV-Cities: toward appropriate supervised visual place recognition").

A 1 x 1 convolution to d channels, the mean over each cell of an s1 x s2 grid (adaptive: cells overlap where the map
does not divide), all numbers together brought to norm 1: [N, C, h, w] to [N, d * s1 * s2]. Names as in GSV-Cities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.stages import L2Norm, sides, through


class ConvAp(nn.Module):
    """Maps [N, C, h, w] to [N, d * rows * columns] of norm 1, numbered channel, row, column.

    Args:
        channels: C.
        out_channels: d.
        rows, columns: s1, s2 of the grid.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self, channels: int, *, out_channels: int = 512, rows: int = 2, columns: int = 2
    ) -> None:
        super().__init__()
        self.channel_pool = nn.Conv2d(channels, out_channels, 1)
        self.grid = (rows, columns)
        self.dim = out_channels * rows * columns

    def forward(self, x: Tensor) -> Tensor:
        cells = F.adaptive_avg_pool2d(self.channel_pool(x), self.grid)
        return F.normalize(cells.flatten(1), p=2.0, dim=1)

    def parts(self, x: Tensor) -> Tensor:
        """What each place adds to the descriptor [N, D, h, w]."""
        local = self.channel_pool(x)
        rows, columns = (
            _shares(length, count).to(local)
            for length, count in zip(sides(local), self.grid, strict=True)
        )
        share = rows[:, None, :, None] * columns[None, :, None, :]  # [rows, columns, h, w]
        return through(L2Norm(), (local[:, :, None, None] * share).flatten(1, 3))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor and its parts."""
        parts = self.parts(x)
        return parts.sum((2, 3)), parts


def _shares(length: int, cells: int) -> Tensor:
    """How much each of ``length`` places counts in the mean of each cell [cells, length]."""
    share = torch.zeros(cells, length)
    for cell in range(cells):
        start, stop = cell * length // cells, -(-(cell + 1) * length // cells)
        share[cell, start:stop] = 1.0 / (stop - start)
    return share


@register_aggregation("conv-ap")
def _build(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return ConvAp(channels, **options)
