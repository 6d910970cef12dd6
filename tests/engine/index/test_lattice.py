"""The grid that is never made whole: any run of it is that run of the whole, on any part of the Earth."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import geo
from engine.geo import Bounds, metres_per_degree, wrap_longitude
from engine.index import Area, area_from_geojson
from engine.index.area_edges import AreaEdges
from engine.index.grid import BoxAround, Grid, around

PLACES = st.tuples(
    st.sampled_from([-75.0, -48.87, 0.0, 0.0001, 48.0, 70.0, 84.0]),
    st.sampled_from([-180.0, -123.39, 0.0, 9.0, 179.9999]),
)


def _box(lat: float, lon: float, width_m: float, height_m: float) -> Bounds:
    frame = geo.LocalFrame(lat, lon)
    south, west = frame.to_wgs84(-width_m / 2, -height_m / 2)
    north, east = frame.to_wgs84(width_m / 2, height_m / 2)
    return Bounds(float(south), float(west), float(north), float(east))


def _whole(bounds: Bounds, stride_m: float, area: Area | None) -> NDArray[np.float64]:
    """The same lattice written plainly, all of it at once: latitudes and longitudes [2, N]."""
    lat0, lon0 = bounds.centre
    per_lat = float(metres_per_degree(lat0)[0])
    half = bounds.width_deg / 2
    rows = int((bounds.north - bounds.south) / 2 * per_lat / stride_m + 1e-9)
    found: list[tuple[float, float]] = []
    for band in range(-(-(2 * rows + 1) // 32)):
        numbers = np.arange(-rows + 32 * band, min(-rows + 32 * (band + 1), rows + 1))
        lats = np.clip(lat0 - numbers * stride_m / per_lat, -89.9, 89.9)
        along = metres_per_degree(lats)[1]
        reach = int(half * float(along.max()) / stride_m + 1e-9)
        blocks = -(-(2 * reach + 1) // 32)
        order: list[tuple[int, int, int]] = []
        for row in range(len(lats)):
            for step in range(-reach, reach + 1):
                if abs(step * stride_m / along[row]) <= half + 1e-12:
                    block = (step + reach) * blocks // (2 * reach + 1)
                    order.append((-block if band % 2 else block, row, step))
        for _, row, step in sorted(order):
            lon = float(wrap_longitude(lon0 + step * stride_m / along[row]))
            found.append((float(lats[row]), lon))
    points = np.array(found).T
    return points if area is None else points[:, area.contains(points[0], points[1])]


def _ring(lat: float, lon: float, size_m: float, corners: int, seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.1, 0.7, corners) * size_m
    middle = rng.uniform(-0.3, 0.3, 2) * size_m
    per_lat, per_lon = metres_per_degree(lat)
    xs = lon + (middle[0] + radius * np.cos(turn)) / per_lon
    ys = lat + (middle[1] + radius * np.sin(turn)) / per_lat
    return np.stack([xs, ys], axis=1).tolist()


@settings(max_examples=60, deadline=None)
@given(
    place=PLACES,
    stride=st.sampled_from([5.0, 8.0, 35.0, 211.3]),
    wide=st.floats(0.5, 80),
    high=st.floats(0.5, 80),
    seed=st.integers(0, 10_000),
    rings=st.integers(0, 3),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_run_is_that_run_of_the_whole(place, stride, wide, high, seed, rings, cut) -> None:
    lat, lon = place
    box = _box(lat, lon, wide * stride, high * stride)
    area = None
    if rings:
        size = max(wide, high) * stride
        polygons = [[_ring(lat, lon, size, 3 + (seed + n) % 6, seed + n)] for n in range(rings)]
        if seed % 2:  # holes, or polygons of their own
            polygons = [[ring for polygon in polygons for ring in polygon]]
        area = area_from_geojson({"type": "MultiPolygon", "coordinates": polygons})
    expected = _whole(box, stride, area)
    grid = Grid(box, stride, area)
    assert grid.count == expected.shape[1]
    assert (np.stack(grid.centres(0, grid.count)) == expected).all()
    first, last = sorted(round(share * grid.count) for share in cut)
    assert (np.stack(grid.centres(first, last)) == expected[:, first:last]).all()


def test_runs_outside_are_refused() -> None:
    grid = Grid(_box(48.0, 9.0, 100, 100), 10.0)
    for first, last in ((-1, 3), (0, grid.count + 1), (5, 4)):
        with pytest.raises(IndexError):
            grid.centres(first, last)
    assert grid.centres(4, 4)[0].shape == (0,)


@pytest.mark.parametrize("area", [False, True])
def test_thirty_million_places_take_no_memory(area: bool) -> None:
    """180 km by 200 km at 35 m, with and without a polygon; runs anywhere in it are at hand at once."""
    box = _box(60.0, 10.0, 200_000, 180_000)
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 1 + 0.2 * np.sin(37 * turn)
    ring = np.stack([10 + 1.5 * radius * np.cos(turn), 60 + 0.7 * radius * np.sin(turn)], axis=1)
    polygon = {"type": "Polygon", "coordinates": [ring.tolist()]}
    tracemalloc.start()
    grid = Grid(box, 35.0, area_from_geojson(polygon) if area else None)
    for first in range(0, grid.count - 600, grid.count // 50):
        lats, lons = grid.centres(first, first + 559)
        assert len(lats) == len(lons) == 559
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grid.count > (15e6 if area else 29e6)
    assert peak < 20e6


@settings(max_examples=60, deadline=None)
@given(place=PLACES, seed=st.integers(0, 10_000), corners=st.integers(3, 12))
def test_boxes_inside_or_outside_an_area_are_so_everywhere(place, seed, corners) -> None:
    lat, lon = place
    area = area_from_geojson(
        {"type": "Polygon", "coordinates": [_ring(lat, lon, 1000.0, corners, seed)]}
    )
    edges = AreaEdges(area)
    rng = np.random.default_rng(seed)
    per_lat, per_lon = (float(v) for v in metres_per_degree(lat))
    west = lon + rng.uniform(-900, 900, 40) / per_lon
    south = lat + float(rng.uniform(-900, 900)) / per_lat
    belt = (south, south + 0.0004)
    inside, mixed = edges.boxes(*belt, west, west + 60 / per_lon)
    for number in range(len(west)):
        lats = rng.uniform(*belt, 50)
        lons = wrap_longitude(west[number] + rng.uniform(0, 60 / per_lon, 50))
        held = area.contains(lats, lons)
        assert (edges.contains(lats, lons) == held).all()
        if not mixed[number]:
            assert (held == inside[number]).all()


def test_a_box_made_of_parts_is_the_box_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    lats, lons = geo.LocalFrame(12.0, 179.99).to_wgs84(*rng.uniform(-5000, 5000, (2, 1000)))
    parts = BoxAround()
    for first in range(0, 1000, 130):
        parts.add(lats[first : first + 130], lons[first : first + 130], 50.0)
    assert parts.bounds == around(lats, lons, 50.0)
    assert parts.bounds.width_deg < 0.2
