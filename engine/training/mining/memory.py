"""The descriptors that a sampler has been told, and searching them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import ArrayLike

from engine.training.mining.base import Floats, Indices


class Memory:
    """The last descriptors of each of N pairs, brought to norm 1 unless told otherwise.

    Args:
        count: N.
        normalise: compare by cosine.
    """

    def __init__(self, count: int, *, normalise: bool = True) -> None:
        self._count, self._normalise = count, normalise
        self.known = np.zeros(count, bool)
        self.query = np.zeros((count, 0), np.float32)
        self.reference = np.zeros((count, 0), np.float32)

    @property
    def complete(self) -> bool:
        """Whether every pair is known."""
        return bool(self.known.all())

    def update(self, pairs: Indices, query: ArrayLike, reference: ArrayLike) -> None:
        """Remember descriptors [n, D] of pairs."""
        photos, tiles = self._array(query), self._array(reference)
        if self.query.shape[1] != photos.shape[1]:
            self.query = np.zeros((self._count, photos.shape[1]), np.float32)
            self.reference = np.zeros((self._count, tiles.shape[1]), np.float32)
            self.known[:] = False
        self.query[pairs], self.reference[pairs] = photos, tiles
        self.known[pairs] = True

    def _array(self, descriptors: ArrayLike) -> Floats:
        if isinstance(descriptors, torch.Tensor):
            descriptors = descriptors.detach().float().cpu().numpy()
        values = np.asarray(descriptors, np.float32)
        if not self._normalise:
            return values
        return values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)

    def state(self) -> dict[str, Any]:
        """Everything, as tensors."""
        return {
            name: torch.from_numpy(getattr(self, name).copy())
            for name in ("known", "query", "reference")
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put :meth:`state` back."""
        for name in ("known", "query", "reference"):
            setattr(self, name, state[name].numpy().copy())


def most_similar(queries: Floats, references: Floats, count: int) -> Indices:
    """[Q, count] rows of ``references`` [R, D] with the largest scalar products, best first."""
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(np.ascontiguousarray(references))  # pyright: ignore[reportCallIssue]
    found = index.search(np.ascontiguousarray(queries), min(count, len(references)))  # pyright: ignore[reportCallIssue]
    return found[1].astype(np.int64)


def nearest(queries: Floats, references: Floats, count: int) -> Indices:
    """[Q, count] rows of ``references`` [R, D] with the smallest distances, nearest first."""
    index = faiss.IndexFlatL2(references.shape[1])
    index.add(np.ascontiguousarray(references))  # pyright: ignore[reportCallIssue]
    found = index.search(np.ascontiguousarray(queries), min(count, len(references)))  # pyright: ignore[reportCallIssue]
    return found[1].astype(np.int64)
