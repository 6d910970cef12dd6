"""Recipes are read strictly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import TrainingError
from engine.training.recipes import load_recipe, recipe_from_dict, recipe_toml


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
        ("seed = -1", "seed"),
        ("[optimiser]\nrate = -1e-3", "optimiser.rate"),
        ("[optimiser]\nrate = nan", "optimiser.rate"),
        ("[optimiser]\nrates = 3", "optimiser.rates"),
        ("[optimiser]\ndrops = [0.5, 3.0]", "optimiser.drops"),
        ("[optimiser]\naverage = 1.5", "optimiser.average"),
        ("[validation]\nevery = 0", "validation.every"),
        ("[validation]\nstride_m = 0", "validation.stride_m"),
        ("[tile]\nheight = 0", "tile.height"),
        ("[tile]\nheight = 1000000", "tile.height"),
        ("[tile]\nstd = [0.2, 0.0, 0.2]", "tile.std"),
        ("[canvas]\nquery_subshifts = 0", "canvas.query_subshifts"),
        ("[query]\naspects = [0.0]", "query.aspects"),
        ("[photometric]\nnoise = -0.1", "photometric.noise"),
        ("[augment]\nbrightness = -1.0", "augment.brightness"),
        ("[augment]\nocclude_holes = [5, 1]", "augment.occlude_holes"),
        ("[batch]\nsize = 1_000_000_000", "batch.size"),
        ("[batch]\ntowns = -1", "batch.towns"),
        ("[data]\nbogus = 1", "data.bogus"),
        ("[mining]\nbogus = 1", "mining.bogus"),
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


def test_a_recipe_is_written_as_it_is_read(tmp_path: Path) -> None:
    recipe = recipe_from_dict(
        {
            "name": "two\nlines",
            "about": {"note": 'Ünïcode, "quotes",\na line and \x7f'},
            "network": {"two words": 1, "größe": [1, 2]},
            "loss": {"scale_limit": math.inf},
        }
    )
    file = tmp_path / "again.toml"
    file.write_text(recipe_toml(recipe), "utf-8")
    assert load_recipe(file) == replace(recipe, name="again")
