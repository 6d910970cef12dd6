"""Placing between tiles and between turns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.localize.plan import make_plan
from engine.localize.refine import (
    REACH_STRIDES,
    SHARPNESS,
    Neighbourhood,
    paraboloid_top,
    refine,
    refined_heading,
    support,
)
from tests.linear_encoder import linear_card

X, Y = (a.ravel().astype(float) for a in np.meshgrid([-1, 0, 1], [-1, 0, 1]))
PLAN = make_plan(linear_card(blocks=16, subshifts=2), None)


@given(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7), st.floats(0.1, 3), st.floats(0.1, 3))
def test_a_paraboloid_is_found_exactly(dx, dy, a, b):
    values = 0.9 - a * (X - dx) ** 2 - b * (Y - dy) ** 2
    found_x, found_y, shares = paraboloid_top(X, Y, values)
    assert (found_x, found_y) == pytest.approx((dx, dy), abs=1e-6)
    assert shares.sum() == pytest.approx(1)
    assert shares @ values == pytest.approx(0.9, abs=1e-6)


def test_a_top_far_away_is_not_believed():
    dx, dy, _ = paraboloid_top(X, Y, -0.01 * (X - 5) ** 2 - 0.01 * Y**2)
    assert (dx, dy) == pytest.approx((REACH_STRIDES, 0))


@pytest.mark.parametrize(
    ("x", "y", "values"),
    [
        (X[:5], Y[:5], np.arange(5.0)),  # too few
        (np.arange(9.0) - 4, np.zeros(9), -np.arange(9.0)),  # all in a row
        (X, Y, X**2 + Y**2),  # a hollow
        (X, Y, X**2 - Y**2),  # a saddle
    ],
)
def test_where_nothing_fits_the_tile_itself_is_the_place(x, y, values):
    dx, dy, shares = paraboloid_top(x, y, values)
    assert (dx, dy) == (0, 0)
    assert shares.sum() == 1 and shares[np.argmin(x**2 + y**2)] == 1


@pytest.mark.parametrize("heading", [0.0, 3.0, 100.0, 357.0])
def test_headings_between_turns(heading):
    away = (PLAN.headings - heading + 180) % 360 - 180
    scores = 0.8 - 1e-3 * away**2
    found = refined_heading(scores, PLAN, int(np.argmax(scores)))
    assert (found - heading + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_the_edge_of_a_known_heading_is_kept():
    plan = make_plan(linear_card(blocks=16, subshifts=2), 90.0)
    assert refined_heading(np.array([0.1, 0.2, 0.3]), plan, 2) == plan.headings[2]


def test_support_is_the_same_between_tiles_as_on_one():
    def scores(east, north):
        falling = 0.9 - 5e-3 * ((X * 8 - east) ** 2 + (Y * 8 - north) ** 2)
        return falling[:, None].repeat(4, axis=1).astype(np.float32)

    on = support(Neighbourhood(X * 8, Y * 8, scores(0, 0)), 8.0)
    between = support(Neighbourhood(X * 8, Y * 8, scores(4, 4)), 8.0)
    assert on == pytest.approx(0.9 + np.log(4) / SHARPNESS, abs=1e-6)
    assert between == pytest.approx(on, abs=1e-6)


def test_support_grows_with_the_turns_that_agree():
    one = np.array([[0.8, 0.2, 0.2]] * 9, np.float32)
    two = np.array([[0.8, 0.8, 0.2]] * 9, np.float32)
    low, high = (support(Neighbourhood(X, Y, scores), 1.0) for scores in (one, two))
    assert high - low == pytest.approx(np.log(2) / SHARPNESS, abs=1e-4)


def test_place_and_heading_together():
    stride, east, north, heading = 8.0, 2.5, -1.0, 47.0
    away = (PLAN.headings - heading + 180) % 360 - 180
    places = -((X * stride - east) ** 2 + (-Y * stride - north) ** 2)
    scores = (0.9 + 1e-3 * places[:, None] - 1e-4 * away[None, :] ** 2).astype(np.float32)
    turn = int(scores.max(axis=0).argmax())
    found = refine(Neighbourhood(X * stride, -Y * stride, scores), PLAN, turn, stride)
    assert (found.east_m, found.north_m) == pytest.approx((east, north), abs=0.01)
    assert found.heading_deg == pytest.approx(heading, abs=0.05)
