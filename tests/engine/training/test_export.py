"""Encoders of fewer bits: what they weigh, what they cost, and what their cards say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.encoder import open_encoder
from engine.errors import NadirError
from engine.photo.projections import View
from engine.training.command import main
from engine.training.export import export_encoder
from engine.training.recipes import Recipe
from engine.training.trainer import CHECKPOINT
from tests.engine.training.test_trainer import trained


@pytest.fixture
def checkpoint(towns: Path, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    recipe = replace(tiny, validation=replace(tiny.validation, queries=6))
    trained(recipe, towns, out)
    return out / CHECKPOINT


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_are_measured_and_still_an_encoder(
    checkpoint: Path, towns: Path, tmp_path: Path, precision: str
) -> None:
    plain, small = tmp_path / "plain.encoder", tmp_path / "small.encoder"
    export_encoder(checkpoint, plain)
    command = ["export", "--checkpoint", str(checkpoint), "--out", str(small)]
    assert main([*command, "--precision", precision, "--data", str(towns)]) == 0
    one, other = open_encoder(plain, gpu=False), open_encoder(small, gpu=False)
    (measured,) = other.card.measured
    assert measured["precision"] == precision
    assert set(measured["before"]) == set(measured["after"]) != set()
    first = next(iter(measured["before"]))
    recalls = [next(iter(measured[when][first].values())) for when in ("before", "after")]
    assert all(0.0 <= recall <= 1.0 for recall in recalls)
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    view = View("perspective", 90.0)
    codes = [e.encode_photo(photo, view, with_features=True) for e in (one, other)]
    assert (codes[0].descriptor * codes[1].descriptor).sum(axis=1).min() > 0.95
    # What the evidence adds up to stays the descriptor, whatever the bits.
    features = codes[1].features
    assert features is not None
    summed = features.sum(axis=2).transpose(0, 2, 1).reshape(codes[1].descriptor.shape)
    np.testing.assert_allclose(summed, codes[1].descriptor, atol=1e-5)


def test_eight_bits_need_pictures(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(NadirError, match="--data"):
        export_encoder(checkpoint, tmp_path / "a.encoder", precision="int8")
    with pytest.raises(NadirError, match="--data"):
        export_encoder(checkpoint, tmp_path / "a.encoder", precision="int8", data=tmp_path / "no")
    assert not (tmp_path / "a.encoder").exists()
