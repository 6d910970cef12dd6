"""SAIG: a stack of convolutions, then blocks of attention alone.

Zhu, Yang, Lu, Huang: "Simple, Effective and General: A New Backbone for Cross-view Image Geo-localization" (2023);
parameter names as in github.com/yanghongji2007/SAIG. Six convolutions 3 x 3 (strides 2, 2, 1, 2, 1, 2, each with batch
norm and ReLU) and one 1 x 1 bring an image [N, 3, H, W] to tokens [N, H/16 W/16, C]. Learned positions are added;
every block then is x + attention(norm(x)), without the perceptron that other transformers have, and a last norm ends
it. There is no class token. S has 11 blocks, D has 22, both C = 384 and 12 heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.networks.attention import Attention
from engine.networks.positions import Grid, resize_positions, square_grid
from engine.networks.pretrained import State, keep_known, register_pretrained

STRIDE = 16
NORM_EPS = 1e-6
Size = tuple[int, int]


class ConvStem(nn.Module):
    """Images [N, 3, H, W] to the map [N, C, H/16, W/16].

    Args:
        dim: C.
        widths: channels at half, quarter, eighth and sixteenth of the image's size.
    """

    def __init__(self, dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != 4 or min(widths) < 1:
            raise ValueError("the stem has four widths, each at least 1")
        half, quarter, eighth, sixteenth = widths
        layers: list[nn.Module] = []
        before = 3
        for after, stride in (
            (half, 2),
            (quarter, 2),
            (quarter, 1),
            (eighth, 2),
            (eighth, 1),
            (sixteenth, 2),
        ):
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
            before = after
        self.conv_stem = nn.Sequential(*layers, nn.Conv2d(before, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_stem(x)


class Block(nn.Module):
    """x + attention(norm(x)), and nothing else."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attn(self.norm1(x))

    def with_weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [N, T, C] and attention [N, heads, T, T]."""
        attended, weights = self.attn.with_weights(self.norm1(x))
        return x + attended, weights


class Saig(nn.Module):
    """The backbone: images [N, 3, H, W] to the map [N, C, H/16, W/16].

    Args:
        input_size: H and W, at least 16; the positions are learned for it. An image of another size is read with
            positions resized bicubically on the way.
        depth, dim, heads: blocks, C, attention heads.
        stem: widths of :class:`ConvStem`.
    """

    def __init__(
        self,
        *,
        input_size: Sequence[int] = (224, 224),
        depth: int = 11,
        dim: int = 384,
        heads: int = 12,
        stem: Sequence[int] = (64, 128, 256, 512),
    ) -> None:
        super().__init__()
        height, width = input_size
        self.input_size: Size = (int(height), int(width))
        self.grid: Grid = self.map_size(self.input_size)
        if depth < 1:
            raise ValueError("there is at least one block")
        self.channels = dim
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], dim))
        self.patch_embed = ConvStem(dim, stem)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def map_size(self, input_size: Size) -> Grid:
        """Rows and columns of the map for images of H and W."""
        grid = (input_size[0] // STRIDE, input_size[1] // STRIDE)
        if min(grid) < 1 or input_size[0] % STRIDE or input_size[1] % STRIDE:
            raise ValueError(
                f"an image of {input_size[0]} x {input_size[1]} is no multiple of {STRIDE}"
            )
        return grid

    def _start(self, x: Tensor) -> tuple[Tensor, Grid]:
        """Tokens [N, T, C] before the blocks, and the grid they lie on."""
        stem = self.patch_embed(x)
        grid = (int(stem.shape[2]), int(stem.shape[3]))
        positions = resize_positions(self.pos_embed, self.grid, grid)
        return stem.flatten(2).transpose(1, 2) + positions, grid

    def tokens(self, x: Tensor) -> Tensor:
        """Images to tokens [N, T, C], row by row."""
        tokens, _ = self._start(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Images to the map [N, C, h, w]."""
        tokens, grid = self._start(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, grid)

    def map_and_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and how much every place is looked at in the last block, [N, h, w].

        The mean over heads and over the places that look; at least 0, the sum over all places is 1.
        """
        tokens, grid = self._start(x)
        *inner, last = self.blocks
        for block in inner:
            tokens = block(tokens)
        assert isinstance(last, Block)
        tokens, weights = last.with_weights(tokens)
        seen = weights.mean(dim=(1, 2)).unflatten(1, grid)
        return self.norm(tokens).transpose(1, 2).unflatten(2, grid), seen


@register_pretrained(Saig)
def load_imagenet(backbone: Saig, state: State) -> None:
    """Lay the authors' ImageNet weights (224 x 224, with a classifier) or a branch's own into ``backbone``.

    Positions come from a square grid and are resized bicubically, as the authors do; the classifier is left out, save
    where ``backbone`` has one.
    """
    positions = state["pos_embed"]
    if positions.shape[1] != backbone.pos_embed.shape[1] or "head.weight" in state:
        positions = resize_positions(positions, square_grid(positions.shape[1]), backbone.grid)
    classifies = any(name.startswith("head.") for name, _ in backbone.named_parameters())
    unused = () if classifies else ("head.",)
    keep_known(backbone, {**state, "pos_embed": positions}, unused=unused)
