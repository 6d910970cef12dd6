"""The sector encoder: a small residual network whose descriptor is one block a bearing.

Input is an image over the full turn (the polar image of a tile, or the canvas of a photo). Columns are bearings and
the left edge continues at the right one, so every convolution pads circularly in width. The strides bring
64 x 256 to a map of 4 rows and 32 columns. The rows and channels of one column go through one linear layer that all
columns share, columns are pooled into K groups, and each group's numbers are brought to norm 1/sqrt(K): the
descriptor. Turning the input by a block's width therefore rolls the blocks by one, exactly.

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

STAGE_STRIDES = ((1, 1), (2, 2), (2, 2), (2, 1))
TOTAL_STRIDE = (16, 8)
"""Rows and columns of the input for one row and one column of the map: the stem's 2 times the stages'."""


class _CircularPad(torch.autograd.Function):
    """Borrow ``pad`` columns from the other side.

    Written out because the gradient of a slice is a zero-filled copy of the whole: three of them a convolution
    took a third of a training step on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.pad = pad
        return _borrow(x, pad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        pad, width = ctx.pad, grad.shape[3] - 2 * ctx.pad
        inner = grad[..., pad : pad + width].clone(memory_format=torch.channels_last)
        inner[..., -pad:] += grad[..., :pad]
        inner[..., :pad] += grad[..., width + pad :]
        return inner, None


def _borrow(x: Tensor, pad: int) -> Tensor:
    return torch.cat([x[..., -pad:], x, x[..., :pad]], dim=3)


def circular_pad(x: Tensor, pad: int) -> Tensor:
    """[N, C, H, W] to [N, C, H, W + 2 pad], the new columns from the other side."""
    if torch.is_grad_enabled() and x.requires_grad:
        padded = _CircularPad.apply(x, pad)
        assert isinstance(padded, Tensor)
        return padded
    return _borrow(x, pad)


class CircularConv(nn.Module):
    """A 3 x 3 convolution without bias over a full turn: circular in width, zeros above and below."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=(1, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(circular_pad(x, 1))


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.first = CircularConv(channels_in, channels_out, stride)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = CircularConv(channels_out, channels_out)
        self.second_norm = nn.BatchNorm2d(channels_out)
        # The sum should start as the way around: early training is steadier.
        nn.init.zeros_(self.second_norm.weight)
        self.pool: nn.Module = nn.AvgPool2d(stride, stride) if stride != (1, 1) else nn.Identity()
        self.around: nn.Module = nn.Identity()
        self.around_norm: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.around = nn.Conv2d(channels_in, channels_out, 1, bias=False)
            self.around_norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)), inplace=True)
        inner = self.second_norm(self.second(inner))
        return F.relu(inner + self.around_norm(self.around(self.pool(x))), inplace=True)


class SectorEncoder(nn.Module):
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
        super().__init__()
        height, width = input_size
        self.rows, self.columns = height // TOTAL_STRIDE[0], width // TOTAL_STRIDE[1]
        if len(channels) != 4 or len(blocks) != 4 or min(channels) < 1 or min(blocks[1:]) < 1:
            raise ValueError("there are four stages, each with channels and at least one block")
        if height % TOTAL_STRIDE[0] or width % TOTAL_STRIDE[1]:
            raise ValueError(f"an input of {height} x {width} is no multiple of 16 x 8")
        if azimuth_blocks < 1 or self.columns % azimuth_blocks:
            raise ValueError(f"{self.columns} columns do not make {azimuth_blocks} equal blocks")
        self.input_size = (height, width)
        self.azimuth_blocks = azimuth_blocks
        self.block_dim = block_dim
        self.dim = azimuth_blocks * block_dim
        # 4 x 4 with stride 2: one column is borrowed on each side.
        self.stem = nn.Conv2d(3, channels[0], 4, 2, padding=(1, 0), bias=False)
        self.stem_norm = nn.BatchNorm2d(channels[0])
        stages: list[nn.Module] = []
        before = channels[0]
        for stride, count, after in zip(STAGE_STRIDES, blocks, channels, strict=True):
            for index in range(count):
                stages.append(ResidualBlock(before, after, stride if index == 0 else (1, 1)))
                before = after
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(before, block_dim, (self.rows, 1))

    def feature_map(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] to the map [N, C, rows, columns]."""
        x = F.relu(self.stem_norm(self.stem(circular_pad(x, 1))), inplace=True)
        return self.stages(x)

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
    wanted = dict(options)
    sizes = tuple(wanted.pop("query_size")), tuple(wanted.pop("reference_size"))
    query, reference = (SectorEncoder(**wanted, input_size=size) for size in sizes)
    return DualEncoder(query, reference)
