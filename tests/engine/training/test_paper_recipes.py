"""Every recipe that is shipped can be built at its full size, and some train, made small, on tiny data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.datasets.formats import FORMATS
from engine.networks import build_network
from engine.training.losses import build_loss, loss_options
from engine.training.mining import Classes, build_sampler
from engine.training.optimisers import build_optimiser, parameter_groups, sam_of
from engine.training.recipes import (
    RECIPES,
    Recipe,
    load_recipe,
    recipe_from_dict,
    recipe_toml,
)
from engine.training.schedules import learning_rate
from engine.training.sources import TOWNS
from engine.training.trainer import Trainer
from tests.engine.datasets.pictures import picture
from tests.engine.training.photo_sets import write_gsv, write_sfxl, write_street

NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
PAPERS = {
    "saig-cvusa", "saig-vigor", "frgeo-cvusa", "frgeo-vigor", "safa-cvusa", "dsm-cvusa", "transgeo-cvusa",
    "transgeo-cvusa-2", "sample4geo-cvusa", "sample4geo-vigor", "statewide", "vg-resnet18-gem", "vg-resnet18-netvlad",
    "cosplace-resnet18", "eigenplaces", "gsv-convap", "mixvpr", "salad", "port-nemo", "port-nemo-saig",
    "port-nemo-frgeo", "port-nemo-safa",
}  # fmt: skip
DIMS = {
    "saig-cvusa": 3072, "frgeo-vigor": 3072, "safa-cvusa": 4096, "dsm-cvusa": 4096, "transgeo-cvusa-2": 1000,
    "sample4geo-cvusa": 1024, "statewide": 1024, "vg-resnet18-gem": 256, "vg-resnet18-netvlad": 16_384,
    "eigenplaces": 512, "gsv-convap": 4096, "mixvpr": 4096, "salad": 8448,
}  # fmt: skip
COUNT = 1200


def test_all_papers_are_there() -> None:
    assert set(NAMES) >= PAPERS


@pytest.mark.parametrize("name", NAMES)
def test_everything_of_a_recipe_can_be_built(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    again = tmp_path / f"{name}.toml"
    again.write_text(recipe_toml(recipe), "utf-8")
    assert load_recipe(again) == recipe
    assert recipe.data.format in {TOWNS, *FORMATS}
    with torch.device("meta"):
        model = build_network(recipe.network.name, recipe.network_options)
    query: Any = model.query
    assert query.dim > 0 and query.dim == DIMS.get(name, query.dim)
    assert getattr(query, "azimuth_blocks", 1) == recipe.network.azimuth_blocks
    photo = recipe.data.classes or recipe.mining.name.startswith("tuples-")
    assert recipe.query_branch.projection == ("plain" if photo else recipe.canvas.projection)
    if photo:
        assert recipe.query_branch.input_size == recipe.reference_branch.input_size
    known = {"dim": 8, "classes": [40, 40]}
    filled: dict[str, Any] = {k: known[k] for k in loss_options(recipe.loss.name) & set(known)}
    loss = build_loss(recipe.loss.name, {**filled, **recipe.loss.options})
    groups = parameter_groups(recipe.optimiser, model.named_parameters())
    learned = [p for p in model.parameters() if p.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(learned) > 0
    named = [("weight", nn.Parameter(torch.ones(2, 2)))]
    optimiser = build_optimiser(recipe.optimiser, named)
    assert (sam_of(recipe.optimiser, optimiser, named) is None) == (recipe.optimiser.sam == "none")
    rates = [learning_rate(recipe.optimiser, recipe.optimiser.warmup + 1, 0.01), loss.scale_limit]
    assert 0 < rates[0] <= recipe.optimiser.rate
    if recipe.mining.name != "drawn":
        assert sampled(recipe)


def sampled(recipe: Recipe) -> list[Any]:
    """A first epoch of the recipe's sampler over places that are not there."""
    rng = np.random.default_rng(1)
    positions = rng.uniform(0, 3000, (COUNT, 2))
    size = recipe.batch.size
    tuples = recipe.mining.name.startswith("tuples-")
    if tuples:
        positions[COUNT // 2 :] = positions[: COUNT // 2] + 2.0
    groups = 2 * int(recipe.mining.options.get("together", 1))
    labels = np.arange(COUNT) % (COUNT // 5)
    sampler = build_sampler(
        recipe.mining.name, {**recipe.mining.options, **({"steps": 3} if "steps" in recipe.mining.options else {})},
        positions=positions, batch_size=size, seed=1, queries=COUNT // 2 if tuples else 0,
        classes=Classes(labels, (COUNT // 5 // groups,) * groups),
    )  # fmt: skip
    wanted = sampler.wanted(1)
    described = rng.normal(size=(len(wanted), 4)).astype(np.float32)
    sampler.update(wanted, described, described[:0] if tuples else described)
    batches = sampler.epoch(1)
    each = 2 + int(recipe.mining.options.get("negatives", 10)) if tuples else 1
    assert all(len(batch) == size * each for batch in batches)
    return batches


def reduced(name: str, **sections: dict[str, Any]) -> Recipe:
    """A shipped recipe with some of its keys made small; a section given as new is new altogether."""
    plain = load_recipe(name).to_dict()
    for section, values in sections.items():
        plain[section].update(values)
    return recipe_from_dict(plain)


def losses_of(recipe: Recipe, data: Path, out: Path) -> list[float]:
    losses: list[float] = []

    def hear(event: str, **values: Any) -> None:
        if event == "step":
            losses.append(values["loss"])

    assert Trainer(recipe, data, out, emit=hear, report_every=1).run() == "done"
    assert len(losses) == recipe.optimiser.steps
    assert all(math.isfinite(loss) for loss in losses)
    return losses


FEW: dict[str, dict[str, Any]] = {
    "optimiser": {"steps": 2, "precision": "fp32"},
    "validation": {"queries": 0},
}
SMALL_RESNET = {"depth": 18, "width": 8, "blocks": [1, 1, 1, 1], "frozen": 3}


def test_the_benchmarks_recipe_trains(tmp_path: Path) -> None:
    small = {"height": 64, "width": 64}
    recipe = reduced(
        "vg-resnet18-netvlad",
        **{**FEW, "validation": {"queries": 8, "every": 2, "pictures": 0}},
        network={"clusters": 4, "backbone_options": {**SMALL_RESNET, "cut": 4}},
        tile=small, canvas=small, batch={"size": 2, "workers": 0},
        mining={"queries": 4, "negatives": 3, "samples": 12},
    )  # fmt: skip
    losses_of(recipe, write_street(tmp_path / "street"), tmp_path / "run")


def test_recipes_of_labelled_photos_train(tmp_path: Path) -> None:
    write_street(tmp_path / "pitts30k")
    small = {"height": 64, "width": 64}
    mixvpr = reduced(
        "mixvpr",
        **{**FEW, "validation": {"queries": 8, "every": 2, "pictures": 0}},
        network={
            "aggregation_options": {"out_channels": 16, "rows": 2, "depth": 1},
            "backbone_options": {**SMALL_RESNET, "cut": 4, "frozen": 1},
        },
        tile=small, canvas=small, batch={"size": 8, "workers": 0}, data={"cities": ["Boston", "Osaka"]},
    )  # fmt: skip
    losses_of(mixvpr, write_gsv(tmp_path / "gsv"), tmp_path / "run")
    cosplace = reduced(
        "cosplace-resnet18",
        **FEW,
        network={"dim": 16, "backbone_options": SMALL_RESNET},
        tile=small, canvas=small, batch={"size": 2, "workers": 0}, mining={"steps": 2},
        data={"classes": {"by": "cosplace", "apart": 2, "smallest": 2, "groups": 2}},
    )  # fmt: skip
    losses_of(cosplace, write_sfxl(tmp_path / "sf"), tmp_path / "sf-run")


def write_cvusa(folder: Path, pairs: int = 6) -> Path:
    lines = []
    for i in range(pairs):
        picture(folder / "bingmap" / f"{i}.jpg", i, (75, 75))
        picture(folder / "streetview" / f"{i}.jpg", 100 + i, (1232, 224))
        lines.append(f"bingmap/{i}.jpg,streetview/{i}.jpg,annotations/{i}.png")
    (folder / "splits").mkdir()
    for split in ("train", "val"):
        (folder / "splits" / f"{split}-19zl.csv").write_text("\n".join(lines) + "\n")
    return folder


AERIAL: dict[str, dict[str, Any]] = {
    "safa-cvusa": {"network": {"widths": [4, 4, 8, 8, 8], "maps": 2}, "batch": {"size": 2}},
    "dsm-cvusa": {"network": {"widths": [4, 4, 8, 8], "reduced": [8, 4, 4]}, "batch": {"size": 2}},
    "sample4geo-cvusa": {
        "network": {"depths": [1, 1, 1, 1], "dims": [4, 8, 8, 16]},
        "canvas": {"height": 64, "width": 256},
        "tile": {"height": 64, "width": 64},
        "batch": {"size": 4},
        "mining": {"select": 2, "range": 4},
    },
}


@pytest.mark.parametrize("name", sorted(AERIAL))
def test_recipes_of_pairs_train(tmp_path: Path, name: str) -> None:
    sections = {key: dict(value) for key, value in AERIAL[name].items()}
    sections["batch"]["workers"] = 0
    losses_of(reduced(name, **FEW, **sections), write_cvusa(tmp_path / "cvusa"), tmp_path / "run")
