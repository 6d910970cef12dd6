"""Eight bits: convolutions and linear layers computed on whole numbers.

Static quantisation in the form that every onnxruntime understands: a layer's input is rounded to 8 bits by a scale and
a zero that were found on pictures (``QuantizeLinear``, ``DequantizeLinear``), its weights by a scale for every output
channel. On a CPU onnxruntime makes one integer kernel of each layer with what stands around it; elsewhere the graph
means the same.

What was found to matter (Zen 5, two threads): a linear layer is written as ``Gemm`` with a bias of 32 bits, for which
onnxruntime has a kernel that puts out float32, so that norms, GELU, softmax and the products inside attention, which
are slower or much less exact in 8 bits, stay float32 at no cost. Convolutions hand 8 bits on to each other. Depthwise
convolutions stay float32: there onnxruntime's blocked kernel is faster than its integer one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from engine.networks.graphs.edit import Array, Graph, attribute, shape_of

Images = NDArray[np.float32]
Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest number that a value of the graph is taken to have."""

CLIPS = (0.0, 0.0001, 0.001)
"""Shares of a value's numbers at either end that a rule lets go beyond the range."""
_SAMPLE = 100_000


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer that can be quantised.

    Args:
        name: of what it puts out, bias and ReLU included: its name for :func:`quantise`.
        source: what it reads.
        weight: [out, in, kh, kw], or [in, out].
        bias: [out].
        nodes: the nodes it is made of now; the first is the convolution or product itself.
    """

    name: str
    source: str
    weight: Array
    bias: Array
    nodes: tuple[NodeProto, ...]

    @property
    def convolution(self) -> bool:
        """Whether it is a convolution."""
        return self.nodes[0].op_type == "Conv"

    @property
    def relu(self) -> bool:
        """Whether a ReLU belongs to it."""
        return self.nodes[-1].op_type == "Relu"


def layers_of(graph: Graph) -> list[Layer]:
    """The layers that can be quantised, in the graph's order.

    What feeds only one of several outputs is left out: contributions add up to the descriptor because both are made
    of the same numbers, and rounding one of them would end that.
    """
    shared = _feeding_all(graph)
    consumers = graph.consumers()
    found: list[Layer] = []
    for node in graph.nodes:
        if id(node) not in shared or len(node.input) < 2 or node.input[1] not in graph.constants:
            continue
        if node.op_type == "Conv" and attribute(node, "group", 1) == 1:
            found.append(_convolution(graph, node, consumers))
        elif node.op_type in ("MatMul", "Gemm"):
            layer = _linear(graph, node, consumers)
            if layer is not None:
                found.append(layer)
    return found


def observe(
    graph: Graph, layers: Sequence[Layer], images: Images
) -> list[dict[str, tuple[float, float]]]:
    """Ranges of all that the layers read (and convolutions put out), one mapping for each rule of ``CLIPS``.

    Args:
        images: [N, 3, H, W] (or [N, S, 3, H, W]), like those that the graph will see.
    """
    names = _observed(layers)
    inner = [name for name in names if name != graph.input]
    rows: list[dict[str, list[tuple[float, float]]]] = [{name: [] for name in names} for _ in CLIPS]
    batches = [images[i : i + 1] for i in range(len(images))]
    for batch, values in zip(batches, graph.run(inner, batches), strict=True):
        for name in names:
            value = batch if name == graph.input else values[name]
            flat = value.reshape(-1)
            sample = flat[:: max(1, flat.size // _SAMPLE)]
            for clip, row in zip(CLIPS, rows, strict=True):
                if clip:
                    low, high = np.quantile(sample, [clip, 1 - clip])
                else:
                    low, high = flat.min(), flat.max()
                row[name].append((float(low), float(high)))
    ranges: list[dict[str, tuple[float, float]]] = []
    for clip, row in zip(CLIPS, rows, strict=True):
        merge = np.mean if clip else np.max
        ranges.append(
            {
                name: (
                    -float(merge([-low for low, _ in pairs])),
                    float(merge([h for _, h in pairs])),
                )
                for name, pairs in row.items()
            }
        )
    return ranges


def quantise(content: bytes, ranges: Ranges, leave: Collection[str] = ()) -> bytes:
    """The graph with its layers in 8 bits.

    Args:
        ranges: of :func:`observe`.
        leave: names of layers that stay float32.
    """
    graph = Graph(content)
    layers = [layer for layer in layers_of(graph) if layer.name not in leave]
    image = np.zeros((1, *graph.input_shape), np.float32)
    sources = [layer.source for layer in layers]
    shapes = next(graph.run([], [image], shapes_of=sources)) if layers else {}
    writer = _Writer(graph, ranges)
    for layer in layers:
        graph.remove(layer.nodes)
    for layer in layers:
        if layer.convolution:
            writer.convolution(layer)
        else:
            writer.linear(layer, [int(n) for n in shapes[shape_of(layer.source)]])
    return graph.model()


class _Writer:
    """Writes quantised layers into a graph; what several read is rounded once."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self.graph = graph
        self.ranges = ranges
        self._rounded: dict[str, str] = {}
        self._flat: dict[str, str] = {}
        self._readers = 0

    def linear(self, layer: Layer, shape: list[int]) -> None:
        """``Gemm`` on [rows, in], whatever axes the rows are."""
        graph, name = self.graph, layer.name
        inputs, outputs = layer.weight.shape
        source = layer.source
        if len(shape) != 2:
            if source not in self._flat:
                target = graph.constant(f"{source}.rows", np.array([-1, inputs], np.int64))
                self._node("Reshape", [source, target], f"{source}.flat")
                self._flat[source] = f"{source}.flat"
            source = self._flat[source]
        x, scale = self._activation(source, layer.source)
        weight, scales = self._weight(name, layer.weight, 1)
        bias = self._bias(name, layer.bias, scales * scale)
        flat = name if len(shape) == 2 else f"{name}.flat8"
        self._node("Gemm", [x, weight, bias], flat)
        if len(shape) != 2:
            target = graph.constant(
                f"{name}.shape", np.array([-1, *shape[1:-1], outputs], np.int64)
            )
            self._node("Reshape", [flat, target], name)

    def convolution(self, layer: Layer) -> None:
        """``Conv`` and its ReLU, which put out 8 bits again."""
        name = layer.name
        x, scale = self._activation(layer.source, layer.source)
        weight, scales = self._weight(name, layer.weight, 0)
        bias = self._bias(name, layer.bias, scales * scale)
        value = f"{name}.conv8"
        self._node("Conv", [x, weight, bias], value).attribute.extend(layer.nodes[0].attribute)
        if layer.relu:
            self._node("Relu", [value], f"{name}.relu8")
            value = f"{name}.relu8"
        self._rounded[name] = self._round(value, name)
        self._restore(self._rounded[name], name, name)

    def _activation(self, value: str, range_of: str) -> tuple[str, float]:
        """A value in 8 bits and back, for one reader of its own (so onnxruntime can fuse it); its scale."""
        if value not in self._rounded:
            self._rounded[value] = self._round(value, range_of)
        self._readers += 1
        target = f"{value}.wide{self._readers}"
        self._restore(self._rounded[value], range_of, target)
        return target, float(self._scale(range_of)[0])

    def _round(self, value: str, range_of: str) -> str:
        scale, zero = self._scale(range_of)
        names = self._grid(range_of, np.array(scale), np.array(zero))
        self._node("QuantizeLinear", [value, *names], f"{value}.8")
        return f"{value}.8"

    def _restore(self, rounded: str, range_of: str, target: str) -> None:
        scale, zero = self._scale(range_of)
        names = self._grid(range_of, np.array(scale), np.array(zero))
        self._node("DequantizeLinear", [rounded, *names], target)

    def _scale(self, name: str) -> tuple[np.float32, np.uint8]:
        low, high = self.ranges[name]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, 1e-12)
        return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255))

    def _weight(self, name: str, weight: Array, axis: int) -> tuple[str, NDArray[np.float32]]:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scales = np.maximum(np.abs(weight).max(axis=others) / 127, 1e-12).astype(np.float32)
        shape = [1] * weight.ndim
        shape[axis] = -1
        small = np.clip(np.rint(weight / scales.reshape(shape)), -127, 127).astype(np.int8)
        return self._constant(f"{name}.weight", small, scales, axis), scales

    def _bias(self, name: str, bias: Array, scales: NDArray[np.float32]) -> str:
        scales = scales.astype(np.float32)
        limit = np.iinfo(np.int32).max
        whole = np.clip(np.rint(bias / scales.astype(np.float64)), -limit, limit).astype(np.int32)
        return self._constant(f"{name}.bias", whole, scales, 0)

    def _constant(self, name: str, small: Array, scales: Array, axis: int) -> str:
        content = self.graph.constant(name, small)
        names = self._grid(name, scales, np.zeros(len(scales), small.dtype))
        self._node("DequantizeLinear", [content, *names], f"{name}.wide", axis=axis)
        return f"{name}.wide"

    def _grid(self, name: str, scale: Array, zero: Array) -> tuple[str, str]:
        return (
            self.graph.constant(f"{name}.scale", scale),
            self.graph.constant(f"{name}.zero", zero),
        )

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        node = helper.make_node(kind, inputs, [output], **attributes)
        self.graph.nodes.append(node)
        return node


def _observed(layers: Sequence[Layer]) -> list[str]:
    names = [layer.source for layer in layers]
    return list(dict.fromkeys([*names, *(layer.name for layer in layers if layer.convolution)]))


def _feeding_all(graph: Graph) -> set[int]:
    """The nodes, by id, that every output needs."""
    producers = graph.producers()
    needed: list[set[int]] = []
    for output in graph.outputs:
        wanted, seen = [output], set[int]()
        while wanted:
            node = producers.get(wanted.pop())
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                wanted.extend(node.input)
        needed.append(seen)
    return set.intersection(*needed)


def _convolution(graph: Graph, node: NodeProto, consumers: Mapping[str, list[NodeProto]]) -> Layer:
    weight = graph.constants[node.input[1]]
    bias = np.zeros(len(weight), np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = graph.constants[node.input[2]]
    after = graph.only_consumer(node.output[0], consumers)
    nodes = (node,)
    if after is not None and after.op_type == "Relu":
        nodes = (node, after)
    return Layer(nodes[-1].output[0], node.input[0], weight, bias, nodes)


def _linear(
    graph: Graph, node: NodeProto, consumers: Mapping[str, list[NodeProto]]
) -> Layer | None:
    weight = graph.constants[node.input[1]]
    if weight.ndim != 2 or node.input[0] in graph.constants:
        return None
    if node.op_type == "Gemm":
        plain = all(a.name not in ("alpha", "beta") or a.f == 1.0 for a in node.attribute)
        if attribute(node, "transA", 0) or not plain:
            return None
        if attribute(node, "transB", 0):
            weight = np.ascontiguousarray(weight.T)
        bias = np.zeros(weight.shape[1], np.float32)
        if len(node.input) > 2 and node.input[2]:
            if node.input[2] not in graph.constants:
                return None
            bias = bias + graph.constants[node.input[2]].reshape(-1)
        return Layer(node.output[0], node.input[0], weight, bias, (node,))
    bias = np.zeros(weight.shape[1], np.float32)
    after = graph.only_consumer(node.output[0], consumers)
    if after is not None and after.op_type == "Add":
        for name in after.input:
            value = graph.constants.get(name)
            if value is not None and value.shape[-1:] == bias.shape and value.size == bias.size:
                return Layer(
                    after.output[0], node.input[0], weight, value.reshape(-1), (node, after)
                )
    return Layer(node.output[0], node.input[0], weight, bias, (node,))
