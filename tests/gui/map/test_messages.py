"""Results as messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.map import messages
from engine.geo import Bounds, distance_m
from engine.localize.posterior import Posterior
from tests.gui.map.conftest import EXTENT_M, PLACES, make_result, write_ground


def same(text: str) -> str:
    return text


def test_corners_run_on_past_the_antimeridian() -> None:
    (south, west), (north, east) = messages.corners(Bounds(-17.0, 179.9, -16.9, -179.8))
    assert (south, west, north) == (-17.0, 179.9, -16.9)
    assert east == pytest.approx(180.2)


@pytest.mark.parametrize("place", PLACES)
def test_footprint_is_a_square_in_metres(place: str) -> None:
    lat, lon = PLACES[place]
    (nw, ne, se, sw) = messages.square(lat, lon, EXTENT_M)
    for a, b in ((nw, ne), (ne, se), (se, sw), (sw, nw)):
        assert distance_m(*a, *b) == pytest.approx(EXTENT_M, rel=2e-4)
    assert nw[0] > se[0] and ne[1] > nw[1]


def test_without_a_calibration_nothing_is_said_of_probability(tmp_path: Path) -> None:
    found = make_result(write_ground(tmp_path / "g.tif", 0, 0), [(0, 0), (20, 0)])
    message = messages.result(found, same)
    assert message["result"]["posterior"] is None and message["result"]["circle"] is None
    assert "%" not in json.dumps(message)


def test_posterior_and_circle_are_those_of_the_answer(tmp_path: Path) -> None:
    ground = write_ground(tmp_path / "g.tif", *PLACES["70 north"])
    found = make_result(ground, [(0, 0), (30, 0), (-40, 10)])
    chances = (0.64, 0.25, 0.001)
    candidates = tuple(
        replace(c, probability=p) for c, p in zip(found.candidates, chances, strict=True)
    )
    found = replace(
        found,
        candidates=candidates,
        posterior=Posterior(chances, 0.1, 12.0, 0.9, None, "test"),
    )
    message = messages.result(found, same)["result"]
    assert [dot[2] for dot in message["posterior"]["dots"]] == pytest.approx([0.8, 0.5])
    first = found.candidates[0]
    for lat, lon in message["circle"]["outline"]:
        assert distance_m(first.lat, first.lon, lat, lon) == pytest.approx(12.0, rel=1e-3)
    assert (
        "9 in 10" in message["circle"]["label"]
        and "12\N{NO-BREAK SPACE}m" in message["circle"]["label"]
    )
    json.dumps(message, allow_nan=False)


def test_photos_own_position_says_how_far_it_is_off(tmp_path: Path) -> None:
    ground = write_ground(tmp_path / "g.tif", *PLACES["the antimeridian"])
    found = make_result(ground, [(10, 0)], own=(-20, 0))
    own = messages.result(found, same)["result"]["own"]
    assert "30\N{NO-BREAK SPACE}m" in own["label"]
    assert messages.result(make_result(ground, [(10, 0)]), same)["result"]["own"] is None


def test_attribution_is_one_line() -> None:
    assert messages.attribution(" © A ", "") == "© A"
    assert messages.attribution("© A", "CC0") == "© A · CC0"
    assert messages.attribution("", "") == ""
