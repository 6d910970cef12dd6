"""Differences of light, camera and exposure between the two views, made cheaply.

Gamma is a table of 256 numbers an image; contrast, colour and brightness are one 3 x 3 matrix and an offset, joined
with the normalisation; noise is cut at random places from one sheet of it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.training.recipes import PhotometricSection, Triple

_SHEET = 1 << 20


def recolour(
    images: NDArray[np.uint8],
    mean: Triple,
    std: Triple,
    how: PhotometricSection,
    rng: np.random.Generator,
) -> Tensor:
    """Change and normalise images uint8 [N, H, W, 3]; float32 [N, 3, H, W]."""
    count = len(images)
    gamma = np.exp(rng.normal(0.0, how.gamma, count)).astype(np.float32)
    levels = (np.arange(256, dtype=np.float32) / 255)[None, :] ** gamma[:, None]
    matrix = np.eye(3) * np.exp(rng.normal(0.0, how.contrast, (count, 1, 1)))
    matrix = matrix + rng.normal(0.0, how.colour, (count, 3, 3))
    offset = rng.normal(0.0, how.brightness, (count, 1)) + rng.normal(
        0.0, how.brightness / 3, (count, 3)
    )
    # Contrast turns about the middle grey; then comes the normalisation, value - mean over std.
    offset = offset + 0.5 - matrix.sum(2) * 0.5
    scale = 1 / np.array(std)
    matrix = (matrix * scale[None, :, None]).astype(np.float32)
    offset = ((offset - np.array(mean)) * scale).astype(np.float32)
    strength = (rng.uniform(0.0, how.noise, count) / np.mean(std)).astype(np.float32)
    blurred = np.flatnonzero(rng.random(count) < how.blur_share)
    starts = rng.integers(0, _SHEET, count)
    sheet = _noise_sheet(images[0].size)
    out = torch.empty((count, 3, *images.shape[1:3]))
    for i in range(count):
        light = torch.from_numpy(levels[i][images[i]]).view(-1, 3)
        flat = out[i].view(3, -1)
        torch.addmm(
            torch.from_numpy(offset[i])[:, None], torch.from_numpy(matrix[i]), light.T, out=flat
        )
        noise = sheet[starts[i] : starts[i] + flat.numel()].view_as(flat)
        flat.add_(noise, alpha=float(strength[i]))
    if len(blurred):
        index = torch.from_numpy(blurred)
        out[index] = F.avg_pool2d(out[index], 3, 1, 1, count_include_pad=False)
    return out


@lru_cache(maxsize=4)
def _noise_sheet(values: int) -> Tensor:
    """Standard normal numbers, enough to cut ``values`` from any start below ``_SHEET``."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(_SHEET + values, generator=generator)
