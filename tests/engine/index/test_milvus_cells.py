"""Regions as cells: exactly the positions inside, wherever on the Earth and however the region is shaped."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import geo
from engine.index import Area, area_from_geojson
from engine.index.milvus_cells import (
    LEVELS,
    AreaRegion,
    BoxRegion,
    CircleRegion,
    Cover,
    cell_numbers,
    cover,
)


def inside_and_doubtful(found: Cover, lats: np.ndarray, lons: np.ndarray) -> tuple:
    inside = np.zeros(len(lats), np.bool_)
    for level, numbers in found.inside.items():
        inside |= np.isin(cell_numbers(lats, lons, level), numbers)
    return inside, np.isin(cell_numbers(lats, lons, found.level), found.edge)


def check(found: Cover, wanted: np.ndarray, lats: np.ndarray, lons: np.ndarray) -> None:
    """Inner cells hold nothing from outside, and what is in no cell of the cover is outside."""
    inside, doubtful = inside_and_doubtful(found, lats, lons)
    assert not (inside & doubtful).any()
    assert wanted[inside].all()
    assert not wanted[~inside & ~doubtful].any()


def positions(lat: float, lon: float, spread_deg: float, seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    lats = np.clip(lat + spread_deg * rng.standard_normal(4000), -90, 90)
    lons = geo.wrap_longitude(lon + spread_deg * rng.standard_normal(4000))
    corners = np.array([-180.0, 180.0, 0.0, lon])
    return np.concatenate([lats, [lat, -90, 90, lat]]), np.concatenate([lons, corners])


LATS, LONS = st.floats(-89.9, 89.9), st.floats(-180, 180)


@settings(max_examples=30, deadline=None)
@given(LATS, LONS, st.sampled_from([0.003, 0.05, 0.6]), st.integers(0, 1 << 30))
def test_any_polygon(lat: float, lon: float, size: float, seed: int) -> None:
    """Stars, most of them crossing themselves, some with a second ring, some beyond the pole or the antimeridian."""
    rng = np.random.default_rng(seed)
    rings = []
    for _ in range(int(rng.integers(1, 3))):
        ring = np.array([lon, lat]) + size * rng.standard_normal((int(rng.integers(3, 9)), 2))
        ring[:, 1] = np.clip(ring[:, 1], -90, 90)
        rings.append(ring)
    area = Area((tuple(rings),))
    lats, lons = positions(lat, lon, 2 * size, seed)
    found = cover([AreaRegion(area)])
    check(found, area.contains(lats, lons), lats, lons)


@settings(max_examples=30, deadline=None)
@given(LATS, LONS, st.floats(0, 30_000), st.integers(0, 1 << 30))
def test_any_circle(lat: float, lon: float, radius: float, seed: int) -> None:
    lats, lons = positions(lat, lon, max(radius, 100) / 60_000, seed)
    lons = geo.wrap_longitude(lon + (lons - lon) / max(np.cos(np.radians(lat)), 0.01))
    found = cover([CircleRegion(lat, lon, radius)])
    check(found, geo.distance_m(lat, lon, lats, lons) <= radius, lats, lons)


@settings(max_examples=60, deadline=None)
@given(LATS, LONS, st.sampled_from([0.001, 0.1, 5.0, 100.0]), st.integers(0, 1 << 30))
def test_any_box(lat: float, lon: float, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, wide = lat - size * rng.random() / 2, size * rng.random() * 3.6
    west, east = geo.wrap_longitude(lon), geo.wrap_longitude(lon + wide)
    box = geo.Bounds(max(low, -90.0), float(west), min(low + size, 90.0), float(east))
    lats, lons = positions(lat, lon, size, seed)
    inside = (lats >= box.south) & (lats <= box.north)
    inside &= (lons - box.west) % 360.0 <= box.width_deg
    found = cover([BoxRegion(box), CircleRegion(lat, lon, 40_000_000.0)])
    held, doubtful = inside_and_doubtful(found, lats, lons)
    assert (held | doubtful)[inside].all()


def test_an_area_and_a_circle_together() -> None:
    area = area_from_geojson(
        {
            "type": "Polygon",
            "coordinates": [[[179, 50], [-179, 50], [-179, 51], [179, 51], [179, 50]]],
        }
    )
    lats, lons = positions(50.5, 180, 0.7, 0)
    found = cover([AreaRegion(area), CircleRegion(50.9, 179.9, 30_000)])
    wanted = area.contains(lats, lons) & (geo.distance_m(50.9, 179.9, lats, lons) <= 30_000)
    assert wanted.sum() > 100
    check(found, wanted, lats, lons)
    doubtful = inside_and_doubtful(found, lats, lons)[1]
    assert doubtful.mean() < 0.02, "so little is tested one by one"
    assert sum(map(len, found.inside.values())) + len(found.edge) < 8000


def test_the_whole_earth_and_none_of_it() -> None:
    box = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    lats, lons = positions(0, 0, 60, 0)
    earth = area_from_geojson({"type": "Polygon", "coordinates": [box]})
    found = cover([AreaRegion(earth)], most=20_000)
    assert len(found.edge) <= 20_000, "it is content with larger cells"
    check(found, earth.contains(lats, lons), lats, lons)
    found = cover([CircleRegion(0.0, 0.0, 1e9)])
    assert {*found.inside} <= set(LEVELS)
    check(found, np.ones(len(lats), np.bool_), lats, lons)
    far = cover([CircleRegion(0, 0, 1000), CircleRegion(10, 10, 1000)])
    assert not far.inside and not len(far.edge)


def test_cells_nest() -> None:
    lats, lons = positions(10, 20, 90, 1)
    finest = cell_numbers(lats, lons, LEVELS[-1])
    rows, columns = finest >> LEVELS[-1], finest & ((1 << LEVELS[-1]) - 1)
    for level in LEVELS:
        down = LEVELS[-1] - level
        wanted = (rows >> down) << level | (columns >> down)
        assert (cell_numbers(lats, lons, level) == wanted).all()
        assert cell_numbers(lats, lons, level).max() < 1 << 2 * level
