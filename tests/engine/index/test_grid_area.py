"""Where tiles stand, and what an area holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import geo
from engine.errors import ImageryError
from engine.geo import Bounds
from engine.index import AreaError, area_from_geojson, read_area
from engine.index.grid import around, intersection, tile_centres


def _box(lat: float, lon: float, width_m: float, height_m: float) -> Bounds:
    south, west = geo.LocalFrame(lat, lon).to_wgs84(-width_m / 2, -height_m / 2)
    north, east = geo.LocalFrame(lat, lon).to_wgs84(width_m / 2, height_m / 2)
    return Bounds(float(south), float(west), float(north), float(east))


@pytest.mark.parametrize("lat", [-60.0, 0.0, 48.0, 70.0])
@pytest.mark.parametrize("lon", [-123.39, 179.9999])
def test_neighbours_stand_a_stride_apart(lat: float, lon: float) -> None:
    stride = 8.0
    lats, lons = tile_centres(_box(lat, lon, 200, 100), stride)
    assert len(lats) == 25 * 13
    east, north = geo.LocalFrame(lat, lon).to_local(lats, lons)
    points = np.stack([east, north], axis=1)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.min(axis=1)
    assert nearest.min() == pytest.approx(stride, rel=2e-3)
    assert nearest.max() == pytest.approx(stride, rel=2e-3)
    assert np.hypot(east, north).min() < 0.01  # one stands in the middle
    assert (lons >= -180).all()
    assert (lons < 180).all()


def test_rows_keep_the_stride_over_a_large_area() -> None:
    """300 km north to south at 65°: the same longitudes would be 40 % apart between the ends."""
    lats, lons = tile_centres(_box(65.0, 20.0, 40_000, 300_000), 1000.0)
    for lat in (lats.min(), lats.max()):
        row = np.sort(lons[lats == lat])
        steps = geo.distance_m(lat, row[:-1], lat, row[1:])
        assert steps == pytest.approx(1000.0, rel=1e-3)


def test_the_order_keeps_neighbours_together() -> None:
    lats, lons = tile_centres(_box(48.0, 9.0, 1600, 1600), 10.0)
    east, north = geo.LocalFrame(48.0, 9.0).to_local(lats, lons)
    for first in range(0, len(lats) - 1024, 1024):
        part = slice(first, first + 1024)
        assert np.ptp(east[part]) < 660
        assert np.ptp(north[part]) < 660


def test_too_many_tiles_are_refused_before_they_are_made() -> None:
    with pytest.raises(ImageryError, match=r"smaller area or a larger stride"):
        tile_centres(Bounds(-60, -180, 60, 180), 5.0)


def test_a_box_smaller_than_the_stride_has_one_tile() -> None:
    lats, lons = tile_centres(_box(48.0, 9.0, 30, 30), 100.0)
    assert (lats[0], lons[0]) == pytest.approx((48.0, 9.0))
    assert len(lats) == 1


def test_shared_boxes() -> None:
    a = Bounds(0, 170, 10, -170)
    assert intersection(a, Bounds(5, 175, 20, 179)) == Bounds(5, 175, 10, 179)
    assert intersection(a, Bounds(5, -175, 20, -160)) == Bounds(5, -175, 10, -170)
    assert intersection(a, Bounds(5, 0, 20, 10)) is None
    assert intersection(a, Bounds(50, 170, 60, 175)) is None
    assert intersection(Bounds(-90, -180, 90, 180), a) == a


def test_a_box_around_positions_across_the_meridian() -> None:
    box = around(np.array([10.0, 10.001]), np.array([179.9995, -179.9995]), 20.0)
    assert box.west == pytest.approx(179.9993, abs=1e-4)
    assert box.east == pytest.approx(-179.9993, abs=1e-4)
    assert box.width_deg < 0.01


def _polygon(*rings) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]


def test_holes_parts_and_collections() -> None:
    area = area_from_geojson(_polygon(SQUARE, HOLE))
    assert area.contains([0.5, 1.5, 3.0, 5.0], [0.5, 1.5, 3.0, 1.0]).tolist() == [
        True,
        False,
        True,
        False,
    ]
    far = [[x + 10, y] for x, y in SQUARE]
    many = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": _polygon(SQUARE)},
            {
                "type": "Feature",
                "properties": None,
                "geometry": {"type": "MultiPolygon", "coordinates": [[far]]},
            },
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [50, 50]}},
        ],
    }
    both = area_from_geojson(many)
    assert both.contains([2, 2, 2], [2, 12, 7]).tolist() == [True, True, False]
    assert both.bounds == Bounds(0, 0, 4, 14)


@pytest.mark.parametrize("east", [182.0, -178.0])
def test_areas_across_the_meridian(east: float) -> None:
    """Both ways of writing it: longitudes that run on, and longitudes that jump."""
    ring = [[178, -10], [east, -10], [east, 10], [178, 10], [178, -10]]
    area = area_from_geojson(_polygon(ring))
    assert area.contains([0, 0, 0, 0], [179, -179, 177, 0]).tolist() == [True, True, False, False]
    assert area.bounds == Bounds(-10, 178, 10, -178)


@settings(max_examples=50, deadline=None)
@given(
    centre=st.tuples(st.floats(-170, 170), st.floats(-70, 70)),
    corners=st.integers(3, 12),
    seed=st.integers(0, 1000),
)
def test_inside_agrees_with_summed_angles(
    centre: tuple[float, float], corners: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.5, 3, corners)
    ring = np.stack([centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)], axis=1)
    points = np.array(centre) + rng.uniform(-3, 3, (40, 2))
    area = area_from_geojson(_polygon([*ring.tolist(), ring[0].tolist()]))
    arms = ring[None] - points[:, None]
    angles = np.arctan2(arms[..., 1], arms[..., 0])
    steps = np.diff(np.concatenate([angles, angles[:, :1]], axis=1), axis=1)
    winding = ((steps + np.pi) % (2 * np.pi) - np.pi).sum(axis=1)
    assert (area.contains(points[:, 1], points[:, 0]) == (np.abs(winding) > 1)).all()


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]},
        {"type": "Polygon", "coordinates": [[[1, "x"], [3, 4], [5, 6]]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, float("nan")]]]},
        {"type": "Polygon", "coordinates": [[[500_000, 5_000_000], [500_100, 5_000_000], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[{}, {}, {}]]},
        {"type": "Polygon", "coordinates": [[[10**400, 2], [3, 4], [5, 6]]]},
        {"type": "Feature", "geometry": None},
    ],
)
def test_what_is_no_area(raw: object) -> None:
    with pytest.raises(AreaError):
        area_from_geojson(raw)  # pyright: ignore[reportArgumentType]


def test_area_files(tmp_path: Path) -> None:
    good = tmp_path / "Gebiet Süd.geojson"
    good.write_text(json.dumps(_polygon(SQUARE)), encoding="utf-8")
    assert read_area(good).bounds == Bounds(0, 0, 4, 4)
    (tmp_path / "bad.geojson").write_text("{")
    (tmp_path / "deep.geojson").write_text("[" * 100_000)
    for name in ("bad.geojson", "deep.geojson", "missing.geojson"):
        with pytest.raises(AreaError, match=name):
            read_area(tmp_path / name)


def test_a_nested_collection_without_end_is_refused() -> None:
    raw: dict = {"type": "GeometryCollection", "geometries": []}
    for _ in range(50):
        raw = {"type": "GeometryCollection", "geometries": [raw]}
    with pytest.raises(AreaError):
        area_from_geojson(raw)
