"""Outlines on the map, and areas drawn on it by mouse and keyboard."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from engine.geo import distance_m
from tests.gui.map.conftest import Driver, Ground

pytestmark = pytest.mark.gui
LEFT = Qt.MouseButton.LeftButton


def square(ground: Ground, half: float) -> list[tuple[float, float]]:
    """Corners as GeoJSON has them."""
    spots = ((-half, half), (half, half), (half, -half), (-half, -half))
    places = [ground.at(east, north) for east, north in spots]
    return [(lon, lat) for lat, lon in places]


@pytest.fixture
def shown(new_map, ground: Ground) -> Driver:
    driver = new_map()
    driver.drawn(driver.view.set_area(ground.area()))
    driver.settled()
    return driver


def near(
    drawn: list[tuple[float, float]], ground: Ground, spots: list[tuple[float, float]]
) -> None:
    """Whether corners lie within a pixel or two of spots in metres."""
    assert len(drawn) == len(spots)
    for (lon, lat), spot in zip(drawn, spots, strict=True):
        assert distance_m(lat, lon, *ground.at(*spot)) < 1.5


def drag(driver: Driver, start: QPoint, end: QPoint) -> None:
    QTest.mousePress(driver.target, LEFT, pos=start)
    for step in range(1, 6):
        QTest.mouseMove(driver.target, start + (end - start) * step / 5)
        driver.rest(20)
    QTest.mouseRelease(driver.target, LEFT, pos=end)


def test_an_outline_with_a_hole_lies_where_it_should(shown: Driver, ground: Ground) -> None:
    rings = [square(ground, 60.0), square(ground, 20.0)]
    shown.drawn(shown.view.set_outlines(rings, "Covered"))
    count = shown.ask("document.querySelectorAll('path.coverage.outline').length")
    assert count == 1 and "Covered" in shown.ask("document.querySelector('.legend').textContent")
    edge = shown.point(*ground.at(60.0, 5.0))
    colours = {shown.colour(edge + QPoint(dx, dy)) for dx in (-1, 0, 1) for dy in range(-6, 7)}
    assert any(min(colour) > 200 for colour in colours), "the white line"
    shown.drawn(shown.view.set_area(None))
    assert shown.ask("document.querySelectorAll('path.coverage').length") == 0


def test_a_box_is_drawn_by_dragging(shown: Driver, ground: Ground) -> None:
    told: list[list[tuple[float, float]]] = []
    shown.view.area_drawn.connect(told.append)
    shown.drawn(shown.view.set_chosen_area([], "", "box"))
    before = shown.ask("[NadirMap.map().getCenter().lat, NadirMap.map().getCenter().lng]")
    drag(shown, shown.point(*ground.at(-40.0, 30.0)), shown.point(*ground.at(20.0, -10.0)))
    shown.until(lambda: told)
    near(told[0], ground, [(-40.0, 30.0), (20.0, 30.0), (20.0, -10.0), (-40.0, -10.0)])
    after = shown.ask("[NadirMap.map().getCenter().lat, NadirMap.map().getCenter().lng]")
    assert before == after, "the map itself stayed"
    shown.drawn(shown.view.set_chosen_area(told, "The area", None))
    assert "The area" in shown.ask("document.querySelector('.legend').textContent")
    inside = shown.point(*ground.at(-10.0, 10.0))
    shown.until(lambda: shown.colour(inside)[2] > shown.colour(inside)[0] + 5)  # tinted
    drag(shown, shown.point(*ground.at(0.0, 0.0)), shown.point(*ground.at(20.0, 20.0)))
    shown.rest(300)
    assert len(told) == 1, "without a tool dragging moves the map"


def test_a_polygon_corner_by_corner(shown: Driver, ground: Ground) -> None:
    told: list[list[tuple[float, float]]] = []
    shown.view.area_drawn.connect(told.append)
    shown.drawn(shown.view.set_chosen_area([], "", "polygon"))
    spots = [(-40.0, 30.0), (30.0, 35.0), (0.0, -30.0)]
    for spot in [*spots[:2], (60.0, 0.0), spots[2]]:
        QTest.mouseClick(shown.target, LEFT, pos=shown.point(*ground.at(*spot)))
        shown.rest(350)  # two quick clicks would be a double one
        if spot == (60.0, 0.0):
            QTest.keyClick(shown.target, Qt.Key.Key_Backspace)
            shown.rest(50)
    QTest.mouseClick(shown.target, LEFT, pos=shown.point(*ground.at(*spots[0])))
    shown.until(lambda: told)
    near(told[0], ground, spots)


def test_what_is_in_view_can_be_taken_without_a_mouse(shown: Driver, ground: Ground) -> None:
    told: list[list[tuple[float, float]]] = []
    shown.view.area_drawn.connect(told.append)
    shown.view.take_view()
    shown.until(lambda: told)
    (west, north), (east, _), (_, south), _ = told[0]
    assert west < ground.lon < east and south < ground.lat < north
