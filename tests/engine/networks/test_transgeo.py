"""TransGeo against what its authors' code puts out for the same weights, and what we add to it."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.networks import DualEncoder, build_network, descriptors
from engine.networks.deit import DistilledVit, kept_patches
from engine.networks.evidence import EvidentBranch
from engine.networks.positions import resize_positions
from engine.networks.pretrained import load_pretrained
from engine.networks.releases import Found, Release, releases
from engine.networks.transgeo import CroppedBranch, join_stages
from tests.golden_rule import assert_matches, read_keys, rule_input, rule_state, rule_z

TOLERANCE = (2e-5, 1e-5)
SMALL: dict[str, Any] = {
    "depth": 2,
    "dim": 24,
    "heads": 3,
    "outputs": 32,
    "query_size": (48, 200),
    "reference_size": (128, 128),
}


def small(**more: Any) -> DualEncoder:
    torch.manual_seed(3)
    return build_network("transgeo", {**SMALL, **more}).eval()


@pytest.mark.parametrize("kind", ["", "_struct"])
def test_the_first_stage_is_the_authors(golden: Path, kind: str) -> None:
    model = build_network("transgeo", {}).eval()
    model.load_state_dict(rule_state(golden / "transgeo" / "transgeo_cvusa_keys.json"))
    grd = rule_input(2001, (2, 3, 112, 616), bool(kind))
    sat = rule_input(2002, (2, 3, 256, 256), bool(kind))
    query = cast(DistilledVit, model.query)
    assert query.grid == (7, 38)  # the last 8 columns are no whole patch
    with np.load(golden / "transgeo" / "transgeo_cvusa.npz") as npz, torch.no_grad():
        tokens = query.tokens(grd)
        assert_matches(tokens[:, :2], npz, f"grd_cls_dist{kind}", *TOLERANCE)
        assert_matches(query.heads_of(tokens), npz, f"grd{kind}", *TOLERANCE)
        assert_matches(model.reference(sat), npz, f"sat{kind}", *TOLERANCE)


@pytest.mark.parametrize("kind", ["", "_struct"])
def test_the_second_stage_is_the_authors(golden: Path, kind: str) -> None:
    stem = "transgeo_cvusa_stage2crop320"
    model = build_network("transgeo", {"stage": 2, "reference_size": (320, 320)}).eval()
    model.load_state_dict(rule_state(golden / "transgeo" / f"{stem}_keys.json"))
    sat = rule_input(2002, (2, 3, 320, 320), bool(kind))
    attention = rule_input(2003, (2, 1, 20, 20))[:, 0]
    with np.load(golden / "transgeo" / f"{stem}.npz") as npz, torch.no_grad():
        kept = kept_patches(attention, (20, 20), 0.64).numpy()
        np.testing.assert_array_equal(kept, npz[f"order{kind}"][:, -256:])
        out = cast(CroppedBranch, model.reference)(sat, attention)
        assert_matches(out, npz, f"sat{kind}", *TOLERANCE)


def test_vigor_loads_and_has_the_authors_shapes(golden: Path) -> None:
    """Its outputs are not at hand; names and sizes are."""
    options = {"query_size": (320, 640), "reference_size": (320, 320)}
    model = build_network("transgeo", options).eval()
    model.load_state_dict(rule_state(golden / "transgeo" / "transgeo_vigor_keys.json"))
    with torch.no_grad():
        out = descriptors(model.reference(rule_input(2002, (1, 3, 320, 320), True)))
    assert out.shape == (1, 1000)
    assert float(out.norm()) == pytest.approx(1, abs=1e-6)


def test_the_size_is_the_authors() -> None:
    model = build_network("transgeo", {})
    assert sum(p.numel() for p in model.parameters()) == 44_922_784


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("cvusa_grd_7x38", (7, 38)),
        ("sat256_16x16", (16, 16)),
        ("sat320_20x20", (20, 20)),
        ("vigor_grd_20x40", (20, 40)),
    ],
)
def test_positions_are_resized_as_torchvision_did_and_does(
    golden: Path, name: str, grid: tuple[int, int], antialias: bool
) -> None:
    positions = torch.from_numpy(np.float32(0.02) * rule_z("pos_embed", (1, 198, 384)))
    ours = resize_positions(
        positions, (14, 14), grid, extra=2, mode="bilinear", antialias=antialias
    )
    with np.load(golden / "transgeo" / "transgeo_resize_pos_embed.npz") as npz:
        assert_matches(ours, npz, f"{name}_antialias{int(antialias)}", 1e-6)


def test_patches_are_kept_by_a_resized_map() -> None:
    """A bright corner of a coarse map keeps the patches of that corner."""
    attention = torch.zeros(1, 4, 4)
    attention[0, :2, :2] = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    kept = kept_patches(attention, (8, 8), 0.25)
    assert kept.shape == (1, 16)
    rows, columns = kept // 8, kept % 8
    assert int(rows.max()) <= 4 and int(columns.max()) <= 4
    assert int(kept[0, -1]) == 0  # rising with the attention
    with pytest.raises(ValueError, match="keeps no patch"):
        kept_patches(attention, (2, 2), 0.1)


def test_the_second_stage_reads_the_kept_patches_alone() -> None:
    reference = cast(CroppedBranch, small(stage=2).reference)
    x = torch.randn(1, 3, 128, 128)
    attention = torch.arange(64.0).reshape(1, 8, 8)
    y = x.clone()
    y[:, :, :32] = 9.0  # the first two rows of patches, which the map ranks lowest
    with torch.no_grad():
        assert torch.equal(reference(x, attention), reference(y, attention))
        assert not torch.equal(reference(x, 64 - attention), reference(y, 64 - attention))


def test_the_second_stage_starts_from_the_first() -> None:
    first = small()
    alone = small(stage=2, reference_size=(160, 160))
    load_pretrained(alone, first.state_dict())
    wanted = resize_positions(
        first.state_dict()["reference_net.pos_embed"], (8, 8), (10, 10), extra=2, mode="bilinear"
    )
    assert torch.equal(alone.state_dict()["reference_net.pos_embed"], wanted)
    guided = small(stage=2, reference_size=(160, 160), guide_size=(128, 128))
    load_pretrained(guided, first.state_dict())
    inside = cast(CroppedBranch, guided.reference).guide
    assert inside is not None and not any(p.requires_grad for p in inside.parameters())
    assert guided.state_dict().keys() == join_stages(first.state_dict(), alone.state_dict()).keys()
    # The map is the first stage's, of the tile at the first stage's size.
    x = torch.randn(2, 3, 160, 160)
    shrunk = nn.functional.interpolate(x, (128, 128), mode="bilinear", antialias=True)
    with torch.no_grad():
        wanted_map = cast(DistilledVit, first.reference).looked_at(shrunk)[1]
        ours = cast(CroppedBranch, guided.reference).map_for(x)
    torch.testing.assert_close(ours, wanted_map, atol=1e-5, rtol=1e-4)
    with pytest.raises(TrainingError, match="do not fit"):
        load_pretrained(alone, {"cls_token": torch.zeros(1)})


@pytest.mark.parametrize("outputs", [32, 12, 0])
def test_imagenet_weights_start_both_branches(outputs: int) -> None:
    torch.manual_seed(1)
    published = DistilledVit(input_size=(96, 96), depth=2, dim=24, heads=3, outputs=12).state_dict()
    model = small(outputs=outputs)
    assert load_pretrained(model, published) == ("query_net", "reference_net")
    query = model.state_dict()
    wanted = resize_positions(published["pos_embed"], (6, 6), (3, 12), extra=2, mode="bilinear")
    assert torch.equal(query["query_net.pos_embed"], wanted)
    if outputs == 32:  # the class head's rows again and again, for both heads
        rows = published["head.weight"].repeat(3, 1)[:32]
        assert torch.equal(query["query_net.head.weight"], rows)
        assert torch.equal(query["query_net.head_dist.weight"], rows)
    if outputs == 12:
        assert torch.equal(query["query_net.head_dist.weight"], published["head_dist.weight"])


@pytest.mark.parametrize("more", [{}, {"stage": 2}, {"stage": 2, "guide_size": (96, 96)}])
def test_small_networks_train_and_say_where_they_look(more: dict[str, Any]) -> None:
    model = small(**more)
    x, y = torch.randn(3, 3, 48, 200), torch.randn(3, 3, 128, 128)
    for branch, images in ((model.query, x), (model.reference, y)):
        assert isinstance(branch, EvidentBranch) and branch.evidence_kind == "attention"
        with torch.no_grad():
            raw = branch(images)
            descriptor, attention = branch.evidence(images)
        torch.testing.assert_close(descriptor, descriptors(raw), atol=1e-6, rtol=0)
        assert attention.shape == (3, *cast(DistilledVit, branch).grid)
        assert float(attention.min()) >= 0
        if isinstance(branch, CroppedBranch):
            assert ((attention > 0).flatten(1).sum(dim=1) == int(0.64 * 64)).all()
    model.train()
    queries, references = model(x, y)
    (queries.square().mean() + references.square().mean()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(name.startswith("reference_net.guide.") for name in without)


class _Graph(nn.Module):
    """What an export takes: a branch's evidence."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return cast(EvidentBranch, self.branch).evidence(x)


@pytest.mark.parametrize("guide", [None, (96, 96)])
def test_the_second_stage_is_one_graph(guide: tuple[int, int] | None) -> None:
    """Which patches are kept is decided inside, for any number of tiles."""
    import onnxruntime

    branch = small(stage=2, guide_size=guide).reference
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Graph(branch).eval(),
            (torch.randn(2, 3, 128, 128),),
            cast(Any, file),
            input_names=["image"],
            output_names=["descriptor", "features"],
            dynamic_axes={name: {0: "N"} for name in ("image", "descriptor", "features")},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    x = torch.randn(5, 3, 128, 128)
    with torch.no_grad():
        wanted = cast(EvidentBranch, branch).evidence(x)
    answers = session.run(None, {"image": x.numpy()})
    for ours, theirs in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": 3},
        {"guide_size": (64, 64)},
        {"stage": 2, "head": "smd"},
        {"stage": 2, "share": 0.0},
        {"query_size": (8, 64)},
        {"no_such_option": 1},
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="transgeo"):
        small(**wrong)


def test_feature_recombination_stands_on_the_first_stage() -> None:
    """FRGeo's head over TransGeo's patches, as its paper tries."""
    torch.manual_seed(0)
    options = {key: value for key, value in SMALL.items() if key != "outputs"}
    model = build_network("transgeo", {**options, "head": "frm"})
    queries, references = model(torch.randn(2, 3, 48, 200), torch.randn(2, 3, 128, 128))
    assert queries.shape == references.shape
    queries.sum().backward()
    assert model.query.get_submodule("backbone.vit.patch_embed.proj").weight.grad is not None


def test_the_backbone_has_a_map_a_token_and_attention() -> None:
    options = {"depth": 1, "dim": 24, "heads": 3}
    composed = {
        "query_size": (64, 64),
        "shared": True,
        "backbone": "deit",
        "backbone_options": options,
        "aggregation": "smd",
    }
    model = build_network("composed", composed).eval()
    backbone = cast(Any, model.query).trunk
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        feature_map, token, attention = backbone.attention(x)
        again, same = backbone.map_and_token(x)
    assert feature_map.shape == (2, 24, 4, 4) and token.shape == (2, 24)
    torch.testing.assert_close(feature_map, again)
    torch.testing.assert_close(token, same)
    assert attention.shape == (2, 4, 4) and float(attention.min()) >= 0
    assert bool((attention.sum(dim=(1, 2)) < 1).all())  # the rest is on the two tokens


def who(shapes: dict[str, tuple[int, ...]]) -> tuple[Release, Found]:
    """The one release that knows these names."""
    known = [(r, found) for r in releases() if (found := r.recognise(shapes)) is not None]
    assert len(known) == 1, [r.project for r, _ in known]
    return known[0]


@pytest.mark.parametrize(
    ("golden_name", "variant", "sizes", "shifts"),
    [
        (
            "transgeo_cvusa",
            "TransGeo stage 1 for CVUSA or CVACT",
            ((112, 616), (256, 256)),
            (175.0,),
        ),
        (
            "transgeo_cvusa_stage2crop320",
            "TransGeo stage 2 for CVUSA or CVACT",
            ((112, 616), (320, 320)),
            (175.0,),
        ),
        ("transgeo_vigor", "TransGeo stage 1 for VIGOR", ((320, 640), (320, 320)), (72.96,)),
    ],
)
def test_published_weights_are_recognised(
    golden: Path,
    golden_name: str,
    variant: str,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    shifts: tuple[float, ...],
) -> None:
    keys = golden / "transgeo" / f"{golden_name}_keys.json"
    release, found = who({name: shape for name, shape, _ in read_keys(keys)})
    assert found.variant == variant
    assert (found.query_size, found.reference_size) == sizes
    model = build_network(found.network, found.options)
    model.load_state_dict(release.adapt(rule_state(keys), found))
    pre = release.preprocess(found)
    assert (pre.query.input_size, pre.reference.input_size) == sizes
    assert pre.tile_extents_m == shifts
    assert ("own attention" in pre.note) == ("stage 2" in variant)
    # Other sizes are another resolution: what was trained on, and how much of a turn is seen, stays.
    half = release.preprocess(replace(found, query_size=(sizes[0][0], sizes[0][1] // 2)))
    assert half.query.projection == "equirectangular"
    assert (half.query.top_deg, half.tile_extents_m) == (pre.query.top_deg, shifts)


def test_limited_views_imagenet_and_joined_stages_are_recognised() -> None:
    shapes = {
        name: tuple(v.shape) for name, v in build_network("transgeo", {}).state_dict().items()
    }
    shapes["query_net.pos_embed"] = (1, 2 + 63, 384)  # --fov 90
    release, found = who(shapes)
    assert found.query_size == (112, 154)
    pre = release.preprocess(found)
    assert (pre.query.projection, pre.query.fov_trained_deg) == ("plain", (90.0, 90.0))
    wider = release.preprocess(replace(found, query_size=(112, 616))).query
    assert (wider.projection, wider.fov_trained_deg) == ("plain", (90.0, 90.0))
    joined = build_network(
        "transgeo", {"stage": 2, "reference_size": (320, 320), "guide_size": (256, 256)}
    )
    release, found = who({name: tuple(v.shape) for name, v in joined.state_dict().items()})
    assert found.options["guide_size"] == (256, 256)
    assert "attention" not in release.preprocess(found).note
    imagenet = DistilledVit(depth=1).state_dict()
    release, found = who({name: tuple(v.shape) for name, v in imagenet.items()})
    assert found.query_size == (224, 224)
    model = build_network(found.network, found.options)
    model.load_state_dict(release.adapt(imagenet, found))
    assert release.preprocess(found).query.fit == "crop"
