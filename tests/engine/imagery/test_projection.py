"""Points between coordinate systems."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.crs import CRS

from engine.imagery.projection import WGS84, project


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_points_without_a_place_do_not_take_the_others_with_them(order: tuple[int, ...]) -> None:
    """A quarter of the world away, UTM has no place; the library makes that an error of all points."""
    lons = np.array([9.0, -81.00000024, -80.99999121, 9.001])[list(order)]
    lats = np.full(4, 5.7051734)
    x, y = project(WGS84, CRS.from_epsg(32632), lons, lats)
    there = np.abs(lons - 9.0) < 1
    assert (np.isfinite(x) == there).all() and (np.isfinite(y) == there).all()
    back = project(CRS.from_epsg(32632), WGS84, x[there], y[there])
    np.testing.assert_allclose(back, [lons[there], lats[there]], atol=1e-9)


def test_nothing_but_points_without_a_place() -> None:
    x, y = project(WGS84, CRS.from_epsg(32632), [-81.0] * 5, [5.7] * 5)
    assert np.isinf(x).all() and np.isinf(y).all() and x.shape == (5,)
