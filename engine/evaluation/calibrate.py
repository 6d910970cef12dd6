"""Making probabilities of scores: fitted on held-out queries, checked on others, kept in the encoder's card.

The model is :mod:`engine.localize.posterior`'s. What is fitted holds for pictures like those it was fitted on, and the
calibration says which those were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.datasets.world import Truth, World
from engine.encoder import Encoder
from engine.errors import DatasetError
from engine.evaluation.evaluate import query_of
from engine.evaluation.fitting import logistic_regression, minimise
from engine.geo import distance_m
from engine.index import Index
from engine.localize.plan import make_plan
from engine.localize.posterior import (
    LEVEL,
    Calibration,
    credible_radius,
    first_features,
    outside_features,
    outside_probability,
    place_probabilities,
    softmax_places,
)
from engine.localize.run import queries_of
from engine.localize.search import PLACES, places_of, search_tiles
from engine.localize.words import OUTSIDE
from engine.progress import Report, part, silent

RIGHT_M = 25.0
"""A place is the right one within this; the error's distribution describes what happens inside."""

PRIOR_OUTSIDE = 0.5
"""Before looking, a photo is as likely to be from outside the area as from inside; the card says so."""

MIN_QUERIES = 50
FOVS_DEG = (360.0, 100.0, 80.0, 65.0)
"""Fields of view that pictures are brought to; those that are narrower already are left out."""

ERROR_LEVELS = tuple(i / 40 for i in range(1, 41))

FloatArray = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Sample:
    """One located query with what is true of it.

    Attributes:
        scores: [M] supports of the distinct places, falling.
        distances_m: [M] of the places from the first.
        right: which place is the right one, -1 when none is.
        error_m: distance from the truth to the first place; NaN for photos from outside.
        right_error_m: distance from the truth to the right place; NaN when there is none.
        seen_share: as the posterior uses it.
        unknown: whether the heading had to be found.
        outside: whether the photo was taken outside the index's area.
    """

    scores: FloatArray
    distances_m: FloatArray
    right: int
    error_m: float
    right_error_m: float
    seen_share: float
    unknown: bool
    outside: bool


def sample_of(
    truth: Truth,
    encoder: Encoder,
    index: Index,
    *,
    heading_known: bool,
    fov_deg: float,
    outside: bool = False,
) -> Sample | None:
    """Locate one query and compare; None where the photo is narrower than ``fov_deg``."""
    query = query_of(truth, heading_known=heading_known, fov_deg=fov_deg)
    if query is None:
        return None
    plan = make_plan(encoder.card, query.heading_deg)
    code = encoder.encode_photo(query.photo.pixels, query.seen_as, plan.rolls)
    vectors = queries_of(code, plan, query.photo)
    places = places_of(search_tiles(vectors, index), vectors, plan, index)
    if not places:
        return None
    lat, lon = np.array([p.lat for p in places]), np.array([p.lon for p in places])
    away = np.asarray(distance_m(truth.lat, truth.lon, lat, lon), np.float64)
    right = int(np.argmin(away))
    found = not outside and away[right] <= RIGHT_M
    return Sample(
        scores=np.array([p.support for p in places]),
        distances_m=np.asarray(distance_m(lat[0], lon[0], lat, lon), np.float64),
        right=right if found else -1,
        error_m=float("nan") if outside else float(away[0]),
        right_error_m=float(away[right]) if found else float("nan"),
        seen_share=float(code.seen.mean()),
        unknown=not heading_known,
        outside=outside,
    )


def collect(
    truths: Sequence[Truth],
    encoder: Encoder,
    index: Index,
    *,
    fovs_deg: Iterable[float],
    headings_known: Iterable[bool] = (True, False),
    outside: bool = False,
    report: Report = silent,
) -> list[Sample]:
    """Samples of every query at every field of view, with the heading known and not.

    Panoramas answer 360 only; photos, the rest.
    """
    asked = [
        (truth, fov, known)
        for truth in truths
        for fov in fovs_deg
        for known in headings_known
        if truth.is_panorama == (fov >= 360)
    ]
    samples: list[Sample] = []
    for number, (truth, fov, known) in enumerate(asked):
        report(number, len(asked), f"Calibrating on {truth.file.name}")
        sample = sample_of(truth, encoder, index, heading_known=known, fov_deg=fov, outside=outside)
        if sample is not None:
            samples.append(sample)
    return samples


def calibrate(
    encoder: Encoder,
    index: Index,
    inside: World,
    outside: World | None = None,
    *,
    data: str = "",
    fovs_deg: Sequence[float] = FOVS_DEG,
    report: Report = silent,
) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate an encoder on a dataset.

    Args:
        inside: pictures taken in the index's area, which the encoder was not trained on.
        outside: pictures taken elsewhere, for "probably not in this area".
        data: what they are, in a few words; by default the datasets' names.

    Returns:
        the calibration, fitted on all pictures, and its :func:`reliability` as found by fitting on every second
        picture and checking on the others.
    """
    names = [inside.name, *([outside.name] if outside is not None else [])]
    groups: list[list[Sample]] = [[], []]
    parts = [(inside, False)] + ([(outside, True)] if outside is not None else [])
    for number, (world, is_outside) in enumerate(parts):
        for half in (0, 1):
            step = (2 * number + half) / (2 * len(parts))
            groups[half] += collect(
                world.truths[half::2],
                encoder,
                index,
                fovs_deg=fovs_deg,
                outside=is_outside,
                report=part(report, step, step + 0.5 / len(parts)),
            )
    described = data or " and ".join(names)
    imagery = index.manifest.attribution
    checked = reliability(groups[1], fit_calibration(groups[0], described, imagery))
    return fit_calibration(groups[0] + groups[1], described, imagery), checked


def fit_calibration(samples: Sequence[Sample], data: str, attribution: str = "") -> Calibration:
    """Fit the model of :mod:`engine.localize.posterior`.

    Args:
        samples: of photos inside the area, and some from outside for "probably not in this area".
        data: what the samples are, one sentence; shown beside the probabilities.
        attribution: of the imagery they were searched in.

    Raises:
        DatasetError: when there are too few samples to say anything.
    """
    inside = [s for s in samples if not s.outside]
    right = [s for s in inside if s.right == 0]  # the error is told of the first place
    if len(inside) < MIN_QUERIES or len(right) < MIN_QUERIES // 2:
        raise DatasetError(
            f"{len(right)} of {len(inside)} queries answered rightly are too few to calibrate on",
            None,
            f"Give at least {MIN_QUERIES} queries of a town that the encoder handles",
        )
    temperature, rest = _fit_temperature(inside)
    scale, quantiles = _fit_errors(right)
    fitted = Calibration(
        temperature=temperature,
        rest=rest,
        first=(0.0, 1.0, 0.0, 0.0),
        error_scale=scale,
        error_levels=ERROR_LEVELS,
        error_quantiles=quantiles,
        outside=None,
        prior_outside=PRIOR_OUTSIDE,
        places=PLACES,
        queries=len(inside),
        data=data,
        attribution=attribution,
    )
    return replace(fitted, first=_fit_first(inside, fitted), outside=_fit_outside(samples))


def _fit_temperature(inside: Sequence[Sample]) -> tuple[Triple, Triple]:
    """Maximum likelihood of the right place, or of none being right: temperature and rest."""
    width = max(len(s.scores) for s in inside)
    scores = np.full((len(inside), width), -np.inf)
    for row, sample in enumerate(inside):
        scores[row, : len(sample.scores)] = sample.scores
    last = np.array([s.scores[-1] for s in inside])
    right = np.array([s.right for s in inside])
    terms = np.array([(1.0, np.log(s.seen_share), float(s.unknown)) for s in inside])
    rows = np.arange(len(inside))

    def cost(values: FloatArray) -> float:
        temperature = np.exp(np.clip(terms @ values[:3], -20, 20))
        logits = temperature[:, None] * (scores - scores[:, :1])
        none = temperature * (last - scores[:, 0]) + terms @ values[3:]
        top = np.maximum(none, 0.0)  # the first place's logit is 0
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1) + np.exp(none - top))
        chosen = np.where(right >= 0, logits[rows, np.maximum(right, 0)], none)
        # A weak pull towards the plain model keeps what the samples cannot tell (one field of view only) at rest.
        return float(np.mean(total - chosen)) + 1e-3 * float((values[[1, 2, 4, 5]] ** 2).sum())

    best = minimise(
        cost, np.array([3.0, 0.5, 0.0, 0.0, 0.0, 0.0]), np.array([0.5, 0.3, 0.3, 1.0, 0.5, 0.5])
    )
    return _triple(best[:3]), _triple(best[3:])


def _triple(values: FloatArray) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _fit_errors(right: Sequence[Sample]) -> tuple[Triple, tuple[float, ...]]:
    """Least squares of log error for the scale, then quantiles of what is left."""
    errors = np.maximum([s.right_error_m for s in right], 0.05)
    terms = np.array([(1.0, np.log(s.seen_share), float(s.unknown)) for s in right])
    ridge = np.diag([0.0, 1.0, 1.0])
    scale = np.linalg.solve(terms.T @ terms + ridge, terms.T @ np.log(errors))
    quantiles = np.quantile(errors / np.exp(terms @ scale), ERROR_LEVELS)
    return _triple(scale), tuple(float(q) for q in quantiles)


def _fit_first(inside: Sequence[Sample], fitted: Calibration) -> tuple[float, float, float, float]:
    features = [
        first_features(
            softmax_places(s.scores, fitted, s.seen_share, s.unknown)[0], s.seen_share, s.unknown
        )
        for s in inside
    ]
    right = np.array([s.right == 0 for s in inside])
    found = logistic_regression(np.stack(features), right, np.ones(len(inside)))
    return tuple(found.tolist())


def _fit_outside(samples: Sequence[Sample]) -> tuple[float, ...] | None:
    outside = np.array([s.outside for s in samples])
    if outside.sum() < MIN_QUERIES:
        return None
    features = np.stack([outside_features(s.scores, s.seen_share, s.unknown) for s in samples])
    weights = np.where(
        outside, PRIOR_OUTSIDE / outside.sum(), (1 - PRIOR_OUTSIDE) / (~outside).sum()
    )
    return tuple(logistic_regression(features, outside, weights).tolist())


def reliability(
    samples: Sequence[Sample], calibration: Calibration, bins: int = 10
) -> dict[str, Any]:
    """How well a calibration keeps its word on samples that it was not fitted on.

    Returns:
        ``coverage``: share of photos inside whose radius (where one was given) held the truth, to compare with
        ``level``; ``radius_given``: share that got one; ``first_expected`` and ``first_observed``: mean probability
        of the first place, and how often it was right; ``calibration_error``: mean gap between the two over equally
        filled bins; ``outside_found`` and ``outside_false``: shares of photos from outside, and from inside, called
        "probably not in this area".
    """
    inside = [s for s in samples if not s.outside]
    held: list[bool] = []
    first: list[float] = []
    for sample in inside:
        scores = sample.scores[: calibration.places]
        args = (calibration, sample.seen_share, sample.unknown)
        probabilities, _ = place_probabilities(scores, *args)
        first.append(float(probabilities[0]))
        radius = credible_radius(probabilities, sample.distances_m[: len(scores)], *args)
        if radius is not None:
            held.append(sample.error_m <= radius)
    expected = np.array(first)
    observed = np.array([s.right == 0 for s in inside])
    order = np.argsort(expected)
    gaps = [
        abs(expected[some].mean() - observed[some].mean()) * len(some)
        for some in np.array_split(order, bins)
        if len(some)
    ]
    called: dict[bool, list[bool]] = {True: [], False: []}
    for s in samples:
        chance = outside_probability(s.scores, calibration, s.seen_share, s.unknown)
        if chance is not None:
            called[s.outside].append(chance >= OUTSIDE)
    return {
        "queries": len(inside),
        "level": LEVEL,
        "coverage": float(np.mean(held)) if held else None,
        "radius_given": len(held) / len(inside) if inside else None,
        "first_expected": float(expected.mean()) if inside else None,
        "first_observed": float(observed.mean()) if inside else None,
        "calibration_error": float(sum(gaps) / len(inside)) if inside else None,
        "outside_found": float(np.mean(called[True])) if called[True] else None,
        "outside_false": float(np.mean(called[False])) if called[False] else None,
    }
