"""Losses, one family a file, each by name. Importing this package registers them all."""

from engine.training.losses.base import (
    Loss,
    LossContext,
    build_loss,
    loss_names,
    register_loss,
)
from engine.training.losses.sector import (
    SectorInfoNCE,
    sector_info_nce,
    shift_scores,
    shift_targets,
)

__all__ = [
    "Loss",
    "LossContext",
    "SectorInfoNCE",
    "build_loss",
    "loss_names",
    "register_loss",
    "sector_info_nce",
    "shift_scores",
    "shift_targets",
]
