"""Several processes that train one model, as ``torchrun`` starts them.

Descriptors are gathered from every rank, so that every photo meets every tile of the whole batch; each rank computes
the same loss, keeps its own part of the descriptors' gradient, carries that back through its own branches, and the
parameters' gradients are summed. The sum is the gradient of the whole batch, exactly, whatever the loss is: two ranks
of a batch of B train as one of 2 B does (but for batch norms, which see their own part alone).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.training.batch import Part

_PATIENCE = datetime.timedelta(hours=2)
"""How long ranks wait for the first one while it validates."""
_PARTING_S = 0.5


class LostRankError(TrainingError):
    """Another process of the training has ended, or cannot be reached any more."""


class Ranks:
    """This process among its equals; alone, everything is the identity."""

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        self.part = Part(rank, ranks)

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.part.rank == 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.part.ranks

    def gather(self, mine: Tensor) -> Tensor:
        """[b, ...] of every rank as one [B, ...], in the order of the ranks; no gradient passes."""
        if self.count == 1 or not len(mine):
            return mine
        parts = [
            torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(self.count)
        ]
        with _together():
            dist.all_gather(parts, mine.detach().contiguous())
        return torch.cat(parts)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up every parameter's gradient over the ranks, in few messages."""
        if self.count == 1:
            return
        with_grad = [p for p in parameters if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in with_grad]
        flat = torch.cat([grad.flatten() for grad in grads])
        with _together():
            dist.all_reduce(flat)
        pieces = flat.split([grad.numel() for grad in grads])
        for parameter, grad, piece in zip(with_grad, grads, pieces, strict=True):
            # Into the gradient's own layout: fused optimisers read both by memory.
            parameter.grad = grad.copy_(piece.view_as(grad))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give everyone the first rank's values, in place."""
        if self.count > 1:
            for tensor in tensors:
                with _together():
                    dist.broadcast(tensor.detach(), 0)

    def agree(self, value: float) -> float:
        """What the first rank says."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64, device=_device())
        with _together():
            dist.broadcast(said, 0)
        return float(said.item())

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            with _together():
                dist.barrier()

    def close(self) -> None:
        """Part from the others."""
        if self.count > 1 and dist.is_initialized():
            # Who parts while another still reads the last answer has gloo's own thread abort the other.
            time.sleep(_PARTING_S)
            dist.destroy_process_group()


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Talking to the others, who may have ended."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostRankError(
            "another process of this training has ended",
            None,
            "What it said stands above; go on from the last checkpoint by --resume",
        ) from error


def join_ranks(device: str) -> tuple[Ranks, str]:
    """Meet the other processes that ``torchrun`` started, if it did.

    Returns:
        the ranks, and this process's device: on GPUs the one with its local number.

    Raises:
        TrainingError: when they cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks(), device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda"):
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    try:
        backend = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the other processes cannot be reached ({error})") from error
    return Ranks(dist.get_rank(), dist.get_world_size()), device


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
