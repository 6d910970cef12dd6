"""Sample4Geo: one ConvNeXt-B for panoramas and tiles.

Deuser, Habel and Oswald, "Sample4Geo: Hard Negative Sampling For Cross-View Geo-Localisation" (ICCV 2023); the
authors' code is Skyy93/Sample4Geo, on timm's ``convnext_base.fb_in22k_ft_in1k_384``. Both sides go through the same
weights: the map's mean, then timm's ``head.norm``. The descriptor [N, 1024] is not of norm 1; the loss (InfoNCE with
label smoothing 0.1) and the search make it so. The temperature is learned from ``ln(1/0.07)`` as ``logit_scale``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.networks.convnext import SIZES, Names, size_of
from engine.networks.dual import DualEncoder
from engine.networks.frm import whole
from engine.networks.published import paired, panorama_branch, pictures_for, sizes, tile_branch
from engine.networks.region_convnext import RegionConvNeXt
from engine.networks.registry import register_network
from engine.networks.releases import Found, Preprocessing, Release, Shapes, register_release

NAMES = ("model", "model")
VIGOR_SIZES = ((384, 768), (384, 384))
"""Of panorama and tile; CVACT's are the same, CVUSA's panorama is (140, 768)."""
START_SCALE = 1 / 0.07


def sample4geo(
    *,
    query_size: Sequence[int] = VIGOR_SIZES[0],
    reference_size: Sequence[int] = VIGOR_SIZES[1],
    depths: Sequence[int] = SIZES["base"][0],
    dims: Sequence[int] = SIZES["base"][1],
    names: Names = "timm",
    layer_scale: float = 1e-6,
) -> DualEncoder:
    """Sample4Geo.

    Args:
        query_size, reference_size: H and W of the panorama's and the tile's input; the network reads either.
        depths, dims, names, layer_scale: see :class:`engine.networks.convnext.ConvNeXt`.
    """
    height, width = query_size
    branch = RegionConvNeXt(
        whole, (height, width), depths=depths, dims=dims, names=names, layer_scale=layer_scale
    )
    branch.map_size((reference_size[0], reference_size[1]))  # refuses what is too small
    return DualEncoder(branch, branch, names=NAMES, scale=START_SCALE)


@register_network("sample4geo")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return sample4geo(**options)


def _recognise(shapes: Shapes) -> Found | None:
    found = size_of(shapes, "model.")
    if found is None or found[0] != "timm" or "logit_scale" not in shapes:
        return None
    known = all(key == "logit_scale" or key.startswith("model.") for key in shapes)
    if not known or "model.head.norm.weight" not in shapes:
        return None
    _, depths, dims = found
    size = "ConvNeXt-B" if dims == list(SIZES["base"][1]) else "a ConvNeXt"
    options = {**sizes(*VIGOR_SIZES), "depths": depths, "dims": dims}
    return Found("sample4geo", f"Sample4Geo ({size})", *VIGOR_SIZES, options)


def _preprocess(found: Found) -> Preprocessing:
    pictures = pictures_for(found.query_size)
    return paired(
        pictures,
        panorama_branch(pictures, found.query_size, resize="linear"),
        tile_branch(pictures, found.reference_size, resize="linear"),
        licence="Sample4Geo's authors state no licence for code and weights",
    )


register_release(
    Release(
        project="Sample4Geo, Skyy93/Sample4Geo",
        expects="logit_scale and model.*, timm's ConvNeXt (stem, stages.*.blocks, head.norm)",
        recognise=_recognise,
        preprocess=_preprocess,
    )
)
