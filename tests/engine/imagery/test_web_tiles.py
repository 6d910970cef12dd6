"""Map tiles show the imagery where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from engine.geo import Bounds, LocalFrame
from engine.imagery import open_imagery
from engine.imagery.web_tiles import WebGrid, native_zoom, part_with, web_tile

PLACES = [(-48.87, -123.39), (-16.8, 180.0), (70.0, 25.7), (0.0, 0.0)]
# Metres east and north of the middle; the first that does not lie on an edge between tiles is taken.
MARKS = [(31.0, -22.0), (-28.0, 35.0), (12.0, 44.0), (-47.0, -9.0)]


class SquaresOnly:
    """A source that, like some kinds, only cuts squares."""

    def __init__(self, path: Path) -> None:
        self._source = open_imagery(path)
        self.bounds: Bounds = self._source.bounds
        self.resolution_m: float = self._source.resolution_m

    def cut(self, lat: float, lon: float, extent_m: float, pixels: int):
        return self._source.cut(lat, lon, extent_m, pixels)


def write(path: Path, lat: float, lon: float, mark: tuple[float, float] = MARKS[0]) -> Path:
    """200 m of grey at 0.25 m with one white square of 4 m."""
    pixels = np.full((800, 800, 3), 90, np.uint8)
    column, row = round((100 + mark[0]) * 4), round((100 - mark[1]) * 4)
    pixels[row - 8 : row + 8, column - 8 : column + 8] = 255
    crs = CRS.from_proj4(f"+proj=tmerc +lat_0={lat} +lon_0={lon} +k=1 +ellps=WGS84 +units=m")
    shape = {"driver": "GTiff", "width": 800, "height": 800, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", crs=crs, transform=from_origin(-100, 100, 0.25, 0.25), **shape
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


def to_wgs84(lat: float, lon: float, spot: tuple[float, float]) -> tuple[float, float]:
    """Where a point lies that is given in metres east and north of a position."""
    placed = LocalFrame(lat, lon).to_wgs84(*spot)
    return float(placed[0]), float(placed[1])


def tile_of(lat: float, lon: float, zoom: int) -> tuple[int, int, float, float]:
    """Column and row of the tile a position lies in, and its place in it in pixels of 256."""
    x = ((lon + 180.0) % 360.0) / 360.0 * 2**zoom
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom
    return int(x), int(y), (x % 1) * 256, (y % 1) * 256


@pytest.mark.parametrize(("lat", "lon"), PLACES)
@pytest.mark.parametrize("kind", [open_imagery, SquaresOnly])
@pytest.mark.parametrize("coarser", [0, 2])
def test_a_mark_lies_where_it_is(
    tmp_path: Path, lat: float, lon: float, kind, coarser: int
) -> None:
    zoom = native_zoom(0.25, lat) - coarser
    spots = [tile_of(*to_wgs84(lat, lon, mark), zoom) for mark in MARKS]
    chosen = next(i for i, (_, _, x, y) in enumerate(spots) if 12 < min(x, y) and max(x, y) < 244)
    mark, (column, row, x, y) = MARKS[chosen], spots[chosen]
    source = kind(write(tmp_path / "mark.tif", lat, lon, mark))
    tile = web_tile(source, zoom, column, row)
    assert tile is not None
    light = np.clip(tile.pixels.mean(axis=2) - 120.0, 0, None)
    rows, columns = np.mgrid[0:256, 0:256] + 0.5
    assert (light * columns).sum() / light.sum() == pytest.approx(x, abs=0.3)
    assert (light * rows).sum() / light.sum() == pytest.approx(y, abs=0.3)


def test_outside_the_imagery_there_is_nothing(tmp_path: Path) -> None:
    source = open_imagery(write(tmp_path / "mark.tif", -48.87, -123.39))
    zoom = 17
    column, row, _, _ = tile_of(-48.87, -123.39, zoom)
    assert web_tile(source, zoom, column, row) is not None
    assert web_tile(source, zoom, column + 5, row) is None
    assert web_tile(source, zoom, column, row - 5) is None
    assert web_tile(source, zoom, -1, row) is None
    assert web_tile(source, zoom, 2**zoom, row) is None
    assert web_tile(source, zoom, column, 2**zoom) is None


@pytest.mark.parametrize("kind", [open_imagery, SquaresOnly])
def test_pixels_beyond_the_edge_are_marked(tmp_path: Path, kind) -> None:
    source = kind(write(tmp_path / "mark.tif", 70.0, 25.7))
    column, row, _, _ = tile_of(70.0, 25.7, 15)
    tile = web_tile(source, 15, column, row)
    assert tile is not None and tile.valid is not None
    assert 0 < tile.valid.mean() < 1
    assert (tile.pixels[tile.valid] > 60).all()
    pixel_m = 156543.034 * np.cos(np.radians(70.0)) / 2**15
    assert tile.valid.sum() == pytest.approx((200 / pixel_m) ** 2, rel=0.05)


def test_a_tile_far_larger_than_the_imagery_can_be_cut(tmp_path: Path) -> None:
    source = open_imagery(write(tmp_path / "mark.tif", -16.8, 180.0))
    for zoom in (0, 3, 8):
        row = tile_of(-16.8, 180.0, zoom)[1]
        tiles = [web_tile(source, zoom, column, row) for column in (0, 2**zoom - 1)]
        for tile in tiles:
            assert tile is None or (tile.valid is not None and tile.valid.sum() <= 4)


def test_native_zoom_shows_all_there_is() -> None:
    for lat in (0.0, -48.87, 70.0):
        zoom = native_zoom(0.25, lat)
        shown = 156543.034 * np.cos(np.radians(lat)) / 2**zoom
        assert shown <= 0.25 * 1.2
        assert shown > 0.25 * 0.55


def test_only_the_part_that_meets_the_imagery_is_rendered() -> None:
    world = Bounds(-80.0, -180.0, 80.0, 179.9999999)
    whole = part_with(world, 2, 1, 1, 256)
    assert whole is not None and whole == WebGrid(2, 1, 1, 256, 0, 0, 256, 256)
    lats, lons = whole.positions([0, 256], [0, 256])
    assert lons.tolist() == [-90.0, 0.0]
    assert lats == pytest.approx([66.51326, 0.0], abs=1e-4)
    across = Bounds(-17.0, 179.0, -16.0, -179.0)  # one degree on both sides of the meridian
    east, west = part_with(across, 3, 7, 4, 256), part_with(across, 3, 0, 4, 256)
    assert east is not None and west is not None
    assert east.left + east.width == 256 and 5 <= east.width <= 8
    assert west.left == 0 and 5 <= west.width <= 8
    assert part_with(across, 3, 3, 4, 256) is None
