"""VGG16 cut after conv5_3, without the ReLU behind it (Simonyan & Zisserman 2015).

The convolutions are numbered as in torchvision's ``features``: 0 to 28, pooling and ReLU among them. So do the deep
visual geo-localization benchmark and CosPlace cut it. The stride is 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from engine.networks.parts import Size, register_backbone

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Channels, as a multiple of the width, and convolutions of each stage."""


class Vgg16(nn.Sequential):
    """Images [N, 3, H, W] to the map [N, 8 width, H // 16, W // 16].

    Args:
        width: channels of the first stage (64; less for a small machine).
        frozen: whether all but the last three convolutions stand still, as in the benchmark and CosPlace.
    """

    def __init__(self, *, width: int = 64, frozen: bool = False) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for stage, (times, count) in enumerate(STAGES):
            if stage:
                layers.append(nn.MaxPool2d(2, 2))
            for _ in range(count):
                layers += [nn.Conv2d(channels, times * width, 3, padding=1), nn.ReLU()]
                channels = times * width
        super().__init__(*layers[:-1])
        self.channels = channels
        if frozen:
            for layer in layers[:24]:
                layer.requires_grad_(False)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def map_size(self, input_size: Size) -> Size:
        """h and w of the map."""
        height, width = input_size
        if min(height, width) < 16:
            raise ValueError(f"an input of {height} x {width} is too small for VGG16")
        return height // 16, width // 16


@register_backbone("vgg16")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return Vgg16(**options)
