"""What the window says about an answer, in every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.photos import Answer, Stage
from app.results.words import (
    away,
    chance,
    coordinates,
    distance,
    last_fact,
    say,
    say_result,
)
from engine.errors import NadirError
from engine.geo import Bounds
from engine.localize import Candidate, Posterior, Result, Timings
from engine.localize.result import PlanSummary, Source
from engine.photo import PhotoFacts


def candidate(rank: int, probability: float | None, metres: float = 0.0) -> Candidate:
    return Candidate(
        rank, rank, -48.87, -123.39, -48.87, -123.39, 0.5, 0.5, 10.0, metres, probability, 0
    )


def result(posterior: Posterior | None, *chances: float | None) -> Result:
    return Result(
        photo_name="a.jpg",
        photo_sha256="0",
        facts=PhotoFacts(100, 50, "panorama", 360.0, "shape"),
        plan=PlanSummary(None, "panorama", 360.0, 0, 0, 64, 2, 1.0, 1681),
        candidates=tuple(candidate(i + 1, p, 40.0 * i) for i, p in enumerate(chances)),
        posterior=posterior,
        extent_m=70.0,
        timings=Timings(total=0.214),
        encoder=Source("e", "0"),
        index=Source("i", "0"),
        notices=(),
    )


def posterior(*chances: float, radius: float | None = None, outside: float = 0.0) -> Posterior:
    return Posterior(chances, 0.0, radius, 0.9, outside, "test")


def test_one_place_with_its_radius() -> None:
    said = say_result(result(posterior(0.95, 0.02, radius=11.3), 0.95, 0.02))
    assert said.headline == "Most likely here."
    assert said.detail == "9 in 10 such answers are within 12 m."
    assert not said.doubtful


@pytest.mark.parametrize(
    ("given", "chances", "headline"),
    [
        (posterior(0.4, 0.35), (0.4, 0.35, 0.01), "Two places fit about equally."),
        (posterior(0.3, 0.3, 0.2), (0.3, 0.3, 0.2, 0.01), "3 places fit about equally."),
        (posterior(0.2, 0.01), (0.2, 0.01), "No place stands out."),
        (posterior(0.65, 0.01), (0.65, 0.01), "Probably here."),
        (posterior(0.65, 0.01, outside=0.6), (0.65, 0.01), "Perhaps not in this area."),
        (posterior(0.9, outside=0.8, radius=5.0), (0.9,), "Probably not in this area."),
    ],
)
def test_doubtful_answers_say_so(given, chances, headline) -> None:
    said = say_result(result(given, *chances))
    assert said.headline == headline
    assert said.doubtful


def test_without_calibration_there_is_no_percentage() -> None:
    answer = result(None, None, None)
    assert "cannot be said" in say_result(answer).detail
    assert chance(answer.candidates[0]) == ""
    assert "%" not in last_fact(answer)


def test_states_before_an_answer() -> None:
    assert say(Answer(Stage.WORKING)).headline == "Locating…"
    assert say(Answer(Stage.CANCELLED)).headline == "Stopped."
    error = NadirError("shows nothing near the horizon", "sky.jpg", "Use another photo")
    said = say(Answer(Stage.FAILED, error=error))
    assert (said.headline, said.detail) == (
        "sky.jpg: shows nothing near the horizon.",
        "Use another photo.",
    )
    assert say(Answer()).headline == ""


def test_a_photo_that_says_it_is_from_elsewhere() -> None:
    answer = result(None, None)
    area = Bounds(-48.88, -123.40, -48.86, -123.38)
    assert say_result(answer, area).headline == "Best match here."
    there = replace(answer, facts=replace(answer.facts, latitude=-48.87, longitude=-123.39))
    assert say_result(there, area).headline == "Best match here."
    sure = result(posterior(0.95, 0.02, radius=11.3), 0.95, 0.02)
    away_from_it = replace(sure, facts=replace(sure.facts, latitude=45.5, longitude=-122.6))
    said = say_result(away_from_it, area)
    assert said.headline == "Probably not in this area."
    assert said.doubtful and "45.50000, -122.60000" in said.detail and "10,4" in said.detail
    assert "9 in 10" not in last_fact(away_from_it, area)


def test_small_words() -> None:
    answer = result(posterior(0.995, 0.002, radius=9.0), 0.995, 0.002)
    first, second = answer.candidates
    assert (chance(first), chance(second)) == (">99 %", "<1 %")
    assert (away(first), away(second)) == ("first", "40 m")
    assert distance(1234) == "1.2 km"
    assert distance(8_084_200) == "8,084 km"
    assert coordinates(first) == "-48.870000, -123.390000"
    assert last_fact(answer).startswith("Located in 0.21 s · 9 in 10 such answers are within 9 m")
    headed = replace(answer, plan=replace(answer.plan, heading_deg=5.0))
    assert last_fact(headed).endswith("heading given")


def test_photos_are_called_photos() -> None:
    found = replace(result(None, None, None), references="street", extent_m=0.0)
    said = say_result(found)
    assert said.headline == "The best match was taken here." and "these photos" in said.detail
    assert "1,681 photos" in last_fact(found) and "tile" not in last_fact(found)
    nothing = say_result(replace(found, candidates=()))
    assert nothing.headline == "No photo lies in the area that was asked for."


@pytest.mark.parametrize(
    ("lat", "lon", "elsewhere"),
    [
        (60.2, 24.9, False),
        (60.2010, 24.9, False),  # a hundred metres off the only photo's place
        (60.21, 24.9, True),
        (60.2, 24.91, True),
    ],
)
def test_near_photos_is_not_elsewhere(lat: float, lon: float, elsewhere: bool) -> None:
    """The box around photos is tight: who stands round the corner is in their area."""
    facts = PhotoFacts(100, 50, "perspective", 65.0, "exif", latitude=lat, longitude=lon)
    found = replace(result(None, None), references="street", facts=facts)
    box = Bounds(60.2, 24.9, 60.2, 24.9)
    assert ("Probably not" in say_result(found, box).headline) is elsewhere
    if not elsewhere and lat != 60.2:  # of tiles the edge is the edge
        assert "Probably not" in say_result(replace(found, references="aerial"), box).headline
