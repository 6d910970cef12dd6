"""From scores to probabilities, where the encoder's card holds a calibration; else there are none.

The model, fitted by :mod:`engine.evaluation.calibrate` on held-out queries:

* The places found compete with each other and with "none of these": with supports s_1 >= ... >= s_M and a
  temperature T, P(i) = exp(T s_i) / (sum_j exp(T s_j) + exp(T s_M + rest)). T depends on how much of the circle the
  photo sees, f (its mean share of the blocks), and on whether the heading was known: log T = t_0 + t_f log f +
  t_u [unknown]; rest likewise, without the logarithm.
* The first place's probability is then corrected by logistic regression on (1, its log odds, log f, [unknown]), and the
  others share what is left: "is the first one right?" is what people read, so it must be right by itself.
* Given that a place is the right one, its position is off by r metres with the distribution of the held-out queries:
  quantiles of r / scale, log scale = e_0 + e_f log f + e_u [unknown].
* The photo was taken outside the area with a probability by logistic regression on (1, s_1, lead, log f, [unknown],
  s_1 log f, lead log f, s_1 [unknown], lead [unknown]), the lead being s_1 less the mean of the next seven, for
  ``prior_outside`` before looking. A panorama tells this well, a narrow photo hardly.

What is said of places is said of photos that were taken inside the area: the last number says whether that holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EncoderError

LEVEL = 0.9
"""The share of answers that the radius given is for: "9 in 10 such answers are within 12 m"."""

RIVALS = 7
"""Places after the first that its lead is measured against."""

FloatArray = NDArray[np.float64]

_RADII_M = np.geomspace(0.1, 1e6, 500)


@dataclass(frozen=True)
class Calibration:
    """Numbers fitted on held-out queries; see the module for the model.

    Attributes:
        temperature: (t_0, t_f, t_u).
        rest: (r_0, r_f, r_u), log of the weight of all places below the list, relative to its last one.
        first: weights of (1, log odds of the first place, log f, [unknown]).
        error_scale: (e_0, e_f, e_u).
        error_levels, error_quantiles: of r / scale, both rising.
        outside: nine weights; None where no photos from outside were at hand.
        prior_outside: probability of "outside the area" that the logistic regression was fitted for.
        places: M.
        queries: how many queries it was fitted on.
        data: what they were; says where the probabilities hold.
        attribution: of the imagery they were searched in. On other imagery the probabilities are not known to hold,
            and none are given.
    """

    temperature: tuple[float, float, float]
    rest: tuple[float, float, float]
    first: tuple[float, float, float, float]
    error_scale: tuple[float, float, float]
    error_levels: tuple[float, ...]
    error_quantiles: tuple[float, ...]
    outside: tuple[float, ...] | None
    prior_outside: float
    places: int
    queries: int
    data: str
    attribution: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values for the card."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Calibration:
        """Read the card's ``calibration``; raises :class:`EncoderError` where it is malformed."""
        try:
            result = Calibration(
                temperature=_numbers(raw["temperature"], 3),
                rest=_numbers(raw["rest"], 3),
                first=_numbers(raw["first"], 4),
                error_scale=_numbers(raw["error_scale"], 3),
                error_levels=_numbers(raw["error_levels"]),
                error_quantiles=_numbers(raw["error_quantiles"]),
                outside=None if raw["outside"] is None else _numbers(raw["outside"], 9),
                prior_outside=_number(raw["prior_outside"]),
                places=int(_number(raw["places"])),
                queries=int(_number(raw["queries"])),
                data=str(raw["data"])[:500],
                attribution=str(raw["attribution"])[:500],
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EncoderError(
                f"the card's calibration is damaged or incomplete ({error})",
                None,
                "Calibrate the encoder again, or install it again",
            ) from error
        levels, quantiles = result.error_levels, result.error_quantiles
        rising = all(a <= b for a, b in itertools.pairwise(levels))
        if len(levels) != len(quantiles) or not levels or not rising or result.places < 1:
            raise EncoderError("the card's calibration has quantiles that do not fit their levels")
        return result

    def temperature_at(self, seen_share: float, unknown: bool) -> float:
        """T for a photo that sees a share of the circle."""
        return math.exp(_linear(self.temperature, seen_share, unknown))

    def rest_at(self, seen_share: float, unknown: bool) -> float:
        """Log weight of the places below the list."""
        return _linear(self.rest, seen_share, unknown)

    def error_scale_at(self, seen_share: float, unknown: bool) -> float:
        """The scale of the position error, metres."""
        return math.exp(_linear(self.error_scale, seen_share, unknown))

    def within(self, radius_m: Any, seen_share: float, unknown: bool) -> Any:
        """Probability that the position of a right place is off by at most ``radius_m``."""
        scaled = np.asarray(radius_m) / self.error_scale_at(seen_share, unknown)
        return np.interp(scaled, (0.0, *self.error_quantiles), (0.0, *self.error_levels))


@dataclass(frozen=True)
class Posterior:
    """What the candidates say together.

    Attributes:
        probabilities: of the places, best first; with ``elsewhere_inside`` they add up to 1.
        elsewhere_inside: that none of the places is the right one, though the photo was taken in the area.
        radius_m: the truth is this near to the first candidate with probability ``level``; None where no radius
            within the area reaches it.
        level: what ``radius_m`` holds for.
        outside: probability that the photo was taken outside the area; None where that was not calibrated.
        data: what the calibration was made on.
    """

    probabilities: tuple[float, ...]
    elsewhere_inside: float
    radius_m: float | None
    level: float
    outside: float | None
    data: str


def place_probabilities(
    scores: FloatArray, calibration: Calibration, seen_share: float, unknown: bool
) -> tuple[FloatArray, float]:
    """Probabilities of the places [M] from their scores, and of none of them."""
    places, none = softmax_places(scores, calibration, seen_share, unknown)
    odds = first_features(places, seen_share, unknown) @ np.array(calibration.first)
    first = 1.0 / (1.0 + math.exp(-odds))
    others = max(1.0 - float(places[0]), 1e-12)
    if len(places) > 1:
        first = max(first, float(places[1]) / (others + float(places[1])))  # never below the second
    share = (1.0 - first) / others
    return np.append(first, places[1:] * share), none * share


def softmax_places(
    scores: FloatArray, calibration: Calibration, seen_share: float, unknown: bool
) -> tuple[FloatArray, float]:
    """The same before the first place's correction."""
    logits = calibration.temperature_at(seen_share, unknown) * np.append(scores, scores[-1])
    logits[-1] += calibration.rest_at(seen_share, unknown)
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights[:-1], float(weights[-1])


def first_features(places: FloatArray, seen_share: float, unknown: bool) -> FloatArray:
    """What the correction of the first place looks at, [4]."""
    return np.array([1.0, _log_odds(float(places[0])), _log(seen_share), float(unknown)])


def credible_radius(
    probabilities: FloatArray,
    distances_m: FloatArray,
    calibration: Calibration,
    seen_share: float,
    unknown: bool,
    level: float = LEVEL,
) -> float | None:
    """The radius about the first place that holds the truth with probability ``level``; None where none does.

    Args:
        distances_m: [M] of the places from the first.
    """

    # The truth lies about each place by the error's distribution; about the others in no known direction, so their
    # share counts by how far the circle reaches past them. All radii at once: this is asked for every answer.
    reach = np.maximum(_RADII_M[:, None] - distances_m, 0.0)
    held = calibration.within(reach, seen_share, unknown) @ probabilities
    enough = int(np.searchsorted(held, level))
    if enough == len(held):
        return None
    if enough == 0:
        return float(_RADII_M[0])
    return float(np.interp(level, held[enough - 1 : enough + 1], _RADII_M[enough - 1 : enough + 1]))


def outside_features(scores: FloatArray, seen_share: float, unknown: bool) -> FloatArray:
    """What the logistic regression of "outside the area" looks at, [9]."""
    best, seen, blind = float(scores[0]), _log(seen_share), float(unknown)
    lead = best - float(np.mean(scores[1 : 1 + RIVALS])) if len(scores) > 1 else 0.0
    products = (best * seen, lead * seen, best * blind, lead * blind)
    return np.array([1.0, best, lead, seen, blind, *products])


def outside_probability(
    scores: FloatArray, calibration: Calibration, seen_share: float, unknown: bool
) -> float | None:
    """Probability that the photo was taken outside the area; None where that was not calibrated."""
    if calibration.outside is None:
        return None
    features = outside_features(scores, seen_share, unknown)
    return 1.0 / (
        1.0 + math.exp(-min(max(float(features @ np.array(calibration.outside)), -50.0), 50.0))
    )


def make_posterior(
    scores: FloatArray,
    distances_m: FloatArray,
    calibration: Calibration,
    seen_share: float,
    unknown: bool,
) -> Posterior:
    """The posterior over places.

    Args:
        scores: [M] of the distinct places, falling.
        distances_m: [M] from the first.
        seen_share: mean share of the blocks that the photo sees.
        unknown: whether the heading had to be found.
    """
    scores = np.asarray(scores, np.float64)[: calibration.places]
    probabilities, rest = place_probabilities(scores, calibration, seen_share, unknown)
    radius = credible_radius(
        probabilities, np.asarray(distances_m)[: len(scores)], calibration, seen_share, unknown
    )
    outside = outside_probability(scores, calibration, seen_share, unknown)
    return Posterior(tuple(probabilities.tolist()), rest, radius, LEVEL, outside, calibration.data)


def _linear(weights: tuple[float, float, float], seen_share: float, unknown: bool) -> float:
    value = weights[0] + weights[1] * _log(seen_share) + weights[2] * float(unknown)
    return min(max(value, -20.0), 20.0)


def _log(seen_share: float) -> float:
    return math.log(min(max(seen_share, 1e-3), 1.0))


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _numbers(value: Any, count: int | None = None) -> Any:
    numbers = tuple(_number(item) for item in value)
    if count is not None and len(numbers) != count:
        raise ValueError(f"{len(numbers)} numbers where {count} belong")
    return numbers
