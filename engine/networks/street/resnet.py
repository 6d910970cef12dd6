"""Residual networks, cut after conv4 or conv5 (He et al. 2016, "Deep residual learning for image recognition").

Layers and parameter names are torchvision's, in one of two spellings: numbered as in ``nn.Sequential(*children)``
(``0`` the stem's convolution, ``1`` its norm, ``4``-``7`` the four stages; the deep visual geo-localization benchmark,
CosPlace, EigenPlaces), or named (``conv1``, ``bn1``, ``layer1``-``layer4``) under ``model`` (GSV-Cities, MixVPR). The
stride before the cut is 16 (conv4) or 32 (conv5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a way around them."""

    widening = 1

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _around(channels_in, width * self.widening, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.bn2(self.conv2(inner))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (which has the stride), 1 x 1 to four times the width, and a way around them."""

    widening = 4

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.widening, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.widening)
        self.downsample = _around(channels_in, width * self.widening, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


def _around(channels_in: int, channels_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
    )


@dataclass(frozen=True)
class Depth:
    """What makes a ResNet the one of its number: the block and how many of it each stage has."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]


DEPTHS = {
    18: Depth(BasicBlock, (2, 2, 2, 2)),
    34: Depth(BasicBlock, (3, 4, 6, 3)),
    50: Depth(Bottleneck, (3, 4, 6, 3)),
    101: Depth(Bottleneck, (3, 4, 23, 3)),
    152: Depth(Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Sequential):
    """Images [N, 3, H, W] to the map [N, C, H / stride, W / stride], rounded up.

    Args:
        depth: 18, 34, 50, 101 or 152; takes the block from there too.
        cut: 4 or 5, the last stage that is there.
        width: channels of the first stage (64; less for a network that learns on a small machine).
        blocks: of the stages, where they should not be those of ``depth``.
        named: torchvision's names instead of numbers.
        frozen: the last stage whose parameters do not learn: 0 none, 1 the stem, 2 conv2_x and so on; the benchmark,
            CosPlace and GSV-Cities train from conv4_x on, which is 3.
    """

    def __init__(
        self,
        depth: int,
        cut: int,
        *,
        width: int = 64,
        blocks: Sequence[int] | None = None,
        named: bool = False,
        frozen: int = 0,
    ) -> None:
        if depth not in DEPTHS or cut not in (4, 5):
            raise ValueError(f"there is no ResNet-{depth} cut after conv{cut}")
        kind = DEPTHS[depth]
        counts = tuple(blocks) if blocks is not None else kind.blocks
        if len(counts) < cut - 1 or min(counts) < 1:
            raise ValueError(f"conv2 to conv{cut} need a number of blocks each")
        layers: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(3, width, 7, 2, padding=3, bias=False)),
            ("bn1", nn.BatchNorm2d(width)),
            ("relu", nn.ReLU()),
            ("maxpool", nn.MaxPool2d(3, 2, padding=1)),
        ]
        channels = width
        for stage, count in enumerate(counts[: cut - 1]):
            inner = width << stage
            made: list[nn.Module] = []
            for index in range(count):
                stride = 2 if index == 0 and stage > 0 else 1
                made.append(kind.block(channels, inner, stride))
                channels = inner * kind.block.widening
            layers.append((f"layer{stage + 1}", nn.Sequential(*made)))
        if named:
            super().__init__(OrderedDict(layers))
        else:
            super().__init__(*(layer for _, layer in layers))
        self.channels = channels
        self.stride = 1 << cut
        for _, layer in layers[: 3 + frozen if frozen else 0]:
            layer.requires_grad_(False)
        self._learns_from_the_start()

    def _learns_from_the_start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def map_size(self, input_size: Size) -> Size:
        """h and w of the map."""
        return -(-input_size[0] // self.stride), -(-input_size[1] // self.stride)


class Under(nn.Module):
    """A backbone whose parameters are called ``model.*``.

    Args:
        model: the backbone.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.channels: int = model.channels

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def map_size(self, input_size: Size) -> Size:
        """h and w of the map."""
        return self.model.map_size(input_size)


def _register(depth: int, cut: int) -> None:
    @register_backbone(f"resnet{depth}-conv{cut}")
    def build(options: Mapping[str, Any]) -> nn.Module:  # pyright: ignore[reportUnusedFunction]
        return ResNet(depth, cut, **options)


for _depth in DEPTHS:
    for _cut in (4, 5):
        _register(_depth, _cut)
