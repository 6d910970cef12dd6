"""What the vision transformers here share: attention that can be looked at, and positions for other sizes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.networks.street.stages import sides


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q k' / sqrt(d)) v for [N, heads, P, d]."""
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


def looked_at(query: Tensor, key: Tensor) -> Tensor:
    """The attention of the first token to all others, mean over the heads: [N, P - 1], at least 0."""
    scores = torch.matmul(query[:, :, :1], key.transpose(2, 3)) / query.shape[-1] ** 0.5
    return F.softmax(scores.float(), dim=-1)[:, :, 0, 1:].mean(1)


def heads(x: Tensor, count: int) -> Tensor:
    """[N, P, count * d] to [N, count, P, d]."""
    return x.unflatten(2, (count, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """[N, heads, P, d] to [N, P, heads * d]."""
    return x.transpose(1, 2).flatten(2)


def as_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens [N, h * w, C] to the map [N, C, h, w]."""
    return tokens.transpose(1, 2).unflatten(2, size)


def square_side(grid: Tensor) -> int:
    """n of positions [1, n * n, C]; ValueError where they are no square."""
    count = int(grid.shape[1])
    side = round(count**0.5)
    if side * side != count:
        raise ValueError(f"{count} positions are no square grid")
    return side


def resized_positions(
    grid: Tensor,
    size: tuple[int, int],
    *,
    mode: str = "bicubic",
    scale: tuple[float, float] | None = None,
) -> Tensor:
    """Learned positions for another size: [1, n * n, C] of a square grid to [1, h * w, C].

    Args:
        mode: of the interpolation, half-pixel centres, not antialiased.
        scale: what the coordinates are divided by, where it is not exactly h / n and w / n.
    """
    side = square_side(grid)
    if size == (side, side) and scale is None:
        return grid
    square = as_map(grid.float(), (side, side))
    if scale is None:
        resized = F.interpolate(square, size=size, mode=mode, align_corners=False)
    else:
        resized = F.interpolate(square, scale_factor=scale, mode=mode, align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(grid.dtype)


def patches(input_size: tuple[int, int], side: int) -> tuple[int, int]:
    """Rows and columns of patches of ``side`` pixels; ValueError where they do not fill the image."""
    height, width = input_size
    if height % side or width % side or min(height, width) < side:
        raise ValueError(f"an input of {height} x {width} is no multiple of {side}")
    return height // side, width // side


def antialiased(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, C, H, W] resized bilinearly with antialiasing, as torch's own resize with ``antialias=True``.

    Written as two matrix products, which every exported graph can hold.
    """
    rows, columns = (
        torch.from_numpy(_triangles(before, after)).to(x)
        for before, after in zip(sides(x), size, strict=True)
    )
    return rows @ x @ columns.T


def _triangles(before: int, after: int) -> NDArray[np.float32]:
    """Weights [after, before] of a triangle filter that is as wide as a new pixel, or as an old one if that is more."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    away = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - away)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
