"""One search over an index for all turns of a photo, and the distinct places among the tiles it finds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.geo import LocalFrame
from engine.index.filters import Allowed
from engine.localize.refine import Neighbourhood, refine, smooth, support
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.index import Index
    from engine.localize.plan import Plan

TILES_A_TURN = 128
"""Tiles asked for every turn. A place holds up to some ten tiles that score alike, so ten places need about this."""

POOL = 2048
"""Tiles kept of what all turns found together."""

PLACES = 24
"""Distinct places whose support is measured; the right one is hardly ever farther down by its best tile's score."""

SEPARATION_STRIDES = 1.5
SEPARATION_EXTENTS = 0.2
"""Two tiles nearer than the larger of these show one place: the worse one is folded into the better."""

SEPARATION_PHOTOS_M = 5.0
"""Two photos of the street taken nearer to each other than this are of one place, whichever way they look."""

NEIGHBOUR_STRIDES = 1.6
"""Tiles this near to a place's best one take part in placing it: three by three on a regular grid."""


@dataclass(frozen=True, eq=False)
class Found:
    """The tiles a search found, best first, every one once.

    Attributes:
        ids: [n] tile ids.
        scores: [n], the best over all turns.
        turns: [n], the hypothesis of the plan that gave it.
        run_seconds: the index's own time.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    turns: NDArray[np.intp]
    run_seconds: float


@dataclass(frozen=True, eq=False)
class Place:
    """A distinct place: its best tile, how much speaks for it, and where between the tiles the photo fits best."""

    tile_id: int
    score: float
    support: float
    turn: int
    tile_lat: float
    tile_lon: float
    lat: float
    lon: float
    heading_deg: float


def search_tiles(
    queries: NDArray[np.float32],
    index: Index,
    *,
    count: int = TILES_A_TURN,
    allowed: Allowed | None = None,
    report: Report = silent,
) -> Found:
    """The best tiles for queries [Q, D] of one photo, by their best turn.

    Args:
        count: tiles asked for every turn.
        allowed: the tiles that may answer; None: all.
        report: raising :class:`engine.errors.Cancelled` from it ends the search.
    """
    count *= max(1, len(index.manifest.extents_m))  # so many rows may lie at one place
    if allowed is not None:
        _ = allowed.count  # looking up who may answer is not the search's own time
    start = time.perf_counter()
    scores, tiles = index.search(queries, count, allowed, report)
    seconds = time.perf_counter() - start
    flat, owners = scores.ravel(), tiles.ravel()
    order = np.argsort(-flat, kind="stable")
    order = order[owners[order] >= 0]  # faiss fills up with -1 where there are too few
    _, first = np.unique(owners[order], return_index=True)
    best = order[np.sort(first)][:POOL]
    return Found(owners[best].astype(np.int64), flat[best], best // scores.shape[1], seconds)


def separation_m(extent_m: float, stride_m: float) -> float:
    """How far apart two tiles must be to be two places, metres."""
    return max(SEPARATION_STRIDES * stride_m, SEPARATION_EXTENTS * extent_m)


def distinct(
    east: NDArray[np.float64], north: NDArray[np.float64], separation: float, count: int
) -> NDArray[np.intp]:
    """Non-maximum suppression: the first of the points, best first, that lie ``separation`` apart; up to ``count``."""
    left = np.arange(len(east))
    kept: list[int] = []
    while len(left) and len(kept) < count:
        best = left[0]
        kept.append(int(best))
        away = (east[left] - east[best]) ** 2 + (north[left] - north[best]) ** 2 >= separation**2
        left = left[away]
    return np.asarray(kept, np.intp)


def places_of(
    found: Found,
    queries: NDArray[np.float32],
    plan: Plan,
    index: Index,
    *,
    count: int = PLACES,
    refined: int = 10,
    allowed: Allowed | None = None,
) -> list[Place]:
    """Distinct places among the tiles found, by falling support; the first ``refined`` are placed between tiles."""
    if not len(found.ids):
        return []
    lat, lon = centres_of(index, found.ids)
    frame = LocalFrame(float(lat[0]), float(lon[0]))
    east, north = frame.to_local(lat, lon)
    manifest = index.manifest
    apart = SEPARATION_PHOTOS_M
    if manifest.kind != "street":
        apart = separation_m(manifest.extent_m, manifest.stride_m)
    picks = distinct(east, north, apart, count)
    # Of several extents each is a surface of its own, and the rows at one place are one candidate.
    extents = _extents_of(index, found.ids[picks])
    placed = np.array([smooth(extent, manifest.stride_m) for extent in extents.tolist()])
    reach = np.where(placed, NEIGHBOUR_STRIDES * manifest.stride_m, 0.0)
    stride = manifest.stride_m or 1.0  # on no grid there are no neighbours to measure in strides
    around = _neighbourhoods(
        lat[picks], lon[picks], index, queries, found.ids[picks], allowed, reach
    )
    supports = np.array([support(neighbours, stride) for neighbours in around])
    order = np.argsort(-supports, kind="stable")
    picks = picks[order]
    turns = found.turns[picks]
    headings = plan.headings[turns]
    moved = np.zeros((2, len(picks)))
    for rank, place in enumerate(order[:refined]):
        at = refine(around[place], plan, int(turns[rank]), stride)
        moved[:, rank] = at.east_m, at.north_m
        headings[rank] = at.heading_deg
    place_lat, place_lon = frame.to_wgs84(east[picks] + moved[0], north[picks] + moved[1])
    return [
        Place(
            tile_id=int(found.ids[pick]),
            score=float(found.scores[pick]),
            support=float(supports[order[rank]]),
            turn=int(turns[rank]),
            tile_lat=float(lat[pick]),
            tile_lon=float(lon[pick]),
            lat=float(place_lat[rank]),
            lon=float(place_lon[rank]),
            heading_deg=float(headings[rank]),
        )
        for rank, pick in enumerate(picks)
    ]


def centres_of(
    index: Index, ids: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes of tiles by id."""
    return index.positions(ids)


def _extents_of(index: Index, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Metres along the sides of tiles."""
    if len(index.manifest.extents_m) > 1:
        return np.array([tile.extent_m for tile in index.tiles(ids)], np.float32)
    return np.full(len(ids), index.manifest.extent_m, np.float32)


def _neighbourhoods(
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    index: Index,
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    allowed: Allowed | None,
    reach_m: NDArray[np.float64],
) -> list[Neighbourhood]:
    """The tiles of a place's extent within its ``reach_m``, with their scores for all turns; with 0 its own alone.

    One read of vectors for all together.
    """
    if not len(lat):
        return []
    around = [own[i : i + 1] for i in range(len(own))]
    wide = np.flatnonzero(reach_m)
    if len(wide):
        some = index.around(lat[wide], lon[wide], float(reach_m.max()))
        for number, near in zip(wide.tolist(), some, strict=True):
            around[number] = near
        if len(index.manifest.extents_m) > 1:
            mine = _extents_of(index, own)
            around = [
                near[_extents_of(index, near) == extent]
                for near, extent in zip(around, mine, strict=True)
            ]
    if allowed is not None:
        around = [near[allowed.contains(near)] for near in around]
    frame = LocalFrame(float(lat[0]), float(lon[0]))
    own_east, own_north = frame.to_local(lat, lon)
    together = np.unique(np.concatenate(around))
    # Not by "@": its threads would wait for those that faiss has just left spinning, ten times as long as this takes.
    scores = np.einsum("nd,qd->nq", index.vectors(together), queries)
    east, north = frame.to_local(*centres_of(index, together))
    result: list[Neighbourhood] = []
    for number, near in enumerate(around):
        rows = np.searchsorted(together, near)
        result.append(
            Neighbourhood(
                east[rows] - own_east[number], north[rows] - own_north[number], scores[rows]
            )
        )
    return result
