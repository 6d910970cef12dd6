"""Resizing by each rule, against the obvious arithmetic and against what the authors' code printed."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from engine.photo.resize import Rule, resize
from tests.engine.photo.pictures import PHOTOS, coarse_photo

RULES = get_args(Rule)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("height", "width"), [(20, 30), (100, 17), (61, 90)])
def test_shape_and_flat_colours(rule: Rule, height: int, width: int):
    resized = resize(np.full((61, 90, 3), (7, 100, 250), np.uint8), height, width, rule)
    assert resized.shape == (height, width, 3) and resized.dtype == np.uint8
    inner = resized[height // 3 : -(height // 3), width // 3 : -(width // 3)].astype(int)
    # Cutting down to whole numbers may lose one where the sum falls a hair short.
    assert np.abs(inner - (7, 100, 250)).max() <= (rule == "gaussian")
    assert resize(resized, height, width, rule) is resized


def test_area_is_the_mean_of_what_is_covered():
    picture = noise(12, 20)
    means = picture.reshape(4, 3, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(picture, 4, 5, "area") - means).max() <= 1


def test_linear_looks_at_the_nearest_pixels_alone():
    """A factor of four reads the two middle ones of every four, whatever lies around them."""
    picture = noise(32, 48)
    middle = picture.reshape(8, 4, 12, 4, 3)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    assert np.abs(resize(picture, 8, 12, "linear") - middle).max() <= 0.51
    wide = resize(picture, 64, 96, "linear").astype(float)
    grown = np.asarray(Image.fromarray(picture).resize((96, 64), Image.Resampling.BILINEAR))
    assert np.abs(wide - grown).max() <= 1  # growing, antialiasing changes nothing


@pytest.mark.parametrize(("name", "seed", "height", "width"), PHOTOS)
def test_gaussian_is_exact(golden: Path, name: str, seed: int, height: int, width: int):
    held = np.load(golden / "statewide" / "statewide_photo_preprocess.npz")
    wanted = held[f"{name}__resized_shape"]
    resized = resize(coarse_photo(seed, height, width), int(wanted[0]), int(wanted[1]), "gaussian")
    assert np.array_equal(resized.reshape(-1)[::97], held[f"{name}__resized_every"])
