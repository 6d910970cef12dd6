"""DSM: features by bearing, and a correlation that finds how much a photo is turned.

Shi, Yu, Campbell and Li, "Where am I looking at? Joint Location and Orientation Estimation by Cross-View Matching"
(CVPR 2020); the authors' code is shiyujiao/cross_view_localization_DSM, in TensorFlow 1. Panorama and polar tile
(128 x 512) go through VGG16 up to ``conv4_3`` (16 x 64) and three more convolutions, of which the first two halve the
rows alone: 4 rows, 64 columns, 16 channels. A column is a bearing. The tile's convolutions are circular; the photo's,
which may show less than a full turn (width ``512 fov / 360``), are padded with zeros.

The descriptor is made of blocks by bearing: column by column, and in a column row by row, 4 x 16 numbers each. The
authors have [row, column, channel]; :func:`to_map` gives back that order. A photo's descriptor has norm 1, a tile's is
left as it is: it is normalised over the part that a photo of its width sees, once the turn is known, see
:func:`match` (with gradients, for training) and :mod:`engine.evaluation.correlation` (for large sets).

In the application the index holds tiles' descriptors of norm 1 and is searched block by block. For a full turn that
is DSM's own measure to the last digit. A narrower photo is drawn on the full canvas there and compared by the blocks it
sees, divided by the norm of the whole tile: the order of turns and places can differ from the paper's where a tile's
features are much stronger in some bearings than in others.

Variables and ours, for ``grd`` (photo) and ``sat`` (tile)::

    VGG_grd/conv1_1/weights                  grd.vgg.conv1_1.weight                   HWIO -> OIHW
    grd/conv_dim_reduct_1/weights            grd.reduct.conv_dim_reduct_1.weight      HWIO -> OIHW
    grd/conv5_dim_reduct_2, conv5_dim_reduct_3, and biases likewise
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.dual import DualEncoder
from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size
from engine.networks.published import CVUSA, paired, panorama_branch, sizes
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)
from engine.networks.safa import caffe_colours, polar_branch
from engine.networks.vgg import WIDTHS, SidedConv, Vgg16, from_tensorflow

NAMES = ("grd", "sat")
FULL_SIZE = (128, 512)
REDUCTIONS = ("conv_dim_reduct_1", "conv5_dim_reduct_2", "conv5_dim_reduct_3")


class DsmBranch(nn.Module):
    """Images [N, 3, H, W] (blue, green, red, less the means) to descriptors [N, K d], block-major.

    Args:
        side: "reference" is circular and keeps its norm; "query" is neither.
        input_size: H and W.
        widths: channels of VGG16's first four groups.
        reduced: channels of the three convolutions after it.
        dropout, frozen_groups: see :class:`Vgg16`; the authors drop 0.2 in training and keep the first three groups
            as ImageNet left them.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        side: Side,
        input_size: Size,
        *,
        widths: Sequence[int] = WIDTHS[:4],
        reduced: Sequence[int] = (256, 64, 16),
        dropout: float = 0.2,
        frozen_groups: int = 0,
    ) -> None:
        super().__init__()
        if len(widths) != 4 or len(reduced) != 3:
            raise ValueError("DSM has four groups of convolutions and three more convolutions")
        self.side: Side = side
        self.input_size = input_size
        circular = side == "reference"
        self.vgg = Vgg16(
            groups=4,
            circular=circular,
            widths=widths,
            dropout=dropout,
            frozen_groups=frozen_groups,
        )
        self.reduct = nn.ModuleDict()
        before = widths[3]
        for name, width, rows in zip(REDUCTIONS, reduced, (2, 2, 1), strict=True):
            self.reduct[name] = SidedConv(before, width, (rows, 1), circular=circular)
            before = width
        height, self.azimuth_blocks = self.vgg.map_size(input_size)
        self.rows = math.ceil(math.ceil(height / 2) / 2)
        self.block_dim = self.rows * int(before)
        self.dim = self.azimuth_blocks * self.block_dim

    def feature_map(self, x: Tensor) -> Tensor:
        """The map [N, C, rows, columns], of norm 1 for a photo."""
        x = self.vgg(x)
        for name in REDUCTIONS:
            x = self.reduct[name](x)
            if name != REDUCTIONS[-1]:
                x = F.relu(x)
        if self.side == "query":
            x = x / x.flatten(1).norm(dim=1).clamp_min(1e-6)[:, None, None, None]
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors [N, K d], the photo's of norm 1."""
        return from_map(self.feature_map(x))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, K d] of norm 1 and what every place adds, [N, d, rows, K]: its own numbers."""
        feature_map = self.feature_map(x).float()
        feature_map = F.normalize(feature_map.flatten(1), dim=1).view_as(feature_map)
        own_row = torch.eye(self.rows, dtype=feature_map.dtype, device=x.device)
        parts = torch.einsum("nchw,rh->nrchw", feature_map, own_row).flatten(1, 2)
        return from_map(feature_map), parts


def from_map(feature_map: Tensor) -> Tensor:
    """The descriptor [N, K d] of a map [N, C, rows, K]."""
    return feature_map.permute(0, 3, 2, 1).flatten(1)


def to_map(descriptor: Tensor, rows: int, columns: int) -> Tensor:
    """The map [N, C, rows, columns] of a descriptor [N, K d]."""
    return descriptor.unflatten(1, (columns, rows, -1)).permute(0, 3, 2, 1)


def match(queries: Tensor, references: Tensor, block_dim: int) -> tuple[Tensor, Tensor]:
    """DSM's similarity of all photos and tiles, with gradients.

    Args:
        queries: [B, w * block_dim], of norm 1.
        references: [M, W * block_dim], w <= W, of any norm.
        block_dim: d.

    Returns:
        Similarity [B, M] (the paper's distance is ``2 - 2 similarity``) and the block of the tile [B, M] at which the
        photo's first one lies; see :mod:`engine.evaluation.correlation`.
    """
    photos = queries.unflatten(1, (-1, block_dim)).transpose(1, 2)  # [B, d, w]
    tiles = references.unflatten(1, (-1, block_dim)).transpose(1, 2)  # [M, d, W]
    seen, turn = photos.shape[2], tiles.shape[2]
    if seen > turn:
        raise ValueError(f"a photo of {seen} bearings does not fit into a tile of {turn}")
    # In double precision: thousands of products are added up, and the turn hangs on which sum is the largest.
    around = torch.cat([tiles, tiles[:, :, : seen - 1]], dim=2).double()
    correlation = F.conv1d(around, photos.double())  # [M, B, W]
    orientation = correlation.argmax(2)
    peak = correlation.gather(2, orientation[:, :, None])[:, :, 0]
    energy = F.conv1d(around.square().sum(1, keepdim=True), around.new_ones(1, 1, seen))[:, 0]
    length = energy.clamp_min(1e-12).sqrt().gather(1, orientation)
    return (peak / length).t().to(queries.dtype), orientation.t()


def dsm(
    *,
    query_size: Sequence[int] = FULL_SIZE,
    reference_size: Sequence[int] = FULL_SIZE,
    azimuth_blocks: int | None = None,
    **more: Any,
) -> DualEncoder:
    """DSM.

    Args:
        query_size, reference_size: H and W of the photo's and the polar tile's input; the photo's width is its share
            of the full turn: 512, 256, 128, 99 pixels for 360°, 180°, 90°, 70°.
        azimuth_blocks: what a recipe takes K to be; it follows from the tile's width.
        more: see :class:`DsmBranch`.
    """
    query = DsmBranch("query", (query_size[0], query_size[1]), **more)
    reference = DsmBranch("reference", (reference_size[0], reference_size[1]), **more)
    if query.rows != reference.rows:
        raise ValueError("photo and tile must have equally many rows of features")
    if azimuth_blocks not in (None, reference.azimuth_blocks):
        raise ValueError(f"tiles of this width have {reference.azimuth_blocks} blocks by bearing")
    return DualEncoder(query, reference, names=NAMES)


@register_network("dsm")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return dsm(**options)


_KEY = re.compile(
    r"(?:VGG_(grd|sat)/(conv[1-4]_\d/(?:weights|biases))"
    rf"|(grd|sat)/((?:{'|'.join(REDUCTIONS)})/(?:weights|biases)))"
)


def from_tensorflow1(state: Mapping[str, Tensor]) -> State:
    """The authors' variables under our names and in torch's layouts; see the module's table.

    Raises:
        KeyError: for a variable that is not in the table.
    """
    adapted: State = {}
    for key, value in state.items():
        found = _KEY.fullmatch(key.removesuffix(":0"))
        if found is None:
            raise KeyError(key)
        vgg_side, vgg, side, reduction = found.groups()
        name, value = from_tensorflow(vgg or reduction, value)
        adapted[f"{vgg_side}.vgg.{name}" if vgg else f"{side}.reduct.{name}"] = value
    return adapted


def _recognise(shapes: Shapes) -> Found | None:
    bare = {key.removesuffix(":0"): shape for key, shape in shapes.items()}
    if not all(_KEY.fullmatch(key) for key in bare):
        return None
    convs = [bare.get(f"VGG_grd/conv{group}_1/weights") for group in range(1, 5)]
    convs += [bare.get(f"grd/{name}/weights") for name in REDUCTIONS]
    widths = [shape[-1] for shape in convs if shape]
    if len(widths) != 7 or f"sat/{REDUCTIONS[0]}/weights" not in bare:
        return None
    return Found(
        "dsm",
        "DSM",
        FULL_SIZE,
        FULL_SIZE,
        {**sizes(FULL_SIZE, FULL_SIZE), "widths": widths[:4], "reduced": widths[4:]},
    )


def _preprocess(found: Found) -> Preprocessing:
    return paired(
        CVUSA,
        panorama_branch(
            CVUSA,
            found.query_size,
            resize="area",
            fov_trained_deg=(70.0, 360.0),
            **caffe_colours(),
        ),
        polar_branch(found.reference_size),
        licence="DSM's authors state no licence for code and weights",
        query_subshifts=1,
    )


register_release(
    Release(
        project="DSM, shiyujiao/cross_view_localization_DSM",
        expects="VGG_grd/conv1_1/weights ... conv4_3 and grd/conv_dim_reduct_1/weights ..., with sat too "
        "(TensorFlow 1 variables)",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=lambda state, found: from_tensorflow1(state),
    )
)
