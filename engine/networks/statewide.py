"""The statewide encoder: an ordinary photo of any heading against four aerial extents of one place.

Fervers, Bullinger, Bodensteiner, Arens and Stiefelhagen, "Statewide Visual Geolocalization in the Wild" (ECCV 2024);
the authors' code is fferflo/statewide-visual-geolocalization (MIT), in JAX. Two ConvNeXt-B without a final norm, GELU
by tanh, each with its own spatial-softmax head (:mod:`engine.networks.spatial_softmax`). The reference branch reads
four crops about one centre, of 0.2, 0.4, 0.8 and 1.6 m a pixel, encodes them alike and attends over the places of all
four at once. Both descriptors are ``6 x / (|x| + 1e-5)``, so scores are 36 times the cosine.

The published weights are safetensors with flax's names and layouts, keys joined by ``//``::

    params//pv_encoder//Stem_0//Conv_0//kernel          pv.encoder.downsample_layers.0.0.weight     HWIO -> OIHW
    params//pv_encoder//Stem_0//_Norm_0//scale          pv.encoder.downsample_layers.0.1.weight
    params//pv_encoder//Downsample_i//_Norm_0//scale    pv.encoder.downsample_layers.(i+1).0.weight
    params//pv_encoder//Downsample_i//Conv_0//kernel    pv.encoder.downsample_layers.(i+1).1.weight HWIO -> OIHW
    params//pv_encoder//Stage_s//Block_j//Conv_0        pv.encoder.stages.s.j.dwconv                HWIO -> OIHW
    ...Block_j//_Norm_0, _Linear_0, _Linear_1, scale    ...norm, pwconv1, pwconv2, gamma            weights transposed
    params//pv_decoder//_Norm_0, _Linear_0, _Linear_1   pv.decoder.norm, attention, value           weights transposed

and the same with ``aerial``. ``scale`` is a norm's gain inside ``_Norm_0`` and LayerScale inside ``Block_j``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from engine.encoder import Branch
from engine.networks.convnext import SIZES, ConvNeXt
from engine.networks.dual import DualEncoder
from engine.networks.evidence import EvidenceKind
from engine.networks.published import IMAGENET_MEAN, IMAGENET_STD, sizes
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)
from engine.networks.spatial_softmax import SpatialSoftmax

NAMES = ("pv", "aerial")
PHOTO_SIZE = (480, 640)
TILE_SIZE = (384, 384)
EXTENTS_M = (76.8, 153.6, 307.2, 614.4)
CELL_M = 30.0
LENGTH = 6.0
"""Norm of the descriptors: what the paper's loss takes for a temperature."""


class StatewideBranch(nn.Module):
    """Images [N, 3, H, W], or several of one place [N, S, 3, H, W], to descriptors [N, D] of norm 6.

    Args:
        input_size: H and W.
        extents: S; 1 is a photo's branch.
        depths, dims, layer_scale: see :class:`ConvNeXt`.
        heads, dim: see :class:`SpatialSoftmax`.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        extents: int = 1,
        depths: Sequence[int] = SIZES["base"][0],
        dims: Sequence[int] = SIZES["base"][1],
        layer_scale: float = 1.0,
        heads: int = 64,
        dim: int = 1024,
    ) -> None:
        super().__init__()
        if extents < 1:
            raise ValueError(f"{extents} extents cannot be read")
        self.input_size, self.extents, self.dim = input_size, extents, dim
        self.encoder = ConvNeXt(depths, dims, gelu="tanh", layer_scale=layer_scale)
        self.encoder.map_size(input_size)  # refuses what is too small
        self.decoder = SpatialSoftmax(self.encoder.channels, heads=heads, dim=dim)

    def feature_map(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w], or the maps [N, S, C, h, w] of several images of one place."""
        if x.ndim == 4:
            return self.encoder(x)
        if x.shape[1] != self.extents:
            raise ValueError(f"{x.shape[1]} images of a place given, {self.extents} are read")
        return self.encoder(x.flatten(0, 1)).unflatten(0, (-1, self.extents))

    def forward(self, x: Tensor) -> Tensor:
        """Descriptors [N, D] of norm 6."""
        raw = self.decoder(self.feature_map(x))
        return raw / (raw.norm(dim=-1, keepdim=True) + 1e-5) * LENGTH

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, D] of norm 1 and what every place adds, [N, D, h, w] or [N, S, D, h, w]."""
        return self.decoder.evidence(self.feature_map(x))


def statewide(
    *,
    query_size: Sequence[int] = PHOTO_SIZE,
    reference_size: Sequence[int] = TILE_SIZE,
    extents: int = len(EXTENTS_M),
    **more: Any,
) -> DualEncoder:
    """The statewide encoder.

    Args:
        query_size, reference_size: H and W of the photo and of every crop.
        extents: crops of a place that are read together.
        more: see :class:`StatewideBranch`.
    """
    photo = StatewideBranch((query_size[0], query_size[1]), **more)
    tile = StatewideBranch((reference_size[0], reference_size[1]), extents=extents, **more)
    return DualEncoder(photo, tile, names=NAMES)


@register_network("statewide")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return statewide(**options)


_KEY = re.compile(
    r"params//(?P<branch>pv|aerial)_(?:encoder//(?:"
    r"Stem_0//(?P<stem>Conv_0|_Norm_0)|Downsample_(?P<down>\d)//(?P<way>Conv_0|_Norm_0)|"
    r"Stage_(?P<stage>\d)//Block_(?P<block>\d+)(?://(?P<layer>Conv_0|_Norm_0|_Linear_[01]))?)|"
    r"decoder//(?P<head>_Norm_0|_Linear_[01]))//(?P<what>kernel|weight|scale|bias)"
)
_LAYERS = {"Conv_0": "dwconv", "_Norm_0": "norm", "_Linear_0": "pwconv1", "_Linear_1": "pwconv2"}
_HEADS = {"_Norm_0": "norm", "_Linear_0": "attention", "_Linear_1": "value"}


def torch_name(key: str) -> str | None:
    """Our name for one of the published ones; None: it is none."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = match.groupdict()
    what = "bias" if part["what"] == "bias" else "weight"
    if part["head"]:
        return f"{part['branch']}.decoder.{_HEADS[part['head']]}.{what}"
    if part["stem"]:
        module = f"downsample_layers.0.{0 if part['stem'] == 'Conv_0' else 1}"
    elif part["down"]:
        module = f"downsample_layers.{int(part['down']) + 1}.{1 if part['way'] == 'Conv_0' else 0}"
    else:
        module = f"stages.{part['stage']}.{part['block']}"
        if not part["layer"]:
            return f"{part['branch']}.encoder.{module}.gamma"
        module = f"{module}.{_LAYERS[part['layer']]}"
    return f"{part['branch']}.encoder.{module}.{what}"


def from_flax(state: Mapping[str, Tensor]) -> State:
    """The published tensors under our names and in torch's layouts; see the module's table.

    Raises:
        KeyError: for a name that is not in the table.
    """
    adapted: State = {}
    for key, value in state.items():
        name = torch_name(key)
        if name is None:
            raise KeyError(key)
        if value.ndim == 4:
            value = value.permute(3, 2, 0, 1)
        elif value.ndim == 2:
            value = value.t()
        adapted[name] = value.contiguous()
    return adapted


def _recognise(shapes: Shapes) -> Found | None:
    if not shapes or not all(torch_name(key) for key in shapes):
        return None
    depths, dims = [], []
    for stage in range(4):
        prefix = f"params//pv_encoder//Stage_{stage}//Block_"
        blocks = {key[len(prefix) :].split("//")[0] for key in shapes if key.startswith(prefix)}
        if not blocks or f"{prefix}0//scale" not in shapes:
            return None
        depths.append(len(blocks))
        dims.append(shapes[f"{prefix}0//scale"][0])
    heads = shapes.get("params//pv_decoder//_Linear_0//weight")
    values = shapes.get("params//pv_decoder//_Linear_1//weight")
    if heads is None or values is None or "params//aerial_decoder//_Norm_0//scale" not in shapes:
        return None
    network = {"depths": depths, "dims": dims, "heads": heads[1], "dim": values[1]}
    options = {**sizes(PHOTO_SIZE, TILE_SIZE), **network}
    return Found("statewide", "statewide (two ConvNeXt-B)", PHOTO_SIZE, TILE_SIZE, options)


def _preprocess(found: Found) -> Preprocessing:
    query = Branch(
        graph="query.onnx",
        input_size=found.query_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        projection="plain",
        resize="gaussian",
        fit="pad",
    )
    reference = Branch(
        graph="reference.onnx",
        input_size=found.reference_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        projection="plain",
        tile_pixels=found.reference_size[0],
        missing="white",
    )
    return Preprocessing(
        query=query,
        reference=reference,
        tile_extents_m=EXTENTS_M,
        stride_m=CELL_M,
        tile_up="south",
        data=(
            "Mapillary photos with official aerial imagery of Washington DC, North Carolina, Berlin-Brandenburg, "
            "North Rhine-Westphalia and Saxony (the published weights have not seen Massachusetts)"
        ),
        licence="MIT (code; see the weights' own page for theirs)",
        note="Made for ordinary photos, of any heading.",
    )


register_release(
    Release(
        project="statewide, fferflo/statewide-visual-geolocalization",
        expects="params//pv_encoder//*, params//aerial_encoder//* and both decoders (flax names)",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=lambda state, found: from_flax(state),
    )
)
