"""NetVLAD and CRN: residuals to a dictionary.

NetVLAD (Arandjelović et al. 2016, "NetVLAD: CNN architecture for weakly supervised place recognition"): with the
local vectors x_p [C] of norm 1, clusters k with centroids c_k and assignment weights w_k,

    a_k(p) = softmax over k of (w_k . x_p)          soft assignment
    V_k    = sum over p of a_k(p) (x_p - c_k)       residuals
    f      = (V_1/|V_1|, ..., V_K/|V_K|) / sqrt(K)  [K * C]

CRN (Kim et al. 2017, "Learned contextual feature reweighting for image geo-localization") multiplies a_k(p) by a mask
m(p), which three convolutions of different reach compute from the map at half its size.

The dictionary starts from data (:meth:`NetVlad.initialise`): centroids are the k-means centres of local vectors of
training images, and the assignment is w_k = alpha c_k/|c_k| with alpha such that the nearest centre weighs a hundred
times the second nearest on average, alpha = ln(100) / mean over vectors of (largest - second largest c_k/|c_k| . x).
Parameter names and arithmetic follow the deep visual geo-localization benchmark (Berton et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind
from engine.networks.parts import Side, Size, register_aggregation
from engine.networks.street.pooling import with_fc
from engine.networks.street.stages import by_cell, cells, coarser, sides

KMEANS_ROUNDS = 100
KMEANS_SEED = 1234
"""faiss' own, which the benchmark leaves as it is."""


class NetVlad(nn.Module):
    """Maps [N, C, h, w] to [N, K * C] of norm 1.

    Args:
        channels: C.
        clusters: K.
        tokens: the assignment's weights are called and shaped as for token sequences, [K, C, 1].
        frozen: the dictionary (centroids and assignment) does not learn.
    """

    def __init__(
        self, channels: int, *, clusters: int = 64, tokens: bool = False, frozen: bool = False
    ) -> None:
        super().__init__()
        layer = nn.Conv1d if tokens else nn.Conv2d
        self.conv = layer(channels, clusters, 1, bias=False)
        self.centroids = nn.Parameter(torch.rand(clusters, channels))
        self.clusters = clusters
        self.dim = clusters * channels
        if frozen:
            self.conv.requires_grad_(False)
            self.centroids.requires_grad_(False)

    def _assigned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Local vectors of norm 1 [N, C, P] and assignments [N, K, P]."""
        x = F.normalize(x, p=2.0, dim=1)
        local = x.flatten(2)
        assigned = F.softmax(torch.matmul(self.conv.weight.flatten(1), local), dim=1)
        return local, self._weighed(assigned, x)

    def _weighed(self, assigned: Tensor, x: Tensor) -> Tensor:
        return assigned

    def forward(self, x: Tensor) -> Tensor:
        local, assigned = self._assigned(x)
        # sum of a (x - c) = sum of a x, less the sum of a, times c: no residual is ever stored.
        residuals = torch.matmul(assigned, local.transpose(1, 2))
        residuals = residuals - assigned.sum(2, keepdim=True) * self.centroids
        return F.normalize(F.normalize(residuals, p=2.0, dim=2).flatten(1), p=2.0, dim=1)

    evidence_kind: EvidenceKind = "contributions"

    def parts(self, x: Tensor) -> Tensor:
        """Residuals of every cell of a grid [N, K * C, rows, columns], the norms divided out; they sum to the
        descriptor.

        The grid is coarser than the map where the map would be too many numbers.
        """
        size = sides(x)
        grid = coarser(size, self.dim)
        members = cells(size, grid).to(x.device)
        local, assigned = self._assigned(x)
        split = by_cell(assigned, members)  # [N, G, K, q]
        residuals = torch.matmul(split, by_cell(local, members).transpose(2, 3))
        residuals = residuals - split.sum(3, keepdim=True) * self.centroids  # [N, G, K, C]
        whole = residuals.sum(1)
        norms = whole.norm(dim=2, keepdim=True).clamp_min(1e-12)
        norms = norms * (whole / norms).flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-12)
        parts = (residuals / norms[:, None]).flatten(2)  # [N, G, K * C]
        return parts.transpose(1, 2).unflatten(2, grid)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The descriptor [N, K * C] and its parts."""
        parts = self.parts(x)
        return parts.sum((2, 3)), parts

    def start_from(self, centroids: NDArray[np.float32], vectors: NDArray[np.float32]) -> float:
        """Set the dictionary from centroids [K, C] and the vectors [M, C] of norm 1 that they stand for.

        Returns:
            alpha, the sharpness of the assignment.

        Raises:
            ValueError: every vector is as near to its second centre as to its first.
        """
        directions = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
        near = np.partition(directions @ vectors.T, -2, axis=0)[-2:]
        gap = float(np.mean(near[1] - near[0]))
        if not gap > 0:
            raise ValueError(
                "the training images are all alike: their local vectors make no clusters"
            )
        alpha = -math.log(0.01) / gap
        with torch.no_grad():
            self.centroids.copy_(torch.from_numpy(centroids))
            weight = torch.from_numpy((alpha * directions).astype(np.float32))
            self.conv.weight.copy_(weight.view_as(self.conv.weight))
        return alpha

    @torch.no_grad()
    def initialise(self, vectors: Tensor, seed: int = KMEANS_SEED) -> float:
        """Cluster local vectors [M, C] by k-means and start from the centres; returns alpha.

        Raises:
            ValueError: there are fewer vectors than clusters, or they make no clusters.
        """
        values = F.normalize(vectors.float(), dim=1).cpu().numpy()
        count, channels = values.shape
        if count < self.clusters:
            raise ValueError(f"{count} local vectors cannot make {self.clusters} clusters")
        kmeans = faiss.Kmeans(
            channels, self.clusters, niter=KMEANS_ROUNDS, seed=seed, min_points_per_centroid=1
        )
        kmeans.train(np.ascontiguousarray(values))
        return self.start_from(np.asarray(kmeans.centroids, dtype=np.float32), values)


class ContextMask(nn.Module):
    """The reweighting mask of CRN: maps [N, C, h, w] to [N, 1, h, w], at least 0.

    The map at half size goes through filters of 3, 5 and 7 places (32, 32 and 20 of them), a ReLU, a weighted sum
    (which the authors fixed to the plain sum) with a ReLU, and is brought back to full size bilinearly.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filter_3_3 = nn.Conv2d(channels, 32, 3, padding=1)
        self.filter_5_5 = nn.Conv2d(channels, 32, 5, padding=2)
        self.filter_7_7 = nn.Conv2d(channels, 20, 7, padding=3)
        self.acc_w = nn.Conv2d(84, 1, 1)
        for layer in (self.filter_3_3, self.filter_5_5, self.filter_7_7):
            nn.init.xavier_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        assert self.acc_w.bias is not None
        nn.init.ones_(self.acc_w.weight)
        nn.init.zeros_(self.acc_w.bias)
        self.acc_w.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        half = F.avg_pool2d(x, 3, 2, ceil_mode=True)
        filters = (self.filter_3_3, self.filter_5_5, self.filter_7_7)
        context = F.relu(torch.cat([layer(half) for layer in filters], dim=1))
        mask = F.relu(self.acc_w(context))
        return F.interpolate(mask, scale_factor=2.0, mode="bilinear", align_corners=False)


class Crn(NetVlad):
    """NetVLAD whose assignments are reweighted by their context. The map must have even sides.

    The benchmark starts it from a trained NetVLAD.
    """

    def __init__(self, channels: int, *, clusters: int = 64, frozen: bool = False) -> None:
        super().__init__(channels, clusters=clusters, frozen=frozen)
        self.crn = ContextMask(channels)

    def _weighed(self, assigned: Tensor, x: Tensor) -> Tensor:
        return assigned * self.crn(x).flatten(2)


@register_aggregation("netvlad")
def _netvlad(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return build_netvlad(channels, **options)


def build_netvlad(channels: int, *, fc_dim: int | None = None, **options: Any) -> nn.Module:
    """NetVLAD, and a linear layer to ``fc_dim`` numbers if it is given."""
    return with_fc(NetVlad(channels, **options), fc_dim)


@register_aggregation("crn")
def _crn(options: Mapping[str, Any], *, side: Side, channels: int, map_size: Size) -> nn.Module:
    return build_crn(channels, map_size, **options)


def build_crn(
    channels: int, map_size: Size, *, fc_dim: int | None = None, **options: Any
) -> nn.Module:
    """CRN for maps of even sides, and a linear layer to ``fc_dim`` numbers if it is given."""
    if map_size[0] % 2 or map_size[1] % 2:
        raise ValueError(f"CRN needs a map of even sides, not {map_size[0]} x {map_size[1]}")
    return with_fc(Crn(channels, **options), fc_dim)
