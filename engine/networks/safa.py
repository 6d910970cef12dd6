"""SAFA: a panorama and the polar image of a tile, each pooled by eight learned maps.

Shi, Liu, Yu and Li, "Spatial-Aware Feature Aggregation for Cross-View Image based Geo-Localization" (NeurIPS 2019);
the authors' code is shiyujiao/cross_view_localization_SAFA, in TensorFlow 1. Each side: VGG16's thirteen convolutions,
a 2 x 2 maximum, and then, with ``x`` [P, C] the map's P places (row by row)::

    v_p  = mean over channels of x_pc
    w_d  = (v W1_d + b1_d) W2_d + b2_d                     W1_d: P -> P/2, W2_d: P/2 -> P, for d = 0..D-1
    descriptor[d, c] = sum over p of w_pd * x_pc           map-major, D C numbers, brought to norm 1

with nothing between the two layers (the code has no non-linearity). The mean is what the authors' code does since
2020; the paper, and their code of 2019, takes the maximum (``channel_pool = "max"``). 112 x 616 pixels give 4 x 20 =
80 places. Tiles without polar transform are 256 x 256 and give 64.

TensorFlow's variables and ours, for ``grd`` (panorama) and ``sat`` (tile)::

    VGG_grd/conv1_1/weights [3, 3, 3, 64]    grd.vgg.conv1_1.weight    HWIO -> OIHW
    VGG_grd/conv1_1/biases                   grd.vgg.conv1_1.bias
    spatial_grd/weights1 [80, 40, 8]         grd.spatial.weights1      as it is
    spatial_grd/biases1 [1, 40, 8]           grd.spatial.biases1       as it is; weights2 [40, 80, 8], biases2 too

Given the maps ``w`` the descriptor is linear in the features, so evidence is exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.encoder import Branch
from engine.networks.dual import DualEncoder
from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.published import (
    CAFFE_MEAN,
    CAFFE_STD,
    CVUSA,
    paired,
    panorama_branch,
    sizes,
    tile_branch,
)
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)
from engine.networks.vgg import WIDTHS, Vgg16, from_tensorflow

ChannelPool = Literal["mean", "max"]

NAMES = ("grd", "sat")
PANORAMA_SIZE = (112, 616)
POLAR_SIZE = (112, 616)
PLAIN_SIZE = (256, 256)


class SpatialAware(nn.Module):
    """A map [N, C, h, w] to raw descriptors [N, D C].

    Args:
        map_size: h and w; maps of another size do not fit the weights.
        channels: C.
        maps: D.
        channel_pool: how v is made.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self, map_size: Size, channels: int, *, maps: int = 8, channel_pool: ChannelPool = "mean"
    ) -> None:
        super().__init__()
        if channel_pool not in ("mean", "max"):
            raise ValueError(f'channels are pooled by "mean" or "max", not "{channel_pool}"')
        self.channel_pool: ChannelPool = channel_pool
        places = map_size[0] * map_size[1]
        if places < 2 or maps < 1:
            raise ValueError(f"{places} places and {maps} maps make no descriptor")
        self.dim = maps * channels
        half = places // 2
        self.weights1 = nn.Parameter(torch.empty(places, half, maps))
        self.biases1 = nn.Parameter(torch.full((1, half, maps), 0.1))
        self.weights2 = nn.Parameter(torch.empty(half, places, maps))
        self.biases2 = nn.Parameter(torch.full((1, places, maps), 0.1))
        for weights in (self.weights1, self.weights2):
            nn.init.trunc_normal_(weights, std=0.005, a=-0.01, b=0.01)

    def maps(self, x: Tensor) -> Tensor:
        """The weights of the places [N, P, D] of a map [N, C, h, w]."""
        pooled = (x.mean(1) if self.channel_pool == "mean" else x.amax(1)).flatten(1)
        inner = torch.einsum("ni,ijd->njd", pooled, self.weights1) + self.biases1
        return torch.einsum("njd,jid->nid", inner, self.weights2) + self.biases2

    def forward(self, x: Tensor) -> Tensor:
        """Raw descriptors [N, D C]."""
        return torch.einsum("ncp,npd->ndc", x.flatten(2), self.maps(x)).flatten(1)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, D C] of norm 1 and what every place adds to them, [N, D C, h, w]."""
        x = x.float()
        parts = torch.einsum("ncp,npd->ndcp", x.flatten(2), self.maps(x)).flatten(1, 2)
        raw = parts.sum(2)
        parts = parts / raw.norm(dim=1).clamp_min(1e-6)[:, None, None]
        return F.normalize(raw, dim=1, eps=1e-6), parts.unflatten(2, (x.shape[2], x.shape[3]))


@register_aggregation("spatial-aware")
def _aggregation(
    options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size
) -> nn.Module:
    return SpatialAware(map_size, channels, **options)


class SafaBranch(nn.Module):
    """Images [N, 3, H, W] (blue, green, red, less the means) to descriptors [N, D C] of norm 1.

    Args:
        input_size: H and W; the spatial layers fit this size alone.
        maps, channel_pool: see :class:`SpatialAware`.
        widths, dropout: see :class:`Vgg16`; the authors drop 0.2 in training.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        input_size: Size,
        *,
        maps: int = 8,
        channel_pool: ChannelPool = "mean",
        widths: Sequence[int] = WIDTHS,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.vgg = Vgg16(widths=widths, dropout=dropout)
        height, width = self.vgg.map_size(input_size)
        self.spatial = SpatialAware(
            (-(-height // 2), -(-width // 2)),
            self.vgg.channels,
            maps=maps,
            channel_pool=channel_pool,
        )
        self.dim = self.spatial.dim

    def feature_map(self, x: Tensor) -> Tensor:
        """The pooled map [N, C, h, w]."""
        return F.max_pool2d(self.vgg(x), 2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors [N, D C] of norm 1, as the authors' graph gives them."""
        return F.normalize(self.spatial(self.feature_map(x)), dim=1, eps=1e-6)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`SpatialAware.evidence`."""
        return self.spatial.evidence(self.feature_map(x))


def safa(
    *,
    query_size: Sequence[int] = PANORAMA_SIZE,
    reference_size: Sequence[int] = POLAR_SIZE,
    **more: Any,
) -> DualEncoder:
    """SAFA; with square tiles as ``reference_size`` it is SAFA without polar transform.

    Args:
        query_size, reference_size: H and W of the panorama's and the (polar) tile's input.
        more: see :class:`SafaBranch`.
    """
    query = SafaBranch((query_size[0], query_size[1]), **more)
    reference = SafaBranch((reference_size[0], reference_size[1]), **more)
    return DualEncoder(query, reference, names=NAMES)


@register_network("safa")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return safa(**options)


_KEY = re.compile(r"(?:(VGG)_(grd|sat)/(conv\d_\d/(?:weights|biases))|spatial_(grd|sat)/(\w+))")


def from_tensorflow1(state: Mapping[str, Tensor]) -> State:
    """The authors' variables under our names and in torch's layouts; see the module's table.

    Raises:
        KeyError: for a variable that is not in the table.
    """
    adapted: State = {}
    for key, value in state.items():
        match = _KEY.fullmatch(key.removesuffix(":0"))
        if match is None:
            raise KeyError(key)
        vgg, side, layer, pooled_side, spatial = match.groups()
        if vgg:
            name, value = from_tensorflow(layer, value)
            adapted[f"{side}.vgg.{name}"] = value
        else:
            adapted[f"{pooled_side}.spatial.{spatial}"] = value
    return adapted


def _recognise(shapes: Shapes) -> Found | None:
    bare = {key.removesuffix(":0"): shape for key, shape in shapes.items()}
    if not all(_KEY.fullmatch(key) for key in bare):
        return None
    photo, tile = (bare.get(f"spatial_{side}/weights1") for side in NAMES)
    convs = [bare.get(f"VGG_grd/conv{group}_1/weights") for group in range(1, 6)]
    if photo is None or tile is None or len(photo) != 3:
        return None
    widths = [shape[-1] for shape in convs if shape]
    if len(widths) != 5:
        return None
    polar = photo[0] == tile[0]
    tile_size = POLAR_SIZE if polar else PLAIN_SIZE
    return Found(
        "safa",
        "SAFA with polar transform" if polar else "SAFA without polar transform",
        PANORAMA_SIZE,
        tile_size,
        {**sizes(PANORAMA_SIZE, tile_size), "maps": photo[2], "widths": widths},
    )


def caffe_colours() -> dict[str, Any]:
    """Blue, green, red less the means: what goes into a branch of the card."""
    return {"mean": CAFFE_MEAN, "std": CAFFE_STD, "channels": "BGR"}


def _preprocess(found: Found) -> Preprocessing:
    tile = tile_branch(CVUSA, found.reference_size, resize="area", **caffe_colours())
    if found.reference_size[0] != found.reference_size[1]:
        tile = polar_branch(found.reference_size)
    return paired(
        CVUSA,
        panorama_branch(CVUSA, found.query_size, resize="area", **caffe_colours()),
        tile,
        licence="SAFA's authors state no licence for code and weights",
    )


def polar_branch(size: Size) -> Branch:
    """The tile's side of SAFA and DSM: the authors' polar image, blue, green, red."""
    return tile_branch(CVUSA, size, projection="polar", polar="safa", **caffe_colours())


register_release(
    Release(
        project="SAFA, shiyujiao/cross_view_localization_SAFA",
        expects="VGG_grd/conv1_1/weights ... and spatial_grd/weights1 ..., with sat too (TensorFlow 1 variables)",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=lambda state, found: from_tensorflow1(state),
    )
)


def _recognise_part(shapes: Shapes) -> Found | None:
    known = all(key.removesuffix(":0").startswith("spatial_") for key in shapes)
    if not shapes or not known or not any("weights1" in key for key in shapes):
        return None
    return Found("safa", "SAFA's spatial layers", PANORAMA_SIZE, POLAR_SIZE)


register_release(
    Release(
        project="SAFA, shiyujiao/cross_view_localization_SAFA: its spatial layers",
        expects="spatial_grd/weights1 ... alone",
        recognise=_recognise_part,
        preprocess=_preprocess,
        part="the two VGG16 before the spatial layers (VGG_grd/*, VGG_sat/*) are missing",
    )
)
