"""ConvNeXt: one network under the names of two projects.

Liu et al., "A ConvNet for the 2020s" (CVPR 2022). A stem (4 x 4 convolution of stride 4, norm), then four stages of
blocks; before the later three a norm and a 2 x 2 convolution of stride 2 halve the map. With ``LN`` the norm over
channels (biased variance, eps 1e-6), a block is::

    x + gamma * shrink(gelu(expand(LN(depthwise7x7(x)))))        expand: C -> 4C, shrink: 4C -> C

Images [N, 3, H, W] become a map [N, C, H/32, W/32] (rounded down at every halving). What differs between projects:

* parameter names: ``facebook`` (the authors' code, timm up to 0.4.12; FRGeo, our statewide) or ``timm`` (timm from
  0.6 on; Sample4Geo);
* GELU: by the error function, or by tanh (flax's default; statewide).

The norm after pooling, where a method has one, is the head's, not the backbone's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone
from engine.networks.pretrained import register_pretrained
from engine.networks.releases import Shapes, State

Names = Literal["facebook", "timm"]
Gelu = Literal["erf", "tanh"]

EPS = 1e-6
_APPROXIMATE: dict[Gelu, str] = {"erf": "none", "tanh": "tanh"}
"""The same in torch's words."""
STRIDE = 32
SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
}
"""Blocks and channels of the four stages."""


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map [N, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """One block, under the authors' names."""

    def __init__(self, channels: int, gelu: Gelu, layer_scale: float) -> None:
        super().__init__()
        self.approximate = _APPROXIMATE[gelu]
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        inner = self.pwconv2(F.gelu(self.pwconv1(inner), approximate=self.approximate))
        return x + (self.gamma * inner).permute(0, 3, 1, 2)


class _Mlp(nn.Module):
    def __init__(self, channels: int, gelu: Gelu) -> None:
        super().__init__()
        self.approximate = _APPROXIMATE[gelu]
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate=self.approximate))


class TimmBlock(nn.Module):
    """One block, under timm's names."""

    def __init__(self, channels: int, gelu: Gelu, layer_scale: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale))
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.mlp = _Mlp(channels, gelu)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + (self.gamma * inner).permute(0, 3, 1, 2)


class _TimmStage(nn.Module):
    def __init__(self, downsample: nn.Module, blocks: nn.Sequential) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = blocks


class ConvNeXt(nn.Module):
    """Images [N, 3, H, W] to maps [N, C, H/32, W/32].

    Args:
        depths, dims: blocks and channels of the four stages.
        names: of the parameters, see the module's text.
        gelu: "erf": by the error function; "tanh": approximated.
        layer_scale: what ``gamma`` starts at; the authors' 1e-6 is for very deep networks and long training, a small
            network that starts from nothing learns faster from 1.
    """

    stride = STRIDE

    def __init__(
        self,
        depths: Sequence[int] = SIZES["tiny"][0],
        dims: Sequence[int] = SIZES["tiny"][1],
        *,
        names: Names = "facebook",
        gelu: Gelu = "erf",
        layer_scale: float = 1e-6,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(dims) != 4 or min(depths) < 1 or min(dims) < 1:
            raise ValueError("there are four stages, each with channels and at least one block")
        if gelu not in _APPROXIMATE:
            raise ValueError(f'there is no GELU "{gelu}"')
        self.channels = int(dims[-1])
        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), ChannelNorm(dims[0]))
        halvings = [
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, 2))
            for before, after in pairwise(dims)
        ]
        if names == "facebook":
            kind = Block
        elif names == "timm":
            kind = TimmBlock
        else:
            raise ValueError(f'there are no names "{names}", only "facebook" and "timm"')
        stages = [
            nn.Sequential(*(kind(width, gelu, layer_scale) for _ in range(depth)))
            for depth, width in zip(depths, dims, strict=True)
        ]
        if names == "facebook":
            self.downsample_layers = nn.ModuleList([stem, *halvings])
            self.stages = nn.ModuleList(stages)
        else:
            self.stem = stem
            self.stages = nn.ModuleList(
                _TimmStage(*pair) for pair in zip([nn.Identity(), *halvings], stages, strict=True)
            )
        self.apply(_initialise)

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of the map."""
        height, width = input_size[0] // 4, input_size[1] // 4
        for _ in range(3):
            height, width = height // 2, width // 2
        if not height or not width:
            raise ValueError(f"{input_size[0]} x {input_size[1]} is smaller than 32 x 32")
        return height, width

    def _levels(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The way into each stage, and its blocks."""
        if hasattr(self, "stem"):
            for index, stage in enumerate(self.stages):
                assert isinstance(stage, _TimmStage)
                yield (stage.downsample if index else self.stem), stage.blocks
        else:
            yield from zip(self.downsample_layers, self.stages, strict=True)

    def feature_map(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w] after the four stages, as it is: no norm."""
        for enter, blocks in self._levels():
            x = blocks(enter(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`feature_map`."""
        return self.feature_map(x)


def _initialise(module: nn.Module) -> None:
    """As the authors: truncated normal of deviation 0.02, biases 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


_FACEBOOK_OF = {"conv_dw": "dwconv", "fc1": "pwconv1", "fc2": "pwconv2"}
_TIMM_OF = {"dwconv": ("conv_dw",), "pwconv1": ("mlp", "fc1"), "pwconv2": ("mlp", "fc2")}


def to_facebook_names(state: Mapping[str, Tensor]) -> State:
    """A ConvNeXt's state under timm's names brought to the authors'; the classifier stays as it is."""
    renamed: State = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "stem":
            parts = ["downsample_layers", "0", *parts[1:]]
        elif parts[0] == "stages" and parts[2] == "downsample":
            parts = ["downsample_layers", parts[1], *parts[3:]]
        elif parts[0] == "stages" and parts[2] == "blocks":
            inner = [_FACEBOOK_OF.get(part, part) for part in parts[4:] if part != "mlp"]
            parts = ["stages", parts[1], parts[3], *inner]
        elif parts[:2] == ["head", "norm"]:
            parts = parts[1:]
        renamed[".".join(parts)] = value
    return renamed


def to_timm_names(state: Mapping[str, Tensor]) -> State:
    """A ConvNeXt's state under the authors' names brought to timm's; the classifier stays as it is."""
    renamed: State = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "downsample_layers":
            stage = ["stem"] if parts[1] == "0" else ["stages", parts[1], "downsample"]
            parts = [*stage, *parts[2:]]
        elif parts[0] == "stages":
            inner = [new for part in parts[3:] for new in _TIMM_OF.get(part, (part,))]
            parts = ["stages", parts[1], "blocks", parts[2], *inner]
        elif parts[0] == "norm":
            parts = ["head", *parts]
        renamed[".".join(parts)] = value
    return renamed


@register_pretrained(ConvNeXt)
def load_imagenet(module: ConvNeXt, state: Mapping[str, Tensor]) -> None:
    """Lay ImageNet weights of either naming into a ConvNeXt; the classifier has no use here.

    Raises:
        ValueError: the weights are no ConvNeXt's.
        RuntimeError: they are another size's.
    """
    if size_of({key: tuple(value.shape) for key, value in state.items()}) is None:
        raise ValueError("these are no weights of a ConvNeXt")
    rename = to_timm_names if hasattr(module, "stem") else to_facebook_names
    # A state under the wanted names passes through a renaming unchanged.
    known = module.state_dict().keys()
    module.load_state_dict({key: value for key, value in rename(state).items() if key in known})


def size_of(shapes: Shapes, prefix: str = "") -> tuple[Names, list[int], list[int]] | None:
    """Names, depths and dims of the ConvNeXt whose parameters begin with ``prefix``; None: there is none."""
    names: Names
    if f"{prefix}downsample_layers.0.0.weight" in shapes:
        names, nested = "facebook", ""
    elif f"{prefix}stem.0.weight" in shapes and f"{prefix}stages.0.blocks.0.gamma" in shapes:
        names, nested = "timm", "blocks."
    else:
        return None
    depths, dims = [], []
    for stage in range(4):
        depth = 0
        while f"{prefix}stages.{stage}.{nested}{depth}.gamma" in shapes:
            depth += 1
        if not depth:
            return None
        depths.append(depth)
        dims.append(shapes[f"{prefix}stages.{stage}.{nested}0.gamma"][0])
    return names, depths, dims


def _register(size: str) -> None:
    @register_backbone(f"convnext-{size}")
    def build(options: Mapping[str, Any]) -> nn.Module:
        depths, dims = SIZES[size]
        return ConvNeXt(**{"depths": depths, "dims": dims, **options})


for _size in SIZES:
    _register(_size)
