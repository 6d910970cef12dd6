"""The arithmetic of descriptors made of blocks by bearing: turning a photo, comparing only what it sees.

A descriptor of K blocks of d numbers, every block of norm 1/sqrt(K). Block k of a north-aligned image covers the
bearings ``-180 + k*360/K`` to ``-180 + (k+1)*360/K`` degrees. A photo with heading h matches a north-aligned tile when
its blocks are rolled right by ``h*K/360``. Of a photo that sees the shares ``w`` of its blocks, the query is::

    q[k] = w[k] * block[k] * K / sum(w)

so that the plain inner product with a tile is the weighted mean of the blocks' cosines, in [-1, 1]. With K = 1 the
query is the descriptor itself and the score the cosine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def aligned_queries(
    descriptor: FloatArray, seen: FloatArray, rolls: NDArray[np.intp], shifts: NDArray[np.intp]
) -> FloatArray:
    """Queries [Q, D] that compare a photo with north-aligned tiles by inner product.

    Args:
        descriptor: [R, D], one row for every roll of the canvas.
        seen: [R, K], share of every block that the photo shows; some of every row must be above 0.
        rolls: [Q], which row each query takes.
        shifts: [Q], how many blocks it is rolled to the right.
    """
    blocks = seen.shape[1]
    weights = seen * (blocks / seen.sum(axis=1, keepdims=True))
    weighted = descriptor.reshape(len(descriptor), blocks, -1) * weights[..., None]
    order = (np.arange(blocks)[None, :] - shifts[:, None]) % blocks
    return np.ascontiguousarray(weighted[rolls[:, None], order].reshape(len(rolls), -1))


def block_scores(query: FloatArray, tile: FloatArray, blocks: int) -> FloatArray:
    """What every bearing adds to the score of one query [D] and one tile [D]: [K], the sum is the score."""
    return (query * tile).reshape(blocks, -1).sum(axis=1)
