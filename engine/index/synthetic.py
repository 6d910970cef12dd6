"""Descriptors as those of overlapping tiles, in any number: for measuring searches where no index of that size is.

Tiles of a town share ground with their neighbours, so their descriptors are samples of a smooth surface; photos of the
ground are far from all of them. Both were measured on an index of 15,625 tiles of 100 m, 8 m apart, of a town that the
shipped encoder (1,536 numbers in 16 blocks by bearing) never saw, and on 300 photos and panoramas taken there:

* the mean descriptor has norm 0.42; the first 8, 16, 32, ... principal components hold the shares
  :data:`SPECTRUM` of the variance about it (an effective dimension of 31);
* a component is a random field over the ground. The correlation of its values a stride apart falls from 0.9 for the
  first components to 0.07 for the last (:data:`NEIGHBOURS`), farther away like exp(-r²); so neighbours 8 m apart have
  a mean cosine of 0.68, at 16 m 0.45, at 32 m 0.27, anywhere 0.18;
* a photo's descriptor has a cosine of 0.246 (standard deviation 0.065) with its tile's, and what it has beside that
  lies mostly outside the components that tiles vary in (:data:`PHOTOS`): the 1st, 10th and 100th best of 15,625 tiles
  score 0.26, 0.19 and 0.16.

Here the components are independent Gaussian fields with those variances and correlations, drawn once on a torus and,
for every further town, shifted, mirrored and negated at random; turned by a random rotation, so that no number is a
component; and normalised block by block like the encoder's. With fewer than 1,536 numbers the last components are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SPECTRUM = {
    8: 0.398,
    16: 0.515,
    32: 0.644,
    64: 0.773,
    128: 0.887,
    256: 0.957,
    512: 0.988,
    1024: 0.998,
    1536: 1.0,
}
"""Share of the variance of tiles that the first components hold."""

PHOTOS = {
    8: 0.016,
    16: 0.033,
    32: 0.060,
    64: 0.114,
    128: 0.201,
    256: 0.321,
    512: 0.590,
    1024: 0.85,
    1536: 1.0,
}
"""Share of what a photo's descriptor has beside its tile's that lies in the first components of the tiles."""

NEIGHBOURS = {2: 0.895, 10: 0.755, 40: 0.479, 96: 0.249, 192: 0.103, 384: 0.09, 768: 0.066}
"""Correlation of a component's values on tiles a stride apart, by the component's number."""

MEAN_NORM = 0.42
PHOTO_COSINE, PHOTO_SPREAD = 0.246, 0.065
BLOCKS = 16

_SIDE = 1024
_CHUNK = 1 << 16


def _shares(table: dict[int, float], dimension: int) -> NDArray[np.float64]:
    """What every component holds, from the shares of the first so many."""
    at = np.concatenate([[0.0], np.log2(1.0 + np.array(list(table)))])
    held = np.interp(np.log2(1.0 + np.arange(dimension + 1)), at, [0.0, *table.values()])
    return np.diff(held)


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Descriptors [count, dimension] of length 1; the same for the same seed. Made by :func:`synthetic`.

    Attributes:
        fields: float16 [dimension, S, S], the components of one town, of variance 1.
        basis: [dimension, dimension], a component in a row, as long as its standard deviation.
        mean: [dimension].
        noise: [dimension, dimension], likewise for what photos have beside their tile.
    """

    count: int
    dimension: int
    seed: int
    fields: NDArray[np.float16]
    basis: FloatArray
    mean: FloatArray
    noise: FloatArray

    @property
    def side(self) -> int:
        """Places along a town's side."""
        return self.fields.shape[1]

    def parts(self, rows: int = _CHUNK) -> Iterator[FloatArray]:
        """All of them, some at a time."""
        for first in range(0, self.count, rows):
            yield self.rows(np.arange(first, min(first + rows, self.count)))

    def rows(self, ids: NDArray[np.int64]) -> FloatArray:
        """Some of them [n, dimension]."""
        return self._normalised(self._raw(ids) @ self.basis + self.mean)

    def tiles(self, count: int, *, seed: int = 1) -> tuple[FloatArray, NDArray[np.int64]]:
        """Tiles cut at random between the places, which overlap those about them.

        Returns:
            Descriptors [n, dimension], and the nearest place's id [n].
        """
        rng = np.random.default_rng([self.seed, seed])
        side, ids = self.side, rng.integers(0, self.count, count)
        east, north = rng.uniform(0.0, 0.5, (2, count, 1)).astype(np.float32)
        at = (1 - east) * (1 - north) * self._raw(ids)
        town, place = np.divmod(ids, side * side)
        row, column = np.divmod(place, side)
        for right, up in ((1, 0), (0, 1), (1, 1)):
            share = (east if right else 1 - east) * (north if up else 1 - north)
            there = (row + up) % side * side + (column + right) % side
            at += share * self._raw(town * side * side + there)
        return self._normalised(at @ self.basis + self.mean), ids

    def photos(
        self, count: int, *, seen: float = 1.0, seed: int = 1
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """Photos taken at random between the places.

        Args:
            seen: share of the blocks that a photo sees; the others are zero.

        Returns:
            Queries [n, dimension], and the nearest place's id [n].
        """
        rng = np.random.default_rng([self.seed, seed, 3])
        tiles, ids = self.tiles(count, seed=seed)
        cosine = np.clip(rng.normal(PHOTO_COSINE, PHOTO_SPREAD, (count, 1)), 0.02, 0.6)
        beside = rng.standard_normal((count, self.dimension)).astype(np.float32) @ self.noise
        mixed = (cosine * tiles + np.sqrt(1 - cosine**2) * beside).astype(np.float32)
        blocks = min(BLOCKS, self.dimension)
        if self.dimension % blocks == 0 and seen < 1:
            shown = max(1, round(seen * blocks))
            which = (rng.integers(0, blocks, (count, 1)) + np.arange(blocks)) % blocks < shown
            mixed *= np.repeat(which, self.dimension // blocks, axis=1)
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        return np.ascontiguousarray(mixed, np.float32), ids

    def _raw(self, ids: NDArray[np.int64]) -> FloatArray:
        """Values of the components [n, dimension]."""
        side = self.side
        values = np.empty((self.dimension, len(ids)), np.float32)
        towns, places = np.divmod(ids, side * side)
        for town in np.unique(towns):
            here = np.flatnonzero(towns == town)
            row, column = np.divmod(places[here], side)
            rng = np.random.default_rng([self.seed, 2, int(town)])
            shifts = rng.integers(0, side, (self.dimension, 2))
            mirrored, negated = rng.integers(0, 2, (2, self.dimension))
            whole = len(here) % side == 0 and (np.diff(places[here]) == 1).all() and column[0] == 0
            for i in range(self.dimension):
                field, (down, right) = self.fields[i], shifts[i]
                if whole:  # rows of the town, as they lie
                    lines = np.take(
                        field, np.arange(row[0], row[-1] + 1) + down, axis=0, mode="wrap"
                    )
                    lines = np.roll(lines, -int(right), axis=1)
                    part = (lines[:, ::-1] if mirrored[i] else lines).reshape(-1)
                else:
                    x = (side - 1 - column if mirrored[i] else column) + right
                    part = field[(row + down) % side, x % side]
                values[i, here] = -part if negated[i] else part
        return values.T

    def _normalised(self, vectors: FloatArray) -> FloatArray:
        blocks = BLOCKS if self.dimension % BLOCKS == 0 else 1
        split = vectors.reshape(len(vectors), blocks, -1)
        split /= np.maximum(np.linalg.norm(split, axis=2, keepdims=True), 1e-9) * np.float32(
            blocks**0.5
        )
        return split.reshape(len(vectors), -1)


def synthetic(count: int, dimension: int, seed: int = 0) -> Synthetic:
    """Prepare descriptors of ``count`` overlapping tiles; holds up to 2 MB a dimension."""
    rng = np.random.default_rng([seed, 0])
    side = _SIDE
    while side > 32 and (side // 2) ** 2 >= count:
        side //= 2
    number = np.log2(1.0 + np.arange(dimension))
    near = np.interp(number, np.log2(1.0 + np.array(list(NEIGHBOURS))), list(NEIGHBOURS.values()))
    width = 1.0 / np.sqrt(-2.0 * np.log(near))
    down, right = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    squared = (down**2 + right**2).astype(np.float32)
    fields = np.empty((dimension, side, side), np.float16)
    for i in range(dimension):
        noise = np.fft.rfft2(rng.standard_normal((side, side), np.float32))
        # The correlation exp(-r²/2w²) is white noise smoothed by a Gaussian of w / sqrt(2).
        field = np.fft.irfft2(noise * np.exp(-((np.pi * width[i]) ** 2) * squared), (side, side))
        fields[i] = field / field.std()
    turned = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0].astype(np.float32)
    variances = _shares(SPECTRUM, dimension)
    scale = np.sqrt((1 - MEAN_NORM**2) * variances / variances.sum())
    mean = rng.standard_normal(dimension)
    beside = np.sqrt(_shares(PHOTOS, dimension))
    return Synthetic(
        count,
        dimension,
        seed,
        fields,
        np.ascontiguousarray(scale[:, None] * turned, np.float32),
        (MEAN_NORM * mean / np.linalg.norm(mean)).astype(np.float32),
        np.ascontiguousarray(beside[:, None] * turned, np.float32),
    )
