"""A training small enough for tests: towns of coloured patches and a recipe that takes seconds."""

from __future__ import annotations

from pathlib import Path

from tests.engine.training.synthetic import write_town

RECIPE = """
[about]
data = "Coloured plains with coloured posts, for tests"

[network]
channels = [4, 6, 8, 8]
block_dim = 4
azimuth_blocks = 32

[batch]
size = 6
workers = {workers}

[optimiser]
steps = {steps}
warmup = 2

[validation]
every = {every}
queries = 3
stride_m = 25.0
"""


def write_towns(folder: Path) -> Path:
    """Two towns to train on and one to validate on."""
    write_town(folder, 1)
    write_town(folder, 2)
    write_town(folder, 9, pairs=6, split="validation")
    return folder


def write_recipe(
    file: Path, *, steps: int = 60, every: int = 20, workers: int = 0, more: str = ""
) -> Path:
    """A recipe for them."""
    file.write_text(RECIPE.format(steps=steps, every=every, workers=workers) + more, "utf-8")
    return file
