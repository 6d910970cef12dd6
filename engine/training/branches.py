"""Running the two branches of a model, side by side where there is no GPU.

The branches share no weights, so on a CPU each has a thread of its own with one core: forward to its descriptors,
and, when the loss has said what it wants of them, backward. There is no barrier inside a layer, so another program
on the machine slows a step by its share and no more; splitting every layer over two threads was slower even alone,
and fell to a tenth beside a busy neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class BranchRunner:
    """Forward and backward through the query and the reference branch of a dual encoder.

    Args:
        query, reference: the branches.
        device: where they are.
        bf16: whether to compute in bfloat16 (weights stay float32).
        parallel: a thread for each branch; None: on a CPU.
    """

    def __init__(
        self,
        query: nn.Module,
        reference: nn.Module,
        device: torch.device,
        *,
        bf16: bool,
        parallel: bool | None = None,
    ) -> None:
        self._branches = (query, reference)
        self._device = device
        self._bf16 = bf16
        beside = device.type == "cpu" if parallel is None else parallel
        self._pool = (
            ThreadPoolExecutor(2, "branch", initializer=torch.set_num_threads, initargs=(1,))
            if beside
            else None
        )
        self._outputs: tuple[Tensor, ...] = ()

    def forward(self, canvases: Tensor, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [B, D] of both sides, leaves that want a gradient."""
        self._outputs = tuple(self._both(self._forward, (canvases, tiles)))
        query, reference = (output.detach().requires_grad_() for output in self._outputs)
        return query, reference

    def backward(self, query: Tensor, reference: Tensor) -> None:
        """Carry the gradients of what :meth:`forward` gave on into the branches' parameters."""
        outputs, self._outputs = self._outputs, ()
        grads = (query.grad, reference.grad)
        self._both(lambda i, grad: outputs[i].backward(grad), grads)

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def _forward(self, index: int, images: Tensor) -> Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            return self._branches[index](images).float()

    def _both(self, work: Callable[[int, Tensor], T], values: tuple[Tensor | None, ...]) -> list[T]:
        if self._pool is None:
            return [work(i, value) for i, value in enumerate(values) if value is not None]
        return list(self._pool.map(work, range(len(values)), values))
