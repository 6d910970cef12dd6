"""A checkpoint's averaged weights as an encoder: its ONNX graphs and the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from engine.encoder import Card, save_encoder
from engine.errors import TrainingError
from engine.networks import DualEncoder, build_network
from engine.networks.graphs.half import store_half
from engine.networks.importing import card_of, export_branches, name_graphs
from engine.networks.precision import (
    CALIBRATION_IMAGES,
    GraphBranch,
    Graphs,
    graph_model,
    to_int8,
)
from engine.networks.releases import Preprocessing
from engine.networks.to_onnx import Precision
from engine.training.checkpoints import load_checkpoint
from engine.training.recipes import Recipe, recipe_from_dict
from engine.training.validate import Validation, open_validation

DATA = "towns"
"""Where ``nadir train`` puts the data that it makes, beside the checkpoint."""

Tell = Callable[[str], None]


def load_model(checkpoint: Path) -> tuple[DualEncoder, Recipe]:
    """The averaged model of a checkpoint, ready to use, and its recipe."""
    state = load_checkpoint(checkpoint)
    recipe = recipe_from_dict(state["recipe"])
    model = build_network(recipe.network.name, recipe.network_options)
    weights = state["average"]["model"]
    if "logit_scale" in weights:
        model.learn_scale(1.0)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        raise TrainingError("its weights do not fit its recipe", checkpoint) from error
    return cast(DualEncoder, model).eval(), recipe


def export_encoder(
    checkpoint: Path,
    out: Path,
    *,
    precision: Precision = "fp32",
    data: Path | None = None,
    tell: Tell = lambda text: None,
) -> Card:
    """Write ``NAME.encoder``; torch and onnxruntime must agree on both graphs before any bit is saved.

    Args:
        checkpoint: of a training.
        out: ``NAME.encoder``; an encoder that stands there is replaced.
        precision: ``fp16`` stores weights in half the bytes; ``int8`` computes on 8 bits and needs ``data``.
        data: what the recipe validates on: recall before and after goes into the card (default: the folder of towns
            beside the checkpoint, if there is one).
        tell: hears what is being done.

    Raises:
        NadirError: the checkpoint does not fit, a graph differs from its network by more than 1e-4, or there is no
            data where it is needed.
    """
    model, recipe = load_model(checkpoint)
    preprocessing = name_graphs(model, preprocessing_of(recipe))
    validation = _validation(recipe, checkpoint, data, needed=precision == "int8")
    graphs, _ = export_branches(model, preprocessing, checkpoint, tell)
    name = out.name.removesuffix(".encoder")
    card = card_of(model, graphs, preprocessing, name, recipe.about.architecture, recipe.to_dict())
    card = replace(card, azimuth_blocks=recipe.network.azimuth_blocks)
    if precision == "fp32" and data is None:
        return save_encoder(out, card, graphs)
    graphs, measured = convert(graphs, card, precision, validation, tell)
    if measured is not None:
        card = replace(card, measured=(*card.measured, measured))
    return save_encoder(out, card, graphs)


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """What a recipe says about the card."""
    about, tile = recipe.about, recipe.tile
    return Preprocessing(
        query=recipe.query_branch,
        reference=recipe.reference_branch,
        tile_extents_m=tile.extents_m or (tile.extent_m,),
        stride_m=tile.index_stride_m,
        query_subshifts=recipe.canvas.query_subshifts,
        data=about.data,
        licence=about.licence,
        note=about.note,
    )


def convert(
    graphs: Mapping[str, bytes],
    card: Card,
    precision: Precision,
    validation: Validation | None,
    tell: Tell = lambda text: None,
) -> tuple[Graphs, dict[str, Any] | None]:
    """The graphs in another precision, and what the card says was measured; None where nothing could be.

    Args:
        validation: measures recall; for 8 bits it also gives the pictures to calibrate on, and may not be None.
    """
    names = card.branches.query.graph, card.branches.reference.graph
    if validation is None:
        return {name: store_half(graph) for name, graph in graphs.items()}, None
    answers: list[dict[str, Any]] = []

    def recall(wanted: Graphs, keep: int = 0) -> float:
        model = graph_model(wanted[names[0]], wanted[names[1]], keep)
        answers.append(validation.measure(model, pictures=None, step=0)["queries"])
        for name, branch in zip(names, (model.query, model.reference), strict=True):
            if keep:
                pictures.setdefault(name, []).extend(cast(GraphBranch, branch).seen)
        value = _first(answers[-1])
        tell(f"recall {100 * value:.1f} %")
        return value

    pictures: dict[str, list[Any]] = {}
    before = recall(graphs, CALIBRATION_IMAGES)
    first = answers[-1]
    kept: tuple[str, ...] = ()
    small: Graphs = graphs
    if precision == "int8":
        images = {name: np.stack(seen) for name, seen in pictures.items()}
        quantised = to_int8(graphs, images, recall, before=before)
        small, kept = quantised.graphs, quantised.kept
    elif precision == "fp16":
        small = {name: store_half(graph) for name, graph in graphs.items()}
        recall(small)
    measured: dict[str, Any] = {
        "what": f"validation, {precision}",
        "precision": precision,
        "before": first,
        "after": answers[-1],
    }
    if kept:
        measured["float32_layers"] = list(kept)
    return small, measured


def _first(queries: Mapping[str, Mapping[str, Any]]) -> float:
    """The first measure of the first kind of query: the one that decides in training."""
    return float(next(iter(next(iter(queries.values())).values())))


def _validation(
    recipe: Recipe, checkpoint: Path, data: Path | None, *, needed: bool
) -> Validation | None:
    folder = data if data is not None else checkpoint.parent / DATA
    found = open_validation(recipe, folder) if folder.is_dir() else None
    if found is None and (needed or data is not None):
        raise TrainingError(
            "holds nothing that the recipe validates on"
            if folder.is_dir()
            else "there is no such folder",
            folder,
            "Give the training's data with --data: its validation part is what 8 bits are calibrated on",
        )
    return found
