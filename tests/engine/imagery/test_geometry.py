"""Where things lie, for any place, system, turn and size: measured on rasters whose pixels say where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform

from engine import geo
from engine.geo import Bounds
from engine.imagery import open_imagery
from engine.imagery.describe import describe
from engine.imagery.footprint import around_all, box_of, boxes, ring_of, window_of
from engine.imagery.mosaic import Mosaic
from engine.imagery.patch import segments
from engine.imagery.projection import world_width
from engine.imagery.web_tiles import native_zoom, web_tile
from tests.engine.imagery.rasters import (
    WGS84,
    expected_metres,
    plane_about,
    ramp_raster,
    raster_transform,
    told_metres,
    write_raster,
)

lons = st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -180.0, 179.9999, -179.99995, 6.0]))
lats = st.one_of(st.floats(-89.5, 89.5), st.sampled_from([0.0, 70.0, -70.0, 84.0, 89.5, -89.5]))
SIDE = 64


def _system(name: str, lat: float, lon: float) -> CRS | None:
    """A coordinate system that is meant for a place; None where this one is not."""
    if name in ("mercator", "equal area") and abs(lon) > 179.9:
        return None  # a raster that its plane tears; see test_mosaic.py for what meets there
    zone = int((lon + 180.0) % 360.0 // 6)
    south = 100 if lat < 0 else 0
    if name == "degrees":
        return WGS84
    if name == "mercator":
        return CRS.from_epsg(3857) if abs(lat) < 84 else None
    if name == "utm":
        return CRS.from_epsg(32601 + zone + south) if abs(lat) < 84 else None
    if name == "utm of the neighbour":
        return CRS.from_epsg(32601 + (zone + 1) % 60 + south) if abs(lat) < 80 else None
    if name == "polar":
        if abs(lat) < 55:
            return None
        return CRS.from_epsg(3413 if lat > 0 else 3031)
    if name == "equal area":
        return CRS.from_epsg(6933) if abs(lat) < 70 else None
    return plane_about(round(lat, 3), round(lon, 3))


systems = st.sampled_from(
    ["degrees", "mercator", "utm", "utm of the neighbour", "polar", "equal area", "plane"]
)


def _assert_placed(tile: np.ndarray, extent: float, levels: float, east: float, north: float):
    """No part of a tile is off by half of its pixel; what is written in whole levels is averaged out."""
    side = tile.shape[0]
    pixel_m, level_m = extent / side, 1 / levels
    part = side // 4
    for told, expected, offset in zip(
        told_metres(tile, levels), expected_metres(extent, side), (east, north), strict=True
    ):
        error = told - expected - offset
        assert np.abs(error).max() <= 0.5 * pixel_m + 2.1 * level_m
        for rows in (slice(0, part), slice(-part, None)):
            for columns in (slice(0, part), slice(-part, None)):
                assert abs(error[rows, columns].mean()) <= 0.5 * pixel_m
        assert abs(error.mean()) <= 0.25 * pixel_m + 0.6 * level_m


@settings(max_examples=60, deadline=None)
@given(
    lats,
    lons,
    systems,
    st.floats(0, 360),
    st.floats(12, 400),
    st.floats(0.3, 3.0),
    st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
)
@example(70.0, 180.0, "degrees", 0.0, 50.0, 1.0, (0.1, -0.2))
@example(0.0, 6.0, "utm of the neighbour", 0.0, 100.0, 1.0, (0.0, 0.0))
@example(89.5, 33.0, "polar", 40.0, 70.0, 1.0, (0.2, 0.2))
def test_a_tile_is_square_and_north_up_and_lies_where_it_should(
    tmp_path_factory,
    lat: float,
    lon: float,
    system: str,
    turn_deg: float,
    extent: float,
    scale: float,
    offset: tuple[float, float],
) -> None:
    """For any latitude, system, turn, extent and scale, alone and together with its neighbours."""
    crs = _system(system, lat, lon)
    assume(crs is not None)
    assert crs is not None
    if system in ("degrees", "equal area"):
        turn_deg = 0.0  # turned, its unlike sides would make a parallelogram that the tile leaves
    pixel_m = extent / SIDE / scale
    size = math.ceil(extent * 2.3 / pixel_m)
    assume(size < 700)
    levels = 120 / (0.85 * extent)
    path = ramp_raster(
        tmp_path_factory.mktemp("any") / "a.tif",
        crs,
        lat,
        lon,
        pixel_m=pixel_m,
        size=size,
        turn_deg=turn_deg,
        levels=levels,
    )
    steps = np.array([0.0, 0.4, -0.4])
    east, north = steps * extent * offset[0] / 0.4, steps[[0, 2, 1]] * extent * offset[1] / 0.4
    there_lon, there_lat = transform(plane_about(lat, lon), WGS84, east.tolist(), north.tolist())[
        :2
    ]
    with open_imagery(path) as source:
        assert source.bounds.contains(lat, lon)
        assert source.resolution_m == pytest.approx(pixel_m, rel=0.01)
        tiles, shares = source.cut_many(there_lat, there_lon, extent, SIDE)
    assert shares.tolist() == [1.0, 1.0, 1.0]
    for tile, x, y in zip(tiles, east, north, strict=True):
        # A neighbour's north is its own: by so much it is turned against the first one's.
        turn = abs(math.radians(x / 111_320) * math.tan(math.radians(lat)))
        if turn * SIDE < 0.2:
            _assert_placed(tile, extent, levels, x, y)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_division_into_files_gives_what_one_file_gives(tmp_path_factory, data) -> None:
    """Rectangles at random, that may overlap, with gaps in some: exactly the pixels of the whole."""
    folder = tmp_path_factory.mktemp("parts")
    size = 90
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    bands = rng.integers(1, 255, (3, size, size), dtype=np.uint8)
    # North is up in it, so that nothing is turned: what is turned depends on where the turning begins.
    crs = plane_about(45.0, 9.3)
    placed = raster_transform(crs, 45.0, 9.3, 1.0, size)
    (folder / "parts").mkdir()
    for i in range(data.draw(st.integers(2, 5))):
        x0, x1 = sorted(data.draw(st.tuples(st.integers(0, size - 9), st.integers(9, size))))
        y0, y1 = sorted(data.draw(st.tuples(st.integers(0, size - 9), st.integers(9, size))))
        x1, y1 = max(x1, x0 + 2), max(y1, y0 + 2)
        part = bands[:, y0:y1, x0:x1].copy()
        if data.draw(st.booleans()):
            part[:, : (y1 - y0) // 2, : (x1 - x0) // 2] = 0
        where = placed @ Affine.translation(x0, y0)
        path = folder / "parts" / f"{i}.tif"
        write_raster(path, part, crs, where, photometric="RGB", nodata=0)
    merged = np.zeros_like(bands)
    for path in sorted((folder / "parts").iterdir()):
        import rasterio

        with rasterio.open(path) as file:
            x, y = (round(v) for v in ~placed @ (file.transform.c, file.transform.f))
            values = file.read()
        view = merged[:, y : y + values.shape[1], x : x + values.shape[2]]
        np.copyto(view, values, where=values > 0)
    whole = write_raster(folder / "whole.tif", merged, crs, placed, photometric="RGB", nodata=0)
    pixels = data.draw(st.sampled_from([33, 50, 77]))
    with open_imagery(folder / "parts") as many, open_imagery(whole) as one:
        assert isinstance(many, Mosaic) and len(many.layers) == 1
        for extent in (45.0, 80.0):
            # Not in the middle, where edges would cut pixels into exact halves.
            found = many.cut(45.0000017, 9.3000023, extent, pixels)
            expected = one.cut(45.0000017, 9.3000023, extent, pixels)
            if extent / pixels < 2:
                assert found[1] == pytest.approx(expected[1], abs=0.01)
                off = np.abs(found[0].astype(int) - expected[0])
                assert off.max() <= 3 and off.mean() < 0.6  # rounding, at the edges of files
            else:
                # Where a coarser pixel is there in part, whole files are asked for the nearest of its pixels.
                assert found[1] == pytest.approx(expected[1], abs=0.15)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-180, 179.9), st.floats(0, 300)), min_size=1, max_size=6))
def test_a_box_around_boxes_holds_them_and_is_no_larger_than_it_must(spans) -> None:
    several = [
        Bounds(-1.0, west, 1.0, float(geo.wrap_longitude(west + wide))) for west, wide in spans
    ]
    box = around_all(several)
    ends = [(b.west, (b.west + b.width_deg)) for b in several]
    for west, east in ends:
        for lon in np.linspace(west, east, 7):
            inside = (lon - box.west) % 360.0
            assert inside <= box.width_deg + 1e-6 or inside >= 360 - 1e-6
    # Walking round the circle by tenths of a degree, nothing that could be left out at an edge is inside.
    free = np.ones(3600, bool)
    for west, east in ends:
        first, last = math.floor(west * 10), math.ceil(east * 10)
        free[np.arange(first, last + 1) % 3600] = False
    longest = run = 0
    for one in np.concatenate([free, free]):
        run = run + 1 if one else 0
        longest = max(longest, min(run, 3600))
    assert box.width_deg <= 360.0 - longest / 10 + 0.5


@dataclass(frozen=True)
class _Raster:
    """Only what geometry asks for."""

    raster_crs: CRS
    transform: Affine
    shape: tuple[int, int]

    @property
    def period(self) -> float:
        return world_width(self.raster_crs)

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        raise AssertionError


@settings(max_examples=80, deadline=None)
@given(lats, lons, systems, st.floats(0, 360), st.integers(20, 4000), st.floats(0.1, 20))
def test_the_box_of_a_raster_holds_it_and_its_windows_hold_what_is_asked_for(
    lat: float, lon: float, system: str, turn_deg: float, size: int, pixel_m: float
) -> None:
    crs = _system(system, lat, lon)
    assume(crs is not None and size * pixel_m < 30_000)
    assume(abs(lat) + size * pixel_m / 111_000 < 89.6)
    assume(abs(lat) < 80 or system not in ("degrees", "mercator"))  # turned, they reach too far
    assert crs is not None
    raster = _Raster(crs, raster_transform(crs, lat, lon, pixel_m, size, turn_deg), (size, size))
    box = box_of(raster)
    assert box is not None
    at = np.random.default_rng(size).random((2, 40)) * size
    t = raster.transform
    x, y = t.a * at[0] + t.b * at[1] + t.c, t.d * at[0] + t.e * at[1] + t.f
    inside_lon, inside_lat = transform(crs, WGS84, x.tolist(), y.tolist())[:2]
    slack = 2e-3 * size * pixel_m / 111_000  # a side bends between the points that are looked at
    assert min(inside_lat) >= box.south - slack and max(inside_lat) <= box.north + slack
    per_lon = float(geo.metres_per_degree(max(map(abs, inside_lat)))[1])
    for one in inside_lon:
        off = (one - box.west) % 360.0
        slack_lon = 4e-3 * size * pixel_m / per_lon
        assert off <= box.width_deg + slack_lon or off >= 360 - slack_lon
    ring = ring_of(raster)
    assert np.abs(np.diff(ring[:, 0])).max() < 180
    frame = geo.LocalFrame(lat, lon)
    reach = size * pixel_m / 6
    south, west = frame.to_wgs84(-reach, -reach)
    north, east = frame.to_wgs84(reach, reach)
    window = window_of(raster, Bounds(float(south), float(west), float(north), float(east)))
    assert window is not None
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            one_lat, one_lon = frame.to_wgs84(dx * reach, dy * reach)
            px, py = transform(WGS84, crs, [float(one_lon)], [float(one_lat)])[:2]
            if raster.period:
                middle = raster.transform @ (size / 2, size / 2)
                px = [px[0] + raster.period * round((middle[0] - px[0]) / raster.period)]
            column, row = ~raster.transform @ (px[0], py[0])
            if 0 <= column <= size and 0 <= row <= size:
                assert window[0] - 0.01 <= column <= window[2] + 0.01
                assert window[1] - 0.01 <= row <= window[3] + 0.01


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 40))
def test_cells_cover_a_line_once(low: int, length: int, step: int) -> None:
    high = low + length
    at, last_cell = low, -1
    for start, stop, cell, count, share in segments(low, high, step):
        assert start == at and cell > last_cell and start // step == cell
        assert (stop - start) / step == pytest.approx(count * share)
        assert share == 1 or count == 1
        at, last_cell = stop, cell + count - 1
    assert at == high


@pytest.mark.parametrize(("epsg", "sign"), [(3413, 1), (3031, -1), (32661, 1)])
def test_imagery_of_a_pole(tmp_path: Path, epsg: int, sign: int) -> None:
    """All around the pole tiles are right, close to it there are none, and nothing fails."""
    crs = CRS.from_epsg(epsg)
    size, pixel_m = 600, 100.0
    x0, y0 = transform(WGS84, crs, [0.0], [90.0 * sign])[:2]
    placed = Affine.translation(x0[0], y0[0]) @ Affine.scale(pixel_m, -pixel_m)
    placed = placed @ Affine.translation(-size / 2, -size / 2)
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = placed.a * column.ravel() + placed.c, placed.e * row.ravel() + placed.f
    told_lon, told_lat = transform(crs, WGS84, x.tolist(), y.tolist())[:2]
    turn = np.radians(told_lon)
    distance = (90 - np.abs(told_lat)) * 300
    ramps = np.stack([128 + 100 * np.sin(turn), 128 + 100 * np.cos(turn), distance])
    bands = np.clip(np.round(ramps), 0, 255).astype(np.uint8).reshape(3, size, size)
    path = write_raster(tmp_path / "pole.tif", bands, crs, placed, photometric="RGB")
    with open_imagery(path) as source:
        assert source.bounds.width_deg == 360
        assert max(abs(source.bounds.north), abs(source.bounds.south)) == 90
        assert source.bounds.contains(89.9 * sign, 123.0)
        at = np.arange(-180, 180, 40.0)
        tiles, shares = source.cut_many(np.full(len(at), 89.8 * sign), at, 2000.0, 40)
        assert (shares == 1).all()
        for tile, lon in zip(tiles, at, strict=True):
            middle = tile[18:22, 18:22].reshape(-1, 3).mean(axis=0)
            assert middle[0] == pytest.approx(128 + 100 * math.sin(math.radians(lon)), abs=2)
            assert middle[1] == pytest.approx(128 + 100 * math.cos(math.radians(lon)), abs=2)
            assert middle[2] == pytest.approx(0.2 * 300, abs=2)
            up, down = tile[2, 20, 2], tile[-3, 20, 2]
            assert (int(down) - int(up)) * sign > 1  # north is up
        for lat in (89.95 * sign, 90.0 * sign):
            tile, share = source.cut(lat, 0.0, 2000.0, 40, missing=255)
            assert share == 0 and (tile == 255).all()
        assert web_tile(source, 3, 4, 0 if sign > 0 else 7) is None
        card = describe(source)
        ring = card.outline[0]
        assert abs(ring[:, 1]).max() == 90
        assert np.ptp(ring[:, 0]) == pytest.approx(360)
        assert card.geojson()["geometry"]["coordinates"]


def test_boxes_of_many_files_are_those_of_each(tmp_path: Path) -> None:
    crs = CRS.from_epsg(32632)
    several = [
        _Raster(crs, raster_transform(crs, 45 + i, 9, 1.0, 50, 10 * i), (50, 50)) for i in range(5)
    ]
    transforms = np.array([r.transform[:6] for r in several])
    together = boxes(crs, transforms, np.array([r.shape for r in several]), 33)
    assert together == [box_of(r) for r in several]
    nowhere = Affine(1, 0, 1e12, 0, -1, 1e12)
    assert box_of(_Raster(CRS.from_epsg(4326), nowhere, (5, 5))) is None


@pytest.mark.parametrize("lat", [0.0, 45.0, 70.0, -80.0])
def test_several_extents_are_of_one_place(tmp_path: Path, lat: float) -> None:
    """50, 70 and 100 m about one centre show the same ground at the middle, each at its own scale."""
    path = ramp_raster(
        tmp_path / "a.tif", CRS.from_epsg(4326), lat, 12.0, pixel_m=0.4, size=330, levels=2.1
    )
    with open_imagery(path) as source:
        for extent in (50.0, 70.0, 100.0):
            tile, share = source.cut(lat, 12.0, extent, 100)
            assert share == 1
            _assert_placed(tile, extent, 2.1, 0.0, 0.0)
        zoom = native_zoom(source.resolution_m, lat)
        assert zoom > 15
