"""Position embeddings, and images, brought to another size."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def square_grid(places: int) -> Grid:
    """The grid of ``places`` that is as high as wide; ValueError where there is none."""
    side = math.isqrt(places)
    if side * side != places:
        raise ValueError(f"{places} places make no square grid")
    return side, side


def resize_positions(
    embedding: Tensor,
    old: Grid,
    new: Grid,
    *,
    extra: int = 0,
    mode: Literal["bicubic", "bilinear"] = "bicubic",
    antialias: bool = False,
) -> Tensor:
    """Position embeddings [1, extra + h w, C] for a grid of another size.

    Args:
        embedding: the first ``extra`` rows belong to tokens that have no place (a class token) and stay.
        old, new: rows and columns of the grids.
        mode, antialias: how values between places are made (``align_corners`` off). SAIG takes bicubic; TransGeo
            took bilinear, without antialiasing in the torchvision of its day and with it in today's.
    """
    if embedding.shape[1] != extra + old[0] * old[1]:
        raise ValueError(
            f"{embedding.shape[1]} positions are not {extra} and a grid of {old[0]} x {old[1]}"
        )
    if tuple(old) == tuple(new):
        return embedding
    first, places = embedding[:, :extra], embedding[:, extra:]
    grid = places.transpose(1, 2).unflatten(2, tuple(old))
    grid = F.interpolate(grid, size=tuple(new), mode=mode, align_corners=False, antialias=antialias)
    return torch.cat([first, grid.flatten(2).transpose(1, 2)], dim=1)


def resize_matrix(before: int, after: int) -> Tensor:
    """The matrix [after, before] that resizes ``before`` values bilinearly with antialiasing (a triangle as wide as the
    step), as torchvision and Pillow resize pictures. As a product every runtime computes it alike."""
    eye = torch.eye(before)[None, None]
    resized = F.interpolate(
        eye, size=(after, before), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0]
