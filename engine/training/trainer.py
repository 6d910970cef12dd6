"""The training loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import NadirError, TrainingError
from engine.networks import DualEncoder
from engine.training.average import WeightAverage
from engine.training.batch import Batch, Indices, PairSource, PhotoSource
from engine.training.branches import BranchRunner
from engine.training.checkpoints import load_checkpoint, save_checkpoint
from engine.training.control import Control
from engine.training.events import Emit, to_stdout
from engine.training.gradients import Outcome
from engine.training.learner import Learner
from engine.training.loader import LostWorkerError, batches, told_of_workers
from engine.training.memory import peak_bytes
from engine.training.mining import Classes, Sampler, build_sampler
from engine.training.ranks import Ranks
from engine.training.recipes import Recipe
from engine.training.schedules import learning_rate
from engine.training.sources import SourcePlan, plan_source
from engine.training.validate import Validation, open_validation, validation_town
from engine.training.wanted import kept_towns

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
_REPORT_S = 5.0

End = Literal["done", "stopped"]


@dataclass
class Progress:
    """How far a training is; all of it is in the checkpoint.

    ``epoch_start`` and ``epoch_end`` are the steps between which the data at hand is used, ``names`` what it was.
    ``validation`` is the town validated on; empty: the first there is, as in checkpoints of earlier versions.
    """

    step: int = 0
    elapsed_s: float = 0.0
    epoch: int = 0
    epoch_start: int = 0
    epoch_end: int = 0
    names: list[str] = field(default_factory=list)
    validation: str = ""
    best: float = -1.0
    validations: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Trains one model by one recipe.

    Args:
        recipe: what to do.
        data: folder of the pairs.
        out: folder for checkpoints.
        device: where to compute.
        minutes: a budget of wall-clock time, over all sittings, that the schedule follows instead of the recipe's
            number of steps.
        emit: who is told.
        checkpoint_s: seconds between checkpoints.
        report_every: steps between reports; there is one every five seconds at least.
        ranks: the processes that train together.
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
        ranks: Ranks | None = None,
    ) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.device = torch.device(device)
        self.budget_s = None if minutes is None else minutes * 60.0
        self.emit = emit
        self.checkpoint_s = checkpoint_s
        self.report_every = report_every
        self.ranks = ranks or Ranks()
        self.control = Control(out)
        self.progress = Progress()
        self.learner = Learner(recipe, self.device, self.ranks, self._classes)
        self.sampler: Sampler | None = None
        self._orders: list[Indices] | None = None
        self._validation: Validation | None = None

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
        self.progress = Progress(**state["progress"])
        if state["orders"] is not None:
            self._orders = [order.numpy() for order in state["orders"]]
        if state["sampler"] is not None:
            sampler = self.sampler = self._make_sampler(self._plan())
            sampler.load(state["sampler"])
        self.learner.load(state)

    @property
    def model(self) -> DualEncoder:
        """What is trained."""
        return self.learner.model

    @property
    def average(self) -> WeightAverage:
        """The average of its weights."""
        return self.learner.average

    def run(self) -> End:
        """Train to the end, or until somebody asks to stop; the checkpoint is written either way.

        Raises:
            TrainingError, DatasetError: when it cannot go on; what was learned is in the checkpoint.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        end: End = "done"
        runner = self.learner.open()
        try:
            self._announce()
            if self.progress.step == 0:
                self.learner.start_from(self._pictures)
            while self.share() < 1.0 and end == "done":
                plan = self._begin_epoch(runner)
                with told_of_workers():
                    end = "stopped" if plan is None else self._epoch(plan)
            if end == "done" and not self._validated():
                self._validate()
        except (NadirError, KeyboardInterrupt, MemoryError, OSError) as error:
            # A terminal's Ctrl+C also reaches a worker that has not come to the point of passing it over.
            if isinstance(error, LostWorkerError) and self.control.wanted() == "stop":
                end = "stopped"
            else:
                self._save_what_is_left()
                raise
        finally:
            self.learner.close()
        self._save(CHECKPOINT)
        self._tell(
            end,
            step=self.progress.step,
            elapsed_s=round(self.progress.elapsed_s, 1),
            file=str(self.out / CHECKPOINT),
        )
        return end

    def share(self) -> float:
        """How much of the schedule is behind, 0..1."""
        if self.budget_s is not None:
            return min(1.0, self.ranks.agree(self.progress.elapsed_s) / self.budget_s)
        return min(1.0, self.progress.step / self.recipe.optimiser.steps)

    def rate(self) -> float:
        """The learning rate of the step to come."""
        return learning_rate(self.recipe.optimiser, self.progress.step, self.share())

    def _epoch(self, plan: SourcePlan) -> End:
        recipe, progress = self.recipe, self.progress
        last_save = time.perf_counter()
        window = _Window()
        source = batches(
            plan,
            progress.step,
            progress.epoch_end,
            self.device,
            orders=None
            if self._orders is None
            else self._orders[progress.step - progress.epoch_start :],
            part=self.ranks.part,
            channels_last=recipe.optimiser.channels_last,
        )
        clock = time.perf_counter()
        for batch in source:
            waited = time.perf_counter() - clock
            rate = self.rate()
            outcome = self._step(batch, rate)
            if self.sampler is not None:
                self.sampler.update(
                    batch.pairs.cpu().numpy(), outcome.query.cpu(), outcome.reference.cpu()
                )
            progress.step += 1
            now = time.perf_counter()
            progress.elapsed_s += now - clock
            window.add(outcome.loss, waited, now - clock)
            clock = now
            share = self.share()
            # Every rank by its own clock: nothing in here may wait for the others.
            if progress.step % self.report_every == 0 or window.seconds > _REPORT_S:
                self._report(window, rate, share)
                window = _Window()
            if progress.step % recipe.validation.every == 0:
                self._validate()
                clock = time.perf_counter()
            if share >= 1.0:
                return "done"
            # Asked once a step; every rank must hear the same.
            wish = self._wish()
            if wish == 1:
                wish = self._pause()
            if wish == 2:
                return "stopped"
            if now - last_save > self.checkpoint_s:
                self._save(CHECKPOINT)
                last_save = time.perf_counter()
            clock = time.perf_counter() if wish else clock
        return "done"

    def _step(self, batch: Batch, rate: float) -> Outcome:
        try:
            return self.learner.step(batch, rate)
        except TrainingError as error:
            where = f"{error.problem}, at step {self.progress.step + 1}"
            raise TrainingError(where, error.path, error.remedy) from error

    def _wish(self) -> float:
        """What somebody outside wants, as all ranks agree: 0 to go on, 1 to pause, 2 to stop."""
        return self.ranks.agree({"go": 0, "pause": 1, "stop": 2}[self.control.wanted()])

    def _plan(self) -> SourcePlan:
        return plan_source(self.recipe, self.data, tuple(self.progress.names))

    def _begin_epoch(self, runner: BranchRunner) -> SourcePlan | None:
        """What to train on; at the start of an epoch the data folder is looked through anew.

        None: somebody wants to stop before the epoch could be planned; nothing has changed.
        """
        progress, recipe = self.progress, self.recipe
        if progress.step < progress.epoch_end:
            return self._plan()
        # A town of the first epoch is the town of its seed to the end, whatever is rendered beside it.
        kept = kept_towns(vars(progress), recipe.data, self.data)
        plan = plan_source(recipe, self.data, kept=kept)
        source = plan.open()
        size = recipe.batch.size * self.ranks.count
        count = max(1, len(source) // size)
        if recipe.mining.name != "drawn":
            sampler = self.sampler or self._make_sampler(plan)
            before = sampler.state()
            if not self._scan(sampler, source, runner, progress.epoch + 1):
                sampler.load(before)
                return None
            self.sampler = sampler
            self._orders = orders = sampler.epoch(progress.epoch + 1)
            count = len(orders)
        progress.epoch += 1
        if not progress.names:
            progress.validation = validation_town(recipe, self.data)
        progress.names = list(plan.names)
        progress.epoch_start = progress.step
        progress.epoch_end = progress.step + count
        if self.budget_s is None:
            progress.epoch_end = min(progress.epoch_end, recipe.optimiser.steps)
        return plan

    def _scan(self, sampler: Sampler, source: PairSource, runner: BranchRunner, epoch: int) -> bool:
        """Tell a sampler that wants it how the weights of now describe pairs; False when interrupted by a stop.

        An epoch planned on half a scan would not be the uninterrupted training's.
        """
        recipe = self.recipe
        wanted = sampler.wanted(epoch)
        size = recipe.batch.chunk or recipe.batch.size
        self.model.eval()
        for first in range(0, len(wanted), size):
            if self._wish() == 2:
                return False
            pairs = wanted[first : first + size]
            rng = np.random.default_rng((recipe.seed, epoch, first))
            batch = _look(source, pairs, rng).to(
                self.device, channels_last=recipe.optimiser.channels_last
            )
            query, reference = runner.forward(batch.canvases, batch.tiles, keep=False)
            sampler.update(pairs, query.cpu(), reference.cpu())
        return True

    def _make_sampler(self, plan: SourcePlan) -> Sampler:
        recipe, source = self.recipe, plan.open()
        photos = source if isinstance(source, PhotoSource) else None
        return build_sampler(
            recipe.mining.name,
            recipe.mining.options,
            positions=source.positions(),
            batch_size=recipe.batch.size * self.ranks.count,
            seed=recipe.seed,
            classes=photos.classes if photos else None,
            queries=photos.queries if photos else 0,
        )

    def _classes(self) -> Classes | None:
        source = self._plan().open()
        return source.classes if isinstance(source, PhotoSource) else None

    def _pictures(self, branch: nn.Module) -> Iterator[Tensor]:
        """Pictures of the data for one branch, any, none twice, in pieces that fit the memory."""
        recipe, source = self.recipe, self._plan().open()
        rng = np.random.default_rng((recipe.seed, 0))
        order = rng.permutation(len(source))
        size = recipe.batch.chunk or recipe.batch.size
        for first in range(0, len(order), size):
            batch = _look(source, order[first : first + size], rng)
            yield batch.canvases if branch is self.model.query else batch.tiles

    def _validated(self) -> bool:
        done = self.progress.validations
        return bool(done) and done[-1]["step"] == self.progress.step

    def _validate(self) -> None:
        """Measure the averaged weights on what is kept for that, where there is something; the first rank does it."""
        progress = self.progress
        if self.ranks.first:
            if self._validation is None:
                self._validation = open_validation(self.recipe, self.data, self.progress.validation)
            if self._validation is not None:
                measured = self._validation.measure(
                    self.average.model, pictures=self.out, step=progress.step
                )
                self._tell(
                    "validation",
                    step=progress.step,
                    elapsed_s=round(progress.elapsed_s, 1),
                    **measured,
                )
                kept = {k: v for k, v in measured.items() if k != "pairs"}
                progress.validations.append({"step": progress.step, **kept})
                firsts = [next(iter(values.values())) for values in measured["queries"].values()]
                score = sum(firsts) / len(firsts)
                if score >= progress.best:
                    progress.best = score
                    self._save(BEST)
        self.ranks.wait()

    def _pause(self) -> float:
        """Hold until nobody wants a pause any more; what is wanted then."""
        self._save(CHECKPOINT)
        self._tell("paused", step=self.progress.step)
        wish = 0.0
        if self.ranks.first:
            self.control.hold()
            wish = 2.0 if self.control.wanted() == "stop" else 0.0
        wish = self.ranks.agree(wish)
        if wish == 0.0:
            self._tell("resumed", step=self.progress.step)
            return 1.0
        return wish

    def _save_what_is_left(self) -> None:
        """A checkpoint of good weights after trouble, if it can be written; else the last one stands."""
        if self.progress.step:
            with contextlib.suppress(NadirError):
                self._save(CHECKPOINT)

    def _save(self, name: str) -> Path:
        path = self.out / name
        if not self.ranks.first:
            return path
        if not self.learner.sound():
            raise TrainingError(
                "the weights are no longer those of a whole step, or no numbers",
                None,
                "Go on from the last checkpoint by --resume; if it happens again, with a lower optimiser.rate",
            )
        orders = self._orders
        state = {
            "recipe": self.recipe.to_dict(),
            "sampler": None if self.sampler is None else self.sampler.state(),
            "orders": None if orders is None else [torch.from_numpy(order) for order in orders],
            "progress": vars(self.progress),
            **self.learner.state(),
        }
        save_checkpoint(path, state)
        self._tell("checkpoint", step=self.progress.step, file=str(path), best=name == BEST)
        return path

    def _announce(self) -> None:
        plan = self._plan()
        source = plan.open()
        self._tell(
            "run",
            recipe=self.recipe.to_dict(),
            device=str(self.device),
            processes=self.ranks.count,
            data=source.names,
            pairs=len(source),
            parameters=sum(p.numel() for p in self.model.parameters()),
            step=self.progress.step,
            steps=self.recipe.optimiser.steps if self.budget_s is None else None,
            minutes=None if self.budget_s is None else self.budget_s / 60,
        )

    def _tell(self, event: str, **values: Any) -> None:
        if self.ranks.first:
            self.emit(event, **values)

    def _report(self, window: _Window, rate: float, share: float) -> None:
        progress, scale = self.progress, self.model.logit_scale
        self._tell(
            "step",
            step=progress.step,
            loss=round(window.loss / window.steps, 4),
            scale=None if scale is None else round(float(scale.detach().exp()), 2),
            lr=round(rate, 9),
            share=round(share, 4),
            pairs_per_second=round(
                window.steps * self.recipe.batch.size * self.ranks.count / window.seconds, 1
            ),
            waiting=round(window.waited / window.seconds, 3),
            memory_bytes=self._memory(),
            elapsed_s=round(progress.elapsed_s, 1),
        )

    def _memory(self) -> int:
        """The most that was in use: on the GPU, or by this process and its workers."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_bytes()


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


def _look(source: PairSource, pairs: Indices, rng: np.random.Generator) -> Batch:
    """Some pairs, for whoever wants to see them; photos alone as they are."""
    return source.look(pairs) if isinstance(source, PhotoSource) else source.make(pairs, rng)


def _decisive(recipe: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe that decides the weights: what is said about it and how it is watched may change, and so may
    which towns there are.
    """
    kept = {
        key: value for key, value in recipe.items() if key not in ("name", "about", "validation")
    }
    data = {
        key: value
        for key, value in recipe["data"].items()
        if key not in ("towns", "pairs", "area_km2") and not key.startswith("validation")
    }
    batch = {k: v for k, v in recipe["batch"].items() if k not in ("workers", "chunk")}
    return {**kept, "data": data, "batch": batch}
