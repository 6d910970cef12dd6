"""Differences of light, camera and exposure between the two views, made cheaply.

Gamma is a table of 256 numbers an image; contrast, colour and brightness are one 3 x 3 matrix and an offset, joined
with the normalisation; noise is cut at random places from one sheet of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.training.sections import PhotometricSection, TileSection, Triple

_SHEET = 1 << 20


@dataclass(frozen=True)
class Light:
    """What chance decided for N images.

    Attributes:
        levels: float32 [N, 256], each image's table of gamma.
        matrix, offset: [N, 3, 3] and [N, 3], contrast, colour and brightness, for values in 0..1.
        noise: [N], its deviation, for values in 0..1; start: int [N], where it is cut from the sheet.
        blurred: bool [N].
    """

    levels: NDArray[np.float32]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    noise: NDArray[np.float64]
    start: NDArray[np.int64]
    blurred: NDArray[np.bool_]

    def part(self, which: slice) -> Light:
        """Some of them."""
        return Light(*(getattr(self, name)[which] for name in Light.__dataclass_fields__))


def draw_light(count: int, how: PhotometricSection, rng: np.random.Generator) -> Light:
    """Draw the differences of ``count`` images as the recipe says."""
    gamma = np.exp(rng.normal(0.0, how.gamma, count)).astype(np.float32)
    levels = (np.arange(256) / 255).astype(np.float32)[None, :] ** gamma[:, None]
    matrix = np.eye(3) * np.exp(rng.normal(0.0, how.contrast, (count, 1, 1)))
    matrix = matrix + rng.normal(0.0, how.colour, (count, 3, 3))
    offset = rng.normal(0.0, how.brightness, (count, 1)) + rng.normal(
        0.0, how.brightness / 3, (count, 3)
    )
    # Contrast turns about the middle grey.
    offset = offset + 0.5 - matrix.sum(2) * 0.5
    noise = rng.uniform(0.0, how.noise, count)
    blurred = rng.random(count) < how.blur_share
    return Light(levels, matrix, offset, noise, rng.integers(0, _SHEET, count), blurred)


def recolour(
    images: NDArray[np.uint8], mean: Triple, std: Triple, light: Light, channels: str = "RGB"
) -> Tensor:
    """Change and normalise images uint8 [N, H, W, 3]; float32 [N, 3, H, W].

    ``channels`` is the order in which they come out, ``RGB`` or ``BGR``, and that of ``mean`` and ``std``.
    """
    if channels == "BGR":
        (b, g, r), (sb, sg, sr) = mean, std
        return recolour(images, (r, g, b), (sr, sg, sb), light).flip(1)
    scale = 1 / np.array(std)
    matrix = (light.matrix * scale[None, :, None]).astype(np.float32)
    offset = ((light.offset - np.array(mean)) * scale).astype(np.float32)
    strength = (light.noise / np.mean(std)).astype(np.float32)
    sheet = _noise_sheet(images[0].size)
    out = torch.empty((len(images), 3, *images.shape[1:3]))
    for i in range(len(images)):
        levels = torch.from_numpy(light.levels[i][images[i]]).view(-1, 3)
        flat = out[i].view(3, -1)
        torch.addmm(
            torch.from_numpy(offset[i])[:, None], torch.from_numpy(matrix[i]), levels.T, out=flat
        )
        noise = sheet[light.start[i] : light.start[i] + flat.numel()].view_as(flat)
        flat.add_(noise, alpha=float(strength[i]))
    if light.blurred.any():
        index = torch.from_numpy(np.flatnonzero(light.blurred))
        out[index] = F.avg_pool2d(out[index], 3, 1, 1, count_include_pad=False)
    return out


def recolour_tiles(tiles: NDArray[np.uint8], how: TileSection, light: Light) -> Tensor:
    """As :func:`recolour`; the extents of one place [N, S, H, W, 3] share their light: [N, S, 3, H, W]."""
    if tiles.ndim == 4:
        return recolour(tiles, how.mean, how.std, light, how.channels)
    return torch.stack([recolour_tiles(tiles[:, i], how, light) for i in range(tiles.shape[1])], 1)


@lru_cache(maxsize=4)
def _noise_sheet(values: int) -> Tensor:
    """Standard normal numbers, enough to cut ``values`` from any start below ``_SHEET``."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(_SHEET + values, generator=generator)
