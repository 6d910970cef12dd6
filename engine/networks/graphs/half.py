"""Weights in half the bytes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from engine.networks.graphs.edit import Graph

_FEW = 256
_LARGEST = float(np.finfo(np.float16).max)


def store_half(content: bytes) -> bytes:
    """A graph whose weights are stored as float16 and computed with as float32.

    Each is widened by a ``Cast`` that onnxruntime computes once, while it loads the graph: the speed is float32's on
    every device, the file is half as large, and only the weights are rounded (to 11 bits). Computing in float16 as
    well would need kernels that onnxruntime has on GPUs and not on x86: there it puts casts around every node.
    Vectors stay as they are, as do weights that float16 cannot hold.
    """
    graph = Graph(content)
    read = {name for node in graph.nodes for name in node.input}
    for name, value in list(graph.constants.items()):
        few = value.size < _FEW or value.ndim < 2
        if name not in read or few or value.dtype != np.float32:
            continue
        if not float(np.abs(value).max()) <= _LARGEST:
            continue
        del graph.constants[name]
        small = graph.constant(f"{name}.half", value.astype(np.float16))
        graph.nodes.append(helper.make_node("Cast", [small], [name], to=TensorProto.FLOAT))
    return graph.model()
