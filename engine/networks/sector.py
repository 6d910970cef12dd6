"""The sector encoder: a small residual network whose descriptor is one block a bearing.

Input is an image over the full turn (the polar image of a tile, or the canvas of a photo), which the trunk
(:mod:`engine.networks.small_resnet`) brings from 64 x 256 to a map of 4 rows and 32 columns. The rows and channels of
one column go through one linear layer that all columns share, columns are pooled into K groups, and each group's
numbers are brought to norm 1/sqrt(K): the descriptor. Turning the input by a block's width therefore rolls the blocks
by one, exactly.

FRM of FRGeo (four regions) is the case K = 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.dual import DualEncoder
from engine.networks.registry import register_network
from engine.networks.small_resnet import SmallResNet


class SectorEncoder(SmallResNet):
    """One branch: images [N, 3, H, W] to descriptors [N, K * d].

    Args:
        channels: of the four stages (the stem has the first's).
        blocks: residual blocks of the four stages; 0 for the first only leaves it out.
        input_size: H and W, multiples of 16 and 8.
        azimuth_blocks: K, a divisor of W / 8.
        block_dim: d.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1, 1),
        input_size: tuple[int, int] = (64, 256),
        azimuth_blocks: int = 32,
        block_dim: int = 48,
    ) -> None:
        super().__init__(channels=channels, blocks=blocks)
        self.rows, self.columns = self.map_size(input_size)
        if azimuth_blocks < 1 or self.columns % azimuth_blocks:
            raise ValueError(f"{self.columns} columns do not make {azimuth_blocks} equal blocks")
        if block_dim < 1:
            raise ValueError("block_dim must be at least 1")
        self.input_size = (input_size[0], input_size[1])
        self.azimuth_blocks = azimuth_blocks
        self.block_dim = block_dim
        self.dim = azimuth_blocks * block_dim
        self.head = nn.Conv2d(self.channels, block_dim, (self.rows, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors [N, K * d], block-major, each block of norm 1/sqrt(K)."""
        columns = self.head(self.feature_map(x)).float()[:, :, 0]  # [N, d, columns]
        grouped = columns.unflatten(2, (self.azimuth_blocks, -1)).sum(3)
        blocks = F.normalize(grouped.transpose(1, 2), dim=2, eps=1e-6)
        return blocks.flatten(1) / math.sqrt(self.azimuth_blocks)

    evidence_kind = "contributions"

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, K * d] and what every place of the map adds to them, [N, d, rows, columns].

        The sum over the rows and the columns of block k is block k of the descriptor: the head is linear, its bias
        is spread evenly over the places, and the block's norm is divided out of each.
        """
        feature_map = self.feature_map(x).float()
        parts = torch.stack(
            [
                F.conv2d(feature_map[:, :, row : row + 1], self.head.weight[:, :, row : row + 1])[
                    :, :, 0
                ]
                for row in range(self.rows)
            ],
            dim=2,
        )  # [N, d, rows, columns]
        assert self.head.bias is not None
        parts = parts + (self.head.bias / self.rows)[None, :, None, None]
        grouped = parts.unflatten(3, (self.azimuth_blocks, -1))  # [N, d, rows, K, g]
        total = grouped.sum(dim=(2, 4))  # [N, d, K]
        norm = total.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt() * math.sqrt(
            self.azimuth_blocks
        )
        features = (grouped / norm[:, :, None, :, None]).flatten(3)
        descriptor = (total / norm).transpose(1, 2).flatten(1)
        return descriptor, features


@register_network("sector-resnet")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return _sector_resnet(**options)


def _sector_resnet(
    *,
    query_size: tuple[int, int] = (64, 256),
    reference_size: tuple[int, int] = (64, 256),
    **both: Any,
) -> DualEncoder:
    query, reference = (
        SectorEncoder(**both, input_size=size) for size in (query_size, reference_size)
    )
    return DualEncoder(query, reference)
