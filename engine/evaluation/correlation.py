"""Matching by correlation along the azimuth, as DSM does it: how alike two places are, and how they are turned.

Shi, Yu, Campbell and Li, "Where am I looking at? Joint Location and Orientation Estimation by Cross-View Matching"
(CVPR 2020). A tile's descriptor is W blocks by bearing, a photo's w <= W of them (its field of view). With ``r_k``
and ``q_j`` the blocks::

    c_k = sum over j < w of  q_j . r_(k+j mod W)            k = 0..W-1
    orientation = the k of the largest c_k
    similarity = c_k / (|q| |r_k..r_(k+w-1)|)               at that k
    distance = 2 - 2 similarity

The search of the application compares blocks too, but divides by the norm of the whole tile's descriptor, for its
vectors stand in an index: for a full turn (w = W) that is the same, for a narrower photo it is not: there DSM divides
by what the photo could see. :func:`match_by_azimuth` is the paper's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 24
"""Numbers of the correlation that are held at once."""


def match_by_azimuth(
    queries: NDArray[np.floating], references: NDArray[np.floating], *, block_dim: int
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """How alike every photo is to every tile, and at which turn.

    Args:
        queries: [B, w * block_dim], blocks by bearing one after another, of any norm.
        references: [M, W * block_dim], likewise, w <= W.
        block_dim: numbers of a block.

    Returns:
        Similarity [B, M] in [-1, 1], and the block of the tile [B, M] at which the photo's first one lies; of equal
        ones the first.

    Raises:
        ValueError: a length is no multiple of ``block_dim``, or photos have more blocks than tiles.
    """
    photos, tiles = _blocks(queries, block_dim), _blocks(references, block_dim)
    seen, turn = photos.shape[1], tiles.shape[1]
    if seen > turn:
        raise ValueError(f"a photo of {seen} bearings does not fit into a tile of {turn}")
    photo_norm = np.sqrt((photos**2).sum(axis=(1, 2)))
    energy = (tiles**2).sum(axis=2)  # [M, W]
    summed = np.cumsum(np.concatenate([energy, energy[:, :seen]], axis=1), axis=1)
    first = np.concatenate([np.zeros((len(tiles), 1)), summed], axis=1)
    window = np.sqrt(np.maximum(first[:, seen : seen + turn] - first[:, :turn], 1e-12))
    # Frequency by frequency a product of matrices; in double precision, for near ties are decided by it.
    spectrum = np.ascontiguousarray(np.fft.rfft(tiles, axis=1).transpose(1, 2, 0))  # [F, d, M]
    similarity = np.empty((len(photos), len(tiles)), np.float32)
    orientation = np.empty(similarity.shape, np.intp)
    step = max(1, CHUNK // max(1, turn * len(tiles)))
    for low in range(0, len(photos), step):
        part = slice(low, low + step)
        turned = np.fft.rfft(photos[part], n=turn, axis=1).conj().transpose(1, 0, 2)  # [F, b, d]
        correlation = np.fft.irfft(turned @ spectrum, n=turn, axis=0)  # [W, b, M]
        best = correlation.argmax(axis=0)
        orientation[part] = best
        peak = np.take_along_axis(correlation, best[None], axis=0)[0]
        norm = window[np.arange(len(tiles))[None, :], best] * photo_norm[part, None]
        similarity[part] = peak / np.maximum(norm, 1e-12)
    return similarity, orientation


def heading_deg(orientation: NDArray[np.integer], turn: int, fov_deg: float) -> NDArray[np.float64]:
    """Bearing of a photo's centre, degrees in [-180, 180), from where its first block lies.

    Args:
        orientation: as :func:`match_by_azimuth` gives it.
        turn: W, blocks of a full turn; block 0 begins in the south.
        fov_deg: the photo's field of view, degrees.
    """
    first = orientation.astype(np.float64) * (360.0 / turn)
    return (first + fov_deg / 2.0) % 360.0 - 180.0


def _blocks(descriptors: NDArray[np.floating], block_dim: int) -> NDArray[np.float64]:
    if descriptors.ndim != 2 or descriptors.shape[1] % block_dim:
        raise ValueError(f"{descriptors.shape} are no descriptors of blocks of {block_dim}")
    blocks = descriptors.reshape(len(descriptors), -1, block_dim)
    return blocks.astype(np.float64)
