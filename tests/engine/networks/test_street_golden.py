"""The street-view networks put out what their authors' code puts out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.networks import DualEncoder, build_network
from engine.networks.releases import Found, releases
from tests.golden_rule import assert_matches, read_keys, rule_input, rule_state

UNIT = {"atol": 1e-6}
RAW = {"atol": 2e-5, "rtol": 1e-5}


def recognised(keys: Path) -> tuple[Any, Found]:
    """The release that knows these keys, and what it found; there must be exactly one."""
    shapes = {name: shape for name, shape, _ in read_keys(keys)}
    known = [(release, release.recognise(shapes)) for release in releases()]
    mine = [(release, found) for release, found in known if found is not None]
    assert len(mine) == 1, [release.project for release, _ in mine]
    release, found = mine[0]
    assert found is not None and release.part is None
    return release, found


def loaded(keys: Path, size: tuple[int, int], **chosen: str) -> DualEncoder:
    """The network that is recognised from the keys, with the rule's weights, strictly loaded."""
    release, found = recognised(keys)
    assert set(found.choices) <= set(chosen)
    options = {**found.options, **chosen, "input_size": list(size)}
    model = build_network(found.network, options)
    model.load_state_dict(release.adapt(rule_state(keys), found), strict=True)
    return model.eval()


GOLDENS = [
    # One case a head and a backbone; the struct input where the weights let images differ.
    ("vg_benchmark/resnet18conv4_gem", 5001, (480, 640), True, RAW, {}),
    ("vg_benchmark/resnet18conv4_gem_fc512", 5001, (480, 640), True, UNIT, {}),
    ("vg_benchmark/resnet18conv4_spoc", 5001, (480, 640), True, RAW, {"aggregation": "spoc"}),
    ("vg_benchmark/resnet18conv4_mac", 5001, (480, 640), True, RAW, {"aggregation": "mac"}),
    ("vg_benchmark/resnet18conv4_rrm", 5001, (480, 640), True, UNIT, {}),
    ("vg_benchmark/resnet18conv4_netvlad", 5001, (480, 640), True, UNIT, {}),
    ("vg_benchmark/resnet18conv4_crn", 5001, (480, 640), True, UNIT, {}),
    ("vg_benchmark/resnet50conv4_gem", 5001, (480, 640), True, RAW, {}),
    ("vg_benchmark/resnet50conv4_netvlad", 5001, (480, 640), False, UNIT, {}),
    ("cosplace/cosplace_resnet18_512", 6001, (512, 512), True, UNIT, {}),
    ("cosplace/cosplace_resnet50_512", 6001, (512, 512), True, UNIT, {}),
    ("mixvpr/mixvpr_resnet50_128", 7001, (320, 320), True, UNIT, {}),
    ("gsv_cities/convap_resnet50_2048", 7001, (320, 320), True, UNIT, {}),
    ("gsv_cities/cosplace_resnet18_512", 7001, (320, 320), True, UNIT, {}),
    ("gsv_cities/gem_resnet18", 7001, (320, 320), True, UNIT, {}),
    ("megaloc/megaloc", 8101, (224, 224), True, UNIT, {}),
]


@pytest.mark.parametrize(
    ("name", "seed", "size", "struct", "tolerance", "chosen"), GOLDENS, ids=[g[0] for g in GOLDENS]
)
@torch.no_grad()
def test_the_authors_numbers(
    golden: Path,
    name: str,
    seed: int,
    size: tuple[int, int],
    struct: bool,
    tolerance: dict[str, float],
    chosen: dict[str, str],
) -> None:
    model = loaded(golden / f"{name}_keys.json", size, **chosen)
    images = rule_input(seed, (2, 3, *size), struct)
    branch = model.query
    output = branch(images)
    with np.load(golden / f"{name}.npz") as npz:
        assert_matches(output, npz, f"out{'_struct' if struct else ''}", **tolerance)
