"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from engine.errors import NadirError, TrainingError
from engine.networks import DualEncoder, build_network
from engine.networks.checkpoints import read_checkpoint
from engine.networks.pretrained import load_pretrained
from engine.training.average import WeightAverage
from engine.training.batch import Batch, Indices, PairSource
from engine.training.branches import BranchRunner
from engine.training.checkpoints import load_checkpoint, save_checkpoint
from engine.training.control import Control
from engine.training.events import Emit, to_stdout
from engine.training.gradients import Gradients, Outcome
from engine.training.loader import batches
from engine.training.losses import build_loss
from engine.training.memory import peak_bytes
from engine.training.mining import Sampler, build_sampler
from engine.training.optimisers import Sam, build_optimiser, sam_of
from engine.training.ranks import Ranks
from engine.training.recipes import Recipe
from engine.training.schedules import learning_rate
from engine.training.sources import SourcePlan, plan_source
from engine.training.validate import Validation, open_validation

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
_REPORT_S = 5.0

End = Literal["done", "stopped"]


@dataclass
class Progress:
    """How far a training is; all of it is in the checkpoint.

    ``epoch_start`` and ``epoch_end`` are the steps between which the data at hand is used, ``names`` what it was.
    """

    step: int = 0
    elapsed_s: float = 0.0
    epoch: int = 0
    epoch_start: int = 0
    epoch_end: int = 0
    names: list[str] = field(default_factory=list)
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
        how = recipe.optimiser
        torch.manual_seed(recipe.seed)
        model = build_network(recipe.network.name, recipe.network_options)
        if recipe.network.pretrained:
            load_pretrained(model, read_checkpoint(Path(recipe.network.pretrained)))
        self.loss = build_loss(recipe.loss.name, recipe.loss.options).to(self.device)
        if self.loss.learns_scale:
            model.learn_scale(self.loss.start_scale)
        _check_blocks(model.query, recipe)
        if self.device.type == "cuda" and self.ranks.count > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        layout = torch.channels_last if how.channels_last else torch.preserve_format
        moved: Any = model.to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.model: DualEncoder = moved
        self.average = WeightAverage(self.model, how.average)
        named = [*self.model.named_parameters(), *self.loss.named_parameters(prefix="loss")]
        self.optimiser = build_optimiser(how, named)
        self.sam: Sam | None = sam_of(how, self.optimiser, named)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=how.precision == "fp16")
        self.sampler: Sampler | None = None
        self._orders: list[Indices] | None = None
        self.progress = Progress()
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
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        if state["orders"] is not None:
            self._orders = [order.numpy() for order in state["orders"]]
        if state["sampler"] is not None:
            sampler = self.sampler = self._make_sampler(self._plan())
            sampler.load(state["sampler"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)

    def run(self) -> End:
        """Train to the end, or until somebody asks to stop; the checkpoint is written either way.

        Raises:
            TrainingError, DatasetError: when it cannot go on; what was learned is in the checkpoint.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        how = self.recipe.optimiser
        runner = BranchRunner(self.model, self.device, precision=how.precision, compile=how.compile)
        gradients = Gradients(
            self.model,
            self.loss,
            runner,
            self.ranks,
            azimuth_blocks=self.recipe.network.azimuth_blocks,
            chunk=self.recipe.batch.chunk,
            exclude=self.recipe.loss.exclude_m > 0,
        )
        end: End = "done"
        try:
            self._announce()
            while self.share() < 1.0 and end == "done":
                end = self._epoch(self._begin_epoch(runner), gradients)
            if end == "done" and not self._validated():
                self._validate()
        except (NadirError, KeyboardInterrupt):
            self._save_what_is_left()
            raise
        finally:
            runner.close()
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

    def _epoch(self, plan: SourcePlan, gradients: Gradients) -> End:
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
            outcome = self._within_memory(lambda: self._step(batch, rate, gradients))  # noqa: B023
            if self.sampler is not None:
                self.sampler.update(
                    batch.pairs.cpu().numpy(), outcome.query.cpu(), outcome.reference.cpu()
                )
            progress.step += 1
            now = time.perf_counter()
            progress.elapsed_s += now - clock
            window.add(outcome.loss, waited, now - clock)
            clock = now
            if progress.step % self.report_every == 0 or window.seconds > _REPORT_S:
                self._report(window, rate)
                window = _Window()
            if progress.step % recipe.validation.every == 0:
                self._validate()
                clock = time.perf_counter()
            if self.share() >= 1.0:
                return "done"
            # Asked once a step; every rank must hear the same.
            wish = self.ranks.agree({"go": 0, "pause": 1, "stop": 2}[self.control.wanted()])
            if wish == 1:
                wish = self._pause()
            if wish == 2:
                return "stopped"
            if now - last_save > self.checkpoint_s:
                self._save(CHECKPOINT)
                last_save = time.perf_counter()
            clock = time.perf_counter() if wish else clock
        return "done"

    def _step(self, batch: Batch, rate: float, gradients: Gradients) -> Outcome:
        """One move of the weights."""
        how = self.recipe.optimiser
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
        self.model.train()
        self.loss.train()
        outcome = gradients(batch, self._factor())
        if not math.isfinite(outcome.loss):
            raise TrainingError(
                f"the loss is no longer a number, at step {self.progress.step + 1}",
                None,
                "Train with a lower optimiser.rate, or with precision fp32",
            )
        self._tame(how.clip)
        if self.sam is not None:
            self.sam.first_step()
            gradients(batch, self._factor(), again=True)
            self._tame(how.clip)
            self.sam.second_step()
        else:
            self.scaler.step(self.optimiser)
        self.scaler.update()
        scale = self.model.logit_scale
        if scale is not None:
            with torch.no_grad():
                scale.clamp_(0.0, math.log(self.loss.scale_limit))
        self.average.update(self.model)
        return outcome

    def _factor(self) -> float:
        """What gradients are multiplied by to survive fp16."""
        if not self.scaler.is_enabled():
            return 1.0
        return float(self.scaler.scale(torch.ones((), device=self.device)))

    def _tame(self, clip: float) -> None:
        """Undo the factor and cut the gradient's length."""
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimiser)
        if clip > 0:
            every = [p for group in self.optimiser.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(every, clip)

    def _within_memory(self, work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _out_of_memory(error):
                raise
            batch = self.recipe.batch
            now = batch.chunk or batch.size
            raise TrainingError(
                f"the memory does not hold {now} pairs at once",
                None,
                f"Set batch.chunk to {max(1, now // 2)}: the batch stays {batch.size}, exactly",
            ) from error

    def _plan(self) -> SourcePlan:
        return plan_source(self.recipe, self.data, tuple(self.progress.names))

    def _begin_epoch(self, runner: BranchRunner) -> SourcePlan:
        """What to train on; at the start of an epoch the data folder is looked through anew."""
        progress, recipe = self.progress, self.recipe
        if progress.step < progress.epoch_end:
            return self._plan()
        plan = plan_source(recipe, self.data)
        source = plan.open()
        progress.epoch += 1
        progress.names = list(plan.names)
        size = recipe.batch.size * self.ranks.count
        count = max(1, len(source) // size)
        if recipe.mining.name != "drawn":
            sampler = self.sampler = self.sampler or self._make_sampler(plan)
            self._scan(sampler, source, runner)
            self._orders = orders = sampler.epoch(progress.epoch)
            count = len(orders)
        progress.epoch_start = progress.step
        progress.epoch_end = progress.step + count
        if self.budget_s is None:
            progress.epoch_end = min(progress.epoch_end, recipe.optimiser.steps)
        return plan

    def _scan(self, sampler: Sampler, source: PairSource, runner: BranchRunner) -> None:
        """Tell a sampler that wants it how the weights of now describe pairs."""
        progress, recipe = self.progress, self.recipe
        wanted = sampler.wanted(progress.epoch)
        size = recipe.batch.chunk or recipe.batch.size
        self.model.eval()
        for first in range(0, len(wanted), size):
            if self.control.wanted() == "stop":
                break
            pairs = wanted[first : first + size]
            rng = np.random.default_rng((recipe.seed, progress.epoch, first))
            batch = source.make(pairs, rng).to(
                self.device, channels_last=recipe.optimiser.channels_last
            )
            query, reference = runner.forward(batch.canvases, batch.tiles, keep=False)
            sampler.update(pairs, query.cpu(), reference.cpu())

    def _make_sampler(self, plan: SourcePlan) -> Sampler:
        recipe = self.recipe
        size = recipe.batch.size * self.ranks.count
        return build_sampler(
            recipe.mining.name,
            recipe.mining.options,
            positions=plan.open().positions(),
            batch_size=size,
            seed=recipe.seed,
        )

    def _validated(self) -> bool:
        done = self.progress.validations
        return bool(done) and done[-1]["step"] == self.progress.step

    def _validate(self) -> None:
        """Measure the averaged weights on what is kept for that, where there is something; the first rank does it."""
        progress = self.progress
        if self.ranks.first:
            if self._validation is None:
                self._validation = open_validation(self.recipe, self.data)
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
        parameters = self.model.parameters()
        if self.progress.step and all(bool(torch.isfinite(p).all()) for p in parameters):
            try:
                self._save(CHECKPOINT)
            except NadirError:
                return

    def _save(self, name: str) -> Path:
        path = self.out / name
        if not self.ranks.first:
            return path
        orders = self._orders
        state: dict[str, Any] = {
            "recipe": self.recipe.to_dict(),
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sampler": None if self.sampler is None else self.sampler.state(),
            "orders": None if orders is None else [torch.from_numpy(order) for order in orders],
            "progress": vars(self.progress),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
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

    def _report(self, window: _Window, rate: float) -> None:
        progress, scale = self.progress, self.model.logit_scale
        self._tell(
            "step",
            step=progress.step,
            loss=round(window.loss / window.steps, 4),
            scale=None if scale is None else round(float(scale.detach().exp()), 2),
            lr=round(rate, 9),
            share=round(self.share(), 4),
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


def _decisive(recipe: dict[str, Any]) -> dict[str, Any]:
    """The part of a recipe that decides the weights: what is said about it and how it is watched may change."""
    kept = {
        key: value
        for key, value in recipe.items()
        if key not in ("name", "about", "data", "validation")
    }
    batch = {k: v for k, v in recipe["batch"].items() if k not in ("workers", "chunk")}
    return {**kept, "batch": batch}


def _check_blocks(branch: nn.Module, recipe: Recipe) -> None:
    says, has = recipe.network.azimuth_blocks, getattr(branch, "azimuth_blocks", 1)
    if says != has:
        raise TrainingError(
            f'the network "{recipe.network.name}" has {has} blocks by bearing where the recipe says {says}',
            None,
            f"Set network.azimuth_blocks to {has}",
        )


def _out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "not enough memory" in text or "can't allocate memory" in text
