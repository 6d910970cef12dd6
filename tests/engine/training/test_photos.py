"""Photos of the street alone: labelled batches, classes of a map, exact tuples, dictionaries, exact gradients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tests.engine.training.networks  # noqa: F401 - registers
from engine.errors import TrainingError
from engine.training.batch import Part
from engine.training.branches import BranchRunner
from engine.training.checkpoints import load_checkpoint
from engine.training.gradients import Gradients
from engine.training.learner import Learner
from engine.training.losses import LossContext, build_loss
from engine.training.mining import build_sampler
from engine.training.photo_classes import cut_towards
from engine.training.photo_source import LabelledPhotos, TuplePhotos
from engine.training.ranks import Ranks
from engine.training.recipes import Recipe, recipe_from_dict, recipe_toml
from engine.training.sources import plan_source
from engine.training.trainer import CHECKPOINT, Trainer
from tests.engine.training.photo_sets import (
    GSV,
    TUPLES,
    street_recipe,
    write_gsv,
    write_sfxl,
    write_street,
)

ROOT = Path(__file__).resolve().parents[3]
PATCHES = {"name": "test-patches"}


class KilledError(Exception):
    """Nobody asked."""


def silent(event: str, **values: Any) -> None:
    pass


def trained(recipe: Recipe, data: Path, out: Path) -> Trainer:
    trainer = Trainer(recipe, data, out, emit=silent)
    assert trainer.run() == "done"
    assert trainer.progress.step == recipe.optimiser.steps
    return trainer


def test_places_come_with_their_photos_city_by_city(tmp_path: Path) -> None:
    recipe = street_recipe(**GSV)
    source = plan_source(recipe, write_gsv(tmp_path)).open()
    assert isinstance(source, LabelledPhotos)
    assert source.classes.sizes == (5, 5) and len(source) == 2 * (4 * 4 + 3)
    sampler = build_sampler(
        "places",
        {"images": 4},
        positions=source.positions(),
        batch_size=8,
        seed=1,
        classes=source.classes,
    )
    epochs = [sampler.epoch(number) for number in (1, 2)]
    for batches in epochs:
        # Four places of each city have four photos: two batches of two places from each.
        assert [len(batch) for batch in batches] == [8, 8, 8, 8]
        labels = [source.classes.labels[batch].reshape(2, 4) for batch in batches]
        assert all((rows == rows[:, :1]).all() for rows in labels)
        assert all(len(set(batch.tolist())) == 8 for batch in batches)
        places = np.concatenate([rows[:, 0] for rows in labels])
        assert sorted(places[:4]) == [0, 1, 2, 3] and sorted(places[4:]) == [5, 6, 7, 8]
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))
    names = [path.parent.name for path in source.dataset.queries.files]
    assert {names[i] for i in np.flatnonzero(source.classes.labels < 5)} == {"Boston"}
    batch = source.make(epochs[0][0], np.random.default_rng(0))
    assert batch.canvases.shape == (8, 3, 32, 32) and batch.tiles.shape == (0, 3, 32, 32)
    torch.testing.assert_close(
        batch.canvases, source.look(epochs[0][0]).canvases, atol=1e-5, rtol=0
    )
    assert batch.labels.tolist() == source.classes.labels[epochs[0][0]].tolist()


def test_a_labelled_set_trains(tmp_path: Path) -> None:
    recipe = street_recipe(
        **GSV, optimiser={"steps": 12, "rate": 3e-3}, augment={"brightness": 0.1}
    )
    data = write_gsv(tmp_path / "gsv")
    losses = []

    def hear(event: str, **values: Any) -> None:
        if event == "step":
            losses.append(values["loss"])

    Trainer(recipe, data, tmp_path / "run", emit=hear, report_every=1).run()
    assert len(losses) == 12
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


COSPLACE: dict[str, Any] = {
    "by": "cosplace", "apart": 2, "sectors_apart": 2, "smallest": 2, "groups": 3,
}  # fmt: skip


def cosplace(**more: Any) -> Recipe:
    return street_recipe(
        data={"format": "sfxl", "classes": COSPLACE},
        mining={"name": "class-groups", "steps": 3},
        loss={"name": "cosface", "exclude_m": 0.0},
        batch={"size": 2},
        augment={"hue": 0.3, "contrast": 0.4, "crop": 0.5},
        optimiser={"name": "adam", "steps": 7, "rate": 1e-3, "loss_rate": 10.0},
        **more,
    )


def test_classes_of_a_map_train_group_after_group_and_resume(tmp_path: Path) -> None:
    """CosFace learns its sizes from the data; killed in the second group, it goes on as if it had not been."""
    data = write_sfxl(tmp_path / "sf")
    recipe = cosplace()
    whole = trained(recipe, data, tmp_path / "whole")
    source = plan_source(recipe, data).open()
    assert isinstance(source, LabelledPhotos)
    weights = list(whole.learner.loss.parameters())
    assert [tuple(w.shape) for w in weights] == [
        (n, whole.model.query.dim) for n in source.classes.sizes
    ]
    fresh = build_loss(
        "cosface", {"dim": whole.model.query.dim, "classes": list(source.classes.sizes)}
    )
    moved = [not torch.equal(a, b) for a, b in zip(weights, fresh.parameters(), strict=True)]
    assert moved == [True, True, True]

    def killing(event: str, **values: Any) -> None:
        if event == "checkpoint" and values["step"] == 5:
            raise KilledError

    with pytest.raises(KilledError):
        Trainer(recipe, data, tmp_path / "parts", emit=killing, checkpoint_s=0.0).run()
    resumed = Trainer(recipe, data, tmp_path / "parts", emit=silent)
    resumed.resume(tmp_path / "parts" / CHECKPOINT)
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_eigenplaces_sees_both_sides_of_every_class(tmp_path: Path) -> None:
    data = write_sfxl(tmp_path, panoramas=True)
    how = {"by": "eigenplaces", "cell_m": 10, "apart": 2, "smallest": 2}
    recipe = street_recipe(
        data={"format": "sfxl", "classes": how},
        mining={"name": "class-groups", "together": 2, "steps": 2},
        loss={"name": "cosface", "scale": 100.0, "exclude_m": 0.0},
        batch={"size": 4, "chunk": 2},
        optimiser={"steps": 2},
    )
    source = plan_source(recipe, data).open()
    assert isinstance(source, LabelledPhotos)
    half = len(source) // 2
    assert half == 96 and len(source.classes.sizes) == 2 * 4
    assert source.classes.sizes[0::2] == source.classes.sizes[1::2]
    sampler = build_sampler(
        "class-groups", recipe.mining.options, positions=source.positions(), batch_size=4, seed=1,
        classes=source.classes,
    )  # fmt: skip
    starts = np.cumsum([0, *source.classes.sizes])
    for number in range(1, 5):
        for batch in sampler.epoch(number):
            labels = source.classes.labels[batch]
            groups = np.searchsorted(starts, labels, side="right") - 1
            assert groups.tolist() == [2 * number - 2] * 2 + [2 * number - 1] * 2
            assert (batch[:2] < half).all() and (batch[2:] >= half).all()
            # The same class in both views is the same panoramas.
            same = np.flatnonzero(source.classes.labels == labels[0])
            other = labels[0] + source.classes.sizes[2 * number - 2]
            assert np.array_equal(same + half, np.flatnonzero(source.classes.labels == other))
    trained(recipe, data, tmp_path / "run")


def test_the_cut_looks_where_it_should() -> None:
    """Written out: the panorama's centre looks at its heading, bearings grow to the right."""
    width, height = 3328, 512
    columns = np.arange(width)
    panorama = np.stack([columns % 256, columns // 256, columns * 0], axis=1)
    panorama = np.repeat(panorama[None].astype(np.uint8), height, axis=0)
    for heading, bearing in ((0.0, 0.0), (90.0, 100.0), (270.0, 10.0), (200.0, 199.0)):
        cut = cut_towards(panorama, heading, bearing)
        assert cut.shape == (height, height, 3)
        middle = int(cut[0, height // 2, 0]) + 256 * int(cut[0, height // 2, 1])
        expected = (width / 2 + (bearing - heading) / 360 * width) % width
        assert abs((middle - expected + width / 2) % width - width / 2) <= 2


def tuples_source(tmp_path: Path, **mining: Any) -> tuple[Recipe, TuplePhotos]:
    sections = {**TUPLES, "network": PATCHES, "mining": {**TUPLES["mining"], **mining}}
    recipe = street_recipe(**sections)
    source = plan_source(recipe, write_street(tmp_path)).open()
    assert isinstance(source, TuplePhotos)
    return recipe, source


@pytest.mark.parametrize("name", ["tuples-random", "tuples-partial", "tuples-full"])
def test_tuples_are_what_the_benchmark_takes(tmp_path: Path, name: str) -> None:
    recipe, source = tuples_source(tmp_path, name=name, samples=100)
    assert source.queries == 9 and len(source) == 9 + 16
    sampler = build_sampler(
        name,
        dict(recipe.mining.options),
        positions=source.positions(),
        batch_size=2,
        seed=1,
        queries=source.queries,
    )
    described = np.random.default_rng(2).normal(size=(len(source), 5)).astype(np.float32)
    where = source.positions()
    for number in (1, 2):
        wanted = sampler.wanted(number)
        sampler.update(wanted, described[wanted], described[:0])
        batches = sampler.epoch(number)
        assert len(batches) == 3
        seen = np.concatenate([batch[:2] for batch in batches])
        assert len(set(seen.tolist())) == 6
        for batch in batches:
            queries, positives, negatives = batch[:2], batch[2:4], batch[4:].reshape(2, 2)
            assert (queries < 9).all() and (positives >= 9).all() and (negatives >= 9).all()
            for q, p, n in zip(queries, positives, negatives, strict=True):
                apart = np.hypot(*(where - where[q]).T)
                near = [i for i in range(9, len(source)) if apart[i] <= 10]
                gap = ((described - described[q]) ** 2).sum(1)
                assert p == min(near, key=lambda i: gap[i])
                assert (apart[n] > 25).all()
                if name != "tuples-random":
                    # All are searched: nothing that may be a negative is nearer.
                    allowed = [i for i in range(9, len(source)) if apart[i] > 25]
                    assert n.tolist() == sorted(allowed, key=lambda i: gap[i])[:2]


def gradient(recipe: Recipe, batch: Any, chunk: int) -> tuple[list[torch.Tensor], float]:
    recipe = replace(recipe, batch=replace(recipe.batch, chunk=chunk))
    learner = Learner(recipe, torch.device("cpu"), Ranks())
    learner.open()
    runner = BranchRunner(learner.model, torch.device("cpu"))
    outcome = Gradients(learner.model, learner.loss, runner, Ranks(), chunk=chunk)(batch)
    assert len(outcome.query) == len(batch.canvases) and not len(outcome.reference)
    runner.close()
    learner.close()
    return [p.grad for p in learner.model.query.parameters() if p.grad is not None], outcome.loss


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_add_up_to_the_loss_over_tuples(tmp_path: Path, chunk: int) -> None:
    recipe, source = tuples_source(tmp_path)
    batch = source.make(np.array([0, 3, 9, 15, 11, 12, 18, 20]), np.random.default_rng(0))
    assert batch.negatives.tolist() == [[2, 3], [4, 5]]
    whole, loss = gradient(recipe, batch, 0)
    model = Learner(recipe, torch.device("cpu"), Ranks()).model
    with torch.no_grad():
        raw = model.query(batch.canvases)
    q, p, n = raw[:2], raw[2:4], raw[4:].reshape(2, 2, -1)
    gaps = (q - p).norm(dim=1)[:, None] - (q[:, None] - n).norm(dim=2) + 0.1
    assert loss == pytest.approx(float(gaps.relu().sum() / 4), rel=1e-3)
    cut, cut_loss = gradient(recipe, batch, chunk)
    assert cut_loss == pytest.approx(loss, rel=1e-6) and len(whole) == len(cut) == 6
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_two_groups_add_their_losses() -> None:
    loss = build_loss("cosface", {"dim": 4, "classes": [3, 2]})
    raw = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 2, 1, 4, 3])
    both = loss(raw, raw[:0], LossContext(labels=labels))
    parts = [loss(raw[s], raw[:0], LossContext(labels=labels[s])) for s in (slice(3), slice(3, 5))]
    torch.testing.assert_close(both, parts[0] + parts[1])


def test_a_dictionary_starts_from_the_data_and_the_benchmark_trains(tmp_path: Path) -> None:
    data = write_street(tmp_path / "street")
    network = {
        "name": "vg-benchmark", "aggregation": "netvlad", "clusters": 4,
        "backbone_options": {"width": 8, "blocks": [1, 1, 1], "frozen": 2},
    }  # fmt: skip
    sections = {
        **TUPLES,
        "network": network,
        "validation": {"queries": 9, "every": 2, "pictures": 0},
        "canvas": {"height": 64, "width": 64},
        "tile": {"height": 64, "width": 64},
    }
    recipe = street_recipe(**sections)
    plain = Learner(recipe, torch.device("cpu"), Ranks()).model
    trainer = trained(recipe, data, tmp_path / "run")
    assert trainer.progress.epoch == 2  # six queries make three batches of two
    started = trainer.average.model.state_dict()
    names = [name for name in started if name.endswith(("centroids", "aggregation.conv.weight"))]
    assert len(names) == 2
    for name in names:
        assert (started[name] - plain.state_dict()[name]).abs().max() > 0.05
    frozen = [n for n, p in trainer.model.named_parameters() if not p.requires_grad]
    assert frozen and all(torch.equal(started[n], plain.state_dict()[n]) for n in frozen)
    measured = trainer.progress.validations[-1]["queries"]["queries"]
    assert measured["R@10"] == 1.0  # 16 references, two of them right: nobody can miss ten


def test_two_processes_mine_and_train_as_one(tmp_path: Path) -> None:
    data = write_street(tmp_path / "street")
    mining = {**TUPLES["mining"], "name": "tuples-full", "queries": 8}
    batch = {**TUPLES["batch"], "size": 4}
    one = street_recipe(**{**TUPLES, "network": PATCHES, "mining": mining, "batch": batch})
    half = replace(one, batch=replace(one.batch, size=2))
    file = tmp_path / "half.toml"
    file.write_text(recipe_toml(half))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "tests.engine.training.ranks_main", str(data), str(tmp_path / "two"), str(file),
        ],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert any(json.loads(x)["event"] == "done" for x in done.stdout.splitlines() if x[:1] == "{")
    trained(one, data, tmp_path / "one")
    states = [load_checkpoint(tmp_path / name / CHECKPOINT) for name in ("one", "two")]
    for name, value in states[0]["model"].items():
        torch.testing.assert_close(states[1]["model"][name], value, rtol=1e-4, atol=2e-6)


def test_part_of_a_varied_batch_is_that_part_of_the_whole(tmp_path: Path) -> None:
    every = {
        "brightness": 0.5, "hue": 0.2, "crop": 0.4, "random_operations": 2, "blur_share": 0.5,
        "occlude_share": 0.5, "occlude_holes": [1, 3],
    }  # fmt: skip
    data = write_gsv(tmp_path)
    plain, varied = (plan_source(street_recipe(**GSV, augment=a), data).open() for a in ({}, every))
    photos = np.arange(8)
    whole = varied.make(photos, np.random.default_rng(5))
    halves = [varied.make(photos, np.random.default_rng(5), Part(rank, 2)) for rank in (0, 1)]
    assert torch.equal(torch.cat([half.canvases for half in halves]), whole.canvases)
    still = plain.make(photos, np.random.default_rng(5))
    changed = (still.canvases != whole.canvases).flatten(1).any(1)
    assert changed.all() and len({float(c.sum()) for c in whole.canvases}) == 8


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must be one of places, class-groups"):
        street_recipe(**{**GSV, "mining": {"name": "hard"}})
    with pytest.raises(TrainingError, match="a mirrored place is another one"):
        street_recipe(**GSV, batch={"flip": True})
    data = write_gsv(tmp_path / "gsv")
    wrong = street_recipe(**{**GSV, "data": {"format": "gsv-cities", "classes": {"by": "colour"}}})
    with pytest.raises(TrainingError, match="Known are: place, cosplace, eigenplaces"):
        plan_source(wrong, data).open()
    alone = recipe_from_dict({"name": "x", "loss": {"name": "cosface"}})
    with pytest.raises(TrainingError, match="is for labelled photos"):
        Learner(alone, torch.device("cpu"), Ranks())
