"""Making a batch: pairs of a photo and the tile it was taken in, turned, mirrored, recoloured.

Everything in batch ``n`` follows from the seed, ``n`` and the list of towns: nothing else is drawn from, so a
training that is resumed sees the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.photo.polar import polar_warp
from engine.training.cache import CachedTown
from engine.training.photometric import recolour
from engine.training.recipes import BatchSection, Recipe
from engine.training.views import (
    Cameras,
    draw_cameras,
    panorama_canvases,
    perspective_canvases,
    seen_blocks,
)

_POLAR_THREADS = 2


@dataclass(frozen=True)
class Batch:
    """What the model is given. B pairs.

    Attributes:
        canvases, tiles: float32 [B, 3, H, W], normalised; unseen parts of canvases are 0.
        seen: float32 [B, K], share of every block that the photo shows.
        shift: float32 [B], blocks that the photo must be rolled right to fit its tile, 0..K.
        too_near: bool [B, B], pairs of a photo and another's tile that are no fair negatives.
    """

    canvases: Tensor
    tiles: Tensor
    seen: Tensor
    shift: Tensor
    too_near: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device, images channels-last."""
        images = (
            x.to(device, non_blocking=True, memory_format=torch.channels_last)
            for x in (self.canvases, self.tiles)
        )
        rest = (x.to(device, non_blocking=True) for x in (self.seen, self.shift, self.too_near))
        return Batch(*images, *rest)


@dataclass(frozen=True)
class Draw:
    """What chance decided for a batch, before any pixel is touched.

    Attributes:
        town, pair: int [B], which pair of which town.
        offset_m: [B, 2], the tile's centre relative to the photo, metres east and south.
        tile_roll, canvas_roll: int [B], columns to the right.
        flip: bool [B].
        cameras: how the photos are taken.
    """

    town: NDArray[np.int64]
    pair: NDArray[np.int64]
    offset_m: NDArray[np.float64]
    tile_roll: NDArray[np.int64]
    canvas_roll: NDArray[np.int64]
    flip: NDArray[np.bool_]
    cameras: Cameras


def make_batch(towns: Sequence[CachedTown], recipe: Recipe, number: int) -> Batch:
    """Make batch ``number`` of a training."""
    rng = np.random.default_rng((recipe.seed, number))
    return render(towns, recipe, draw(towns, recipe, rng), rng)


def draw(towns: Sequence[CachedTown], recipe: Recipe, rng: np.random.Generator) -> Draw:
    """Decide everything about a batch that is geometry."""
    size = recipe.batch.size
    town, pair = draw_pairs(towns, recipe.batch, rng)
    # Whole blocks of roll change nothing (the network turns with its input), so a block's width is all there is.
    step = recipe.canvas.width // recipe.network.azimuth_blocks
    return Draw(
        town,
        pair,
        rng.uniform(-recipe.batch.shift_m, recipe.batch.shift_m, (size, 2)),
        rng.integers(0, step, size),
        rng.integers(0, step, size),
        rng.random(size) < (0.5 if recipe.batch.flip else 0.0),
        draw_cameras(recipe.query, size, rng),
    )


def draw_pairs(
    towns: Sequence[CachedTown], batch: BatchSection, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the towns and the pairs of a batch, in groups of neighbours; no pair twice."""
    weights = np.array([len(town) for town in towns], np.float64)
    chosen = np.arange(len(towns))
    if batch.towns and batch.towns < len(towns):
        chosen = rng.choice(len(towns), batch.towns, replace=False, p=weights / weights.sum())
    picked: dict[tuple[int, int], None] = {}
    share = weights[chosen] / weights[chosen].sum()
    enough = min(batch.size, int(weights[chosen].sum()))
    while len(picked) < enough:
        town = int(rng.choice(chosen, p=share))
        anchor = int(rng.integers(len(towns[town])))
        group = [anchor]
        if batch.group_size > 1:
            apart = towns[town].positions - towns[town].positions[anchor]
            near = np.flatnonzero((apart**2).sum(1) < batch.group_radius_m**2)
            group += [int(i) for i in rng.permutation(near)[: batch.group_size - 1]]
        picked.update(((town, index), None) for index in group)
    pairs = np.array(list(picked)[: batch.size], np.int64)
    if len(pairs) < batch.size:  # towns smaller than a batch: some pairs come twice
        pairs = pairs[np.arange(batch.size) % len(pairs)]
    return pairs[:, 0], pairs[:, 1]


def render(
    towns: Sequence[CachedTown], recipe: Recipe, drawn: Draw, rng: np.random.Generator
) -> Batch:
    """Make the pixels of what was drawn."""
    tile, canvas = recipe.tile, recipe.canvas
    places = [(towns[t], int(p)) for t, p in zip(drawn.town, drawn.pair, strict=True)]
    centres = np.stack([town.positions[p] for town, p in places]) + drawn.offset_m
    cut = np.stack(
        [
            town.tile(east, south, tile.extent_m, tile.pixels)
            for (town, _), (east, south) in zip(places, centres, strict=True)
        ]
    )
    polar = _polar(cut, recipe)
    panoramas = np.stack([town.panoramas[p] for town, p in places])
    edges = (places[0][0].top_deg, places[0][0].bottom_deg)
    seen_pixels = np.ones((len(places), canvas.height, canvas.width), bool)
    canvases = np.empty((len(places), canvas.height, canvas.width, 3), np.uint8)
    full = drawn.cameras.full
    level = full & (drawn.cameras.pitch_deg == 0) & (drawn.cameras.roll_deg == 0)
    for kind, make in ((level, panorama_canvases), (~level, perspective_canvases)):
        for part in _in_pieces(np.flatnonzero(kind), drawn.cameras):
            canvases[part], seen_pixels[part] = make(
                panoramas[part], drawn.cameras.pick(part), canvas, edges
            )
    heading = drawn.cameras.heading_deg.copy()
    for i in np.flatnonzero(drawn.flip):
        polar[i] = polar[i, :, ::-1].copy()
        canvases[i] = canvases[i, :, ::-1].copy()
        seen_pixels[i] = seen_pixels[i, :, ::-1].copy()
        heading[i] = -heading[i]
    for i in range(len(places)):
        polar[i] = np.roll(polar[i], drawn.tile_roll[i], axis=1)
        canvases[i] = np.roll(canvases[i], drawn.canvas_roll[i], axis=1)
        seen_pixels[i] = np.roll(seen_pixels[i], drawn.canvas_roll[i], axis=1)
    blocks = recipe.network.azimuth_blocks
    turn = heading / 360.0 + (drawn.tile_roll - drawn.canvas_roll) / canvas.width
    distance = np.linalg.norm(centres[:, None] - (centres - drawn.offset_m)[None], axis=2)
    near = np.less(distance.T, recipe.loss.exclude_m)
    too_near = near & (drawn.town[:, None] == drawn.town[None])
    np.fill_diagonal(too_near, False)
    mask = torch.from_numpy(seen_pixels)
    return Batch(
        recolour(canvases, canvas.mean, canvas.std, recipe.photometric, rng) * mask[:, None],
        recolour(polar, tile.mean, tile.std, recipe.photometric, rng),
        torch.from_numpy(seen_blocks(seen_pixels, blocks)),
        torch.from_numpy(((turn * blocks) % blocks).astype(np.float32)),
        torch.from_numpy(too_near),
    )


def _in_pieces(indices: NDArray[np.int64], cameras: Cameras) -> list[NDArray[np.int64]]:
    """Cameras and tilted panoramas apart: a panorama needs the whole canvas computed, a camera its middle."""
    full = cameras.full[indices]
    return [part for part in (indices[full], indices[~full]) if len(part)]


def _polar(tiles: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    """The program's own warp, in two threads where nobody else uses the cores."""
    tile = recipe.tile

    def warp(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return polar_warp(part, height=tile.height, width=tile.width, radii=tile.radii)

    if recipe.batch.workers:
        return warp(tiles)
    with ThreadPoolExecutor(_POLAR_THREADS) as pool:
        return np.concatenate(list(pool.map(warp, np.array_split(tiles, _POLAR_THREADS))))
