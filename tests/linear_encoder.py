"""A real encoder small enough to make in a test: a linear map of patches, in ONNX, that keeps the graph contract.

It is no good on photographs, but in a flat world (see :mod:`tests.flat_world`), where a panorama below the horizon is
exactly the polar image of the ground, it is as good as an encoder can be.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.encoder import Branch, Branches, Card, Outputs, Training, save_encoder

HEIGHT, WIDTH = 32, 128
TOP_DEG, BOTTOM_DEG = -4.0, -40.0
CAMERA_M = 2.5
TILE_PIXELS = 128
ROWS = 4  # of the feature map


def row_distances_m() -> np.ndarray:
    """Ground distance that the middle of every canvas row shows, far to near, metres."""
    elevation = TOP_DEG + (np.arange(HEIGHT) + 0.5) * (BOTTOM_DEG - TOP_DEG) / HEIGHT
    return CAMERA_M / np.tan(np.radians(-elevation))


def linear_card(
    *, blocks: int = 16, depth: int = 24, subshifts: int = 2, name: str = "linear", **changes
) -> Card:
    """The card of :func:`linear_graph`; both branches share one graph."""
    extent = 2 * float(row_distances_m()[0]) * 1.02
    radii = tuple(float(r) for r in row_distances_m() / (extent / 2))
    colours = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "graph": "both.onnx"}
    values = {
        "name": name,
        "architecture": "linear sectors",
        "descriptor_dim": blocks * depth,
        "azimuth_blocks": blocks,
        "query_subshifts": subshifts,
        "tile_extents_m": (extent,),
        "stride_m": 4.0,
        "branches": Branches(
            query=Branch(
                input_size=(HEIGHT, WIDTH),
                projection="equirectangular",
                top_deg=TOP_DEG,
                bottom_deg=BOTTOM_DEG,
                fov_trained_deg=(60.0, 360.0),
                **colours,
            ),
            reference=Branch(
                input_size=(HEIGHT, WIDTH),
                projection="polar",
                tile_pixels=TILE_PIXELS,
                radii=radii,
                **colours,
            ),
        ),
        "outputs": Outputs(features="contributions"),
        "training": Training(
            data="none", licence="MIT", note="This encoder was not trained; it is for tests."
        ),
    }
    return Card(**(values | changes))


def linear_graph(card: Card, seed: int = 0) -> bytes:
    """descriptor [N, D] and features [N, d, rows, columns] of inputs [N, 3, H, W]."""
    rng = np.random.default_rng(seed)
    blocks, depth = card.azimuth_blocks, card.block_dim
    columns = blocks * 2
    patch = (HEIGHT // ROWS, WIDTH // columns)
    nodes, constants, rows = [], [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def ints(name: str, *values: int) -> str:
        return constant(name, np.array(values, np.int64))

    for row in range(ROWS):
        # Every row has its own map, so that near and far are told apart. Patches are compared by their differences,
        # not by their brightness: each kernel sums to nothing.
        kernel = rng.standard_normal((depth, 3, *patch)).astype(np.float32)
        kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
        first, last = ints(f"first{row}", row * patch[0]), ints(f"last{row}", (row + 1) * patch[0])
        nodes.append(
            helper.make_node("Slice", ["input", first, last, "height_axis"], [f"rows{row}"])
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [f"rows{row}", constant(f"kernel{row}", kernel)],
                [f"cells{row}"],
                strides=patch,
            )
        )
        rows.append(f"cells{row}")
    ints("height_axis", 2)
    nodes.append(helper.make_node("Concat", rows, ["cells"], axis=2))
    split = ints("split", 0, depth, ROWS, blocks, columns // blocks)
    nodes += [
        helper.make_node("Reshape", ["cells", split], ["grouped"]),
        helper.make_node("ReduceSum", ["grouped", ints("sum_axes", 2, 4)], ["sums"], keepdims=1),
        helper.make_node("ReduceL2", ["sums", ints("norm_axes", 1)], ["norms"], keepdims=1),
        helper.make_node(
            "Max", ["norms", constant("tiny", np.array(1e-6, np.float32))], ["positive"]
        ),
        helper.make_node(
            "Mul", ["positive", constant("root", np.array(np.sqrt(blocks), np.float32))], ["scale"]
        ),
        helper.make_node("Div", ["grouped", "scale"], ["shared"]),
        helper.make_node("Reshape", ["shared", ints("map", 0, depth, ROWS, columns)], ["features"]),
        helper.make_node("ReduceSum", ["shared", "sum_axes"], ["block_sums"], keepdims=0),
        helper.make_node("Transpose", ["block_sums"], ["by_block"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["by_block", ints("flat", 0, blocks * depth)], ["descriptor"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("descriptor", TensorProto.FLOAT, ["N", blocks * depth]),
            helper.make_tensor_value_info(
                "features", TensorProto.FLOAT, ["N", depth, ROWS, columns]
            ),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save_linear_encoder(folder: Path, seed: int = 0, **card_values) -> Card:
    """Write the encoder; returns its card."""
    card = linear_card(**card_values)
    return save_encoder(folder, card, {"both.onnx": linear_graph(card, seed)})
