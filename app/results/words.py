"""What an answer says, in the user's language: what is known and how well, never more.

The cases are the engine's (:mod:`engine.localize.words`); here they get the words of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from app.photos import Answer, Stage

if TYPE_CHECKING:
    from engine.geo import Bounds
    from engine.localize import Candidate, Result


translate = QCoreApplication.translate
NEAR_PHOTOS_M = 250.0


@dataclass(frozen=True)
class Said:
    """A headline and what more there is to know.

    ``doubtful`` marks answers that should not be taken for a place.
    """

    headline: str
    detail: str = ""
    doubtful: bool = False


def say(answer: Answer, area: Bounds | None = None) -> Said:
    """What to say about an answer in whatever state it is.

    Args:
        area: what was searched; a photo whose own GPS lies outside it is said to be from elsewhere.
    """
    if answer.stage == Stage.WORKING:
        return Said(translate("Answer", "Locating…"))
    if answer.stage == Stage.CANCELLED:
        return Said(
            translate("Answer", "Stopped."), translate("Answer", "Locate again to have an answer.")
        )
    if answer.stage == Stage.FAILED and answer.error is not None:
        from app.notices import headline_of, remedy_of

        return Said(headline_of(answer.error), remedy_of(answer.error), doubtful=True)
    if answer.result is None:
        return Said("")
    return say_result(answer.result, area)


def elsewhere(result: Result, area: Bounds | None) -> str:
    """Where the photo itself says it was taken, when that is not in the area; else nothing."""
    from engine.geo import distance_m

    lat, lon = result.facts.latitude, result.facts.longitude
    if area is None or lat is None or lon is None or area.contains(lat, lon):
        return ""
    if result.of_photos and _near(lat, lon, area):
        return ""
    words = translate("Answer", "Its own GPS position, {0}, lies {1} from the middle of it.")
    return words.format(
        f"{lat:.5f}, {lon:.5f}", distance(float(distance_m(lat, lon, *area.centre)))
    )


def _near(lat: float, lon: float, area: Bounds) -> bool:
    """Whether a position lies a few streets beyond a box of photos: they see farther than where they were taken."""
    from engine.geo import distance_m

    away = (lon - area.centre[1] + 180.0) % 360.0 - 180.0
    half = area.width_deg / 2
    nearest = area.centre[1] + min(max(away, -half), half)
    inside = min(max(lat, area.south), area.north)
    return float(distance_m(lat, lon, inside, nearest)) <= NEAR_PHOTOS_M


def say_result(result: Result, area: Bounds | None = None) -> Said:
    """The answer in a sentence or two."""
    from engine.localize.words import maybe_elsewhere, right_in_ten, rivals, rounded_radius, verdict

    state = verdict(result)
    if state == "nothing" and result.of_photos:
        return Said(
            translate("Answer", "No photo lies in the area that was asked for."), doubtful=True
        )
    if state == "nothing":
        return Said(
            translate("Answer", "No tile lies in the area that was asked for."), doubtful=True
        )
    if where := elsewhere(result, area):
        return Said(translate("Answer", "Probably not in this area."), where, doubtful=True)
    if state == "ranked" and result.of_photos:
        return Said(
            translate("Answer", "The best match was taken here."),
            translate(
                "Answer",
                "A guess: how sure it is cannot be said for these photos. Scores only rank.",
            ),
        )
    if state == "ranked":
        return Said(
            translate("Answer", "Best match here."),
            translate(  # the notices say why: no calibration at all, or one on other imagery
                "Answer",
                "A guess: how sure it is cannot be said for this imagery. Scores only rank.",
            ),
        )
    if state == "outside":
        return Said(
            translate("Answer", "Probably not in this area."),
            translate(
                "Answer",
                "Nothing here matches better than chance. The candidates are listed all the same.",
            ),
            doubtful=True,
        )
    if state == "several":
        count = rivals(result)
        words = (
            translate("Answer", "Two places fit about equally.")
            if count == 2
            else translate("Answer", "{0} places fit about equally.")
        )
        return Said(
            words.format(count),
            translate("Answer", "Compare them before you believe one."),
            doubtful=True,
        )
    if state == "unsure":
        tenths = right_in_ten(result)
        if tenths >= 5 and maybe_elsewhere(result):
            return Said(
                translate("Answer", "Perhaps not in this area."),
                translate("Answer", "If it is, {0} in 10 such answers are right.").format(tenths),
                doubtful=True,
            )
        if tenths >= 5:
            return Said(
                translate("Answer", "Probably here."),
                translate("Answer", "{0} in 10 such answers are right.").format(tenths),
                doubtful=True,
            )
        return Said(
            translate("Answer", "No place stands out."),
            translate("Answer", "The best matches are listed; take them as hints."),
            doubtful=True,
        )
    posterior = result.posterior
    assert posterior is not None and posterior.radius_m is not None
    radius = rounded_radius(posterior.radius_m)
    return Said(
        translate("Answer", "Most likely here."),
        translate("Answer", "9 in 10 such answers are within {0} m.").format(radius),
    )


def chance(candidate: Candidate) -> str:
    """A calibrated probability in words, or nothing."""
    if candidate.probability is None:
        return ""
    percent = 100 * candidate.probability
    if percent > 99:
        return translate("Answer", ">99 %")
    return (
        translate("Answer", "<1 %")
        if percent < 1
        else translate("Answer", "{0} %").format(round(percent))
    )


def away(candidate: Candidate) -> str:
    """How far a candidate lies from the first one."""
    if candidate.rank == 1:
        return translate("Answer", "first")
    return distance(candidate.distance_from_first_m)


def distance(metres: float) -> str:
    """A distance in words: "12 m", "3.2 km", "8,084 km"."""
    if metres < 1000:
        return translate("Answer", "{0} m").format(round(metres))
    return translate("Answer", "{0} km").format(
        f"{metres / 1000:.1f}" if metres < 100_000 else f"{metres / 1000:,.0f}"
    )


def coordinates(candidate: Candidate) -> str:
    """A place as it is copied: decimal degrees, latitude first, to a tenth of a metre."""
    return f"{candidate.lat:.6f}, {candidate.lon:.6f}"


def last_fact(result: Result, area: Bounds | None = None) -> str:
    """The last thing that happened, for the status line."""
    parts = [translate("Answer", "Located in {0} s").format(f"{result.timings.total:.2f}")]
    said = say_result(result, area)
    if result.posterior is not None and not said.doubtful:
        parts.append(said.detail.rstrip("."))
    counted = (
        translate("Answer", "{0} photos") if result.of_photos else translate("Answer", "{0} tiles")
    )
    parts.append(counted.format(f"{result.plan.tiles:,}"))
    if not result.plan.knows_heading:
        parts.append(translate("Answer", "no heading answered"))
    elif result.plan.heading_deg is not None:
        parts.append(translate("Answer", "heading given"))
    else:
        parts.append(translate("Answer", "{0} headings compared").format(result.plan.turns))
    return " · ".join(parts)
