"""The distilled DeiT of TransGeo, whole or on a part of its patches.

Touvron et al., "Training data-efficient image transformers & distillation through attention" (2021), with parameter
names as in timm and github.com/Jeff-Zilence/TransGeo2022. Patches of 16 x 16 pixels become tokens, a class token and a
distillation token go before them, learned positions are added, and every block is

    x = x + attention(norm1(x)),    x = x + mlp(norm2(x)),    mlp = linear, GELU, linear.

After a last norm each of the two tokens has a linear head; the descriptor is the mean of both heads' outputs. An image
whose sides are no multiples of 16 loses what is left over on the right and below (616 columns are 38 patches).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.attention import Attention
from engine.networks.positions import Grid, resize_positions, square_grid
from engine.networks.pretrained import State, keep_known, register_pretrained

NORM_EPS = 1e-6
TOKENS = 2
"""The class token and the distillation token."""
Size = tuple[int, int]


class _Patches(nn.Module):
    """Images to the map of patches [N, C, H/patch, W/patch]."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class _Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    """Attention, then a perceptron, both around the tokens."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = _Mlp(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def with_weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [N, T, C] and attention [N, heads, T, T]."""
        attended, weights = self.attn.with_weights(self.norm1(x))
        x = x + attended
        return x + self.mlp(self.norm2(x)), weights


def kept_patches(attention: Tensor, grid: Grid, share: float) -> Tensor:
    """Which patches TransGeo's second stage keeps.

    Args:
        attention: [N, h, w] of any size; resized to ``grid`` bilinearly (``align_corners`` off).
        share: floor(share * places) are kept.

    Returns:
        Indices [N, kept] of the places with the highest attention, rising with it.
    """
    resized = F.interpolate(attention[:, None], size=grid, mode="bilinear", align_corners=False)
    count = int(share * grid[0] * grid[1])
    if count < 1:
        raise ValueError("a share this small keeps no patch")
    return resized.flatten(1).topk(count, dim=1, largest=True, sorted=True).indices.flip(1)


class DistilledVit(nn.Module):
    """Images [N, 3, H, W] to descriptors [N, D]: the whole network with its heads.

    Args:
        input_size: H and W, at least one patch each.
        dim, depth, heads, hidden, patch: DeiT-S by default.
        outputs: D, of each head; 0: there are no heads, and the mean of the two tokens is the descriptor.
    """

    def __init__(
        self,
        *,
        input_size: Sequence[int] = (224, 224),
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int | None = None,
        patch: int = 16,
        outputs: int = 1000,
    ) -> None:
        super().__init__()
        height, width = input_size
        self.input_size: Size = (int(height), int(width))
        self.patch = patch
        self.grid: Grid = self.map_size(self.input_size)
        if depth < 1 or outputs < 0:
            raise ValueError("there is at least one block, and no negative number of outputs")
        self.channels = dim
        self.dim = outputs or dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS + self.grid[0] * self.grid[1], dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.patch_embed = _Patches(dim, patch)
        self.blocks = nn.ModuleList(_Block(dim, heads, hidden or 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, outputs) if outputs else nn.Identity()
        self.head_dist = nn.Linear(dim, outputs) if outputs else nn.Identity()
        for token in (self.cls_token, self.pos_embed, self.dist_token):
            nn.init.trunc_normal_(token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def map_size(self, input_size: Size) -> Grid:
        """Rows and columns of patches for images of H and W."""
        grid = (input_size[0] // self.patch, input_size[1] // self.patch)
        if min(grid) < 1:
            raise ValueError(f"an image of {input_size[0]} x {input_size[1]} has no whole patch")
        return grid

    def _start(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Grid]:
        """Tokens [N, 2 + T, C] before the blocks and the grid; with ``keep`` [N, T] only those patches."""
        patches = self.patch_embed(x)
        grid = (int(patches.shape[2]), int(patches.shape[3]))
        positions = resize_positions(self.pos_embed, self.grid, grid, extra=TOKENS, mode="bilinear")
        first = torch.cat([self.cls_token, self.dist_token], dim=1) + positions[:, :TOKENS]
        places = patches.flatten(2).transpose(1, 2) + positions[:, TOKENS:]
        if keep is not None:
            places = places.gather(1, keep[:, :, None].expand(-1, -1, places.shape[2]))
        return torch.cat([first.expand(places.shape[0], -1, -1), places], dim=1), grid

    def tokens(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """All tokens after the last norm, [N, 2 + T, C]: class, distillation, then places row by row.

        Args:
            keep: indices [N, T] of the patches to read, others are left out; ``None``: all.
        """
        tokens, _ = self._start(x, keep)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def tokens_and_weights(self, x: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The tokens, and the last block's attention [N, heads, 2 + T, 2 + T]."""
        tokens, _ = self._start(x, keep)
        *inner, last = self.blocks
        for block in inner:
            tokens = block(tokens)
        tokens, weights = cast(_Block, last).with_weights(tokens)
        return self.norm(tokens), weights

    def heads_of(self, tokens: Tensor) -> Tensor:
        """Tokens after the last norm to raw descriptors [N, D]."""
        return (self.head(tokens[:, 0]) + self.head_dist(tokens[:, 1])) / 2

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Images to raw descriptors [N, D]; ``keep`` as for :meth:`tokens`."""
        return self.heads_of(self.tokens(x, keep))

    evidence_kind = "attention"

    def looked_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens, and how much class and distillation token look at every place in the last block, [N, h, w].

        The sum over heads and both tokens, as TransGeo's authors save it; at least 0.
        """
        tokens, weights = self.tokens_and_weights(x)
        seen = weights[:, :, :TOKENS, TOKENS:].sum(dim=(1, 2))
        return tokens, seen.unflatten(1, self.map_size((int(x.shape[2]), int(x.shape[3]))))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and attention [N, h, w]."""
        tokens, seen = self.looked_at(x)
        return F.normalize(self.heads_of(tokens).float(), dim=1), seen


@register_pretrained(DistilledVit)
def load_imagenet(network: DistilledVit, state: State, *, antialias: bool = False) -> None:
    """Lay the published ``deit_small_distilled_patch16_224`` into ``network``, as TransGeo's authors do.

    Positions are resized bilinearly, without antialiasing as torchvision did on tensors when their weights were made
    (``antialias=True``: as it does now). For descriptors that are not of 1000 numbers the class head's rows are
    repeated as often as needed, for both heads.
    """
    positions = resize_positions(
        state["pos_embed"],
        square_grid(int(state["pos_embed"].shape[1]) - TOKENS),
        network.grid,
        extra=TOKENS,
        mode="bilinear",
        antialias=antialias,
    )
    state = {**state, "pos_embed": positions}
    if isinstance(network.head, nn.Identity):
        keep_known(network, state, unused=("head.", "head_dist."))
        return
    rows = network.dim
    if rows != state["head.weight"].shape[0]:
        repeats = -(-rows // state["head.weight"].shape[0])
        weight = state["head.weight"].repeat(repeats, 1)[:rows]
        bias = state["head.bias"].repeat(repeats)[:rows]
        state |= {
            "head.weight": weight,
            "head.bias": bias,
            "head_dist.weight": weight,
            "head_dist.bias": bias,
        }
    keep_known(network, state)
