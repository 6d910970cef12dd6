"""FRGeo: two ConvNeXt-T whose maps are pooled in the four regions around the camera.

Zhang and Zhu, AAAI 2024; the authors' code is zqwlearning/FRGeo-Code. Panorama and tile go through a ConvNeXt-T each
(no shared weights) and the feature recombination module, see :mod:`engine.networks.frm`; the descriptor [N, 3072] is
not of norm 1. Without FRM (``frm = false``) it is the paper's baseline: the mean over the whole map, [N, 768].

It starts from ImageNet-1K weights and is trained with the weighted (B+1)-tuple loss under ASAM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.networks.convnext import SIZES, Names, size_of
from engine.networks.dual import DualEncoder
from engine.networks.frm import RegionNorm, regions_of, whole
from engine.networks.parts import Side
from engine.networks.published import paired, panorama_branch, pictures_for, sizes, tile_branch
from engine.networks.region_convnext import RegionConvNeXt
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)

NAMES = ("query_net", "reference_net")
CVUSA_SIZES = ((128, 512), (256, 256))
"""Of panorama and tile; CVACT's are the same, VIGOR's are (320, 640) and (320, 320)."""


def frgeo(
    *,
    query_size: Sequence[int] = CVUSA_SIZES[0],
    reference_size: Sequence[int] = CVUSA_SIZES[1],
    frm: bool = True,
    norm: RegionNorm = "layernorm",
    shared: bool = False,
    depths: Sequence[int] = SIZES["tiny"][0],
    dims: Sequence[int] = SIZES["tiny"][1],
    names: Names = "facebook",
    layer_scale: float = 1e-6,
    scale: float | None = None,
) -> DualEncoder:
    """FRGeo or its baseline.

    Args:
        query_size, reference_size: H and W of the panorama's and the tile's input.
        frm: pool in four regions; else over the whole map.
        norm: see :class:`engine.networks.frm.RegionPool`.
        shared: one set of weights for both sides (not the paper's).
        depths, dims, names, layer_scale: see :class:`engine.networks.convnext.ConvNeXt`.
        scale: see :class:`DualEncoder`.
    """

    def branch(side: Side, size: Sequence[int]) -> RegionConvNeXt:
        return RegionConvNeXt(
            regions_of(side) if frm else whole,
            (int(size[0]), int(size[1])),
            norm=norm,
            depths=depths,
            dims=dims,
            names=names,
            layer_scale=layer_scale,
        )

    query, reference = branch("query", query_size), branch("reference", reference_size)
    if shared:
        # The branches stay two, for they divide their maps differently; only what has weights is one.
        for name, child in query.named_children():
            setattr(reference, name, child)
    return DualEncoder(query, reference, names=NAMES, scale=scale)


@register_network("frgeo")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return frgeo(**options)


def _recognise(shapes: Shapes) -> Found | None:
    photo, tile = (size_of(shapes, f"{name}.") for name in NAMES)
    prefixes = tuple(f"{name}." for name in NAMES)
    if photo is None or photo != tile or f"{NAMES[0]}.norm.weight" not in shapes:
        return None
    if photo[0] != "facebook" or not all(key.startswith(prefixes) for key in shapes):
        return None
    _, depths, dims = photo
    size = "ConvNeXt-T" if depths == list(SIZES["tiny"][0]) else "a ConvNeXt"
    options = {**sizes(*CVUSA_SIZES), "depths": depths, "dims": dims}
    return Found("frgeo", f"FRGeo ({size}, FRM)", *CVUSA_SIZES, options)


def _preprocess(found: Found) -> Preprocessing:
    pictures = pictures_for(found.query_size)
    return paired(
        pictures,
        panorama_branch(pictures, found.query_size, resize="bilinear"),
        tile_branch(pictures, found.reference_size, resize="bilinear"),
        licence="FRGeo's authors state no licence for code and weights",
    )


register_release(
    Release(
        project="FRGeo, zqwlearning/FRGeo-Code",
        expects="query_net.* and reference_net.*, a ConvNeXt each (downsample_layers, stages, norm)",
        recognise=_recognise,
        preprocess=_preprocess,
    )
)


def _recognise_timm(shapes: Shapes) -> Found | None:
    found = size_of(shapes)
    if found is None or found[0] != "timm" or "head.norm.weight" not in shapes:
        return None
    if any(key.startswith("head.fc.") for key in shapes):
        return None
    _, depths, dims = found
    network = {"depths": depths, "dims": dims, "names": "timm", "shared": True}
    options = {**sizes(*CVUSA_SIZES), **network}
    return Found("frgeo", "timm's ConvNeXt with FRM", *CVUSA_SIZES, options)


def _twice(state: State, found: Found) -> State:
    return {f"{name}.{key}": value for name in NAMES for key, value in state.items()}


def _preprocess_timm(found: Found) -> Preprocessing:
    pictures = pictures_for(found.query_size)
    return paired(
        pictures,
        panorama_branch(pictures, found.query_size, resize="bilinear"),
        tile_branch(pictures, found.reference_size, resize="bilinear"),
        licence="timm's ImageNet weights are Apache-2.0",
        note="A ConvNeXt that nobody trained for localization, pooled by FRM.",
    )


register_release(
    Release(
        project="timm, huggingface/pytorch-image-models: a ConvNeXt without classifier",
        expects="stem.*, stages.*.blocks.* and head.norm.*, without a prefix and without head.fc",
        recognise=_recognise_timm,
        preprocess=_preprocess_timm,
        adapt=_twice,
    )
)


def _recognise_imagenet(shapes: Shapes) -> Found | None:
    found = size_of(shapes)
    classifier = {"head.weight", "head.fc.weight"} & set(shapes)
    if found is None or not (classifier or found[0] == "facebook"):
        return None
    return Found("frgeo", "ConvNeXt, ImageNet", *CVUSA_SIZES)


register_release(
    Release(
        project="ConvNeXt, facebookresearch/ConvNeXt or timm: ImageNet weights",
        expects="downsample_layers.* or stem.*, stages.* and a classifier head",
        recognise=_recognise_imagenet,
        preprocess=_preprocess,
        part=(
            "an ImageNet classifier: it can start a training (recipe key network.start), "
            "but was never trained to match photos with tiles"
        ),
    )
)
