"""Where tiles are cut: metres on the ground, north up, to half a pixel, in any CRS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform

from engine import geo
from engine.imagery import open_imagery
from engine.imagery.raster import RasterSource
from tests.engine.imagery.rasters import (
    LEVELS_PER_M,
    WGS84,
    expected_metres,
    plane_about,
    ramp_raster,
    raster_transform,
    told_metres,
    write_raster,
)

# What, CRS, latitude, longitude.
PLACES = [
    ("degrees", "EPSG:4326", 48.2, 16.4),
    ("degrees, far north", "EPSG:4326", 69.65, 18.95),
    ("web mercator", "EPSG:3857", -33.9, 151.2),
    ("web mercator, far north", "EPSG:3857", 70.0, 25.0),
    ("UTM, equator", "EPSG:32632", 0.3385, 6.7276),
    ("UTM, edge of the zone, far from the meridian", "EPSG:32633", 60.2, 10.3),
    ("UTM south", "EPSG:32710", -48.87, -123.39),
    ("Netherlands, another ellipsoid", "EPSG:28992", 51.84, 4.99),
    ("Britain", "EPSG:27700", 51.5, -0.12),
    ("feet", "EPSG:2263", 40.7, -74.0),
    ("polar stereographic, north is anywhere", "EPSG:3413", 72.0, 100.0),
    ("equal area, unequal scales", "EPSG:6933", 55.0, 37.6),
    ("degrees at 180", "EPSG:4326", -16.8, 180.0),
    ("web mercator at 180", "EPSG:3857", -16.8, 179.99995),
    ("UTM at 180", "EPSG:32660", -16.8, 180.00005),
]
EXTENT, PIXELS = 28.0, 112
HALF_PIXEL_M = EXTENT / PIXELS / 2


@pytest.mark.parametrize(("what", "crs", "lat", "lon"), PLACES, ids=[p[0] for p in PLACES])
def test_tile_lies_where_it_should_in_any_crs(
    tmp_path: Path, what: str, crs: str, lat: float, lon: float
) -> None:
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_string(crs), lat, lon)
    with open_imagery(path) as source:
        pixels, share = source.cut(lat, lon, EXTENT, PIXELS)
        assert source.resolution_m == pytest.approx(0.25, rel=0.002)
        assert source.bounds.contains(lat, float(geo.wrap_longitude(lon)))
    assert share == 1.0
    _assert_at(pixels, 0.0, 0.0)


@pytest.mark.parametrize("turn_deg", [7.0, -30.0, 90.0, 180.0, 123.0])
@pytest.mark.parametrize("flipped", [False, True])
def test_rotated_and_flipped_transforms(tmp_path: Path, turn_deg: float, flipped: bool) -> None:
    lat, lon = 45.0, 8.0
    path = ramp_raster(
        tmp_path / "ramp.tif",
        CRS.from_epsg(32632),
        lat,
        lon,
        turn_deg=turn_deg,
        flipped=flipped,
        size=240,
    )
    with open_imagery(path) as source:
        pixels, share = source.cut(lat, lon, EXTENT, PIXELS)
    assert share == 1.0
    _assert_at(pixels, 0.0, 0.0)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:32633", "EPSG:3413"])
@pytest.mark.parametrize("stride_m", [1.0, 0.7321])
def test_many_tiles_at_once_lie_where_each_alone_lies(
    tmp_path: Path, crs: str, stride_m: float
) -> None:
    lat, lon, extent, pixels = 60.2, 10.3, 14.0, 70
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_string(crs), lat, lon)
    steps = np.arange(-4, 5) * stride_m
    east, north = (v.ravel() for v in np.meshgrid(steps, steps))
    lons, lats = transform(plane_about(lat, lon), WGS84, east.tolist(), north.tolist())[:2]
    with open_imagery(path) as source:
        tiles, shares = source.cut_many(np.array(lats), np.array(lons), extent, pixels)
        assert tiles.shape == (81, pixels, pixels, 3)
        assert (shares == 1).all()
        for i in (0, 17, 40, 80):
            _assert_at(tiles[i], float(east[i]), float(north[i]), extent, pixels)
            alone, _ = source.cut(lats[i], lons[i], extent, pixels)
            assert np.abs(tiles[i].astype(int) - alone).max() <= 2


def test_tiles_scattered_over_the_world_of_a_raster(tmp_path: Path) -> None:
    lat, lon = -33.9, 151.2
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_epsg(28356), lat, lon)
    lats, lons = np.array([lat, lat + 0.3, lat, -lat]), np.array([lon, lon, lon + 4, lon])
    with open_imagery(path) as source:
        tiles, shares = source.cut_many(lats, lons, EXTENT, PIXELS)
    assert shares.tolist() == [1, 0, 0, 0]
    assert not tiles[1:].any()
    _assert_at(tiles[0], 0.0, 0.0)


def test_tiles_beyond_the_edge_are_black_and_their_share_is_told(tmp_path: Path) -> None:
    lat, lon = 45.0, 8.0
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_epsg(32632), lat, lon)  # 40 m a side
    frame = geo.LocalFrame(lat, lon)
    with open_imagery(path) as source:
        for east, expected in ((20.0, 0.5), (27.0, 0.25), (-20.0, 0.5), (40.0, 0.0)):
            pixels, share = source.cut(*frame.to_wgs84(east, 0.0), EXTENT, PIXELS)
            assert share == pytest.approx(expected, abs=0.02)
            empty = pixels[:, -30:] if east > 0 else pixels[:, :30]
            assert (empty == 0).all()


def test_the_edge_of_the_imagery_does_not_move_what_is_inside(tmp_path: Path) -> None:
    lat, lon, size = 45.0, 8.0, 100
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_epsg(32632), lat, lon, size=size)
    east_edge = north_edge = size * 0.25 / 2
    with open_imagery(path) as source:
        at = geo.LocalFrame(lat, lon).to_wgs84(east_edge, north_edge)
        corner, share = source.cut(*at, EXTENT, PIXELS)
    assert share == pytest.approx(0.25, abs=0.01)
    inside = (slice(62, 100), slice(12, 50))
    for told, expected, edge in zip(
        told_metres(corner), expected_metres(EXTENT, PIXELS), (east_edge, north_edge), strict=True
    ):
        assert np.abs((told - expected - edge)[inside]).max() < 2.1 / LEVELS_PER_M
        assert abs((told - expected - edge)[inside].mean()) < HALF_PIXEL_M / 2 + 0.5 / LEVELS_PER_M


@pytest.mark.parametrize("pixel_m", [0.11, 0.25, 0.9])
@pytest.mark.parametrize("turn_deg", [0.0, 20.0])
def test_coarser_tiles_average_and_do_not_alias(
    tmp_path: Path, pixel_m: float, turn_deg: float
) -> None:
    """Stripes one pixel wide turn to grey, and nothing moves."""
    lat, lon, size = 45.0, 9.0, 480
    crs = CRS.from_epsg(32632)
    placed = raster_transform(crs, lat, lon, 0.05, size, turn_deg)
    stripes = (np.add.outer(np.arange(size), np.arange(size)) % 2 * 255).astype(np.uint8)
    half = np.where(np.arange(size) < size // 2, 40, 220).astype(np.uint8)
    bands = np.stack([stripes, np.broadcast_to(half, (size, size)), stripes])
    path = write_raster(tmp_path / "stripes.tif", bands, crs, placed, photometric="RGB")
    pixels = round(14 / pixel_m)
    with open_imagery(path) as source:
        tile, _ = source.cut(lat, lon, pixels * pixel_m, pixels)
    assert np.abs(tile[..., 0].astype(int) - 127).max() <= 14
    # The edge runs through the centre: both sides are of one size.
    assert tile[..., 1].mean() == pytest.approx(130, abs=1.5)


def test_upsampling_keeps_the_place(tmp_path: Path) -> None:
    lat, lon = 51.0, 5.0
    path = ramp_raster(tmp_path / "ramp.tif", CRS.from_epsg(28992), lat, lon, pixel_m=1.0, size=60)
    with open_imagery(path) as source:
        pixels, _ = source.cut(lat, lon, EXTENT, PIXELS)
    _assert_at(pixels, 0.0, 0.0)


def test_large_and_coarse_views_keep_straight_lines_of_latitude(tmp_path: Path) -> None:
    """A view of 60 km: local metres are straight in latitude and longitude, the raster's CRS is not."""
    lat, lon, size = 60.0, 15.0, 640
    crs = CRS.from_epsg(3006)
    placed = raster_transform(crs, lat, lon, 120.0, size)
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x, y = placed.a * column + placed.c, placed.e * row + placed.f
    lons, lats = transform(crs, WGS84, x.ravel().tolist(), y.ravel().tolist())[:2]
    ramps = [128 + 150 * (np.array(lons) - lon), 128 + 300 * (np.array(lats) - lat)]
    bands = np.round(np.stack([*ramps, ramps[0]])).reshape(3, size, size)
    path = write_raster(
        tmp_path / "far.tif",
        np.clip(bands, 0, 255).astype(np.uint8),
        crs,
        placed,
        photometric="RGB",
    )
    extent, pixels = 50_000.0, 250
    with open_imagery(path) as source:
        tile, share = source.cut(lat, lon, extent, pixels)
    assert share == 1
    frame = geo.LocalFrame(lat, lon)
    east, north = expected_metres(extent, pixels)
    true_lat, true_lon = frame.to_wgs84(east, north)
    assert np.abs(tile[..., 0] - (128 + 150 * (true_lon - lon))).max() < 1.3
    assert np.abs(tile[..., 1] - (128 + 300 * (true_lat - lat))).max() < 1.3


FILES = {
    "201404_13SED190110_201404_0x1500m_CL_1.tif": 0.15,
    "drone_32632_006m.tif": 0.06,
    "netherlands_28992_025m.tif": 0.25,
    "rotterdam_4band_float64_1m.tif": 1.0,
}


@pytest.mark.parametrize("name", FILES)
def test_real_files_against_sampling_every_pixel_on_its_own(realdata: Path, name: str) -> None:
    """The tile equals what PROJ and plain bilinear sampling give, and no half-pixel shift of it fits better."""
    import rasterio

    resolution, pixels = FILES[name], 128
    extent = resolution * pixels
    with RasterSource(realdata / "geotiff" / name) as source:
        assert source.resolution_m == pytest.approx(resolution, rel=0.02)
        lat, lon = source.bounds.centre
        tile, share = source.cut(lat, lon, extent, pixels)
        assert share == 1
        with rasterio.open(source.path) as dataset:
            bands = source.read(0, 0, dataset.width, dataset.height, dataset.width, dataset.height)[
                0
            ]
            crs, inverse = dataset.crs, ~dataset.transform
    east, north = expected_metres(extent, pixels)
    scores = {}
    half = extent / pixels / 2
    for shift in ((0, 0), (half, 0), (-half, 0), (0, half), (0, -half)):
        xs, ys = transform(
            plane_about(lat, lon),
            crs,
            (east + shift[0]).ravel().tolist(),
            (north + shift[1]).ravel().tolist(),
        )[:2]
        column, row = inverse @ (np.array(xs), np.array(ys))
        sampled = _bilinear(bands, column - 0.5, row - 0.5).reshape(3, pixels, pixels)
        scores[shift] = np.abs(np.moveaxis(sampled, 0, -1) - tile).mean()
    assert min(scores, key=lambda s: scores[s]) == (0, 0), scores
    assert scores[0, 0] < 0.5 * min(v for k, v in scores.items() if k != (0, 0)), scores


def _assert_at(
    pixels: np.ndarray, east: float, north: float, extent: float = EXTENT, side: int = PIXELS
) -> None:
    """The ramp says where it should: no pixel is off by more than its rounding, and no corner or middle at all."""
    level = 1 / LEVELS_PER_M
    part = side // 8
    middle = slice(side // 2 - part // 2, side // 2 + part // 2)
    places = [slice(0, part), middle, slice(side - part, side)]
    for told, expected, offset in zip(
        told_metres(pixels), expected_metres(extent, side), (east, north), strict=True
    ):
        error = told - expected - offset
        assert np.abs(error).max() < 2.1 * level
        means = [error[rows, columns].mean() for rows in places for columns in places]
        # What is turned is rounded down, half a level on average.
        assert min(means) > -HALF_PIXEL_M / 2 - level / 2 - 1e-9, means
        assert max(means) < HALF_PIXEL_M / 2, means
        assert -HALF_PIXEL_M / 4 - level / 2 < error.mean() < HALF_PIXEL_M / 4
    assert np.abs(pixels[..., 2].astype(int) - 77).max() <= 1


def _bilinear(bands: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - x0, y - y0
    top = bands[:, y0, x0] * (1 - u) + bands[:, y0, x0 + 1] * u
    bottom = bands[:, y0 + 1, x0] * (1 - u) + bands[:, y0 + 1, x0 + 1] * u
    return top * (1 - v) + bottom * v
