"""What a match is made of: parts of the score by place in the photo, by place on the tile, and by bearing.

For encoders whose features are contributions the decomposition is exact. A descriptor (or each of its K blocks by
bearing) is the sum of the features over the cells of the map (or over that block's columns); so the score, an inner
product, is a sum over cells of the photo's feature map, and just as well over cells of the tile's. Both maps, and the
bearings where there are any, add up to the score. Where a tile is read at several extents, each extent's cells are a
part of that sum: the nearest one's are drawn, and what the others hold is said beside it. Encoders that pool by
attention show where they looked instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Card, Encoder
from engine.encoder.blocks import aligned_queries, block_scores
from engine.encoder.card import FeatureKind
from engine.errors import EncoderError, ImageryError, IndexFolderError
from engine.localize.plan import make_plan
from engine.localize.spreading import on_canvas, on_picture, on_tile, over_photo
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.index import Index
    from engine.localize.result import Candidate
    from engine.localize.run import Query

OVERLAY_PIXELS = 512
"""The longer side of the heatmap that is drawn over the photo; it is smooth, so more would show nothing more."""

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ExtentPart:
    """What one of several extents adds to the score; of attention, its share of the weights."""

    extent_m: float
    part: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """Why a candidate's score is what it is.

    Attributes:
        kind: "contributions": every map adds up to ``score``; "attention": weights of places, at least 0, which say
            where the encoder looked and not what spoke for the match.
        score: similarity of the photo, at the candidate's turn, and the tile.
        photo_map: [H, W] on the query branch's input; on a canvas the photo's centre column is in the middle.
        photo_overlay: [h, w] the same over the photo itself, at most 512 pixels wide or high.
        tile_map: [P, P] over the tile, north up; None when the index has no imagery at hand. With several extents it
            is over the nearest one, and adds up to that one's part. Where the reference is a photo it lies over that
            and has its shape, at most 512 pixels wide or high.
        tile_pixels: uint8 [P, P, 3], the tile, the nearest of several extents, or the photo [H, W, 3]; None as above.
        tiles: uint8, what the encoder was given: [P, P, 3], [S, P, P, 3], or the photo; None as above.
        bearings: [K] by direction: entry k is for -180 + (k + 0.5) * 360/K degrees from north; None for encoders
            that do not compare by bearing.
        seen: [K], the share of every bearing that the photo sees, aligned with ``bearings``; None as they are.
        extents: what every extent of several adds, as the card orders them; empty where there is one.
        notices: what must be known beside the maps: what could not be shown, and why; what lies elsewhere.
    """

    kind: FeatureKind
    score: float
    photo_map: FloatArray
    photo_overlay: FloatArray
    tile_map: FloatArray | None
    tile_pixels: Pixels | None
    tiles: Pixels | None
    bearings: FloatArray | None
    seen: FloatArray | None
    extents: tuple[ExtentPart, ...] = ()
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
    plan = make_plan(card, query.heading_deg)
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
    picture = _is_picture(candidate, index)
    tiles, notices = _tile_pixels(candidate, encoder, index, picture)
    tile_features = None
    if tiles is None:
        tile = np.asarray(index.vectors(np.array([candidate.tile_id])), np.float32)[0]
    elif picture:
        tile, tile_features = encoder.picture_features(tiles)
    else:
        descriptors, features = encoder.tile_features(tiles[None])
        tile, tile_features = descriptors[0], features[0]

    blocks = card.azimuth_blocks
    # The tile as the unturned photo meets it: its blocks rolled back, weighted by what the photo sees of each.
    weights = code.seen[0] * (blocks / code.seen[0].sum())
    met = np.roll(tile.reshape(blocks, -1), -shift, axis=0) * weights[:, None]
    photo_cells = cell_parts(code.features[0], met, kind)
    nearest = int(np.argmin(card.tile_extents_m))
    several = len(card.tile_extents_m) > 1
    tile_map, parts = None, ()
    if tile_features is not None:
        by_extent = tile_features if several else tile_features[None]
        cells = [cell_parts(one, aligned.reshape(blocks, -1), kind) for one in by_extent]
        reference = card.branches.reference
        if picture and tiles is not None and reference.projection == "plain":
            size = _at_most(tiles.shape[0], tiles.shape[1])
            tile_map = on_picture(cells[nearest], reference, size, card.tile_up)
        else:
            tile_map = on_tile(cells[nearest], reference, card.tile_up)
        if several:
            parts = extent_parts(cells, card, index.manifest.extent_m, kind)
            notices.append(extents_said(parts, nearest, kind))
    branch = card.branches.query
    around = branch.projection != "plain"
    photo_map = on_canvas(photo_cells, branch.input_size, roll if around else 0, around=around)
    height, width = query.photo.pixels.shape[:2]
    overlay_size = _at_most(height, width)
    overlay = over_photo(photo_map, branch, view, (height, width), overlay_size)
    report(2, 2, "Explained")
    return Evidence(
        kind=kind,
        score=float(aligned @ tile),
        photo_map=photo_map,
        photo_overlay=overlay,
        tile_map=tile_map,
        tile_pixels=tiles[nearest] if tiles is not None and several else tiles,
        tiles=tiles,
        bearings=block_scores(aligned, tile, blocks) if blocks > 1 else None,
        seen=np.roll(code.seen[0], shift) if blocks > 1 else None,
        extents=parts,
        notices=tuple(notices),
    )


def _at_most(height: int, width: int) -> tuple[int, int]:
    """A size of the same shape, no side larger than :data:`OVERLAY_PIXELS`."""
    scale = min(1.0, OVERLAY_PIXELS / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _is_picture(candidate: Candidate, index: Index) -> bool:
    """Whether a candidate is a picture of its own, not cut from imagery."""
    return index.tiles([candidate.tile_id])[0].picture is not None


def _tile_pixels(
    candidate: Candidate, encoder: Encoder, index: Index, picture: bool
) -> tuple[Pixels | None, list[str]]:
    card, side = encoder.card, encoder.card.branches.reference.tile_pixels
    assert side is not None  # the card was checked
    missing = card.branches.reference.missing_value
    try:
        if picture:
            return index.picture(candidate.tile_id), []
        if len(card.tile_extents_m) == 1:
            return index.crop(candidate.tile_id, side, missing=missing), []
        cuts = [
            index.crop(candidate.tile_id, side, extent_m=extent, missing=missing)
            for extent in ground_extents(card, index.manifest.extent_m)
        ]
        return np.stack(cuts), []
    except (ImageryError, IndexFolderError) as error:
        what = "photo" if index.manifest.kind == "street" else "tile"
        return None, [f"The {what} cannot be shown: {error}"]


def ground_extents(card: Card, extent_m: float) -> tuple[float, ...]:
    """The extents that are read together in an index whose tiles, the nearest of them, are ``extent_m`` wide."""
    return tuple(each * extent_m / card.extent_m for each in card.tile_extents_m)


def extent_parts(
    cells: list[FloatArray], card: Card, extent_m: float, kind: FeatureKind
) -> tuple[ExtentPart, ...]:
    """What every extent's cells add up to; of attention, the shares of all weights."""
    sums = [float(part.sum()) for part in cells]
    whole = sum(sums) if kind == "attention" else 1.0
    extents = ground_extents(card, extent_m)
    return tuple(
        ExtentPart(e, part / (whole or 1.0)) for e, part in zip(extents, sums, strict=True)
    )


def extents_said(parts: tuple[ExtentPart, ...], nearest: int, kind: FeatureKind) -> str:
    """In words, what the nearest extent, which is shown, and the others hold."""
    if kind == "attention":
        values = [f"{100 * each.part:.0f} %" for each in parts]
    else:
        values = [f"{each.part:.3f}" for each in parts]
    others = ", ".join(
        f"{value} on {each.extent_m:.0f} m"
        for number, (each, value) in enumerate(zip(parts, values, strict=True))
        if number != nearest
    )
    what = "of what it looked at" if kind == "attention" else "of the score"
    return (
        f"This encoder reads {len(parts)} extents of a place together. Shown is the nearest, "
        f"{parts[nearest].extent_m:.0f} m across, with {values[nearest]} {what}; the others hold {others}."
    )


def cell_parts(features: FloatArray, against: FloatArray, kind: FeatureKind) -> FloatArray:
    """What every cell of a feature map adds to the score, [h, w]; for attention, how much was looked there.

    Args:
        features: [d, h, w]; for attention [h, w] or [maps, h, w], whose mean is taken.
        against: [K, d], the blocks of the other side in the features' own frame.
    """
    if kind == "attention":
        weights = features if features.ndim == 2 else features.mean(axis=0)
        return np.maximum(weights, 0.0).astype(np.float32)
    depth, height, width = features.shape
    blocks = len(against)
    grouped = features.reshape(depth, height, blocks, width // blocks)
    return np.einsum("dhkc,kd->hkc", grouped, against).reshape(height, width)
