"""The forms in which TransGeo's weights are published, and the ImageNet weights it starts from.

Repositories: github.com/Jeff-Zilence/TransGeo2022 (MIT), whose checkpoints hold ``state_dict`` with ``module.`` before
every name; github.com/facebookresearch/deit (Apache-2.0), which hold ``model``. Sizes are told by the number of learned
positions. Images are resized with torchvision on Pillow images (bilinear, antialiased) and normalised as for ImageNet
(``dataset/*.py``); polar tiles are not used. Panoramas of limited field of view (``--fov``) are cut out at any heading
and read as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.networks.deit import TOKENS
from engine.networks.positions import Grid, resize_positions
from engine.networks.published import (
    CVUSA,
    VIGOR,
    cvusa_or_cvact,
    paired,
    panorama_branch,
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
from engine.networks.transgeo import GUIDE, NAMES

PROJECT = "TransGeo, Jeff-Zilence/TransGeo2022"
PATCH = 16
HEAD_DIM = 64
"""Channels of an attention head (384 / 6); weights do not tell the heads."""
QUERIES: Mapping[int, tuple[Size, float]] = {
    7 * 38: ((112, 616), 360.0),
    7 * 19: ((112, 308), 180.0),
    7 * 9: ((112, 154), 90.0),
    20 * 40: ((320, 640), 360.0),
    20 * 20: ((320, 320), 180.0),
    20 * 10: ((320, 160), 90.0),
}
"""H and W of photos and their field of view, by the number of patches."""
FIRST_STAGE: Mapping[int, int] = {112: 256, 320: 320}
"""Side of a tile in stage 1 by the photo's height."""
SELF_GUIDED = (
    "Patches are chosen by these weights' own attention; the authors choose them by stage 1's"
)


def _is_vit(shapes: Shapes, prefix: str) -> bool:
    """Whether the parameters that begin with ``prefix`` are a distilled DeiT, as far as it takes to measure it."""
    needed = ("dist_token", "head.weight", "head_dist.weight", "blocks.0.mlp.fc1.weight")
    tokens = (shapes.get(f"{prefix}{name}", ()) for name in ("cls_token", "pos_embed"))
    return all(len(shape) == 3 for shape in tokens) and all(
        f"{prefix}{name}" in shapes for name in needed
    )


def _tile_size(positions: int) -> Size | None:
    if positions <= TOKENS:
        return None
    side = math.isqrt(positions - TOKENS)
    return (side * PATCH, side * PATCH) if side * side == positions - TOKENS else None


def _vit_options(shapes: Shapes, prefix: str) -> dict[str, Any]:
    dim = shapes[f"{prefix}cls_token"][2]
    depth = sum(
        name.startswith(f"{prefix}blocks.") and name.endswith(".norm1.weight") for name in shapes
    )
    return {
        "dim": dim,
        "depth": depth,
        "heads": max(1, dim // HEAD_DIM),
        "hidden": shapes[f"{prefix}blocks.0.mlp.fc1.weight"][0],
        "outputs": shapes[f"{prefix}head.weight"][0],
    }


def recognise_pair(shapes: Shapes) -> Found | None:
    """Both branches, stage 1 or stage 2."""
    first, second = (f"{name}." for name in NAMES)
    if not _is_vit(shapes, first) or not _is_vit(shapes, second):
        return None
    query = QUERIES.get(shapes[f"{first}pos_embed"][1] - TOKENS)
    reference = _tile_size(shapes[f"{second}pos_embed"][1])
    if query is None or reference is None:
        return None
    size, fov = query
    options = _vit_options(shapes, first) | {"query_size": size, "reference_size": reference}
    cropped = reference[0] > FIRST_STAGE[size[0]]
    if cropped:
        options["stage"] = 2
        guide = shapes.get(f"{second}{GUIDE}pos_embed")
        if guide is not None:
            options["guide_size"] = _tile_size(guide[1])
    pictures, names = (CVUSA, "CVUSA or CVACT") if size[0] == 112 else (VIGOR, VIGOR.name)
    view = "" if fov == 360 else f", {fov:.0f} degrees"
    return Found(
        "transgeo",
        f"TransGeo stage {2 if cropped else 1} for {names}{view}",
        size,
        reference,
        options,
        fov_deg=fov,
        trained_on=pictures.name,
    )


def adapt_pair(state: State, found: Found) -> State:
    """Positions for other sizes than the weights were trained for: bilinearly, without antialiasing, as the authors'
    second stage does."""
    state = dict(state)
    for side, size in zip(NAMES, (found.query_size, found.reference_size), strict=True):
        name = f"{side}.pos_embed"
        positions = state[name]
        new = (size[0] // PATCH, size[1] // PATCH)
        places = int(positions.shape[1]) - TOKENS
        if places == new[0] * new[1]:
            continue
        old = QUERIES[places][0] if side == NAMES[0] else _tile_size(places + TOKENS)
        assert old is not None
        grid: Grid = (old[0] // PATCH, old[1] // PATCH)
        state[name] = resize_positions(positions, grid, new, extra=TOKENS, mode="bilinear")
    return state


def preprocess_pair(found: Found) -> Preprocessing:
    """Panoramas and tiles of CVUSA or VIGOR, whatever the sizes. CVACT's weights look like CVUSA's."""
    fov = found.fov_deg
    pictures = VIGOR if found.trained_on == VIGOR.name else CVUSA
    query = panorama_branch(pictures, found.query_size, resize="bilinear")
    if fov < 360:
        # Such a model never sees a whole turn: the photo fills its picture.
        query = replace(
            query, projection="plain", top_deg=None, bottom_deg=None, fov_trained_deg=(fov, fov)
        )
    alone = found.options.get("stage") == 2 and "guide_size" not in found.options
    pre = paired(
        pictures,
        query,
        tile_branch(pictures, found.reference_size, resize="bilinear"),
        licence="MIT",
        query_subshifts=16 if fov == 360 else 1,
        note=SELF_GUIDED if alone else "",
    )
    return cvusa_or_cvact(pre) if pictures is CVUSA else pre


def recognise_imagenet(shapes: Shapes) -> Found | None:
    """DeiT with distillation, as trained on ImageNet."""
    if not _is_vit(shapes, ""):
        return None
    size = _tile_size(shapes["pos_embed"][1])
    if size is None:
        return None
    options = _vit_options(shapes, "") | {"input_size": size}
    return Found("deit-branch", "Distilled DeiT, trained on ImageNet", size, size, options)


def adapt_imagenet(state: State, found: Found) -> State:
    """Names of the one network that serves both sides, and its positions for another size."""
    positions, size = state["pos_embed"], found.query_size
    old = _tile_size(int(positions.shape[1]))
    assert old is not None
    new = (size[0] // PATCH, size[1] // PATCH)
    grid = (old[0] // PATCH, old[1] // PATCH)
    resized = resize_positions(positions, grid, new, extra=TOKENS, mode="bilinear")
    return {f"model.{name}": value for name, value in {**state, "pos_embed": resized}.items()}


def preprocess_imagenet(found: Found) -> Preprocessing:
    """Pictures as for ImageNet on both sides."""
    return untrained(found.query_size, licence="Apache-2.0")


register_release(
    Release(
        PROJECT,
        "query_net.dist_token, query_net.blocks.*.mlp.*, reference_net.* (either stage)",
        recognise_pair,
        preprocess_pair,
        adapt_pair,
    )
)
register_release(
    Release(
        "DeiT, facebookresearch/deit",
        "cls_token, dist_token, blocks.*.mlp.*, head_dist.* (ImageNet weights)",
        recognise_imagenet,
        preprocess_imagenet,
        adapt_imagenet,
    )
)
