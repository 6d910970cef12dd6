"""SAFA and its VGG16 against what the authors' graph gave for weights made by rule."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import engine.networks.safa as safa_module
from engine.networks import build_network
from engine.networks.pretrained import load_pretrained
from engine.networks.safa import SafaBranch, SpatialAware, from_tensorflow1, safa
from engine.networks.vgg import GROUPS, SidedConv, Vgg16
from tests.golden_rule import assert_matches, rule_input, rule_z


def tensorflow_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of the golden numbers for TensorFlow's variables."""
    z = rule_z(name, shape)
    if name.split("/")[-1].startswith("bias"):
        return torch.from_numpy(np.float32(0.1) * z)
    count = math.prod(shape[:-1]) if len(shape) == 4 else shape[0]
    return torch.from_numpy(z * np.float32(1 / math.sqrt(count)))


def tensorflow_state(keys_json: Path) -> dict[str, Tensor]:
    entries = json.loads(keys_json.read_text())
    return {e["name"]: tensorflow_tensor(e["name"], tuple(e["shape"])) for e in entries}


def channels_first(seed: int, shape: tuple[int, int, int, int]) -> Tensor:
    """An input [N, H, W, C] of the golden numbers, as torch has it."""
    return rule_input(seed, shape).permute(0, 3, 1, 2).contiguous()


def test_descriptors_are_the_authors(golden: Path) -> None:
    state = tensorflow_state(golden / "safa" / "safa_full_keys.json")
    found = safa_module._recognise({key: tuple(value.shape) for key, value in state.items()})
    assert found is not None and found.reference_size == (112, 616)
    network = build_network(found.network, found.options).eval()
    network.load_state_dict(from_tensorflow1(state), strict=True)
    npz = np.load(golden / "safa" / "safa_full.npz")
    panoramas = channels_first(12001, (2, 112, 616, 3))
    assert isinstance(network.query, SafaBranch)
    with torch.inference_mode():
        local = network.query.vgg(panoramas)
        assert_matches(local.permute(0, 2, 3, 1).contiguous(), npz, "grd_vgg_featmap", 2e-5, 1e-5)
        pooled = torch.nn.functional.max_pool2d(local, 2, ceil_mode=True)
        descriptor, parts = network.query.spatial.evidence(pooled)
        assert_matches(descriptor, npz, "grd", 1e-6)
        assert torch.allclose(parts.sum((2, 3)), descriptor, atol=1e-6)
        assert_matches(
            network.reference(channels_first(12002, (2, 112, 616, 3))), npz, "sat_polar", 1e-6
        )


def test_descriptors_of_tiles_without_polar_transform_are_the_authors(golden: Path) -> None:
    state = tensorflow_state(golden / "safa" / "safa_full_keys.json")
    for name, shape in (
        ("weights1", (64, 32, 8)),
        ("biases1", (1, 32, 8)),
        ("weights2", (32, 64, 8)),
        ("biases2", (1, 64, 8)),
    ):
        state[f"spatial_sat/{name}"] = tensorflow_tensor(f"spatial_sat/{name}", shape)
    found = safa_module._recognise({key: tuple(value.shape) for key, value in state.items()})
    assert found is not None and found.reference_size == (256, 256)
    assert safa_module._preprocess(found).reference.projection == "plain"
    adapted = from_tensorflow1(state)
    branch = SafaBranch((256, 256)).eval()
    branch.load_state_dict(
        {key[4:]: value for key, value in adapted.items() if key.startswith("sat.")}, strict=True
    )
    npz = np.load(golden / "safa" / "safa_full.npz")
    with torch.inference_mode():
        descriptor = branch(channels_first(12003, (2, 256, 256, 3)))
    assert_matches(descriptor, npz, "sat_nopolar", 1e-6)


def test_spatial_layers_are_the_authors(golden: Path) -> None:
    state = tensorflow_state(golden / "safa" / "safa_spatial_aware_keys.json")
    spatial = SpatialAware((4, 20), 512)
    spatial.load_state_dict({key.split("/")[1]: value for key, value in state.items()})
    x = channels_first(12004, (2, 4, 20, 512)).abs()
    npz = np.load(golden / "safa" / "safa_spatial_aware.npz")
    with torch.inference_mode():
        assert_matches(spatial.maps(x), npz, "weights", 2e-5, 1e-5)
        assert_matches(spatial(x), npz, "einsum_raw", 2e-5, 1e-5)
        assert_matches(spatial.evidence(x)[0], npz, "descriptor_l2", 1e-6)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert safa_module._recognise(shapes) is None
    assert safa_module._recognise_part(shapes) is not None


def test_card_reads_blue_first_and_the_authors_grid(golden: Path) -> None:
    keys = json.loads((golden / "safa" / "safa_full_keys.json").read_text())
    found = safa_module._recognise({e["name"]: tuple(e["shape"]) for e in keys})
    assert found is not None
    preprocessing = safa_module._preprocess(found)
    for branch in (preprocessing.query, preprocessing.reference):
        assert branch.channels == "BGR"
        assert [round(255 * value, 3) for value in branch.mean] == [103.939, 116.779, 123.6]
        assert branch.std[0] * 255 == pytest.approx(1.0)
    assert preprocessing.reference.polar == "safa"


def test_a_small_one_learns() -> None:
    torch.manual_seed(2)
    network = safa(
        query_size=(32, 128), reference_size=(64, 64), widths=(4, 4, 8, 8, 16), maps=2
    ).train()
    queries, references = network(torch.randn(2, 3, 32, 128), torch.randn(2, 3, 64, 64))
    assert queries.shape == references.shape == (2, 32)
    (queries * references).sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_same_padding_is_tensorflows() -> None:
    """An even number of rows in steps of two is padded below alone."""
    conv = SidedConv(1, 1, (2, 1))
    torch.nn.init.ones_(conv.weight)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    with torch.no_grad():
        rows = conv(x)[0, 0, :, 1]
    # Columns 0..2: rows 0..2, then rows 2, 3 and one of zeros.
    assert rows.tolist() == [x[0, 0, :3, :3].sum().item(), x[0, 0, 2:, :3].sum().item()]


def test_a_full_turn_has_no_edge() -> None:
    torch.manual_seed(3)
    vgg = Vgg16(groups=3, circular=True, widths=(4, 4, 4)).eval()
    x = torch.randn(1, 3, 16, 32)
    with torch.no_grad():
        assert torch.allclose(
            vgg(x.roll(8, 3)), vgg(x).roll(2, 3), atol=1e-6
        )  # 4 pixels a column of the map


def test_imagenet_weights_of_torchvision_mean_the_same() -> None:
    """Pixels in red, green, blue through torchvision's first layer, and in blue, green, red through ours."""
    torch.manual_seed(4)
    widths = (4, 4, 4, 4, 4)
    convs = iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    state, before = {}, 3
    for count, width in zip(GROUPS, widths, strict=True):
        for _ in range(count):
            index = next(convs)
            state[f"features.{index}.weight"] = torch.randn(width, before, 3, 3)
            state[f"features.{index}.bias"] = torch.randn(width)
            before = width
    state["classifier.0.weight"] = torch.randn(2, 2)
    vgg = Vgg16(widths=widths)
    assert load_pretrained(vgg, state) == ("",)
    colours = torch.rand(1, 3, 8, 8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = torch.nn.functional.conv2d(
        (colours - mean[:, None, None]) / std[:, None, None],
        state["features.0.weight"],
        state["features.0.bias"],
    )
    ours = 255 * (colours - mean[:, None, None]).flip(1)
    with torch.no_grad():
        conv = vgg.get_submodule("conv1_1")
        assert isinstance(conv, SidedConv)
        again = torch.nn.functional.conv2d(ours, conv.weight, conv.bias)
    assert torch.allclose(theirs, again, atol=1e-4)


def test_unknown_variables_are_refused() -> None:
    with pytest.raises(KeyError):
        from_tensorflow1({"VGG_grd/conv6_1/weights": torch.zeros(3, 3, 1, 1), "x": torch.zeros(1)})
