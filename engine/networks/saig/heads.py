"""What makes one descriptor of SAIG's map: GAP, SMD, and the heads its repository compares them with.

Every head takes the map [N, C, h, w] and gives [N, D], so it also serves other backbones; parameter names are those of
the official branches. P = h w is the number of places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.evidence import EvidenceKind

Grid = tuple[int, int]


class Gap(nn.Module):
    """The mean over the places; D = C."""

    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, *, channels: int, map_size: Grid) -> None:
        super().__init__()
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(dim=2)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and the share of every place, [N, C, h, w]."""
        x = x.float()
        return _normed(x / (x.shape[2] * x.shape[3]))


class Smd(nn.Module):
    """Spatial-mixed feature aggregation: every channel's P places through one small perceptron to K numbers.

    y = W3 (W2 gelu(W1 x + b1) + b2) + b3 with W1 4P x P, W2 P x 4P, W3 K x P; D = K C, element k C + c. A place's part
    cannot be told from the others' (the GELU mixes all), so evidence is the backbone's attention.
    """

    def __init__(
        self, *, channels: int, map_size: Grid, maps: int = 8, hidden: int | None = None
    ) -> None:
        super().__init__()
        if maps < 1:
            raise ValueError("SMD gives at least one map")
        places = map_size[0] * map_size[1]
        hidden = 4 * places if hidden is None else hidden
        self.dim = maps * channels
        self.linear1 = nn.Linear(places, hidden)
        self.linear2 = nn.Linear(hidden, places)
        self.linear3 = nn.Linear(places, maps)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.linear2(F.gelu(self.linear1(x.flatten(2))))
        return self.linear3(mixed).transpose(1, 2).flatten(1)


class _Power(nn.Module):
    """Holds GeM's exponent under its official name."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))


class Gem(nn.Module):
    """Generalised mean: (mean over the places of max(x, 1e-6)^p)^(1/p) with a learned p; D = C."""

    EPS = 1e-6
    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, *, channels: int, map_size: Grid, p: float = 3.0) -> None:
        super().__init__()
        self.dim = channels
        self.pooling = _Power(p)

    def forward(self, x: Tensor) -> Tensor:
        p = self.pooling.p
        return x.clamp(min=self.EPS).pow(p).flatten(2).mean(dim=2).pow(1.0 / p)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and the share of every place, [N, C, h, w]: x^p over the sum of x^p, times the mean."""
        p = self.pooling.p
        powers = x.float().clamp(min=self.EPS).pow(p)
        mean = powers.mean(dim=(2, 3), keepdim=True)
        places = x.shape[2] * x.shape[3]
        return _normed(powers / (mean * places) * mean.pow(1.0 / p))


class ReduceDim(nn.Module):
    """Means of 2 x 2 places, a linear layer to few channels, all places one after another; D = d P / 4.

    Element (row * columns + column) d + c. Places are not mixed, so the descriptor is bound to them.
    """

    def __init__(self, *, channels: int, map_size: Grid, reduced: int = 48) -> None:
        super().__init__()
        self.dim = reduced * (map_size[0] // 2) * (map_size[1] // 2)
        if self.dim < 1:
            raise ValueError("the map is too small for means of 2 x 2")
        self.reduceLinear = nn.Conv2d(channels, reduced, 1)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduceLinear(F.avg_pool2d(x, 2))
        return reduced.permute(0, 2, 3, 1).flatten(1)


class _SpatialAware(nn.Module):
    """SAFA's position maps: the mean over the channels [N, P] through K pairs of linear layers, [N, P, K]."""

    def __init__(self, places: int, maps: int) -> None:
        super().__init__()
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Linear(places, places // 2), nn.Linear(places // 2, places))
            for _ in range(maps)
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=1)
        return torch.stack([layer(mean) for layer in self.fc], dim=2)


class SafaHead(nn.Module):
    """SAFA's pooling as SAIG's repository has it, over means of 2 x 2 places.

    K weight maps w_k are made from the map's mean over channels; y_k = sum over places of w_k x; D = K C, element
    k C + c. No non-linearity stands between the two layers, as in SAFA.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(self, *, channels: int, map_size: Grid, maps: int = 8) -> None:
        super().__init__()
        places = (map_size[0] // 2) * (map_size[1] // 2)
        if places < 2 or maps < 1:
            raise ValueError("the map is too small for means of 2 x 2, or there are no maps")
        self.dim = maps * channels
        self.spatial_aware = _SpatialAware(places, maps)

    def forward(self, x: Tensor) -> Tensor:
        flat = F.avg_pool2d(x, 2).flatten(2)
        return (flat @ self.spatial_aware(flat)).transpose(1, 2).flatten(1)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and the share of every 2 x 2 places, [N, K C, h/2, w/2]."""
        pooled = F.avg_pool2d(x.float(), 2)
        flat = pooled.flatten(2)
        weights = self.spatial_aware(flat).transpose(1, 2)  # [N, K, P]
        parts = (weights[:, :, None] * flat[:, None]).flatten(1, 2)  # [N, K C, P]
        return _normed(parts.unflatten(2, tuple(pooled.shape[2:])))


def _normed(parts: Tensor) -> tuple[Tensor, Tensor]:
    """Parts [N, D, h, w] whose sum is the raw descriptor, to the descriptor of norm 1 and its parts."""
    total = parts.sum(dim=(2, 3))
    norm = total.square().sum(dim=1, keepdim=True).clamp_min(1e-24).sqrt()
    return total / norm, parts / norm[:, :, None, None]
