"""A small residual network over a full turn: the trunk of the networks that ship.

Columns are bearings and the left edge continues at the right one, so every convolution pads circularly in width; for
pictures with edges (plain tiles) it pads with zeros instead. A stem of stride 2, then four stages of residual blocks
with batch norm (He et al., "Deep Residual Learning for Image Recognition", 2016), whose strides bring 64 x 256 to a
map of 4 rows and 32 columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone

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
    """A 3 x 3 convolution without bias: circular in width, or not; zeros above and below."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: tuple[int, int] = (1, 1),
        *,
        circular: bool = True,
    ) -> None:
        super().__init__()
        self.circular = circular
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=(1, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(circular_pad(x, 1) if self.circular else F.pad(x, (1, 1)))


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: tuple[int, int],
        *,
        circular: bool = True,
    ) -> None:
        super().__init__()
        self.first = CircularConv(channels_in, channels_out, stride, circular=circular)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = CircularConv(channels_out, channels_out, circular=circular)
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


class SmallResNet(nn.Module):
    """Images [N, 3, H, W] to maps [N, C, H/16, W/8].

    Args:
        channels: of the four stages (the stem has the first's).
        blocks: residual blocks of the four stages; 0 for the first only leaves it out.
        circular: the left edge continues at the right one.
    """

    stride = TOTAL_STRIDE

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 1, 1),
        circular: bool = True,
    ) -> None:
        super().__init__()
        if len(channels) != 4 or len(blocks) != 4 or min(channels) < 1 or min(blocks[1:]) < 1:
            raise ValueError("there are four stages, each with channels and at least one block")
        self.circular = circular
        self.channels = int(channels[-1])
        # 4 x 4 with stride 2: one column is borrowed on each side.
        self.stem = nn.Conv2d(3, channels[0], 4, 2, padding=(1, 0), bias=False)
        self.stem_norm = nn.BatchNorm2d(channels[0])
        stages: list[nn.Module] = []
        before = channels[0]
        for stride, count, after in zip(STAGE_STRIDES, blocks, channels, strict=True):
            for index in range(count):
                own = stride if index == 0 else (1, 1)
                stages.append(ResidualBlock(before, after, own, circular=circular))
                before = after
        self.stages = nn.Sequential(*stages)

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of the map."""
        height, width = input_size
        if height % TOTAL_STRIDE[0] or width % TOTAL_STRIDE[1]:
            raise ValueError(f"an input of {height} x {width} is no multiple of 16 x 8")
        return height // TOTAL_STRIDE[0], width // TOTAL_STRIDE[1]

    def feature_map(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] to the map [N, C, rows, columns]."""
        around = circular_pad(x, 1) if self.circular else F.pad(x, (1, 1))
        return self.stages(F.relu(self.stem_norm(self.stem(around)), inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`feature_map`."""
        return self.feature_map(x)


@register_backbone("small-resnet")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return SmallResNet(**options)
