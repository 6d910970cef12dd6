"""Losses, one family a file, each by name. Importing this package registers them all."""

from engine.training.losses import (
    cosface,
    info_nce,
    labelled,
    sector,
    soft_triplet,
    statewide,
    street,
    tuples,
)
from engine.training.losses.base import (
    Loss,
    LossContext,
    build_loss,
    loss_names,
    loss_options,
    register_loss,
)
from engine.training.losses.sector import sector_info_nce, shift_scores, shift_targets

__all__ = [
    "Loss",
    "LossContext",
    "build_loss",
    "cosface",
    "info_nce",
    "labelled",
    "loss_names",
    "loss_options",
    "register_loss",
    "sector",
    "sector_info_nce",
    "shift_scores",
    "shift_targets",
    "soft_triplet",
    "statewide",
    "street",
    "tuples",
]
