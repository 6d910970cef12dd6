"""A checkpoint's averaged weights as an encoder: two ONNX graphs and the card."""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.encoder import Branches, Card, Outputs, Training, save_encoder
from engine.errors import TrainingError
from engine.networks import DualEncoder, SectorEncoder, build_network
from engine.networks.small_resnet import CircularConv, ResidualBlock
from engine.training.checkpoints import load_checkpoint
from engine.training.recipes import Recipe, recipe_from_dict

OPSET = 17
TOLERANCE = 1e-4
_NEXT_TO = {"first": "first_norm", "second": "second_norm", "around": "around_norm"}


class _EvidenceGraph(nn.Module):
    """What is exported: an encoder that gives ``descriptor`` and ``features``."""

    def __init__(self, encoder: SectorEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.evidence(x)


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


def export_encoder(checkpoint: Path, out: Path) -> Card:
    """Write ``NAME.encoder``; torch and onnxruntime must agree on both graphs.

    Raises:
        TrainingError: when they differ by more than 1e-4, or the checkpoint does not fit.
    """
    model, recipe = load_model(checkpoint)
    name = out.name.removesuffix(".encoder")
    card = card_of(recipe, name, cast(Any, model.query).dim)
    branches = (
        (cast(SectorEncoder, model.query), card.branches.query),
        (cast(SectorEncoder, model.reference), card.branches.reference),
    )
    graphs = {branch.graph: graph_of(encoder) for encoder, branch in branches}
    for encoder, branch in branches:
        difference = parity(encoder, graphs[branch.graph])
        if not difference <= TOLERANCE:
            raise TrainingError(
                f"{branch.graph} differs from the trained network by {difference:.1e}", checkpoint
            )
    return save_encoder(out, card, graphs)


def card_of(recipe: Recipe, name: str, dim: int) -> Card:
    """The card that a recipe's encoder carries."""
    about, network = recipe.about, recipe.network
    return Card(
        name=name,
        architecture=about.architecture,
        descriptor_dim=dim,
        azimuth_blocks=network.azimuth_blocks,
        query_subshifts=recipe.canvas.query_subshifts,
        tile_extents_m=(recipe.tile.extent_m,),
        stride_m=recipe.tile.index_stride_m,
        branches=Branches(recipe.query_branch, recipe.reference_branch),
        outputs=Outputs("descriptor", "contributions"),
        training=Training(about.data, about.licence, about.note),
        recipe=recipe.to_dict(),
    )


def graph_of(encoder: SectorEncoder) -> bytes:
    """An encoder as an ONNX graph: ``image`` [N, 3, H, W] to ``descriptor`` and ``features``."""
    graph = _EvidenceGraph(fold_norms(encoder)).eval()
    example = torch.zeros(2, 3, *encoder.input_size)
    axes = {name: {0: "N"} for name in ("image", "descriptor", "features")}
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter by tracing gives the smaller and plainer graph here (no shape arithmetic is left in it);
        # that it is the older one is known.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (example,),
            cast(Any, file),  # the tracing exporter writes to open files too
            input_names=["image"],
            output_names=["descriptor", "features"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def fold_norms(encoder: SectorEncoder) -> SectorEncoder:
    """A copy whose batch norms are part of the convolutions before them."""
    folded = copy.deepcopy(encoder).cpu().float().eval()

    def fold(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        return fuse_conv_bn_eval(conv, norm)

    folded.stem, folded.stem_norm = fold(folded.stem, folded.stem_norm), nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    for block in folded.stages:
        assert isinstance(block, ResidualBlock)
        for conv_name, norm_name in _NEXT_TO.items():
            conv, norm = getattr(block, conv_name), getattr(block, norm_name)
            if isinstance(norm, nn.Identity):
                continue
            if isinstance(conv, CircularConv):
                conv.conv = fold(conv.conv, norm)
            else:
                setattr(block, conv_name, fold(conv, norm))
            setattr(block, norm_name, nn.Identity())
    return folded


def parity(encoder: SectorEncoder, graph: bytes, images: int = 3) -> float:
    """The largest difference of any output between the network and its graph, on seeded noise."""
    import onnxruntime

    rng = np.random.default_rng(5)
    batch = rng.standard_normal((images, 3, *encoder.input_size)).astype(np.float32)
    batch[0, :, :, : encoder.input_size[1] // 2] = 0.0  # half of it unseen
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = session.run(["descriptor", "features"], {"image": batch})
    with torch.no_grad():
        wanted = encoder.eval().cpu().evidence(torch.from_numpy(batch))
    return max(
        float(np.abs(np.asarray(a) - w.numpy()).max()) for a, w in zip(answers, wanted, strict=True)
    )
