"""A tiny recipe and tiny towns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.training.recipes import Recipe, recipe_from_dict
from tests.engine.training.synthetic import write_town


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("towns")
    write_town(data, 1)
    write_town(data, 2)
    write_town(data, 9, pairs=6, split="validation")
    return data


@pytest.fixture
def tiny() -> Recipe:
    return recipe_from_dict(
        {
            "name": "tiny",
            "network": {"azimuth_blocks": 32, "channels": [4, 6, 8, 8], "block_dim": 4},
            "batch": {"size": 6, "workers": 0},
            "optimiser": {"steps": 6, "warmup": 2},
            "validation": {"every": 1000, "queries": 3, "stride_m": 25.0},
        }
    )
