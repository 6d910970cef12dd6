"""ViT (Dosovitskiy et al. 2021, "An image is worth 16x16 words"), as the deep visual geo-localization benchmark has it:
the class token after the last norm is the descriptor.

Parameter names are those of ``ViTModel`` of Hugging Face's transformers; LayerNorm's eps is 1e-12 there. The published
sizes are 224 and 384 (ViT-B/16); for another size the learned positions are resized bicubically.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone
from engine.networks.street.stages import sides
from engine.networks.street.transformer import (
    as_map,
    attend,
    heads,
    joined,
    looked_at,
    patches,
    resized_positions,
)

EPS = 1e-12


class _Embeddings(nn.Module):
    def __init__(self, dim: int, patch: int, places: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position_embeddings = nn.Parameter(torch.zeros(1, places + 1, dim))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, dim, patch, patch)})

    def forward(self, x: Tensor) -> Tensor:
        grid = self.patch_embeddings["projection"](x)
        token = self.position_embeddings[:, :1] + self.cls_token
        size = sides(grid)
        places = grid.flatten(2).transpose(1, 2)
        places = places + resized_positions(self.position_embeddings[:, 1:], size)
        return torch.cat([token.expand(x.shape[0], -1, -1), places], dim=1)


class _Layer(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, dim: int, heads_count: int, hidden: int) -> None:
        super().__init__()
        names = ("query", "key", "value")
        inner = nn.ModuleDict({name: nn.Linear(dim, dim) for name in names})
        out = nn.ModuleDict({"dense": nn.Linear(dim, dim)})
        self.attention = nn.ModuleDict({"attention": inner, "output": out})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, hidden)})
        self.output = nn.ModuleDict({"dense": nn.Linear(hidden, dim)})
        self.layernorm_before = nn.LayerNorm(dim, eps=EPS)
        self.layernorm_after = nn.LayerNorm(dim, eps=EPS)
        self.heads_count = heads_count

    def asked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [N, heads, P, d]."""
        normed = self.layernorm_before(x)
        inner = cast(nn.ModuleDict, self.attention["attention"])
        query, key, value = (
            heads(inner[name](normed), self.heads_count) for name in ("query", "key", "value")
        )
        return query, key, value

    def forward(self, x: Tensor) -> Tensor:
        out = cast(nn.ModuleDict, self.attention["output"])["dense"]
        x = x + out(joined(attend(*self.asked(x))))
        inner = F.gelu(self.intermediate["dense"](self.layernorm_after(x)))
        return x + self.output["dense"](inner)


class Vit(nn.Module):
    """Images [N, 3, H, W], H and W multiples of the patch, to the map and the class token after the last norm.

    Args:
        image_size: side of the images that the learned positions stand for.
        patch: side of a patch, pixels.
        dim, depth, heads, hidden: of the encoder; ViT-B by default. The benchmark also cuts it to fewer layers.
        pooler: whether the (unused) pooler's parameters are there, as in the authors' state dicts.
        frozen: how many of the first layers, the embeddings among them, do not learn.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        patch: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        pooler: bool = False,
        frozen: int = 0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        rows, columns = patches((image_size, image_size), patch)
        self.embeddings = _Embeddings(dim, patch, rows * columns)
        layers = nn.ModuleList([_Layer(dim, heads, hidden) for _ in range(depth)])
        self.encoder = nn.ModuleDict({"layer": layers})
        self.layernorm = nn.LayerNorm(dim, eps=EPS)
        if pooler:
            self.pooler = nn.ModuleDict({"dense": nn.Linear(dim, dim)})
            self.pooler.requires_grad_(False)
        self.channels = dim
        self.patch = patch
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.embeddings.position_embeddings, std=0.02)
        nn.init.trunc_normal_(self.embeddings.cls_token, std=0.02)
        if frozen:
            self.embeddings.requires_grad_(False)
            layers[:frozen].requires_grad_(False)

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of patches."""
        return patches(input_size, self.patch)

    @property
    def _layers(self) -> list[_Layer]:
        return [cast(_Layer, layer) for layer in cast(nn.ModuleList, self.encoder["layer"])]

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens before the last layer and after it, not normed yet."""
        x = self.embeddings(x)
        *most, last = self._layers
        for layer in most:
            x = layer(x)
        return x, last(x)

    def _told(self, tokens: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.layernorm(tokens)
        size = self.map_size(sides(images))
        return as_map(tokens[:, 1:], size), tokens[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w]."""
        return self.map_and_token(x)[0]

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and the class token [N, C]."""
        return self._told(self._encoded(x)[1], x)

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map, the class token, and what the token looked at in the last layer [N, h, w]."""
        before, after = self._encoded(x)
        feature_map, token = self._told(after, x)
        query, key, _ = self._layers[-1].asked(before)
        seen = looked_at(query, key).unflatten(1, sides(feature_map))
        return feature_map, token, seen


@register_backbone("vit")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return Vit(**options)
