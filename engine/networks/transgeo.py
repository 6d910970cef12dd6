"""TransGeo: a transformer for each view, and tiles that are read again where they matter.

Zhu, Shah, Chen: "TransGeo: Transformer Is All You Need for Cross-view Image Geo-localization" (CVPR 2022); parameter
names as in github.com/Jeff-Zilence/TransGeo2022.

Stage 1 is two :class:`engine.networks.deit.DistilledVit`. When it is trained, the authors run its reference branch over
all tiles at stage 1's resolution and save what the last block's class and distillation tokens look at, summed over
heads, each map divided by its maximum, as 8-bit PNG. Stage 2 continues from stage 1's weights with tiles of higher
resolution (320 after 256 on CVUSA, 400 after 320 on VIGOR), of which it reads the 64 % of patches that the saved map,
resized to the patch grid, ranks highest. Their test reads the PNGs again: without stage 1's maps stage 2 is incomplete.

Here one reference branch does both (:class:`CroppedBranch`): it makes the map and then the descriptor, so one graph is
exported. Where the map comes from:

- ``guide_size`` given: from stage 1's network, which lies inside as ``reference_net.guide.*`` and reads the tile at its
  own resolution. This is what the authors' test does, save for two roundings: the tile reaches stage 1 resized
  from stage 2's input instead of the file, and the map is not rounded to 8 bits (which makes ties, and the order of
  ties is the sorting routine's). :func:`join_stages` makes such weights from the two checkpoints.
- else: from the branch itself, which reads all patches once for the map and then the kept ones. A published stage-2
  checkpoint alone has no other way; its weights differ from stage 1's by a fine-tuning at a tenth of the rate.

A map from elsewhere can be handed to :meth:`CroppedBranch.forward`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.networks.deit import TOKENS, DistilledVit, kept_patches
from engine.networks.dual import DualEncoder
from engine.networks.parts import Side, build_aggregation, compose, register_backbone
from engine.networks.positions import resize_matrix, resize_positions, square_grid
from engine.networks.pretrained import State, register_pretrained
from engine.networks.registry import register_network

KEEP = 0.64
NAMES = ("query_net", "reference_net")
GUIDE = "guide."


class CroppedBranch(DistilledVit):
    """Stage 2's reference branch: reads the patches that matter.

    Args:
        share: of the patches that are kept (0.53, 0.64 and 0.79 leave as many of 352, 320 and 288 pixels as the whole
            of 256 has).
        guide_size: H and W of stage 1's network, which is then part of this one; ``None``: it guides itself.
        options: of :class:`engine.networks.deit.DistilledVit`, for both.
    """

    guide_rows: Tensor
    guide_columns: Tensor

    def __init__(
        self, *, share: float = KEEP, guide_size: Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not 0 < share <= 1:
            raise ValueError("the share of patches to keep lies between 0 and 1")
        self.share = share
        self.guide: DistilledVit | None = None
        if guide_size is not None:
            self.guide = DistilledVit(**{**options, "input_size": guide_size})
            # The map is a given: stage 2's loss does not reach stage 1.
            self.guide.requires_grad_(False)
            for name, here, there in zip(
                ("guide_rows", "guide_columns"), self.input_size, guide_size, strict=True
            ):
                self.register_buffer(name, resize_matrix(here, there), persistent=False)

    def map_for(self, x: Tensor) -> Tensor:
        """The map [N, h, w] by which patches are kept, without a gradient."""
        with torch.no_grad():
            if self.guide is None:
                return self.looked_at(x)[1]
            resized = self.guide_rows @ x @ self.guide_columns.T
            return self.guide.looked_at(resized)[1]

    def _keep(self, x: Tensor, attention: Tensor | None) -> tuple[Tensor, Tensor]:
        if attention is None:
            attention = self.map_for(x)
        grid = self.map_size((int(x.shape[2]), int(x.shape[3])))
        return attention, kept_patches(attention.detach(), grid, self.share)

    def forward(self, x: Tensor, attention: Tensor | None = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Images to raw descriptors [N, D].

        Args:
            attention: maps [N, h, w] of any size to keep patches by; ``None``: :meth:`map_for` makes them.
        """
        _, keep = self._keep(x, attention)
        return self.heads_of(self.tokens(x, keep))

    def evidence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptors of norm 1 and attention [N, h, w] of the two tokens to the kept patches, 0 at the others."""
        _, keep = self._keep(x, None)
        tokens, weights = self.tokens_and_weights(x, keep)
        seen = weights[:, :, :TOKENS, TOKENS:].sum(dim=(1, 2))
        grid = self.map_size((int(x.shape[2]), int(x.shape[3])))
        everywhere = seen.new_zeros(1, grid[0] * grid[1]).expand(x.shape[0], -1)
        attention = everywhere.scatter(1, keep, seen).unflatten(1, grid)
        return F.normalize(self.heads_of(tokens).float(), dim=1), attention


class TokensBackbone(nn.Module):
    """TransGeo's transformer without heads as a backbone: patches as the map [N, C, h, w], class token beside it.

    Feature recombination over it is the FRGeo paper's "TransGeo stage 1 with FRM".

    Args:
        options: of :class:`engine.networks.deit.DistilledVit`; ``input_size`` says for which images the positions are
            learned.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.vit = DistilledVit(outputs=0, **options)
        self.channels = self.vit.channels

    def map_size(self, input_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the map for images of H and W."""
        return self.vit.map_size(input_size)

    def _split(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        grid = self.map_size((int(x.shape[2]), int(x.shape[3])))
        return tokens[:, TOKENS:].transpose(1, 2).unflatten(2, grid), tokens[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """The map [N, C, h, w] after the last norm."""
        return self._split(self.vit.tokens(x), x)[0]

    def map_and_token(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map and the class token [N, C]."""
        return self._split(self.vit.tokens(x), x)

    def attention(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map, the class token, and the class token's attention in the last block, mean over heads [N, h, w]."""
        tokens, weights = self.vit.tokens_and_weights(x)
        feature_map, token = self._split(tokens, x)
        seen = weights[:, :, 0, TOKENS:].mean(dim=1)
        return feature_map, token, seen.unflatten(1, self.map_size((x.shape[2], x.shape[3])))


class SecondStage(DualEncoder):
    """Both branches of stage 2. The weights it starts from are stage 1's, see :func:`load_first_stage`."""


@register_pretrained(SecondStage)
def load_first_stage(model: SecondStage, state: State) -> None:
    """Start stage 2 from stage 1's state dict, as the authors do; where the reference branch has a guide, that is
    stage 1's reference network from then on."""
    reference = model.reference
    assert isinstance(reference, CroppedBranch)
    inside = f"{NAMES[1]}."
    places = int(state[f"{inside}pos_embed"].shape[1]) - TOKENS
    start = second_stage_start(state, square_grid(places), reference.grid)
    model.load_state_dict(join_stages(state, start) if reference.guide is not None else start)


def transgeo(
    *,
    query_size: Sequence[int] = (112, 616),
    reference_size: Sequence[int] = (256, 256),
    stage: int = 1,
    head: str | None = None,
    head_options: Mapping[str, Any] | None = None,
    share: float = KEEP,
    guide_size: Sequence[int] | None = None,
    **both: Any,
) -> DualEncoder:
    """Two branches, ``query_net`` and ``reference_net``.

    Args:
        query_size, reference_size: H and W; CVUSA and CVACT have 112 x 616 and 256 x 256 (stage 2: 320 x 320), VIGOR
            320 x 640 and 320 x 320 (stage 2: 400 x 400).
        stage: 1, or 2: tiles are read where they matter.
        head: ``None``: TransGeo's own; else a registered aggregation over the patches, such as "frm" (stage 1 only).
        share, guide_size: of :class:`CroppedBranch`, stage 2 only.
        both: of :class:`engine.networks.deit.DistilledVit`, such as ``outputs`` (D) or a smaller ``depth``.
    """
    if stage not in (1, 2):
        raise ValueError(f"TransGeo has stages 1 and 2, not {stage}")
    if stage == 1 and guide_size is not None:
        raise ValueError("only stage 2 has a guide")
    if head is not None:
        if stage == 2:
            raise ValueError("stage 2 leaves no map of patches, so it keeps TransGeo's own head")
        return DualEncoder(
            _with_head("query", query_size, head, head_options, both),
            _with_head("reference", reference_size, head, head_options, both),
            names=NAMES,
        )
    query = DistilledVit(input_size=query_size, **both)
    if stage == 1:
        return DualEncoder(query, DistilledVit(input_size=reference_size, **both), names=NAMES)
    reference = CroppedBranch(input_size=reference_size, share=share, guide_size=guide_size, **both)
    return SecondStage(query, reference, names=NAMES)


def _with_head(
    side: Side,
    size: Sequence[int],
    head: str,
    head_options: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> nn.Module:
    backbone = TokensBackbone(input_size=size, **options)
    aggregation = build_aggregation(
        head,
        head_options,
        side=side,
        channels=backbone.channels,
        map_size=backbone.map_size((size[0], size[1])),
    )
    return compose(backbone, aggregation, input_size=(size[0], size[1]))


def join_stages(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stage 2's weights with stage 1's reference network inside, for ``guide_size``.

    Args:
        first, second: state dicts of both stages, under their official names without ``module.``.
    """
    inside = f"{NAMES[1]}."
    return {
        **second,
        **{
            f"{inside}{GUIDE}{name.removeprefix(inside)}": value
            for name, value in first.items()
            if name.startswith(inside)
        },
    }


def second_stage_start(
    first: Mapping[str, Tensor], old: tuple[int, int], new: tuple[int, int]
) -> dict[str, Tensor]:
    """What stage 2 starts from: stage 1's weights with the reference branch's positions resized bilinearly, without
    antialiasing, from grid ``old`` to grid ``new``."""
    name = f"{NAMES[1]}.pos_embed"
    positions = resize_positions(first[name], old, new, extra=TOKENS, mode="bilinear")
    return {**first, name: positions}


@register_network("transgeo")
def _build(options: Mapping[str, Any]) -> DualEncoder:
    return transgeo(**options)


@register_network("deit-branch")
def _build_one(options: Mapping[str, Any]) -> DualEncoder:
    """One :class:`engine.networks.deit.DistilledVit` for both sides, ``model.*``: published ImageNet weights."""
    branch = DistilledVit(**options)
    return DualEncoder(branch, branch, names=("model", "model"))


@register_backbone("deit")
def _deit(options: Mapping[str, Any]) -> nn.Module:
    return TokensBackbone(**options)
