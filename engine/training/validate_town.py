"""Measuring a model on a town it never sees in training, the way the program will use it.

Tiles on a regular grid over the whole town are encoded once; photos are made and projected by the program's own
functions and compared with every tile, at the true heading or at every turn the encoder can tell apart: by rolled
encodings, each of them at every shift of its blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.encoder import normalise, project_photo, shape_tiles
from engine.encoder.preprocess import canvas_to_input
from engine.networks import DualEncoder
from engine.photo.projections import View, perspective_from_panorama, seen_blocks
from engine.training.cache import CachedTown
from engine.training.pictures import Shown, save_pairs
from engine.training.recipes import Recipe
from engine.training.validate import encode, workers_for

_CHUNK = 64
_PHOTO = (480, 360)
_SEED = 20_011
_PLACES = 10
_APART_M = 12.0

Projected = tuple[NDArray[np.uint8], NDArray[np.bool_]]
Judged = tuple[float, float, float]
"""Metres from the best tile to the truth, from the best of the first ten places, degrees of heading."""


class TownValidation:
    """A town, its tiles and its photos, made once and measured as often as wanted.

    Panoramas are asked always, photos of 90 degrees where the recipe trains on such. With the heading unknown where
    there is a way to find it: blocks by bearing, or more than one rolled encoding.
    """

    def __init__(self, town: CachedTown, recipe: Recipe) -> None:
        self._recipe, self._town = recipe, town
        self._centres = _grid(town, recipe)
        self._tiles = _shaped_tiles(town, self._centres, recipe)
        rng = np.random.default_rng(_SEED)
        count = min(recipe.validation.queries, len(town))
        chosen = np.sort(rng.permutation(len(town))[:count])
        self._positions = town.positions[chosen].astype(np.float64)
        self._headings = rng.uniform(0.0, 360.0, count)
        pitch = np.clip(rng.normal(0.0, recipe.query.pitch_std, count), -12.0, 12.0)
        roll = rng.normal(0.0, recipe.query.roll_std, count)
        kinds = ("360", "90") if recipe.query.full_share < 1 else ("360",)
        self._photos: dict[str, list[Projected]] = {kind: [] for kind in kinds}
        whole = View("panorama", 360.0, top_deg=town.top_deg, bottom_deg=town.bottom_deg)
        for i, index in enumerate(chosen):
            panorama = np.asarray(town.panoramas[index])
            columns = round(self._headings[i] / 360.0 * panorama.shape[1])
            turned = np.ascontiguousarray(np.roll(panorama, -columns, axis=1))
            self._headings[i] = columns * 360.0 / panorama.shape[1]
            self._photos["360"].append(self._project(turned, whole))
            if "90" in self._photos:
                photo = perspective_from_panorama(
                    turned, heading_offset_deg=0.0, fov_deg=90.0, pitch_deg=float(pitch[i]),
                    roll_deg=float(roll[i]), width=_PHOTO[0], height=_PHOTO[1], view=whole,
                )  # fmt: skip
                self._photos["90"].append(self._project(photo, View("perspective", 90.0)))

    def _project(self, pixels: NDArray[np.uint8], view: View) -> Projected:
        canvas, mask = project_photo(pixels, view, self._recipe.query_branch)
        return canvas, np.ones(canvas.shape[:2], bool) if mask is None else mask

    def measure(self, model: DualEncoder, *, pictures: Path | None, step: int) -> dict[str, Any]:
        """Encode, search, compare with the truth.

        Returns:
            seconds, tiles, and ``queries``: for "360" and "90" with the heading "known" and "unknown":
            ``R@1<25m``, ``R@10<25m`` (fractions), ``median_error_m`` and, unknown, ``median_heading_error_deg``
            among the photos placed right; ``pairs``: see :func:`engine.training.pictures.save_pairs`.
        """
        start = time.perf_counter()
        model.eval()
        with workers_for(model) as pool:
            tiles = self._encode_tiles(pool, model.reference)
            queries = {
                f"{kind} {heading}": values
                for kind in self._photos
                for heading, values in self._measure_kind(pool, model.query, kind, tiles).items()
            }
        measured = {"tiles": len(self._centres), "queries": queries}
        if pictures is not None and self._recipe.validation.pictures:
            shown = self._shown(model, tiles)
            measured["pairs"] = save_pairs(model, self._recipe, shown, pictures, step)
        return {"seconds": round(time.perf_counter() - start, 1), **measured}

    def _encode_tiles(self, pool: ThreadPoolExecutor, branch: nn.Module) -> Tensor:
        def some(first: int) -> Tensor:
            return encode(branch, self._tile_input(slice(first, first + _CHUNK)), self._precision)

        return torch.cat(list(pool.map(some, range(0, len(self._tiles), _CHUNK))))

    def _tile_input(self, which: slice) -> NDArray[np.float32]:
        tiles, branch = self._tiles[which], self._recipe.reference_branch
        if tiles.ndim == 4:
            return normalise(tiles, branch)
        return np.stack([normalise(tiles[:, i], branch) for i in range(tiles.shape[1])], axis=1)

    @property
    def _precision(self) -> str:
        return self._recipe.optimiser.precision

    def _measure_kind(
        self, pool: ThreadPoolExecutor, branch: nn.Module, kind: str, tiles: Tensor
    ) -> dict[str, dict[str, float]]:
        recipe = self._recipe
        blocks, subshifts = recipe.network.azimuth_blocks, recipe.canvas.query_subshifts
        finds_heading = blocks > 1 or subshifts > 1
        # Row (j, s) of the scores: the canvas was rolled by j parts of a block, its blocks by s.
        turn = np.concatenate([np.arange(blocks) + j / subshifts for j in range(subshifts)])
        headings = (turn * 360.0 / blocks) % 360.0

        def answer(i: int) -> list[Judged]:
            known = self._known_code(branch, kind, i) @ tiles.T
            judged = [self._judge(known.cpu().numpy(), i, 0.0)]
            if finds_heading:
                scores = (self._codes(branch, kind, i) @ tiles.T).cpu().numpy()
                apart = np.abs((headings - self._headings[i] + 180.0) % 360.0 - 180.0)
                best = scores.max(axis=0)
                turned = float(apart[scores[:, int(best.argmax())].argmax()])
                judged.append(self._judge(best, i, turned))
            return judged

        answers = list(pool.map(answer, range(len(self._photos[kind]))))
        within = recipe.validation.within_m
        result = {}
        for number, heading in enumerate(("known", "unknown") if finds_heading else ("known",)):
            error, tenth, turned = np.array([a[number] for a in answers]).T
            right = error < within
            result[heading] = {
                f"R@1<{within:g}m": round(float(right.mean()), 4),
                f"R@10<{within:g}m": round(float((tenth < within).mean()), 4),
                "median_error_m": round(float(np.median(error)), 2),
            }
            if heading == "unknown" and right.any():
                result[heading]["median_heading_error_deg"] = round(
                    float(np.median(turned[right])), 2
                )
        return result

    def _aligned(self, kind: str, index: int) -> Projected:
        """A photo's canvas turned north, to the nearest column."""
        canvas, mask = self._photos[kind][index]
        if self._recipe.canvas.projection == "plain":
            return canvas, mask  # it has no north to be turned to
        columns = round(self._headings[index] / 360.0 * canvas.shape[1])
        return np.roll(canvas, columns, axis=1), np.roll(mask, columns, axis=1)

    def _known_code(self, branch: nn.Module, kind: str, index: int) -> Tensor:
        """The descriptor [D] of a photo whose heading is known, weighted by what it sees."""
        canvas, mask = self._aligned(kind, index)
        upright = canvas_to_input(canvas, mask, self._recipe.query_branch)
        return self._weighted(encode(branch, upright, self._precision)[0], mask)

    def _codes(self, branch: nn.Module, kind: str, index: int) -> Tensor:
        """One photo's descriptors at every turn, [subshifts * K, D], weighted by what it sees."""
        recipe = self._recipe
        blocks, subshifts = recipe.network.azimuth_blocks, recipe.canvas.query_subshifts
        step = recipe.canvas.width // (blocks * subshifts)
        canvas, mask = self._photos[kind][index]
        upright = canvas_to_input(canvas, mask, recipe.query_branch)[0]
        images = np.stack([np.roll(upright, j * step, axis=-1) for j in range(subshifts)])
        codes = encode(branch, images, self._precision)
        rows = []
        for j in range(subshifts):
            code = self._weighted(codes[j], np.roll(mask, j * step, axis=1)).view(blocks, -1)
            rows += [torch.roll(code, s, 0).flatten() for s in range(blocks)]
        return torch.stack(rows)

    def _weighted(self, code: Tensor, mask: NDArray[np.bool_]) -> Tensor:
        blocks = self._recipe.network.azimuth_blocks
        if blocks == 1:
            return code
        seen = torch.from_numpy(seen_blocks(mask, blocks)).to(code.device)
        weights = seen * blocks / seen.sum().clamp_min(1e-6)
        return (code.view(blocks, -1) * weights[:, None]).flatten()

    def _judge(self, scores: NDArray[np.float32], query: int, turned: float) -> Judged:
        """Error of the best tile, the least error of the first ten places, the heading's error."""
        order = np.argsort(-scores)[:400]
        places: list[NDArray[np.float64]] = []
        for index in order:
            centre = self._centres[index]
            if all(np.hypot(*(centre - other)) >= _APART_M for other in places):
                places.append(centre)
                if len(places) == _PLACES:
                    break
        errors = [float(np.hypot(*(place - self._positions[query]))) for place in places]
        return errors[0], min(errors), turned

    def _shown(self, model: DualEncoder, tiles: Tensor) -> Iterator[Shown]:
        """The first panoramas with the tile each is placed in."""
        recipe = self._recipe
        for i in range(min(recipe.validation.pictures, len(self._positions))):
            canvas, mask = self._aligned("360", i)
            scores = (self._known_code(model.query, "360", i) @ tiles.T).cpu().numpy()
            best = int(scores.argmax())
            centre = self._centres[best]
            truth = int(np.hypot(*(self._centres - self._positions[i]).T).argmin())
            tile = recipe.tile
            extent = tile.extents_m[0] if tile.extents_m else tile.extent_m
            error = float(np.hypot(*(centre - self._positions[i])))
            yield Shown(
                name=f"{self._town.name}, {i + 1}",
                canvas=canvas,
                canvas_input=canvas_to_input(canvas, mask, recipe.query_branch),
                tile=self._town.tile(float(centre[0]), float(centre[1]), extent, tile.pixels),
                tile_input=self._tile_input(slice(best, best + 1)),
                facts={
                    "rank": int((scores > scores[truth]).sum()) + 1,
                    "error_m": round(error, 1),
                    "similarity": round(float(scores[best]), 4),
                },
            )


def _grid(town: CachedTown, recipe: Recipe) -> NDArray[np.float64]:
    """Centres [N, 2] on a regular grid, as far out as whole tiles reach."""
    height, width = town.ortho.shape[:2]
    margin = max((recipe.tile.extent_m, *recipe.tile.extents_m)) / 2 + town.resolution_m
    east = np.arange(margin, width * town.resolution_m - margin, recipe.validation.stride_m)
    south = np.arange(margin, height * town.resolution_m - margin, recipe.validation.stride_m)
    return np.stack(np.meshgrid(east, south), axis=2).reshape(-1, 2)


def _shaped_tiles(
    town: CachedTown, centres: NDArray[np.float64], recipe: Recipe
) -> NDArray[np.uint8]:
    """[N, H, W, 3], or [N, S, H, W, 3] where extents are read together."""
    tile, branch = recipe.tile, recipe.reference_branch
    by_extent = []
    for extent in tile.extents_m or (tile.extent_m,):
        parts = []
        for i in range(0, len(centres), _CHUNK):
            cut = [town.tile(e, s, extent, tile.pixels) for e, s in centres[i : i + _CHUNK]]
            parts.append(shape_tiles(np.stack(cut), branch))
        by_extent.append(np.concatenate(parts))
    return np.stack(by_extent, axis=1) if tile.extents_m else by_extent[0]
