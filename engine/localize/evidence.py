"""What a match is made of: parts of the score by place in the photo, by place on the tile, and by bearing.

For encoders whose features are contributions the decomposition is exact: block k of a descriptor is the sum of the
features over the rows and over that block's columns, so the score, an inner product, is a sum over cells of the
photo's feature map, and just as well over cells of the tile's. Both maps, and the bearings, add up to the score.
Encoders that pool by attention show where they looked instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Branch, Encoder
from engine.encoder.blocks import aligned_queries, block_scores
from engine.encoder.card import FeatureKind
from engine.errors import EncoderError, ImageryError, IndexFolderError
from engine.localize.plan import make_plan
from engine.photo.polar import even_radii
from engine.photo.projections import canvas_to_picture
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.index import Index
    from engine.localize.result import Candidate
    from engine.localize.run import Query

OVERLAY_PIXELS = 512
"""The longer side of the heatmap that is drawn over the photo; it is smooth, so more would show nothing more."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Why a candidate's score is what it is.

    Attributes:
        kind: "contributions": every map adds up to ``score``; "attention": weights of places, at least 0.
        score: similarity of the photo, at the candidate's turn, and the tile.
        photo_map: [H, W] on the query canvas, the photo's centre column in the middle.
        photo_overlay: [h, w] the same over the photo itself, at most 512 pixels wide or high.
        tile_map: [P, P] over the tile; None when the index has no imagery at hand.
        tile_pixels: uint8 [P, P, 3], the tile; None as above.
        bearings: [K] by direction: entry k is for -180 + (k + 0.5) * 360/K degrees from north; empty for encoders
            that do not compare by bearing.
        seen: [K], the share of every bearing that the photo sees, aligned with ``bearings``.
        notices: what could not be shown, and why.
    """

    kind: FeatureKind
    score: float
    photo_map: FloatArray
    photo_overlay: FloatArray
    tile_map: FloatArray | None
    tile_pixels: NDArray[np.uint8] | None
    bearings: FloatArray
    seen: FloatArray
    notices: tuple[str, ...] = ()


def explain(
    query: Query, candidate: Candidate, encoder: Encoder, index: Index, report: Report = silent
) -> Evidence:
    """Take a candidate's score apart.

    The photo and the tile are encoded again, with their features, so the score is that of the tile's pixels as the
    index keeps them; it may differ from the candidate's in the third decimal, by the index's rounding of vectors.

    Raises:
        EncoderError: when the encoder gives no features.
    """
    card = encoder.card
    kind = card.outputs.features
    if kind is None:
        raise EncoderError(
            "this encoder gives no features, so there is no evidence to show", encoder.path
        )
    view = query.seen_as
    plan = make_plan(card, query.heading_deg, full_turn=view.full_turn)
    roll = plan.rolls[int(plan.roll_of[candidate.turn])]
    shift = int(plan.shift_of[candidate.turn])
    report(0, 2, "Looking at the photo")
    canvas = encoder.project(query.photo.pixels, view)
    code = encoder.encode_canvas(canvas, (roll,), with_features=True)
    assert code.features is not None  # asked for
    aligned = aligned_queries(code.descriptor, code.seen, np.zeros(1, np.intp), np.array([shift]))[
        0
    ]
    report(1, 2, "Looking at the tile")
    tile_pixels, notices = _tile_pixels(candidate, encoder, index)
    tile_features = None
    if tile_pixels is None:
        tile = np.asarray(index.vectors(np.array([candidate.tile_id])), np.float32)[0]
    else:
        descriptors, features = encoder.tile_features(tile_pixels[None])
        tile, tile_features = descriptors[0], features[0]

    blocks = card.azimuth_blocks
    # The tile as the unturned photo meets it: its blocks rolled back, weighted by what the photo sees of each.
    weights = code.seen[0] * (blocks / code.seen[0].sum())
    met = np.roll(tile.reshape(blocks, -1), -shift, axis=0) * weights[:, None]
    photo_cells = cell_parts(code.features[0], met, kind)
    tile_map = None
    if tile_features is not None:
        cells = cell_parts(tile_features, aligned.reshape(blocks, -1), kind)
        branch = card.branches.reference
        assert branch.tile_pixels is not None  # the card was checked
        tile_map = on_tile(cells, branch)
    query_branch = card.branches.query
    photo_map = on_canvas(photo_cells, query_branch.input_size, roll)
    height, width = query.photo.pixels.shape[:2]
    scale = min(1.0, OVERLAY_PIXELS / max(height, width))
    overlay_size = max(1, round(width * scale)), max(1, round(height * scale))
    if canvas.mask is None:
        overlay = _stretch(photo_map, overlay_size)
    else:
        overlay = canvas_to_picture(
            photo_map,
            view,
            width=overlay_size[0],
            height=overlay_size[1],
            top_deg=query_branch.top_deg or 0.0,
            bottom_deg=query_branch.bottom_deg or 0.0,
        )
    report(2, 2, "Explained")
    return Evidence(
        kind=kind,
        score=float(aligned @ tile),
        photo_map=photo_map,
        photo_overlay=overlay,
        tile_map=tile_map,
        tile_pixels=tile_pixels,
        bearings=block_scores(aligned, tile, blocks) if blocks > 1 else np.zeros(0, np.float32),
        seen=np.roll(code.seen[0], shift) if blocks > 1 else np.zeros(0, np.float32),
        notices=tuple(notices),
    )


def _tile_pixels(
    candidate: Candidate, encoder: Encoder, index: Index
) -> tuple[NDArray[np.uint8] | None, list[str]]:
    side = encoder.card.branches.reference.tile_pixels
    assert side is not None  # the card was checked
    try:
        return index.crop(candidate.tile_id, side), []
    except (ImageryError, IndexFolderError) as error:
        return None, [f"The tile cannot be shown: {error}"]


def cell_parts(features: FloatArray, against: FloatArray, kind: FeatureKind) -> FloatArray:
    """What every cell of a feature map adds to the score, [h, w]; for attention, how much was looked there.

    Args:
        features: [d, h, w]; for attention [h, w] or [maps, h, w].
        against: [K, d], the blocks of the other side in the features' own frame.
    """
    if kind == "attention":
        weights = features if features.ndim == 2 else features.mean(axis=0)
        return np.maximum(weights, 0.0).astype(np.float32)
    depth, height, width = features.shape
    blocks = len(against)
    grouped = features.reshape(depth, height, blocks, width // blocks)
    return np.einsum("dhkc,kd->hkc", grouped, against).reshape(height, width)


def on_canvas(cells: FloatArray, size: tuple[int, int], roll: int) -> FloatArray:
    """Cells [h, w] of a rolled canvas spread over the upright one [H, W]; the sum stays.

    Bilinear spreading onto a whole multiple of the cells hands every cell out exactly once.
    """
    height, width = size
    rows, columns = cells.shape
    spread = _spread(height, rows, wrap=False).T @ cells @ _spread(width, columns, wrap=True)
    return np.roll(spread, -roll, axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def _spread(pixels: int, cells: int, *, wrap: bool) -> FloatArray:
    """[cells, pixels]: how much of a cell every pixel gets, linear between cell centres; rows add up to 1."""
    position = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    low = np.floor(position).astype(int)
    share = position - low
    weights = np.zeros((cells, pixels))
    for index, part in ((low, 1 - share), (low + 1, share)):
        index = index % cells if wrap else np.clip(index, 0, cells - 1)
        np.add.at(weights, (index, np.arange(pixels)), part)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def on_tile(cells: FloatArray, branch: Branch) -> FloatArray:
    """Cells [h, w] of the reference branch's input spread over the square tile [P, P]; the sum stays."""
    side = branch.tile_pixels or 0
    rows, columns = cells.shape
    if branch.projection != "polar":
        spread = _spread(side, rows, wrap=False).T @ cells @ _spread(side, columns, wrap=False)
        return spread.astype(np.float32)
    pixels, owners, weights = _polar_spread(rows, columns, branch)
    drawn = np.bincount(pixels, weights * cells.ravel()[owners], side * side)
    return drawn.reshape(side, side).astype(np.float32)


@lru_cache(maxsize=8)
def _polar_spread(
    rows: int, columns: int, branch: Branch
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Which pixel of the tile gets how much of which polar cell; every cell is handed out once."""
    side = branch.tile_pixels or 0
    height = branch.input_size[0]
    radii = np.asarray(branch.radii if branch.radii is not None else even_radii(height), np.float64)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    east, north = (x - side / 2) / (side / 2), (side / 2 - y) / (side / 2)
    radius = np.hypot(east, north).ravel()
    bearing = np.degrees(np.arctan2(east, north)).ravel()
    # Radii fall from the top row down; a half row beyond either end still belongs to that row.
    order = np.argsort(radii)
    image_row = np.interp(radius, radii[order], (np.arange(height) + 0.5)[order])
    gap = abs(radii[0] - radii[1]) / 2 if height > 1 else 0.0
    inside = np.flatnonzero(radius <= radii.max() + gap)
    row = image_row[inside] * rows / height - 0.5
    column = (bearing[inside] + 180.0) / 360.0 * columns - 0.5
    low_row, low_column = np.floor(row).astype(int), np.floor(column).astype(int)
    row_share, column_share = row - low_row, column - low_column
    parts = []
    for dr, row_weight in ((0, 1 - row_share), (1, row_share)):
        for dc, column_weight in ((0, 1 - column_share), (1, column_share)):
            owner = np.clip(low_row + dr, 0, rows - 1) * columns + (low_column + dc) % columns
            parts.append((inside, owner, row_weight * column_weight))
    pixels, owners, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    total = np.bincount(owners, weights, rows * columns)
    missed = np.flatnonzero(
        total == 0
    )  # cells smaller than a pixel: their share goes to the tile's middle
    if len(missed):
        middle = np.full(len(missed), (side // 2) * side + side // 2)
        pixels, owners = np.concatenate([pixels, middle]), np.concatenate([owners, missed])
        weights = np.concatenate([weights, np.ones(len(missed))])
        total[missed] = 1.0
    return pixels, owners, weights / total[owners]


def _stretch(values: FloatArray, size: tuple[int, int]) -> FloatArray:
    width, height = size
    rows = np.minimum((np.arange(height) * values.shape[0]) // height, values.shape[0] - 1)
    columns = np.minimum((np.arange(width) * values.shape[1]) // width, values.shape[1] - 1)
    return values[rows][:, columns]
