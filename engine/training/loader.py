"""Batches made ahead of time by worker processes, in order."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from engine.errors import NadirError, TrainingError
from engine.training.batch import WHOLE, Batch, Indices, PairSource, Part, make_batch
from engine.training.memory import keep_memory
from engine.training.sources import SourcePlan

_AHEAD = 3
_NICE = 2


class Batches(Dataset[Batch | NadirError]):
    """Batch numbers to batches. The source is opened in the process that needs it.

    What cannot be read comes back as the error itself: raised in a worker it would arrive as a traceback's text.
    """

    def __init__(
        self,
        plan: SourcePlan,
        first: int,
        last: int,
        orders: Sequence[Indices] | None,
        part: Part,
    ) -> None:
        self._plan, self._first, self._last = plan, first, last
        self._orders, self._part = orders, part
        self._source: PairSource | None = None

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> Batch | NadirError:
        recipe = self._plan.recipe
        try:
            if self._source is None:
                self._source = self._plan.open()
            return make_batch(
                self._source,
                recipe.seed,
                self._first + index,
                recipe.batch.size * self._part.ranks,
                pairs=None if self._orders is None else self._orders[index],
                part=self._part,
            )
        except NadirError as error:
            return error
        except MemoryError:
            return TrainingError(
                f"the memory does not hold a batch of {recipe.batch.size}",
                None,
                "Choose a smaller batch.size, or fewer batch.workers",
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_source": None}


def batches(
    plan: SourcePlan,
    first: int,
    last: int,
    device: torch.device,
    *,
    orders: Sequence[Indices] | None = None,
    part: Part = WHOLE,
    channels_last: bool = True,
) -> Iterator[Batch]:
    """Batches ``first`` to ``last``, made by the recipe's number of workers (0: here and now).

    Args:
        orders: the pairs of every one of them, where a sampler chose.
        part: this process's part of each.

    Raises:
        DatasetError: naming what could not be read.
        TrainingError: when the memory does not hold a batch, or a worker has ended.
    """
    workers = plan.recipe.batch.workers
    loader = DataLoader(
        Batches(plan, first, last, orders, part),
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_start_worker if workers else None,
        # So that making workers draws nothing from the global one.
        generator=torch.Generator().manual_seed(0),
    )
    made = iter(loader)
    while True:
        try:
            batch = next(made, None)
        except (OSError, EOFError) as error:
            # A pipe whose other end is gone; what a worker cannot read comes as a batch's place or is quoted.
            if not workers or str(error).startswith("Caught"):
                raise
            # The system's word of that death raises wherever it finds us: here rather than in a checkpoint.
            with contextlib.suppress(RuntimeError):
                time.sleep(1.0)
            raise LostWorkerError from error
        if batch is None:
            return
        if isinstance(batch, NadirError):
            raise batch
        yield batch.to(device, channels_last=channels_last)


class LostWorkerError(TrainingError):
    """A process that makes batches has ended."""

    def __init__(self) -> None:
        super().__init__(
            "a process that makes batches has ended, as when the memory is full",
            None,
            "Go on by --resume, with a smaller batch.size or fewer batch.workers",
        )


@contextlib.contextmanager
def told_of_workers() -> Iterator[None]:
    """Within the block a worker's end, of which torch tells by a signal, is a :class:`LostWorkerError`."""
    try:
        yield
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker"):
            raise LostWorkerError from error
        raise


def _start_worker(number: int) -> None:
    # A terminal's Ctrl+C goes to every process of it; the training says when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_memory()
    if hasattr(os, "nice"):
        os.nice(_NICE)
