"""Resampling pictures through tables: bilinear taps gathered and summed in fixed point.

Positions are in pixels with pixel centres at half-integers: the first pixel of a row covers 0..1, its centre is
0.5. A table lists, for every output pixel, which source pixels count and how much; building one costs
trigonometry, applying one costs a few passes over memory. The three colours of a pixel travel together in one
64-bit word, 21 bits each, so that a tap is one gather and one multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WEIGHT_BITS = 13
"""Weights add up to 2**13: 255 * 2**13 and the rounding half stay under 2**21, one lane."""

_LANE_BITS = 21
_WHOLE = 1 << _WEIGHT_BITS
_HALF = np.uint64(sum(_WHOLE // 2 << lane * _LANE_BITS for lane in range(3)))

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """What to read for every output pixel.

    Attributes:
        indices: int64 [taps, n], flat indices into a source of ``height * width`` pixels.
        weights: uint64 [taps, n], every column adding up to ``2**13``.
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.uint64]


def bilinear_taps(
    x: FloatArray, y: FloatArray, width: int, height: int, *, wrap: bool = False
) -> tuple[NDArray[np.int64], FloatArray]:
    """The four neighbours of every position and their weights.

    Args:
        x, y: positions in pixels, any shape, centres at half-integers.
        width, height: size of the source.
        wrap: whether the left and the right edge are neighbours (a full turn; positions then lie in 0..width); else
            positions are clamped to the border pixels. Rows are always clamped.

    Returns:
        flat indices int64 [4, *shape] and weights float64 [4, *shape] that add up to 1.
    """
    u = x - 0.5
    v = np.clip(y - 0.5, 0.0, height - 1.0)
    if not wrap:
        u = np.clip(u, 0.0, width - 1.0)
    left, top = np.floor(u), np.floor(v)
    right_share, low_share = u - left, v - top
    x0, y0 = left.astype(np.int64), top.astype(np.int64)
    x1, y1 = x0 + 1, np.minimum(y0 + 1, height - 1)
    if wrap:
        x0[x0 < 0] += width
        x1[x1 >= width] -= width
    else:
        np.minimum(x1, width - 1, out=x1)
    y0 *= width
    y1 *= width
    indices = np.empty((4, *u.shape), np.int64)
    weights = np.empty((4, *u.shape))
    for tap, (row, column) in enumerate(((y0, x0), (y0, x1), (y1, x0), (y1, x1))):
        np.add(row, column, out=indices[tap])
    np.multiply(low_share, right_share, out=weights[3])
    np.subtract(low_share, weights[3], out=weights[2])
    np.subtract(right_share, weights[3], out=weights[1])
    np.subtract(1.0 - low_share, weights[1], out=weights[0])
    return indices, weights


def make_table(indices: NDArray[np.int64], weights: FloatArray) -> Table:
    """Bring float weights [taps, n] to fixed point; every column then adds up to one whole exactly."""
    fixed = np.empty(weights.shape, np.uint64)
    reached = np.zeros(weights.shape[1])
    before = reached
    # Rounding the running sum, not each weight, keeps the total exact and no weight below 0.
    for tap, weight in enumerate(weights):
        reached = reached + weight * _WHOLE
        after = np.rint(reached)
        fixed[tap] = after - before
        before = after
    return Table(np.ascontiguousarray(indices), fixed)


def sample(
    pixels: NDArray[np.uint8], table: Table, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Apply a table to one picture.

    Args:
        pixels: uint8 [H, W, 3], the size the table was made for.
        table: what to read.
        out: uint8 [n, 3] to write into, or None.

    Returns:
        uint8 [n, 3].
    """
    packed = _pack(pixels.reshape(-1, 3))
    count = table.indices.shape[1]
    total = np.full(count, _HALF)
    tap = np.empty(count, np.uint64)
    for indices, weights in zip(table.indices, table.weights, strict=True):
        # "clip" never clips here; it lets NumPy write straight into the buffer.
        np.take(packed, indices, out=tap, mode="clip")
        tap *= weights
        total += tap
    if out is None:
        out = np.empty((count, 3), np.uint8)
    for lane in range(3):
        # The next lane starts eight bits above this one's whole part, so the low byte is the value.
        out[:, lane] = (total >> np.uint64(_WEIGHT_BITS + lane * _LANE_BITS)).astype(np.uint8)
    return out


def _pack(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """[n, 3] colours as one word a pixel."""
    packed = pixels[:, 2].astype(np.uint64)
    for channel in (1, 0):
        packed <<= np.uint64(_LANE_BITS)
        packed |= pixels[:, channel]
    return packed
