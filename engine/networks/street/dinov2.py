"""DINOv2 (Oquab et al. 2023, "DINOv2: learning robust visual features without supervision"): a ViT with patches of 14
pixels and a learned factor for every branch's channels (LayerScale).

    x + g1 * attention(LN(x)), then x + g2 * MLP(LN(x));  eps 1e-6

Parameter names are the authors'. The learned positions are those of 518 x 518, 37 x 37 patches; for another size they
are resized bicubically, the coordinates scaled by (h + 0.1) / 37 and (w + 0.1) / 37 as in the released models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone
from engine.networks.street.resnet import Under
from engine.networks.street.stages import sides
from engine.networks.street.transformer import (
    antialiased,
    as_map,
    attend,
    heads,
    joined,
    looked_at,
    patches,
    resized_positions,
    square_side,
)

OFFSET = 0.1
"""Added to the rows and columns before the scale of the positions is computed."""


class _Attention(nn.Module):
    def __init__(self, dim: int, heads_count: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.heads_count = heads_count

    def asked(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values [N, heads, P, d]."""
        return [heads(part, self.heads_count) for part in self.qkv(x).chunk(3, dim=2)]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.asked(x)
        return self.proj(joined(attend(query, key, value)))


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Scale(nn.Module):
    def __init__(self, dim: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, dim: int, heads_count: int, scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, heads_count)
        self.ls1 = _Scale(dim, scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = _Mlp(dim, 4 * dim)
        self.ls2 = _Scale(dim, scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class DinoV2(nn.Module):
    """Images [N, 3, H, W], H and W multiples of the patch, to the map and the class token after the last norm.

    Args:
        image_size: side of the images that the learned positions stand for.
        patch: side of a patch, pixels.
        dim, depth, heads: ViT-B by default; ViT-S 384, 12, 6; ViT-L 1024, 24, 16.
        layer_scale: what the factors of the branches start from.
        mask_token: whether the (unused) mask token is there, as in the authors' state dicts.
        fit: images whose sides are no multiples of the patch are resized to the nearest ones (MegaLoc) instead of
            refused.
        trainable_blocks: how many of the last blocks learn; all else stands still (SALAD and MegaLoc: 4). None: all.
    """

    def __init__(
        self,
        *,
        image_size: int = 518,
        patch: int = 14,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        layer_scale: float = 1.0,
        mask_token: bool = False,
        fit: bool = False,
        trainable_blocks: int | None = None,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        rows, columns = patches((image_size, image_size), patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, rows * columns + 1, dim))
        if mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, dim), requires_grad=False)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)})
        self.blocks = nn.ModuleList([_Block(dim, heads, layer_scale) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.channels = dim
        self.patch = patch
        self.fit = fit
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if trainable_blocks is not None:
            still = [self.cls_token, self.pos_embed, *self.patch_embed.parameters()]
            for parameter in still:
                parameter.requires_grad_(False)
            self.blocks[: max(0, depth - trainable_blocks)].requires_grad_(False)

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of patches."""
        return patches(self._fitting(input_size), self.patch)

    def _fitting(self, input_size: Size) -> Size:
        """The size at which images of ``input_size`` are read."""
        if not self.fit:
            return input_size
        height, width = (round(length / self.patch) * self.patch for length in input_size)
        return height, width

    def _positions(self, size: Size) -> Tensor:
        places = self.pos_embed[:, 1:]
        side = square_side(places)
        if size == (side, side):
            return self.pos_embed
        scale = ((size[0] + OFFSET) / side, (size[1] + OFFSET) / side)
        return torch.cat([self.pos_embed[:, :1], resized_positions(places, size, scale=scale)], 1)

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor, Size]:
        """Tokens before the last block and after it, not normed yet, and the map's size."""
        size = sides(x)
        wanted = self._fitting(size)
        if wanted != size:
            x = antialiased(x, wanted)
        grid = self.patch_embed["proj"](x)
        size = sides(grid)
        places = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), places], dim=1)
        tokens = tokens + self._positions(size)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        return tokens, self.blocks[-1](tokens), size

    def forward(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w]."""
        return self.map_and_token(x)[0]

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and the class token [N, C]."""
        _, tokens, size = self._encoded(x)
        tokens = self.norm(tokens)
        return as_map(tokens[:, 1:], size), tokens[:, 0]

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map, the class token, and what the token looked at in the last block [N, h, w]."""
        before, tokens, size = self._encoded(x)
        tokens = self.norm(tokens)
        last = cast(_Block, self.blocks[-1])
        query, key, _ = last.attn.asked(last.norm1(before))
        seen = looked_at(query, key).unflatten(1, size)
        return as_map(tokens[:, 1:], size), tokens[:, 0], seen


class UnderDinoV2(Under):
    """A DINOv2 whose parameters are called ``model.*``, as in SALAD."""

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and the class token [N, C]."""
        return self.model.map_and_token(x)

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map, the class token, and what the token looked at."""
        return self.model.attention(x)


@register_backbone("dinov2")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return DinoV2(**options)
