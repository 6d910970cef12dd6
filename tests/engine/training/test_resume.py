"""A training that is killed and resumed equals one that was not, whatever its loss, mining and optimiser remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.training.recipes import recipe_from_dict
from engine.training.trainer import CHECKPOINT, Trainer

SMALL = {"negatives": 2, "queries": 6, "soft_m": 5.0, "positive_m": 2.0}
CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"name": "info-nce"}, {"name": "hard"}, {"sam": "asam", "rho": 1.0}),
    (
        {"name": "weighted-tuple"},
        {"name": "neighbours", "select": 2, "range": 4, "scan_every": 1},
        {"name": "sgd", "schedule": "linear"},
    ),
    (
        {"name": "decoupled-cross-entropy", "scale": 6.0},
        {"name": "clusters", "raise_after": 6},
        {"sam": "asam-samsung"},
    ),
    ({"name": "multi-similarity"}, {"name": "full", **SMALL}, {"name": "adam"}),
]


class KilledError(Exception):
    """Nobody asked."""


@pytest.mark.parametrize(("loss", "mining", "optimiser"), CASES)
def test_resumed_equals_uninterrupted(
    towns: Path,
    tmp_path: Path,
    loss: dict[str, Any],
    mining: dict[str, Any],
    optimiser: dict[str, Any],
) -> None:
    recipe = recipe_from_dict(
        {
            "name": "tiny",
            "network": {"azimuth_blocks": 32, "channels": [4, 6, 8, 8], "block_dim": 4},
            "batch": {"size": 6, "workers": 0},
            "optimiser": {"steps": 7, "warmup": 2, **optimiser},
            "loss": loss,
            "mining": mining,
            "validation": {"every": 1000, "queries": 3, "stride_m": 25.0},
        }
    )

    def silent(event: str, **values: Any) -> None:
        pass

    def killing(event: str, **values: Any) -> None:
        if event == "checkpoint" and values["step"] == 4:
            raise KilledError

    whole = Trainer(recipe, towns, tmp_path / "whole", emit=silent)
    whole.run()
    parts = tmp_path / "parts"
    with pytest.raises(KilledError):
        Trainer(recipe, towns, parts, emit=killing, checkpoint_s=0.0).run()
    resumed = Trainer(recipe, towns, parts, emit=silent)
    resumed.resume(parts / CHECKPOINT)
    assert resumed.progress.step == 4
    resumed.run()
    for one, other in ((whole.model, resumed.model), (whole.average.model, resumed.average.model)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
