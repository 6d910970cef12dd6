"""The parts of the street-view networks: poolings, dictionaries, evidence, sizes, recognition, learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.errors import EncoderError, TrainingError
from engine.evaluation.pca import fit_pca
from engine.networks import DualEncoder, build_network, descriptors
from engine.networks.evidence import EvidentBranch
from engine.networks.parts import Composed, aggregations, backbones
from engine.networks.releases import Shapes, releases
from engine.networks.street.netvlad import NetVlad
from engine.networks.street.pooling import gem, rmac
from engine.networks.street.salad import Salad, matching
from engine.networks.street.shorten import shortened
from engine.networks.street.transformer import antialiased
from engine.networks.to_onnx import branch_to_onnx, parity
from tests.engine.networks.test_street_golden import loaded, recognised
from tests.golden_rule import assert_matches, read_keys, rule_input, rule_state

RESNET = {"depth": 18, "cut": 4, "width": 8}
VIT = {"image_size": 64, "dim": 48, "depth": 2, "heads": 3, "hidden": 96}
CCT = {"image_size": 64, "width": 8, "dim": 48, "depth": 2, "heads": 3, "hidden": 96}
DINO = {"image_size": 70, "dim": 48, "depth": 2, "heads": 3}
SALAD = {"clusters": 8, "cluster_dim": 16, "token_dim": 12, "hidden": 32}


def _vg(aggregation: str, **options: Any) -> tuple[str, dict[str, Any]]:
    base: dict[str, Any] = {
        "aggregation": aggregation,
        "backbone_options": RESNET,
        "input_size": [96, 128],
        "clusters": 8,
    }
    return "vg-benchmark", {**base, **options}


def _token(backbone: str, aggregation: str, size: list[int]) -> tuple[str, dict[str, Any]]:
    options = {"cct": CCT, "vit": VIT}[backbone]
    return _vg(aggregation, backbone=backbone, backbone_options=options, input_size=size)


def _gsv(aggregation: str, **head: Any) -> tuple[str, dict[str, Any]]:
    return "gsv-cities", {
        "aggregation": aggregation,
        "aggregation_options": head,
        "backbone_options": {"depth": 18, "width": 8},
        "input_size": [160, 224],
    }


# What each network says of its descriptor: the kind of evidence, or None.
SMALL: dict[str, tuple[tuple[str, dict[str, Any]], str | None]] = {
    "gem": (_vg("gem"), "contributions"),
    "gem-after-fc": (_vg("gem", l2="after_pool", fc_dim=24), "contributions"),
    "spoc": (_vg("spoc", l2="none"), "contributions"),
    "mac": (_vg("mac"), "contributions"),
    "rmac": (_vg("rmac"), "contributions"),
    "rrm": (_vg("rrm"), None),
    "netvlad": (_vg("netvlad"), "contributions"),
    "netvlad-fc": (_vg("netvlad", fc_dim=24), "contributions"),
    "crn": (_vg("crn"), "contributions"),
    "vgg16": (_vg("gem", backbone="vgg16", backbone_options={"width": 4}), "contributions"),
    "cct-seqpool": (_token("cct", "seqpool", [64, 64]), "attention"),
    "cct-netvlad-resized": (_token("cct", "netvlad", [96, 80]), "contributions"),
    "cct-first": (_token("cct", "cls", [64, 64]), None),
    "vit-resized": (_token("vit", "cls", [96, 80]), "attention"),
    "cosplace": (
        ("cosplace", {"dim": 16, "backbone_options": {"width": 8}, "input_size": [96, 128]}),
        "contributions",
    ),
    "gsv-gem": (_gsv("gem"), "contributions"),
    "gsv-cosplace": (_gsv("cosplace", dim=16), "contributions"),
    "conv-ap": (_gsv("conv-ap", out_channels=16), "contributions"),
    "mixvpr": (_gsv("mixvpr", out_channels=16, rows=2), None),
    "salad-resized": (
        ("salad", {"backbone_options": DINO, "input_size": [84, 112], **SALAD}),
        "contributions",
    ),
    "megaloc-fitted": (
        ("megaloc", {"backbone_options": DINO, "input_size": [80, 100], "dim": 40, **SALAD}),
        "contributions",
    ),
}


def small(name: str) -> Composed:
    """A branch that is small enough to run, its norms and biases not at their starting values."""
    torch.manual_seed(3)
    (network, options), _ = SMALL[name]
    branch = build_network(network, options).eval().query
    with torch.no_grad():
        for parameter in branch.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return cast(Composed, branch)


def images(branch: Composed, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *branch.input_size, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_what_places_add_is_the_descriptor(name: str) -> None:
    branch, kind = small(name), SMALL[name][1]
    batch = images(branch)
    raw = branch(batch)
    assert raw.shape == (2, branch.dim)
    assert not torch.allclose(raw[0], raw[1])
    assert isinstance(branch, EvidentBranch) == (kind is not None)
    if not isinstance(branch, EvidentBranch):
        return
    assert branch.evidence_kind == kind
    descriptor, evidence = branch.evidence(batch)
    assert torch.allclose(descriptor, descriptors(raw), atol=1e-6)
    if kind == "contributions":
        assert torch.allclose(evidence.sum((2, 3)), descriptors(raw), atol=1e-6)
        assert evidence.shape[2] * evidence.shape[3] > 1
    else:
        assert evidence.min() >= 0
        assert evidence.shape[1:] == branch.trunk.map_size(branch.input_size)  # pyright: ignore


@pytest.mark.parametrize("name", SMALL)
def test_graphs_put_out_the_same(name: str) -> None:
    branch = small(name)
    shape = (3, *branch.input_size)
    assert parity(branch, branch_to_onnx(branch, shape), shape) < 1e-5


@pytest.mark.parametrize(
    "name", ["gem", "netvlad", "vgg16", "cct-seqpool", "conv-ap", "salad-resized"]
)
def test_everything_that_may_learn_gets_a_gradient(name: str) -> None:
    branch = small(name).train()
    # The mean of a descriptor of norm 1 says little: one number of one image does.
    branch(images(branch))[0, :5].sum().backward()
    without = [key for key, p in branch.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_a_place_seen_alone_has_all_of_the_evidence() -> None:
    # Where one place differs from a map of zeros, what it adds is the whole descriptor.
    head = cast(Any, small("spoc").head)
    feature_map = torch.zeros(1, 32, 6, 8)
    feature_map[0, :, 2, 5] = torch.rand(32)
    _, parts = head.evidence(feature_map)
    assert torch.allclose(parts[0, :, 2, 5], F.normalize(feature_map[:, :, 2, 5], dim=1)[0])


@torch.no_grad()
def test_evidence_of_a_long_descriptor_is_of_a_coarser_grid() -> None:
    layer = NetVlad(256, clusters=64).eval()
    feature_map = torch.rand(1, 256, 30, 40)
    descriptor, parts = layer.evidence(feature_map)
    assert parts[0].numel() <= 1 << 21
    assert 5 < parts.shape[2] < 30 and 5 < parts.shape[3] < 40
    assert torch.allclose(descriptor, layer(feature_map), atol=1e-6)


@torch.no_grad()
def test_the_benchmarks_functions(golden: Path) -> None:
    with np.load(golden / "vg_benchmark/functional.npz") as npz:
        feature_map = rule_input(5101, (2, 256, 12, 16)).abs()
        for p in ("1.0", "3.0", "4.5"):
            assert_matches(
                gem(feature_map, float(p))[:, :, None, None], npz, f"gem_p{p}", 1e-7, 1e-5
            )
        for height, width in ((30, 40), (15, 20), (20, 20)):
            feature_map = rule_input(5103, (2, 64, height, width)).abs()
            ours = rmac(feature_map)[:, :, None, None]
            assert_matches(ours, npz, f"rmac_{height}x{width}", 1e-7, 1e-5)


@torch.no_grad()
def test_the_benchmarks_dictionary(golden: Path) -> None:
    rng = np.random.Generator(np.random.PCG64(5102))
    centroids, vectors = (
        unit / np.linalg.norm(unit, axis=1, keepdims=True)
        for unit in (
            rng.standard_normal((64, 256), dtype=np.float32),
            rng.standard_normal((2000, 256), dtype=np.float32),
        )
    )
    layer = NetVlad(256, clusters=64)
    alpha = layer.start_from(centroids, vectors)
    with np.load(golden / "vg_benchmark/netvlad_init_params.npz") as npz:
        assert alpha == pytest.approx(float(npz["alpha"]), rel=1e-5)
        assert_matches(layer.conv.weight, npz, "conv_weight", 1e-6, 1e-5)
        output = layer(rule_input(5101, (2, 256, 12, 16)).abs())
        assert_matches(output, npz, "out", 1e-6)


def test_a_dictionary_finds_the_clusters_of_its_vectors() -> None:
    torch.manual_seed(0)
    directions = F.normalize(torch.randn(5, 16), dim=1)
    vectors = 3.0 * (directions.repeat(40, 1) + 0.02 * torch.randn(200, 16))
    layer = NetVlad(16, clusters=5)
    alpha = layer.initialise(vectors)
    alike = F.normalize(layer.centroids.detach(), dim=1) @ directions.T
    assert sorted(alike.argmax(1).tolist()) == [0, 1, 2, 3, 4]
    assert alike.amax(1).min() > 0.99
    # The nearest centre weighs about a hundred times what the second nearest does.
    logits = alpha * F.normalize(vectors, dim=1) @ F.normalize(layer.centroids.detach(), dim=1).T
    first, second = logits.topk(2, dim=1).values.unbind(1)
    assert (first - second).mean().item() == pytest.approx(np.log(100), rel=1e-3)


def test_a_branch_starts_from_as_many_places_as_are_asked_for() -> None:
    torch.manual_seed(0)
    branch = cast(Composed, build_network("vg-benchmark", _vg("netvlad", clusters=4)[1]).query)
    assert branch.wants_data and not small("gem").wants_data
    before = cast(NetVlad, branch.head).centroids.detach().clone()
    drawn: list[int] = []

    def batches() -> Iterator[Tensor]:
        for number in range(9):
            drawn.append(number)
            yield torch.randn(3, 3, 96, 128)

    # 3 images a batch, 10 places an image: two batches make 60, the third is not asked for.
    branch.initialise(batches(), vectors=50, per_image=10)
    assert drawn == [0, 1]
    assert branch.training
    assert not torch.allclose(cast(NetVlad, branch.head).centroids, before)
    with pytest.raises(ValueError, match="3 local vectors cannot make 4 clusters"):
        branch.initialise([torch.randn(3, 3, 96, 128)], per_image=1)
    with pytest.raises(ValueError, match="no images"):
        branch.initialise([])


def test_too_few_vectors_make_no_dictionary() -> None:
    with pytest.raises(ValueError, match="5 local vectors cannot make 8"):
        NetVlad(4, clusters=8).initialise(torch.rand(5, 4))


def test_a_frozen_dictionary_stands_still() -> None:
    layer = NetVlad(8, clusters=4, frozen=True)
    assert not any(parameter.requires_grad for parameter in layer.parameters())


@torch.no_grad()
def test_salads_head_and_transport(golden: Path) -> None:
    head = Salad(768)
    head.load_state_dict(rule_state(golden / "salad/salad_aggregator_keys.json"), strict=True)
    feature_map, token = rule_input(8001, (2, 768, 16, 16)), rule_input(8002, (2, 768))
    with np.load(golden / "salad/salad_aggregator.npz") as npz:
        assert_matches(head.eval()(feature_map, token), npz, "out", 1e-6)
    with np.load(golden / "salad/salad_sinkhorn.npz") as npz:
        moved = matching(rule_input(8003, (2, 64, 256)), torch.tensor(1.0))
        assert_matches(moved, npz, "logP", 2e-5)


HELD_BACK = [
    # Whose outputs others keep: they load strictly, and put out the right shape.
    ("vg_benchmark/resnet18conv4_rmac", (96, 128), 256, {"aggregation": "rmac"}),
    ("vg_benchmark/resnet50conv4_crn", (96, 128), 65536, {}),
    ("vg_benchmark/resnet50conv4_gem_fc512", (96, 128), 512, {}),
    ("cosplace/cosplace_vgg16_512", (64, 96), 512, {}),
    ("eigenplaces/eigenplaces_resnet18_512", (96, 128), 512, {}),
    ("mixvpr/mixvpr_resnet50_4096", (320, 320), 4096, {}),
    ("gsv_cities/convap_resnet50_4096", (96, 128), 4096, {}),
]


@pytest.mark.parametrize(
    ("name", "size", "dim", "chosen"), HELD_BACK, ids=[h[0] for h in HELD_BACK]
)
@torch.no_grad()
def test_other_official_weights_load(
    golden: Path, name: str, size: tuple[int, int], dim: int, chosen: dict[str, str]
) -> None:
    branch = loaded(golden / f"{name}_keys.json", size, **chosen).query
    output = branch(rule_input(1, (2, 3, *size), struct=True))
    assert output.shape == (2, dim)
    assert torch.isfinite(output).all()
    if not chosen:
        assert torch.allclose(output.norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_pooling_without_parameters_is_asked_for(golden: Path) -> None:
    _, found = recognised(golden / "vg_benchmark/resnet18conv4_mac_keys.json")
    assert found.choices == {"aggregation": ("spoc", "mac", "rmac")}


def test_official_sizes_and_preprocessing(golden: Path) -> None:
    expected = {
        "vg_benchmark/resnet18conv4_netvlad": ((480, 640), "stretch"),
        "cosplace/cosplace_resnet18_512": ((512, 512), "crop"),
        "mixvpr/mixvpr_resnet50_4096": ((320, 320), "stretch"),
        "gsv_cities/gem_resnet18": ((320, 320), "stretch"),
        "megaloc/megaloc": ((322, 322), "stretch"),
    }
    for name, (size, fit) in expected.items():
        release, found = recognised(golden / f"{name}_keys.json")
        card = release.preprocess(found)
        for branch in (card.query, card.reference):
            assert branch.input_size == size
            assert (branch.fit, branch.resize, branch.projection) == (fit, "bilinear", "plain")
            assert branch.mean == (0.485, 0.456, 0.406)
            assert branch.std == (0.229, 0.224, 0.225)
        assert card.query.graph == card.reference.graph


def _parts_of(shapes: Shapes) -> list[str]:
    found = [(release, release.recognise(shapes)) for release in releases()]
    return [release.part or "" for release, what in found if what is not None]


def test_parts_are_refused_with_what_is_missing(golden: Path) -> None:
    salad = read_keys(golden / "salad/salad_aggregator_keys.json")
    (missing,) = _parts_of({name: shape for name, shape, _ in salad})
    assert "DINOv2" in missing
    megaloc = read_keys(golden / "megaloc/megaloc_keys.json")
    backbone = {n.removeprefix("backbone."): s for n, s, _ in megaloc if n.startswith("backbone.")}
    (missing,) = _parts_of(backbone)
    assert "aggregation" in missing
    resnet = read_keys(golden / "gsv_cities/gem_resnet18_keys.json")
    bare = {n.removeprefix("backbone.model."): s for n, s, _ in resnet if "backbone" in n}
    (missing,) = _parts_of({**bare, "fc.weight": (1000, 512), "fc.bias": (1000,)})
    assert "aggregation" in missing


def test_the_first_release_of_megaloc_is_read_too(golden: Path) -> None:
    keys = read_keys(golden / "megaloc/megaloc_keys.json")
    older = {name.replace("backbone.", "backbone.model."): shape for name, shape, _ in keys}
    older["backbone.model.mask_token"] = (1, 768)
    known = [(release, release.recognise(older)) for release in releases()]
    ((release, found),) = [(release, found) for release, found in known if found is not None]
    state = {name: torch.zeros(1) for name in older}
    assert {name.removeprefix("model.") for name in release.adapt(state, found)} == {
        name for name, _, _ in keys
    }


def test_salad_is_recognised_by_its_names(golden: Path) -> None:
    megaloc = read_keys(golden / "megaloc/megaloc_keys.json")
    head = read_keys(golden / "salad/salad_aggregator_keys.json")
    shapes: dict[str, tuple[int, ...]] = {f"aggregator.{name}": shape for name, shape, _ in head}
    for name, shape, _ in megaloc:
        if name.startswith("backbone."):
            shapes[name.replace("backbone.", "backbone.model.")] = shape
    shapes["backbone.model.mask_token"] = (1, 768)
    known = [release.recognise(shapes) for release in releases()]
    (found,) = [found for found in known if found is not None]
    assert found.variant == "DINOv2 with SALAD, 8448-D"
    # The same network, thinner: its names are the official ones.
    thin = {**found.options["backbone_options"], "dim": 48, "heads": 3}
    model = build_network(found.network, {**found.options, "backbone_options": thin})
    assert {name.removeprefix("model.") for name in model.state_dict()} == set(shapes)


def test_mixvpr_is_bound_to_its_size(golden: Path) -> None:
    keys = golden / "mixvpr/mixvpr_resnet50_128_keys.json"
    release, found = recognised(keys)
    changed = type(found)(**{**vars(found), "query_size": (320, 640)})
    with pytest.raises(EncoderError, match="400 places"):
        release.adapt({"aggregator.row_proj.weight": torch.zeros(2, 400)}, changed)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("vg-benchmark", {"aggregation": "crn", "input_size": [240, 320]}, "even sides"),
        ("vg-benchmark", {"aggregation": "gem", "l2": "never"}, "l2 is one of"),
        (
            "vg-benchmark",
            {
                "backbone": "vit",
                "aggregation": "gem",
                "backbone_options": VIT,
                "input_size": [64, 64],
            },
            "ViT",
        ),
        ("vg-benchmark", {"backbone": "alexnet"}, "alexnet"),
        ("salad", {"backbone_options": DINO, "input_size": [71, 70]}, "multiple of 14"),
        ("salad", {"backbone_options": DINO, "input_size": [70, 70]}, "too few"),
        ("cosplace", {"pixels": 3}, "pixels"),
        ("composed", {"backbone": "vgg17", "aggregation": "gem", "query_size": [64, 64]}, "vgg17"),
        ("composed", {"backbone": "vgg16", "aggregation": "cls", "query_size": [64, 64]}, "token"),
    ],
)
def test_what_cannot_be_built_is_explained(
    name: str, options: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(TrainingError, match=problem):
        build_network(name, options)


def test_resizing_is_torchs_own() -> None:
    batch = torch.rand(1, 3, 41, 60, generator=torch.Generator().manual_seed(1))
    for size in ((28, 70), (56, 42), (41, 56)):
        official = F.interpolate(batch, size=size, mode="bilinear", antialias=True)
        assert torch.allclose(antialiased(batch, size), official, atol=1e-5)


@pytest.mark.parametrize("name", ["netvlad", "gem", "vit-resized", "salad-resized"])
@torch.no_grad()
def test_components_behind_a_branch(name: str) -> None:
    branch = small(name)
    batch = images(branch, 6)
    raw = branch(batch).double().numpy()
    pca = fit_pca(raw, 4)
    shorter = shortened(branch, pca)
    assert np.allclose(shorter(batch).numpy(), pca.transform(raw), atol=1e-5)
    if isinstance(shorter, EvidentBranch) and shorter.evidence_kind == "contributions":
        descriptor, parts = shorter.evidence(batch)
        assert torch.allclose(descriptor, descriptors(shorter(batch)), atol=1e-4)
        assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-5)


COMPOSED = ("resnet18-conv4", "vgg16", "vit", "cct", "dinov2")
POOLS = (
    "gem",
    "spoc",
    "mac",
    "rmac",
    "rrm",
    "netvlad",
    "crn",
    "seqpool",
    "cosplace",
    "conv-ap",
    "mixvpr",
    "salad",
    "cls",
)
SMALL_PARTS: dict[str, dict[str, Any]] = {
    "resnet18-conv4": {"width": 8},
    "vgg16": {"width": 4},
    "vit": VIT,
    "cct": CCT,
    "dinov2": {**DINO, "image_size": 64, "patch": 16},
    "netvlad": {"clusters": 4},
    "crn": {"clusters": 4},
    "salad": SALAD,
    "mixvpr": {"out_channels": 8, "rows": 2},
    "conv-ap": {"out_channels": 8},
    "cosplace": {"dim": 8},
}


@pytest.mark.parametrize("backbone", COMPOSED)
@torch.no_grad()
def test_any_backbone_with_any_aggregation(backbone: str) -> None:
    assert set(COMPOSED) <= set(backbones())
    assert set(POOLS) <= set(aggregations())
    for pool in POOLS:
        options = {
            "backbone": backbone,
            "backbone_options": SMALL_PARTS[backbone],
            "aggregation": pool,
            "aggregation_options": SMALL_PARTS.get(pool, {}),
            "query_size": [64, 96],
            "reference_size": [64, 64],
        }
        if pool in ("cls", "salad") and backbone in ("resnet18-conv4", "vgg16", "cct"):
            with pytest.raises(TrainingError, match="token"):
                build_network("composed", options)
            continue
        model = build_network("composed", options).eval()
        query, reference = model(torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 64))
        assert query.shape == reference.shape == (2, model.query.dim)


def test_sides_may_differ_and_may_be_one() -> None:
    options: dict[str, Any] = {
        "backbone": "resnet18-conv4",
        "backbone_options": {"width": 8},
        "aggregation": "spoc",
        "query_size": [64, 96],
    }
    apart = build_network("composed", {**options, "reference": {"aggregation": "rrm"}})
    assert type(cast(Composed, apart.query).head) is not type(cast(Composed, apart.reference).head)
    one = build_network("composed", {**options, "shared": True})
    assert one.shared and one.query is one.reference
    assert len(one.state_dict()) * 2 == len(build_network("composed", options).state_dict())


def test_a_small_network_learns_to_tell_images_apart() -> None:
    torch.manual_seed(0)
    options = {**_vg("netvlad", clusters=4)[1], "input_size": [64, 64]}
    model: DualEncoder = build_network("vg-benchmark", options)
    branch = cast(Composed, model.query)
    scenes = torch.rand(8, 3, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    views = [scenes + 0.1 * torch.randn_like(scenes) for _ in range(2)]
    branch.initialise([views[0]], vectors=100, per_image=12)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses: list[float] = []
    for _ in range(12):
        query, reference = (descriptors(output) for output in model(*views))
        loss = F.cross_entropy(20 * query @ reference.T, torch.arange(8))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_frozen_layers_stand_still_as_in_the_benchmark() -> None:
    def still(name: str, options: dict[str, Any]) -> set[str]:
        trunk = cast(Composed, build_network(name, options).query).trunk
        return {key.split(".")[0] for key, p in trunk.named_parameters() if not p.requires_grad}

    assert still("vg-benchmark", _vg("gem", backbone_options={**RESNET, "frozen": 3})[1]) == {
        "0",
        "1",
        "4",
        "5",
    }
    assert still("vg-benchmark", _vg("gem")[1]) == set()
    vgg = {"width": 4, "frozen": True}
    assert still("vg-benchmark", _vg("gem", backbone="vgg16", backbone_options=vgg)[1]) == {
        "0",
        "2",
        "5",
        "7",
        "10",
        "12",
        "14",
        "17",
        "19",
        "21",
    }
