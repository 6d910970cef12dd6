"""Optimisers, the sharpness-aware climb, schedules and the average against published numbers and torch's own."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.training.average import WeightAverage
from engine.training.optimisers import build_optimiser, parameter_groups, sam_of
from engine.training.sam import Sam
from engine.training.schedules import learning_rate, rate_factor
from engine.training.sections import OptimiserSection
from tests.golden_rule import rule_tensor

RUNS = [
    ("sampy", "sam", "sam", 0.05),
    ("sampy", "asam", "asam", 2.0),
    ("sampy", "asam", "asam", 0.5),
    ("asampy", "asam", "asam-samsung", 0.5),
    ("asampy", "sam", "sam", 0.05),
]


def small(stored: Any) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    model.load_state_dict({n: rule_tensor(n, tuple(p.shape)) for n, p in model.named_parameters()})
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.detach(), stored[f"init.{name}"])
    return model


def gradients(model: nn.Module, stored: Any) -> float:
    model.zero_grad()
    x, y = torch.from_numpy(stored["X"]), torch.from_numpy(stored["Y"])
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    return float(loss.detach())


OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.03),
}


@pytest.mark.parametrize("base", OPTIMISERS)
@pytest.mark.parametrize(("code", "kind", "variant", "rho"), RUNS)
def test_two_steps(golden: Path, code: str, kind: str, variant: Any, rho: float, base: str) -> None:
    stored = np.load(golden / "losses" / "sam_asam_steps.npz")
    run = f"{code}_{base}_{kind}_rho{rho}"
    model = small(stored)
    sam = Sam(OPTIMISERS[base](model.parameters()), model.named_parameters(), variant, rho)
    for step in ("step1", "step2"):
        first = gradients(model, stored)
        sam.first_step()
        if step == "step1" and code == "sampy":
            compare(model, stored, f"{run}.perturbed")
        second = gradients(model, stored)
        sam.second_step()
        compare(model, stored, f"{run}.{step}")
        np.testing.assert_allclose(first, stored[f"{run}.{step}.loss1"], rtol=1e-5)
        np.testing.assert_allclose(second, stored[f"{run}.{step}.loss2"], rtol=1e-5)


def compare(model: nn.Module, stored: Any, prefix: str) -> None:
    for name, parameter in model.named_parameters():
        wanted = stored[f"{prefix}.{name}"]
        np.testing.assert_allclose(parameter.detach(), wanted, atol=2e-6)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("sam", ["none", "asam"])
def test_a_resumed_optimiser_goes_on_bit_for_bit(golden: Path, name: Any, sam: Any) -> None:
    stored = np.load(golden / "losses" / "sam_asam_steps.npz")
    how = OptimiserSection(name=name, sam=sam, rate=1e-2)

    def steps(model: nn.Module, optimiser: torch.optim.Optimizer, count: int) -> None:
        climb = sam_of(how, optimiser, model.named_parameters())
        for _ in range(count):
            gradients(model, stored)
            if climb is None:
                optimiser.step()
            else:
                climb.first_step()
                gradients(model, stored)
                climb.second_step()

    through = small(stored)
    optimiser = build_optimiser(how, through.named_parameters())
    steps(through, optimiser, 3)
    weights, state = copy.deepcopy(through.state_dict()), copy.deepcopy(optimiser.state_dict())
    steps(through, optimiser, 3)
    resumed = small(stored)
    resumed.load_state_dict(weights)
    again = build_optimiser(how, resumed.named_parameters())
    again.load_state_dict(state)
    steps(resumed, again, 3)
    for one, other in zip(through.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_climb_must_be_come_back_from(golden: Path) -> None:
    stored = np.load(golden / "losses" / "sam_asam_steps.npz")
    model = small(stored)
    sam = Sam(torch.optim.SGD(model.parameters(), lr=0.0), model.named_parameters())
    before = copy.deepcopy(model.state_dict())
    gradients(model, stored)
    sam.first_step()
    assert not torch.equal(model.get_parameter("0.weight"), before["0.weight"])
    with pytest.raises(RuntimeError, match="second"):
        sam.first_step()
    sam.second_step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])  # bit for bit, and the rate is 0


def test_what_decays() -> None:
    named = [
        ("model.0.weight", nn.Parameter(torch.zeros(3, 2))),
        ("model.0.bias", nn.Parameter(torch.zeros(3))),
        ("model.norm.weight", nn.Parameter(torch.zeros(3))),
        ("model.pos_embed", nn.Parameter(torch.zeros(1, 4, 3))),
        ("logit_scale", nn.Parameter(torch.zeros(()))),
        ("loss.weights.0", nn.Parameter(torch.zeros(5, 3))),
        ("model.frozen.weight", nn.Parameter(torch.zeros(3, 2), requires_grad=False)),
    ]

    def described(how: OptimiserSection) -> list[tuple[list[str], float, float]]:
        names = {id(p): name for name, p in named}
        return [
            ([names[id(p)] for p in g["params"]], g["weight_decay"], g["rate_factor"])
            for g in parameter_groups(how, named)
        ]

    assert described(OptimiserSection(decay=0.1, loss_rate=1000.0)) == [
        (["model.0.bias", "model.norm.weight", "model.pos_embed", "logit_scale"], 0.0, 1.0),
        (["model.0.weight"], 0.1, 1.0),
        (["loss.weights.0"], 0.1, 1000.0),
    ]
    together = described(OptimiserSection(decay=0.1, decay_all=True))
    assert [len(names) for names, _, _ in together] == [5, 1]
    assert {decay for _, decay, _ in together} == {0.1}


def test_statewides_optimiser(golden: Path) -> None:
    """Three steps of clipping and AdamW with decay on kernels alone, warm-up off."""
    stored = np.load(golden / "statewide" / "statewide_train_parts.npz")
    shapes = {"kernel": (2, 2), "weight": (2, 2), "bias": (2,), "scale": (2,)}
    named = {name: nn.Parameter(torch.ones(shape)) for name, shape in shapes.items()}
    how = OptimiserSection(
        rate=1e-4, decay=0.01, schedule="cosine", final=0.1, warmup=0, steps=200_000
    )
    optimiser = build_optimiser(how, named.items())
    for step in range(3):
        for parameter in named.values():
            count = torch.arange(1.0, parameter.numel() + 1).view_as(parameter)
            parameter.grad = 0.3 * count
        nn.utils.clip_grad_norm_(list(named.values()), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(how, step, step / how.steps)
        optimiser.step()
    for name, parameter in named.items():
        np.testing.assert_allclose(parameter.detach(), stored[f"opt_{name}_after3"], atol=3e-7)


def test_statewides_schedule(golden: Path) -> None:
    stored = np.load(golden / "statewide" / "statewide_train_parts.npz")
    factors = [
        rate_factor("cosine", int(s), 200_000, warmup=1000, final=0.1)
        for s in stored["schedule_steps"]
    ]
    np.testing.assert_allclose(factors, stored["schedule_factor"], atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "step"])
def test_schedules_warm_up_and_end_where_they_should(schedule: str) -> None:
    def factor(step: float, final: float = 0.2) -> float:
        return rate_factor(schedule, step, 100, warmup=10, final=final)

    assert [factor(s) for s in (0, 5, 10)] == [0.0, 0.5, 1.0]
    end = {"constant": 1.0, "linear": 0.2, "cosine": 0.2, "step": 0.01}[schedule]
    assert factor(100) == pytest.approx(end)
    middle = {
        "constant": 1.0,
        "linear": 0.6,
        "cosine": 0.2 + 0.8 * (1 + math.cos(math.pi / 2)) / 2,
        "step": 1.0,
    }[schedule]
    assert factor(55) == pytest.approx(middle)


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(ValueError, match="cosine"):
        rate_factor("polynomial", 1, 2)


def test_a_budget_of_time_is_followed_by_the_pace() -> None:
    how = OptimiserSection(rate=2.0, schedule="linear", final=0.0, warmup=10, steps=1_000_000)
    assert learning_rate(how, 110, 0.5) == pytest.approx(2.0 * (1 - 100 / 210))
    assert learning_rate(how, 220, 1.0) == pytest.approx(0.0)
    assert learning_rate(how, 5, 0.0) == 1.0


def test_the_average_goes_on_bit_for_bit() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    through = WeightAverage(model, 0.9)

    def walk(average: WeightAverage, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(4):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
            average.update(model)

    walk(through, 1)
    state = copy.deepcopy(through.state_dict())
    walk(through, 2)
    resumed = WeightAverage(copy.deepcopy(model), 0.9)
    resumed.load_state_dict(state)
    walk(resumed, 2)
    for name, value in through.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    assert through.updates == resumed.updates == 8
