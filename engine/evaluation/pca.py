"""Principal components, as the benchmark shortens descriptors with scikit-learn's ``PCA(n).fit(...).transform(...)``.

Centred, not whitened, and not normalised again. Components are exact (a full decomposition), where scikit-learn takes
a randomised one for large tables; the sign of each is such that its largest loading is positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import DatasetError

FloatArray = NDArray[np.float64]

SAMPLES = 2**14
"""The benchmark fits on at most so many descriptors."""


@dataclass(frozen=True, eq=False)
class Pca:
    """``transform(x) = (x - mean) @ components.T``.

    Attributes:
        mean: [D].
        components: [n, D], orthonormal, by falling variance.
        explained_variance: [n], of the samples along each (divided by their number less one).
    """

    mean: FloatArray
    components: FloatArray
    explained_variance: FloatArray

    def transform(self, vectors: NDArray[np.floating]) -> FloatArray:
        """Vectors [..., D] to [..., n]."""
        return (vectors - self.mean) @ self.components.T


def fit_pca(samples: NDArray[np.floating], components: int) -> Pca:
    """Fit on samples [N, D].

    Raises:
        DatasetError: more components than samples or dimensions.
    """
    count, dimension = samples.shape
    if not 1 <= components <= min(count, dimension):
        raise DatasetError(
            f"{components} components cannot be made of {count:,} descriptors of {dimension:,} numbers",
            None,
            f"Ask for at most {min(count, dimension)}",
        )
    samples = np.asarray(samples, np.float64)
    mean = samples.mean(axis=0)
    _, scale, rows = np.linalg.svd(samples - mean, full_matrices=False)
    rows = rows[:components]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    variance = scale[:components] ** 2 / max(1, count - 1)
    return Pca(mean, rows * np.where(largest < 0, -1.0, 1.0), variance)
