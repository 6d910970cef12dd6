"""Another project's checkpoint as an encoder of ours: recognised, built, loaded, exported, compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.encoder import Branches, Card, Outputs, Training, save_encoder
from engine.encoder.card import FeatureKind
from engine.errors import EncoderError, NadirError
from engine.files import sha256_of
from engine.networks.checkpoints import State, read_checkpoint
from engine.networks.dual import DualEncoder
from engine.networks.graphs.half import store_half
from engine.networks.recognise import Recognised, recognise
from engine.networks.registry import build_network
from engine.networks.releases import Found, Preprocessing, Size
from engine.networks.to_onnx import (
    TOLERANCE,
    Precision,
    branch_to_onnx,
    has_evidence,
    parity,
    run_graph,
)
from engine.networks.transgeo import join_stages

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Args:
        difference: the largest between torch and onnxruntime, by graph.
    """

    card: Card
    recognised: Recognised
    difference: Mapping[str, float]


@dataclass(frozen=True)
class Wanted:
    """What the user asked to be other than the authors have it; None: as theirs.

    Args:
        query_size, reference_size: H and W of the graphs' inputs.
        extent_m: ground extent of a tile (of the first, where several are read together; the others keep their
            ratios), metres.
        stride_m: distance between tile centres, metres.
        options: of the network: what the weights do not tell, or should be otherwise.
        first_stage: TransGeo's checkpoint of stage 1, whose attention chooses the patches that stage 2 looks at.
    """

    query_size: Size | None = None
    reference_size: Size | None = None
    extent_m: float | None = None
    stride_m: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    first_stage: Path | None = None


def import_checkpoint(
    path: Path,
    out: Path,
    wanted: Wanted | None = None,
    *,
    precision: Precision = "fp32",
    tell: Tell = lambda text: None,
) -> Imported:
    """Make ``NAME.encoder`` of a published checkpoint; ``tell`` hears what is being done.

    Raises:
        NadirError: the file cannot be read or is nobody's, its weights do not fit, the graphs differ from the network
            by more than 1e-4, or ``out`` is taken.
    """
    wanted = wanted or Wanted()
    check_out(out)
    state = read_checkpoint(path)
    recognised = recognise(state, path)
    if wanted.first_stage is not None:
        state = guided(recognised, state, path, wanted.first_stage)
        recognised = recognise(state, path)
    found = settled(recognised.found, wanted, path)
    recognised = replace(recognised, found=found)
    tell(f"{recognised.release.project}: {found.variant}, {len(state)} tensors")
    model = load_strictly(recognised, state, path)
    del state
    check_dims(model, found, path)
    preprocessing = name_graphs(model, _preprocessing(recognised, wanted))
    tell("exporting")
    graphs, difference = export_branches(model, preprocessing, path, tell)
    if precision == "fp16":
        graphs = {name: store_half(graph) for name, graph in graphs.items()}
    provenance = {
        "project": recognised.release.project,
        "variant": found.variant,
        "network": found.network,
        "options": _plain(found.options),
        "file": path.name,
        "sha256": sha256_of(path),
        "precision": precision,
    }
    card = card_of(
        model, graphs, preprocessing, out.name.removesuffix(".encoder"), found.variant, provenance
    )
    return Imported(save_encoder(out, card, graphs), recognised, difference)


def guided(recognised: Recognised, state: State, path: Path, first_stage: Path) -> State:
    """TransGeo's stage 2 with stage 1's reference network inside."""
    found = recognised.found
    if found.network != "transgeo" or found.options.get("stage") != 2:
        raise EncoderError(
            f"{found.variant} has no first stage", path, "Import it without --first-stage"
        )
    first = read_checkpoint(first_stage)
    other = recognise(first, first_stage).found
    if other.network != "transgeo" or other.options.get("stage") == 2:
        raise EncoderError("is not a stage 1 of TransGeo", first_stage, "Give that checkpoint")
    return join_stages(first, state)


def settled(found: Found, wanted: Wanted, path: Path | None = None) -> Found:
    """What to build, with the user's sizes and options in it.

    Raises:
        EncoderError: something is open that only the user can say, or sizes differ that must be one.
    """
    options = {**found.options, **wanted.options}
    for key, values in found.choices.items():
        if options.get(key) not in values:
            raise EncoderError(
                f'the weights of {found.variant} do not tell its "{key}": {", ".join(values)}',
                path,
                f"Say which, such as --option {key}={values[0]}",
            )
    query = wanted.query_size or found.query_size
    reference = wanted.reference_size or found.reference_size
    if "input_size" in options and wanted.query_size != wanted.reference_size:
        if wanted.query_size and wanted.reference_size:
            raise EncoderError(
                f"{found.variant} is one network for both sides, which has one size",
                path,
                "Give the same --query-size and --reference-size",
            )
        query = reference = wanted.query_size or wanted.reference_size or query
    for key, size in (("query_size", query), ("reference_size", reference), ("input_size", query)):
        if key in found.options and key not in wanted.options:
            options[key] = size
    return replace(found, query_size=query, reference_size=reference, options=options)


def check_out(out: Path) -> None:
    """Refuse, before the work, a place that is taken or cannot be written to."""
    if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
        raise NadirError("exists already and is left alone", out, "Choose another name for --out")
    folder = out.resolve().parent
    if not folder.is_dir():
        raise NadirError(f"there is no folder {folder}", out, "Make it first, or choose another")
    if not os.access(folder, os.W_OK):
        raise NadirError(f"the folder {folder} cannot be written to", out, "Choose another")


def load_strictly(recognised: Recognised, state: State, path: Path | None = None) -> DualEncoder:
    """The network with the checkpoint's weights in it, every name and shape accounted for.

    Raises:
        EncoderError: names or shapes that do not fit, with the first of them, or weights that are no numbers.
    """
    found = recognised.found
    check_numbers(state, path)
    try:
        model = build_network(found.network, found.options)
    except NadirError as error:
        remedy = error.remedy or "Choose other sizes, or correct --option"
        raise EncoderError(error.problem, path, remedy) from error
    try:
        adapted = recognised.release.adapt(state, found)
        missing, unexpected = model.load_state_dict(adapted, strict=False)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EncoderError(
            f"the weights do not fit {found.variant} ({lines[1] if len(lines) > 1 else lines[0]})",
            path,
            "Choose the sizes that it was trained with, or get the file again",
        ) from error
    if missing or unexpected:
        parts = [
            f"{len(names)} {what}, such as {names[0]}"
            for what, names in (("missing", missing), ("too many", unexpected))
            if names
        ]
        raise EncoderError(
            f"the weights are not those of {found.variant}: {'; '.join(parts)}",
            path,
            "Get the whole file again from its source",
        )
    return model.eval()


def check_numbers(state: State, path: Path | None = None) -> None:
    """Refuse, before the work, weights of which no descriptor can come.

    Raises:
        EncoderError: naming the first that is not finite, or not stored as plain numbers.
    """
    for name, value in state.items():
        if value.is_meta or value.layout is not torch.strided:
            problem = f"{name} is not stored as plain numbers"
        elif not bool(torch.isfinite(value).all()):
            problem = f"{name} holds numbers that are not finite"
        else:
            continue
        raise EncoderError(problem, path, "Take another checkpoint, or get the file again")


def check_dims(model: DualEncoder, found: Found, path: Path | None = None) -> None:
    """Refuse sizes at which the sides' descriptors, whose length follows from the size, cannot be compared."""
    query, reference = (getattr(branch, "dim", None) for branch in (model.query, model.reference))
    if query == reference:
        return
    photos, tiles = (f"{h}x{w}" for h, w in (found.query_size, found.reference_size))
    raise EncoderError(
        f"{found.variant} gives {query:,} numbers for photos of {photos} and {reference:,} for tiles of {tiles}, "
        "which cannot be compared",
        path,
        "Give --query-size and --reference-size that belong together",
    )


def export_branches(
    model: DualEncoder, preprocessing: Preprocessing, path: Path | None = None, tell: Tell = print
) -> tuple[dict[str, bytes], dict[str, float]]:
    """Both branches' graphs by file name (one where they are the same), each compared with its branch.

    Raises:
        EncoderError: when a graph differs from its branch by more than 1e-4.
    """
    sides = {
        preprocessing.query.graph: (model.query, _input_shape(preprocessing, "query")),
        preprocessing.reference.graph: (model.reference, _input_shape(preprocessing, "reference")),
    }
    features = feature_kind(model) is not None
    graphs: dict[str, bytes] = {}
    difference: dict[str, float] = {}
    for name, (branch, shape) in sides.items():
        graphs[name] = branch_to_onnx(branch, shape, features=features)
        difference[name] = parity(branch, graphs[name], shape, features=features)
        tell(f"{name}: differs from the network by {difference[name]:.1e} at most")
        if not difference[name] <= TOLERANCE:
            raise EncoderError(
                f"{name} differs from its network by {difference[name]:.1e}, more than {TOLERANCE:g}",
                path,
            )
    return graphs, difference


def feature_kind(model: DualEncoder) -> FeatureKind | None:
    """What evidence both branches give, if they give the same kind."""
    kinds = {
        getattr(branch, "evidence_kind", None) if has_evidence(branch) else None
        for branch in (model.query, model.reference)
    }
    return kinds.pop() if len(kinds) == 1 else None


def card_of(
    model: DualEncoder,
    graphs: Mapping[str, bytes],
    preprocessing: Preprocessing,
    name: str,
    architecture: str,
    recipe: dict[str, Any],
) -> Card:
    """The card for two branches and their official preprocessing."""
    query = preprocessing.query
    image = np.zeros((1, *_input_shape(preprocessing, "query")), np.float32)
    dim = run_graph(graphs[query.graph], image, ["descriptor"])[0].shape[1]
    return Card(
        name=name,
        architecture=architecture,
        descriptor_dim=dim,
        azimuth_blocks=_blocks(model, preprocessing),
        query_subshifts=preprocessing.query_subshifts,
        tile_extents_m=preprocessing.tile_extents_m,
        stride_m=preprocessing.stride_m,
        tile_up=preprocessing.tile_up,  # pyright: ignore[reportArgumentType] - checked with the card
        branches=Branches(query, preprocessing.reference),
        outputs=Outputs("descriptor", feature_kind(model)),
        training=Training(preprocessing.data, preprocessing.licence, preprocessing.note),
        recipe=recipe,
    )


def _preprocessing(recognised: Recognised, wanted: Wanted) -> Preprocessing:
    """The release's, with what the user wants otherwise, and the graphs' names."""
    official = recognised.release.preprocess(recognised.found)
    extents = official.tile_extents_m
    if wanted.extent_m is not None:
        extents = tuple(extent * wanted.extent_m / extents[0] for extent in extents)
    return replace(
        official,
        tile_extents_m=extents,
        stride_m=official.stride_m if wanted.stride_m is None else wanted.stride_m,
    )


def name_graphs(model: DualEncoder, preprocessing: Preprocessing) -> Preprocessing:
    """One graph for both sides where the weights, the sizes and the inputs are the same."""
    query, reference = preprocessing.query, preprocessing.reference
    one = (
        model.shared
        and query.input_size == reference.input_size
        and len(preprocessing.tile_extents_m) == 1
    )
    names = ("encoder.onnx", "encoder.onnx") if one else ("query.onnx", "reference.onnx")
    return replace(
        preprocessing,
        query=replace(query, graph=names[0]),
        reference=replace(reference, graph=names[1]),
    )


def _input_shape(preprocessing: Preprocessing, side: str) -> tuple[int, ...]:
    extents = len(preprocessing.tile_extents_m) if side == "reference" else 1
    branch = preprocessing.query if side == "query" else preprocessing.reference
    return ((extents,) if extents > 1 else ()) + (3, *branch.input_size)


def _blocks(model: DualEncoder, preprocessing: Preprocessing) -> int:
    blocks = {_blocks_of(branch) for branch in (model.query, model.reference)}
    one = len(blocks) == 1 and preprocessing.query.projection == "equirectangular"
    return blocks.pop() if one else 1


def _blocks_of(branch: nn.Module) -> int:
    blocks = getattr(branch, "azimuth_blocks", 1)
    return blocks if isinstance(blocks, int) else 1


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
