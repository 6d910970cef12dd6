"""Multi-head self-attention as transformers of images have it, with the parameter names of timm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v for every head, then a linear layer (Vaswani et al. 2017).

    Args:
        dim: of the tokens.
        heads: a divisor of ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"{dim} channels do not make {heads} equal heads")
        self.heads = heads
        self.head_dim = dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [N, T, C] to queries, keys and values, each [N, heads, T, d]."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        return qkv[0], qkv[1], qkv[2]

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [N, T, C] to tokens [N, T, C]."""
        attended = F.scaled_dot_product_attention(*self._split(x))
        return self.proj(attended.transpose(1, 2).flatten(2))

    def with_weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same with what looked at what: weights [N, heads, T, T]; rows (the looking tokens) sum to 1."""
        queries, keys, values = self._split(x)
        weights = (queries @ keys.transpose(2, 3) * self.head_dim**-0.5).softmax(dim=-1)
        attended = weights @ values
        return self.proj(attended.transpose(1, 2).flatten(2)), weights
