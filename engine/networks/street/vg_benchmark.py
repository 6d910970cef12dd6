"""The deep visual geo-localization benchmark's networks (Berton et al. 2022, "Deep visual geo-localization benchmark",
gmberton/deep-visual-geo-localization-benchmark): a backbone and an aggregation, with the authors' parameter names.

What is particular there, and so here: an L2 norm before a shallow pooling leaves the descriptor unnormalised unless a
linear layer follows; ViT's descriptor is its class token whatever the aggregation; CCT has no class token, so its
``cls`` is the first place; SeqPool's weights belong to CCT; and GeM on CCT's tokens with the norm before the pooling
brings each channel, not each place, to norm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.dual import DualEncoder
from engine.networks.parts import Composed, Size, compose
from engine.networks.registry import register_network
from engine.networks.releases import (
    Found,
    Preprocessing,
    Release,
    Shapes,
    State,
    register_release,
)
from engine.networks.street.cct import Cct, CctSeqPool
from engine.networks.street.netvlad import NetVlad, build_crn
from engine.networks.street.pooling import L2_WHEN, SHALLOW, Gem, shallow, with_fc
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
from engine.networks.street.rrm import Rrm
from engine.networks.street.stages import Chain, Flatten, L2Norm, chain
from engine.networks.street.vgg import Vgg16
from engine.networks.street.vit import Vit

NETWORK = "vg-benchmark"
SIZE = (480, 640)
BACKBONES = {"resnet": ResNet, "vgg16": Vgg16, "cct": Cct, "vit": Vit}


class TokenChain(Chain):
    """Stages on the class token."""

    reads_token = True
    token_only = True

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(token)


class FirstPlace(nn.Module):
    """The first place of the map [N, C]: what a class token would be if there were one."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)[:, :, 0]


class ChannelNorm(nn.Module):
    """Every channel of the map brought to norm 1 over the places: what the benchmark's norm does to tokens, whose
    second dimension is the place."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.flatten(2), p=2.0, dim=2).view_as(x)


def _token_gem(channels: int, l2: str, fc_dim: int | None) -> nn.Module:
    if l2 != "before_pool":
        return shallow("gem", channels, l2=l2, fc_dim=fc_dim)
    return with_fc(chain(channels, [ChannelNorm(), Gem(), Flatten()]), fc_dim)


def _token_head(channels: int, fc_dim: int | None) -> nn.Module:
    if fc_dim is None:
        return TokenChain(channels, [nn.Identity()])
    return TokenChain(fc_dim, [nn.Identity(), nn.Linear(channels, fc_dim), L2Norm()])


def _head(
    trunk: Any, size: Size, aggregation: str, l2: str, clusters: int, fc_dim: int | None
) -> nn.Module:
    channels: int = trunk.channels
    tokens = isinstance(trunk, Cct)
    if isinstance(trunk, Vit):
        if aggregation != "cls":
            raise ValueError("a ViT's aggregation is cls")
        return _token_head(channels, None)
    if tokens and aggregation == "seqpool":
        return _token_head(channels, fc_dim)
    if tokens and aggregation == "cls":
        return with_fc(chain(channels, [FirstPlace()]), fc_dim)
    if tokens and aggregation == "gem":
        return _token_gem(channels, l2, fc_dim)
    if aggregation == "netvlad":
        return with_fc(NetVlad(channels, clusters=clusters, tokens=tokens), fc_dim)
    if not tokens and aggregation == "crn":
        return build_crn(channels, trunk.map_size(size), clusters=clusters, fc_dim=fc_dim)
    if not tokens and aggregation == "rrm":
        return with_fc(Rrm(channels), fc_dim)
    if not tokens and aggregation in SHALLOW:
        return shallow(aggregation, channels, l2=l2, fc_dim=fc_dim)
    raise ValueError(f'"{aggregation}" is no aggregation for this backbone')


def vg_benchmark(
    *,
    backbone: str = "resnet",
    aggregation: str = "netvlad",
    l2: str = "before_pool",
    clusters: int = 64,
    fc_dim: int | None = None,
    input_size: Sequence[int] = SIZE,
    backbone_options: Mapping[str, Any] | None = None,
) -> Composed:
    """A branch as ``GeoLocalizationNet`` builds it.

    Args:
        backbone: ``resnet`` (18, cut after conv4, if ``backbone_options`` says nothing), ``vgg16``, ``cct``, ``vit``.
        aggregation: ``gem``, ``spoc``, ``mac``, ``rmac``, ``rrm``, ``netvlad``, ``crn``, ``cls``, ``seqpool``.
        l2: for the shallow poolings: ``before_pool``, ``after_pool``, ``none``.
        clusters: of NetVLAD and CRN.
        fc_dim: numbers of a linear layer at the end, None: there is none.
        input_size: H and W.
        backbone_options: of the backbone's class.
    """
    if backbone not in BACKBONES:
        raise ValueError(f'"{backbone}" is none of {", ".join(BACKBONES)}')
    size = as_size(input_size)
    options = dict(backbone_options or {})
    if backbone == "resnet":
        options = {"depth": 18, "cut": 4, **options}
    kind = CctSeqPool if (backbone, aggregation) == ("cct", "seqpool") else BACKBONES[backbone]
    trunk: Any = kind(**options)
    trunk.map_size(size)
    head = _head(trunk, size, aggregation, l2, clusters, fc_dim)
    return compose(trunk, head, input_size=size)


@register_network(NETWORK)
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return shared(vg_benchmark(**one_input(options)))


def _trunk_of(shapes: Shapes) -> tuple[str, dict[str, Any], Size] | None:
    """Backbone, its options and the input size for parameters without their prefix."""
    resnet = resnet_of(shapes)
    if resnet is not None:
        return None if resnet["named"] else ("resnet", resnet, SIZE)
    vgg = vgg_of(shapes)
    if vgg is not None:
        return "vgg16", vgg, SIZE
    layers = {name.split(".")[2] for name in shapes if name.startswith("classifier.blocks.")}
    positions = shapes.get("classifier.positional_emb")
    if "tokenizer.conv_layers.0.0.weight" in shapes and positions and positions[2] == 384:
        side = round(positions[1] ** 0.5)
        return "cct", {"depth": len(layers), "image_size": 16 * side}, (16 * side, 16 * side)
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")}
    positions = shapes.get("embeddings.position_embeddings")
    if "embeddings.cls_token" in shapes and positions and positions[2] == 768:
        side = 16 * round((positions[1] - 1) ** 0.5)
        pooler = "pooler.dense.weight" in shapes
        return "vit", {"depth": len(layers), "image_size": side, "pooler": pooler}, (side, side)
    return None


def _head_of(shapes: Shapes, backbone: str) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Options of the aggregation, and what it leaves open, for parameters without their prefix; KeyError: not ours."""
    options: dict[str, Any] = {}
    fc = shapes.get("1.weight")
    if fc is not None and "3.weight" not in shapes:
        options["fc_dim"] = fc[0]
        inner = starting(shapes, "0.")
    else:
        inner = dict(shapes)
    names = set(inner)
    if "centroids" in names:
        crn = any(name.startswith("crn.") for name in names)
        return {
            **options,
            "aggregation": "crn" if crn else "netvlad",
            "clusters": inner["centroids"][0],
        }, {}
    if "ln1.weight" in names:
        return {**options, "aggregation": "rrm"}, {}
    if names == {"1.p"}:
        return {**options, "aggregation": "gem", "l2": "before_pool"}, {}
    if names == {"0.p"}:
        # The last norm makes both of these one where nothing follows the pooling.
        if fc is None:
            return {**options, "aggregation": "gem", "l2": "after_pool"}, {}
        return {**options, "aggregation": "gem"}, {"l2": ("after_pool", "none")}
    if names:
        raise KeyError(sorted(names)[0])
    if backbone == "vit":
        return {"aggregation": "cls"}, {}
    if backbone == "cct":
        return options, {"aggregation": ("seqpool", "cls")}
    return {**options, "l2": L2_WHEN[0]}, {"aggregation": ("spoc", "mac", "rmac")}


def _recognise(shapes: Shapes) -> Found | None:
    backbone, head = starting(shapes, "backbone."), starting(shapes, "aggregation.")
    if not backbone or len(backbone) + len(head) != len(shapes) or "3.weight" in head:
        return None
    trunk = _trunk_of(backbone)
    if trunk is None:
        return None
    name, trunk_options, size = trunk
    try:
        options, choices = _head_of(head, name)
    except KeyError:
        return None
    pool = options.get("aggregation", "a pooling without parameters")
    label = name
    if name == "resnet":
        label = f"ResNet-{trunk_options['depth']} conv{trunk_options['cut']}"
    tail = f", {options['fc_dim']}-D" if "fc_dim" in options else ""
    return found(
        NETWORK,
        f"{label} with {pool}{tail}",
        size,
        {"backbone": name, "backbone_options": trunk_options, **options},
        choices,
    )


def _adapt(state: State, recognised: Found) -> State:
    # ImageNet's classifier, where it was kept, plays no part.
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith(("backbone.classifier.fc.", "backbone.fc."))
    }
    return prefixed(kept, recognised)


def _preprocess(recognised: Found) -> Preprocessing:
    return preprocessing(
        recognised,
        data="Street photos (Pittsburgh 30k, MSLS or what its trainer used), weights from ImageNet, Places or GLDv2",
        licence="MIT (code); weights as their publisher says",
    )


register_release(
    Release(
        project="Deep visual geo-localization benchmark (gmberton/deep-visual-geo-localization-benchmark)",
        expects="backbone.0.weight ... backbone.6.*, or backbone.tokenizer.*, or backbone.embeddings.*; "
        "aggregation.* (centroids, 1.p, ln1.weight)",
        recognise=_recognise,
        preprocess=_preprocess,
        adapt=_adapt,
    )
)
