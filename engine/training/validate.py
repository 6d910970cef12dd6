"""Measuring a model on a town it never sees in training, the way the program will use it.

Tiles on a regular grid over the whole town are encoded once; photos are made and projected by the program's own
functions, encoded at every sub-shift, and compared with every tile at every turn, or at the true one.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.encoder.preprocess import canvas_to_input, normalise
from engine.networks import DualEncoder
from engine.photo.polar import polar_warp
from engine.photo.projections import View, perspective_from_panorama, seen_blocks, to_canvas
from engine.training.cache import CachedTown
from engine.training.recipes import Recipe

_CHUNK = 64
_PHOTO = (480, 360)
_SEED = 20_011
_PLACES = 10
_APART_M = 12.0

Judged = tuple[float, float, float]
"""Metres from the best tile to the truth, from the best of the first ten places, degrees of heading."""


class TownValidation:
    """A town, its tiles and its photos, made once and measured as often as wanted."""

    def __init__(self, town: CachedTown, recipe: Recipe) -> None:
        self._recipe = recipe
        self._centres = _grid(town, recipe)
        self._tiles = _polar_tiles(town, self._centres, recipe)
        rng = np.random.default_rng(_SEED)
        count = min(recipe.validation.queries, len(town))
        chosen = np.sort(rng.permutation(len(town))[:count])
        self._positions = town.positions[chosen].astype(np.float64)
        self._headings = rng.uniform(0.0, 360.0, count)
        pitch = np.clip(rng.normal(0.0, recipe.query.pitch_std, count), -12.0, 12.0)
        roll = rng.normal(0.0, recipe.query.roll_std, count)
        self._photos = {"360": [], "90": []}
        canvas = recipe.query_branch
        height, width = canvas.input_size
        shape = {
            "height": height,
            "width": width,
            "top_deg": canvas.top_deg,
            "bottom_deg": canvas.bottom_deg,
        }
        whole = View("panorama", 360.0, top_deg=town.top_deg, bottom_deg=town.bottom_deg)
        for i, index in enumerate(chosen):
            panorama = np.asarray(town.panoramas[index])
            columns = round(self._headings[i] / 360.0 * panorama.shape[1])
            turned = np.ascontiguousarray(np.roll(panorama, -columns, axis=1))
            self._headings[i] = columns * 360.0 / panorama.shape[1]
            self._photos["360"].append(to_canvas(turned, whole, **shape))
            photo = perspective_from_panorama(
                turned, heading_offset_deg=0.0, fov_deg=90.0, pitch_deg=float(pitch[i]), roll_deg=float(roll[i]),
                width=_PHOTO[0], height=_PHOTO[1], view=whole,
            )  # fmt: skip
            self._photos["90"].append(to_canvas(photo, View("perspective", 90.0), **shape))

    def measure(self, model: DualEncoder, *, bf16: bool) -> dict[str, Any]:
        """Encode, search, compare with the truth.

        Returns:
            seconds, tiles, and ``queries``: for "360" and "90" with the heading "known" and "unknown":
            ``R@1<25m``, ``R@10<25m`` (fractions), ``median_error_m`` and, unknown, ``median_heading_error_deg``
            among the photos placed right.
        """
        start = time.perf_counter()
        model.eval()
        device = next(model.parameters()).device
        # As in training: whole pieces of work side by side rather than every layer split.
        threads = 2 if device.type == "cpu" else 1
        with ThreadPoolExecutor(threads, initializer=_start_thread) as pool:
            tiles = self._encode_tiles(pool, model.reference, device, bf16)
            queries = {
                f"{kind} {heading}": values
                for kind in self._photos
                for heading, values in self._measure_kind(
                    pool, model.query, kind, tiles, device, bf16
                ).items()
            }
        return {
            "seconds": round(time.perf_counter() - start, 1),
            "tiles": len(self._centres),
            "queries": queries,
        }

    def _encode_tiles(
        self, pool: ThreadPoolExecutor, branch: nn.Module, device: torch.device, bf16: bool
    ) -> Tensor:
        def encode(first: int) -> Tensor:
            images = normalise(self._tiles[first : first + _CHUNK], self._recipe.reference_branch)
            return _encode(branch, images, device, bf16)

        return torch.cat(list(pool.map(encode, range(0, len(self._tiles), _CHUNK))))

    def _measure_kind(
        self,
        pool: ThreadPoolExecutor,
        branch: nn.Module,
        kind: str,
        tiles: Tensor,
        device: torch.device,
        bf16: bool,
    ) -> dict[str, dict[str, float]]:
        recipe = self._recipe
        blocks, subshifts = recipe.network.azimuth_blocks, recipe.canvas.query_subshifts
        # Row (j, s) of the scores: the canvas was rolled by j parts of a block, its blocks by s.
        turn = np.concatenate([np.arange(blocks) - j / subshifts for j in range(subshifts)])
        headings = (turn * 360.0 / blocks) % 360.0

        def answer(i: int) -> tuple[Judged, Judged]:
            codes = self._photo_codes(branch, kind, i, device, bf16)
            scores = (codes @ tiles.T).cpu().numpy()
            apart = np.abs((headings - self._headings[i] + 180.0) % 360.0 - 180.0)
            best = scores.max(axis=0)
            turned = float(apart[scores[:, int(best.argmax())].argmax()])
            return self._judge(scores[int(apart.argmin())], i, 0.0), self._judge(best, i, turned)

        answers = list(pool.map(answer, range(len(self._photos[kind]))))
        found = {"known": [a[0] for a in answers], "unknown": [a[1] for a in answers]}
        within = recipe.validation.within_m
        result = {}
        for heading, judged in found.items():
            error, tenth, turned = np.array(judged).T
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

    def _photo_codes(
        self, branch: nn.Module, kind: str, index: int, device: torch.device, bf16: bool
    ) -> Tensor:
        """One photo's descriptors at every turn, [subshifts * K, D], weighted by what it sees."""
        recipe = self._recipe
        blocks, subshifts = recipe.network.azimuth_blocks, recipe.canvas.query_subshifts
        step = recipe.canvas.width // (blocks * subshifts)
        canvas, mask = self._photos[kind][index]
        upright = canvas_to_input(canvas, mask, recipe.query_branch)[0]
        images = np.stack([np.roll(upright, j * step, axis=-1) for j in range(subshifts)])
        codes = _encode(branch, images, device, bf16).unflatten(1, (blocks, -1))
        rows = []
        for j in range(subshifts):
            seen = torch.from_numpy(seen_blocks(np.roll(mask, j * step, axis=1), blocks)).to(device)
            code = codes[j] * (seen * blocks / seen.sum().clamp_min(1e-6))[:, None]
            rows += [torch.roll(code, s, 0).flatten() for s in range(blocks)]
        return torch.stack(rows)

    def _judge(
        self, scores: NDArray[np.float32], query: int, turned: float
    ) -> tuple[float, float, float]:
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


def _start_thread() -> None:
    torch.set_num_threads(1)


def _encode(
    branch: nn.Module, images: NDArray[np.float32], device: torch.device, bf16: bool
) -> Tensor:
    batch = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    # Whether gradients are wanted is a thread's own business, so it is said here.
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return branch(batch).float()


def _grid(town: CachedTown, recipe: Recipe) -> NDArray[np.float64]:
    """Centres [N, 2] on a regular grid, as far out as whole tiles reach."""
    height, width = town.ortho.shape[:2]
    margin = recipe.tile.extent_m / 2 + town.resolution_m
    east = np.arange(margin, width * town.resolution_m - margin, recipe.validation.stride_m)
    south = np.arange(margin, height * town.resolution_m - margin, recipe.validation.stride_m)
    return np.stack(np.meshgrid(east, south), axis=2).reshape(-1, 2)


def _polar_tiles(
    town: CachedTown, centres: NDArray[np.float64], recipe: Recipe
) -> NDArray[np.uint8]:
    tile = recipe.tile
    polar = np.empty((len(centres), tile.height, tile.width, 3), np.uint8)
    for i in range(0, len(centres), _CHUNK):
        cut = [town.tile(e, s, tile.extent_m, tile.pixels) for e, s in centres[i : i + _CHUNK]]
        polar[i : i + _CHUNK] = polar_warp(
            np.stack(cut), height=tile.height, width=tile.width, radii=tile.radii
        )
    return polar
