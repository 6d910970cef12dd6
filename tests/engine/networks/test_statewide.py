"""The statewide encoder against what its authors' JAX code printed for weights made by rule."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import engine.networks.statewide as statewide_module
from engine.networks import build_network
from engine.networks.releases import Found
from engine.networks.spatial_softmax import SpatialSoftmax
from engine.networks.statewide import StatewideBranch, from_flax, statewide
from tests.golden_rule import rule_z


def flax_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of the golden numbers for flax names and layouts."""
    z = rule_z(name, shape)
    parent, last = name.split("//")[-2:]
    if len(shape) >= 2:
        value = z * np.float32(1 / math.sqrt(math.prod(shape[:-1])))
    elif last == "scale" and parent.startswith("_Norm_"):
        value = np.float32(1) + np.float32(0.1) * z
    elif last == "bias":
        value = np.float32(0.1) * z
    else:
        value = np.float32(0.1) + np.float32(0.01) * z
    return torch.from_numpy(value)


def keys(golden: Path) -> dict[str, tuple[int, ...]]:
    entries = json.loads((golden / "statewide" / "statewide_base_keys.json").read_text())
    return {entry["name"]: tuple(entry["shape"]) for entry in entries}


def branch_state(golden: Path, side: str) -> dict[str, Tensor]:
    names = {name: shape for name, shape in keys(golden).items() if f"//{side}_" in name}
    adapted = from_flax({name: flax_tensor(name, shape) for name, shape in names.items()})
    return {name.removeprefix(f"{side}."): value for name, value in adapted.items()}


def structured(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Pixels 0..255 [..., H, W, 3] on squares of 64 pixels, brought to a graph's input [..., 3, H, W]."""
    rng = np.random.Generator(np.random.PCG64(seed))
    z = rng.integers(0, 256, shape).astype(np.float32)
    height, width = shape[-3:-1]
    squares = (*shape[:-3], math.ceil(height / 64), math.ceil(width / 64), 3)
    q = rng.integers(0, 256, squares).astype(np.float32)
    spread = q.repeat(64, axis=-3).repeat(64, axis=-2)[..., :height, :width, :]
    pixels = torch.from_numpy(0.25 * z + 0.75 * spread)
    mean = torch.tensor(statewide_module.IMAGENET_MEAN)
    std = torch.tensor(statewide_module.IMAGENET_STD)
    return ((pixels / 255 - mean) / std).movedim(-1, -3)


def check_tap(ours: Tensor, npz: Any, name: str) -> None:
    """Maps are kept channels last, in part."""
    flat = ours.movedim(-3, -1).flatten().numpy()
    assert np.abs(flat[:4096] - npz[f"{name}__first4096"]).max() <= 2e-5
    assert np.abs(flat[:: int(npz[f"{name}__every_step"])] - npz[f"{name}__every"]).max() <= 2e-5


CASES = [
    ("pv", (480, 640), 1, 8101, (1, 480, 640, 3)),
    pytest.param("aerial", (384, 384), 4, 8102, (1, 4, 384, 384, 3), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("side", "size", "extents", "seed", "shape"), CASES)
def test_features_are_the_authors(
    golden: Path,
    side: str,
    size: tuple[int, int],
    extents: int,
    seed: int,
    shape: tuple[int, ...],
) -> None:
    branch = StatewideBranch(size, extents=extents).eval()
    branch.load_state_dict(branch_state(golden, side), strict=True)
    npz = np.load(golden / "statewide" / "statewide_base.npz")
    with torch.inference_mode():
        maps = branch.feature_map(structured(seed, shape))
        check_tap(maps.flatten(0, -4), npz, f"{side}_encoder_struct")
        raw = branch.decoder(maps)
        features = raw / (raw.norm(dim=-1, keepdim=True) + 1e-5) * 6
        assert np.abs(features.numpy() - npz[f"{side}_features_struct"]).max() <= 5e-6
        descriptor, parts = branch.decoder.evidence(maps)
    assert torch.allclose(descriptor, torch.nn.functional.normalize(features), atol=1e-6)
    assert parts.shape[1] == (4 if side == "aerial" else 1024)
    places = (1, 3, 4) if side == "aerial" else (2, 3)
    assert torch.allclose(parts.sum(places), descriptor, atol=1e-6)


def test_published_names_are_recognised_and_all_used(golden: Path) -> None:
    shapes = keys(golden)
    found = statewide_module._recognise(shapes)
    assert found is not None and found.network == "statewide"
    with torch.device("meta"):
        network = build_network(found.network, found.options)
        state = from_flax({name: torch.zeros(shape) for name, shape in shapes.items()})
    ours = {name: value.shape for name, value in network.state_dict().items()}
    assert ours == {name: value.shape for name, value in state.items()}
    assert sum(value.numel() for value in network.parameters()) == 177_363_200
    for part, count in (("encoder", 87_564_416), ("decoder", 1_117_184)):
        for branch in (network.query, network.reference):
            module = branch.get_submodule(part)
            assert sum(value.numel() for value in module.parameters()) == count
    assert statewide_module._recognise({**shapes, "params//other": (3,)}) is None
    assert statewide_module._recognise({}) is None
    with pytest.raises(KeyError):
        from_flax({"params//other": torch.zeros(3)})


def test_the_card_reads_south_up_tiles_of_four_extents() -> None:
    preprocessing = statewide_module._preprocess(Found("statewide", "", (480, 640), (384, 384), {}))
    assert preprocessing.tile_up == "south" and preprocessing.reference.missing == "white"
    assert preprocessing.tile_extents_m == (76.8, 153.6, 307.2, 614.4)
    assert preprocessing.query.fit == "pad" and preprocessing.query.resize == "gaussian"


def test_a_small_one_learns_and_says_why() -> None:
    torch.manual_seed(1)
    network = statewide(
        query_size=(64, 96),
        reference_size=(64, 64),
        extents=2,
        depths=(1, 1, 1, 1),
        dims=(8, 16, 24, 32),
        heads=4,
        dim=16,
    )
    photos, tiles = torch.randn(3, 3, 64, 96), torch.randn(3, 2, 3, 64, 64)
    queries, references = network(photos, tiles)
    assert queries.shape == references.shape == (3, 16)
    assert torch.allclose(queries.norm(dim=1), torch.full((3,), 6.0), atol=1e-3)
    (queries @ references.t()).diagonal().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    assert isinstance(network.reference, StatewideBranch)
    assert network.reference.evidence(tiles)[1].shape == (3, 2, 16, 2, 2)
    with pytest.raises(ValueError, match="3 images"):
        network.reference(torch.zeros(1, 3, 3, 64, 64))


def test_heads_must_divide_the_descriptor() -> None:
    with pytest.raises(ValueError, match="equal heads"):
        SpatialSoftmax(8, heads=3, dim=16)
