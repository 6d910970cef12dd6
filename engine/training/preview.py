"""Pairs as pictures: some of the data before a training, written as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.datasets import Dataset
from engine.training.cache import CachedTown
from engine.training.recipes import Recipe

PHOTO_WIDTH = 640
TILE_WIDTH = 256
_SEED = 7


def preview_towns(
    towns: Sequence[CachedTown], recipe: Recipe, folder: Path, count: int
) -> list[dict[str, Any]]:
    """Write some pairs as ``N-photo.jpg`` and ``N-tile.jpg``; returns their files and names."""
    rng = np.random.default_rng(_SEED)
    shown: list[dict[str, Any]] = []
    orders = [rng.permutation(len(town)) for town in towns]
    for number in range(min(count, sum(map(len, orders)))):
        town, order = towns[number % len(towns)], orders[number % len(towns)]
        index = int(order[(number // len(towns)) % len(order)])
        east, south = (float(v) for v in town.positions[index])
        tile = town.tile(east, south, recipe.tile.extent_m, recipe.tile.pixels)
        photo_file = save_picture(
            folder / f"{number}-photo.jpg", np.asarray(town.panoramas[index]), PHOTO_WIDTH
        )
        tile_file = save_picture(folder / f"{number}-tile.jpg", tile, TILE_WIDTH)
        shown.append(
            {"photo": str(photo_file), "tile": str(tile_file), "name": f"{town.name}, {index}"}
        )
    return shown


def preview_dataset(
    dataset: Dataset, pairs: NDArray[np.int64], folder: Path, count: int
) -> list[dict[str, Any]]:
    """Write some of a dataset's pairs [P, 2] of photo and reference, as :func:`preview_towns` does."""
    rng = np.random.default_rng(_SEED)
    shown: list[dict[str, Any]] = []
    for number, at in enumerate(rng.permutation(len(pairs))[:count]):
        query, reference = (int(index) for index in pairs[at])
        photo, _ = dataset.read_query(query)
        tile = dataset.read_reference(reference)
        tile = tile[0] if tile.ndim == 4 else tile  # of several extents, the finest
        photo_file = save_picture(folder / f"{number}-photo.jpg", photo, PHOTO_WIDTH)
        tile_file = save_picture(folder / f"{number}-tile.jpg", tile, TILE_WIDTH)
        name = dataset.queries.files[query].name
        shown.append({"photo": str(photo_file), "tile": str(tile_file), "name": name})
    return shown


def save_picture(file: Path, pixels: NDArray[np.uint8], width: int) -> Path:
    """Write [H, W, 3] as a JPEG of at most some width."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.save(file, quality=88)
    return file


def save_heat(file: Path, values: NDArray[np.float32], width: int) -> Path:
    """Write a map [H, W] as an 8-bit grey PNG: 0 for what adds no more than most places, 255 for what adds most.

    Between the median of what is positive and its 98th percentile, as the window colours its heat maps; places that
    speak against the match are nothing.
    """
    finite = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    counted = finite[finite > 0]
    grey = np.zeros(finite.shape, np.uint8)
    if counted.size:
        low, top = (float(v) for v in np.percentile(counted, (50.0, 98.0)))
        if top > low:
            grey = (np.clip((finite - low) / (top - low), 0.0, 1.0) * 255.0).astype(np.uint8)
    picture = Image.fromarray(grey)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    picture.save(file)
    return file
