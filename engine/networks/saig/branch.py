"""SAIG's backbone and one of its heads as a branch, under the parameter names of the official branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from engine.networks.dual import DualEncoder, descriptors
from engine.networks.evidence import EvidenceKind
from engine.networks.registry import register_network
from engine.networks.saig.backbone import Saig
from engine.networks.saig.heads import Gap, Gem, ReduceDim, SafaHead, Smd


class OnSaig(nn.Module):
    """Puts the backbone under a head: parameters lie as ``backbone.*`` beside the head's own, as its authors have them.

    To be named before the head's class.
    """

    evidence_kind: EvidenceKind

    def __init__(self, backbone: Saig, **head: Any) -> None:
        super().__init__(channels=backbone.channels, map_size=backbone.grid, **head)
        self.backbone = backbone
        self.input_size = backbone.input_size

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, H, W] to raw descriptors [N, D]."""
        return cast(Any, super()).forward(self.backbone(x))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 [N, D] with contributions [N, D, h, w], or with attention [N, h, w]."""
        if self.evidence_kind == "contributions":
            return cast(Any, super()).evidence(self.backbone(x))
        feature_map, attention = self.backbone.map_and_attention(x)
        return descriptors(cast(Any, super()).forward(feature_map)), attention


class GapBranch(OnSaig, Gap):
    """SAIG with the mean over places."""


class SmdBranch(OnSaig, Smd):
    """SAIG with SMD, the paper's own head."""

    evidence_kind: EvidenceKind = "attention"


class GemBranch(OnSaig, Gem):
    """SAIG with the generalised mean."""


class ReduceDimBranch(OnSaig, ReduceDim):
    """SAIG with few channels and all places."""

    evidence_kind: EvidenceKind = "attention"


class SafaBranch(OnSaig, SafaHead):
    """SAIG with SAFA's pooling."""


class BareBranch(Saig):
    """SAIG with the mean over places, where the parameters lie bare.

    So the authors' training on VIGOR saves GAP models, and so ImageNet weights are published: those have a classifier
    besides (``classes``), which the descriptor does not use.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, *, classes: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.dim = self.channels
        self.head = nn.Linear(self.channels, classes) if classes else nn.Identity()

    def logits(self, x: Tensor) -> Tensor:
        """Class scores of every token [N, T, classes], as the official ``forward`` gives them."""
        return self.head(self.tokens(x))

    def forward(self, x: Tensor) -> Tensor:
        """Images to raw descriptors [N, C]."""
        return self.tokens(x).mean(dim=1)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and contributions [N, C, h, w]."""
        return Gap(channels=self.channels, map_size=self.grid).evidence(Saig.forward(self, x))


HEADS: Mapping[str, type[OnSaig]] = {
    "gap": GapBranch,
    "smd": SmdBranch,
    "gem": GemBranch,
    "reduce-dim": ReduceDimBranch,
    "safa": SafaBranch,
}
VARIANTS: Mapping[str, int] = {"S": 11, "D": 22}
"""Blocks of the two published sizes."""


def saig_branch(
    *,
    input_size: Sequence[int],
    head: str = "gap",
    head_options: Mapping[str, Any] | None = None,
    classes: int = 0,
    variant: str = "S",
    depth: int | None = None,
    **backbone: Any,
) -> nn.Module:
    """One branch.

    Args:
        input_size: H and W, multiples of 16.
        head: of :data:`HEADS`, or "bare" (:class:`BareBranch`, with ``classes``).
        head_options: of the head, such as ``maps`` of SMD.
        variant: "S" or "D", for the depth; ``depth`` overrides it.
        backbone: further options of :class:`Saig`: ``dim``, ``heads``, ``stem``.
    """
    if variant not in VARIANTS:
        raise ValueError(f'SAIG comes as {" and ".join(VARIANTS)}, not as "{variant}"')
    backbone |= {"depth": VARIANTS[variant] if depth is None else depth, "input_size": input_size}
    if head == "bare":
        return BareBranch(classes=classes, **backbone, **(head_options or {}))
    if head not in HEADS:
        raise ValueError(f'SAIG has the heads {", ".join(HEADS)} and bare, not "{head}"')
    if classes:
        raise ValueError("only the bare form has a classifier")
    return HEADS[head](Saig(**backbone), **(head_options or {}))


def saig(
    *,
    query_size: Sequence[int] = (128, 512),
    reference_size: Sequence[int] = (256, 256),
    **both: Any,
) -> DualEncoder:
    """Two branches that share no weights, named ``model_grd`` and ``model_sat``.

    Args:
        query_size, reference_size: H and W of panoramas and tiles, as on CVUSA and CVACT; VIGOR has 320 x 640 and
            320 x 320. Smaller ones make what trains on a processor, together with ``depth``, ``dim``, ``heads`` and
            ``stem``.
        both: see :func:`saig_branch`.
    """
    return DualEncoder(
        saig_branch(input_size=query_size, **both),
        saig_branch(input_size=reference_size, **both),
        names=("model_grd", "model_sat"),
    )


@register_network("saig")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return saig(**options)


@register_network("saig-branch")
def _build_one(options: Mapping[str, Any]) -> DualEncoder:
    """One branch for both sides, ``model.*``: single branches and ImageNet weights that are tried as they are."""
    branch = saig_branch(**options)
    return DualEncoder(branch, branch, names=("model", "model"))
