"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import TrainingError
from engine.training.recipes import load_recipe, recipe_from_dict


def test_the_shipped_recipe_is_whole() -> None:
    recipe = load_recipe("port-nemo")
    assert recipe.name == "port-nemo"
    assert len(recipe.tile.radii) == recipe.tile.height
    assert list(recipe.tile.radii) == sorted(recipe.tile.radii, reverse=True)
    assert recipe_from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[batch]\nsiez = 3", "batch.siez"),
        ("speed = 1", "speed"),
        ("[batch]\nsize = 2.5", "batch.size"),
        ("[batch]\nflip = 1", "batch.flip"),
        ("[tile]\nmean = [0.1, 0.2]", "tile.mean"),
        ('[optimiser]\nprecision = "fp8"', "optimiser.precision"),
        ('[network]\nazimuth_blocks = 32\n[tile]\nprojection = "plain"', "polar tiles"),
        ("[network]\nazimuth_blocks = 48", "canvas.width"),
        ("[tile]\nextents_m = [50, 100]", "tile.extents_m"),
        ("[batch]\nturn = true", "batch.turn"),
        ("batch = 3", "batch"),
        ("seed = ", "TOML"),
    ],
)
def test_slips_are_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=r"mine\.toml") as caught:
        load_recipe(file)
    assert named in str(caught.value)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(TrainingError, match="port-nemo"):
        load_recipe("nowhere")
