"""A real encoder of pictures small enough to make in a test: filtered colours, pooled over a grid or as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.encoder import Branch, Branches, Card, Outputs, save_encoder

DIM = 24


def street_card(
    size: tuple[int, int] = (24, 32),
    *,
    name: str = "street",
    dim: int = DIM,
    features: bool = False,
    **branch,
) -> Card:
    """A card whose branches share one graph and resize pictures; ``features``: it gives contributions."""
    both = Branch(
        graph="net.onnx",
        input_size=size,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        projection="plain",
        tile_pixels=32,
        resize="bilinear",
        **branch,
    )
    return Card(
        name=name,
        architecture="pooled filters",
        descriptor_dim=dim,
        tile_extents_m=(50.0,),
        stride_m=10.0,
        branches=Branches(query=both, reference=both),
        outputs=Outputs("descriptor", "contributions" if features else None),
    )


def street_graph(card: Card, *, any_size: bool = False, seed: int = 0) -> bytes:
    """descriptor [N, D], norm 1, of inputs [N, 3, H, W]: ``normalise(mean over places of tanh(conv(x)))``."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((card.descriptor_dim, 3, 3, 3)).astype(np.float32) * 0.5
    size = ["H", "W"] if any_size else list(card.branches.query.input_size)
    outputs = [("descriptor", ["N", card.descriptor_dim])]
    parts = []
    if card.outputs.features:  # every place's share of the mean, divided by the mean's length
        height, width = card.branches.query.input_size
        outputs.append(("features", ["N", card.descriptor_dim, height, width]))
        parts = [
            helper.make_node("Constant", [], ["axes"], value_ints=[1]),
            helper.make_node("Constant", [], ["places"], value_float=float(height * width)),
            helper.make_node("Constant", [], ["shape"], value_ints=[-1, 1, 1, 1]),
            helper.make_node("ReduceL2", ["flat", "axes"], ["length"]),
            helper.make_node("Mul", ["length", "places"], ["whole"]),
            helper.make_node("Reshape", ["whole", "shape"], ["divisor"]),
            helper.make_node("Div", ["bent", "divisor"], ["features"]),
        ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "kernel"], ["filtered"], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["filtered"], ["bent"]),
            helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("LpNormalization", ["flat"], ["descriptor"], axis=1, p=2),
            *parts,
        ],
        "street",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save_street_encoder(
    folder: Path, size: tuple[int, int] = (24, 32), *, any_size: bool = False, seed: int = 0, **card
) -> Card:
    """Write the encoder; returns its card."""
    values = street_card(size, **card)
    return save_encoder(
        folder, values, {"net.onnx": street_graph(values, any_size=any_size, seed=seed)}
    )
