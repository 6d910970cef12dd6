"""Tile pyramids lie where they lie, show what they have, and stay small in memory."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform

from engine.errors import ImageryError
from engine.geo import Bounds, LocalFrame
from engine.imagery import open_imagery
from engine.imagery.mbtiles import MBTilesStore, open_mbtiles
from engine.imagery.pyramid import TilePyramid
from engine.imagery.tile_folder import open_tile_folder
from engine.imagery.tile_grid import Level, TileGrid, grid_to_json, web_mercator_grid
from engine.imagery.web_tiles import web_tile
from tests.engine.imagery.map_tiles import (
    Square,
    picture,
    ramp,
    ramp_tiles,
    tile_at,
    web_square,
    write_folder,
    write_mbtiles,
)
from tests.engine.imagery.rasters import WGS84, expected_metres, told_metres

PLACES = [(0.35, 32.59), (70.0, 25.7), (-48.87, -123.39), (-16.8, 179.99999)]


def errors(tile: np.ndarray, extent_m: float) -> float:
    """The largest distance, metres, between what the pixels say and where they are; the middle of the tile."""
    pixels = tile.shape[0]
    told, wanted = told_metres(tile.astype(float)), expected_metres(extent_m, pixels)
    inner = slice(2, -2)
    off = np.hypot(told[0] - wanted[0], told[1] - wanted[1])[inner, inner]
    return float(off.max())


@pytest.mark.parametrize(("lat", "lon"), PLACES)
@pytest.mark.parametrize(("pixels", "kind"), [(256, "png"), (512, "webp")])
def test_pixels_lie_where_they_say(
    tmp_path: Path, lat: float, lon: float, pixels: int, kind: str
) -> None:
    zoom = 19 if pixels == 256 else 18
    source = open_imagery(
        write_folder(
            tmp_path / "t", ramp_tiles(lat, lon, zoom, pixels=pixels, kind=kind), f".{kind}"
        )
    )
    assert source.bounds.contains(lat, lon)
    assert source.resolution_m == pytest.approx(
        2 * np.pi * 6378137 / 2**zoom / pixels * np.cos(np.radians(lat)), rel=0.01
    )
    for side in (96, 32):  # finer and coarser than the tiles
        tile, share = source.cut(lat, lon, 24.0, side)
        assert share == 1.0
        # Half a pixel, and what eight levels a metre cannot say.
        assert errors(tile, 24.0) < 0.5 * max(24.0 / side, source.resolution_m) + 0.13


def test_mbtiles_and_folder_of_the_same_tiles_are_the_same_imagery(tmp_path: Path) -> None:
    lat, lon = PLACES[1]
    tiles = ramp_tiles(lat, lon, 19)
    a = open_imagery(write_folder(tmp_path / "folder", tiles))
    b = open_imagery(write_mbtiles(tmp_path / "file.mbtiles", tiles))
    assert (
        a.bounds == b.bounds and a.resolution_m == b.resolution_m and a.crs == b.crs == "EPSG:3857"
    )
    spots = [LocalFrame(lat, lon).to_wgs84(e, n) for e in (-5.0, 4.0) for n in (-6.0, 7.0)]
    lats, lons = zip(*((float(p[0]), float(p[1])) for p in spots), strict=True)
    one, shares = a.cut_many(lats, lons, 16.0, 48)
    other, same = b.cut_many(lats, lons, 16.0, 48)
    assert np.array_equal(one, other) and np.array_equal(shares, same)


def test_the_other_grids(tmp_path: Path) -> None:
    """A grid in a national CRS, with an origin of its own and no nested zooms."""
    crs, lat, lon = CRS.from_epsg(28992), 52.1, 5.2
    x, y = (v[0] for v in transform(WGS84, crs, [lon], [lat])[:2])
    levels = tuple(
        Level(zoom, resolution, -285401.92, 903401.92, 256, 256, across, across)
        for zoom, resolution, across in ((11, 0.5, 7000), (12, 0.21, 17000))
    )
    grid = TileGrid(crs, levels)
    tiles = {}
    for level in levels:
        wide = level.tile_span[0]
        column, row = int((x - level.west) / wide), int((level.north - y) / wide)
        for c in range(column - 1, column + 2):
            for r in range(row - 1, row + 2):
                west, _, _, north = level.box(c, r)
                tiles[level.zoom, c, r] = picture(
                    ramp(Square(crs, west, north, level.resolution, 256), lat, lon)
                )
    path = write_mbtiles(
        tmp_path / "rd.tiles",
        tiles,
        [("nadir_grid", json.dumps(grid_to_json(grid)))],
        rows=lambda zoom: grid.level(zoom).rows,
    )
    with open_mbtiles(path) as source:
        assert source.crs == "EPSG:28992" and source.zoom == 12
        assert source.resolution_m == pytest.approx(0.21, rel=1e-3)
        tile, share = source.cut(lat, lon, 24.0, 96)
        assert share == 1.0 and errors(tile, 24.0) < 0.29  # what is turned is rounded down
        coarse, share = source.cut(lat, lon, 24.0, 24)  # 1 m a pixel: from the coarser level
        assert share == 1.0 and errors(coarse, 24.0) < 0.6
        assert all(abs(ring[:, 0] - lon).max() < 0.01 for ring in source.outline())


def test_a_coarser_zoom_serves_only_where_it_is_not_enlarged(tmp_path: Path) -> None:
    lat, lon = PLACES[0]
    tiles = ramp_tiles(lat, lon, 19, reach=2)
    column, row = tile_at(lat, lon, 18)
    red = picture(np.full((256, 256, 3), (250, 0, 0), np.uint8))
    tiles |= {
        (18, c, r): red for c in range(column - 1, column + 2) for r in range(row - 1, row + 2)
    }
    del tiles[19, *tile_at(lat, lon, 19)]
    with open_mbtiles(write_mbtiles(tmp_path / "t.mbtiles", tiles)) as source:
        assert source.zooms == (18, 19)
        # About the pixel size of zoom 19: the hole is a hole.
        square = web_square(19, *tile_at(lat, lon, 19))
        middle = LocalFrame(lat, lon)
        x, y = square.west + 128 * square.resolution, square.north - 128 * square.resolution
        hole = [float(v[0]) for v in transform(CRS.from_epsg(3857), WGS84, [x], [y])[:2]]
        tile, share = source.cut(hole[1], hole[0], 40.0, 160, missing=9)
        assert share == 0.0 and (tile == 9).all()
        # At half of it zoom 18 says what is there, hole or not.
        tile, share = source.cut(hole[1], hole[0], 40.0, 40)
        assert share == 1.0 and (tile == (250, 0, 0)).all()
        assert middle is not None


def test_what_a_coarser_zoom_lacks_is_made_of_the_finer_one(tmp_path: Path) -> None:
    lat, lon = PLACES[2]
    tiles = ramp_tiles(lat, lon, 19, reach=2)
    with open_imagery(write_folder(tmp_path / "t", tiles)) as source:
        for zoom in (19, 18, 16, 12):
            column, row = tile_at(lat, lon, zoom)
            shown = web_tile(source, zoom, column, row)
            assert shown is not None
            known = np.ones((256, 256), np.bool_) if shown.valid is None else shown.valid
            truth = ramp(web_square(zoom, column, row), lat, lon)
            inside = known & (truth[..., :2] > 20).all(-1) & (truth[..., :2] < 235).all(-1)
            if zoom >= 18:
                assert inside.sum() > 200
                off = np.abs(shown.pixels.astype(int) - truth)[inside]
                assert off.max() <= 0.5 * 8 * 0.4 * 2 ** (
                    19 - zoom
                )  # half a pixel, eight levels a metre
            assert known.any()


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("left_out", [0, 5])
def test_what_is_averaged_is_the_average(tmp_path: Path, kind: str, left_out: int) -> None:
    """Eight by eight tiles of 64 pixels, at every size down to one pixel a tile."""
    rng = np.random.default_rng(4)
    ground = rng.integers(0, 255, (64, 64, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    column, row = 8 * 4000, 8 * 3000
    spots = [(c, r) for c in range(8) for r in range(8)]
    gone = {spots[int(i)] for i in rng.choice(range(1, 63), left_out, replace=False)}
    there = np.ones((512, 512), np.bool_)
    tiles = {}
    for c, r in spots:
        part = (slice(64 * r, 64 * r + 64), slice(64 * c, 64 * c + 64))
        if (c, r) in gone:
            there[part] = False
        else:
            tiles[16, column + c, row + r] = picture(ground[part], kind)
    with open_mbtiles(write_mbtiles(tmp_path / "t.mbtiles", tiles)) as source:
        assert source.shape == (512, 512)
        for size in (512, 256, 128, 64, 32, 8):
            pixels, mask = source.read(0, 0, 512, 512, size, size)
            step = 512 // size
            truth = ground.reshape(size, step, size, step, 3).mean(axis=(1, 3))
            known = there.reshape(size, step, size, step).mean(axis=(1, 3))
            assert np.array_equal(
                known >= 0.5, np.ones_like(known) > 0 if mask is None else mask > 0
            )
            whole = known == 1
            off = np.abs(np.moveaxis(pixels, 0, -1) - truth)[whole]
            assert off.max() <= (3.0 if kind == "png" else 6.0)


def test_transparent_and_missing_pixels_are_not_valid(tmp_path: Path) -> None:
    lat, lon = PLACES[0]
    column, row = tile_at(lat, lon, 19)
    half = np.full((256, 256, 4), (10, 20, 30, 255), np.uint8)
    half[:, 128:, 3] = 0
    with open_imagery(write_folder(tmp_path / "t", {(19, column, row): picture(half)})) as source:
        west, east = source.bounds.west, source.bounds.east
        middle = (source.bounds.south + source.bounds.north) / 2
        tile, share = source.cut(middle, west + (east - west) / 4, 20.0, 64)
        assert share == 1.0 and (tile == (10, 20, 30)).all()
        _, share = source.cut(middle, west + 3 * (east - west) / 4, 20.0, 64)
        assert share == 0.0
        tile, share = source.cut(middle, (west + east) / 2, 20.0, 64, missing=255)
        assert share == pytest.approx(0.5, abs=0.02) and {
            tuple(p) for p in tile.reshape(-1, 3)
        } <= {(10, 20, 30), (255, 255, 255)}
        _, share = source.cut(middle, east, 20.0, 64)
        assert share == 0.0
        assert source.cut(middle, east + 1, 20.0, 64)[1] == 0.0


def test_memory_is_bounded_and_threads_agree(tmp_path: Path) -> None:
    lat, lon = PLACES[3]
    path = write_mbtiles(tmp_path / "t.mbtiles", ramp_tiles(lat, lon, 19, reach=2))
    store = MBTilesStore(path)
    budget = 5 * 256 * 256 * 3
    with TilePyramid(store, store.facts(), memory_bytes=budget) as source:
        spots = [
            LocalFrame(lat, lon).to_wgs84(e, n)
            for e in range(-40, 41, 20)
            for n in range(-40, 41, 20)
        ]
        alone = [source.cut(float(a), float(b), 30.0, 50)[0] for a, b in spots]
        assert source._levels.kept_bytes <= budget
        results: dict[int, list[np.ndarray]] = {}

        def work(number: int) -> None:
            order = np.random.default_rng(number).permutation(len(spots))
            found = {
                int(i): source.cut(float(spots[i][0]), float(spots[i][1]), 30.0, 50)[0]
                for i in order
            }
            results[number] = [found[i] for i in range(len(spots))]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 6
        for tiles in results.values():
            assert all(np.array_equal(a, b) for a, b in zip(tiles, alone, strict=True))
        assert source._levels.kept_bytes <= budget


def test_a_damaged_tile_is_missing_and_said(tmp_path: Path) -> None:
    lat, lon = PLACES[0]
    tiles = ramp_tiles(lat, lon, 19)
    spot = (19, *tile_at(lat, lon, 19))
    tiles[spot] = tiles[spot][:200]
    with open_imagery(write_folder(tmp_path / "t", tiles)) as source:
        before = source.notes
        assert source.cut(lat, lon, 2.0, 16)[1] == 0.0
        said = [note for note in source.notes if note not in before]
        assert len(said) == 1 and "1 damaged" in said[0] and "/".join(map(str, spot)) in said[0]


def test_a_copy_stands_alone(tmp_path: Path) -> None:
    lat, lon = PLACES[2]
    path = write_mbtiles(
        tmp_path / "t.mbtiles",
        ramp_tiles(lat, lon, 19),
        [
            ("attribution", '<a href="https://x.example">© Somebody</a> &amp; Co'),
            ("licence", "CC-BY-4.0"),
        ],
    )
    with open_mbtiles(path) as source:
        assert source.attribution == "© Somebody & Co" and source.licence == "CC-BY-4.0"
        box = Bounds(lat - 1e-4, lon - 1e-4, lat + 1e-4, lon + 1e-4)
        source.write_copy(tmp_path / "copy.tif", box)
        with pytest.raises(ImageryError, match="does not cover"):
            source.write_copy(tmp_path / "no.tif", Bounds(10.0, 10.0, 10.1, 10.1))
    with open_imagery(tmp_path / "copy.tif") as copy, rasterio.open(tmp_path / "copy.tif") as file:
        assert copy.attribution == "© Somebody & Co" and file.crs.to_epsg() == 3857
        tile, share = copy.cut(lat, lon, 12.0, 48)
        assert share == 1.0 and errors(tile, 12.0) < 0.8  # a JPEG of it


def test_another_zoom_can_be_asked_for(tmp_path: Path) -> None:
    lat, lon = PLACES[0]
    tiles = ramp_tiles(lat, lon, 19) | ramp_tiles(lat, lon, 17)
    file, folder = write_mbtiles(tmp_path / "t.mbtiles", tiles), write_folder(tmp_path / "t", tiles)
    for source in (open_mbtiles(file, zoom=17), open_tile_folder(folder, zoom=17)):
        assert source.zoom == 17 and source.shape == (768, 768)
    for make in (lambda: open_mbtiles(file, zoom=18), lambda: open_tile_folder(folder, zoom=18)):
        with pytest.raises(ImageryError, match=r"no tiles of zoom 18.*17, 19"):
            make()


def test_grids_that_mean_nothing_are_refused() -> None:
    good = web_mercator_grid(256, (3, 5))
    assert good.is_web_mercator and good.level(4).columns == 16
    with pytest.raises(ValueError):
        TileGrid(good.crs, tuple(reversed(good.levels)))
    with pytest.raises(ValueError):
        TileGrid(good.crs, ())
    with pytest.raises(ValueError):
        TileGrid(good.crs, (Level(0, float("nan"), 0, 0, 256, 256, 1, 1),))
    with pytest.raises(ValueError):
        TileGrid(good.crs, (Level(0, 1.0, 0, 0, 1 << 20, 256, 1, 1),))
