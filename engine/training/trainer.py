"""The training loop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.networks import build_network
from engine.training.average import WeightAverage
from engine.training.branches import BranchRunner
from engine.training.cache import find_training_towns, open_towns
from engine.training.checkpoints import load_checkpoint, save_checkpoint
from engine.training.events import Emit, to_stdout
from engine.training.loader import batches
from engine.training.losses import sector_info_nce
from engine.training.recipes import Recipe
from engine.training.validate import TownValidation

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


@dataclass
class Progress:
    """How far a training is; all of it is in the checkpoint.

    ``epoch_end`` is the step at which the data folder is looked through again, ``towns`` what it held.
    """

    step: int = 0
    elapsed_s: float = 0.0
    epoch_end: int = 0
    towns: list[str] = field(default_factory=list)
    best: float = -1.0
    validations: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Trains one model by one recipe.

    Args:
        recipe: what to do.
        data: folder of cached towns.
        out: folder for checkpoints.
        device: where to compute.
        minutes: a budget of wall-clock time, over all sittings, that the schedule follows instead of the recipe's
            number of steps.
        emit: who is told.
        checkpoint_s: seconds between checkpoints.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        *,
        device: str = "cpu",
        minutes: float | None = None,
        emit: Emit = to_stdout,
        checkpoint_s: float = 300.0,
        report_every: int = 50,
    ) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.device = torch.device(device)
        self.budget_s = None if minutes is None else minutes * 60.0
        self.emit = emit
        self.checkpoint_s = checkpoint_s
        self.report_every = report_every
        torch.manual_seed(recipe.seed)
        model = build_network(recipe.network.name, recipe.network_options)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.model.learn_scale(recipe.loss.scale)
        assert self.model.logit_scale is not None
        self._scale = self.model.logit_scale
        self.average = WeightAverage(self.model, recipe.optimiser.average)
        self.optimiser = torch.optim.AdamW(
            _groups(self.model, recipe.optimiser.decay), lr=recipe.optimiser.rate, fused=True
        )
        self.progress = Progress()
        self._validation: TownValidation | None = None

    def resume(self, path: Path) -> None:
        """Take up a training where a checkpoint left it.

        Raises:
            TrainingError: when it was made by another recipe.
        """
        state = load_checkpoint(path)
        if _decisive(state["recipe"]) != _decisive(self.recipe.to_dict()):
            raise TrainingError(
                "was made by another recipe",
                path,
                "Resume with the recipe it began with, or choose another folder",
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.progress = Progress(**state["progress"])
        torch.set_rng_state(state["rng"])

    def run(self) -> Path:
        """Train to the end; returns the last checkpoint's file."""
        self.out.mkdir(parents=True, exist_ok=True)
        recipe, progress = self.recipe, self.progress
        runner = BranchRunner(
            self.model.query,
            self.model.reference,
            self.device,
            bf16=recipe.optimiser.precision == "bf16",
        )
        self._announce()
        try:
            while self.share() < 1.0:
                towns = self._towns()
                self._epoch(towns, runner)
        except KeyboardInterrupt:
            self._save(CHECKPOINT)
            raise
        finally:
            runner.close()
        if not progress.validations or progress.validations[-1]["step"] != progress.step:
            self._validate()
        path = self._save(CHECKPOINT)
        self.emit(
            "done", step=progress.step, elapsed_s=round(progress.elapsed_s, 1), file=str(path)
        )
        return path

    def share(self) -> float:
        """How much of the schedule is behind, 0..1."""
        if self.budget_s is not None:
            return min(1.0, self.progress.elapsed_s / self.budget_s)
        return min(1.0, self.progress.step / self.recipe.optimiser.steps)

    def rate(self) -> float:
        """The learning rate of the step to come."""
        how = self.recipe.optimiser
        warm = min(1.0, (self.progress.step + 1) / max(1, how.warmup))
        cosine = (1 + math.cos(math.pi * self.share())) / 2
        return how.rate * warm * (how.final + (1 - how.final) * cosine)

    def _epoch(self, towns: list[Path], runner: BranchRunner) -> None:
        recipe, progress = self.recipe, self.progress
        last_save = time.perf_counter()
        window = _Window()
        source = batches(towns, recipe, progress.step, progress.epoch_end, self.device)
        clock = time.perf_counter()
        for batch in source:
            waited = time.perf_counter() - clock
            rate = self.rate()
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.model.train()
            query, reference = runner.forward(batch.canvases, batch.tiles)
            blocks = recipe.network.azimuth_blocks
            loss = sector_info_nce(
                query.unflatten(1, (blocks, -1)),
                reference.unflatten(1, (blocks, -1)),
                batch.seen,
                batch.shift,
                batch.too_near,
                self._scale.exp(),
                recipe.loss.smoothing,
            )
            loss.backward()
            runner.backward(query, reference)
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optimiser.clip)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                self._scale.clamp_(0.0, math.log(recipe.loss.scale_max))
            self.average.update(self.model)
            progress.step += 1
            now = time.perf_counter()
            progress.elapsed_s += now - clock
            window.add(float(loss.detach()), waited, now - clock)
            clock = now
            if progress.step % self.report_every == 0:
                self._report(window, rate)
                window = _Window()
            if progress.step % recipe.validation.every == 0:
                self._validate()
                clock = time.perf_counter()
            if self.share() >= 1.0:
                return
            if now - last_save > self.checkpoint_s:
                self._save(CHECKPOINT)
                last_save = time.perf_counter()

    def _towns(self) -> list[Path]:
        """The towns of the epoch at hand; at the start of one the data folder is looked through anew."""
        progress, recipe = self.progress, self.recipe
        if progress.step >= progress.epoch_end:
            towns = open_towns(self.data, "train")
            pairs = sum(map(len, towns))
            progress.towns = [town.name for town in towns]
            progress.epoch_end = progress.step + max(1, pairs // recipe.batch.size)
            if self.budget_s is None:
                progress.epoch_end = min(progress.epoch_end, recipe.optimiser.steps)
        return [self.data / name for name in progress.towns]

    def _validate(self) -> None:
        """Measure the averaged weights on the validation town, where there is one."""
        progress = self.progress
        if self._validation is None:
            towns = find_training_towns(self.data, "validation")
            if not towns:
                return
            self._validation = TownValidation(towns[0], self.recipe)
        bf16 = self.recipe.optimiser.precision == "bf16"
        measured = self._validation.measure(self.average.model, bf16=bf16)
        self.emit(
            "validation", step=progress.step, elapsed_s=round(progress.elapsed_s, 1), **measured
        )
        progress.validations.append({"step": progress.step, **measured})
        firsts = [next(iter(values.values())) for values in measured["queries"].values()]
        score = sum(firsts) / len(firsts)
        if score >= progress.best:
            progress.best = score
            self._save(BEST)

    def _save(self, name: str) -> Path:
        path = self.out / name
        save_checkpoint(
            path,
            {
                "recipe": self.recipe.to_dict(),
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "progress": vars(self.progress),
                "rng": torch.get_rng_state(),
            },
        )
        self.emit("checkpoint", step=self.progress.step, file=str(path))
        return path

    def _announce(self) -> None:
        towns = open_towns(self.data, "train")
        self.emit(
            "run",
            recipe=self.recipe.to_dict(),
            device=str(self.device),
            towns=len(towns),
            pairs=sum(map(len, towns)),
            parameters=sum(p.numel() for p in self.model.parameters()),
            step=self.progress.step,
            minutes=None if self.budget_s is None else self.budget_s / 60,
        )

    def _report(self, window: _Window, rate: float) -> None:
        progress = self.progress
        self.emit(
            "step",
            step=progress.step,
            loss=round(window.loss / window.steps, 4),
            scale=round(float(self._scale.detach().exp()), 2),
            lr=round(rate, 7),
            share=round(self.share(), 4),
            pairs_per_second=round(window.steps * self.recipe.batch.size / window.seconds, 1),
            waiting=round(window.waited / window.seconds, 3),
            elapsed_s=round(progress.elapsed_s, 1),
        )


@dataclass
class _Window:
    """What happened since the last report."""

    steps: int = 0
    loss: float = 0.0
    waited: float = 0.0
    seconds: float = 0.0

    def add(self, loss: float, waited: float, seconds: float) -> None:
        self.steps += 1
        self.loss += loss
        self.waited += waited
        self.seconds += seconds


def _decisive(recipe: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe that decides the weights: what is said about it and how it is watched may change."""
    kept = {
        key: value
        for key, value in recipe.items()
        if key not in ("name", "about", "data", "validation")
    }
    return {**kept, "batch": {k: v for k, v in recipe["batch"].items() if k != "workers"}}


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; norms, biases and the temperature do not."""
    weights: list[Tensor] = [p for p in model.parameters() if p.ndim > 1]
    rest: list[Tensor] = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
