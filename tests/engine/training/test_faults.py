"""A training that is asked to stop or to pause, or that cannot go on, says so and keeps what is good."""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import engine.training.checkpoints as checkpoints
import tests.engine.training.networks  # noqa: F401 - registers
from engine.errors import DatasetError, TrainingError
from engine.training.checkpoints import load_checkpoint
from engine.training.command import main
from engine.training.control import PAUSE, STOP
from engine.training.gradients import Gradients
from engine.training.recipes import Recipe, recipe_from_dict, recipe_toml
from engine.training.trainer import CHECKPOINT, Trainer
from tests.engine.training.synthetic import write_town
from tests.engine.training.test_trainer import Listener


class Asking(Listener):
    """Puts a file beside the training after a number of steps."""

    def __init__(self, out: Path, name: str, after: int) -> None:
        super().__init__()
        self.out, self.name, self.after = out, name, after

    def __call__(self, event: str, **values: Any) -> None:
        super().__call__(event, **values)
        if event == "step" and values["step"] == self.after:
            (self.out / self.name).touch()


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(out / CHECKPOINT)["model"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_stopped_and_resumed_is_as_if_never_stopped(
    towns: Path, tiny: Recipe, tmp_path: Path
) -> None:
    Trainer(tiny, towns, tmp_path / "whole", emit=Listener()).run()
    out = tmp_path / "parts"
    listener = Asking(out, STOP, 2)
    assert Trainer(tiny, towns, out, emit=listener, report_every=1).run() == "stopped"
    assert listener.events[-1][0] == "stopped" and listener.events[-2][0] == "checkpoint"
    assert listener.events[-1][1]["step"] == 2
    assert not listener.named("validation")  # stopping is quick
    (out / STOP).unlink()
    again = Trainer(tiny, towns, out, emit=Listener())
    again.resume(out / CHECKPOINT)
    assert again.run() == "done"
    assert same(weights(tmp_path / "whole"), weights(out))


def test_a_pause_holds_and_goes_on(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    listener = Asking(tmp_path, PAUSE, 2)
    trainer = Trainer(tiny, towns, tmp_path, emit=listener, report_every=1)
    held = threading.Event()

    def release() -> None:
        while not listener.named("paused"):
            time.sleep(0.01)
        held.set()
        time.sleep(0.4)
        (tmp_path / PAUSE).unlink()

    thread = threading.Thread(target=release)
    thread.start()
    start = time.perf_counter()
    assert trainer.run() == "done"
    taken = time.perf_counter() - start
    thread.join()
    assert held.is_set()
    names = [event for event, _ in listener.events]
    at = names.index("paused")
    assert names[at - 1] == "checkpoint" and names[at + 1] == "resumed"
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] == 6
    assert trainer.progress.elapsed_s < taken - 0.3  # held time is not training time


def test_stopping_while_paused(towns: Path, tiny: Recipe, tmp_path: Path) -> None:
    class Both(Asking):
        def __call__(self, event: str, **values: Any) -> None:
            super().__call__(event, **values)
            if event == "paused":
                (self.out / STOP).touch()

    trainer = Trainer(tiny, towns, tmp_path, emit=Both(tmp_path, PAUSE, 1), report_every=1)
    assert trainer.run() == "stopped"
    assert trainer.progress.step == 1


def test_the_command_ends_with_130_when_stopped(
    towns: Path, tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_toml(replace(tiny, optimiser=replace(tiny.optimiser, steps=100_000))))
    out = tmp_path / "out"

    def stop() -> None:
        while not (out / "events.jsonl").exists():
            time.sleep(0.01)
        (out / STOP).touch()

    thread = threading.Thread(target=stop)
    thread.start()
    code = main(
        [
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
    )
    thread.join()
    assert code == 130
    assert capsys.readouterr().out.splitlines()[-1].startswith('{"event": "stopped"')
    assert (out / CHECKPOINT).exists() and (out / "recipe.toml").exists()


def test_a_loss_that_is_no_number_ends_it_with_good_weights(
    towns: Path, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny, towns, tmp_path, emit=Listener())
    honest = trainer.learner.loss.forward
    calls = []

    def sick(*args: Any) -> torch.Tensor:
        calls.append(1)
        return honest(*args) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(trainer.learner.loss, "forward", sick)
    with pytest.raises(TrainingError, match="no longer a number, at step 4") as caught:
        trainer.run()
    assert "rate" in str(caught.value)
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] == 3
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_too_little_memory_is_said_with_what_to_do(
    towns: Path, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Gradients.__call__
    calls = []

    def greedy(self: Gradients, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            torch.empty(1 << 60, dtype=torch.uint8)  # more than any machine has
        return real(self, *args, **options)

    monkeypatch.setattr(Gradients, "__call__", greedy)
    with pytest.raises(TrainingError, match=r"batch\.chunk to 3"):
        Trainer(tiny, towns, tmp_path, emit=Listener()).run()
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] == 2


def test_a_disk_that_fills_leaves_the_last_checkpoint(
    towns: Path, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.save
    calls = []

    def full(*args: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args, **options)

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: the checkpoint cannot be written"):
        Trainer(tiny, towns, tmp_path, emit=Listener(), checkpoint_s=0.0).run()
    assert load_checkpoint(tmp_path / CHECKPOINT)["progress"]["step"] == 2
    assert not list(tmp_path.glob("*.tmp*"))


def pairs_folder(folder: Path, count: int = 12) -> Path:
    rng = np.random.default_rng(0)
    lines = ["query,reference,split,lat,lon"]
    for i in range(count):
        for kind, shape in (("photo", (32, 128, 3)), ("tile", (64, 64, 3))):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            folder.joinpath(kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{i}.png")
        split = "train" if i < count - 4 else "val"
        lines.append(f"photo/{i}.png,tile/{i}.png,{split},{-48.87 + i * 0.01},{-123.39}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder


def on_pairs(**changes: Any) -> Recipe:
    return recipe_from_dict(
        {
            "name": "pairs",
            "data": {"format": "pairs"},
            "network": {"name": "test-patches"},
            "tile": {"projection": "plain", "pixels": 64, "height": 64, "width": 64},
            "canvas": {"height": 32, "width": 128, "query_subshifts": 1, "projection": "plain"},
            "query": {"heading": "north", "full_share": 1.0},
            "batch": {"size": 4, "workers": 0, "turn": True},
            "loss": {"name": "info-nce"},
            "optimiser": {"steps": 4, "warmup": 1, "precision": "fp32"},
            "validation": {"every": 1000, "queries": 4, "pictures": 2},
            **changes,
        }
    )


def test_one_s_own_pairs_train_and_are_validated(tmp_path: Path) -> None:
    data = pairs_folder(tmp_path / "data")
    listener = Listener()
    out = tmp_path / "out"
    assert Trainer(on_pairs(), data, out, emit=listener).run() == "done"
    (validation,) = listener.named("validation")
    assert set(validation["queries"]["queries"]) == {"R@1", "R@5", "R@10", "R@1%"}
    assert validation["tiles"] >= 4
    assert len(validation["pairs"]) == 2
    assert all((out / pair["photo"]).is_file() for pair in validation["pairs"])
    assert listener.named("run")[0]["pairs"] == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_image_is_named_and_the_checkpoint_is_good(tmp_path: Path, workers: int) -> None:
    data = pairs_folder(tmp_path / "data")
    out = tmp_path / "out"
    recipe = on_pairs(batch={"size": 8, "workers": workers}, validation={"queries": 0})
    Trainer(
        replace(recipe, optimiser=replace(recipe.optimiser, steps=2)), data, out, emit=Listener()
    ).run()
    (data / "photo" / "3.png").unlink()
    trainer = Trainer(recipe, data, out, emit=Listener())
    trainer.progress.step = 2
    with pytest.raises(DatasetError, match=r"3\.png"):
        trainer.run()
    assert load_checkpoint(out / CHECKPOINT)["progress"]["step"] >= 2


def test_pictures_that_find_no_room_end_nothing(
    towns: Path, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("engine.training.pictures.save_picture", full)
    listener = Listener()
    assert Trainer(tiny, towns, tmp_path, emit=listener).run() == "done"
    (validation,) = listener.named("validation")
    assert validation["pairs"] == [] and validation["queries"]


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("ortho", lambda a: a[..., :2], "do not fit"),
        ("positions", lambda a: a * np.nan, "no such numbers"),
        ("panoramas", lambda a: a[:, :, ::2], "another size"),
        ("panoramas", None, "cannot be read"),
    ],
)
def test_damaged_towns_are_named(
    tiny: Recipe, tmp_path: Path, name: str, spoil: Any, said: str
) -> None:
    data = tmp_path / "Städte 日本"
    write_town(data, 1)
    file = write_town(data, 2) / f"{name}.npy"
    if spoil is None:
        file.write_bytes(b"")
    else:
        np.save(file, spoil(np.load(file)))
    with pytest.raises(DatasetError, match=said) as caught:
        Trainer(tiny, data, tmp_path / "out", emit=Listener()).run()
    assert "town-2" in str(caught.value)


def test_another_projects_weights_are_sent_to_the_verb_that_reads_them(tmp_path: Path) -> None:
    torch.save({"stem.weight": torch.zeros(3)}, tmp_path / "best_model.pth")
    with pytest.raises(TrainingError) as caught:
        load_checkpoint(tmp_path / "best_model.pth")
    assert "nadir import" in str(caught.value)
