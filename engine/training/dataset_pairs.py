"""Pairs out of a published dataset, or one's own, in any layout that :mod:`engine.datasets` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.datasets import Dataset, open_dataset
from engine.encoder import project_photo, shape_tiles
from engine.errors import DatasetError
from engine.training.batch import WHOLE, Batch, Indices, Part, near_pairs
from engine.training.photometric import draw_light
from engine.training.recipes import Recipe
from engine.training.variation import draw_variation, to_inputs
from engine.training.views import seen_blocks

_EARTH_M = 6_371_008.8


class DatasetPairs:
    """The pairs of one split.

    Photos are drawn on the recipe's canvas by the function that the program uses. A panorama is turned to any heading
    where the recipe says so, and cut to a field of view for the share that ``query.full_share`` leaves; both views are
    mirrored and turned together as in :class:`engine.training.towns.TownPairs`.
    """

    def __init__(self, recipe: Recipe, folder: Path, split: str) -> None:
        self.recipe = recipe
        options = {**recipe.data.options, "split": split}
        self.dataset: Dataset = open_dataset(recipe.data.format, folder, **options)
        self.pairs = self.dataset.pairs()
        if not len(self.pairs):
            raise DatasetError(f'has no pairs in its split "{split}"', folder)

    @property
    def names(self) -> list[str]:
        """The dataset's name and split."""
        return [f"{self.dataset.name} {self.dataset.split}".strip()]

    def __len__(self) -> int:
        return len(self.pairs)

    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres east and south of the photos, not a number where unknown."""
        return self._plane(self.dataset.queries.lat, self.dataset.queries.lon)[self.pairs[:, 0]]

    def draw_pairs(self, size: int, rng: np.random.Generator) -> Indices:
        """Any pairs, none twice while there are enough."""
        drawn = rng.permutation(len(self))[:size]
        return drawn[np.arange(size) % len(drawn)].astype(np.int64)

    def make(self, pairs: Indices, rng: np.random.Generator, part: Part = WHOLE) -> Batch:
        """The batch of these pairs."""
        recipe, size = self.recipe, len(pairs)
        canvas, tile, blocks = recipe.canvas, recipe.tile, recipe.network.azimuth_blocks
        level = canvas.projection == "equirectangular"
        mine = part.of(size)
        flip = rng.random(size) < (0.5 if recipe.batch.flip else 0.0)
        turn = rng.random(size)
        if not recipe.batch.turn and (not level or recipe.query.heading == "north"):
            turn[:] = 0.0
        elif recipe.batch.turn and tile.projection == "plain":
            turn = np.floor(turn * 4) / 4
        narrow = rng.random(size) >= recipe.query.full_share
        fov = rng.uniform(recipe.query.fov_min, recipe.query.fov_max, size)
        lights = [draw_light(size, recipe.photometric, rng).part(mine) for _ in range(2)]
        varied = draw_variation(recipe.augment, rng, mine.start)
        own = np.arange(size)[mine]
        canvases = np.zeros((len(own), canvas.height, canvas.width, 3), np.uint8)
        masks = np.ones(canvases.shape[:3], bool)
        several = (len(tile.extents_m),) if tile.extents_m else ()
        tiles = np.empty((len(own), *several, tile.height, tile.width, 3), np.uint8)
        for i, number in enumerate(own):
            photo, reference = self.pairs[pairs[number]]
            pixels, view = self.dataset.read_query(int(photo))
            drawn, mask = project_photo(pixels, view, recipe.query_branch)
            canvases[i] = drawn
            if mask is not None:
                masks[i] = mask
            shown = shape_tiles(
                self.dataset.read_reference(int(reference))[None], recipe.reference_branch
            )[0]
            tiles[i] = shown
            if level and view.fov_deg >= 360 and narrow[number]:
                masks[i] &= _window(canvas.width, float(fov[number]))[None]
            if flip[number]:
                canvases[i], masks[i] = canvases[i, :, ::-1].copy(), masks[i, :, ::-1].copy()
                tiles[i] = tiles[i, ..., ::-1, :].copy()
            # A plain photo has no bearings: its tile alone is turned.
            columns = round(float(turn[number]) * canvas.width) if level else 0
            canvases[i] = np.roll(canvases[i], columns, axis=1)
            masks[i] = np.roll(masks[i], columns, axis=1)
            if recipe.batch.turn and tile.projection == "polar":
                tiles[i] = np.roll(tiles[i], columns * tile.width // canvas.width, axis=1)
            elif recipe.batch.turn:
                tiles[i] = np.rot90(tiles[i], -round(float(turn[number]) * 4), axes=(-3, -2))
        shift = np.zeros(size, np.float32)
        if blocks > 1 and not recipe.batch.turn:
            shift = ((-turn * blocks) % blocks).astype(np.float32)
        photos, grounds, masks = to_inputs(recipe, canvases, masks, tiles, lights, varied)
        return Batch(
            photos,
            grounds,
            torch.from_numpy(seen_blocks(masks, blocks)),
            torch.from_numpy(shift),
            torch.from_numpy(self._too_near(pairs)),
            torch.from_numpy(pairs),
            torch.from_numpy(self.pairs[pairs, 1].astype(np.int64)),
        )

    def _too_near(self, pairs: Indices) -> NDArray[np.bool_]:
        """Near by the metre, or the very same tile."""
        photo, tile = self.pairs[pairs].T
        near = near_pairs(
            self._plane(self.dataset.queries.lat, self.dataset.queries.lon)[photo],
            self._plane(self.dataset.references.lat, self.dataset.references.lon)[tile],
            self.recipe.loss.exclude_m,
        )
        same = tile[:, None] == tile[None]
        np.fill_diagonal(same, False)
        return near | same

    def _plane(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions on a plane about the references' middle: near enough to tell neighbours within a city."""
        known = self.dataset.references.lat
        middle = float(np.nanmean(known)) if np.isfinite(known).any() else 0.0
        east = np.radians(lon) * _EARTH_M * np.cos(np.radians(middle))
        return np.stack([east, -np.radians(lat) * _EARTH_M], axis=1)


def _window(width: int, fov_deg: float) -> NDArray[np.bool_]:
    """The columns that a field of view about the middle shows."""
    offset = np.abs(np.arange(width) + 0.5 - width / 2)
    return offset * 360.0 / width <= fov_deg / 2
