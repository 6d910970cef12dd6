"""Sample4Geo: published names, sizes and counts (its numbers are held elsewhere), and what it does with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine.networks.sample4geo as sample4geo_module
from engine.networks import build_network
from engine.networks.region_convnext import RegionConvNeXt
from engine.networks.releases import Found, releases
from engine.networks.sample4geo import sample4geo
from tests.golden_rule import read_keys


def test_published_names_are_recognised_and_all_used(golden: Path) -> None:
    keys = read_keys(golden / "sample4geo" / "sample4geo_convnext_base_keys.json")
    shapes = {name: shape for name, shape, _ in keys}
    found = [release.recognise(shapes) for release in releases()]
    (mine,) = [item for item in found if item is not None]
    with torch.device("meta"):
        network = build_network(mine.network, mine.options)
    assert network.shared
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == shapes
    assert sum(t.numel() for t in network.parameters()) == 87_566_465


def test_a_small_one_is_the_norm_of_the_mean() -> None:
    torch.manual_seed(1)
    network = sample4geo(
        query_size=(35, 192), reference_size=(96, 96), depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)
    )
    branch = network.query
    assert branch is network.reference and isinstance(branch, RegionConvNeXt)
    assert network.logit_scale is not None
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    photos, tiles = torch.randn(2, 3, 35, 192), torch.randn(2, 3, 96, 96)
    queries, references = network(photos, tiles)
    assert queries.shape == references.shape == (2, 32)
    mean = branch.feature_map(photos).mean((2, 3))
    wanted = torch.nn.functional.layer_norm(
        mean, (32,), branch.head.norm.weight, branch.head.norm.bias, 1e-6
    )
    assert torch.allclose(queries, wanted, atol=1e-6)
    descriptor, parts = branch.evidence(tiles)
    assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-6)
    assert torch.allclose(descriptor, torch.nn.functional.normalize(references), atol=1e-6)


@pytest.mark.parametrize(
    ("query_size", "half_height"), [((384, 768), 90.0), ((140, 768), 180 * 224 / 1232)]
)
def test_the_card_follows_the_panoramas_shape(
    query_size: tuple[int, int], half_height: float
) -> None:
    preprocessing = sample4geo_module._preprocess(Found("sample4geo", "", query_size, (384, 384)))
    assert preprocessing.query.top_deg == pytest.approx(half_height)
    assert preprocessing.query.resize == preprocessing.reference.resize == "linear"
