"""Pairs out of cached towns: photos made from panoramas, tiles cut from the orthophoto, both turned and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.encoder import project_photo, shape_tiles
from engine.errors import DatasetError
from engine.photo.projections import View, perspective_from_panorama
from engine.training.batch import WHOLE, Batch, Indices, Part, near_pairs
from engine.training.cache import CachedTown
from engine.training.photometric import draw_light
from engine.training.recipes import Recipe
from engine.training.variation import draw_variation, to_inputs
from engine.training.views import (
    Cameras,
    draw_cameras,
    panorama_canvases,
    perspective_canvases,
    seen_blocks,
)

_THREADS = 2
_APART_M = 1e6
"""Between one town and the next on the common plane."""


@dataclass(frozen=True)
class Draw:
    """What chance decided for a batch of B pairs, before any pixel is touched.

    Attributes:
        town, pair: int [B], which pair of which town.
        offset_m: [B, 2], the tile's centre relative to the photo, metres east and south.
        tile_roll, canvas_roll: int [B], columns to the right.
        quarters: int [B], how often a plain tile is turned clockwise by 90 degrees (its canvas is rolled with it).
        flip: bool [B].
        cameras: how the photos are taken.
    """

    town: Indices
    pair: Indices
    offset_m: NDArray[np.float64]
    tile_roll: Indices
    canvas_roll: Indices
    quarters: Indices
    flip: NDArray[np.bool_]
    cameras: Cameras

    def part(self, which: slice) -> Draw:
        """Some of them."""
        arrays = [
            getattr(self, name)[which] for name in Draw.__dataclass_fields__ if name != "cameras"
        ]
        return Draw(*arrays, cameras=self.cameras.pick(np.arange(len(self.town))[which]))


class TownPairs:
    """The pairs of some towns, in the order of the towns."""

    def __init__(self, towns: Sequence[CachedTown], recipe: Recipe) -> None:
        self.towns, self.recipe = list(towns), recipe
        for town in towns:
            if _shape_of(town) != _shape_of(towns[0]):
                raise DatasetError(
                    f"its panoramas have another size or show other angles than {towns[0].name}'s",
                    town.folder,
                    "Train on towns that were rendered alike",
                )
        self._first = np.concatenate([[0], np.cumsum([len(town) for town in towns])])

    @property
    def names(self) -> list[str]:
        """The towns' names."""
        return [town.folder.name for town in self.towns]

    def __len__(self) -> int:
        return int(self._first[-1])

    def positions(self) -> NDArray[np.float64]:
        """[n, 2] metres east and south, every town far from the others."""
        return np.concatenate(
            [town.positions + [i * _APART_M, 0.0] for i, town in enumerate(self.towns)]
        ).astype(np.float64)

    def draw_pairs(self, size: int, rng: np.random.Generator) -> Indices:
        """Choose the towns and the pairs of a batch, in groups of neighbours; no pair twice."""
        how, towns = self.recipe.batch, self.towns
        weights = np.array([len(town) for town in towns], np.float64)
        chosen = np.arange(len(towns))
        if how.towns and how.towns < len(towns):
            chosen = rng.choice(len(towns), how.towns, replace=False, p=weights / weights.sum())
        picked: dict[int, None] = {}
        share = weights[chosen] / weights[chosen].sum()
        enough = min(size, int(weights[chosen].sum()))
        while len(picked) < enough:
            town = int(rng.choice(chosen, p=share))
            anchor = int(rng.integers(len(towns[town])))
            group = [anchor]
            if how.group_size > 1:
                apart = towns[town].positions - towns[town].positions[anchor]
                near = np.flatnonzero((apart**2).sum(1) < how.group_radius_m**2)
                group += [int(i) for i in rng.permutation(near)[: how.group_size - 1]]
            picked.update((int(self._first[town]) + index, None) for index in group)
        pairs = np.array(list(picked)[:size], np.int64)
        # Towns smaller than a batch: some pairs come twice.
        return pairs[np.arange(size) % len(pairs)]

    def draw(self, pairs: Indices, rng: np.random.Generator) -> Draw:
        """Decide everything about a batch that is geometry."""
        recipe, size = self.recipe, len(pairs)
        shift, width = recipe.batch.shift_m, recipe.canvas.width
        town = np.searchsorted(self._first, pairs, side="right") - 1
        offset = rng.uniform(-shift, shift, (size, 2))
        flip = rng.random(size) < (0.5 if recipe.batch.flip else 0.0)
        cameras = draw_cameras(recipe.query, size, rng)
        still = np.zeros(size, np.int64)
        tile_roll, canvas_roll, quarters = still, still, still
        blocks = recipe.network.azimuth_blocks
        if blocks > 1:
            # Whole blocks of roll change nothing (the network turns with its input): a block's width is all there is.
            tile_roll, canvas_roll = rng.integers(0, width // blocks, (2, size))
        elif recipe.batch.turn and recipe.tile.projection == "polar":
            canvas_roll = rng.integers(0, width, size)
            tile_roll = canvas_roll * recipe.tile.width // width
        elif recipe.batch.turn:
            quarters = rng.integers(0, 4, size)
            canvas_roll = quarters * (width // 4)
        return Draw(
            town, pairs - self._first[town], offset, tile_roll, canvas_roll, quarters, flip, cameras
        )

    def make(self, pairs: Indices, rng: np.random.Generator, part: Part = WHOLE) -> Batch:
        """The batch of these pairs."""
        return self.render(self.draw(pairs, rng), rng, part)

    def render(self, drawn: Draw, rng: np.random.Generator, part: Part = WHOLE) -> Batch:
        """Make the pixels of this process's part of what was drawn."""
        recipe, mine = self.recipe, part.of(len(drawn.town))
        pairs = self._first[drawn.town] + drawn.pair
        lights = [draw_light(len(pairs), recipe.photometric, rng).part(mine) for _ in range(2)]
        varied = draw_variation(recipe.augment, rng, mine.start)
        own = drawn.part(mine)
        canvases, seen_pixels = self._canvases(own)
        tiles = self._tiles(own)
        for i in range(len(own.town)):
            if own.flip[i]:
                canvases[i], seen_pixels[i] = canvases[i, :, ::-1], seen_pixels[i, :, ::-1].copy()
                tiles[i] = tiles[i, ..., ::-1, :].copy()
            canvases[i] = np.roll(canvases[i], own.canvas_roll[i], axis=1)
            seen_pixels[i] = np.roll(seen_pixels[i], own.canvas_roll[i], axis=1)
            if recipe.tile.projection == "polar":
                tiles[i] = np.roll(tiles[i], own.tile_roll[i], axis=1)
            else:
                tiles[i] = np.rot90(tiles[i], -int(own.quarters[i]), axes=(-3, -2))
        too_near = self._too_near(drawn)
        photos, grounds, seen = to_inputs(recipe, canvases, seen_pixels, tiles, lights, varied)
        return Batch(
            photos,
            grounds,
            torch.from_numpy(seen_blocks(seen, recipe.network.azimuth_blocks)),
            torch.from_numpy(self._shift(drawn)),
            torch.from_numpy(too_near),
            torch.from_numpy(pairs),
            torch.from_numpy(pairs),
        )

    def _shift(self, drawn: Draw) -> NDArray[np.float32]:
        """How many blocks each photo must be rolled right to fit its tile."""
        blocks, width = self.recipe.network.azimuth_blocks, self.recipe.canvas.width
        if blocks == 1:
            return np.zeros(len(drawn.town), np.float32)
        heading = np.where(drawn.flip, -drawn.cameras.heading_deg, drawn.cameras.heading_deg)
        turn = heading / 360.0 + (drawn.tile_roll - drawn.canvas_roll) / width
        return ((turn * blocks) % blocks).astype(np.float32)

    def _too_near(self, drawn: Draw) -> NDArray[np.bool_]:
        photos = np.stack(
            [self.towns[t].positions[p] for t, p in zip(drawn.town, drawn.pair, strict=True)]
        ).astype(np.float64)
        near = near_pairs(photos, photos + drawn.offset_m, self.recipe.loss.exclude_m)
        return near & (drawn.town[:, None] == drawn.town[None])

    def _tiles(self, drawn: Draw) -> NDArray[np.uint8]:
        """Tiles as the network will see them, before light: [b, H, W, 3], or [b, S, H, W, 3]."""
        tile = self.recipe.tile
        cuts = []
        for extent in tile.extents_m or (tile.extent_m,):
            cut = []
            for t, p, offset in zip(drawn.town, drawn.pair, drawn.offset_m, strict=True):
                town = self.towns[t]
                east, south = town.positions[p] + offset
                cut.append(town.tile(east, south, extent, tile.pixels))
            cuts.append(self._shape(np.stack(cut)))
        return np.stack(cuts, axis=1) if tile.extents_m else cuts[0]

    def _shape(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The program's own warp, in two threads where nobody else uses the cores."""
        branch = self.recipe.reference_branch
        if self.recipe.batch.workers:
            return np.array(shape_tiles(tiles, branch))
        parts = [part for part in np.array_split(tiles, _THREADS) if len(part)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return np.concatenate(list(pool.map(lambda part: shape_tiles(part, branch), parts)))

    def _canvases(self, drawn: Draw) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Photos on canvases, and what they show, before light."""
        canvas, cameras = self.recipe.canvas, drawn.cameras
        panoramas = np.stack(
            [self.towns[t].panoramas[p] for t, p in zip(drawn.town, drawn.pair, strict=True)]
        )
        edges = (self.towns[0].top_deg, self.towns[0].bottom_deg)
        seen = np.ones((len(panoramas), canvas.height, canvas.width), bool)
        canvases = np.empty((*seen.shape, 3), np.uint8)
        if canvas.projection == "plain":
            view = View("panorama", 360.0, top_deg=edges[0], bottom_deg=edges[1])
            for i, panorama in enumerate(panoramas):
                canvases[i] = self._photo(panorama, view, cameras, i)
            return canvases, seen
        level = cameras.full & (cameras.pitch_deg == 0) & (cameras.roll_deg == 0)
        for kind, make in ((level, panorama_canvases), (~level, perspective_canvases)):
            for part in _in_pieces(np.flatnonzero(kind), cameras):
                canvases[part], seen[part] = make(
                    panoramas[part], cameras.pick(part), canvas, edges
                )
        return canvases, seen

    def _photo(
        self, panorama: NDArray[np.uint8], view: View, cameras: Cameras, i: int
    ) -> NDArray[np.uint8]:
        """A photo as such, [H, W, 3], brought to the network's input by the card's rules."""
        canvas = self.recipe.canvas
        if cameras.full[i]:
            columns = round(float(cameras.heading_deg[i]) / 360.0 * panorama.shape[1])
            shown, how = np.ascontiguousarray(np.roll(panorama, -columns, axis=1)), view
        else:
            aspect = float(cameras.aspect[i])
            width = round(max(canvas.width, canvas.height * aspect))
            shown = perspective_from_panorama(
                panorama,
                heading_offset_deg=float(cameras.heading_deg[i]),
                fov_deg=float(cameras.fov_deg[i]),
                pitch_deg=float(cameras.pitch_deg[i]),
                roll_deg=float(cameras.roll_deg[i]),
                width=width,
                height=max(1, round(width / aspect)),
                view=view,
            )
            how = View("perspective", float(cameras.assumed_fov_deg[i]))
        return project_photo(shown, how, self.recipe.query_branch)[0]


def _shape_of(town: CachedTown) -> tuple[object, ...]:
    """What the panoramas of a batch must have in common."""
    return (*town.panoramas.shape[1:3], town.top_deg, town.bottom_deg)


def _in_pieces(indices: Indices, cameras: Cameras) -> list[Indices]:
    """Cameras and tilted panoramas apart: a panorama needs the whole canvas computed, a camera its middle."""
    full = cameras.full[indices]
    return [part for part in (indices[full], indices[~full]) if len(part)]
