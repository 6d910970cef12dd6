"""What a training leaves behind when it is broken off anywhere: during a scan, a climb, by a process that is gone."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.engine.training.networks  # noqa: F401 - registers
from engine.errors import TrainingError
from engine.files import only_one
from engine.training.checkpoints import load_checkpoint
from engine.training.command import LOCK, main
from engine.training.control import STOP
from engine.training.gradients import Gradients, Outcome
from engine.training.ranks import LostRankError, Ranks
from engine.training.recipes import Recipe, load_recipe, recipe_from_dict, recipe_toml
from engine.training.trainer import CHECKPOINT, Trainer
from tests.engine.training.test_trainer import Listener


def quick(**changes: Any) -> Recipe:
    return recipe_from_dict(
        {
            "name": "quick",
            "network": {"name": "test-patches"},
            "tile": {
                "projection": "plain",
                "extent_m": 64.0,
                "pixels": 128,
                "height": 32,
                "width": 32,
            },
            "canvas": {"height": 32, "width": 64, "query_subshifts": 1},
            "query": {"heading": "north", "full_share": 1.0, "tilted_share": 0.0},
            "batch": {"size": 6, "workers": 0},
            "loss": {"name": "info-nce"},
            "optimiser": {"steps": 20, "warmup": 2, "precision": "fp32"},
            "validation": {"queries": 0},
            **changes,
        }
    )


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("mining", ["neighbours", "clusters", "partial"])
def test_stopped_in_the_middle_of_a_scan(towns: Path, tmp_path: Path, mining: str) -> None:
    options: dict[str, Any] = {
        "neighbours": {"select": 2, "range": 4, "scan_every": 1},
        "clusters": {"raise_after": 6},
        "partial": {"negatives": 2, "queries": 6, "soft_m": 5.0, "positive_m": 2.0},
    }[mining]
    recipe = quick(mining={"name": mining, **options})
    whole = Trainer(recipe, towns, tmp_path / "whole", emit=Listener())
    whole.run()
    out = tmp_path / "parts"
    scans: list[int] = []

    def sitting() -> Trainer:
        trainer = Trainer(recipe, towns, out, emit=Listener())
        if (out / CHECKPOINT).exists():
            trainer.resume(out / CHECKPOINT)
        make = trainer._make_sampler

        def stopping(plan: Any) -> Any:
            sampler = make(plan)
            tell = sampler.update

            def update(*told: Any) -> None:
                if trainer.learner.model.training:
                    return tell(*told)
                scans.append(1)
                if len(scans) in (2, 5, 9):
                    (out / STOP).touch()
                return tell(*told)

            sampler.update = update  # pyright: ignore[reportAttributeAccessIssue]
            return sampler

        trainer._make_sampler = stopping
        if trainer.sampler is not None:
            held, again = trainer.sampler.state(), stopping(trainer._plan())
            again.load(held)
            trainer.sampler = again
        return trainer

    trainer = sitting()
    while trainer.run() == "stopped":
        (out / STOP).unlink()
        trainer = sitting()
    assert len(scans) > 9
    assert same(whole.model.state_dict(), trainer.model.state_dict())


def test_a_climb_that_fails_is_come_back_from(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = quick(optimiser={"steps": 4, "warmup": 1, "precision": "fp32", "sam": "asam"})
    trainer = Trainer(recipe, towns, tmp_path, emit=Listener())
    real = Gradients.__call__
    seen: list[dict[str, torch.Tensor]] = []

    def failing(self: Gradients, *args: Any, again: bool = False) -> Outcome:
        if not again:
            seen.append(state(trainer))
        elif len(seen) == 3:
            raise MemoryError
        return real(self, *args, again=again)

    monkeypatch.setattr(Gradients, "__call__", failing)
    with pytest.raises(TrainingError, match="memory"):
        trainer.run()
    left = load_checkpoint(tmp_path / CHECKPOINT)
    assert left["progress"]["step"] == 2
    assert same(seen[-1], left["model"])


def test_a_gradient_that_is_no_number_moves_nothing(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(quick(), towns, tmp_path, emit=Listener(), checkpoint_s=0.0)
    real = Gradients.__call__

    def sick(self: Gradients, *args: Any, **options: Any) -> Outcome:
        outcome = real(self, *args, **options)
        if trainer.progress.step == 2:
            next(trainer.model.parameters()).grad.view(-1)[0] = torch.nan  # pyright: ignore[reportOptionalMemberAccess]
        return outcome

    monkeypatch.setattr(Gradients, "__call__", sick)
    with pytest.raises(TrainingError, match="gradient of the loss is no longer a number"):
        trainer.run()
    left = load_checkpoint(tmp_path / CHECKPOINT)
    assert left["progress"]["step"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in left["model"].values())


def test_weights_that_are_no_numbers_take_no_good_ones_place(towns: Path, tmp_path: Path) -> None:
    Trainer(quick(optimiser={"steps": 2}), towns, tmp_path, emit=Listener()).run()
    trainer = Trainer(quick(optimiser={"steps": 1, "warmup": 0, "rate": 1e38}), towns, tmp_path)
    with pytest.raises(TrainingError, match="no numbers"):
        trainer.run()
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] == 2


def test_a_worker_that_is_gone(towns: Path, tmp_path: Path) -> None:
    def kill(event: str, **values: Any) -> None:
        if event == "step" and values["step"] == 2:
            multiprocessing.active_children()[0].kill()

    recipe = quick(batch={"size": 6, "workers": 1}, optimiser={"steps": 100_000})
    with pytest.raises(TrainingError, match="process that makes batches has ended"):
        Trainer(recipe, towns, tmp_path, emit=kill, report_every=1).run()
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] >= 2


def test_no_rank_asks_the_others_when_its_own_clock_says(towns: Path, tmp_path: Path) -> None:
    class Counting(Ranks):
        asked = 0

        def agree(self, value: float) -> float:
            self.asked += 1
            return value

    asked = []
    for every in (1, 1000):
        ranks = Counting()
        trainer = Trainer(
            quick(), towns, tmp_path / str(every), minutes=100.0, emit=Listener(), ranks=ranks, report_every=every,
        )  # fmt: skip
        runner = trainer.learner.open()
        plan = trainer._begin_epoch(runner)
        assert plan is not None
        trainer._epoch(plan)
        asked.append(ranks.asked)
    assert asked[0] == asked[1]


def test_one_training_in_a_folder_and_of_one_recipe(
    towns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    files = tmp_path / "one.toml", tmp_path / "other.toml"
    one = quick(optimiser={"steps": 2})
    files[0].write_text(recipe_toml(one))
    files[1].write_text(recipe_toml(replace(one, seed=7)))

    def command(file: Path) -> list[str]:
        given = f"train --device cpu --resume --recipe {file} --data {towns} --out {out}"
        return given.split()

    assert main(command(files[0])) == 0
    with pytest.raises(TrainingError, match="another recipe"):
        main(command(files[1]))
    assert load_recipe(out / "recipe.toml").seed == 1
    (out / STOP).touch()
    with only_one(out / LOCK), pytest.raises(TrainingError, match="another training is at work"):
        main(command(files[0]))
    assert (out / STOP).exists()
    for wrong in ("0", "nan", "-1"):
        with pytest.raises(SystemExit):
            main([*command(files[0]), "--minutes", wrong])


def test_the_rank_that_knows_what_went_wrong_says_it(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "quick.toml", tmp_path / "out"
    recipe.write_text(recipe_toml(quick(optimiser={"steps": 2})))
    command = f"train --device cpu --recipe {recipe} --data {towns} --out {out}".split()

    class OfTwo(Ranks):
        def __init__(self, rank: int) -> None:
            super().__init__(rank, 2)

        def wait(self) -> None:
            pass

    def told(error: Exception, rank: int, *, already: bool = False) -> list[str]:
        def run(self: Trainer) -> str:
            if already:
                self.emit("error", problem="another's", remedy="")
                self.emit("run")
            raise error

        monkeypatch.setattr(Trainer, "run", run)
        monkeypatch.setattr("engine.training.command.join_ranks", lambda name: (OfTwo(rank), name))
        with pytest.raises(type(error)):
            main(command)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line["problem"] for line in lines if line["event"] == "error"]

    lost = LostRankError("another process has ended")
    assert told(lost, 0) == ["another process has ended"]
    assert told(TrainingError("mine alone"), 1) == ["mine alone"]
    # What an earlier sitting said does not count.
    assert told(lost, 0) == ["another process has ended"]
    assert told(lost, 0, already=True) == ["another's"]
    assert told(lost, 1) == []
