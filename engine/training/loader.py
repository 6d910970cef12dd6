"""Batches made ahead of time by worker processes, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from engine.training.batch import Batch, make_batch
from engine.training.cache import CachedTown, open_town
from engine.training.memory import keep_memory
from engine.training.recipes import Recipe

_AHEAD = 3
_NICE = 2


class Batches(Dataset[Batch]):
    """Batch numbers to batches. Towns are opened in the process that needs them."""

    def __init__(self, towns: Sequence[Path], recipe: Recipe, first: int, last: int) -> None:
        self._folders = list(towns)
        self._recipe = recipe
        self._first, self._last = first, last
        self._towns: list[CachedTown] | None = None

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> Batch:
        if self._towns is None:
            self._towns = [open_town(folder) for folder in self._folders]
        return make_batch(self._towns, self._recipe, self._first + index)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_towns": None}


def batches(
    towns: Sequence[Path], recipe: Recipe, first: int, last: int, device: torch.device
) -> Iterator[Batch]:
    """Batches ``first`` to ``last``, made by the recipe's number of workers (0: here and now)."""
    workers = recipe.batch.workers
    loader = DataLoader(
        Batches(towns, recipe, first, last),
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_start_worker if workers else None,
        generator=torch.Generator().manual_seed(
            0
        ),  # so that making workers draws nothing from the global one
    )
    for batch in loader:
        yield batch.to(device)


def _start_worker(number: int) -> None:
    torch.set_num_threads(1)
    keep_memory()
    if hasattr(os, "nice"):
        os.nice(_NICE)
