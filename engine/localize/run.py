"""From a photo to places: plan, project, encode, search, refine, weigh."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.encoder import Encoder, PhotoCode
from engine.encoder.blocks import aligned_queries
from engine.errors import EncoderError, PhotoError
from engine.geo import distance_m
from engine.index.filters import Filter
from engine.localize.plan import Plan, make_plan
from engine.localize.posterior import Calibration, Posterior, make_posterior
from engine.localize.result import Candidate, PlanSummary, Result, Source, Timings
from engine.localize.search import Place, places_of, search_tiles
from engine.photo.facts import Photo
from engine.photo.projections import View, view_of
from engine.progress import Report, part, silent

if TYPE_CHECKING:
    from engine.index import Index

UNCALIBRATED = (
    "Scores are not probabilities: this encoder is not calibrated, so no confidence is given."
)
NO_HEADING = (
    "This encoder answers no heading: it says where a photo was taken, not which way it looks."
)
FLATTENED = (
    "This encoder reads photos as they are, and a panorama is squeezed flat for it: cut the view to one side out of "
    "it for a better answer."
)
OTHER_IMAGERY = (
    "Scores are not probabilities: this encoder was calibrated on {data}, and this index shows other imagery, so no "
    "confidence is given."
)


@dataclass(frozen=True, eq=False)
class Query:
    """A photo and what the user says about it.

    Attributes:
        photo: as read.
        heading_deg: degrees clockwise from north of the centre column; None: to be found.
        view: how the photo sees the world, with the user's corrections; None: what its facts say.
        top: candidates wanted.
        filter: which tiles may answer; None: all.
    """

    photo: Photo
    heading_deg: float | None = None
    view: View | None = None
    top: int = 10
    filter: Filter | None = None

    @property
    def seen_as(self) -> View:
        """The view in force."""
        return self.view if self.view is not None else view_of(self.photo.facts)


def localize(query: Query, encoder: Encoder, index: Index, report: Report = silent) -> Result:
    """Find where a photo was taken.

    Args:
        report: called between the steps; raising :class:`engine.errors.Cancelled` from it stops the work.

    Raises:
        PhotoError: when the photo shows nothing that the encoder looks at.
        IndexFolderError: from the index.
    """
    start = time.perf_counter()
    view = query.seen_as
    plan = make_plan(encoder.card, query.heading_deg)
    report(0, 3, "Reading the photo")
    canvas = encoder.project(query.photo.pixels, view)
    projected = time.perf_counter()
    report(1, 3, "Encoding")
    code = encoder.encode_canvas(canvas, plan.rolls)
    queries = queries_of(code, plan, query.photo)
    encoded = time.perf_counter()
    of_photos = index.manifest.kind == "street"
    searching = f"Searching {index.manifest.count:,} {'photos' if of_photos else 'tiles'}"
    report(2, 3, searching)
    allowed = None if query.filter is None or query.filter.empty else index.select(query.filter)
    found = search_tiles(
        queries, index, allowed=allowed, report=part(report, 2 / 3, 1.0, searching)
    )
    searched = time.perf_counter()
    places = places_of(found, queries, plan, index, refined=query.top, allowed=allowed)
    calibration = calibration_of(encoder)
    fits = calibration is not None and calibration.attribution == index.manifest.attribution
    seen_share = float(code.seen.mean())
    posterior = weigh(places, calibration if fits else None, seen_share, query.heading_deg is None)
    candidates = _candidates(places[: query.top], posterior, plan, index)
    done = time.perf_counter()
    report(3, 3, "Located")
    return Result(
        photo_name=query.photo.name,
        photo_sha256=query.photo.sha256,
        facts=query.photo.facts,
        plan=PlanSummary(
            heading_deg=query.heading_deg,
            kind=view.kind,
            fov_deg=view.fov_deg,
            pitch_deg=view.pitch_deg,
            roll_deg=view.roll_deg,
            turns=len(plan),
            encodings=len(code.rolls),
            seen_share=round(seen_share, 4),
            tiles=index.manifest.count if allowed is None else allowed.count,
            knows_heading=plan.turns,
        ),
        candidates=candidates,
        posterior=posterior,
        extent_m=index.manifest.extent_m,
        timings=Timings(
            project=projected - start,
            encode=encoded - projected,
            encode_run=code.run_seconds,
            search=searched - encoded,
            search_run=found.run_seconds,
            refine=done - searched,
            total=done - start,
        ),
        encoder=Source(encoder.name, encoder.hash, {"device": encoder.device}),
        index=Source(index.manifest.name, index.hash, _about(index)),
        notices=tuple(notices_for(query, encoder, places, calibration, fits, of_photos)),
        references=index.manifest.kind,
    )


def queries_of(code: PhotoCode, plan: Plan, photo: Photo) -> NDArray[np.float32]:
    """The vectors [Q, D] that are searched for a plan's hypotheses."""
    if not code.seen.any(axis=1).all():
        raise PhotoError(
            "shows nothing near the horizon, so there is nothing to compare",
            photo.name,
            "Correct its field of view and pitch, or use another photo",
        )
    return aligned_queries(code.descriptor, code.seen, plan.roll_of, plan.shift_of)


def calibration_of(encoder: Encoder) -> Calibration | None:
    """The card's calibration, read and checked."""
    raw = encoder.card.calibration
    if raw is None:
        return None
    try:
        return Calibration.from_dict(raw)
    except EncoderError as error:
        raise EncoderError(error.problem, encoder.path, error.remedy) from error


def weigh(
    places: list[Place], calibration: Calibration | None, seen_share: float, unknown: bool
) -> Posterior | None:
    """The posterior over places; None without a calibration."""
    if calibration is None or not places:
        return None
    scores = np.array([place.support for place in places])
    lat, lon = np.array([p.lat for p in places]), np.array([p.lon for p in places])
    return make_posterior(
        scores, distance_m(lat[0], lon[0], lat, lon), calibration, seen_share, unknown
    )


def notices_for(
    query: Query,
    encoder: Encoder,
    places: list[Place],
    calibration: Calibration | None,
    calibration_fits: bool,
    of_photos: bool = False,
) -> list[str]:
    """What the user must know beside the answer.

    Args:
        of_photos: the references are photos of the street, not tiles.
    """
    card = encoder.card
    notices = [*query.photo.notes, *encoder.notices]
    if card.training.note:
        notices.append(card.training.note)
    plain = card.branches.query.projection == "plain"  # fields of view mean nothing to it
    if plain:
        unused = (
            " The heading that was given was not used." if query.heading_deg is not None else ""
        )
        notices.append(NO_HEADING + unused)
    if plain and query.seen_as.full_turn:
        notices.append(FLATTENED)
    trained = card.branches.query.fov_trained_deg
    fov = query.seen_as.fov_deg
    if trained is not None and not trained[0] - 1 <= fov <= trained[1] + 1:
        notices.append(
            f"This encoder was trained for fields of view from {trained[0]:.0f}° to {trained[1]:.0f}°; "
            f"this photo has {fov:.0f}°."
        )
    if not plain and query.view is None and query.photo.facts.fov_source == "assumed":
        notices.append(
            f"The field of view is not known; {fov:.0f}° is assumed. Correct it if you know better."
        )
    if not places:
        what = "photo" if of_photos else "tile"
        notices.append(f"No {what} of this index lies in the area that was asked for.")
    elif calibration is None:
        notices.append(UNCALIBRATED)
    elif not calibration_fits:
        notices.append(OTHER_IMAGERY.format(data=calibration.data))
    else:
        notices.append(
            f"Confidence was calibrated on {calibration.data}; it holds for photos like those."
        )
    return notices


def _candidates(
    places: list[Place], posterior: Posterior | None, plan: Plan, index: Index
) -> tuple[Candidate, ...]:
    if not places:
        return ()
    tiles = index.tiles([place.tile_id for place in places])
    lat, lon = np.array([p.lat for p in places]), np.array([p.lon for p in places])
    away = distance_m(lat[0], lon[0], lat, lon)
    of_photos = index.manifest.kind == "street"
    result: list[Candidate] = []
    for rank, place in enumerate(places):
        known = posterior is not None and rank < len(posterior.probabilities)
        result.append(
            Candidate(
                rank=rank + 1,
                tile_id=place.tile_id,
                lat=place.lat,
                lon=place.lon,
                tile_lat=place.tile_lat,
                tile_lon=place.tile_lon,
                score=place.score,
                support=place.support,
                heading_deg=place.heading_deg if plan.turns else None,
                distance_from_first_m=float(away[rank]),
                probability=posterior.probabilities[rank]
                if posterior is not None and known
                else None,
                turn=place.turn,
                extent_m=tiles[rank].extent_m,
                picture=tiles[rank].name,
                picture_heading_deg=tiles[rank].heading_deg if of_photos else None,
            )
        )
    return tuple(result)


def _about(index: Index) -> dict[str, object]:
    manifest = index.manifest
    return {
        "tiles": manifest.count,
        "attribution": manifest.attribution,
        "licence": manifest.licence,
    }
