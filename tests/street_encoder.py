"""A real encoder of pictures small enough to make in a test: filtered colours, pooled over a grid or as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.encoder import Branch, Branches, Card, save_encoder

DIM = 24


def street_card(
    size: tuple[int, int] = (24, 32), *, name: str = "street", dim: int = DIM, **branch
) -> Card:
    """A card whose branches share one graph and resize pictures."""
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
    )


def street_graph(card: Card, *, any_size: bool = False, seed: int = 0) -> bytes:
    """descriptor [N, D], norm 1, of inputs [N, 3, H, W]: ``normalise(mean over places of tanh(conv(x)))``."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((card.descriptor_dim, 3, 3, 3)).astype(np.float32) * 0.5
    size = ["H", "W"] if any_size else list(card.branches.query.input_size)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "kernel"], ["filtered"], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["filtered"], ["bent"]),
            helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("LpNormalization", ["flat"], ["descriptor"], axis=1, p=2),
        ],
        "street",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, *size])],
        [
            helper.make_tensor_value_info(
                "descriptor", TensorProto.FLOAT, ["N", card.descriptor_dim]
            )
        ],
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
