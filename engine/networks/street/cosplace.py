"""CosPlace (Berton et al. 2022, "Rethinking visual geo-localization for large-scale applications", gmberton/CosPlace)
and EigenPlaces (Berton et al. 2023, "EigenPlaces: training viewpoint robust models for visual place recognition",
gmberton/EigenPlaces). They are one network, trained in two ways:

    map of norm 1 at every place -> GeM -> linear layer to D numbers -> norm 1          [N, 3, H, W] to [N, D]

The authors' parameter names: ``backbone.N``, ``aggregation.1.p``, ``aggregation.3``. As an aggregation for any backbone
it is called ``cosplace``, with the names of GSV-Cities (``gem.p``, ``fc``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from engine.networks.dual import DualEncoder
from engine.networks.parts import Composed, Side, Size, compose, register_aggregation
from engine.networks.registry import register_network
from engine.networks.releases import Found, Preprocessing, Release, Shapes, register_release
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
    vgg_of,
)
from engine.networks.street.resnet import ResNet
from engine.networks.street.stages import AdditiveHead, Flatten, L2Norm, chain
from engine.networks.street.vgg import Vgg16

NETWORK = "cosplace"
SIZE = (512, 512)


def cosplace(
    *,
    backbone: str = "resnet",
    dim: int = 512,
    input_size: Sequence[int] = SIZE,
    backbone_options: Mapping[str, Any] | None = None,
) -> Composed:
    """A branch as ``GeoLocalizationNet`` of CosPlace builds it.

    Args:
        backbone: ``resnet`` (18, cut after conv5, if ``backbone_options`` says nothing) or ``vgg16``.
        dim: D.
        input_size: H and W.
        backbone_options: of the backbone's class.
    """
    size = as_size(input_size)
    options = dict(backbone_options or {})
    if backbone == "resnet":
        trunk: Any = ResNet(**{"depth": 18, "cut": 5, **options})
    elif backbone == "vgg16":
        trunk = Vgg16(**options)
    else:
        raise ValueError(f'"{backbone}" is neither resnet nor vgg16')
    trunk.map_size(size)
    stages = [L2Norm(), Gem(), Flatten(), nn.Linear(trunk.channels, dim), L2Norm()]
    return compose(trunk, chain(dim, stages), input_size=size)


@register_network(NETWORK)
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return shared(cosplace(**one_input(options)))


class CosPlaceHead(AdditiveHead):
    """The same head with the names that GSV-Cities gives its parameters."""

    def __init__(self, channels: int, *, dim: int = 512) -> None:
        super().__init__(dim)
        self.gem = Gem()
        self.fc = nn.Linear(channels, dim)

    def stages(self) -> Sequence[nn.Module]:
        return [L2Norm(), self.gem, self.fc, L2Norm()]


@register_aggregation(NETWORK)
def _head(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return CosPlaceHead(channels, **options)


def _recognise(shapes: Shapes) -> Found | None:
    backbone, head = starting(shapes, "backbone."), starting(shapes, "aggregation.")
    if set(head) != {"1.p", "3.weight", "3.bias"} or len(backbone) + 3 != len(shapes):
        return None
    dim = head["3.weight"][0]
    resnet, vgg = resnet_of(backbone), vgg_of(backbone)
    if resnet is not None and not resnet["named"]:
        name, options, label = "resnet", resnet, f"ResNet-{resnet['depth']}"
    elif vgg is not None:
        name, options, label = "vgg16", vgg, "VGG16"
    else:
        return None
    return found(
        NETWORK,
        f"CosPlace or EigenPlaces, {label}, {dim}-D",
        SIZE,
        {"backbone": name, "dim": dim, "backbone_options": options},
    )


def _preprocess(recognised: Found) -> Preprocessing:
    # The authors bring the shorter side to 512 and keep the photo's shape; a graph of one shape sees its middle.
    return preprocessing(
        recognised,
        fit="crop",
        data="Street photos of San Francisco (SF-XL)",
        licence="MIT",
        note="The authors feed photos of any shape; other shapes than the square are had by another input size.",
    )


register_release(
    Release(
        project="CosPlace (gmberton/CosPlace) and EigenPlaces (gmberton/EigenPlaces)",
        expects="backbone.0.weight ..., aggregation.1.p, aggregation.3.weight, aggregation.3.bias",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=prefixed,
    )
)
