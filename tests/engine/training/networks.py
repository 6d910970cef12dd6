"""Small networks for tests of the loop: no batch norms, so that a batch may be cut up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engine.networks import DualEncoder, register_network


class Patches(nn.Module):
    """Patches, a norm over their channels, dropout, the mean."""

    def __init__(self, input_size: tuple[int, int], dim: int, drop: float) -> None:
        super().__init__()
        self.input_size, self.dim = input_size, dim
        self.patches = nn.Conv2d(3, dim, 16, 16)
        self.norm = nn.GroupNorm(1, dim)
        self.drop = nn.Dropout(drop)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(self.patches(x)).relu().flatten(2).mean(2)))


@register_network("test-patches")
def build(options: Mapping[str, Any]) -> DualEncoder:
    dim, drop = options.get("dim", 12), options.get("drop", 0.0)
    sizes = options["query_size"], options["reference_size"]
    query, reference = (Patches(tuple(size), dim, drop) for size in sizes)
    return DualEncoder(query, reference)
