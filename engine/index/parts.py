"""The pieces of an unfinished build: the descriptors of one shard of places each."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import IndexFolderError
from engine.files import atomic_write
from engine.index.plan import Plan


def part_path(work: Path, shard: int) -> Path:
    """Where the descriptors of a shard are kept while the build goes on."""
    return work / f"part-{shard:06d}.npz"


def write_part(
    work: Path, shard: int, good: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Keep a shard, whole or not at all: which of its places became tiles [n], and their descriptors [n, D]."""
    with atomic_write(part_path(work, shard)) as file:
        np.savez(file, good=good, vectors=vectors)


def read_part(work: Path, plan: Plan, shard: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What :func:`write_part` kept.

    Raises:
        IndexFolderError: it is damaged; it is removed, so that going on makes it again.
    """
    path = part_path(work, shard)
    first, last = plan.shard_range(shard)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            good, vectors = arrays["good"], arrays["vectors"]
        if vectors.shape != (len(good), plan.dimension) or vectors.dtype != np.float32:
            raise ValueError("another shape")
        if len(good) and not 0 <= good.min() <= good.max() < last - first:
            raise ValueError("another shard")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        path.unlink(missing_ok=True)
        raise IndexFolderError(
            f"{path.name}, a piece of the unfinished build, is damaged and was removed",
            work.parent,
            "Continue with: nadir index build --resume",
        ) from error
    return good.astype(np.int64), vectors


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    if path.is_dir():
        with contextlib.suppress(OSError):  # Windows opens no folders
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
