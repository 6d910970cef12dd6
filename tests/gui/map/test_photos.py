"""An area of street photos on the map: dots and circles, no imagery, no ground that a photo would cover."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from app.map import messages
from app.map.messages import Area
from engine.geo import Bounds
from tests.gui.map.conftest import EXTENT_M, Driver, Ground, make_result

pytestmark = pytest.mark.gui

SPOTS = [(0.0, 0.0), (40.0, 30.0), (-50.0, 20.0)]


def as_photos(ground: Ground):
    """An answer whose candidates are photos; the second does not know where it was taken towards."""
    found = make_result(ground, SPOTS, heading_deg=None)
    towards = (90.0, None, 0.0)
    candidates = tuple(
        replace(
            c,
            picture=f"street/p{c.rank}.jpg",
            picture_heading_deg=towards[c.rank - 1],
            extent_m=0.0,
        )
        for c in found.candidates
    )
    return replace(found, candidates=candidates, references="street", extent_m=0.0)


def area(ground: Ground) -> Area:
    places = tuple(ground.at(east, north) for east, north in SPOTS) + (ground.at(60, -60),)
    lats, lons = zip(*places, strict=True)
    box = Bounds(min(lats), min(lons), max(lats), max(lons))
    return Area("photos", messages.widened(box, 60.0), 0.3, "© Walkers", "CC0", None, places)


@pytest.fixture
def shown(new_map, ground: Ground) -> Driver:
    driver = new_map()
    driver.drawn(driver.view.set_area(area(ground)))
    driver.drawn(driver.view.set_result(as_photos(ground)))
    driver.drawn(driver.view.select(1))
    return driver


def test_photos_are_dots_and_circles_without_footprints(shown: Driver, ground: Ground) -> None:
    assert shown.ask("document.querySelectorAll('.footprint, .wedge').length") == 0
    assert shown.ask("document.querySelectorAll('img.leaflet-tile').length") == 0
    assert shown.ask("document.querySelectorAll('.rank').length") == 3
    shown.rest(300)
    lone = shown.point(*ground.at(60, -60))
    assert min(shown.colour(lone)) > 240, "a photo that is no candidate is a white dot"
    legend = shown.ask("document.querySelector('.legend').textContent")
    assert "Photos of this index" in legend and "Where the matched photo looks" in legend
    assert "Tile" not in legend and "Heading" not in legend
    label = shown.ask("document.querySelector('.rank').getAttribute('aria-label')")
    assert "street/p" in label and "heading" not in label


def test_the_matched_photo_looks_where_it_was_taken_towards(shown: Driver) -> None:
    """East: the line goes right from the circle; unknown: there is none."""
    box = "(b => [b.width, b.height])(document.querySelector('path.towards.outline').getBoundingClientRect())"
    wide, high = shown.ask(box)
    assert wide > 20 and high < 8
    shown.drawn(shown.view.select(2))
    assert shown.ask("document.querySelectorAll('path.towards').length") == 0
    shown.drawn(shown.view.select(3))
    wide, high = shown.ask(box)
    assert high > 20 and wide < 8


def test_the_view_stays_where_a_photo_is_in_view_already(shown: Driver) -> None:
    where = (
        "[NadirMap.map().getCenter().lat, NadirMap.map().getCenter().lng, NadirMap.map().getZoom()]"
    )
    before = shown.ask(where)
    shown.drawn(shown.view.select(2))
    shown.rest(400)
    assert shown.ask(where) == before
    shown.ask("NadirMap.map().setZoom(NadirMap.map().getMaxZoom(), {animate: false}).getZoom()")
    zoom = shown.ask("NadirMap.map().getZoom()")
    shown.drawn(shown.view.select(3))
    shown.until(lambda: shown.ask(where)[:2] != before[:2])
    shown.rest(400)
    assert shown.ask("NadirMap.map().getZoom()") == zoom


def test_no_heat_is_laid_on_the_ground(shown: Driver, ground: Ground) -> None:
    found = as_photos(ground)
    shown.drawn(shown.view.set_tile_heat(b"anything", found.candidates[0]))
    assert shown.ask("document.querySelectorAll('img.heat').length") == 0


def test_a_box_of_one_photo_has_room_around_it(tmp_path: Path) -> None:
    box = messages.widened(Bounds(60.0, 24.9, 60.0, 24.9), 60.0)
    assert box.north - box.south == pytest.approx(120 / 111_412, rel=1e-3)
    assert box.width_deg == pytest.approx(2 * 60 / (111_412 * math.cos(math.radians(60))), rel=0.01)
    across = messages.widened(Bounds(-16.9, 179.9999, -16.8, -179.9999), 60.0)
    assert across.west < 179.9999 and across.west > 0 > across.east
    assert messages.widened(Bounds(-90, -180, 90, 180), 60.0).north == 90


def test_tiles_of_several_extents_have_their_own_footprints(ground: Ground) -> None:
    found = make_result(ground, SPOTS)
    wide = replace(found.candidates[1], extent_m=2 * EXTENT_M)
    found = replace(found, candidates=(found.candidates[0], wide))
    message = messages.result(found, str)["result"]["candidates"]
    small, large = [abs(c["square"][0][0] - c["square"][2][0]) for c in message]
    assert large == pytest.approx(2 * small, rel=1e-6)
