"""Augmentations by recipe: nothing changes where nothing is asked for, and only what is asked for elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import TrainingError
from engine.training.batch import Part
from engine.training.cache import open_towns
from engine.training.recipes import Recipe, recipe_from_dict
from engine.training.sections import AugmentSection
from engine.training.towns import TownPairs
from engine.training.variation import OPERATIONS, draw_variation, random_cut, random_operations


def test_nothing_is_drawn_where_nothing_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    assert draw_variation(AugmentSection(), rng, 0) is None
    assert rng.random() == np.random.default_rng(1).random()


def batch_of(towns: Path, recipe: Recipe, part: Part | None = None):
    source = TownPairs(open_towns(towns, "train"), recipe)
    return source.make(np.arange(6), np.random.default_rng(3), part or Part())


def test_photos_of_towns_are_covered_and_recoloured_and_tiles_left_alone(
    towns: Path, tiny: Recipe
) -> None:
    how = AugmentSection(sides="photos", contrast=0.5, occlude_share=1.0, occlude_area=(0.2, 0.3))
    varied = replace(tiny, augment=how)
    before, after = batch_of(towns, tiny), batch_of(towns, varied)
    assert torch.equal(before.tiles, after.tiles) and torch.equal(before.shift, after.shift)
    # A block is seen as long as one pixel of its columns is: rectangles of full height hide some.
    assert (after.seen <= before.seen).all() and after.seen.sum() < before.seen.sum()
    covered = (after.canvases == 0).all(1).flatten(1).float().mean(1)
    assert (covered > 0.05).all()
    halves = [batch_of(towns, varied, Part(rank, 2)) for rank in (0, 1)]
    assert torch.equal(torch.cat([half.canvases for half in halves]), after.canvases)


def test_tiles_alone(towns: Path, tiny: Recipe) -> None:
    varied = replace(tiny, augment=AugmentSection(sides="tiles", hue=0.4, blur_share=1.0))
    before, after = batch_of(towns, tiny), batch_of(towns, varied)
    assert torch.equal(before.canvases, after.canvases) and torch.equal(before.seen, after.seen)
    assert (before.tiles != after.tiles).flatten(1).any(1).all()


def test_cuts_and_operations_keep_the_pictures_shape() -> None:
    rng = np.random.default_rng(4)
    picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
    assert len(OPERATIONS) == 14
    changed = 0
    for _ in range(60):
        done = random_operations(picture, 1, rng)
        assert done.shape == picture.shape and done.dtype == np.uint8
        changed += int((done != picture).any())
    assert 45 <= changed < 60  # one in fourteen is none at all
    # A cut shows a part: of a picture that darkens to the right, no cut shows more shades.
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    spans = [int(np.ptp(random_cut(ramp, 0.3, rng))) for _ in range(30)]
    assert max(spans) <= 255 and min(spans) < 190 and len(set(spans)) > 10
    assert np.array_equal(random_cut(ramp, 1.0, np.random.default_rng(0)).shape, ramp.shape)


def test_panoramas_are_not_cut() -> None:
    with pytest.raises(TrainingError, match="are for plain photos"):
        recipe_from_dict({"name": "x", "augment": {"crop": 0.5}})
    with pytest.raises(TrainingError, match=r"augment\.occlude_area"):
        recipe_from_dict({"name": "x", "augment": {"occlude_area": [0.5, 0.1]}})
