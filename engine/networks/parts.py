"""Networks from parts: any backbone with any aggregation.

A *backbone* turns images [N, 3, H, W] into a map [N, C, h, w]; an *aggregation* turns the map into raw descriptors
[N, D]. Both are registered by name, so that a recipe can put any two together::

    [network]
    name = "composed"
    backbone = "resnet18-conv4"
    aggregation = "gem"
    aggregation_options = { p = 3.0 }
    query_size = [480, 640]
    shared = true                      # one set of weights for both sides

    [network.reference]                # what differs on one side, where weights are not shared
    aggregation = "frm"

Transformers hold their patches as a map too; the class token goes beside it to the aggregations that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.networks.dual import DualEncoder, descriptors
from engine.networks.evidence import EvidenceKind
from engine.networks.registry import register_network

Side = Literal["query", "reference"]
Size = tuple[int, int]
LOCAL_VECTORS = 50_000
"""Places that a dictionary starts from, and how many of one image: the benchmark's (Berton et al. 2022)."""
LOCAL_VECTORS_PER_IMAGE = 100


class Backbone(Protocol):
    """What a registered backbone is, besides an ``nn.Module``: ``forward`` takes images [N, 3, H, W] and gives the
    map [N, C, h, w]."""

    channels: int
    """C."""

    def map_size(self, input_size: Size) -> Size:
        """h and w of the map for images of H and W; ValueError for a size that it cannot read."""
        ...


@runtime_checkable
class TokenBackbone(Protocol):
    """A backbone that also has a class token."""

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map [N, C, h, w] and the class token [N, C]."""
        ...


@runtime_checkable
class AttentiveBackbone(Protocol):
    """A backbone that can say what its class token looked at."""

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map [N, C, h, w], the class token [N, C] and the attention of the last block's class token to the
        places, mean over the heads [N, h, w], at least 0."""
        ...


class Aggregation(Protocol):
    """What a registered aggregation is, besides an ``nn.Module``: ``forward`` takes the map [N, C, h, w] and gives
    raw descriptors [N, D].

    Optional attributes: ``reads_token = True``: ``forward`` and ``evidence`` take the map and the class token [N, C].
    ``evidence_kind`` with ``evidence(map) -> (descriptor of norm 1 [N, D], evidence)``, see
    :mod:`engine.networks.evidence`. ``token_only = True``: the descriptor is the class token and nothing else, so the
    backbone's attention is its evidence. ``azimuth_blocks``: K, where the descriptor is blocks by bearing.
    """

    dim: int
    """D."""


@runtime_checkable
class StartedFromData(Protocol):
    """A part of an aggregation that starts from local vectors of training images (a dictionary)."""

    def initialise(self, vectors: Tensor, seed: int = ...) -> Any:
        """Start from local vectors [M, C]; ValueError where they do not suffice."""
        ...


BackboneBuilder = Callable[[Mapping[str, Any]], nn.Module]


class AggregationBuilder(Protocol):
    """Builds an aggregation for one side, for maps of ``channels`` and ``map_size`` (h, w)."""

    def __call__(
        self, options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size
    ) -> nn.Module: ...


_BACKBONES: dict[str, BackboneBuilder] = {}
_AGGREGATIONS: dict[str, AggregationBuilder] = {}


def register_backbone(name: str) -> Callable[[BackboneBuilder], BackboneBuilder]:
    """Decorate a function that builds a backbone from its options."""

    def keep(builder: BackboneBuilder) -> BackboneBuilder:
        _BACKBONES[name] = builder
        return builder

    return keep


def register_aggregation(name: str) -> Callable[[AggregationBuilder], AggregationBuilder]:
    """Decorate a function that builds an aggregation from its options, the side, the channels and the map's size."""

    def keep(builder: AggregationBuilder) -> AggregationBuilder:
        _AGGREGATIONS[name] = builder
        return builder

    return keep


def backbones() -> tuple[str, ...]:
    """Names of all backbones, sorted."""
    return tuple(sorted(_BACKBONES))


def aggregations() -> tuple[str, ...]:
    """Names of all aggregations, sorted."""
    return tuple(sorted(_AGGREGATIONS))


def build_backbone(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the backbone ``name``.

    Raises:
        TrainingError: nobody knows the name.
        TypeError, ValueError: an option is unknown or wrong.
    """
    if name not in _BACKBONES:
        raise TrainingError(
            f'there is no backbone "{name}"', None, f"Known are: {', '.join(backbones())}"
        )
    return _BACKBONES[name](options or {})


def build_aggregation(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    side: Side,
    channels: int,
    map_size: Size,
) -> nn.Module:
    """Build the aggregation ``name`` for one side, for maps [N, ``channels``, ``map_size``].

    Raises:
        TrainingError: nobody knows the name.
        TypeError, ValueError: an option is unknown or wrong, or the map does not suit.
    """
    if name not in _AGGREGATIONS:
        raise TrainingError(
            f'there is no aggregation "{name}"', None, f"Known are: {', '.join(aggregations())}"
        )
    return _AGGREGATIONS[name](options or {}, side=side, channels=channels, map_size=map_size)


class Composed(nn.Module):
    """One branch: images [N, 3, H, W] through a backbone and an aggregation to raw descriptors [N, D].

    Args:
        backbone, aggregation: see :class:`Backbone` and :class:`Aggregation`.
        input_size: H and W.
        names: what the two are called in the state dict, so that official parameter names stand as they are.
    """

    def __init__(
        self,
        backbone: nn.Module,
        aggregation: nn.Module,
        *,
        input_size: Size,
        names: tuple[str, str] = ("backbone", "aggregation"),
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.names = names
        self.add_module(names[0], backbone)
        self.add_module(names[1], aggregation)
        self.dim: int = cast(Aggregation, aggregation).dim
        self.reads_token: bool = getattr(aggregation, "reads_token", False)
        if self.reads_token and not isinstance(backbone, TokenBackbone):
            raise ValueError("this aggregation reads a class token, and this backbone has none")
        if hasattr(aggregation, "azimuth_blocks"):
            self.azimuth_blocks: int = cast(Any, aggregation).azimuth_blocks

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.get_submodule(self.names[0])

    @property
    def head(self) -> nn.Module:
        """The aggregation."""
        return self.get_submodule(self.names[1])

    def _dictionary(self) -> StartedFromData | None:
        return next((m for m in self.head.modules() if isinstance(m, StartedFromData)), None)

    @property
    def wants_data(self) -> bool:
        """Whether :meth:`initialise` should see training images before the first step."""
        return self._dictionary() is not None

    @torch.no_grad()
    def initialise(
        self,
        batches: Iterable[Tensor],
        *,
        vectors: int = LOCAL_VECTORS,
        per_image: int = LOCAL_VECTORS_PER_IMAGE,
        seed: int = 0,
    ) -> None:
        """Start what starts from data, from local vectors of training images.

        Args:
            batches: images [N, 3, H, W], normalised, on the branch's device; no more are taken than are needed.
            vectors, per_image: how many places to take altogether and, by chance, from one image.
            seed: of the choice of places.

        Raises:
            ValueError: the images do not suffice.
        """
        dictionary = self._dictionary()
        if dictionary is None:
            return
        generator = torch.Generator().manual_seed(seed)
        taken: list[Tensor] = []
        count = 0
        was_training = self.training
        self.eval()
        for images in batches:
            for places in self.trunk(images).flatten(2).transpose(1, 2).float().cpu():
                chosen = torch.randperm(len(places), generator=generator)[:per_image]
                taken.append(places[chosen])
                count += len(chosen)
            if count >= vectors:
                break
        self.train(was_training)
        if not taken:
            raise ValueError("there are no images to start the dictionary from")
        dictionary.initialise(torch.cat(taken)[:vectors])

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.reads_token:
            return cast(TokenBackbone, self.trunk).map_and_token(x)
        return (self.trunk(x),)

    def forward(self, x: Tensor) -> Tensor:
        """Raw descriptors [N, D]."""
        return self.head(*self._parts(x))


class EvidentComposed(Composed):
    """A branch whose aggregation says where its descriptor comes from."""

    @property
    def evidence_kind(self) -> EvidenceKind:
        """What the aggregation gives."""
        return cast(Any, self.head).evidence_kind

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, D] of norm 1 and the aggregation's evidence."""
        return cast(Any, self.head).evidence(*self._parts(x))


class AttentiveComposed(Composed):
    """A branch whose descriptor is the class token: evidence is what that token looked at."""

    evidence_kind: EvidenceKind = "attention"

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors [N, D] of norm 1 and attention [N, h, w]."""
        feature_map, token, attention = cast(AttentiveBackbone, self.trunk).attention(x)
        return descriptors(self.head(feature_map, token)), attention


def compose(
    backbone: nn.Module,
    aggregation: nn.Module,
    *,
    input_size: Size,
    names: tuple[str, str] = ("backbone", "aggregation"),
) -> Composed:
    """The branch of these two parts, with evidence where they can give it."""
    kind = Composed
    if getattr(aggregation, "token_only", False) and isinstance(backbone, AttentiveBackbone):
        kind = AttentiveComposed
    elif hasattr(aggregation, "evidence_kind"):
        kind = EvidentComposed
    return kind(backbone, aggregation, input_size=input_size, names=names)


def build_branch(
    side: Side,
    size: Size,
    *,
    backbone: str,
    aggregation: str,
    backbone_options: Mapping[str, Any] | None = None,
    aggregation_options: Mapping[str, Any] | None = None,
) -> Composed:
    """A branch from registered parts, for images of ``size`` (H, W)."""
    trunk = build_backbone(backbone, backbone_options)
    known = cast(Backbone, trunk)
    head = build_aggregation(
        aggregation,
        aggregation_options,
        side=side,
        channels=known.channels,
        map_size=known.map_size(size),
    )
    return compose(trunk, head, input_size=size)


def _size(value: Sequence[int]) -> Size:
    height, width = value
    if height < 1 or width < 1:
        raise ValueError(f"{height} x {width} is no image size")
    return int(height), int(width)


def composed(
    *,
    query_size: Sequence[int],
    reference_size: Sequence[int] | None = None,
    shared: bool = False,
    scale: float | None = None,
    query: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    **both: Any,
) -> DualEncoder:
    """Two branches from registered parts; see the module's text.

    Args:
        query_size, reference_size: H and W of the inputs; the second defaults to the first.
        shared: one set of weights for both sides, which then read images of one size.
        scale: see :class:`DualEncoder`.
        query, reference: arguments of :func:`build_branch` that hold for one side.
        both: arguments of :func:`build_branch` for both sides.
    """
    photo = _size(query_size)
    tile = _size(reference_size) if reference_size is not None else photo
    if shared:
        if query or reference or photo != tile:
            raise ValueError("branches that share their weights are built and fed alike")
        branch = build_branch("query", photo, **both)
        return DualEncoder(branch, branch, names=("model", "model"), scale=scale)
    return DualEncoder(
        build_branch("query", photo, **{**both, **(query or {})}),
        build_branch("reference", tile, **{**both, **(reference or {})}),
        scale=scale,
    )


@register_network("composed")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return composed(**options)
