"""Pairs with their heatmaps as a training goes on, written for people to watch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.localize.evidence import cell_parts, on_canvas, on_tile
from engine.networks import DualEncoder
from engine.networks.evidence import EvidentBranch
from engine.training.preview import PHOTO_WIDTH, TILE_WIDTH, save_heat, save_picture
from engine.training.recipes import Recipe

FOLDER = "pairs"
Heats = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Shown:
    """A photo, turned north, and the tile it was placed in.

    ``canvas`` [H, W, 3] and ``tile`` [P, P, 3] as people see them, ``canvas_input`` [1, 3, H, W] and ``tile_input``
    [1, (S,) 3, h, w] as the networks do. ``facts``: rank of the truth, error_m, similarity.
    """

    name: str
    canvas: NDArray[np.uint8]
    canvas_input: NDArray[np.float32]
    tile: NDArray[np.uint8]
    tile_input: NDArray[np.float32]
    facts: dict[str, Any]


def save_pairs(
    model: DualEncoder, recipe: Recipe, shown: Iterable[Shown], out: Path, step: int
) -> list[dict[str, Any]]:
    """Write every pair below ``out/pairs/STEP``, with heatmaps where the branches have evidence.

    Returns:
        for each that the disk took: name, the files ``photo`` and ``tile`` and, where there are heatmaps,
        ``photo_heat`` and ``tile_heat`` relative to ``out``, and its facts.
    """
    folder = out / FOLDER / str(step)
    pairs = []
    for number, pair in enumerate(shown):
        heats = _heats(model, recipe, pair)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = _write(folder, number, pair, heats)
        except OSError:
            # A disk that is full must not end a training for what is only watched.
            break
        relative = {name: file.relative_to(out).as_posix() for name, file in files.items()}
        pairs.append({"name": pair.name, **relative, **pair.facts})
    return pairs


def _write(folder: Path, number: int, pair: Shown, heats: Heats | None) -> dict[str, Path]:
    files = {
        "photo": save_picture(folder / f"{number}-photo.jpg", pair.canvas, PHOTO_WIDTH),
        "tile": save_picture(folder / f"{number}-tile.jpg", pair.tile, TILE_WIDTH),
    }
    if heats is not None:
        for name, heat, width in (
            ("photo_heat", heats[0], PHOTO_WIDTH),
            ("tile_heat", heats[1], TILE_WIDTH),
        ):
            file = folder / f"{number}-{name.replace('_', '-')}.png"
            files[name] = save_heat(file, heat, width)
    return files


def _heats(model: DualEncoder, recipe: Recipe, pair: Shown) -> Heats | None:
    """Where the match comes from, on the canvas [H, W] and on the tile [P, P]; None without evidence."""
    query, reference = (
        _evidence(model.query, pair.canvas_input),
        _evidence(model.reference, pair.tile_input),
    )
    if query is None or reference is None:
        return None
    blocks = recipe.network.azimuth_blocks
    photo = cell_parts(query[1], reference[0].reshape(blocks, -1), query[2])
    tile = cell_parts(reference[1], query[0].reshape(blocks, -1), reference[2])
    size = recipe.query_branch.input_size
    return on_canvas(photo, size, 0), on_tile(tile, recipe.reference_branch)


def _evidence(branch: nn.Module, image: NDArray[np.float32]) -> tuple[Any, Any, Any] | None:
    """Descriptor [D], features [d, h, w] (of the finest extent) and their kind."""
    if not isinstance(branch, EvidentBranch):
        return None
    device = next(branch.parameters()).device  # pyright: ignore[reportAttributeAccessIssue]
    with torch.no_grad():
        descriptor, features = branch.evidence(torch.from_numpy(image).to(device))
    found = features[0].float().cpu().numpy()
    if image.ndim == 5:
        found = found[0]
    return descriptor[0].float().cpu().numpy(), found, branch.evidence_kind
