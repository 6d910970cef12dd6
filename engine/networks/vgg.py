"""VGG16's convolutions as the TensorFlow projects of 2019 and 2020 have them (SAFA, DSM).

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015). Thirteen 3 x 3
convolutions with ReLU in five groups (2, 2, 3, 3, 3), a 2 x 2 maximum of stride 2 between groups. TensorFlow's SAME
pooling keeps the last odd row or column: h rows become ceil(h/2). Images are blue, green, red, less the mean of each
(103.939, 116.779, 123.6), not divided.

``circular``: the image is a full turn; columns left and right of it come from its other side.

Parameters are called by TensorFlow's names, ``conv1_1.weight`` for the variable ``conv1_1/weights``, whose layout
[height, width, in, out] becomes torch's [out, in, height, width].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone
from engine.networks.pretrained import register_pretrained
from engine.networks.releases import State
from engine.networks.small_resnet import circular_pad

GROUPS = (2, 2, 3, 3, 3)
WIDTHS = (64, 128, 256, 512, 512)
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Where torchvision's ``features`` has the convolutions."""
_IMAGENET_STD = (0.229, 0.224, 0.225)


class SidedConv(nn.Conv2d):
    """A 3 x 3 convolution as TensorFlow does it, or over a full turn.

    Not circular: SAME padding, whose odd row or column stands behind: with stride 2 an even number of rows is padded
    below alone. Circular: one column from the other side, one row of zeros above and below.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: tuple[int, int] = (1, 1),
        *,
        circular: bool = False,
    ) -> None:
        super().__init__(channels_in, channels_out, 3, stride)
        self.circular = circular
        nn.init.xavier_uniform_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if self.circular:
            return super().forward(F.pad(circular_pad(input, 1), (0, 0, 1, 1)))
        rows = _same_padding(int(input.shape[2]), self.stride[0])
        columns = _same_padding(int(input.shape[3]), self.stride[1])
        return super().forward(F.pad(input, (*columns, *rows)))


def _same_padding(size: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
    return total // 2, total - total // 2


class Vgg16(nn.Module):
    """Images [N, 3, H, W] to maps [N, C, H/2^(g-1), W/2^(g-1)], rounded up, after g groups.

    Args:
        groups: g, how many groups of convolutions: 5 all, 4 up to ``conv4_3``.
        circular: see the module's text.
        widths: channels of the groups.
        dropout: share of numbers dropped after every convolution of the fourth and fifth group, in training.
        frozen_groups: how many of the first groups are not trained.
    """

    def __init__(
        self,
        *,
        groups: int = 5,
        circular: bool = False,
        widths: Sequence[int] = WIDTHS,
        dropout: float = 0.0,
        frozen_groups: int = 0,
    ) -> None:
        super().__init__()
        if not 1 <= groups <= 5 or len(widths) < groups or not 0 <= frozen_groups <= groups:
            raise ValueError("VGG16 has five groups of convolutions, each with channels")
        self.groups, self.dropout = groups, dropout
        self.channels, self.stride = int(widths[groups - 1]), 2 ** (groups - 1)
        before = 3
        for group, (count, width) in enumerate(zip(GROUPS[:groups], widths, strict=False), 1):
            for index in range(1, count + 1):
                conv = SidedConv(before, width, circular=circular)
                conv.requires_grad_(group > frozen_groups)
                self.add_module(f"conv{group}_{index}", conv)
                before = width

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of the map."""
        return -(-input_size[0] // self.stride), -(-input_size[1] // self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """The map after the last ReLU."""
        for group in range(1, self.groups + 1):
            if group > 1:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for index in range(1, GROUPS[group - 1] + 1):
                x = F.relu(self.get_submodule(f"conv{group}_{index}")(x))
                if group >= 4 and self.dropout:
                    x = F.dropout(x, self.dropout, self.training)
        return x


@register_pretrained(Vgg16)
def load_torchvision(module: Vgg16, state: Mapping[str, Tensor]) -> None:
    """Lay torchvision's ImageNet weights (``features.0.weight``...) into a VGG16 that reads blue, green, red.

    torchvision's network reads ``(value/255 - mean)/std`` in red, green, blue: the first convolution's channels are
    turned round and its weights divided by ``255 std``. The means differ by 0.1 of 255.

    Raises:
        ValueError: the weights are not torchvision's VGG16.
    """
    if "features.28.weight" not in state:
        raise ValueError("these are no weights of torchvision's VGG16")
    wanted = module.state_dict()
    names = [name.removesuffix(".weight") for name in wanted if name.endswith(".weight")]
    laid: State = {}
    for name, index in zip(names, _TORCHVISION, strict=False):
        laid[f"{name}.weight"] = state[f"features.{index}.weight"]
        laid[f"{name}.bias"] = state[f"features.{index}.bias"]
    scale = 255 * torch.tensor(_IMAGENET_STD)[None, :, None, None]
    laid["conv1_1.weight"] = (laid["conv1_1.weight"] / scale).flip(1)
    module.load_state_dict(laid)


def from_tensorflow(name: str, value: Tensor) -> tuple[str, Tensor]:
    """The tail of a TensorFlow variable ("conv1_1/weights") and its value under torch's name and layout."""
    layer, kind = name.split("/")
    if kind == "biases":
        return f"{layer}.bias", value
    return f"{layer}.weight", value.permute(3, 2, 0, 1).contiguous()


@register_backbone("vgg16-tf")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return Vgg16(**options)
