"""The forms in which SAIG's weights are published or come out of its authors' training scripts.

Repository: github.com/yanghongji2007/SAIG. It states no licence of its own (the timm inside is Apache-2.0). Sizes are
told by the number of learned positions: 256 are CVUSA's and CVACT's 128 x 512 panoramas and 256 x 256 tiles, 800 and
400 are VIGOR's 320 x 640 and 320 x 320. The authors resize with torchvision on Pillow images (bilinear, antialiased)
and normalise with mean and deviation 0.5 (``utils/dataloader_*.py``).

Models for polar tiles have 256 positions too (128 x 512): their weights look the same, so the user says so by the
reference size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.encoder import Branch
from engine.errors import EncoderError
from engine.networks.positions import Grid, resize_positions
from engine.networks.published import (
    CVUSA,
    VIGOR,
    Pictures,
    cvusa_or_cvact,
    paired,
    panorama_branch,
    pictures_for,
    tile_branch,
    untrained,
)
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    Size,
    State,
    register_release,
)
from engine.networks.saig.backbone import STRIDE
from engine.networks.saig.branch import VARIANTS

PROJECT = "SAIG, yanghongji2007/SAIG"
LICENCE = "The authors' repository states no licence"
HALF = (0.5, 0.5, 0.5)
HEAD_DIM = 32
"""Channels of a head in both published sizes (384 / 12); weights do not tell the heads."""
_STEM = (0, 3, 9, 15)
"""The convolutions that have the four widths."""
_HEADS = {
    "linear3.weight": "smd",
    "pooling.p": "gem",
    "reduceLinear.weight": "reduce-dim",
    "spatial_aware.fc.0.0.weight": "safa",
}
_BOUND = ("linear3.weight", "spatial_aware.fc.0.0.weight")
"""Heads whose layers have one number for every place."""
_NAMES = {
    "gap": "GAP",
    "smd": "SMD",
    "gem": "GeM",
    "reduce-dim": "reduced dimension",
    "safa": "SAFA",
}


def panorama_size(places: int) -> Size | None:
    """H and W of panoramas with so many positions: one to four (CVUSA, CVACT), or one to two (VIGOR)."""
    for aspect in (4, 2):
        rows = math.isqrt(places // aspect)
        if rows and aspect * rows * rows == places:
            return rows * STRIDE, aspect * rows * STRIDE
    return None


def tile_size(places: int) -> Size | None:
    """H and W of square tiles with so many positions."""
    side = math.isqrt(places)
    return (side * STRIDE, side * STRIDE) if side * side == places else None


def branch_size(places: int) -> Size | None:
    """H and W of what a branch alone reads: 400 positions are VIGOR's tiles, 196 ImageNet's pictures, others panoramas'
    if they can be."""
    if places in (196, 400):
        return tile_size(places)
    return panorama_size(places) or tile_size(places)


def has_backbone(shapes: Shapes, prefix: str) -> bool:
    """Whether the parameters that begin with ``prefix`` are SAIG's backbone, as far as it takes to measure it."""
    needed = (
        *(f"patch_embed.conv_stem.{index}.weight" for index in _STEM),
        "blocks.0.norm1.weight",
    )
    positions = shapes.get(f"{prefix}pos_embed", ())
    return len(positions) == 3 and all(f"{prefix}{name}" in shapes for name in needed)


def backbone_options(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Options of the backbone whose parameters begin with ``prefix``."""
    dim = shapes[f"{prefix}pos_embed"][2]
    stem = tuple(shapes[f"{prefix}patch_embed.conv_stem.{index}.weight"][0] for index in _STEM)
    blocks = sum(
        name.startswith(f"{prefix}blocks.") and name.endswith(".norm1.weight") for name in shapes
    )
    return {"depth": blocks, "dim": dim, "heads": max(1, dim // HEAD_DIM), "stem": stem}


def head_options(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Which head the parameters that begin with ``prefix`` have, with its options."""
    for mark, head in _HEADS.items():
        if f"{prefix}{mark}" not in shapes:
            continue
        options: dict[str, Any] = {}
        if head == "smd":
            options = {"maps": shapes[f"{prefix}linear3.weight"][0]}
            hidden, places = shapes[f"{prefix}linear1.weight"]
            if hidden != 4 * places:
                options["hidden"] = hidden
        elif head == "reduce-dim":
            options = {"reduced": shapes[f"{prefix}reduceLinear.weight"][0]}
        elif head == "safa":
            layers = (name.split(".fc.")[-1].split(".")[0] for name in shapes if ".fc." in name)
            options = {"maps": 1 + max(int(layer) for layer in layers)}
        return {"head": head, "head_options": options}
    return {"head": "gap"}


def variant_name(options: dict[str, Any]) -> str:
    """What people call it."""
    sizes = {depth: f"SAIG-{name}" for name, depth in VARIANTS.items()}
    depth = options["depth"]
    head = "" if options["head"] == "bare" else f" with {_NAMES[options['head']]}"
    return sizes.get(depth, f"SAIG of {depth} blocks") + head


def _two(shapes: Shapes, inner: str) -> Found | None:
    """Two branches ``model_grd`` and ``model_sat``; ``inner`` is what stands before the backbone's names."""
    grd, sat = f"model_grd.{inner}", f"model_sat.{inner}"
    if not has_backbone(shapes, grd) or not has_backbone(shapes, sat):
        return None
    query = panorama_size(shapes[f"{grd}pos_embed"][1])
    reference = tile_size(shapes[f"{sat}pos_embed"][1])
    if query is None or reference is None:
        return None
    options = backbone_options(shapes, grd)
    options |= head_options(shapes, "model_grd.") if inner else {"head": "bare"}
    return Found(
        "saig",
        variant_name(options) + ("" if inner else " with GAP"),
        query,
        reference,
        {**options, "query_size": query, "reference_size": reference},
    )


def recognise_pair(shapes: Shapes) -> Found | None:
    """``twoviewmodel`` of the authors: GAP or SMD on both sides."""
    return _two(shapes, "backbone.")


def recognise_bare_pair(shapes: Shapes) -> Found | None:
    """What the training on VIGOR saves for GAP: two bare backbones."""
    return _two(shapes, "")


def recognise_branch(shapes: Shapes) -> Found | None:
    """One branch alone."""
    if not has_backbone(shapes, "backbone."):
        return None
    size = branch_size(shapes["backbone.pos_embed"][1])
    if size is None:
        return None
    options = backbone_options(shapes, "backbone.") | head_options(shapes, "")
    variant = f"{variant_name(options)}, one branch"
    return Found("saig-branch", variant, size, size, {**options, "input_size": size})


def recognise_imagenet(shapes: Shapes) -> Found | None:
    """The backbone as it was trained on ImageNet, with its classifier or without."""
    if not has_backbone(shapes, ""):
        return None
    size = tile_size(shapes["pos_embed"][1])
    if size is None:
        return None
    options = backbone_options(shapes, "") | {"head": "bare"}
    if "head.weight" in shapes:
        options["classes"] = shapes["head.weight"][0]
    variant = f"{variant_name(options)}, trained on ImageNet"
    return Found("saig-branch", variant, size, size, {**options, "input_size": size})


def _grid(size: Size | None) -> Grid:
    assert size is not None
    return size[0] // STRIDE, size[1] // STRIDE


def _fit(state: State, prefix: str, size: Size, old_size: Callable[[int], Size | None]) -> None:
    """Bring the positions ``prefix`` to ``size``, bicubically; as they are where their number fits already.

    ``old_size`` tells the size that they were learned for from their number.
    """
    name = f"{prefix}pos_embed"
    positions, grid = state[name], _grid(size)
    places = int(positions.shape[1])
    if places == grid[0] * grid[1]:
        return
    if any(f"{prefix.removesuffix('backbone.')}{mark}" in state for mark in _BOUND):
        raise EncoderError(
            f"these weights mix {places} places and cannot read images of {size[0]} x {size[1]}",
            None,
            "Import them at the size that they were trained for",
        )
    state[name] = resize_positions(positions, _grid(old_size(places)), grid)


def adapt_pair(state: State, found: Found) -> State:
    """Positions for other sizes than the weights were trained for."""
    state = dict(state)
    inner = "" if found.options["head"] == "bare" else "backbone."
    _fit(state, f"model_grd.{inner}", found.query_size, panorama_size)
    _fit(state, f"model_sat.{inner}", found.reference_size, tile_size)
    return state


def adapt_one(state: State, found: Found) -> State:
    """Names of the one network that serves both sides."""
    state = dict(state)
    inner = "" if found.options["head"] == "bare" else "backbone."
    _fit(state, inner, found.query_size, branch_size if inner else tile_size)
    return {f"model.{name}": value for name, value in state.items()}


def _panoramas(pictures: Pictures, size: Size) -> Branch:
    return panorama_branch(pictures, size, mean=HALF, std=HALF, resize="bilinear")


def _tiles(pictures: Pictures, size: Size) -> Branch:
    """Square tiles as they are; a wide reference input means that tiles are unrolled as SAFA's authors do."""
    if size[0] == size[1]:
        return tile_branch(pictures, size, mean=HALF, std=HALF, resize="bilinear")
    return tile_branch(pictures, size, mean=HALF, std=HALF, projection="polar", polar="safa")


def preprocess_pair(found: Found) -> Preprocessing:
    """Panoramas and tiles of CVUSA or VIGOR. CVACT's weights look like CVUSA's."""
    pictures = pictures_for(found.query_size)
    pre = paired(
        pictures,
        _panoramas(pictures, found.query_size),
        _tiles(pictures, found.reference_size),
        licence=LICENCE,
    )
    return cvusa_or_cvact(pre) if pictures is CVUSA else pre


def preprocess_one(found: Found) -> Preprocessing:
    """One network for both sides: panoramas against unrolled tiles, which have their shape, or squares for both."""
    size = found.query_size
    if found.options["head"] == "bare":
        return untrained(size, mean=HALF, std=HALF, licence=LICENCE)
    if size[0] != size[1]:
        pre = preprocess_pair(found)
    else:
        photos = Branch("query.onnx", size, HALF, HALF, "plain", resize="bilinear")
        pre = paired(VIGOR, photos, _tiles(VIGOR, size), licence=LICENCE, query_subshifts=1)
    alone = "These weights are one branch of two, and were trained to read one side alone"
    return replace(pre, note=". ".join(note for note in (alone, pre.note) if note))


register_release(
    Release(
        PROJECT,
        "model_grd.backbone.patch_embed.conv_stem.*, model_sat.backbone.*, heads linear1-3 (SMD) or none (GAP)",
        recognise_pair,
        preprocess_pair,
        adapt_pair,
    )
)
register_release(
    Release(
        PROJECT,
        "model_grd.patch_embed.conv_stem.*, model_sat.* (GAP as trained on VIGOR)",
        recognise_bare_pair,
        preprocess_pair,
        adapt_pair,
    )
)
register_release(
    Release(
        PROJECT,
        "backbone.patch_embed.conv_stem.*, backbone.blocks.*.attn.* (one branch)",
        recognise_branch,
        preprocess_one,
        adapt_one,
    )
)
register_release(
    Release(
        PROJECT,
        "patch_embed.conv_stem.*, blocks.*.attn.* without mlp (ImageNet weights)",
        recognise_imagenet,
        preprocess_one,
        adapt_one,
    )
)
