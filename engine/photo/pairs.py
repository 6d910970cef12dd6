"""Resampling whole tiles fast: a bilinear table that reads horizontal neighbours together, with eight-bit weights.

Two pixels side by side are six bytes in a row, so a bilinear sample is two reads of eight bytes, one in the upper row
and one in the lower, and nothing of the tile is converted or copied beforehand. NumPy gathers words only from where
words start; so the samples are sorted by where their first byte lies between two words, and each of the eight groups
is gathered from a view of the same bytes that starts that much later.

The even and the odd bytes of a word are then weighted as four 16-bit numbers each: with weights that add up to 256
nothing overflows. A value is off by at most one and a half grey levels against exact arithmetic, where black pixels
meet white ones, and by a fraction of one on pictures. :mod:`engine.photo.sampling` is finer, for any number of taps,
and takes three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WHOLE = 256
_EVEN = np.uint64(0x00FF_00FF_00FF_00FF)
_HALVES = np.uint64(0x0080_0080_0080)
_RED_BLUE = np.uint32(0x00FF_00FF)
_GREEN = np.uint32(0x0000_FF00)
_BYTE = np.uint8(8)
_SIXTEEN = np.uint64(16)
_THIRTY_TWO = np.uint64(32)


@dataclass(frozen=True, eq=False)
class PairTable:
    """What to read for every one of n output pixels, sorted into eight groups.

    Attributes:
        words: int64 [n], which word of its group's view holds a sample's upper pair.
        groups: where each group begins in ``words``, and n: nine numbers.
        weights: uint16 [2, 2, 4 n]: for the upper and the lower row, for even and odd bytes, four numbers a sample.
        places: int64 [n], where each output pixel stands among the sorted samples.
        step: bytes from a row of the picture to the next.
        length: bytes that the picture must have, so that every word lies inside.
    """

    words: NDArray[np.int64]
    groups: tuple[int, ...]
    weights: NDArray[np.uint16]
    places: NDArray[np.int64]
    step: int
    length: int


def make_pairs(
    rows: NDArray[np.floating], columns: NDArray[np.floating], height: int, width: int
) -> PairTable:
    """A table for positions given as fractional indices of pixels (0: the first one's centre), at least 0.

    Neighbours beyond the last row or the last column count as black.
    """
    rows, columns = rows.ravel(), columns.ravel()
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    shares = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    whole = _whole_weights(np.stack(shares))
    top, left = top.astype(np.int64), left.astype(np.int64)
    whole[:, (top >= height) | (left >= width)] = 0
    whole[1::2, left + 1 >= width] = 0
    whole[2:, top + 1 >= height] = 0
    first_byte = 3 * (np.minimum(top, height - 1) * width + np.minimum(left, width - 1))
    order = np.argsort(first_byte % 8, kind="stable")
    whole, first_byte = whole[:, order].reshape(2, 2, -1), first_byte[order]
    weights = np.zeros((2, 2, len(order), 4), np.uint16)
    for row, (near, far) in enumerate(whole):
        # The bytes of a pair: r g b R G B. The even ones: r, b, G; the odd ones: g, R, B.
        weights[row, 0, :, :3] = np.stack([near, near, far], axis=-1)
        weights[row, 1, :, :3] = np.stack([near, far, far], axis=-1)
    lower = np.where(top + 1 < height, 3 * width, 0)[order]
    return PairTable(
        words=first_byte // 8,
        groups=tuple(np.searchsorted(first_byte % 8, np.arange(9)).tolist()),
        weights=weights.reshape(2, 2, -1),
        places=np.argsort(order, kind="stable"),
        step=3 * width,
        length=int((first_byte + lower).max(initial=0)) + 8,
    )


def _whole_weights(shares: NDArray[np.floating]) -> NDArray[np.int64]:
    """Shares [4, n] that add up to 1 as whole numbers that add up to 256, the largest remainders rounded up."""
    scaled = shares * _WHOLE
    whole = np.floor(scaled)
    missing = _WHOLE - whole.sum(axis=0)
    rank = np.argsort(np.argsort(whole - scaled, axis=0, kind="stable"), axis=0, kind="stable")
    whole += rank < missing
    return whole.astype(np.int64)


def sample_pairs(tile: NDArray[np.uint8], table: PairTable, out: NDArray[np.uint8]) -> None:
    """Apply a table to a picture uint8 [H, W, 3] of the size that it was made for.

    Args:
        out: uint8 [3, n] to write into, one plane a colour.
    """
    source = np.ascontiguousarray(tile).reshape(-1)
    if len(source) < table.length:
        source = np.concatenate([source, np.zeros(table.length - len(source), np.uint8)])
    even, odd = _weighted(source, table, 0)
    more_even, more_odd = _weighted(source[table.step :], table, 1)
    even += more_even
    odd += more_odd
    # Even sums are (r, b, G), odd ones (g, R, B): moved by two places and by one they meet their own colour.
    even += _HALVES
    green = even >> _THIRTY_TWO
    green += odd
    odd >>= _SIXTEEN
    even += odd
    # The upper byte of a sum is the value. All three go into one word, so that one gather puts them in their place.
    packed = even.astype(np.uint32)
    packed >>= _BYTE
    packed &= _RED_BLUE
    low = green.astype(np.uint32)
    low &= _GREEN
    packed |= low
    packed = packed.take(table.places)
    for plane in out:
        np.copyto(plane, packed, casting="unsafe")
        packed >>= _BYTE


def _weighted(
    source: NDArray[np.uint8], table: PairTable, row: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The even and the odd bytes of every pair in one row, times their weights: four 16-bit numbers a word each."""
    pairs = np.empty(len(table.words), np.uint64)
    words = pairs.view("S8")
    for shift in range(8):
        group = slice(table.groups[shift], table.groups[shift + 1])
        whole = source[shift : shift + (len(source) - shift) // 8 * 8].view("S8")
        # Clipped are only lower rows beyond the picture, which weigh nothing.
        whole.take(table.words[group], out=words[group], mode="clip")
    even = pairs & _EVEN
    odd_bytes, even_bytes = pairs.view(np.uint16), even.view(np.uint16)
    odd_bytes >>= _BYTE
    odd_bytes *= table.weights[row, 1]
    even_bytes *= table.weights[row, 0]
    return even, pairs
