"""Optimisers by name, and which parameters decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from engine.training.sam import Sam
from engine.training.sections import OptimiserSection

__all__ = ["Sam", "build_optimiser", "parameter_groups", "sam_of"]

Named = Iterable[tuple[str, nn.Parameter]]
NO_DECAY = ("pos_embed", "cls_token", "dist_token", "logit_scale")
"""Last parts of names that do not decay although they may have more than one dimension."""
LOSS_PREFIX = "loss."


def build_optimiser(how: OptimiserSection, named: Named) -> Optimizer:
    """The optimiser of a recipe.

    "adamw" decays weights by themselves, "adam" and "sgd" by way of the gradient, as torch has them. The learning
    rate is set anew before every step: ``how.rate`` by the schedule, times a group's ``rate_factor``.

    Args:
        named: the parameters of the model and, their names beginning with ``loss.``, of the loss.
    """
    groups = parameter_groups(how, named)
    if how.name == "adamw":
        return torch.optim.AdamW(groups, lr=how.rate, fused=True)
    if how.name == "adam":
        return torch.optim.Adam(groups, lr=how.rate, fused=True)
    return torch.optim.SGD(groups, lr=how.rate, momentum=how.momentum)


def parameter_groups(how: OptimiserSection, named: Named) -> list[dict[str, Any]]:
    """Groups for an optimiser: what decays, what does not, and the same for the loss's own weights.

    With ``how.decay_all`` everything decays alike, as in most authors' code; else weights alone: neither norms,
    biases and scales (one dimension or none) nor positions and tokens (:data:`NO_DECAY`).
    """
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        decays = how.decay_all or (parameter.ndim > 1 and name.rsplit(".", 1)[-1] not in NO_DECAY)
        of_loss = name.startswith(LOSS_PREFIX)
        factor = how.loss_rate if of_loss else _factor(how, name)
        groups.setdefault((of_loss, decays, factor), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": how.decay if decays else 0.0,
            "rate_factor": factor,
        }
        for (_, decays, factor), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _factor(how: OptimiserSection, name: str) -> float:
    parts = name.split(".")
    return next((float(factor) for key, factor in how.rates.items() if key in parts), 1.0)


def sam_of(how: OptimiserSection, optimiser: Optimizer, named: Named) -> Sam | None:
    """The sharpness-aware climb of a recipe; None where there is none."""
    if how.sam == "none":
        return None
    return Sam(optimiser, named, how.sam, how.rho, how.eta)
