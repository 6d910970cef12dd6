"""Measuring an encoder on a dataset, through the same search that answers a user."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.datasets.world import PANORAMA_FOV_DEG, Truth, World
from engine.encoder import Encoder
from engine.errors import DatasetError
from engine.evaluation.curves import Curve, distance_curve, recall_curve
from engine.evaluation.metrics import median, one_percent, rank_of, recall_at, recall_within
from engine.geo import LocalFrame, distance_m, heading_difference
from engine.index import Index
from engine.localize import Query, Result, localize
from engine.localize.plan import make_plan
from engine.localize.run import queries_of
from engine.localize.search import centres_of
from engine.photo import read_photo, view_of
from engine.photo.projections import crop_to_fov
from engine.progress import Report, silent

PLACES = 10
RIGHT_M = 25.0
"""The first answer counts as right within this; its heading is measured then."""

VECTOR_CHUNK = 4096
QUERY_GROUP = 32


@dataclass(frozen=True, eq=False)
class Answer:
    """One query with its truth."""

    truth: Truth
    result: Result
    distances_m: NDArray[np.float64]

    @property
    def heading_error_deg(self) -> float | None:
        """Of the first candidate, where it names a heading."""
        best = self.result.best
        if best is None or best.heading_deg is None:
            return None
        return float(heading_difference(best.heading_deg, self.truth.heading_deg))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All answers of a run and what they amount to.

    Attributes:
        answers: one a query, in the dataset's order.
        tile_ranks: [queries] rank of the tile nearest to the truth among all tiles; None where not asked for.
        hits: [queries] whether the first tile covers the truth.
    """

    dataset: str
    encoder: Encoder
    index: Index
    heading_known: bool
    fov_deg: float
    answers: tuple[Answer, ...]
    tile_ranks: NDArray[np.int64] | None
    hits: NDArray[np.bool_]
    seconds: float

    def curves(self) -> list[Curve]:
        """Recall over tiles looked at, where they were ranked, and over metres allowed."""
        distances = np.array([answer.distances_m[0] for answer in self.answers])
        ranked = self.tile_ranks
        over_tiles = [] if ranked is None else [recall_curve(ranked - 1, self.index.manifest.count)]
        return [*over_tiles, distance_curve(distances)]

    def to_dict(self) -> dict[str, Any]:
        """The object that ``nadir evaluate --json`` writes; fractions, and null where something does not apply."""
        distances = np.stack([answer.distances_m for answer in self.answers])
        ranks, tiles = self.tile_ranks, self.index.manifest.count
        right = [a for a in self.answers if a.distances_m[0] <= RIGHT_M]
        headings = [a.heading_error_deg for a in right if a.heading_error_deg is not None]
        covered = [
            a.distances_m[0] <= a.result.posterior.radius_m
            for a in self.answers
            if a.result.posterior is not None and a.result.posterior.radius_m is not None
        ]
        times = [a.result.timings for a in self.answers]

        def of_ranks(k: int) -> float | None:
            return None if ranks is None else _rounded(recall_at(ranks, k))

        return {
            "queries": len(self.answers),
            "R@1": of_ranks(1),
            "R@5": of_ranks(5),
            "R@10": of_ranks(10),
            "R@1%": of_ranks(one_percent(tiles)),
            "hit_rate": _rounded(float(self.hits.mean())),
            **{
                f"R@{k}<{limit}m": _rounded(recall_within(distances, k, limit))
                for k, limit in ((1, 25), (5, 25), (10, 25), (1, 50), (5, 50))
            },
            "median_error_m": _rounded(median(distances[:, 0])),
            "median_heading_error_deg": None
            if self.heading_known
            else _rounded(median(np.array(headings))),
            "dataset": self.dataset,
            "encoder": {"name": self.encoder.name, "hash": self.encoder.hash},
            "index": {"name": self.index.manifest.name, "hash": self.index.hash},
            "seconds": round(self.seconds, 2),
            "heading": "known" if self.heading_known else "unknown",
            "fov_deg": self.fov_deg,
            "tiles": tiles,
            "stride_m": self.index.manifest.stride_m,
            "seconds_per_query": _rounded(median(np.array([t.total for t in times]))),
            "own_share": _rounded(median(np.array([t.own_share for t in times]))),
            "radius_given": _rounded(len(covered) / len(self.answers)) if covered else None,
            "radius_held": _rounded(float(np.mean(covered))) if covered else None,
        }


def query_of(
    truth: Truth, *, heading_known: bool, fov_deg: float, top: int = PLACES
) -> Query | None:
    """The query that a user with this photo would make; None where the photo is narrower than ``fov_deg``.

    The field of view is the dataset's; pitch and roll are what the file itself says, as for any photo of a user.
    """
    photo = read_photo(truth.file)
    kind = "panorama" if truth.is_panorama else "perspective"
    view = replace(view_of(photo.facts), kind=kind, fov_deg=truth.fov_deg)
    if truth.fov_deg < fov_deg - 0.5:
        return None
    pixels, view = crop_to_fov(photo.pixels, view, fov_deg)
    photo = replace(photo, pixels=pixels)
    return Query(photo, truth.heading_deg if heading_known else None, view, top)


def evaluate(
    world: World,
    encoder: Encoder,
    index: Index,
    *,
    heading_known: bool,
    fov_deg: float = PANORAMA_FOV_DEG,
    split: str | None = None,
    limit: int | None = None,
    with_ranks: bool = True,
    report: Report = silent,
) -> Evaluation:
    """Locate every query of a dataset and compare with the truth.

    Args:
        fov_deg: 360: the panoramas; below: the perspective photos, cropped to this; narrower ones are left out.
        split: of the queries, None: all.
        limit: the first so many queries only.
        with_ranks: also rank the nearest tile among all tiles (R@K); a full comparison with every tile.

    Raises:
        DatasetError: when there is no such query.
    """
    start = time.perf_counter()
    truths = world.queries(fov_deg, split)[:limit]
    answers: list[Answer] = []
    stacks: list[NDArray[np.float32]] = []
    for number, truth in enumerate(truths):
        report(number, len(truths), f"Locating {truth.file.name}")
        query = query_of(truth, heading_known=heading_known, fov_deg=fov_deg)
        if query is None:
            continue
        result = localize(query, encoder, index)
        answers.append(Answer(truth, result, distances_from(truth, result)))
        if with_ranks:
            stacks.append(_vectors_of(query, encoder))
    if not answers:
        what = "panoramas" if fov_deg >= PANORAMA_FOV_DEG else f"photos of {fov_deg:g}° or more"
        remedy = "Ask for a smaller --fov, or 360 for the panoramas"
        if fov_deg >= PANORAMA_FOV_DEG:
            remedy = "Ask for its photos with --fov 90"
        if split is not None:
            what += f" of the split {split!r}"
        raise DatasetError(f"holds no {what} to evaluate", world.folder, remedy)
    positions = np.array([(a.truth.lat, a.truth.lon) for a in answers])
    ranks = nearest_tile_ranks(stacks, positions, index, report) if with_ranks else None
    return Evaluation(
        dataset=world.name,
        encoder=encoder,
        index=index,
        heading_known=heading_known,
        fov_deg=fov_deg,
        answers=tuple(answers),
        tile_ranks=ranks,
        hits=np.array([_covers(a, index.manifest.extent_m) for a in answers]),
        seconds=time.perf_counter() - start,
    )


def distances_from(truth: Truth, result: Result) -> NDArray[np.float64]:
    """Metres from the truth to every one of :data:`PLACES` places, infinity where there are fewer."""
    distances = np.full(PLACES, np.inf)
    for place, candidate in enumerate(result.candidates[:PLACES]):
        distances[place] = distance_m(truth.lat, truth.lon, candidate.lat, candidate.lon)
    return distances


def nearest_tile_ranks(
    stacks: Sequence[NDArray[np.float32]],
    positions: NDArray[np.float64],
    index: Index,
    report: Report = silent,
) -> NDArray[np.int64]:
    """Rank, among all tiles, of the tile whose centre is nearest to each position [n, (lat, lon)].

    Args:
        stacks: for every query its vectors [Q, D]; a tile's score is the best over them.
    """
    count = index.manifest.count
    everything = np.arange(count)
    lat, lon = centres_of(index, everything)
    ranks = np.zeros(len(stacks), np.int64)
    for first in range(0, len(stacks), QUERY_GROUP):
        group = stacks[first : first + QUERY_GROUP]
        scores = np.empty((len(group), count), np.float32)
        for start in range(0, count, VECTOR_CHUNK):
            report(first, len(stacks), "Ranking all tiles")
            vectors = index.vectors(everything[start : start + VECTOR_CHUNK])
            for row, stack in enumerate(group):
                scores[row, start : start + len(vectors)] = (vectors @ stack.T).max(axis=1)
        for row in range(len(group)):
            here = positions[first + row]
            nearest = int(np.argmin(distance_m(here[0], here[1], lat, lon)))
            ranks[first + row] = rank_of(float(scores[row, nearest]), scores[row])
    return ranks


def _vectors_of(query: Query, encoder: Encoder) -> NDArray[np.float32]:
    plan = make_plan(encoder.card, query.heading_deg)
    code = encoder.encode_photo(query.photo.pixels, query.seen_as, plan.rolls)
    return queries_of(code, plan, query.photo)


def _covers(answer: Answer, extent_m: float) -> bool:
    best = answer.result.best
    if best is None:
        return False
    east, north = LocalFrame(best.tile_lat, best.tile_lon).to_local(
        answer.truth.lat, answer.truth.lon
    )
    return bool(max(abs(float(east)), abs(float(north))) <= extent_m / 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
