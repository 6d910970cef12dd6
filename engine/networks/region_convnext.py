"""A ConvNeXt whose map is pooled by regions: the branch of FRGeo and of Sample4Geo.

See :mod:`engine.networks.convnext` for the body and :mod:`engine.networks.frm` for the pooling. The norm over the
pooled channels is called ``norm`` under the authors' names and ``head.norm`` under timm's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from engine.networks.convnext import ConvNeXt, Names, load_imagenet
from engine.networks.evidence import EvidenceKind
from engine.networks.frm import (
    EPS,
    Region,
    RegionNorm,
    divided,
    pool,
    region_descriptor,
    region_evidence,
)
from engine.networks.parts import Size
from engine.networks.pretrained import register_pretrained


class _Head(nn.Module):
    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm


class RegionConvNeXt(ConvNeXt):
    """Images [N, 3, H, W] to raw descriptors [N, R * C]: means over R regions, normed.

    Args:
        regions: how a map of h rows and w columns is divided, see :mod:`engine.networks.frm`.
        input_size: H and W.
        norm: see :class:`engine.networks.frm.RegionPool`; "layernorm" has parameters, which the others go without.
        depths, dims, names, more: see :class:`ConvNeXt`.
    """

    evidence_kind: EvidenceKind = "contributions"

    def __init__(
        self,
        regions: Callable[[int, int], list[Region]],
        input_size: Size,
        *,
        norm: RegionNorm = "layernorm",
        depths: Sequence[int],
        dims: Sequence[int],
        names: Names = "facebook",
        **more: Any,
    ) -> None:
        super().__init__(depths, dims, names=names, **more)
        if norm not in ("none", "l2", "layernorm"):
            raise ValueError(f'there is no norm "{norm}", only "none", "l2" and "layernorm"')
        self.input_size = input_size
        self.regions = regions
        self.rule: RegionNorm = norm
        self.dim = self.channels * len(regions(*self.map_size(input_size)))
        if norm == "layernorm":
            layer = nn.LayerNorm(self.channels, eps=EPS)
            if names == "timm":
                self.head = _Head(layer)
            else:
                self.norm = layer

    @property
    def _region_norm(self) -> nn.LayerNorm | RegionNorm:
        if self.rule != "layernorm":
            return self.rule
        return self.head.norm if hasattr(self, "head") else self.norm

    def forward(self, x: Tensor) -> Tensor:
        """Raw descriptors [N, R * C], not of norm 1."""
        x = self.feature_map(x)
        return region_descriptor(pool(x, divided(x, self.regions)), self._region_norm)

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`engine.networks.frm.region_evidence`."""
        x = self.feature_map(x)
        return region_evidence(x, divided(x, self.regions), self._region_norm)


# The norm over the pooled channels is a part of the published weights, and is taken where there is one.
register_pretrained(RegionConvNeXt)(load_imagenet)
