"""DINOv2 with SALAD (serizba/salad) and MegaLoc (gmberton/MegaLoc): the published networks.

SALAD: DINOv2 ViT-B/14 under ``backbone.model``, the last four blocks trained, :class:`Salad` under ``aggregator``; 8448
numbers; 322 x 322 at evaluation. MegaLoc: the same with clusters of 256 numbers and a linear layer behind,
``aggregator.agg`` and ``aggregator.linear``; images whose sides are no multiples of 14 are resized inside the network.
Its backbone is called ``backbone`` in its newer release and ``backbone.model`` in the first, which is read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.networks.dual import DualEncoder
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
from engine.networks.street.dinov2 import DinoV2, UnderDinoV2
from engine.networks.street.published import (
    as_size,
    found,
    one_input,
    prefixed,
    preprocessing,
    shared,
    starting,
)
from engine.networks.street.salad import MegaLocHead, Salad, enough_places

SALAD = "salad"
MEGALOC = "megaloc"
SIZE = (322, 322)
NAMES = ("backbone", "aggregator")


def salad(
    *,
    input_size: Sequence[int] = SIZE,
    backbone_options: Mapping[str, Any] | None = None,
    **head: Any,
) -> Composed:
    """A branch as SALAD's ``VPRModel`` builds it: options of :class:`DinoV2` and of :class:`Salad`."""
    size = as_size(input_size)
    options = {"mask_token": True, "trainable_blocks": 4, **(backbone_options or {})}
    trunk = UnderDinoV2(DinoV2(**options))
    aggregator = Salad(trunk.channels, **head)
    enough_places(trunk.map_size(size), aggregator.clusters)
    return compose(trunk, aggregator, input_size=size, names=NAMES)


def megaloc(
    *,
    input_size: Sequence[int] = SIZE,
    backbone_options: Mapping[str, Any] | None = None,
    **head: Any,
) -> Composed:
    """A branch as ``MegaLoc`` builds it: options of :class:`DinoV2` and of :class:`MegaLocHead`."""
    size = as_size(input_size)
    trunk = DinoV2(**{"fit": True, "trainable_blocks": 4, **(backbone_options or {})})
    aggregator = MegaLocHead(trunk.channels, **head)
    enough_places(trunk.map_size(size), aggregator.agg.clusters)
    return compose(trunk, aggregator, input_size=size, names=NAMES)


@register_network(SALAD)
def _build_salad(options: Mapping[str, Any]) -> DualEncoder:
    return shared(salad(**one_input(options)))


@register_network(MEGALOC)
def _build_megaloc(options: Mapping[str, Any]) -> DualEncoder:
    return shared(megaloc(**one_input(options)))


def _dinov2_of(shapes: Shapes) -> dict[str, Any] | None:
    """Options of DINOv2 for these (unprefixed) parameters; None: not one that we know the heads of."""
    positions, patch = shapes.get("pos_embed", ()), shapes.get("patch_embed.proj.weight", ())
    if len(positions) != 3 or len(patch) != 4 or "blocks.0.ls1.gamma" not in shapes:
        return None
    dim = positions[2]
    if dim % 64:
        return None
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    side = patch[2] * round((positions[1] - 1) ** 0.5)
    usual = {"dim": 768, "depth": 12, "heads": 12, "patch": 14, "image_size": 518}
    # Every published DINOv2 has heads of 64 channels.
    seen = {"dim": dim, "depth": depth, "heads": dim // 64, "patch": patch[2], "image_size": side}
    return {key: value for key, value in seen.items() if usual[key] != value}


def _salad_of(shapes: Shapes) -> dict[str, Any] | None:
    """Options of :class:`Salad` for these (unprefixed) parameters; None: not one."""
    try:
        return {
            "clusters": shapes["score.3.weight"][0],
            "cluster_dim": shapes["cluster_features.3.weight"][0],
            "token_dim": shapes["token_features.2.weight"][0],
            "hidden": shapes["token_features.0.weight"][0],
        }
    except KeyError:
        return None


def _recognise_salad(shapes: Shapes) -> Found | None:
    backbone = _dinov2_of(starting(shapes, "backbone.model."))
    head = _salad_of(starting(shapes, "aggregator."))
    if backbone is None or head is None:
        return None
    backbone["mask_token"] = "backbone.model.mask_token" in shapes
    dim = head["token_dim"] + head["cluster_dim"] * head["clusters"]
    return found(SALAD, f"DINOv2 with SALAD, {dim}-D", SIZE, {"backbone_options": backbone, **head})


def _recognise_megaloc(shapes: Shapes) -> Found | None:
    linear = shapes.get("aggregator.linear.weight")
    head = _salad_of(starting(shapes, "aggregator.agg."))
    prefix = "backbone.model." if "backbone.model.pos_embed" in shapes else "backbone."
    backbone = _dinov2_of(starting(shapes, prefix))
    if linear is None or backbone is None or head is None:
        return None
    options = {"backbone_options": backbone, "dim": linear[0], **head}
    return found(MEGALOC, f"MegaLoc, {linear[0]}-D", SIZE, options)


def _adapt_megaloc(state: State, recognised: Found) -> State:
    renamed = {name.replace("backbone.model.", "backbone."): v for name, v in state.items()}
    renamed.pop("backbone.mask_token", None)
    return prefixed(renamed, recognised)


def _preprocess_salad(recognised: Found) -> Preprocessing:
    return preprocessing(
        recognised,
        data="GSV-Cities: street photos of 23 cities; DINOv2's weights",
        licence="GPL-3.0 (serizba/salad); DINOv2 Apache-2.0",
    )


def _preprocess_megaloc(recognised: Found) -> Preprocessing:
    return preprocessing(
        recognised,
        data="SF-XL, GSV-Cities, MSLS, MegaScenes, ScanNet; DINOv2's weights",
        licence="MIT (gmberton/MegaLoc); DINOv2 Apache-2.0",
    )


def _bare(recognise_part: Any, network: str, label: str) -> Any:
    def recognise(shapes: Shapes) -> Found | None:
        if recognise_part(shapes) is None:
            return None
        return found(network, label, SIZE, {})

    return recognise


register_release(
    Release(
        project="SALAD (serizba/salad)",
        expects="backbone.model.pos_embed, backbone.model.blocks.*, aggregator.dust_bin, aggregator.score.*",
        recognise=_recognise_salad,
        preprocess=_preprocess_salad,
        adapt=prefixed,
    )
)
register_release(
    Release(
        project="MegaLoc (gmberton/MegaLoc)",
        expects="backbone.pos_embed, backbone.blocks.*, aggregator.agg.dust_bin, aggregator.linear.weight",
        recognise=_recognise_megaloc,
        preprocess=_preprocess_megaloc,
        adapt=_adapt_megaloc,
    )
)
register_release(
    Release(
        project="SALAD's aggregation alone (serizba/salad)",
        expects="dust_bin, score.0.weight, cluster_features.0.weight, token_features.0.weight",
        recognise=_bare(_salad_of, SALAD, "SALAD's aggregation"),
        preprocess=_preprocess_salad,
        part="the backbone (DINOv2 ViT-B/14, parameters backbone.model.*) is missing",
    )
)
register_release(
    Release(
        project="DINOv2 alone (facebookresearch/dinov2)",
        expects="pos_embed, patch_embed.proj.weight, blocks.0.ls1.gamma",
        recognise=_bare(_dinov2_of, SALAD, "DINOv2"),
        preprocess=_preprocess_salad,
        part="the aggregation (SALAD's or MegaLoc's, parameters aggregator.*) is missing: DINOv2 alone gives no "
        "descriptor of a place",
    )
)
