"""What a loss is, what it is told about a batch, and losses by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import TrainingError


@dataclass(frozen=True)
class LossContext:
    """What a loss may know of a batch beside its descriptors. B pairs, gathered from every rank.

    Attributes:
        scale: the learned factor on scores (not its logarithm); None where none is learned.
        too_near: bool [B, B], entry (i, j) set where photo ``i`` and another's reference ``j`` are no fair
            negative; the diagonal is False. None: all are fair.
        seen: [B, K], how much of each block of bearings the photo shows, 0..1.
        shift: [B], blocks that the photo must be rolled right to fit its tile, 0..K.
        azimuth_blocks: K, blocks by bearing in a descriptor; 0: it has none.
        labels: int [B], the place, or class, of every pair; None: every pair is a place of its own.
        negatives: int [B, n], rows of ``reference`` that were mined as negatives of each query, for the losses that
            take tuples (there ``reference`` has more rows than ``query``, its first B the positives); None: every
            other pair's reference.
    """

    scale: Tensor | None = None
    too_near: Tensor | None = None
    seen: Tensor | None = None
    shift: Tensor | None = None
    azimuth_blocks: int = 0
    labels: Tensor | None = None
    negatives: Tensor | None = None


class Loss(nn.Module):
    """A loss over a batch of pairs: query ``i`` belongs to reference ``i``.

    It is a module, so that one with weights of its own (:class:`engine.training.losses.cosface.CosFace`) is trained,
    moved and saved like the model: the trainer gives ``parameters()`` to the optimiser and ``state_dict()`` to the
    checkpoint.

    ``forward(query, reference, context)`` takes the branches' raw descriptors [B, D], brings them to norm 1 itself
    where its authors do, and returns a scalar. Descriptors must be of the whole batch: on several GPUs they are
    gathered before.

    Attributes:
        learns_scale: whether ``context.scale`` must be there.
        start_scale: where the learned scale starts.
        scale_limit: the most that it may become; the least is 1.
    """

    learns_scale: bool = False
    start_scale: float = 1.0
    scale_limit: float = math.inf

    def forward(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """The loss of a batch."""
        raise NotImplementedError

    def __call__(self, query: Tensor, reference: Tensor, context: LossContext) -> Tensor:
        """:meth:`forward`, typed."""
        return super().__call__(query, reference, context)


Builder = Callable[..., Loss]
AnyBuilder = TypeVar("AnyBuilder", bound=Builder)
_BUILDERS: dict[str, Builder] = {}


def register_loss(name: str) -> Callable[[AnyBuilder], AnyBuilder]:
    """Decorate what builds a loss from the options a recipe gives, as keyword arguments."""

    def keep(builder: AnyBuilder) -> AnyBuilder:
        _BUILDERS[name] = builder
        return builder

    return keep


def build_loss(name: str, options: Mapping[str, Any] | None = None) -> Loss:
    """Build the loss ``name``.

    Raises:
        TrainingError: for a name or an option that nobody knows.
    """
    if name not in _BUILDERS:
        known = ", ".join(loss_names())
        raise TrainingError(f'there is no loss "{name}"', None, f"Known are: {known}")
    try:
        loss = _BUILDERS[name](**(options or {}))
        if loss.learns_scale and not 0 < loss.start_scale <= loss.scale_limit:
            raise ValueError("scale must be above 0 and at most its limit")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f'the loss "{name}" cannot be built: {error}') from error
    return loss


def loss_names() -> list[str]:
    """Every loss that can be built."""
    return sorted(_BUILDERS)


def loss_options(name: str) -> set[str]:
    """The options that a loss's builder names; none for a loss that nobody knows."""
    if name not in _BUILDERS:
        return set()
    return set(inspect.signature(_BUILDERS[name]).parameters)


def unit(descriptors: Tensor, normalise: bool = True) -> Tensor:
    """Descriptors [B, D] in float32 at least (mixed precision ends here), of norm 1 unless told otherwise."""
    wide = descriptors if descriptors.dtype.itemsize >= 4 else descriptors.float()
    return F.normalize(wide, dim=1) if normalise else wide


def others(count: int, context: LossContext, exclude_near: bool, device: torch.device) -> Tensor:
    """Bool [B, B]: the pairs (i, j) that are negatives, photo ``i`` and reference ``j``.

    That is everything but the diagonal and, with ``exclude_near``, but what is too near.
    """
    negative = ~torch.eye(count, dtype=torch.bool, device=device)
    if exclude_near and context.too_near is not None:
        negative &= ~context.too_near
    return negative


def fair_cross_entropy(logits: Tensor, target: Tensor, fair: Tensor, smoothing: float) -> Tensor:
    """Cross entropy over all but the first dimension, leaving out what is not fair; mean over the first.

    With everything fair and one-hot targets this is ``torch.nn.functional.cross_entropy`` with label smoothing.

    Args:
        logits: [N, ...]; target: the same shape, shares of the truth that sum to 1 in each row.
        fair: bool, broadcastable to ``logits``: the candidates.
        smoothing: share of the target spread evenly over the candidates, 0..1.
    """
    log_total = torch.logsumexp(logits.masked_fill(~fair, -1e4).flatten(1), dim=1)
    right = (target * logits).flatten(1).sum(1)
    weight = fair.to(logits.dtype)
    candidates = weight.expand_as(logits).flatten(1).sum(1)
    even = (logits * weight).flatten(1).sum(1) / candidates
    return (log_total - (1 - smoothing) * right - smoothing * even).mean()
