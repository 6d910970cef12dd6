"""``nadir import`` on every state dict of the golden numbers: the graphs put out what the authors' code put out.

Goldens of which only the names are here are recognised and loaded strictly, without an export. The two largest are
looked at in part: of the statewide encoder the photos' branch alone is exported, of MegaLoc (229 million weights, half
a minute to export) none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.cli import main
from engine.encoder import Card, read_package
from engine.networks.checkpoints import State
from engine.networks.dsm import from_map
from engine.networks.importing import Wanted, load_strictly, settled
from engine.networks.recognise import UnknownWeightsError, recognise
from engine.networks.to_onnx import branch_to_onnx, run_graph
from tests.engine.networks.test_safa import tensorflow_state
from tests.engine.networks.test_statewide import flax_tensor, keys, structured
from tests.golden_rule import assert_matches, rule_input, rule_state

ATOL = 1e-4


@dataclass(frozen=True)
class Case:
    """One golden: how it is imported, and what both sides must put out.

    Args:
        outputs: side, seed, shape of the input [N, 3, H, W], name of the array.
        flags: further words of the command line.
        kinds: endings of the arrays' names: noise, and noise on squares.
    """

    name: str
    outputs: tuple[tuple[str, int, tuple[int, ...], str], ...]
    flags: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("", "_struct")


def two(name: str, seed: int, query: tuple[int, int], reference: tuple[int, int]) -> Case:
    shapes = (2, 3, *query), (2, 3, *reference)
    return Case(
        name, (("query", seed, shapes[0], "grd"), ("reference", seed + 1, shapes[1], "sat"))
    )


def one(name: str, seed: int, size: tuple[int, int], *flags: str) -> Case:
    return Case(name, (("query", seed, (2, 3, *size), "out"),), flags)


CVUSA = (128, 512), (256, 256)
BENCHMARK = "vg_benchmark/resnet18conv4_"
CASES = [
    two("saig/saig_shallow_gap", 1001, *CVUSA),
    two("saig/saig_shallow_smd", 1001, *CVUSA),
    two("saig/saig_deep_gap", 1001, *CVUSA),
    one("saig/saig_shallow_branch_gem", 1001, (128, 512)),
    one("saig/saig_shallow_branch_reducedim", 1001, (128, 512)),
    one("saig/saig_shallow_branch_safa", 1001, (128, 512)),
    two("frgeo/frgeo_official_cvusa", 3001, *CVUSA),
    two("transgeo/transgeo_cvusa", 2001, (112, 616), (256, 256)),
    one(BENCHMARK + "gem", 5001, (480, 640)),
    one(BENCHMARK + "gem_fc512", 5001, (480, 640)),
    one(BENCHMARK + "spoc", 5001, (480, 640), "--option", "aggregation=spoc"),
    one(BENCHMARK + "mac", 5001, (480, 640), "--option", "aggregation=mac"),
    one(BENCHMARK + "rrm", 5001, (480, 640)),
    one(BENCHMARK + "netvlad", 5001, (480, 640)),
    one(BENCHMARK + "crn", 5001, (480, 640)),
    one("vg_benchmark/resnet50conv4_gem", 5001, (480, 640)),
    one("vg_benchmark/resnet50conv4_netvlad", 5001, (480, 640)),
    one("cosplace/cosplace_resnet18_512", 6001, (512, 512)),
    one("cosplace/cosplace_resnet50_512", 6001, (512, 512)),
    one("mixvpr/mixvpr_resnet50_128", 7001, (320, 320)),
    one("gsv_cities/convap_resnet50_2048", 7001, (320, 320)),
    one("gsv_cities/cosplace_resnet18_512", 7001, (320, 320)),
    one("gsv_cities/gem_resnet18", 7001, (320, 320)),
]
HELD = [
    "saig/saig_deep_smd",
    "saig/saig_shallow_imagenet",
    "frgeo/frgeo_official_vigor",
    "transgeo/transgeo_vigor",
    "eigenplaces/eigenplaces_resnet18_512",
    "cosplace/cosplace_vgg16_512",
    "gsv_cities/convap_resnet50_4096",
    "mixvpr/mixvpr_resnet50_4096",
    "vg_benchmark/resnet18conv4_rmac",
    "vg_benchmark/resnet50conv4_crn",
    "vg_benchmark/resnet50conv4_gem_fc512",
    "sample4geo/sample4geo_convnext_base",
    "megaloc/megaloc",
]
"""Recognised and loaded strictly: names without numbers here, and MegaLoc (its numbers: test_street_golden.py)."""


def imported(
    tmp_path: Path, content: Any, flags: tuple[str, ...] = ()
) -> tuple[Card, dict[str, bytes]]:
    """The encoder that the command line makes of a state dict."""
    checkpoint = tmp_path / "weights.pth"
    torch.save(content, checkpoint)
    out = tmp_path / "published.encoder"
    assert main(["import", str(checkpoint), "--out", str(out), *flags]) == 0
    return read_package(out)


def compare(graph: bytes, image: Tensor, npz: Any, name: str) -> None:
    """The graph's descriptor is what the authors' code put out, at norm 1."""
    ours = run_graph(graph, image.contiguous().numpy(), ["descriptor"])[0]
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-5)
    if name in npz:
        wanted = npz[name].reshape(len(ours), -1)
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
        assert np.abs(ours - wanted).max() <= ATOL
    else:  # long ones are kept in part, and are of norm 1
        assert_matches(ours, npz, name, ATOL)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_imports_by_the_command_line_alone(golden: Path, tmp_path: Path, case: Case) -> None:
    card, graphs = imported(tmp_path, rule_state(golden / f"{case.name}_keys.json"), case.flags)
    with np.load(golden / f"{case.name}.npz") as npz:
        for side, seed, shape, name in case.outputs:
            branch = getattr(card.branches, side)
            assert branch.input_size == shape[2:]
            for kind in case.kinds:
                image = rule_input(seed, shape, struct=bool(kind))
                compare(graphs[branch.graph], image, npz, name + kind)


def test_frm_on_timms_convnext(golden: Path, tmp_path: Path) -> None:
    name = "frgeo/frm_formula_timm_convnext_tiny"
    card, graphs = imported(tmp_path, {"model": rule_state(golden / f"{name}_keys.json")})
    with np.load(golden / f"{name}.npz") as npz:
        for side, seed in (("query", 3101), ("reference", 3102)):
            branch = getattr(card.branches, side)
            for kind in ("", "_struct"):
                image = rule_input(seed, (2, 3, *branch.input_size), struct=bool(kind))
                array = f"{'grd' if side == 'query' else 'sat'}_frm_ln{kind}"
                compare(graphs[branch.graph], image, npz, array)


def test_tensorflow_variables_in_npz(golden: Path, tmp_path: Path) -> None:
    state = tensorflow_state(golden / "safa" / "safa_full_keys.json")
    arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    np.savez(tmp_path / "safa.npz", **arrays)
    out = tmp_path / "safa.encoder"
    assert main(["import", str(tmp_path / "safa.npz"), "--out", str(out)]) == 0
    card, graphs = read_package(out)
    with np.load(golden / "safa" / "safa_full.npz") as npz:
        for branch, seed, name in (
            (card.branches.query, 12001, "grd"),
            (card.branches.reference, 12002, "sat_polar"),
        ):
            assert branch.channels == "BGR"
            image = rule_input(seed, (2, *branch.input_size, 3)).permute(0, 3, 1, 2)
            compare(graphs[branch.graph], image, npz, name)


def test_dsm_has_a_block_for_every_bearing(golden: Path, tmp_path: Path) -> None:
    card, graphs = imported(tmp_path, tensorflow_state(golden / "dsm" / "dsm_full_keys.json"))
    assert card.azimuth_blocks == 64
    with np.load(golden / "dsm" / "dsm_full.npz") as npz:
        for branch, seed, name in (
            (card.branches.query, 12101, "grd_feat"),
            (card.branches.reference, 12102, "sat_feat"),
        ):
            maps = torch.from_numpy(npz[name]).permute(0, 3, 1, 2)
            image = rule_input(seed, (len(maps), *branch.input_size, 3)).permute(0, 3, 1, 2)
            compare(graphs[branch.graph], image, {"map": from_map(maps).numpy()}, "map")


@pytest.mark.parametrize("name", HELD)
def test_names_alone_are_recognised_and_all_used(golden: Path, name: str) -> None:
    state = rule_state(golden / f"{name}_keys.json")
    recognised = recognise(state)
    options = {key: values[-1] for key, values in recognised.found.choices.items()}
    found = settled(recognised.found, Wanted(options=options))
    model = load_strictly(type(recognised)(recognised.release, found), state)
    assert sum(value.numel() for value in model.state_dict().values()) > 1e6


@pytest.mark.timeout(600)
def test_statewide_photos(golden: Path) -> None:
    """All weights are loaded by the file's names; the photos' branch alone is exported."""
    state: State = {name: flax_tensor(name, shape) for name, shape in keys(golden).items()}
    recognised = recognise(state)
    model = load_strictly(recognised, state)
    graph = branch_to_onnx(model.query, (3, 480, 640), features=False)
    with np.load(golden / "statewide" / "statewide_base.npz") as npz:
        image = structured(8101, (1, 480, 640, 3))
        compare(graph, image, npz, "pv_features_struct")


@pytest.mark.parametrize(
    ("name", "make"),
    [("salad/salad_aggregator", rule_state), ("safa/safa_spatial_aware", tensorflow_state)],
)
def test_parts_are_refused(golden: Path, name: str, make: Callable[[Path], State]) -> None:
    with pytest.raises(UnknownWeightsError, match="only a part"):
        recognise(make(golden / f"{name}_keys.json"))


def test_every_golden_with_names_is_looked_at(golden: Path) -> None:
    here = {
        str(p.relative_to(golden)).removesuffix("_keys.json") for p in golden.glob("*/*_keys.json")
    }
    elsewhere = {
        "frgeo/frm_formula_timm_convnext_tiny",
        "safa/safa_full",
        "safa/safa_spatial_aware",
        "salad/salad_aggregator",
        "dsm/dsm_full",
        "statewide/statewide_base",
        # The second stage is guided by attention that the golden brings along: test_transgeo.py.
        "transgeo/transgeo_cvusa_stage2crop320",
    }
    assert here == {case.name for case in CASES} | set(HELD) | elsewhere
