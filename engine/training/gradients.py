"""The gradient of one batch, however it is cut up: in chunks that fit the memory, over processes.

A contrastive loss compares everything with everything, so a batch cannot be accumulated by halves. It is done in two
passes (the gradient cache of Gao et al., 2021, arXiv:2101.06983): all descriptors without a history; the loss and its
gradient with respect to the descriptors; then each chunk again, with a history, and its part of that gradient carried
back. The result is the whole batch's gradient; the price is a second forward pass. Chance inside the networks is the
same in both passes, and running statistics of norms move once. Batch norms see their chunk alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.networks import DualEncoder
from engine.training.batch import Batch
from engine.training.branches import BranchRunner, draws
from engine.training.losses import Loss, LossContext
from engine.training.ranks import Ranks


@dataclass(frozen=True)
class Outcome:
    """What a batch came to: the loss, and the descriptors [B, D] of all ranks (of photos alone: as queries)."""

    loss: float
    query: Tensor
    reference: Tensor


class Gradients:
    """Puts a batch's gradient into the parameters of a model and its loss.

    Args:
        model, loss: what is trained.
        runner: of the model's branches.
        azimuth_blocks: K, 1 where the descriptor is one whole.
        chunk: pairs in memory at once; 0: all.
        exclude: whether the loss is told which pairs are too near each other.
    """

    def __init__(
        self,
        model: DualEncoder,
        loss: Loss,
        runner: BranchRunner,
        ranks: Ranks,
        *,
        azimuth_blocks: int = 1,
        chunk: int = 0,
        exclude: bool = True,
    ) -> None:
        self._model, self._loss, self._runner, self._ranks = model, loss, runner, ranks
        self._blocks, self._chunk, self._exclude = azimuth_blocks, chunk, exclude
        self._draws = draws(model)
        self._device = next(model.parameters()).device

    def __call__(self, batch: Batch, factor: float = 1.0, *, again: bool = False) -> Outcome:
        """Compute the gradient of ``factor`` times the loss; gradients that are there are replaced.

        ``again``: the batch was just seen (a second look at other weights): norms' statistics stay.
        """
        for parameter in self._parameters():
            parameter.grad = None
        count = len(batch.canvases)
        chunk = self._chunk or count
        pieces = [slice(first, first + chunk) for first in range(0, count, chunk)]
        whole = len(pieces) == 1
        states = []
        parts = []
        with _still_norms(self._model) if again or not whole else contextlib.nullcontext():
            for piece in pieces:
                states.append(self._chance())
                images = batch.canvases[piece], batch.tiles[piece]
                parts.append(self._runner.forward(*images, keep=whole))
        mine = [torch.cat(side) for side in zip(*parts, strict=True)]
        query, reference = (self._ranks.gather(side).requires_grad_() for side in mine)
        sides = query, reference
        if tuples := len(batch.negatives):
            sides = query[:tuples], query[tuples:]
        loss = self._loss(*sides, self._context(batch))
        (loss * factor).backward()
        grads = [_grad(side)[self._ranks.part.of(len(side))] for side in (query, reference)]
        if whole:
            self._runner.backward(grads[0], grads[1])
        else:
            after = self._chance()
            with _still_norms(self._model) if again else contextlib.nullcontext():
                for piece, state in zip(pieces, states, strict=True):
                    self._set_chance(state)
                    self._runner.forward(batch.canvases[piece], batch.tiles[piece])
                    self._runner.backward(grads[0][piece], grads[1][piece])
            self._set_chance(after)
        self._ranks.sum_gradients(p for branch in self._branches() for p in branch.parameters())
        return Outcome(float(loss.detach()), query.detach(), reference.detach())

    def _context(self, batch: Batch) -> LossContext:
        scale = self._model.logit_scale
        return LossContext(
            scale=None if scale is None else scale.exp(),
            too_near=batch.too_near if self._exclude else None,
            seen=self._ranks.gather(batch.seen),
            shift=batch.shift,
            azimuth_blocks=self._blocks if self._blocks > 1 else 0,
            labels=batch.labels,
            negatives=batch.negatives if len(batch.negatives) else None,
        )

    def _branches(self) -> list[nn.Module]:
        model = self._model
        return [model.query] if model.shared else [model.query, model.reference]

    def _parameters(self) -> Iterator[nn.Parameter]:
        yield from self._model.parameters()
        yield from self._loss.parameters()

    def _chance(self) -> list[Tensor]:
        if not self._draws:
            return []
        cuda = [torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _set_chance(self, state: list[Tensor]) -> None:
        if state:
            torch.set_rng_state(state[0])
        for other in state[1:]:
            torch.cuda.set_rng_state(other, self._device)


def _grad(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


@contextlib.contextmanager
def _still_norms(model: nn.Module) -> Iterator[None]:
    """Batch norms normalise by their batch as ever, and their running statistics do not move."""
    norms: list[Any] = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = tracked
