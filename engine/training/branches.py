"""Running the two branches of a model, side by side where there is no GPU.

Branches that share no weights have a thread of their own with one core each on a CPU: forward to their descriptors,
and, when the loss has said what it wants of them, backward. There is no barrier inside a layer, so another program
on the machine slows a step by its share and no more; splitting every layer over two threads was slower even alone,
and fell to a tenth beside a busy neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from engine.networks import DualEncoder

T = TypeVar("T")
Precision = Literal["bf16", "fp16", "fp32"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class BranchRunner:
    """Forward and backward through the query and the reference branch of a dual encoder.

    Args:
        model: whose branches.
        device: where they are.
        precision: what they compute in (weights stay float32).
        compile: whether they are compiled first.
        parallel: a thread for each branch; None: where that is faster and as exact: on a CPU, with no weights in
            common and no dropout, which would draw from one generator in whatever order the threads come.
    """

    def __init__(
        self,
        model: DualEncoder,
        device: torch.device,
        *,
        precision: Precision = "fp32",
        compile: bool = False,
        parallel: bool | None = None,
    ) -> None:
        self._branches: list[Callable[[Tensor], Tensor]] = [model.query, model.reference]
        if compile:
            self._branches = [torch.compile(branch) for branch in self._branches]
        self._device = device
        self._dtype = DTYPES[precision]
        beside = (
            device.type == "cpu" and not model.shared and not draws(model)
            if parallel is None
            else parallel
        )
        self._pool = (
            ThreadPoolExecutor(2, "branch", initializer=torch.set_num_threads, initargs=(1,))
            if beside
            else None
        )
        self._outputs: list[Tensor] = []

    def forward(
        self, canvases: Tensor, tiles: Tensor, *, keep: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Descriptors [b, D] of both sides, float32, without a history; ``keep``: ready for :meth:`backward`.

        Without tiles [0, ...] only the query branch runs; the other side is empty [0, D].
        """

        def run(index: int, images: Tensor) -> Tensor:
            with (
                torch.set_grad_enabled(keep),
                torch.autocast(
                    self._device.type, self._dtype, enabled=self._dtype != torch.float32
                ),
            ):
                return self._branches[index](images).float()

        outputs = self._both(run, (canvases, tiles) if len(tiles) else (canvases,))
        self._outputs = outputs if keep else []
        query = outputs[0].detach()
        return query, outputs[1].detach() if len(tiles) else query.new_zeros((0, query.shape[1]))

    def backward(self, query: Tensor, reference: Tensor) -> None:
        """Carry gradients [b, D] of what :meth:`forward` gave on into the branches' parameters."""
        outputs, self._outputs = self._outputs, []
        grads = (query, reference)[: len(outputs)]
        self._both(lambda i, grad: outputs[i].backward(grad), grads)

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def _both(self, work: Callable[[int, Tensor], T], values: tuple[Tensor, ...]) -> list[T]:
        if self._pool is None:
            return [work(i, value) for i, value in enumerate(values)]
        jobs = [self._pool.submit(work, i, value) for i, value in enumerate(values)]
        return [job.result() for job in jobs]


def draws(model: nn.Module) -> bool:
    """Whether a forward pass in training draws random numbers (dropout, stochastic depth)."""
    return any(
        isinstance(getattr(module, name, None), float) and getattr(module, name) > 0.0
        for module in model.modules()
        for name in (
            ("p",)
            if isinstance(module, nn.modules.dropout._DropoutNd)
            else ("drop_prob", "dropout")
        )
    )
