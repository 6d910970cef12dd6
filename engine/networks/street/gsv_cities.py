"""The networks of GSV-Cities and MixVPR (Ali-bey et al. 2022 and 2023, amaralibey/gsv-cities and amaralibey/MixVPR).

A ResNet named as in torchvision under ``backbone.model`` and one of four aggregations under ``aggregator``: GeM (of
norm 1), CosPlace's head, Conv-AP, MixVPR. MixVPR's ResNet is cut after conv4, the others' after conv5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import EncoderError
from engine.networks.dual import DualEncoder
from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Composed, compose
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)
from engine.networks.street.convap import ConvAp
from engine.networks.street.cosplace import CosPlaceHead
from engine.networks.street.mixvpr import MixVpr
from engine.networks.street.pooling import Gem
from engine.networks.street.published import (
    as_size,
    found,
    one_input,
    prefixed,
    preprocessing,
    resnet_of,
    shared,
    starting,
)
from engine.networks.street.resnet import ResNet, Under
from engine.networks.street.stages import L2Norm, through

NETWORK = "gsv-cities"
SIZE = (320, 320)


class GemHead(Gem):
    """GeM brought to norm 1: maps [N, C, h, w] to [N, C]."""

    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, channels: int, *, p: float = 3.0) -> None:
        super().__init__(p)
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(super().forward(x), p=2.0, dim=1)

    def parts(self, x: Tensor) -> Tensor:
        """What each place adds to the descriptor [N, C, h, w]."""
        return through(L2Norm(), super().parts(x))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor and its parts."""
        parts = self.parts(x)
        return parts.sum((2, 3)), parts


def gsv_cities(
    *,
    aggregation: str = "conv-ap",
    aggregation_options: Mapping[str, Any] | None = None,
    input_size: Sequence[int] = SIZE,
    backbone_options: Mapping[str, Any] | None = None,
) -> Composed:
    """A branch as ``VPRModel`` of GSV-Cities and MixVPR builds it.

    Args:
        aggregation: ``gem``, ``cosplace``, ``conv-ap``, ``mixvpr``.
        aggregation_options: of its class.
        input_size: H and W.
        backbone_options: of :class:`ResNet`; depth 50, cut after conv4 for MixVPR and after conv5 for the others, if
            they say nothing.
    """
    size = as_size(input_size)
    cut = 4 if aggregation == "mixvpr" else 5
    trunk = Under(ResNet(**{"depth": 50, "cut": cut, **(backbone_options or {}), "named": True}))
    options = dict(aggregation_options or {})
    if aggregation == "mixvpr":
        head: nn.Module = MixVpr(trunk.channels, trunk.map_size(size), **options)
    elif aggregation in HEADS:
        head = HEADS[aggregation](trunk.channels, **options)
    else:
        raise ValueError(f'"{aggregation}" is none of {", ".join((*HEADS, "mixvpr"))}')
    return compose(trunk, head, input_size=size, names=("backbone", "aggregator"))


HEADS = {"gem": GemHead, "cosplace": CosPlaceHead, "conv-ap": ConvAp}


@register_network(NETWORK)
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return shared(gsv_cities(**one_input(options)))


def _head_of(shapes: Shapes) -> tuple[str, str, dict[str, Any]] | None:
    """Name, label and options of the aggregation with these (unprefixed) parameters; None: not ours."""
    names = set(shapes)
    if names == {"p"}:
        return "gem", "GeM", {}
    if names == {"gem.p", "fc.weight", "fc.bias"}:
        dim = shapes["fc.weight"][0]
        return "cosplace", f"CosPlace's head, {dim}-D", {"dim": dim}
    if names == {"channel_pool.weight", "channel_pool.bias"}:
        channels = shapes["channel_pool.weight"][0]
        # The grid leaves no trace; all that is published has 2 x 2.
        return "conv-ap", f"Conv-AP, {4 * channels}-D", {"out_channels": channels}
    if "row_proj.weight" in names and "channel_proj.weight" in names:
        rows, channels = shapes["row_proj.weight"][0], shapes["channel_proj.weight"][0]
        depth = len({name.split(".")[1] for name in names if name.startswith("mix.")})
        options: dict[str, Any] = {"out_channels": channels, "rows": rows, "depth": depth}
        places = shapes["row_proj.weight"][1]
        if depth and shapes["mix.0.mix.1.weight"][0] != places:
            options["ratio"] = shapes["mix.0.mix.1.weight"][0] / places
        return "mixvpr", f"MixVPR, {rows * channels}-D", options
    return None


def _recognise(shapes: Shapes) -> Found | None:
    backbone, head = starting(shapes, "backbone.model."), starting(shapes, "aggregator.")
    if not backbone or not head or len(backbone) + len(head) != len(shapes):
        return None
    resnet, known = resnet_of(backbone), _head_of(head)
    if resnet is None or known is None:
        return None
    name, label, options = known
    size = SIZE
    if name == "mixvpr":
        side = round(head["row_proj.weight"][1] ** 0.5)
        if side * side != head["row_proj.weight"][1]:
            return None
        size = (side * (1 << resnet["cut"]),) * 2
    resnet = {key: value for key, value in resnet.items() if key != "named"}
    return found(
        NETWORK,
        f"ResNet-{resnet['depth']} with {label}",
        size,
        {
            "aggregation": name,
            "aggregation_options": options,
            "backbone_options": resnet,
        },
    )


def _adapt(state: State, recognised: Found) -> State:
    if recognised.options["aggregation"] == "mixvpr":
        places = state["aggregator.row_proj.weight"].shape[1]
        step = 1 << int(recognised.options["backbone_options"]["cut"])
        height, width = (-(-length // step) for length in recognised.query_size)
        if height * width != places:
            raise EncoderError(
                f"these weights of MixVPR are for maps of {places} places; an input of "
                f"{recognised.query_size[0]} x {recognised.query_size[1]} makes {height * width}",
                None,
                "Leave the input size as it is",
            )
    return prefixed(state, recognised)


def _preprocess(recognised: Found) -> Preprocessing:
    return preprocessing(
        recognised,
        data="GSV-Cities: street photos of 23 cities",
        licence="As its publisher says (amaralibey/gsv-cities, amaralibey/MixVPR)",
    )


register_release(
    Release(
        project="GSV-Cities and MixVPR (amaralibey/gsv-cities, amaralibey/MixVPR)",
        expects="backbone.model.conv1.weight ..., aggregator.* "
        "(p; gem.p, fc.weight; channel_pool.weight; mix.0.mix.1.weight, channel_proj.weight, row_proj.weight)",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=_adapt,
    )
)
