"""Positions on the ellipsoid, against published numbers and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.geo import (
    Bounds,
    LocalFrame,
    bearing_deg,
    distance_m,
    heading_difference,
    metres_per_degree,
    tile_bounds,
    wrap_heading,
    wrap_longitude,
)

lats = st.floats(-85, 85)
lons = st.floats(-180, 180, exclude_max=True)
offsets = st.floats(-500, 500)


@pytest.mark.parametrize(
    ("lat", "per_lat", "per_lon"),
    [(0, 110574.3, 111319.5), (45, 111131.7, 78846.8), (60, 111412.3, 55800.0)],
)
def test_a_degree_is_as_long_as_the_tables_of_wgs84_say(lat: float, per_lat: float, per_lon: float):
    measured = metres_per_degree(lat)
    assert measured[0] == pytest.approx(per_lat, abs=1)
    assert measured[1] == pytest.approx(per_lon, abs=1)


@given(lats, lons, offsets, offsets)
def test_local_metres_and_back(lat: float, lon: float, east: float, north: float):
    frame = LocalFrame(lat, lon)
    there = frame.to_wgs84(east, north)
    back = frame.to_local(*there)
    assert back[0] == pytest.approx(east, abs=1e-5)
    assert back[1] == pytest.approx(north, abs=1e-5)
    assert -180 <= there[1] < 180


@given(lats, lons, offsets, offsets)
def test_distance_and_bearing_agree_with_local_metres(
    lat: float, lon: float, east: float, north: float
):
    length = float(np.hypot(east, north))
    there = LocalFrame(lat, lon).to_wgs84(east, north)
    assert distance_m(lat, lon, *there) == pytest.approx(length, rel=2e-3, abs=1e-4)
    if length > 1:
        bearing = np.degrees(np.arctan2(east, north))
        assert heading_difference(bearing_deg(lat, lon, *there), bearing) < 0.5


def test_distances_over_the_antimeridian_and_far_away():
    assert distance_m(-48.87, 179.9999, -48.87, -179.9999) == pytest.approx(14.66, abs=0.05)
    paris, london = (48.8566, 2.3522), (51.5074, -0.1278)
    assert distance_m(*paris, *london) == pytest.approx(343_900, rel=5e-3)
    assert distance_m(*paris, *paris) == 0


def test_distance_takes_arrays():
    found = distance_m(np.array([0.0, 10.0]), 20.0, 0.0, np.array([20.0, 20.0]))
    assert found.shape == (2,)
    assert found[0] == 0


@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_stay_in_their_half_open_range(degrees: float):
    assert 0 <= wrap_heading(degrees) < 360
    assert -180 <= wrap_longitude(degrees) < 180
    assert heading_difference(wrap_heading(degrees), degrees) < 1e-6


def test_wrapping_the_smallest_negative_angle_gives_zero():
    assert wrap_heading(-1e-17) == 0
    assert wrap_longitude(180.0) == -180


@given(st.floats(0, 360), st.floats(-180, 180))
def test_heading_difference_is_the_shorter_way(heading: float, turn: float):
    assert heading_difference(heading, heading + turn) == pytest.approx(abs(turn), abs=1e-6)


@given(st.floats(-80, 80), lons, st.floats(5, 300))
def test_a_tile_is_square_in_metres_about_its_centre(lat: float, lon: float, extent: float):
    box = tile_bounds(lat, lon, extent)
    assert distance_m(box.south, lon, box.north, lon) == pytest.approx(extent, rel=1e-4)
    assert distance_m(lat, box.west, lat, box.east) == pytest.approx(extent, rel=1e-4)
    assert box.contains(lat, lon)
    assert box.centre[0] == pytest.approx(lat, abs=1e-9)
    assert heading_difference(box.centre[1], lon) < 1e-9


def test_bounds_over_the_antimeridian():
    box = Bounds(-10, 170, 10, -170)
    assert box.contains(0, 180) and box.contains(0, -175) and box.contains(0, 170)
    assert not box.contains(0, 0) and not box.contains(11, 180)
    assert heading_difference(box.centre[1], 180) < 1e-9
    assert box.width_deg == 20


def test_bounds_of_the_whole_world_hold_everything():
    world = Bounds(-90, -180, 90, 180)
    assert world.contains(48, 2) and world.contains(-48.87, -123.39) and world.contains(0, 180)
    assert world.centre == (0, 0)
