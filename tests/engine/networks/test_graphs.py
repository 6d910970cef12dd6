"""Graphs: exact in float32, close in fewer bits, and as plain as they can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.graphs.edit import Graph
from engine.networks.graphs.half import store_half
from engine.networks.graphs.int8 import layers_of, observe, quantise
from engine.networks.precision import to_int8
from engine.networks.to_onnx import TOLERANCE, branch_to_onnx, noise, parity, run_graph

SHAPE = (3, 16, 32)


class Mixed(nn.Module):
    """Everything that the passes look at, in small: stem with batch norm, attention, layer scale, depthwise."""

    evidence_kind = "contributions"

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 1)
        )
        self.depthwise = nn.Conv2d(24, 24, 7, padding=3, groups=24)
        self.norm = nn.LayerNorm(24)
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.up, self.down = nn.Linear(24, 96), nn.Linear(96, 24)
        self.gamma = nn.Parameter(torch.rand(24) + 0.5)
        self.head, self.again = nn.Linear(24, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        nn.init.normal_(self.stem[1].running_mean, 0.0, 0.2)  # pyright: ignore[reportArgumentType]
        nn.init.uniform_(self.stem[1].running_var, 0.5, 1.5)  # pyright: ignore[reportArgumentType]

    def places(self, x: Tensor) -> Tensor:
        """[N, 12, places]."""
        x = self.depthwise(self.stem(x))
        count, width = x.shape[0], x.shape[1]
        tokens = torch.cat([self.token.expand(count, -1, -1), x.flatten(2).transpose(1, 2)], 1)
        qkv = self.qkv(self.norm(tokens)).reshape(count, -1, 3, 4, width // 4)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (width // 4) ** -0.5).softmax(-1)
        tokens = tokens + self.out((weights @ v).transpose(1, 2).reshape(count, -1, width))
        tokens = tokens + self.gamma * self.down(F.gelu(self.up(tokens)))
        return self.head(tokens[:, 1:]).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return 3 * self.places(x).mean(2)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        places = self.places(x)
        mean = places.mean(2)
        norm = mean.norm(dim=1)[:, None]
        parts = places / (places.shape[2] * norm[:, :, None])
        return mean / norm, parts.unflatten(2, (4, 8))


@pytest.fixture(scope="module")
def branch() -> Mixed:
    torch.manual_seed(3)
    return Mixed().eval()


@pytest.fixture(scope="module")
def graph(branch: Mixed) -> bytes:
    return branch_to_onnx(branch, SHAPE)


def kinds(graph: bytes) -> Counter[str]:
    return Counter(node.op_type for node in Graph(graph).nodes)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum(axis=1).min())


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_graph_is_its_network_for_any_batch(branch: Mixed, graph: bytes, images: int) -> None:
    assert parity(branch, graph, SHAPE, images=images) < 1e-6
    descriptor, features = run_graph(graph, noise(SHAPE, images), ["descriptor", "features"])
    assert descriptor.shape == (images, 12) and features.shape == (images, 12, 4, 8)
    np.testing.assert_allclose(np.linalg.norm(descriptor, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(features.sum((2, 3)), descriptor, atol=1e-6)


def test_parity_sees_a_difference(branch: Mixed, graph: bytes) -> None:
    torch.manual_seed(4)
    assert parity(Mixed().eval(), graph, SHAPE) > TOLERANCE


def test_graphs_are_plain(graph: bytes) -> None:
    found = kinds(graph)
    assert found["Gelu"] == 1 and found["LayerNormalization"] == 1
    assert not found["BatchNormalization"] and not found["Pow"] and not found["Constant"]
    # The batch alone is asked for, where the token is repeated and where norms are divided out.
    assert found["Shape"] <= 3
    graph_ = Graph(graph)
    gains = [
        node
        for node in graph_.nodes
        if node.op_type == "Mul"
        and any(getattr(graph_.constants.get(name), "size", 0) == 24 for name in node.input)
    ]
    assert not gains, "the layer scale belongs to the layer before it"


def test_several_extents_are_one_input() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Mixed()

        def forward(self, x: Tensor) -> Tensor:
            parts = self.inner.places(x.flatten(0, 1)).mean(2)
            return parts.unflatten(0, (-1, x.shape[1])).flatten(1)

    torch.manual_seed(5)
    several = Several().eval()
    graph = branch_to_onnx(several, (2, *SHAPE))
    assert parity(several, graph, (2, *SHAPE)) < 1e-6
    assert run_graph(graph, noise((2, *SHAPE), 3), ["descriptor"])[0].shape == (3, 24)


def test_half_the_bytes_and_the_same_speed_path(graph: bytes) -> None:
    small = store_half(graph)
    assert len(small) < len(graph)
    batch = noise(SHAPE, 4)
    one, other = (run_graph(g, batch, ["descriptor"])[0] for g in (graph, small))
    assert 1 - cosine(one, other) < 1e-5
    assert not any(v.dtype == np.float16 and v.ndim < 2 for v in Graph(small).constants.values())


def test_weights_too_large_for_half_stay(branch: Mixed) -> None:
    import copy

    large = copy.deepcopy(branch)
    with torch.no_grad():
        large.up.weight *= 1e6
        large.down.weight *= 1e-6
    graph = branch_to_onnx(large, SHAPE, features=False)
    values = run_graph(store_half(graph), noise(SHAPE), ["descriptor"])[0]
    assert np.isfinite(values).all()


def test_eight_bits_are_close_and_keep_the_evidence(graph: bytes) -> None:
    parsed = Graph(graph)
    layers = layers_of(parsed)
    assert [layer.convolution for layer in layers] == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    images = noise(SHAPE, 6)
    for ranges in observe(parsed, layers, images):
        small = quantise(graph, ranges)
        found = kinds(small)
        assert found["QuantizeLinear"] and found["Gemm"] == 5 and not found["Identity"]
        wanted = run_graph(graph, images, ["descriptor"])[0]
        descriptor, features = run_graph(small, images, ["descriptor", "features"])
        assert cosine(wanted, descriptor) > 0.99
        np.testing.assert_allclose(features.sum((2, 3)), descriptor, atol=1e-6)
        one = run_graph(small, images[:1], ["descriptor"])[0]
        np.testing.assert_allclose(one, descriptor[:1], atol=1e-5)


def test_layers_that_are_left_stay_exact(graph: bytes) -> None:
    parsed = Graph(graph)
    names = [layer.name for layer in layers_of(parsed)]
    images = noise(SHAPE, 3)
    ranges = observe(parsed, layers_of(parsed), images)[0]
    untouched = quantise(graph, ranges, names)
    assert not kinds(untouched)["QuantizeLinear"]
    one, other = (run_graph(g, images, ["descriptor"])[0] for g in (graph, untouched))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_layer_behind_one_output_alone_is_not_rounded() -> None:
    class Aside(Mixed):
        def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
            descriptor, parts = super().evidence(x)
            return descriptor, self.again(parts.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    torch.manual_seed(6)
    aside = branch_to_onnx(Aside().eval(), SHAPE)
    assert len(layers_of(Graph(aside))) == 7


@dataclass
class Judge:
    """Recall that falls with every layer rounded beyond ``bearable``."""

    bearable: int
    asked: int = 0

    def __call__(self, graphs: Mapping[str, bytes]) -> float:
        self.asked += 1
        rounded = sum(kinds(g)["Gemm"] + (kinds(g)["QuantizeLinear"] > 0) for g in graphs.values())
        return 0.9 if rounded <= self.bearable else 0.8


def test_layers_are_left_until_the_recall_is_kept(graph: bytes) -> None:
    images = {"a.onnx": noise(SHAPE, 4)}
    easy = to_int8({"a.onnx": graph}, images, Judge(100))
    assert easy.kept == () and easy.before == easy.after == 0.9
    strict = to_int8({"a.onnx": graph}, images, Judge(3))
    assert strict.after == 0.9 and strict.kept
    names = {layer.name for layer in layers_of(Graph(graph))}
    assert set(strict.kept) <= names
    alone = to_int8({"a.onnx": graph}, images)
    assert alone.before is None and kinds(alone.graphs["a.onnx"])["QuantizeLinear"]
