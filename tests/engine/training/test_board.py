"""Events become curves."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from engine.errors import TrainingError
from engine.training.board import scalars, with_board
from tests.engine.training.test_trainer import Listener


def test_numbers_have_names() -> None:
    step = {"step": 5, "elapsed_s": 2.0, "loss": 0.5, "scale": None, "lr": 1e-3}
    assert scalars("step", step) == [("train/loss", 0.5), ("train/lr", 1e-3)]
    validation = {"step": 5, "queries": {"360 known": {"R@1<25m": 0.25}}, "pairs": []}
    assert scalars("validation", validation) == [("360 known/R@1<25m", 0.25)]
    assert scalars("checkpoint", {"step": 5, "file": "x"}) == []


def test_without_tensorboard_it_says_how_to_get_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard"):
        listener = Listener()
        with_board(listener, tmp_path)("step", step=1, loss=0.5)
        assert listener.named("step") and list((tmp_path / "tensorboard").glob("events*"))
    else:
        with pytest.raises(TrainingError, match="pip install tensorboard"):
            with_board(Listener(), tmp_path)
