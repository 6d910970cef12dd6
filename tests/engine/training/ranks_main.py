"""One of several processes that train together; started by torchrun in the tests: TOWNS OUT RECIPE."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import tests.engine.training.networks  # noqa: F401 - registers
from engine.training.ranks import join_ranks
from engine.training.recipes import load_recipe
from engine.training.trainer import Trainer


def main() -> None:
    torch.set_num_threads(1)
    towns, out, recipe = map(Path, sys.argv[1:4])
    ranks, device = join_ranks("cpu")
    Trainer(load_recipe(recipe), towns, out, device=device, ranks=ranks).run()
    ranks.close()


if __name__ == "__main__":
    main()
