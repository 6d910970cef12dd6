"""Heads as stages, through which the parts of a descriptor can be followed.

A head is a row of stages: something done to the map, a pooling, something done to the pooled vector. Where the pooling
is a sum over places, possibly with a factor for every channel that depends on the whole, it can give its *parts*
[N, D, h, w], which sum to the pooled vector exactly. What comes after (a linear layer, a division by the norm) is
linear once the norms are known, so it is done to the parts, and they still sum to the descriptor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind

EVIDENCE_NUMBERS = 1 << 21
"""Numbers of evidence for one image at most (8 MB): where there would be more, places are summed to coarser ones."""


class L2Norm(nn.Module):
    """Channels brought to norm 1: of a vector [N, D], or at every place of a map [N, C, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, p=2.0, dim=1)


class Flatten(nn.Module):
    """Nothing: poolings here give vectors [N, D]. It keeps the place that the authors' layer of this name has in the
    numbering of parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return x


@runtime_checkable
class Additive(Protocol):
    """A pooling that gives the parts of what it pools."""

    def parts(self, x: Tensor) -> Tensor:
        """[N, D, h, w], whose sum over the places is ``forward(x)``, exactly."""
        ...


def sides(x: Tensor) -> tuple[int, int]:
    """h and w of a map, as plain numbers also where a graph is traced: only the batch is of any size there."""
    return int(x.shape[2]), int(x.shape[3])


def coarser(map_size: tuple[int, int], dim: int, limit: int = EVIDENCE_NUMBERS) -> tuple[int, int]:
    """Rows and columns of the finest grid, of about the map's proportions, with at most ``limit`` numbers."""
    height, width = map_size
    share = min(1.0, (limit / (dim * height * width)) ** 0.5)
    return max(1, int(height * share)), max(1, int(width * share))


def cells(map_size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Which places of a map each cell of a grid has: int64 [rows * columns, most], filled up with h * w, which is none.

    Every place is in one cell.
    """
    rows, columns = (
        torch.arange(size) * count // size for size, count in zip(map_size, grid, strict=True)
    )
    cell_of = (rows[:, None] * grid[1] + columns).flatten()
    members = [torch.nonzero(cell_of == cell)[:, 0] for cell in range(grid[0] * grid[1])]
    return nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=len(cell_of))


def by_cell(places: Tensor, members: Tensor) -> Tensor:
    """Places [N, C, P] by the cells that :func:`cells` gave: [N, cells, C, most], 0 where a cell has fewer."""
    return F.pad(places, (0, 1))[:, :, members].transpose(1, 2)


def through(stage: nn.Module, parts: Tensor) -> Tensor:
    """What ``stage`` makes of the parts of its input: parts of its output."""
    if isinstance(stage, L2Norm):
        norm = parts.sum((2, 3)).norm(dim=1).clamp_min(1e-12)
        return parts / norm[:, None, None, None]
    if isinstance(stage, nn.Linear):
        out = F.conv2d(parts, stage.weight[:, :, None, None])
        if stage.bias is not None:
            # The bias comes from no place: every place has the same share of it.
            height, width = sides(parts)
            out = out + stage.bias[:, None, None] / (height * width)
        return out
    if isinstance(stage, Flatten | nn.Identity):
        return parts
    raise TypeError(f"nobody knows how parts pass a {type(stage).__name__}")


class Head(nn.Module):
    """Stages in a row. ``forward`` takes the map [N, C, h, w] and gives [N, D].

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def stages(self) -> Sequence[nn.Module]:
        """The stages in their order."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages():
            x = stage(x)
        return x


class AdditiveHead(Head):
    """A head with a pooling that is :class:`Additive`."""

    evidence_kind: EvidenceKind = "contributions"

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor [N, D] of norm 1, and what each place adds to it [N, D, h, w]."""
        parts: Tensor | None = None
        for stage in self.stages():
            if parts is not None:
                parts = through(stage, parts)
            elif isinstance(stage, Additive):
                parts = stage.parts(x)
            else:
                x = stage(x)
        assert parts is not None
        parts = through(L2Norm(), parts)
        return parts.sum((2, 3)), parts


class Chain(Head):
    """A head whose stages are its children, numbered, as in ``nn.Sequential``; they may be heads themselves."""

    def __init__(self, dim: int, stages: Iterable[nn.Module]) -> None:
        super().__init__(dim)
        for index, stage in enumerate(stages):
            self.add_module(str(index), stage)

    def stages(self) -> Sequence[nn.Module]:
        flat: list[nn.Module] = []
        for child in self.children():
            flat.extend(child.stages() if isinstance(child, Head) else [child])
        return flat


class AdditiveChain(Chain, AdditiveHead):
    """A chain with a pooling that is :class:`Additive`."""


def chain(dim: int, stages: Sequence[nn.Module]) -> Chain:
    """The chain of these stages, with evidence where its pooling gives it."""
    made = Chain(dim, stages)
    if any(isinstance(stage, Additive) for stage in made.stages()):
        return AdditiveChain(dim, stages)
    return made
