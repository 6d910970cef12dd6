"""Is the evidence what the score is made of? Blank what it marks most, and see what the score loses.

A heatmap is faithful when blanking the tenth of an image that it marks most lowers the score more than blanking other
tenths does. Random tenths are made of patches as large as the heatmap's own cells, so that they do not win or lose by
being finer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Branch, Canvas, Encoder
from engine.encoder.blocks import aligned_queries
from engine.index import Index
from engine.localize.evidence import explain
from engine.localize.plan import make_plan
from engine.localize.result import Candidate
from engine.localize.run import Query

SHARE = 0.1
RANDOM_TRIES = 5


@dataclass(frozen=True)
class Drop:
    """How much the score falls when a tenth of an image is blanked: the most marked one, and random ones (mean)."""

    marked: float
    random: float


def drops(
    query: Query, candidate: Candidate, encoder: Encoder, index: Index, rng: np.random.Generator
) -> tuple[Drop, Drop]:
    """The drops for blanking parts of the photo, and parts of the tile.

    Blank pixels take the mean colour of the card: 0 after normalisation. Parts of the canvas that the photo does not
    show are never chosen.
    """
    evidence = explain(query, candidate, encoder, index)
    assert evidence.tile_pixels is not None and evidence.tile_map is not None
    assert evidence.tiles is not None
    card = encoder.card
    nearest = int(np.argmin(card.tile_extents_m))  # of several extents, the one that the map is of
    plan = make_plan(card, query.heading_deg)
    rolls = (plan.rolls[int(plan.roll_of[candidate.turn])],)
    shift = np.array([int(plan.shift_of[candidate.turn])])
    canvas = encoder.project(query.photo.pixels, query.seen_as)
    seen = canvas.mask

    def vector(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        code = encoder.encode_canvas(Canvas(pixels, seen), rolls)
        return aligned_queries(code.descriptor, code.seen, np.zeros(1, np.intp), shift)[0]

    whole_photo, whole_tile = (
        vector(canvas.pixels),
        encoder.encode_tiles(evidence.tiles[None])[0],
    )
    score = float(whole_photo @ whole_tile)
    query_branch, reference_branch = card.branches.query, card.branches.reference

    def photo_drop(marks: NDArray[np.float32]) -> float:
        return score - float(vector(_blank(canvas.pixels, marks, seen, query_branch)) @ whole_tile)

    everywhere = np.ones(evidence.tile_map.shape, bool)

    def tile_drop(marks: NDArray[np.float32]) -> float:
        blanked = _blank(evidence.tile_pixels, marks, everywhere, reference_branch)  # pyright: ignore[reportArgumentType]
        tiles = blanked
        if evidence.tiles is not evidence.tile_pixels:
            tiles = np.array(evidence.tiles)
            tiles[nearest] = blanked
        return score - float(whole_photo @ encoder.encode_tiles(tiles[None])[0])

    height, width = canvas.mask.shape
    photo = Drop(
        photo_drop(evidence.photo_map),
        float(np.mean([photo_drop(_patches(height, width, rng)) for _ in range(RANDOM_TRIES)])),
    )
    side = len(evidence.tile_map)
    tile = Drop(
        tile_drop(evidence.tile_map),
        float(np.mean([tile_drop(_patches(side, side, rng)) for _ in range(RANDOM_TRIES)])),
    )
    return photo, tile


def _blank(
    pixels: NDArray[np.uint8], marks: NDArray[np.float32], where: NDArray[np.bool_], branch: Branch
) -> NDArray[np.uint8]:
    """The most marked tenth of ``where`` in the branch's mean colour."""
    places = np.flatnonzero(where)
    count = max(1, round(SHARE * len(places)))
    chosen = places[np.argsort(-marks.ravel()[places], kind="stable")[:count]]
    blanked = pixels.reshape(-1, 3).copy()
    mean = branch.mean if branch.channels == "RGB" else branch.mean[::-1]
    blanked[chosen] = np.rint(255 * np.array(mean))
    return blanked.reshape(pixels.shape)


def _patches(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random marks in patches of an eighth of the height."""
    size = max(1, min(height, width) // 8)
    cells = rng.random((-(-height // size), -(-width // size))).astype(np.float32)
    return cells.repeat(size, axis=0).repeat(size, axis=1)[:height, :width]
