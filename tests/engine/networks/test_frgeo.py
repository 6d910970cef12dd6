"""ConvNeXt, FRM and FRGeo against what the authors' code printed for weights made by rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import engine.networks.frgeo as frgeo_module
from engine.errors import TrainingError
from engine.networks import build_network
from engine.networks.convnext import ConvNeXt, size_of, to_facebook_names, to_timm_names
from engine.networks.frgeo import frgeo
from engine.networks.frm import RegionPool, column_groups, quarters, regions_of, whole
from engine.networks.parts import Composed, build_aggregation
from engine.networks.pretrained import load_pretrained
from engine.networks.region_convnext import RegionConvNeXt
from engine.networks.releases import releases
from tests.golden_rule import assert_matches, read_keys, rule_input, rule_state

SMALL = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32), "layer_scale": 1.0}


def check_evidence(branch: torch.nn.Module, x: Tensor, raw: Tensor) -> None:
    """Descriptor of norm 1, and parts that add up to it."""
    assert isinstance(branch, RegionConvNeXt | Composed)
    descriptor, parts = branch.evidence(x)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    assert torch.allclose(descriptor, torch.nn.functional.normalize(raw), atol=1e-6)
    assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-6)


def test_frgeo_is_the_authors(golden: Path) -> None:
    keys = golden / "frgeo" / "frgeo_official_cvusa_keys.json"
    network = build_network("frgeo", {}).eval()
    assert list(network.state_dict()) == [name for name, *_ in read_keys(keys)]
    network.load_state_dict(rule_state(keys), strict=True)
    npz = np.load(golden / "frgeo" / "frgeo_official_cvusa.npz")
    photos = rule_input(3001, (2, 3, 128, 512), struct=True)
    tiles = rule_input(3002, (2, 3, 256, 256), struct=True)
    with torch.inference_mode():
        for branch, x, name in ((network.query, photos, "grd"), (network.reference, tiles, "sat")):
            raw = branch(x)
            assert_matches(raw, npz, f"{name}_struct", 2e-5, 1e-5)
            check_evidence(branch, x[:1], raw[:1])


@pytest.mark.parametrize("held", ["frgeo_official_cvusa", "frgeo_official_vigor"])
def test_published_names_are_recognised(golden: Path, held: str) -> None:
    keys = read_keys(golden / "frgeo" / f"{held}_keys.json")
    shapes = {name: shape for name, shape, _ in keys}
    found = [release.recognise(shapes) for release in releases() if not release.part]
    (mine,) = [item for item in found if item is not None]
    with torch.device("meta"):
        network = build_network(mine.network, mine.options)
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == shapes
    assert sum(t.numel() for t in network.parameters()) == 55_640_256


def test_frm_on_timms_convnext_is_the_formula(golden: Path) -> None:
    """One set of weights without a prefix, both sides; the three norms of the formula."""
    folder = golden / "frgeo"
    state = rule_state(folder / "frm_formula_timm_convnext_tiny_keys.json")
    npz = np.load(folder / "frm_formula_timm_convnext_tiny.npz")
    found = frgeo_module._recognise_timm({k: tuple(v.shape) for k, v in state.items()})
    assert found is not None
    network = build_network(found.network, found.options).eval()
    network.load_state_dict(frgeo_module._twice(state, found), strict=True)
    count = sum(value.numel() for value in state.values())
    assert sum(value.numel() for value in network.parameters()) == count
    photos = rule_input(3101, (2, 3, 128, 512), struct=True)
    tiles = rule_input(3102, (2, 3, 256, 256), struct=True)
    with torch.inference_mode():
        for branch, x, name in ((network.query, photos, "grd"), (network.reference, tiles, "sat")):
            assert isinstance(branch, RegionConvNeXt)
            feature_map = branch.feature_map(x)
            # Both are up to 2e-5 from the same in double precision, at values up to 16.
            assert_matches(feature_map, npz, f"{name}_featmap_struct", 5e-5, 1e-5)
            size = (feature_map.shape[2], feature_map.shape[3])
            side = "query" if name == "grd" else "reference"
            for norm, kept, atol, rtol in (
                ("none", "raw", 2e-5, 1e-5),
                ("l2", "l2", 1e-6, 0.0),
                ("layernorm", "ln", 2e-5, 1e-5),
            ):
                head = build_aggregation(
                    "frm", {"norm": norm}, side=side, channels=768, map_size=size
                )
                assert isinstance(head, RegionPool)
                if norm == "layernorm":
                    gain, bias = state["head.norm.weight"], state["head.norm.bias"]
                    head.norm.load_state_dict({"weight": gain, "bias": bias})
                raw = head(feature_map)
                assert_matches(raw, npz, f"{name}_frm_{kept}_struct", atol, rtol)
                descriptor, parts = head.evidence(feature_map)
                assert torch.allclose(descriptor, torch.nn.functional.normalize(raw), atol=1e-6)
                assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-6)


def test_regions_stand_around_the_camera() -> None:
    """S, W, N, E: a north-up tile whose quarters are numbered like the columns of a panorama."""
    panorama = torch.arange(4.0).repeat_interleave(2).expand(1, 1, 3, 8)
    tile = torch.tensor([[1.0, 2.0], [0.0, 3.0]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    ground = RegionPool(1, regions_of("query"), (3, 8), norm="none")
    aerial = RegionPool(1, regions_of("reference"), (4, 4), norm="none")
    assert ground(panorama).tolist() == [[0, 1, 2, 3]]
    assert aerial(tile[None, None]).tolist() == [[0, 1, 2, 3]]


def test_odd_maps_leave_the_rest_to_the_last() -> None:
    groups = [columns.stop - columns.start for _, columns in column_groups(1, 11)]
    assert groups == [2, 2, 2, 5]
    (rows, columns), *_ = quarters(5, 7)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (2, 5, 0, 3)
    x = torch.randn(2, 3, 5, 7)
    pool = RegionPool(3, regions_of("reference"), (5, 7))
    descriptor, parts = pool.evidence(x)
    assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-6)
    with pytest.raises(ValueError, match="four groups"):
        column_groups(4, 3)
    with pytest.raises(ValueError, match="quarters"):
        quarters(1, 8)


def test_a_square_photo_is_no_tile() -> None:
    """The authors tell the view from the map's shape; here it is said."""
    network = frgeo(query_size=(128, 128), reference_size=(128, 128), **SMALL).eval()
    network.reference.load_state_dict(network.query.state_dict())
    with torch.no_grad():
        photo, tile = network(*[torch.randn(1, 3, 128, 128)] * 2)
    assert not torch.allclose(photo, tile, atol=1e-3)


def test_the_baseline_is_the_mean() -> None:
    network = frgeo(query_size=(64, 256), reference_size=(128, 128), frm=False, **SMALL).eval()
    assert isinstance(network.query, RegionConvNeXt) and network.query.dim == 32
    x = torch.randn(2, 3, 64, 256)
    with torch.no_grad():
        raw = network.query(x)
        mean = network.query.feature_map(x).mean((2, 3))
        assert torch.allclose(raw, network.query.norm(mean), atol=1e-6)
        check_evidence(network.query, x, raw)


@pytest.mark.parametrize("names", ["facebook", "timm"])
@pytest.mark.parametrize("norm", ["none", "l2", "layernorm"])
def test_small_ones_learn(names: str, norm: str) -> None:
    torch.manual_seed(0)
    options = {"query_size": [64, 256], "reference_size": [128, 128], "names": names, "norm": norm}
    network = build_network("frgeo", {**SMALL, **options})
    photos, tiles = torch.randn(2, 3, 64, 256), torch.randn(2, 3, 128, 128)
    queries, references = network(photos, tiles)
    assert queries.shape == references.shape == (2, 4 * 32)
    (queries * references).square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    check_evidence(network.query, photos, queries)


@pytest.mark.parametrize("backbone", ["small-resnet", "convnext-tiny", "vgg16-tf", "deit"])
def test_frm_stands_on_any_backbone(backbone: str) -> None:
    torch.manual_seed(0)
    options = {
        "small-resnet": {"channels": (4, 8, 8, 8)},
        "convnext-tiny": SMALL,
        "vgg16-tf": {"widths": (4, 4, 4, 4, 8)},
        "deit": {},
    }[backbone]
    query_options = dict(options)
    if backbone == "deit":
        query_options = {"input_size": (64, 256), "depth": 1, "dim": 24, "heads": 2}
        options = {"input_size": (128, 128), "depth": 1, "dim": 24, "heads": 2}
    network = build_network(
        "composed",
        {
            "backbone": backbone,
            "aggregation": "frm",
            "query_size": (64, 256),
            "reference_size": (128, 128),
            "query": {"backbone_options": query_options},
            "reference": {"backbone_options": options},
        },
    ).eval()
    with torch.no_grad():
        for branch, size in ((network.query, (64, 256)), (network.reference, (128, 128))):
            x = torch.randn(2, 3, *size)
            raw = branch(x)
            assert raw.shape == (2, branch.dim)
            check_evidence(branch, x, raw)


def test_names_of_both_projects_hold_the_same_weights() -> None:
    one = RegionConvNeXt(whole, (64, 64), depths=(1, 2, 1, 1), dims=(4, 8, 8, 8), names="facebook")
    other = RegionConvNeXt(whole, (64, 64), depths=(1, 2, 1, 1), dims=(4, 8, 8, 8), names="timm")
    state = one.state_dict()
    other.load_state_dict(to_timm_names(state), strict=True)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))
    assert {k: v.shape for k, v in to_facebook_names(other.state_dict()).items()} == {
        k: v.shape for k, v in state.items()
    }
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    assert size_of(shapes) == ("facebook", [1, 2, 1, 1], [4, 8, 8, 8])
    assert size_of({"stem.0.weight": (1,)}) is None


@pytest.mark.parametrize("names", ["facebook", "timm"])
def test_imagenet_weights_start_either_naming(names: str) -> None:
    torch.manual_seed(6)
    published = RegionConvNeXt(whole, (64, 64), depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    torch.nn.init.normal_(published.norm.weight)
    state = {**published.state_dict(), "head.weight": torch.zeros(10, 32)}
    network = frgeo(names=names, **SMALL)  # pyright: ignore[reportArgumentType]
    assert load_pretrained(network, state) == ("query_net", "reference_net")
    x = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        assert isinstance(network.query, ConvNeXt)
        assert torch.equal(network.query.feature_map(x), published.feature_map(x))
        descriptor = network.reference(torch.randn(1, 3, 64, 64))
    assert descriptor.shape == (1, 128)
    known = network.query.state_dict()
    gain = known["head.norm.weight" if names == "timm" else "norm.weight"]
    assert torch.equal(gain, published.norm.weight)
    # A part is refused by name, not imported as an encoder.
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    (release,) = [r for r in releases() if r.recognise(shapes)]
    assert release.part
    with pytest.raises(TrainingError, match="do not fit"):
        load_pretrained(frgeo(**{**SMALL, "dims": (8, 16, 24, 40)}), state)


def test_what_cannot_be_built_is_said() -> None:
    for options in (
        {"query_size": (16, 512)},
        {"depths": (1, 1)},
        {"names": "mine"},
        {"norm": "batch"},
        {"patch": 3},
        {"query_size": (32, 64)},
    ):
        with pytest.raises(TrainingError):
            build_network("frgeo", {**SMALL, **options})
