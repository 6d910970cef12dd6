"""Between what numbers a recipe's may be; what several say together is checked in :mod:`engine.training.recipes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import TrainingError

_SIDE = (1, 16_384)
_SHARE = (0, 1)
_ANY = (0, None)

ABOVE_0 = (
    "tile.extent_m", "tile.extents_m", "tile.index_stride_m", "tile.std", "canvas.std", "query.aspects",
    "augment.blur_sigma", "optimiser.rho", "validation.stride_m", "validation.within_m", "data.area_km2",
)  # fmt: skip
"""Numbers, or lists of them, that must be more than nothing."""

LIMITS: Mapping[str, tuple[float, float | None]] = {
    "seed": (0, 2**63 - 1),
    "data.towns": _ANY, "data.validation": _ANY, "data.pairs": (1, None), "data.validation_pairs": (1, None),
    "network.azimuth_blocks": (1, None),
    "tile.height": _SIDE, "tile.width": _SIDE, "tile.pixels": _SIDE,
    "canvas.height": _SIDE, "canvas.width": _SIDE, "canvas.query_subshifts": (1, None),
    "canvas.top_deg": (-90, 90), "canvas.bottom_deg": (-90, 90),
    "query.full_share": _SHARE, "query.tilted_share": _SHARE, "query.tilt_std": _ANY, "query.pitch_std": _ANY,
    "query.pitch_max": (0, 90), "query.roll_std": _ANY, "query.fov_error": _SHARE,
    "batch.size": (2, 1_000_000), "batch.chunk": _ANY, "batch.towns": _ANY, "batch.group_radius_m": _ANY,
    "batch.shift_m": _ANY, "batch.workers": (0, 1024),
    "photometric.gamma": _ANY, "photometric.colour": _ANY, "photometric.contrast": _ANY,
    "photometric.brightness": _ANY, "photometric.noise": _ANY, "photometric.blur_share": _SHARE,
    "augment.brightness": _ANY, "augment.contrast": _ANY, "augment.saturation": _ANY, "augment.hue": (0, 0.5),
    "augment.jitter_share": _SHARE, "augment.blur_share": _SHARE, "augment.occlude_share": _SHARE,
    "augment.random_operations": (0, 100), "augment.occlude_holes": (0, 1000),
    "loss.exclude_m": _ANY,
    "optimiser.rate": _ANY, "optimiser.final": _ANY, "optimiser.drops": _SHARE, "optimiser.decay": _ANY,
    "optimiser.momentum": _SHARE, "optimiser.eta": _ANY, "optimiser.loss_rate": _ANY, "optimiser.warmup": _ANY,
    "optimiser.clip": _ANY, "optimiser.steps": (1, None), "optimiser.average": _SHARE,
    "validation.every": (1, None), "validation.queries": _ANY, "validation.pictures": _ANY,
}  # fmt: skip
"""The least and the most, both allowed; None: any."""


def check_limits(plain: Mapping[str, Any]) -> None:
    """Check a recipe as plain values.

    Raises:
        TrainingError: naming the key that is beyond its limits.
    """
    for key in ABOVE_0:
        if any(value <= 0 for value in _values(plain, key)):
            raise TrainingError(f'"{key}" must be above 0')
    for key, (least, most) in LIMITS.items():
        for value in _values(plain, key):
            if value < least or (most is not None and value > most):
                limits = f"at least {least}" if most is None else f"from {least} to {most}"
                raise TrainingError(f'"{key}" must be {limits}')


def _values(plain: Mapping[str, Any], key: str) -> list[float]:
    section, _, name = key.rpartition(".")
    value = (plain[section] if section else plain)[name]
    return value if isinstance(value, list) else [value]
