"""What is learned and how it is moved: a model with its loss, its optimiser, and one step of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.networks import DualEncoder, build_network
from engine.networks.checkpoints import read_checkpoint
from engine.networks.pretrained import load_pretrained
from engine.training.average import WeightAverage
from engine.training.batch import Batch
from engine.training.branches import BranchRunner
from engine.training.gradients import Gradients, Outcome
from engine.training.losses import Loss, build_loss, loss_options
from engine.training.mining import Classes
from engine.training.optimisers import build_optimiser, sam_of
from engine.training.ranks import Ranks
from engine.training.recipes import Recipe
from engine.training.sam import Sam


class Learner:
    """A model that a recipe describes, ready to take steps.

    Args:
        classes: says how photos are labelled, for a loss with weights for every class.

    Attributes:
        model, loss: what has weights.
        average: the moving average of the model's, which is validated and exported.
        runner: runs the model's branches; only between :meth:`open` and :meth:`close`.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        ranks: Ranks,
        classes: Callable[[], Classes | None] = lambda: None,
    ) -> None:
        self.recipe, self.device, self.ranks = recipe, device, ranks
        how = recipe.optimiser
        torch.manual_seed(recipe.seed)
        model = build_network(recipe.network.name, recipe.network_options)
        if recipe.network.pretrained:
            load_pretrained(model, read_checkpoint(Path(recipe.network.pretrained)))
        self.loss = _loss(recipe, model, classes).to(device)
        if self.loss.learns_scale:
            model.learn_scale(self.loss.start_scale)
        _check_blocks(model.query, recipe)
        if device.type == "cuda" and ranks.count > 1:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        layout = torch.channels_last if how.channels_last else torch.preserve_format
        moved: Any = model.to(device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.model: DualEncoder = moved
        self.average = WeightAverage(self.model, how.average)
        named = [*self.model.named_parameters(), *self.loss.named_parameters(prefix="loss")]
        self.optimiser = build_optimiser(how, named)
        self._sam = sam_of(how, self.optimiser, named)
        self._scaler = torch.amp.GradScaler(device.type, enabled=how.precision == "fp16")
        self.runner: BranchRunner | None = None
        self._gradients: Gradients | None = None
        self._moving = False

    def open(self) -> BranchRunner:
        """Get ready to compute."""
        how = self.recipe.optimiser
        self.runner = BranchRunner(
            self.model, self.device, precision=how.precision, compile=how.compile
        )
        self._gradients = Gradients(
            self.model,
            self.loss,
            self.runner,
            self.ranks,
            azimuth_blocks=self.recipe.network.azimuth_blocks,
            chunk=self.recipe.batch.chunk,
            exclude=self.recipe.loss.exclude_m > 0,
        )
        return self.runner

    def start_from(self, pictures: Callable[[nn.Module], Iterable[Tensor]]) -> None:
        """Show pictures to the branches that start from data (a dictionary), before the very first step.

        Args:
            pictures: normalised images [N, 3, H, W] for a branch, as many as there are.

        Raises:
            TrainingError: when they do not suffice.
        """
        branches = {id(b): b for b in (self.model.query, self.model.reference)}
        wanting: list[Any] = [b for b in branches.values() if getattr(b, "wants_data", False)]
        for branch in wanting:
            images = (some.to(self.device) for some in pictures(branch))
            try:
                branch.initialise(images, seed=self.recipe.seed)
            except ValueError as error:
                raise TrainingError(f"the network cannot start from this data: {error}") from error
            self.ranks.share(branch.parameters())
        if wanting:
            self.average = WeightAverage(self.model, self.recipe.optimiser.average)

    def close(self) -> None:
        """End what :meth:`open` began."""
        if self.runner is not None:
            self.runner.close()
        self.runner = self._gradients = None

    def step(self, batch: Batch, rate: float) -> Outcome:
        """One move of the weights, at a learning rate.

        Raises:
            TrainingError: when the loss or its gradient is no number, or the memory does not hold the batch; the
                weights are as they were then.
        """
        try:
            return self._step(batch, rate)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _out_of_memory(error):
                raise
            how = self.recipe.batch
            now = how.chunk or how.size
            raise TrainingError(
                f"the memory does not hold {now} pairs at once",
                None,
                f"Set batch.chunk to {max(1, now // 2)}: the batch stays {how.size}, exactly",
            ) from error

    def _step(self, batch: Batch, rate: float) -> Outcome:
        assert self._gradients is not None  # it was opened
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
        self.model.train()
        self.loss.train()
        outcome = self._gradients(batch, self._factor())
        self._tame(outcome.loss)
        if self._sam is not None:
            self._look_again(self._sam, batch)
        # Cut short in here, the weights are of no step.
        self._moving = True
        if self._sam is not None:
            self._sam.second_step()
        else:
            self._scaler.step(self.optimiser)
            self._scaler.update()
        scale = self.model.logit_scale
        if scale is not None:
            with torch.no_grad():
                scale.clamp_(0.0, math.log(self.loss.scale_limit))
        self.average.update(self.model)
        self._moving = False
        return outcome

    def _look_again(self, sam: Sam, batch: Batch) -> None:
        """The gradient at the place that SAM climbs to; whatever goes wrong there, the weights come back."""
        assert self._gradients is not None
        try:
            sam.first_step()
            self._tame(self._gradients(batch, again=True).loss)
        except BaseException:
            sam.come_back()
            raise

    def _factor(self) -> float:
        """What gradients are multiplied by to survive fp16."""
        if not self._scaler.is_enabled():
            return 1.0
        return float(self._scaler.scale(torch.ones((), device=self.device)))

    def _tame(self, loss: float) -> None:
        """Undo the factor, cut the gradient's length, and see that it can be stepped by.

        A gradient that fp16 made too large is left to the scaler, which passes over it.
        """
        if self._scaler.is_enabled():
            self._scaler.unscale_(self.optimiser)
        clip = self.recipe.optimiser.clip
        every = [p for group in self.optimiser.param_groups for p in group["params"]]
        grads = [p.grad for p in every if p.grad is not None]
        length = nn.utils.get_total_norm(grads)
        if clip > 0:
            nn.utils.clip_grads_with_norm_(every, clip, length)
        bad = not (self._scaler.is_enabled() or bool(torch.isfinite(length)))
        if bad or not math.isfinite(loss):
            what = "the gradient of the loss" if math.isfinite(loss) else "the loss"
            raise TrainingError(
                f"{what} is no longer a number",
                None,
                "Train with a lower optimiser.rate, or with precision fp32",
            )

    def sound(self) -> bool:
        """Whether all weights, and what norms have counted, are numbers, and those of a whole number of steps."""
        if self._moving:
            return False
        counted = (
            b
            for name, b in self.model.named_buffers()
            if name.endswith(("running_mean", "running_var"))
        )
        every = (*self.model.parameters(), *self.loss.parameters(), *counted)
        return all(bool(torch.isfinite(value).all()) for value in every)

    def state(self) -> dict[str, Any]:
        """All that a step depends on, but the batch."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Put :meth:`state` back."""
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)


def _loss(recipe: Recipe, model: DualEncoder, classes: Callable[[], Classes | None]) -> Loss:
    """The recipe's loss; what it must know of network and classes is filled in where the recipe is silent."""
    name, options = recipe.loss.name, dict(recipe.loss.options)
    asked = loss_options(name) - set(options)
    if "dim" in asked:
        options["dim"] = model.query.dim
    if "classes" in asked:
        labelled = classes()
        if labelled is None:
            raise TrainingError(
                f'the loss "{name}" is for labelled photos',
                None,
                'Say how places become classes in "data.classes"',
            )
        options["classes"] = list(labelled.sizes)
    return build_loss(name, options)


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
