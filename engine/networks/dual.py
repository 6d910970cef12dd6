"""Two branches that belong together, whoever's they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class DualEncoder(nn.Module):
    """A query branch (photos) and a reference branch (tiles, or street photos).

    A branch is a module whose ``forward`` takes images float32 [N, 3, H, W], normalised as its card says (a reference
    branch that reads several extents takes [N, S, 3, H, W]), and gives descriptors [N, D] as its authors' code does,
    which need not be of norm 1: :func:`descriptors` makes them so. A branch that can say where its descriptor comes
    from has ``evidence`` (see :class:`engine.networks.evidence.EvidentBranch`).

    Args:
        query, reference: the branches; the same module twice where the weights are shared.
        names: what the branches are called in the state dict, so that official parameter names stand as they are.
        scale: the learned number that scores are multiplied by in a softmax, at its start; None: there is none.
            Its natural logarithm is the parameter ``logit_scale``.
    """

    def __init__(
        self,
        query: nn.Module,
        reference: nn.Module,
        *,
        names: tuple[str, str] = ("query", "reference"),
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.shared = query is reference
        if self.shared != (names[0] == names[1]):
            raise ValueError("branches share their name if they share their weights")
        self._names = names
        for name, branch in zip(names, (query, reference), strict=True):
            # Not by add_module, which sees the properties below and takes the name for taken.
            self._modules[name] = branch
        self.logit_scale: nn.Parameter | None = None
        if scale is not None:
            self.learn_scale(scale)

    @property
    def query(self) -> nn.Module:
        """The branch for photos."""
        return self._branch(0)

    @property
    def reference(self) -> nn.Module:
        """The branch for tiles."""
        return self._branch(1)

    def _branch(self, side: int) -> nn.Module:
        branch = self._modules[self._names[side]]
        assert branch is not None
        return branch

    def learn_scale(self, start: float) -> None:
        """Have a learned scale, for a loss that wants one; one that is there stays."""
        if self.logit_scale is None:
            self.logit_scale = nn.Parameter(torch.tensor(math.log(start)))

    def forward(self, queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches' descriptors, as they are."""
        return self.query(queries), self.reference(references)


def descriptors(raw: Tensor) -> Tensor:
    """Descriptors [N, D] brought to norm 1, in float32."""
    return nn.functional.normalize(raw.float(), dim=-1)
