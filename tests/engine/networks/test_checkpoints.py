"""Reading foreign checkpoints: whatever is harmless is read, whatever is not is named."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import EncoderError
from engine.networks.checkpoints import read_checkpoint

WEIGHTS = {"stem.weight": torch.arange(6.0).reshape(2, 3), "stem.bias": torch.ones(2)}


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def save_npz(path: Path, state: dict[str, torch.Tensor]) -> None:
    arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    np.savez(path, **arrays)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict"])
def test_wrappers_and_prefixes_are_gone(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    state: Any = {prefix + name: value for name, value in WEIGHTS.items()}
    content = state if wrapper is None else {wrapper: state, "epoch": 3, "best": np.float64(0.9)}
    read = read_checkpoint(saved(tmp_path / "a.pth", content))
    assert list(read) == list(WEIGHTS)
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_what_training_scripts_save_beside_the_weights_is_no_obstacle(tmp_path: Path) -> None:
    content = {
        "state_dict": WEIGHTS,
        "args": argparse.Namespace(lr=0.1),
        "recalls": np.ones(3),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}},
    }
    assert list(read_checkpoint(saved(tmp_path / "a.pth.tar", content))) == list(WEIGHTS)
    old = saved(tmp_path / "old.pth", content, _use_new_zipfile_serialization=False)
    assert list(read_checkpoint(old)) == list(WEIGHTS)


def test_a_state_dict_for_each_branch_is_joined(tmp_path: Path) -> None:
    branch = {"module." + name: value for name, value in WEIGHTS.items()}
    content = {"model_grd": branch, "model_sat": branch, "epoch": 1}
    read = read_checkpoint(saved(tmp_path / "a.pth", content))
    assert set(read) == {
        f"{side}.{name}" for side in ("model_grd", "model_sat") for name in WEIGHTS
    }


def test_safetensors_and_npz(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    save_npz(tmp_path / "a.npz", WEIGHTS)
    for name in ("a.safetensors", "a.npz"):
        read = read_checkpoint(tmp_path / name)
        assert all(torch.equal(read[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "npz"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, kind: str) -> None:
    mark, path = tmp_path / "executed", tmp_path / f"a.{kind}"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": Bomb(mark)}))
    elif kind == "npz":
        np.savez(path, a=np.array([Bomb(mark)], object))
    else:
        saved(path, {"a": Bomb(mark)}, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(EncoderError, match="Python objects") as caught:
        read_checkpoint(path)
    assert caught.value.path == path and caught.value.remedy
    assert not mark.exists()


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("these are no weights")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "folder").mkdir()
    saved(tmp_path / "epoch.pth", {"epoch": 3})
    saved(tmp_path / "ours.pt", {"format": "nadir-checkpoint", "version": 1})
    wanted = {
        "empty.pth": "empty",
        "text.pth": "no file of weights",
        "photo.png": "no file of weights",
        "folder": "folder",
        "epoch.pth": "'epoch'",
        "ours.pt": "nadir export",
        "missing.pth": "no such file",
    }
    for name, words in wanted.items():
        with pytest.raises(EncoderError) as caught:
            read_checkpoint(tmp_path / name)
        assert words in str(caught.value) and str(caught.value).startswith(name)
        assert caught.value.remedy


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", Path(os.devnull)):
        with pytest.raises(EncoderError, match="no file"):
            read_checkpoint(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, share: float) -> None:
    whole = {name: torch.zeros(64, 64) for name in "abcd"}
    saved(tmp_path / "a.pth", whole)
    saved(tmp_path / "b.pth", whole, _use_new_zipfile_serialization=False)
    save_file(whole, tmp_path / "c.safetensors")
    save_npz(tmp_path / "d.npz", whole)
    for path in list(tmp_path.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(EncoderError, match=r"cut off|cannot be read"):
            read_checkpoint(path)


def test_sizes_that_a_file_only_claims_are_not_believed(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    text = json.dumps(header).encode()
    path = tmp_path / "claims.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    with pytest.raises(EncoderError, match="safetensors"):
        read_checkpoint(path)
    path.write_bytes(struct.pack("<Q", 1 << 20) + text)
    with pytest.raises(EncoderError, match="cut off"):
        read_checkpoint(path)
