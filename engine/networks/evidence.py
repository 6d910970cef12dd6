"""Where a descriptor comes from: what a branch says about its own answer.

Two honest kinds. *Contributions* are parts that add up: for places ``p`` of the map,

    descriptor = sum over p of features[:, :, p]        exactly, after all norms are divided out,

so a score, which is linear in the descriptor, is a sum over places. Average pooling, GeM, FRM, NetVLAD's residuals and
spatial softmax have them. *Attention* are weights of places, at least 0: less, but true of networks whose pooling is
not linear.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

EvidenceKind = Literal["contributions", "attention"]


@runtime_checkable
class EvidentBranch(Protocol):
    """A branch that can say where its descriptor comes from."""

    evidence_kind: EvidenceKind

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor [N, D] of norm 1 and, with it, the evidence.

        Contributions are [N, D, h, w] (or [N, d, h, w] for descriptors of K blocks by bearing, whose columns make K
        groups); attention is [N, h, w]. A reference branch that reads S extents gives [N, S, ...].
        """
        ...
