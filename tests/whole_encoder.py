"""Encoders whose descriptor is one whole, small enough to make in a test: random projections of the cells of a grid.

What two pictures have in common is what their cells have in common, so such an encoder finds a picture by its pixels.
It comes as every kind that a released network may be: for panoramas (turned, to find a heading) or for ordinary
photos (which says nothing of headings); with contributions or attention; reading one extent of a place or several.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.encoder import Branch, Branches, Card, Outputs, Training, save_encoder
from tests.linear_encoder import linear_card

DIM = 96
PHOTO = 48  # side of a plain branch's input
CELL = 4

Kind = Literal["contributions", "attention"]


def plain_card(
    *, extents: tuple[float, ...] = (80.0,), kind: Kind = "contributions", **changes: Any
) -> Card:
    """For photos that look straight down: a photo of the ground is padded, its tiles are south-up."""
    colours: dict[str, Any] = {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "input_size": (PHOTO, PHOTO),
        "projection": "plain",
    }
    values: dict[str, Any] = {
        "name": "whole plain",
        "architecture": "projections of cells",
        "descriptor_dim": DIM,
        "tile_extents_m": extents,
        "stride_m": 8.0,
        "tile_up": "south",
        "branches": Branches(
            Branch(graph="query.onnx", fit="pad", **colours),
            Branch(graph="reference.onnx", tile_pixels=60, **colours),
        ),
        "outputs": Outputs(features=kind),
        "training": Training(data="none", licence="MIT", note="It was not trained; for tests."),
    }
    return Card(**(values | changes))


def panorama_card(*, kind: Kind = "contributions", turns: int = 32, **changes: Any) -> Card:
    """For panoramas and polar tiles of a flat world, on the canvas of the linear encoder."""
    card = linear_card(name="whole panorama", blocks=1, depth=DIM, subshifts=turns)
    query, reference = card.branches.query, card.branches.reference
    branches = Branches(
        replace(query, graph="query.onnx"), replace(reference, graph="reference.onnx")
    )
    return replace(card, branches=branches, outputs=Outputs(features=kind), **changes)


def whole_graph(card: Card, side: Literal["query", "reference"], seed: int = 0) -> bytes:
    """``descriptor`` [N, D] of norm 1 and ``features`` of an input [N, 3, H, W], or [N, S, 3, H, W]."""
    branch = card.branches.query if side == "query" else card.branches.reference
    height, width = branch.input_size
    rows, columns = height // CELL, width // CELL
    extents = len(card.tile_extents_m) if side == "reference" else 1
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((3, DIM, rows, columns)).astype(np.float32)
    kernel -= kernel.mean(axis=(2, 3), keepdims=True)  # brightness alone says nothing
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def ints(name: str, *values: int) -> str:
        return constant(name, np.array(values, np.int64))

    def node(kind: str, inputs: list[str], output: str, **more: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **more))
        return output

    flat = "input"
    if extents > 1:
        flat = node("Reshape", ["input", ints("flat_shape", -1, 3, height, width)], "flat")
    cell = {"kernel_shape": [CELL, CELL], "strides": [CELL, CELL]}
    pooled = node("AveragePool", [flat], "pooled", **cell)
    by_colour = node("Unsqueeze", [pooled, ints("after_colour", 2)], "by_colour")
    parts = node("Mul", [by_colour, constant("kernel", kernel)], "parts")
    cells = node("ReduceSum", [parts, ints("colour", 1)], "cells", keepdims=0)
    shape = ints("by_place_shape", -1, extents, DIM, rows, columns)
    by_place = node("Reshape", [cells, shape], "by_place")
    weights = np.array([1.0, 0.3, 0.2, 0.1][:extents], np.float32).reshape(1, extents, 1, 1, 1)
    weighed = node("Mul", [by_place, constant("weights", weights)], "weighed")
    total = node("ReduceSum", [weighed, ints("places", 1, 3, 4)], "total", keepdims=1)
    norm = node("ReduceL2", [total, ints("numbers", 2)], "norm", keepdims=1)
    share = node("Div", [weighed, norm], "shared")
    node("ReduceSum", [share, "places"], "descriptor", keepdims=0)
    outer = [extents] if extents > 1 else []
    final = [*outer, DIM, rows, columns]
    if card.outputs.features == "attention":
        strength = node("ReduceL2", [share, "numbers"], "strength", keepdims=0)
        whole = node("ReduceSum", [strength, ints("all", 1, 2, 3)], "whole", keepdims=1)
        share = node("Div", [strength, whole], "attention")
        final = [*outer, rows, columns]
    node("Reshape", [share, ints("features_shape", -1, *final)], "features")
    inputs = ["N", *outer, 3, height, width]
    graph = helper.make_graph(
        nodes,
        "whole",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, inputs)],
        [
            helper.make_tensor_value_info("descriptor", TensorProto.FLOAT, ["N", DIM]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", *final]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save_whole_encoder(folder: Path, card: Card, seed: int = 0) -> Card:
    """Write the encoder; returns its card. Both graphs have the same projections."""
    query, reference = (whole_graph(card, side, seed) for side in ("query", "reference"))
    return save_encoder(folder, card, {"query.onnx": query, "reference.onnx": reference})
