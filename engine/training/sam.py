"""Sharpness-aware minimisation: step by the gradient of a worse place nearby.

With the gradient g at the weights w, climb to ``w + e``, take the gradient there, come back, and step by it. What
differs is e, ``r`` being the radius and norms taken over all weights together:

- "sam" (Foret et al., ICLR 2021):           e = r g / |g|
- "asam" (adaptive in davda54/sam, which SAIG trains with):    e = r w^2 g / | |w| g |
- "asam-samsung" (Kwon et al., ICML 2021, in its authors' code):  e = r t^2 g / |t g|, with t = |w| + eta for what is
  called a weight, and 1 for all else

all products by element. Nothing is kept from step to step: a checkpoint of the optimiser is complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Variant = Literal["sam", "asam", "asam-samsung"]
_TINY = {"sam": 1e-12, "asam": 1e-12, "asam-samsung": 1e-16}
"""Added to the norm, as each code does."""


class Sam:
    """The climb and the way back, around an optimiser that does the step.

    Each step takes two gradients: compute one, :meth:`first_step`, compute one at the place reached (on the same
    batch), :meth:`second_step`.

    Args:
        optimiser: does the step.
        named: the parameters that are climbed by, with their names.
        variant, rho: see the module.
        eta: of "asam-samsung".
    """

    def __init__(
        self,
        optimiser: Optimizer,
        named: Iterable[tuple[str, nn.Parameter]],
        variant: Variant = "sam",
        rho: float = 0.05,
        eta: float = 0.01,
    ) -> None:
        if variant not in get_args(Variant):
            raise ValueError(f"there is no {variant}: known are {', '.join(get_args(Variant))}")
        if rho <= 0:
            raise ValueError("rho must be above 0")
        self.optimiser, self.variant, self.rho, self.eta = optimiser, variant, rho, eta
        self._named = [(name, p) for name, p in named if p.requires_grad]
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    @torch.no_grad()
    def first_step(self) -> None:
        """Climb by the gradients that are there."""
        if self._before:
            raise RuntimeError("the first step was done: the second is due")
        moved = [(name, p, p.grad) for name, p in self._named if p.grad is not None]
        if not moved:
            return
        parameters = [p for _, p, _ in moved]
        self._before = [(p, p.detach().clone()) for p in parameters]
        scales = [self._scale(name, p) for name, p, _ in moved]
        steered = [g if t is None else t * g for t, (_, _, g) in zip(scales, moved, strict=True)]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(steered)))
        reach = self.rho / (norm + _TINY[self.variant])
        for parameter, scale, gradient in zip(parameters, scales, steered, strict=True):
            climb = gradient if scale is None else scale * gradient
            parameter.add_(climb * reach)

    @torch.no_grad()
    def second_step(self) -> None:
        """Come back and step by the gradients that are there now."""
        self.come_back()
        self.optimiser.step()

    @torch.no_grad()
    def come_back(self) -> None:
        """Undo the climb, if there was one."""
        for parameter, before in self._before:
            parameter.copy_(before)
        self._before = []

    def _scale(self, name: str, parameter: nn.Parameter) -> Tensor | None:
        """What gradients are stretched by; None: nothing."""
        if self.variant == "sam":
            return None
        if self.variant == "asam":
            return parameter.abs()
        return parameter.abs() + self.eta if "weight" in name else None
