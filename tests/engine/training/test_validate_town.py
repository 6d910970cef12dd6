"""The heading that a validation finds is the heading of the photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.networks import DualEncoder
from engine.training.recipes import Recipe
from engine.training.sections import (
    CanvasSection,
    NetworkSection,
    OptimiserSection,
    QuerySection,
    TileSection,
    ValidationSection,
)
from engine.training.validate_town import TownValidation
from tests.engine.training.test_batch import landmark_town


class WhereRedIs(nn.Module):
    """Says at which column the red post stands: as one direction, or as one block by bearing."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        red = (x[:, 0] - x[:, 1]).clamp_min(0).sum(1)  # [N, W]
        if self.blocks > 1:
            return red.unflatten(1, (self.blocks, -1)).sum(2) + 1e-3
        angle = (torch.arange(red.shape[1]) + 0.5) / red.shape[1] * 2 * np.pi
        return torch.stack([(red * angle.cos()).sum(1), (red * angle.sin()).sum(1)], 1)


@pytest.mark.parametrize(("blocks", "subshifts"), [(1, 16), (1, 64), (32, 2)])
def test_the_heading_found_is_the_photo_s(tmp_path: Path, blocks: int, subshifts: int) -> None:
    town = landmark_town(tmp_path, 70.0)
    recipe = Recipe(
        "x",
        network=NetworkSection(azimuth_blocks=blocks),
        # The only tile of the grid is the one about the photo.
        tile=TileSection(extent_m=198.0, pixels=198),
        canvas=CanvasSection(query_subshifts=subshifts),
        query=QuerySection(full_share=1.0),
        optimiser=OptimiserSection(precision="fp32"),
        validation=ValidationSection(queries=1, pictures=0),
    )
    several = replace(
        town, panoramas=np.repeat(town.panoramas, 5, 0), positions=np.repeat(town.positions, 5, 0)
    )
    validation = TownValidation(
        several, replace(recipe, validation=replace(recipe.validation, queries=5))
    )
    model = DualEncoder(WhereRedIs(blocks), WhereRedIs(blocks))
    measured = validation.measure(model, pictures=None, step=0)
    assert measured["tiles"] == 1
    error = measured["queries"]["360 unknown"]["median_heading_error_deg"]
    assert error <= 360 / (blocks * subshifts) / 2 + 1
