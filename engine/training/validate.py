"""Measuring a model on what it never trains on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.networks import DualEncoder, descriptors
from engine.training.branches import DTYPES
from engine.training.cache import find_training_towns, open_town
from engine.training.recipes import Recipe
from engine.training.sources import TOWNS
from engine.training.wanted import names_of


class Validation(Protocol):
    """Something to measure on, made once and measured as often as wanted."""

    def measure(self, model: DualEncoder, *, pictures: Path | None, step: int) -> dict[str, Any]:
        """Encode, search, compare with the truth.

        Returns:
            ``seconds``, ``tiles``, ``queries``: {kind of query: {measure: value}}, the first measure of each the one
            that decides which weights are best, and ``pairs``: pictures drawn below the folder ``pictures``.
        """
        ...


def validation_town(recipe: Recipe, data: Path) -> str:
    """The name of the town that the recipe validates on; empty: the first one there is for that."""
    if recipe.data.format != TOWNS:
        return ""
    return next(iter(names_of(recipe.data, data, "validation")), "")


def open_validation(recipe: Recipe, data: Path, town: str | None = None) -> Validation | None:
    """What the recipe validates on; None where the data holds nothing for it, or no queries are asked.

    Args:
        town: a training's own :func:`validation_town`; None: as it is found now.

    Raises:
        DatasetError: when it is there and damaged.
    """
    if not recipe.validation.queries:
        return None
    if recipe.data.format == TOWNS:
        from engine.training.validate_town import TownValidation

        name = validation_town(recipe, data) if town is None else town
        if name:
            return TownValidation(open_town(data / name), recipe)
        towns = find_training_towns(data, "validation")
        return TownValidation(towns[0], recipe) if towns else None
    from engine.training.validate_dataset import DatasetValidation

    return DatasetValidation.open(recipe, data / recipe.data.validation_folder)


def encode(branch: nn.Module, images: NDArray[np.float32], precision: str) -> Tensor:
    """Descriptors [N, D] of norm 1, where the branch is, as the training computes them."""
    device = next(branch.parameters()).device
    dtype = DTYPES[precision]
    batch = torch.from_numpy(images).to(device)
    if batch.ndim == 4:
        batch = batch.contiguous(memory_format=torch.channels_last)
    with (
        torch.no_grad(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
    ):
        return descriptors(branch(batch))


def workers_for(model: nn.Module) -> ThreadPoolExecutor:
    """As in training: whole pieces of work side by side rather than every layer split."""
    threads = 2 if next(model.parameters()).device.type == "cpu" else 1
    return ThreadPoolExecutor(threads, initializer=_start_thread)


def _start_thread() -> None:
    torch.set_num_threads(1)
