"""SALAD (Izquierdo & Civera 2024, "Optimal transport aggregation for visual place recognition") and MegaLoc's head.

Places are assigned to m clusters by optimal transport, with a dustbin for places that say nothing. With scores
s_k(p) from a small MLP and the dustbin's score z, the matrix S [m + 1, P] is scaled by Sinkhorn's iterations in
log space until its rows carry 1 each (the dustbin: P - m) and its columns 1 each, all over m + P:

    u = log a - logsumexp over p of (S + v);  v = log b - logsumexp over k of (S + u);  three times
    P_k(p) = (m + P) exp(S + u + v)

With local features f(p) [l] and the class token through an MLP t [g], the descriptor is

    V_k = sum over p of P_k(p) f(p);  d = (t/|t|, V_1/|V_1|, ..., V_m/|V_m|) / norm            [g + l * m]

where the clusters' numbers are ordered l-major. MegaLoc (Berton & Masone 2025, "MegaLoc: one retrieval to place them
all") puts a linear layer and a norm behind it. Names as the authors'.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.stages import (
    EVIDENCE_NUMBERS,
    L2Norm,
    by_cell,
    cells,
    coarser,
    sides,
    through,
)

SINKHORN_ROUNDS = 3
MEGALOC_CELLS = 36
"""Cells of MegaLoc's evidence: each costs a pass through its linear layer of 140 million weights."""


def matching(scores: Tensor, dustbin: Tensor, rounds: int = SINKHORN_ROUNDS) -> Tensor:
    """Logarithms of the transport [N, m + 1, P] for scores [N, m, P] and a dustbin's score, P > m."""
    clusters, places = int(scores.shape[1]), int(scores.shape[2])
    # Of any batch also where a graph is traced, which a tensor of zeros is not.
    bins = scores[:, :1] * 0.0 + dustbin
    augmented = torch.cat([scores, bins], dim=1)
    norm = -math.log(clusters + places)
    # What each row carries: as many as there are clusters carry 1, the dustbin the rest.
    carried = [norm] * clusters + [norm + math.log(places - clusters)]
    rows = torch.tensor(carried, dtype=scores.dtype, device=scores.device)
    u, v = rows, scores[:, 0] * 0.0
    for _ in range(rounds):
        u = rows - torch.logsumexp(augmented + v[:, None], dim=2)
        v = norm - torch.logsumexp(augmented + u[:, :, None], dim=1)
    return augmented + u[:, :, None] + v[:, None] - norm


class Salad(nn.Module):
    """A map [N, C, h, w] and a class token [N, C] to [N, g + l * m] of norm 1.

    Args:
        channels: C.
        clusters: m.
        cluster_dim: l.
        token_dim: g.
        hidden: width of the MLPs.
        dropout: in training, inside the MLPs of the places.
    """

    reads_token = True
    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        channels: int,
        *,
        clusters: int = 64,
        cluster_dim: int = 128,
        token_dim: int = 256,
        hidden: int = 512,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()

        def places(out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, hidden, 1),
                nn.Dropout(dropout),
                nn.ReLU(),
                nn.Conv2d(hidden, out, 1),
            )

        self.token_features = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, token_dim)
        )
        self.cluster_features = places(cluster_dim)
        self.score = places(clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        self.clusters = clusters
        self.dim = token_dim + cluster_dim * clusters

    def _read(self, feature_map: Tensor, token: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The token's numbers [N, g] of norm 1, local features [N, l, P] and transport [N, m, P]."""
        local = self.cluster_features(feature_map).flatten(2)
        scores = self.score(feature_map).flatten(2)
        moved = matching(scores, self.dust_bin).exp()[:, :-1]
        return F.normalize(self.token_features(token), p=2.0, dim=1), local, moved

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        whole, local, moved = self._read(feature_map, token)
        sums = torch.matmul(local, moved.transpose(1, 2))  # [N, l, m]
        sums = F.normalize(sums, p=2.0, dim=1).flatten(1)
        return F.normalize(torch.cat([whole, sums], dim=1), p=2.0, dim=1)

    def parts(self, feature_map: Tensor, token: Tensor, limit: int = EVIDENCE_NUMBERS) -> Tensor:
        """What the cells of a grid add to the descriptor [N, D, rows, columns].

        The class token comes from no place: every cell has the same share of its numbers.
        """
        size = sides(feature_map)
        grid = coarser(size, self.dim, limit)
        members = cells(size, grid).to(feature_map.device)
        whole, local, moved = self._read(feature_map, token)
        split = by_cell(moved, members).transpose(2, 3)  # [N, G, q, m]
        sums = torch.matmul(by_cell(local, members), split)  # [N, G, l, m]
        norm = sums.sum(1, keepdim=True).norm(dim=2, keepdim=True).clamp_min(1e-12)
        sums = (sums / norm).flatten(2)
        count = grid[0] * grid[1]
        spread = whole[:, None] * whole.new_full((1, count, 1), 1.0 / count)
        flat = torch.cat([spread, sums], dim=2)
        return through(L2Norm(), flat.transpose(1, 2).unflatten(2, grid))

    def evidence(self, feature_map: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor and its parts."""
        parts = self.parts(feature_map, token)
        return parts.sum((2, 3)), parts


class MegaLocHead(nn.Module):
    """SALAD, a linear layer to D numbers, norm 1.

    Args:
        channels: C.
        dim: D.
        options: of :class:`Salad`.
    """

    reads_token = True
    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self, channels: int, *, dim: int = 8448, cluster_dim: int = 256, **options: Any
    ) -> None:
        super().__init__()
        self.agg = Salad(channels, cluster_dim=cluster_dim, **options)
        self.linear = nn.Linear(self.agg.dim, dim)
        self.dim = dim

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        return F.normalize(self.linear(self.agg(feature_map, token)), p=2.0, dim=1)

    def evidence(self, feature_map: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor and what the cells of a coarse grid add to it [N, D, rows, columns]."""
        limit = min(EVIDENCE_NUMBERS, MEGALOC_CELLS * self.agg.dim)
        parts = through(self.linear, self.agg.parts(feature_map, token, limit))
        parts = through(L2Norm(), parts)
        return parts.sum((2, 3)), parts


def enough_places(map_size: Size, clusters: int) -> None:
    """Refuse, with a ValueError, a map with fewer places than clusters and a dustbin need."""
    places = map_size[0] * map_size[1]
    if places <= clusters:
        raise ValueError(f"{places} places are too few for {clusters} clusters and a dustbin")


@register_aggregation("salad")
def _salad(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    head = Salad(channels, **options)
    enough_places(map_size, head.clusters)
    return head


@register_aggregation("megaloc")
def _megaloc(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    head = MegaLocHead(channels, **options)
    enough_places(map_size, head.agg.clusters)
    return head
