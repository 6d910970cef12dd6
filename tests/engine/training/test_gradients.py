"""A batch's gradient is the same however the batch is cut up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.engine.training.networks  # noqa: F401 - registers
from engine.networks import build_network
from engine.training.batch import Batch, make_batch
from engine.training.branches import BranchRunner
from engine.training.cache import open_towns
from engine.training.checkpoints import load_checkpoint
from engine.training.gradients import Gradients
from engine.training.losses import build_loss
from engine.training.ranks import Ranks
from engine.training.recipes import Recipe, recipe_from_dict, recipe_toml
from engine.training.towns import TownPairs
from engine.training.trainer import CHECKPOINT, Trainer

ROOT = Path(__file__).resolve().parents[3]


def patches(**network: Any) -> Recipe:
    return recipe_from_dict(
        {
            "name": "patches",
            "network": {"name": "test-patches", **network},
            "tile": {
                "projection": "plain",
                "pixels": 64,
                "extent_m": 64.0,
                "height": 64,
                "width": 64,
            },
            "canvas": {"height": 32, "width": 128, "query_subshifts": 1},
            "query": {"heading": "north"},
            "batch": {"size": 8, "workers": 0},
            "loss": {"name": "info-nce"},
            "optimiser": {"steps": 4, "warmup": 1, "precision": "fp32"},
            "validation": {"every": 1000, "queries": 3, "stride_m": 25.0, "pictures": 0},
        }
    )


def gradient(recipe: Recipe, batch: Batch, chunk: int) -> tuple[list[torch.Tensor], float]:
    torch.manual_seed(3)
    model = build_network(recipe.network.name, recipe.network_options)
    loss = build_loss(recipe.loss.name, recipe.loss.options)
    if loss.learns_scale:
        model.learn_scale(loss.start_scale)
    runner = BranchRunner(model, torch.device("cpu"))
    torch.manual_seed(4)
    outcome = Gradients(model, loss, runner, Ranks(), chunk=chunk)(batch)
    runner.close()
    return [p.grad for p in model.parameters() if p.grad is not None], outcome.loss


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_add_up(towns: Path, chunk: int) -> None:
    recipe = patches()
    batch = make_batch(TownPairs(open_towns(towns, "train"), recipe), 1, 0, 8)
    whole, loss = gradient(recipe, batch, 0)
    cut, cut_loss = gradient(recipe, batch, chunk)
    assert cut_loss == pytest.approx(loss, rel=1e-6)
    assert len(whole) == len(cut) == 13
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_chance_is_the_same_in_both_passes(towns: Path) -> None:
    """With dropout the second pass must drop what the first did: then the loss goes down along its gradient."""
    recipe = patches(drop=0.5)
    batch = make_batch(TownPairs(open_towns(towns, "train"), recipe), 1, 0, 8)

    def loss_after(step: float) -> float:
        torch.manual_seed(3)
        model = build_network(recipe.network.name, recipe.network_options)
        model.learn_scale(14.0)
        loss = build_loss("info-nce", {})
        runner = BranchRunner(model, torch.device("cpu"))
        make = Gradients(model, loss, runner, Ranks(), chunk=2)
        torch.manual_seed(4)
        make(batch)
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= step * parameter.grad
        torch.manual_seed(4)
        value = make(batch).loss
        runner.close()
        return value

    slope = (loss_after(-1e-5) - loss_after(1e-5)) / 2e-5
    torch.manual_seed(3)
    squared = sum(float((g**2).sum()) for g in gradient(recipe, batch, 2)[0])
    assert slope == pytest.approx(squared, rel=0.05)


def test_norms_move_once(towns: Path, tiny: Recipe) -> None:
    batch = make_batch(TownPairs(open_towns(towns, "train"), tiny), 1, 0, 6)
    seen = []
    for again in (False, True):
        torch.manual_seed(3)
        model = build_network(tiny.network.name, tiny.network_options)
        model.learn_scale(14.0)
        runner = BranchRunner(model, torch.device("cpu"))
        make = Gradients(model, build_loss("sector-info-nce"), runner, Ranks(), azimuth_blocks=32)
        make(batch)
        if again:
            make(batch, again=True)
        runner.close()
        seen.append({k: v.clone() for k, v in model.state_dict().items() if "running" in k})
    assert any((value != 0).any() for name, value in seen[0].items() if "mean" in name)
    for name, value in seen[0].items():
        assert torch.equal(value, seen[1][name]), name


@pytest.mark.parametrize("chunk", [0, 2])
def test_two_processes_train_as_one_of_twice_the_batch(
    towns: Path, tmp_path: Path, chunk: int
) -> None:
    recipe = patches()
    half = replace(recipe, batch=replace(recipe.batch, size=4, chunk=chunk))
    file = tmp_path / "patches.toml"
    file.write_text(recipe_toml(half))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "tests.engine.training.ranks_main", str(towns), str(tmp_path / "two"), str(file),
        ],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events].count("run") == 1  # one of them speaks for both
    Trainer(recipe, towns, tmp_path / "one", emit=lambda *_, **__: None).run()
    one, two = (load_checkpoint(tmp_path / name / CHECKPOINT) for name in ("one", "two"))
    assert one["progress"]["step"] == two["progress"]["step"] == 4
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-4, atol=2e-6)
    torch.manual_seed(recipe.seed)
    fresh = build_network(recipe.network.name, recipe.network_options).state_dict()
    moved = max(float((one["model"][n] - v).abs().max()) for n, v in fresh.items())
    assert moved > 1e-3
