"""Bringing a picture to another size by the rules that encoders were trained with, which differ in every pixel.

``area``, ``bilinear`` and ``bicubic`` are Pillow's (box, triangle and cubic filters as wide as the scaling needs),
which is what torchvision does to Pillow images. ``linear`` looks at the four nearest pixels alone and aliases: to the
bit OpenCV's INTER_LINEAR_EXACT, and within one grey level INTER_LINEAR. ``gaussian`` is scikit-image's
``resize(order=1, mode="constant", anti_aliasing=True)`` on floats, cut down to whole numbers: a Gaussian blur of
``(factor - 1) / 2`` pixels along every side that shrinks, then the linear mean of the nearest pixels; what lies beyond
the picture is black for both.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rule = Literal["area", "bilinear", "bicubic", "linear", "gaussian"]
Pixels = NDArray[np.uint8]

_FILTERS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_PIECE = 32  # rows worked on at a time, so that they stay in the cache


def resize(pixels: Pixels, height: int, width: int, rule: Rule) -> Pixels:
    """A picture uint8 [H, W, 3] at another size, uint8 [height, width, 3]; the same array where the size is right."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if rule == "linear":
        return _linear(pixels, height, width)
    if rule == "gaussian":
        return _gaussian(pixels, height, width)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((width, height), _FILTERS[rule]))


def _taps(size: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """The first of the two nearest pixels of every new one, and the share of the second; -1 and ``size - 1`` at the
    edges, where one of the two lies beyond."""
    position = (np.arange(wanted) + 0.5) * (size / wanted) - 0.5
    low = np.floor(position)
    return low.astype(np.intp), position - low


def _linear(pixels: Pixels, height: int, width: int) -> Pixels:
    """To the bit what INTER_LINEAR_EXACT gives: shares in 1/256, rounded once at the end. Edges are repeated."""
    rows, columns = pixels.shape[:2]
    top, down = _taps(rows, height)
    left, across = _taps(columns, width)
    down, across = (np.rint(share * 256).astype(np.uint32) for share in (down, across))
    out = np.empty((height, width, 3), np.uint8)
    for first in range(0, height, _PIECE):
        piece = slice(first, first + _PIECE)
        upper, lower = (
            _across(pixels[np.clip(row, 0, rows - 1)], left, across)
            for row in (top[piece], top[piece] + 1)
        )
        share = down[piece, None, None]
        out[piece] = (upper * (256 - share) + lower * share + (1 << 15)) >> 16
    return out


def _across(rows: Pixels, left: NDArray[np.intp], share: NDArray[np.uint32]) -> NDArray[np.uint32]:
    last = rows.shape[1] - 1
    near, far = rows[:, np.clip(left, 0, last)], rows[:, np.clip(left + 1, 0, last)]
    return near * (256 - share[:, None]) + far * share[:, None]


def _gaussian(pixels: Pixels, height: int, width: int) -> Pixels:
    """Only the rows and columns that the linear step reads are blurred, in scikit-image's order of arithmetic:
    what is cut down to whole numbers afterwards must agree to the last bit."""
    top, down = _taps(pixels.shape[0], height)
    left, across = _taps(pixels.shape[1], width)
    across = across[:, None]
    out = np.empty((height, width, 3), np.uint8)
    low, high = pixels.min(), pixels.max()
    for first in range(0, height, _PIECE):
        piece = slice(first, first + _PIECE)
        needed, where = np.unique(np.concatenate([top[piece], top[piece] + 1]), return_inverse=True)
        rows = _blurred(pixels, needed, (pixels.shape[0] / height - 1) / 2)
        columns = np.swapaxes(rows, 0, 1)
        column_sigma = (pixels.shape[1] / width - 1) / 2
        near = np.swapaxes(_blurred(columns, left, column_sigma), 0, 1).astype(np.float64)
        far = np.swapaxes(_blurred(columns, left + 1, column_sigma), 0, 1).astype(np.float64)
        upper, lower = where[: len(where) // 2], where[len(where) // 2 :]
        share = down[piece][:, None, None]
        value = near[upper] * (1 - share) * (1 - across)
        value += far[upper] * (1 - share) * across
        value += near[lower] * share * (1 - across)
        value += far[lower] * share * across
        out[piece] = np.clip(value.astype(np.float32), low, high).astype(np.uint8)
    return out


def _blurred(
    pixels: NDArray[np.uint8] | NDArray[np.float32], wanted: NDArray[np.intp], sigma: float
) -> NDArray[np.float32]:
    """Rows ``wanted`` of a picture blurred along its first axis, float32; black beyond its edges."""
    radius = int(4 * sigma + 0.5) if sigma > 0 else 0
    first, last = int(wanted.min()) - radius, int(wanted.max()) + radius + 1
    around = np.zeros((last - first, *pixels.shape[1:]))
    begin, end = max(first, 0), min(last, len(pixels))
    around[begin - first : end - first] = pixels[begin:end]
    at = wanted - first
    if radius == 0:
        return around[at].astype(np.float32)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * offsets**2)
    weights /= weights.sum()
    total = around[at] * weights[radius]
    for offset in range(-radius, 0):
        total += (around[at + offset] + around[at - offset]) * weights[radius + offset]
    # Beyond the edge the blurred picture is black as the picture is, not what its edge was blurred to.
    total[(wanted < 0) | (wanted >= len(pixels))] = 0.0
    return total.astype(np.float32)
