"""CCT-14/7x2 (Hassani et al. 2021, "Escaping the big data paradigm with compact transformers"), as the deep visual
geo-localization benchmark uses it at 384 x 384: 24 x 24 tokens of 384 channels.

Two convolutions with pooling make the tokens (stride 16), learned positions are added, and 14 layers follow, whose
second norm replaces the residual stream (x = LN(x + attention), then x + MLP(x)) unlike a ViT's. There is no class
token. Parameter names are the authors'; ``classifier.attention_pool``, of SeqPool, is part of the backbone there and
so it is here. The learned positions are for square images of one size; for another size they are resized bilinearly,
which is what the authors' loader does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.parts import Size, register_backbone
from engine.networks.street.stages import sides
from engine.networks.street.tokens import pooled
from engine.networks.street.transformer import as_map, attend, heads, joined, resized_positions


class _Attention(nn.Module):
    def __init__(self, dim: int, heads_count: int, dropout: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.heads_count = heads_count
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (heads(part, self.heads_count) for part in self.qkv(x).chunk(3, dim=2))
        dropout = self.dropout if self.training else 0.0
        return self.proj(joined(attend(query, key, value, dropout)))


class _Layer(nn.Module):
    def __init__(
        self, dim: int, heads_count: int, hidden: int, attention_dropout: float, drop_path: float
    ) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim)
        self.self_attn = _Attention(dim, heads_count, attention_dropout)
        self.linear1 = nn.Linear(dim, hidden)
        self.norm1 = nn.LayerNorm(dim)
        self.linear2 = nn.Linear(hidden, dim)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self._dropped(self.self_attn(self.pre_norm(x))))
        return x + self._dropped(self.linear2(F.gelu(self.linear1(x))))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training the branch of a whole image is left out with the given probability."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1.0 - self.drop_path
        mask = branch.new_empty(len(branch), 1, 1).bernoulli_(keep)
        return branch * (mask / keep)


class _Classifier(nn.Module):
    def __init__(self, dim: int, places: int, layers: list[_Layer]) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.zeros(1, places, dim))
        self.attention_pool = nn.Linear(dim, 1)
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)
        nn.init.trunc_normal_(self.positional_emb, std=0.2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class _Tokenizer(nn.Module):
    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 7, 2, padding=3, bias=False),
                    nn.ReLU(),
                    nn.MaxPool2d(3, 2, padding=1),
                )
                for before, after in ((3, width), (width, dim))
            )
        )
        for layer in self.conv_layers:
            for module in layer.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_layers(x)


class Cct(nn.Module):
    """Images [N, 3, H, W] to the map [N, C, H / 16, W / 16] after the last norm.

    Args:
        image_size: side of the images that the learned positions stand for.
        width: channels of the first convolution.
        dim, depth, heads, hidden: of the encoder; the benchmark also cuts it to fewer layers.
        attention_dropout, drop_path: in training; the second grows from 0 to this over the layers.
        frozen: how many of the first layers, the tokenizer and the positions among them, do not learn.
    """

    def __init__(
        self,
        *,
        image_size: int = 384,
        width: int = 64,
        dim: int = 384,
        depth: int = 14,
        heads: int = 6,
        hidden: int = 1152,
        attention_dropout: float = 0.1,
        drop_path: float = 0.1,
        frozen: int = 0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.channels = dim
        self.tokenizer = _Tokenizer(width, dim)
        side = self.map_size((image_size, image_size))[0]
        layers = [
            _Layer(dim, heads, hidden, attention_dropout, drop_path * index / max(1, depth - 1))
            for index in range(depth)
        ]
        self.classifier = _Classifier(dim, side * side, layers)
        if frozen:
            self.tokenizer.requires_grad_(False)
            self.classifier.positional_emb.requires_grad_(False)
            self.classifier.blocks[:frozen].requires_grad_(False)

    def map_size(self, input_size: Size) -> Size:
        """Rows and columns of tokens: four halvings, each rounded up."""
        return -(-input_size[0] // 16), -(-input_size[1] // 16)

    def forward(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w]."""
        grid = self.tokenizer(x)
        size = sides(grid)
        places = resized_positions(self.classifier.positional_emb, size, mode="bilinear")
        tokens = grid.flatten(2).transpose(1, 2) + places
        for block in self.classifier.blocks:
            tokens = block(tokens)
        return as_map(self.classifier.norm(tokens), size)


class CctSeqPool(Cct):
    """CCT whose token is SeqPool's vector, by the backbone's own weights."""

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and what SeqPool makes of it [N, C]."""
        return self.attention(x)[:2]

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map, what SeqPool makes of it, and the weights of the places [N, h, w]."""
        feature_map = self(x)
        return feature_map, *pooled(feature_map, self.classifier.attention_pool)


@register_backbone("cct")
def _build(options: Mapping[str, Any]) -> nn.Module:
    return Cct(**options)
