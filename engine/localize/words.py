"""What a result says, in the words of the program: the same on the command line and in the window."""

from __future__ import annotations

import math
from typing import Literal

from engine.localize.result import Result

Verdict = Literal["located", "several", "unsure", "outside", "ranked", "nothing"]

EQUAL_SHARE = 0.5
"""Places with at least this share of the first one's probability fit "about equally"."""

OUTSIDE = 0.8
"""From this probability on, half being the mark before looking, the photo was probably not taken in the area."""

LIKELY = 0.5
"""A place is promised only if it is likelier right than not, and the photo likelier from the area than not."""

USEFUL_RADIUS_M = 250.0
"""A larger circle says nothing that helps; the ranks alone are given then."""

_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def rivals(result: Result) -> int:
    """How many of the first candidates fit about as well as the very first, itself included."""
    chances = [c.probability for c in result.candidates if c.probability is not None]
    return sum(chance >= EQUAL_SHARE * chances[0] for chance in chances) if chances else 0


def right_in_ten(result: Result) -> int:
    """How many of ten answers like this one are right about the first place, rounded down; 0 without a calibration."""
    best = result.best
    return int(10 * best.probability) if best is not None and best.probability is not None else 0


def maybe_elsewhere(result: Result) -> bool:
    """Whether the photo is as likely from outside the area as from inside."""
    posterior = result.posterior
    return posterior is not None and (posterior.outside or 0.0) >= LIKELY


def verdict(result: Result) -> Verdict:
    """Which of the states an answer is in.

    located: one place, with a radius; several: some fit about equally; unsure: calibrated, but nothing can be promised
    within a useful radius (the first place may still be likely, see :func:`right_in_ten`); outside: probably not in
    this area; ranked: no calibration, so ranks alone; nothing: no tiles.
    """
    if not result.candidates:
        return "nothing"
    posterior, first = result.posterior, result.candidates[0].probability
    if posterior is None or first is None:
        return "ranked"
    outside = posterior.outside or 0.0
    if outside >= OUTSIDE:
        return "outside"
    near = posterior.radius_m is not None and posterior.radius_m <= USEFUL_RADIUS_M
    if near and first >= LIKELY and outside < LIKELY:
        return "located"
    return "several" if 1 < rivals(result) < len(_NUMBERS) - 1 else "unsure"


def headline(result: Result) -> str:
    """The answer in a sentence or two."""
    state = verdict(result)
    if state == "nothing":
        what = "photo" if result.of_photos else "tile"
        return f"No {what} lies in the area that was asked for."
    if state == "ranked":
        if result.of_photos:
            return "The best match was taken here. How sure that is cannot be said."
        return "Best match here. How sure that is cannot be said."
    if state == "outside":
        return "Probably not in this area: nothing here matches better than chance."
    if state == "several":
        return f"{_NUMBERS[rivals(result)]} places fit about equally."
    if state == "unsure":
        tenths, doubt = right_in_ten(result), maybe_elsewhere(result)
        if tenths >= 5 and doubt:
            return f"Perhaps not in this area. If it is, {tenths} in 10 such answers are right."
        if tenths >= 5:
            return f"Probably here: {tenths} in 10 such answers are right."
        return "No place stands out. The best matches are listed; take them as hints."
    posterior = result.posterior
    assert posterior is not None and posterior.radius_m is not None
    radius = rounded_radius(posterior.radius_m)
    return f"Most likely here. 9 in 10 such answers are within {radius} m."


def rounded_radius(radius_m: float) -> int:
    """Metres, rounded up to two digits: never promise more than was measured."""
    step = 10 ** max(0, math.floor(math.log10(max(radius_m, 1.0))) - 1)
    return math.ceil(radius_m / step - 1e-9) * step


def position(lat: float, lon: float) -> str:
    """A position in decimal degrees, latitude first: ``-48.870123, -123.390456`` (a tenth of a metre).

    So it can be pasted wherever a place is asked for: ``--near``, the window, any map.
    """
    return f"{lat:.6f}, {lon:.6f}"


def ranked_otherwise(result: Result) -> bool:
    """Whether the ranks do not follow the scores: they follow the support (see :mod:`engine.localize.refine`)."""
    scores = [round(candidate.score, 3) for candidate in result.candidates]
    return scores != sorted(scores, reverse=True)


def order_note(result: Result) -> str:
    """What the ranks go by, where that is not plain from the scores; else nothing."""
    if not ranked_otherwise(result):
        return ""
    return (
        "ranked by support: the score, and how far what is close by and other headings agree; so a place may come "
        "after one with a lower score"
    )
