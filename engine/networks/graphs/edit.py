"""Editing ONNX graphs: looking things up, exchanging nodes, running parts of a graph."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

Array = NDArray[Any]


class Graph:
    """A graph that is being rewritten.

    Nodes are taken away and put in freely; :meth:`model` brings them into an order in which every value is made
    before it is used, and drops the constants that nobody reads.
    """

    def __init__(self, content: bytes) -> None:
        self._model = onnx.load_from_string(content)
        del content  # a large network is here several times over as it is
        graph = self._model.graph
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants: dict[str, Array] = {
            t.name: numpy_helper.to_array(t) for t in graph.initializer
        }
        self.input: str = graph.input[0].name
        self.input_shape = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)[1:]
        self.outputs: list[str] = [value.name for value in graph.output]
        self._count = 0
        del graph.node[:], graph.initializer[:], graph.value_info[:]

    def producers(self) -> dict[str, NodeProto]:
        """The node that makes every value."""
        return {name: node for node in self.nodes for name in node.output}

    def consumers(self) -> dict[str, list[NodeProto]]:
        """The nodes that read every value; a graph output counts as none."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def only_consumer(
        self, name: str, consumers: Mapping[str, list[NodeProto]]
    ) -> NodeProto | None:
        """The one node that reads ``name``, if there is exactly one and no one outside does."""
        readers = consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def constant(self, name: str, value: Array) -> str:
        """Put in a constant; its name, made unique."""
        self._count += 1
        unique = f"{name}#{self._count}"
        self.constants[unique] = value
        return unique

    def remove(self, nodes: Iterable[NodeProto]) -> None:
        """Take nodes away."""
        gone = {id(node) for node in nodes}
        self.nodes = [node for node in self.nodes if id(node) not in gone]

    def model(self) -> bytes:
        """The graph as it is now."""
        self.nodes = _alive(self.nodes, self.outputs)
        return self._proto().SerializeToString()

    def run(
        self,
        names: Sequence[str],
        batches: Iterable[NDArray[np.float32]],
        *,
        shapes_of: Sequence[str] = (),
    ) -> Iterator[dict[str, Array]]:
        """What any values of the graph are, for one input after the other.

        Args:
            names: the values.
            batches: the inputs.
            shapes_of: values of which the shape is wanted instead; they come as ``shape of NAME``.
        """
        proto = self._proto()
        asked = list(dict.fromkeys(names))
        for name in dict.fromkeys(shapes_of):
            proto.graph.node.append(helper.make_node("Shape", [name], [shape_of(name)]))
            asked.append(shape_of(name))
        present = {value.name for value in proto.graph.output}
        proto.graph.output.extend(
            helper.make_empty_tensor_value_info(n) for n in asked if n not in present
        )
        content = proto.SerializeToString()
        del proto  # a large network is here several times over as it is
        session = onnxruntime.InferenceSession(
            content,
            _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
            providers=["CPUExecutionProvider"],
        )
        del content
        for batch in batches:
            values = cast(list[Array], session.run(asked, {self.input: batch}))
            yield dict(zip(asked, values, strict=True))

    def _proto(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        nodes = _ordered(self.nodes, {*self.constants, self.input})
        model.graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input} | set(self.outputs)
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name)
            for name, value in self.constants.items()
            if name in read
        )
        return model


def shape_of(name: str) -> str:
    """What :meth:`Graph.run` calls the shape of a value."""
    return f"shape of {name}"


def tidy(content: bytes) -> bytes:
    """The graph after onnxruntime's rewriting that holds on every device: constants computed, needless nodes gone."""
    with tempfile.TemporaryDirectory() as folder:
        options = _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
        target = Path(folder) / "graph.onnx"
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return target.read_bytes()


def attribute(node: NodeProto, name: str, default: int) -> int:
    """A whole-number attribute of a node."""
    return next((a.i for a in node.attribute if a.name == name), default)


def _options(level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    return options


def _alive(nodes: list[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that the outputs need, in the order in which they stood."""
    producers = {name: node for node in nodes for name in node.output}
    wanted, needed = list(outputs), set[int]()
    while wanted:
        node = producers.get(wanted.pop())
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            wanted.extend(node.input)
    return [node for node in nodes if id(node) in needed]


def _ordered(nodes: list[NodeProto], known: set[str]) -> list[NodeProto]:
    """Nodes so that each comes after those it reads; equal input, equal order."""
    ready, waiting = {"", *known}, list(nodes)
    ordered: list[NodeProto] = []
    while waiting:
        later: list[NodeProto] = []
        for node in waiting:
            if all(name in ready for name in node.input):
                ordered.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"nothing makes {later[0].input} for {later[0].op_type}")
        waiting = later
    return ordered
