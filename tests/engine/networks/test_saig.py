"""SAIG against what its authors' code puts out for the same weights, and what we add to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.errors import EncoderError, TrainingError
from engine.networks import DualEncoder, build_network, descriptors
from engine.networks.evidence import EvidentBranch
from engine.networks.positions import resize_positions
from engine.networks.pretrained import load_pretrained
from engine.networks.releases import Found, Release, releases
from engine.networks.saig.branch import HEADS, BareBranch, saig_branch
from engine.networks.saig.releases import adapt_pair, recognise_pair
from tests.golden_rule import assert_matches, read_keys, rule_input, rule_state, rule_z

TOKENS = (2e-5, 1e-5)
UNIT = 1e-6
SMALL: dict[str, Any] = {
    "depth": 2,
    "dim": 24,
    "heads": 3,
    "stem": (8, 8, 12, 16),
    "query_size": (64, 256),
    "reference_size": (128, 128),
}


def small(**more: Any) -> DualEncoder:
    torch.manual_seed(3)
    return build_network("saig", {**SMALL, **more}).eval()


def side_inputs(struct: bool) -> tuple[Tensor, Tensor]:
    return rule_input(1001, (2, 3, 128, 512), struct), rule_input(1002, (2, 3, 256, 256), struct)


@pytest.mark.parametrize(
    ("golden_name", "variant", "head", "inputs"),
    [
        ("saig_shallow_gap", "S", "gap", ("", "_struct")),
        ("saig_shallow_smd", "S", "smd", ("", "_struct")),
        ("saig_deep_gap", "D", "gap", ("_struct",)),
    ],
)
def test_two_branches_are_the_authors(
    golden: Path, golden_name: str, variant: str, head: str, inputs: tuple[str, ...]
) -> None:
    model = build_network("saig", {"variant": variant, "head": head}).eval()
    model.load_state_dict(rule_state(golden / "saig" / f"{golden_name}_keys.json"))
    with np.load(golden / "saig" / f"{golden_name}.npz") as npz, torch.no_grad():
        for kind in inputs:
            images = side_inputs(kind == "_struct")
            for side, branch, x in zip(
                ("grd", "sat"), (model.query, model.reference), images, strict=True
            ):
                backbone = cast(Any, branch).backbone
                tokens = backbone.tokens(x)
                assert_matches(tokens, npz, f"{side}_tokens{kind}", *TOKENS)
                raw = branch(x)
                assert_matches(raw, npz, f"{side}_unnormalised{kind}", *TOKENS)
                assert_matches(descriptors(raw), npz, f"{side}{kind}", UNIT)
                if side == "grd":
                    stem = backbone.patch_embed(x).flatten(2).transpose(1, 2)
                    assert_matches(stem, npz, f"grd_stem_tokens{kind}", *TOKENS)


def test_the_large_one_with_smd_loads_and_has_the_authors_size(golden: Path) -> None:
    """Its outputs are not at hand; names, sizes and the number of parameters are."""
    model = build_network("saig", {"variant": "D", "head": "smd"}).eval()
    model.load_state_dict(rule_state(golden / "saig" / "saig_deep_smd_keys.json"))
    assert sum(p.numel() for p in model.parameters()) == 32_283_664
    with torch.no_grad():
        out = descriptors(model.reference(rule_input(1002, (1, 3, 256, 256), True)))
    assert out.shape == (1, 3072)
    assert float(out.norm()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("golden_name", "head"), [("gem", "gem"), ("reducedim", "reduce-dim"), ("safa", "safa")]
)
def test_the_other_heads_are_the_authors(golden: Path, golden_name: str, head: str) -> None:
    branch = saig_branch(input_size=(128, 512), head=head).eval()
    stem = f"saig_shallow_branch_{golden_name}"
    branch.load_state_dict(rule_state(golden / "saig" / f"{stem}_keys.json"))
    with np.load(golden / "saig" / f"{stem}.npz") as npz, torch.no_grad():
        for kind in ("", "_struct"):
            out = branch(rule_input(1001, (2, 3, 128, 512), bool(kind)))
            assert_matches(out, npz, f"out{kind}", *TOKENS)


def test_the_imagenet_classifier_is_the_authors(golden: Path) -> None:
    branch = saig_branch(input_size=(224, 224), head="bare", classes=1000).eval()
    assert isinstance(branch, BareBranch)
    branch.load_state_dict(rule_state(golden / "saig" / "saig_shallow_imagenet_keys.json"))
    x = rule_input(1003, (2, 3, 224, 224))
    with np.load(golden / "saig" / "saig_shallow_imagenet.npz") as npz, torch.no_grad():
        assert_matches(branch.tokens(x), npz, "tokens", *TOKENS)
        assert_matches(branch.logits(x), npz, "head_tokens", *TOKENS)


def test_positions_are_resized_as_the_authors_do(golden: Path) -> None:
    positions = torch.from_numpy(np.float32(0.02) * rule_z("pos_embed", (1, 196, 384)))
    with np.load(golden / "saig" / "saig_resize_pos_embed.npz") as npz:
        for name, grid in (("grd_8x32", (8, 32)), ("sat_16x16", (16, 16))):
            assert_matches(resize_positions(positions, (14, 14), grid), npz, name, 1e-7)


def test_imagenet_weights_start_both_branches(golden: Path) -> None:
    state = rule_state(golden / "saig" / "saig_shallow_imagenet_keys.json")
    model = build_network("saig", {"head": "smd"})
    heads = {n: p.clone() for n, p in model.named_parameters() if ".linear" in n}
    assert load_pretrained(model, state) == ("model_grd.backbone", "model_sat.backbone")
    after = model.state_dict()
    for side, grid in (("model_grd", (8, 32)), ("model_sat", (16, 16))):
        wanted = resize_positions(state["pos_embed"], (14, 14), grid)
        assert torch.equal(after[f"{side}.backbone.pos_embed"], wanted)
        name = "blocks.10.attn.qkv.weight"
        assert torch.equal(after[f"{side}.backbone.{name}"], state[name])
    assert all(torch.equal(after[name], before) for name, before in heads.items())


def test_weights_that_do_not_fit_are_refused(golden: Path) -> None:
    state = rule_state(golden / "saig" / "saig_shallow_imagenet_keys.json")
    with pytest.raises(TrainingError, match="do not fit"):
        load_pretrained(build_network("saig", {"variant": "D"}), state)
    with pytest.raises(TrainingError, match="do not fit"):
        load_pretrained(small(), {"conv1.weight": torch.zeros(1)})
    with pytest.raises(TrainingError, match="no backbone"):
        load_pretrained(nn.Linear(2, 2), state)


@pytest.mark.parametrize("head", [*HEADS, "bare"])
def test_small_networks_train_and_say_where_from(head: str) -> None:
    model = small(head=head)
    x = torch.randn(3, 3, 64, 256)
    for branch, images in ((model.query, x), (model.reference, torch.randn(3, 3, 128, 128))):
        assert isinstance(branch, EvidentBranch)
        with torch.no_grad():
            raw = branch(images)
            descriptor, evidence = branch.evidence(images)
            one = branch(images[:1])
        torch.testing.assert_close(descriptor, descriptors(raw), atol=1e-6, rtol=0)
        torch.testing.assert_close(one, raw[:1], atol=1e-5, rtol=1e-4)
        assert raw.shape == (3, branch.dim)
        if branch.evidence_kind == "contributions":
            torch.testing.assert_close(evidence.sum(dim=(2, 3)), descriptor, atol=1e-5, rtol=0)
        else:
            assert evidence.shape == (3, *cast(Any, branch).backbone.grid)
            assert float(evidence.min()) >= 0
            torch.testing.assert_close(evidence.sum(dim=(1, 2)), torch.ones(3))
    model.train()
    queries, references = model(x, torch.randn(3, 3, 128, 128))
    (queries.square().mean() + references.square().mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without


def test_the_backbone_stands_with_other_heads() -> None:
    options = {
        "query_size": (64, 256),
        "reference_size": (128, 128),
        "backbone": "saig",
        "aggregation": "smd",
        "backbone_options": {"depth": 1, "dim": 24, "heads": 3, "stem": (8, 8, 8, 8)},
        "aggregation_options": {"maps": 4},
    }
    model = build_network("composed", options)
    queries, references = model(torch.randn(2, 3, 64, 256), torch.randn(2, 3, 128, 128))
    assert queries.shape == references.shape == (2, 96)


@pytest.mark.parametrize(
    "wrong",
    [
        {"variant": "M"},
        {"head": "vlad"},
        {"classes": 10},
        {"heads": 5},
        {"query_size": (60, 256)},
        {"head": "safa", "query_size": (16, 32)},
        {"stem": (8, 8)},
        {"no_such_option": 1},
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="saig"):
        small(**wrong)


def who(keys: Path | dict[str, Any]) -> tuple[Release, Found]:
    """The one release that knows these names."""
    shapes = keys if isinstance(keys, dict) else {name: shape for name, shape, _ in read_keys(keys)}
    known = [(r, found) for r in releases() if (found := r.recognise(shapes)) is not None]
    assert len(known) == 1, [r.project for r, _ in known]
    return known[0]


@pytest.mark.parametrize(
    ("golden_name", "variant", "sizes"),
    [
        ("saig_shallow_gap", "SAIG-S with GAP", ((128, 512), (256, 256))),
        ("saig_shallow_smd", "SAIG-S with SMD", ((128, 512), (256, 256))),
        ("saig_deep_gap", "SAIG-D with GAP", ((128, 512), (256, 256))),
        ("saig_deep_smd", "SAIG-D with SMD", ((128, 512), (256, 256))),
        ("saig_shallow_branch_gem", "SAIG-S with GeM, one branch", ((128, 512),) * 2),
        (
            "saig_shallow_branch_reducedim",
            "SAIG-S with reduced dimension, one branch",
            ((128, 512),) * 2,
        ),
        ("saig_shallow_branch_safa", "SAIG-S with SAFA, one branch", ((128, 512),) * 2),
        ("saig_shallow_imagenet", "SAIG-S, trained on ImageNet", ((224, 224),) * 2),
    ],
)
def test_published_weights_are_recognised(
    golden: Path, golden_name: str, variant: str, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    keys = golden / "saig" / f"{golden_name}_keys.json"
    release, found = who(keys)
    assert found.variant == variant
    assert (found.query_size, found.reference_size) == sizes
    model = build_network(found.network, found.options)
    model.load_state_dict(release.adapt(rule_state(keys), found))
    pre = release.preprocess(found)
    assert (pre.query.input_size, pre.reference.input_size) == sizes
    assert pre.query.mean == (0.5, 0.5, 0.5)
    # What has a panorama's shape on the tile's side is an unrolled tile.
    assert pre.reference.projection == ("polar" if sizes[1] == (128, 512) else "plain")


def test_bare_branches_of_vigor_are_recognised(golden: Path) -> None:
    """The training on VIGOR saves GAP models without "backbone." and at other sizes."""
    places = {"model_grd": 800, "model_sat": 400}
    state = {
        name.replace("backbone.", ""): value
        for name, value in rule_state(golden / "saig" / "saig_shallow_gap_keys.json").items()
    }
    for side, count in places.items():
        state[f"{side}.pos_embed"] = torch.zeros(1, count, 384)
    release, found = who({name: tuple(value.shape) for name, value in state.items()})
    assert found.variant == "SAIG-S with GAP"
    assert (found.query_size, found.reference_size) == ((320, 640), (320, 320))
    build_network(found.network, found.options).load_state_dict(release.adapt(state, found))
    pre = release.preprocess(found)
    assert (pre.query.top_deg, pre.query.bottom_deg) == (90, -90)
    assert pre.tile_extents_m == (72.96,)


def test_smd_of_vigor_is_recognised() -> None:
    """Panoramas and tiles then have different numbers of places to mix."""
    options = {"head": "smd", "query_size": (320, 640), "reference_size": (320, 320), "depth": 1}
    state = build_network("saig", options).state_dict()
    release, found = who({name: tuple(value.shape) for name, value in state.items()})
    assert (found.query_size, found.reference_size) == ((320, 640), (320, 320))
    build_network(found.network, found.options).load_state_dict(release.adapt(state, found))


def test_a_tile_branch_of_vigor_alone_is_recognised() -> None:
    branch = saig_branch(input_size=(320, 320), head="smd", depth=1)
    state = {name: tuple(value.shape) for name, value in branch.state_dict().items()}
    release, found = who(state)
    assert found.query_size == found.reference_size == (320, 320)
    assert release.preprocess(found).reference.projection == "plain"
    # With parts missing it is nobody's, which is no error.
    for name in ("backbone.pos_embed", "backbone.patch_embed.conv_stem.15.weight"):
        rest = {key: shape for key, shape in state.items() if key != name}
        assert not any(other.recognise(rest) for other in releases())


def test_other_sizes_resize_positions_or_are_refused(golden: Path) -> None:
    keys = golden / "saig" / "saig_shallow_gap_keys.json"
    found = recognise_pair({name: shape for name, shape, _ in read_keys(keys)})
    assert found is not None
    state = rule_state(keys)

    def at(found: Found, query: tuple[int, int], reference: tuple[int, int]) -> Found:
        options = {**found.options, "query_size": query, "reference_size": reference}
        return Found(found.network, found.variant, query, reference, options)

    other = at(found, (64, 256), (320, 320))
    model = build_network("saig", other.options)
    model.load_state_dict(adapt_pair(state, other))
    name = "model_sat.backbone.pos_embed"
    wanted = resize_positions(state[name], (16, 16), (20, 20))
    assert torch.equal(model.state_dict()[name], wanted)
    # Polar tiles have as many places as square ones: the weights are read as they are.
    polar = at(found, (128, 512), (128, 512))
    assert torch.equal(adapt_pair(state, polar)[name], state[name])
    smd = golden / "saig" / "saig_shallow_smd_keys.json"
    found = recognise_pair({name: shape for name, shape, _ in read_keys(smd)})
    assert found is not None
    with pytest.raises(EncoderError, match=re.escape("cannot read images of 64 x 256")):
        adapt_pair(rule_state(smd), at(found, (64, 256), (256, 256)))
