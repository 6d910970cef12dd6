"""Changes of a training pair that leave it a pair, and changes of pictures alone.

Conventions: a panorama [H, W, 3] covers the full turn, its centre column looking to ``heading`` and bearings growing to
the right; a tile [S, S, 3] is north-up; a polar image has bearings growing to the right as a panorama has. Pictures
come in batches [N, ...] of NumPy arrays, and every argument per picture is [N].

Changes of the pair, each of which keeps "bearing b in the photo" and "bearing b on the ground" together:

- :func:`flip_pair`: the world in a mirror, east and west exchanged;
- :func:`turn_pair`: the world turned by quarters (a tile is turned as a picture, a panorama rolled);
- :func:`turn_polar_pair`: the world turned by whole columns (both rolled).

Changes of the photo alone, which say what they did to its heading:

- :func:`roll_heading`: the photographer looks elsewhere;
- :func:`crop_fov`: the photographer sees less.

Changes of light and what is in view: :func:`jitter_colour`, :func:`blur`, :func:`occlude`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Pictures = NDArray[Any]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def flip_pair(
    photos: Pictures, tiles: Pictures, heading_deg: Floats, flip: Mask
) -> tuple[Pictures, Pictures, Floats]:
    """Mirror the pairs where ``flip`` is set.

    Args:
        photos: [N, H, W, ...], panoramas or not; tiles: [N, S, S, ...] north-up, or polar images [N, H, W, ...] whose
            edge or middle is due north or south.

    Returns:
        new photos, new tiles, and the headings that photos have then, 0..360.
    """
    mirrored = flip[(...,) + (None,) * (photos.ndim - 1)]
    heading = np.where(flip, -heading_deg, heading_deg) % 360.0
    return (
        np.where(mirrored, photos[:, :, ::-1], photos),
        np.where(flip[(...,) + (None,) * (tiles.ndim - 1)], tiles[:, :, ::-1], tiles),
        heading,
    )


def turn_pair(
    panoramas: Pictures, tiles: Pictures, quarters: NDArray[np.int64]
) -> tuple[Pictures, Pictures]:
    """Turn the world clockwise by quarters: tiles as pictures, panoramas by rolling them to the right.

    Headings stay: the photographer still looks where the camera looked, the world has turned about both.

    Args:
        panoramas: [N, H, W, ...], W a multiple of 4; tiles: [N, S, S, ...].
        quarters: how many, any sign.

    Raises:
        ValueError: for panoramas whose width is not a multiple of 4, or tiles that are not square.
    """
    width = panoramas.shape[2]
    if width % 4 or tiles.shape[1] != tiles.shape[2]:
        raise ValueError("turning by quarters needs square tiles and a width that four divides")
    turned = [np.rot90(tile, -int(q)) for tile, q in zip(tiles, quarters, strict=True)]
    return roll_columns(panoramas, quarters * (width // 4)), np.stack(turned)


def turn_polar_pair(
    panoramas: Pictures, polar: Pictures, columns: NDArray[np.int64]
) -> tuple[Pictures, Pictures]:
    """Turn the world clockwise by whole columns of a panorama; polar images have the same width."""
    if panoramas.shape[2] != polar.shape[2]:
        raise ValueError("panoramas and polar images must have the same width")
    return roll_columns(panoramas, columns), roll_columns(polar, columns)


def roll_heading(
    panoramas: Pictures, heading_deg: Floats, by_deg: Floats
) -> tuple[Pictures, Floats]:
    """Look elsewhere: turn the camera clockwise, in whole columns.

    Returns:
        new panoramas, and their exact headings, 0..360.
    """
    width = panoramas.shape[2]
    columns = np.rint(by_deg * width / 360.0).astype(np.int64)
    return roll_columns(panoramas, -columns), (heading_deg + columns * 360.0 / width) % 360.0


def crop_fov(panoramas: Pictures, fov_deg: float) -> Pictures:
    """The middle columns, which a level camera of that field of view sees: [N, H, w, ...].

    ``w = int(fov / 360 W)``, as DSM cuts (CVUSA of 512 columns: 180 degrees are 256, 90 are 128, 70 are 99). The
    heading stays that of the panorama; where ``W - w`` is odd the view is half a column to the left of it.
    """
    width = panoramas.shape[2]
    if not 0 < fov_deg <= 360:
        raise ValueError("a field of view is above 0 and at most 360 degrees")
    shown = int(fov_deg / 360.0 * width)
    first = (width - shown) // 2
    return panoramas[:, :, first : first + shown]


def roll_columns(pictures: Pictures, columns: NDArray[np.int64]) -> Pictures:
    """Roll every picture to the right by columns of its own."""
    width = pictures.shape[2]
    source = (np.arange(width)[None] - columns[:, None]) % width
    index = source.reshape(len(pictures), 1, width, *([1] * (pictures.ndim - 3)))
    return np.take_along_axis(pictures, index, axis=2)


@dataclass(frozen=True)
class ColourJitter:
    """How far colours may be changed, as torchvision's ColorJitter has it.

    Attributes:
        brightness, contrast, saturation: factors are uniform in [max(0, 1 - v), 1 + v].
        hue: the turn of the colour circle is uniform in [-v, v], v at most 0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


def jitter_colour(pictures: Tensor, how: ColourJitter, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of [N, 3, H, W] RGB in 0..1, each picture on its own.

    Brightness multiplies; contrast blends with the mean grey, saturation with the picture in grey (weights 0.299,
    0.587, 0.114); hue turns the colours in HSV. In this order; torchvision draws the order too.
    """
    if not 0 <= how.hue <= 0.5:
        raise ValueError("hue must be from 0 to 0.5")
    count = len(pictures)

    def factor(reach: float) -> Tensor:
        drawn = rng.uniform(max(0.0, 1.0 - reach), 1.0 + reach, count)
        return torch.from_numpy(drawn).to(pictures).view(-1, 1, 1, 1)

    changed = (pictures * factor(how.brightness)).clamp(0, 1)
    contrast, saturation = factor(how.contrast), factor(how.saturation)
    grey = _grey(changed).mean(dim=(1, 2, 3), keepdim=True)
    changed = (grey + contrast * (changed - grey)).clamp(0, 1)
    grey = _grey(changed)
    changed = (grey + saturation * (changed - grey)).clamp(0, 1)
    turn = torch.from_numpy(rng.uniform(-how.hue, how.hue, count)).to(pictures)
    return _turn_hue(changed, turn) if how.hue else changed


def _grey(pictures: Tensor) -> Tensor:
    weights = pictures.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True)


def _turn_hue(pictures: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of [N, 3, H, W] by shares [N] of the colour circle, keeping HSV's value and chroma."""
    value = pictures.amax(1)
    chroma = value - pictures.amin(1)
    red, green, blue = pictures.unbind(1)
    safe = chroma.clamp_min(1e-12)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * turn.view(-1, 1, 1)
    # Each channel falls from the value by the chroma, as far as the hue is from it on the circle.
    channels = [(n + sixth) % 6 for n in (5.0, 3.0, 1.0)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in channels], 1)


def blur(pictures: Tensor, sigma: Floats, *, wrap: bool = False) -> Tensor:
    """Blur [N, C, H, W] by Gaussians of ``sigma`` pixels [N]; 0 leaves a picture as it is.

    Args:
        wrap: the left and the right edge touch (panoramas); other edges repeat their last pixel.
    """
    radius = int(np.ceil(3 * float(np.max(sigma, initial=0.0))))
    if radius == 0:
        return pictures
    count, channels, height, width = pictures.shape
    offset = torch.arange(-radius, radius + 1, device=pictures.device, dtype=pictures.dtype)
    wide = torch.from_numpy(np.maximum(sigma, 1e-3)).to(pictures)
    kernel = torch.exp(-0.5 * (offset[None] / wide[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = pictures.reshape(1, count * channels, height, width)
    if wrap and radius <= width:
        flat = torch.cat([flat[..., width - radius :], flat, flat[..., :radius]], dim=3)
    else:
        flat = F.pad(flat, (radius, radius, 0, 0), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    flat = F.pad(flat, (0, 0, radius, radius), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    return flat.view_as(pictures)


def occlude(
    pictures: Tensor,
    rng: np.random.Generator,
    *,
    share: float = 0.5,
    holes: tuple[int, int] = (1, 1),
    area: tuple[float, float] = (0.02, 0.33),
    aspect: tuple[float, float] = (0.3, 3.3),
    wrap: bool = False,
) -> tuple[Tensor, Mask]:
    """Cover rectangles of [N, C, H, W] with 0, the mean of normalised pictures (random erasing, Zhong et al., 2020).

    Args:
        share: how many pictures are covered, 0..1.
        holes: fewest and most rectangles in one.
        area: least and largest share of the picture that a rectangle covers.
        aspect: least and largest height over width, drawn evenly in its logarithm.
        wrap: rectangles may go over the right edge and come in at the left (panoramas).

    Returns:
        new pictures, and bool [N, H, W], what is still seen.
    """
    if not (0 < area[0] <= area[1] <= 1 and 0 < aspect[0] <= aspect[1]):
        raise ValueError("area must rise within 0..1, aspect above 0")
    count, _, height, width = pictures.shape
    seen = np.ones((count, height, width), bool)
    for number in np.flatnonzero(rng.random(count) < share):
        for _ in range(int(rng.integers(holes[0], holes[1] + 1))):
            covered = rng.uniform(*area) * height * width
            ratio = np.exp(rng.uniform(np.log(aspect[0]), np.log(aspect[1])))
            high = min(height, max(1, round(float(np.sqrt(covered * ratio)))))
            wide = min(width, max(1, round(float(np.sqrt(covered / ratio)))))
            top = int(rng.integers(0, height - high + 1))
            left = int(rng.integers(0, width if wrap else width - wide + 1))
            columns = np.arange(left, left + wide) % width
            seen[number, top : top + high, columns] = False
    mask = torch.from_numpy(seen)[:, None].to(pictures.device)
    return pictures * mask, seen
