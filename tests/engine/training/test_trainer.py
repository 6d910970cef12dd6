"""Training, stopping, going on, exporting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.encoder import open_encoder
from engine.errors import DatasetError, EncoderError, TrainingError
from engine.photo.projections import View
from engine.training.branches import BranchRunner
from engine.training.checkpoints import load_checkpoint, save_checkpoint
from engine.training.command import main
from engine.training.export import export_encoder, load_model
from engine.training.recipes import Recipe, recipe_toml
from engine.training.trainer import CHECKPOINT, Trainer
from tests.engine.training.synthetic import write_town


class Listener:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **values: Any) -> None:
        json.dumps(values, allow_nan=False)
        self.events.append((event, values))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [values for event, values in self.events if event == name]


def trained(recipe: Recipe, towns: Path, out: Path, **options: Any) -> Trainer:
    trainer = Trainer(recipe, towns, out, **{"emit": Listener(), **options})
    if (out / CHECKPOINT).exists():
        trainer.resume(out / CHECKPOINT)
    trainer.run()
    return trainer


def stopped(recipe: Recipe, towns: Path, out: Path, after: int) -> None:
    """Train and stop without warning right after a checkpoint."""

    class StopError(Exception):
        pass

    def emit(event: str, **values: Any) -> None:
        if event == "checkpoint" and values["step"] >= after:
            raise StopError

    with pytest.raises(StopError):
        Trainer(recipe, towns, out, emit=emit, checkpoint_s=0.0).run()


def test_resuming_is_exact(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    whole = trained(tiny, towns, tmp_path / "whole")
    stopped(tiny, towns, tmp_path / "parts", after=3)
    assert load_checkpoint(tmp_path / "parts" / CHECKPOINT)["progress"]["step"] == 3
    parts = trained(tiny, towns, tmp_path / "parts")
    assert parts.progress.step == whole.progress.step == 6
    for one, other in (
        (whole.model, parts.model),
        (whole.average.model, parts.average.model),
    ):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_how_a_training_is_watched_may_change(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    stopped(tiny, towns, tmp_path, after=2)
    watched = replace(tiny, validation=replace(tiny.validation, queries=2))
    assert trained(watched, towns, tmp_path).progress.step == 6


def test_events_tell_the_story(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    listener = Listener()
    trained(tiny, towns, tmp_path, emit=listener, report_every=2)
    assert listener.events[0][0] == "run"
    assert listener.events[-1][0] == "done"
    steps = listener.named("step")
    assert [s["step"] for s in steps] == [2, 4, 6]
    assert all(0 <= s["waiting"] <= 1 and s["pairs_per_second"] > 0 for s in steps)
    (validation,) = listener.named("validation")
    assert set(validation["queries"]) == {"360 known", "360 unknown", "90 known", "90 unknown"}
    assert 0 <= validation["queries"]["360 known"]["R@1<25m"] <= 1


def test_it_learns(tiny: Recipe, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_town(data, 1, pairs=8)
    easy = replace(
        tiny,
        query=replace(tiny.query, full_share=1.0, tilted_share=0.0),
        optimiser=replace(tiny.optimiser, steps=40, rate=5e-3),
    )
    listener = Listener()
    trained(easy, data, tmp_path / "out", emit=listener, report_every=10)
    losses = [step["loss"] for step in listener.named("step")]
    assert losses[-1] < losses[0] - 0.3
    assert not listener.named("validation")  # there is no validation town


def test_a_budget_of_minutes_ends_it(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    trainer = trained(tiny, towns, tmp_path, minutes=1 / 60)
    assert trainer.share() == 1.0
    assert trainer.progress.elapsed_s >= 1.0


def test_new_towns_are_taken_in_at_the_next_epoch(tiny: Recipe, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_town(data, 1, pairs=6)

    def emit(event: str, **values: Any) -> None:
        if event == "run":
            write_town(data, 2, pairs=6)

    trainer = trained(tiny, data, tmp_path / "out", emit=emit)
    assert trainer.progress.names == ["town-1", "town-2"]


def test_only_towns_that_are_the_recipes_are_trained_and_validated_on(
    tiny: Recipe, tmp_path: Path
) -> None:
    data = tmp_path / "towns"
    for seed in (1, 2):
        write_town(data, seed)
    for seed in (8, 9):
        write_town(data, seed, pairs=6, split="validation")
    alike = {"pairs": 24, "validation_pairs": 6, "area_km2": 0.0036}
    named = replace(tiny, data=replace(tiny.data, towns=(2,), validation=(9,), **alike))
    trainer = Trainer(named, data, tmp_path / "out", emit=Listener())
    trainer.run()
    assert trainer.progress.names == ["town-2"] and trainer.progress.validation == "town-9"
    # Checkpoints of earlier versions do not say on which town they were validated: it was the first.
    state = load_checkpoint(tmp_path / "out" / CHECKPOINT)
    del state["progress"]["validation"]
    del state["format"], state["version"]
    save_checkpoint(tmp_path / "old.pt", state)
    again = Trainer(named, data, tmp_path / "again", emit=Listener())
    again.resume(tmp_path / "old.pt")
    assert again.progress.names == ["town-2"] and again.progress.validation == ""
    other = replace(named, data=replace(named.data, pairs=25))
    with pytest.raises(DatasetError, match="rendered as the recipe asks"):
        Trainer(other, data, tmp_path / "none", emit=Listener()).run()


def test_a_resumed_recipe_may_name_more_towns(tiny: Recipe, tmp_path: Path) -> None:
    data = tmp_path / "towns"
    for seed in (1, 2):
        write_town(data, seed)
    alike = {"pairs": 24, "area_km2": 0.0036}
    one = replace(tiny, data=replace(tiny.data, towns=(1,), **alike))
    trained(one, data, tmp_path / "out")
    longer = replace(tiny.optimiser, steps=14)
    both = replace(one, data=replace(one.data, towns=(1, 2)), optimiser=longer)
    trainer = Trainer(both, data, tmp_path / "more", emit=Listener())
    trainer.progress = replace(trainer.progress, names=["town-1"])
    trainer.run()
    assert trainer.progress.names == ["town-1", "town-2"]


def test_a_training_of_an_earlier_version_goes_on_as_it_was(tiny: Recipe, tmp_path: Path) -> None:
    data = tmp_path / "towns"
    write_town(data, 1)
    write_town(data, 2)
    write_town(data, 9, pairs=6, split="validation")
    alike = {"pairs": 24, "validation_pairs": 6, "area_km2": 0.0036}
    named = replace(tiny, data=replace(tiny.data, towns=(1, 2), validation=(9,), **alike))
    whole = trained(named, data, tmp_path / "whole")
    stopped(named, data, tmp_path / "old", after=3)
    # What was asked for then was not compared with what was there.
    state = load_checkpoint(tmp_path / "old" / CHECKPOINT)
    asked = replace(named, data=replace(named.data, pairs=999))
    state["recipe"] = asked.to_dict()
    for key in ("format", "version"):
        del state[key]
    del state["progress"]["validation"]
    save_checkpoint(tmp_path / "old" / CHECKPOINT, state)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_toml(asked), "utf-8")
    command = ["train", "--recipe", str(recipe), "--data", str(data), "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "old"), "--resume"]) == 0
    assert sorted(path.name for path in data.iterdir()) == ["town-1", "town-2", "town-9"]
    again = load_checkpoint(tmp_path / "old" / CHECKPOINT)
    assert again["progress"]["names"] == ["town-1", "town-2"]
    ended = load_checkpoint(tmp_path / "whole" / CHECKPOINT)
    assert again["progress"]["step"] == whole.progress.step
    for name, weights in ended["model"].items():
        assert torch.equal(again["model"][name], weights), name


def test_workers_make_the_same_batches(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    short = replace(tiny, optimiser=replace(tiny.optimiser, steps=2))
    here = trained(short, towns, tmp_path / "here")
    helped = replace(short, batch=replace(short.batch, workers=1))
    there = trained(helped, towns, tmp_path / "there")
    for name, value in here.model.state_dict().items():
        assert torch.equal(value, there.model.state_dict()[name]), name


def test_branches_side_by_side_give_the_same_gradients(
    tiny: Recipe, tmp_path: Path, towns: Path
) -> None:
    gradients = []
    for parallel in (False, True):
        model = Trainer(tiny, towns, tmp_path).model
        runner = BranchRunner(model, torch.device("cpu"), parallel=parallel)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(2, 4, 3, 64, 256, generator=generator)
        query, reference = runner.forward(images[0], images[1])
        runner.backward(reference, query)  # the gradient of their product
        runner.close()
        gradients.append([p.grad for n, p in model.named_parameters() if n != "logit_scale"])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_export_is_an_encoder_that_agrees_with_the_network(
    towns: Path, tiny: Recipe, tmp_path: Path
) -> None:
    trained(tiny, towns, tmp_path)
    card = export_encoder(tmp_path / CHECKPOINT, tmp_path / "tiny.encoder")
    assert card.name == "tiny" and card.azimuth_blocks == 32 and card.query_subshifts == 2
    encoder = open_encoder(tmp_path / "tiny.encoder", gpu=False)
    model, _ = load_model(tmp_path / CHECKPOINT)
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (2, 200, 200, 3), dtype=np.uint8)
    from engine.encoder import tiles_to_input

    with torch.no_grad():
        wanted = model.reference(torch.from_numpy(tiles_to_input(tiles, card.branches.reference)))
    np.testing.assert_allclose(encoder.encode_tiles(tiles), wanted.numpy(), atol=1e-4)
    photo = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    code = encoder.encode_photo(photo, View("perspective", 90.0), with_features=True)
    assert code.features is not None
    summed = code.features.sum(axis=2).transpose(0, 2, 1).reshape(code.descriptor.shape)
    np.testing.assert_allclose(summed, code.descriptor, atol=1e-6)


def test_the_command_line(
    towns: Path, tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "[network]\nazimuth_blocks = 32\nchannels = [4, 6, 8, 8]\nblock_dim = 4\n[batch]\nsize = 6\nworkers = 0\n"
        "[optimiser]\nsteps = 2\n[validation]\nqueries = 2\nstride_m = 30.0\n"
    )
    out = tmp_path / "out"
    command = [
        "train",
        "--recipe",
        str(recipe),
        "--data",
        str(towns),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    assert main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [
        "run",
        "validation",
        "checkpoint",
        "checkpoint",
        "done",
    ]
    assert all(line["version"] == 1 for line in lines)
    assert (out / "events.jsonl").read_text().splitlines()[-1].startswith('{"event": "done"')
    with pytest.raises(TrainingError, match="--resume"):
        main(command)
    assert main([*command, "--resume"]) == 0
    assert (
        main(
            ["export", "--checkpoint", str(out / CHECKPOINT), "--out", str(tmp_path / "a.encoder")]
        )
        == 0
    )


def test_what_goes_wrong_is_said(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        Trainer(tiny, tmp_path / "nowhere", tmp_path, emit=Listener()).run()
    with pytest.raises(DatasetError, match="no train towns"):
        Trainer(tiny, tmp_path, tmp_path, emit=Listener()).run()
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(TrainingError, match=r"damaged\.pt"):
        load_checkpoint(damaged)
    trained(tiny, towns, tmp_path / "out")
    other = Trainer(replace(tiny, seed=5), towns, tmp_path / "out", emit=Listener())
    with pytest.raises(TrainingError, match="another recipe"):
        other.resume(tmp_path / "out" / CHECKPOINT)
    full = tmp_path / "mine.encoder"
    full.mkdir()
    (full / "letters.txt").write_text("mine")
    with pytest.raises(EncoderError):
        export_encoder(tmp_path / "out" / CHECKPOINT, full)
