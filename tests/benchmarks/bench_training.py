"""Training throughput beside a loop that a person would write by hand: the same model, the same batches, one run.

    python -m tests.benchmarks.bench_training [--data TOWNS] [--recipe port-nemo] [--steps 20] [--rounds 3]

The hand-written loop takes its batches from as many workers, and does forward, loss, backward, clip and AdamW with
torch's own threads and autocast; no averages, reports, checkpoints. Rounds alternate; the medians are compared. With
no data a small town is rendered first.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from engine.networks import build_network
from engine.training.cache import find_towns
from engine.training.loader import batches
from engine.training.losses import LossContext, build_loss
from engine.training.memory import keep_memory
from engine.training.recipes import Recipe, load_recipe
from engine.training.sources import plan_source
from engine.training.trainer import Trainer
from engine.world.cache import make_training_town

WARM = 3


def by_hand(recipe: Recipe, data: Path, steps: int) -> float:
    """Pairs a second of the minimal loop."""
    torch.manual_seed(recipe.seed)
    model = build_network(recipe.network.name, recipe.network_options)
    loss = build_loss(recipe.loss.name, recipe.loss.options)
    model.learn_scale(loss.start_scale)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.optimiser.rate)
    blocks = recipe.network.azimuth_blocks
    start = 0.0
    source = batches(plan_source(recipe, data), 0, steps + WARM, torch.device("cpu"))
    for number, batch in enumerate(source):
        if number == WARM:
            start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.optimiser.precision == "bf16"):
            query, reference = model(batch.canvases, batch.tiles)
        assert model.logit_scale is not None
        context = LossContext(
            scale=model.logit_scale.exp(),
            too_near=batch.too_near,
            seen=batch.seen,
            shift=batch.shift,
            azimuth_blocks=blocks,
        )
        loss(query.float(), reference.float(), context).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
    return steps * recipe.batch.size / (time.perf_counter() - start)


def by_trainer(recipe: Recipe, data: Path, steps: int) -> tuple[float, float]:
    """Pairs a second of the trainer, and the share of the time it waited for batches."""
    told: list[dict[str, float]] = []

    def emit(event: str, **values: float) -> None:
        if event == "step":
            told.append(values)

    whole = replace(recipe, optimiser=replace(recipe.optimiser, steps=steps + WARM))
    with tempfile.TemporaryDirectory() as out:
        Trainer(whole, data, Path(out), emit=emit, report_every=1).run()
    seconds = told[-1]["elapsed_s"] - told[WARM - 1]["elapsed_s"]
    waited = statistics.mean(step["waiting"] for step in told[WARM:])
    return steps * recipe.batch.size / seconds, waited


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_training")
    parser.add_argument("--data", type=Path, help="folder of training towns")
    parser.add_argument("--recipe", default="port-nemo")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    keep_memory()
    recipe = load_recipe(args.recipe)
    recipe = replace(recipe, validation=replace(recipe.validation, queries=0))
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or Path(folder)
        if not args.data or not find_towns(data):
            make_training_town(data, 101, 0.1, 200, "train")
        recipe = replace(recipe, data=replace(recipe.data, towns=()))
        hand, ours, waited = [], [], []
        for _ in range(args.rounds):
            hand.append(by_hand(recipe, data, args.steps))
            speed, waiting = by_trainer(recipe, data, args.steps)
            ours.append(speed)
            waited.append(waiting)
    ratio = statistics.median(o / h for o, h in zip(ours, hand, strict=True))
    print("| | pairs a second |")
    print("| --- | --- |")
    print(f"| loop by hand | {statistics.median(hand):.0f} |")
    print(f"| nadir train | {statistics.median(ours):.0f} |")
    print(
        f"\nratio {ratio:.2f}; waiting for batches {100 * statistics.median(waited):.0f} % of the time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
