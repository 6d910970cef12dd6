"""The papers' ablations on rendered towns, one table by one command.

    python -m tests.benchmarks.ablations --data TOWNS --out RUNS

Everything but what is compared is equal: data (three training towns, one that is never trained on), steps, batch,
schedule, augmentation. Photos are panoramas aligned north, as in the papers' data sets; tiles are centred on them.
Measured is R@1, R@5, R@10 and R@1 % among the tiles of all photos of the unseen town. Towns that are missing are
rendered; a run that is done is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.files import write_json
from engine.networks import DualEncoder, descriptors
from engine.training.cache import open_town
from engine.training.events import to_stdout
from engine.training.memory import keep_memory
from engine.training.recipes import Recipe, recipe_from_dict
from engine.training.render import render_towns
from engine.training.sections import PhotometricSection
from engine.training.towns import TownPairs
from engine.training.trainer import Trainer
from engine.training.validate import validation_town

TOWNS, UNSEEN = (101, 102, 103), 9001
CHANNELS = [24, 48, 96, 192]
STILL = PhotometricSection(0, 0, 0, 0, 0, 0)

Section = dict[str, Any]


def small(aggregation: str, **options: Any) -> Section:
    """The small residual network under an aggregation; tiles that are no full turn do not wrap."""
    tile = {"backbone_options": {"channels": CHANNELS, "circular": False}}
    return {
        "name": "composed",
        "backbone": "small-resnet",
        "backbone_options": {"channels": CHANNELS},
        "aggregation": aggregation,
        "aggregation_options": options,
        "reference": tile,
    }


def saig(head: str) -> Section:
    """SAIG at a size that a processor can train."""
    return {
        "name": "saig",
        "head": head,
        "depth": 4,
        "dim": 128,
        "heads": 4,
        "stem": [24, 48, 96, 128],
    }


POLAR = {
    "projection": "polar",
    "height": 64,
    "width": 256,
    "near_m": 0.0,
    "far_m": 32.0,
    "radius_power": 1.0,
}
TRIPLET = {"name": "transgeo-triplet"}
TUPLE = {"name": "weighted-tuple"}
INFO_NCE = {"name": "info-nce"}
CONFIGS: dict[str, Section] = {
    "GAP, triplet (baseline)": {"network": small("gap"), "loss": TRIPLET},
    "FRM, triplet": {"network": small("frm"), "loss": TRIPLET},
    "GAP, tuple": {"network": small("gap"), "loss": TUPLE},
    "FRM, tuple": {"network": small("frm"), "loss": TUPLE},
    "FRM, InfoNCE": {"network": small("frm"), "loss": INFO_NCE},
    "FRM, InfoNCE, ASAM": {
        "network": small("frm"),
        "loss": INFO_NCE,
        "optimiser": {"sam": "asam", "rho": 0.5},
    },
    "SAIG, GAP": {"network": saig("gap"), "loss": INFO_NCE},
    "SAIG, SMD": {"network": saig("smd"), "loss": INFO_NCE},
    "SAFA, tile as it is": {"network": small("spatial-aware"), "loss": {"name": "safa-triplet"}},
    "SAFA, polar tile": {
        "network": {k: v for k, v in small("spatial-aware").items() if k != "reference"},
        "loss": {"name": "safa-triplet"},
        "tile": POLAR,
    },
}


def recipe_of(name: str, seed: int, steps: int) -> Recipe:
    """What a row is trained by."""
    config = CONFIGS[name]
    optimiser = {"steps": steps, "warmup": steps // 10, "rate": 1e-3, "average": 0.99}
    return recipe_from_dict(
        {
            "name": name,
            "seed": seed,
            "network": config["network"],
            "loss": {"exclude_m": 0.0, **config["loss"]},
            "tile": {
                "projection": "plain", "extent_m": 64.0, "pixels": 128, "height": 128, "width": 128,
                **config.get("tile", {}),
            },
            "canvas": {"height": 64, "width": 256, "query_subshifts": 1},
            "query": {"heading": "north", "full_share": 1.0, "tilted_share": 0.0},
            "batch": {"size": 48, "shift_m": 0.0, "turn": True},
            "optimiser": {**optimiser, **config.get("optimiser", {})},
            "validation": {"queries": 0, "every": 1_000_000},
            "data": {"towns": list(TOWNS), "validation": [UNSEEN]},
        }
    )  # fmt: skip


def measure(model: DualEncoder, recipe: Recipe, data: Path) -> dict[str, float]:
    """Recalls among the centred tiles of the unseen town; a tie favours the photo, as the papers count."""
    still = replace(
        recipe, photometric=STILL, batch=replace(recipe.batch, turn=False, flip=False, workers=0)
    )
    source = TownPairs([open_town(data / validation_town(recipe, data))], still)
    model.eval()
    sides: list[list[torch.Tensor]] = [[], []]
    for pairs in np.array_split(np.arange(len(source)), max(1, len(source) // 50)):
        batch = source.make(pairs, np.random.default_rng(0))
        with torch.no_grad():
            for side, raw in zip(sides, model(batch.canvases, batch.tiles), strict=True):
                side.append(descriptors(raw))
    query, reference = (torch.cat(side) for side in sides)
    scores = query @ reference.T
    better = (scores > scores.diagonal()[:, None]).sum(1)
    recall = {f"R@{k}": float((better < k).float().mean()) for k in (1, 5, 10)}
    return recall | {"R@1%": float((better < max(1, len(source) // 100)).float().mean())}


def train_one(name: str, seed: int, steps: int, data: Path, out: Path) -> dict[str, Any]:
    """One run; its numbers are kept beside its checkpoint."""
    folder = out / f"{list(CONFIGS).index(name):02d}-{seed}"
    kept = folder / "measured.json"
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    recipe = recipe_of(name, seed, steps)
    start = time.perf_counter()
    trainer = Trainer(recipe, data, folder, emit=lambda *_, **__: None, checkpoint_s=60.0)
    if (folder / "checkpoint.pt").exists():
        trainer.resume(folder / "checkpoint.pt")
    if trainer.run() == "stopped":
        raise KeyboardInterrupt
    measured = {
        "name": name,
        "seed": seed,
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 1),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        **measure(trainer.average.model, recipe, data),
    }
    write_json(kept, measured)
    return measured


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Mean and spread (the deviation over the seeds) of every row, in per cent."""
    yield "| | R@1 | R@5 | R@10 | R@1 % | parameters | seconds |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name in CONFIGS:
        mine = [row for row in rows if row["name"] == name]
        if not mine:
            continue
        cells = []
        for key in ("R@1", "R@5", "R@10", "R@1%"):
            values = 100 * np.array([row[key] for row in mine])
            cells.append(f"{values.mean():.1f} ± {values.std(ddof=min(1, len(mine) - 1)):.1f}")
        seconds = np.mean([row["seconds"] for row in mine])
        size = f"{mine[0]['parameters'] / 1e6:.2f} M"
        yield f"| {name} | {' | '.join(cells)} | {size} | {seconds:.0f} |"


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ablations")
    parser.add_argument("--data", type=Path, required=True, help="folder of training towns")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", default="", help="only rows whose name holds this text")
    args = parser.parse_args(argv)
    keep_memory()
    render_towns(recipe_of(next(iter(CONFIGS)), 1, args.steps).data, args.data, to_stdout)
    rows = []
    for seed in range(1, args.seeds + 1):
        for name in CONFIGS:
            if args.only in name:
                rows.append(train_one(name, seed, args.steps, args.data, args.out))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
