"""Many rasters as one: nothing shows where they meet, nothing is missing, and what lies on top is said."""

from __future__ import annotations

import shutil
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import from_origin

from engine import geo
from engine.errors import Cancelled, ImageryError
from engine.imagery import open_imagery
from engine.imagery.folder import open_folder
from engine.imagery.mosaic import Mosaic, combine
from tests.engine.imagery.rasters import (
    WGS84,
    expected_metres,
    ramp_raster,
    raster_transform,
    told_metres,
    write_raster,
)

UTM32, UTM33 = CRS.from_epsg(32632), CRS.from_epsg(32633)
LAT, LON = 45.0, 9.4
RNG = np.random.default_rng(4)


def _split(folder: Path, bands: np.ndarray, crs: CRS, placed: Affine, at: list[int]) -> None:
    """Write bands [3, H, W] as files that are cut at the same columns and rows."""
    edges = [0, *at, bands.shape[1]]
    for r0, r1 in pairwise(edges):
        for c0, c1 in pairwise(edges):
            write_raster(
                folder / f"{r0:04}_{c0:04}.tif",
                bands[:, r0:r1, c0:c1],
                crs,
                placed @ Affine.translation(c0, r0),
                photometric="RGB",
            )


@pytest.mark.parametrize("scale", [0.8, 1.0, 2.3, 5.0, 17.0])
@pytest.mark.parametrize("turn_deg", [0.0, 25.0])
def test_files_of_one_grid_give_what_one_file_gives(
    tmp_path: Path, scale: float, turn_deg: float
) -> None:
    size = 500
    bands = RNG.integers(0, 255, (3, size, size), dtype=np.uint8)
    placed = raster_transform(UTM32, LAT, LON, 0.5, size, turn_deg)
    whole = write_raster(tmp_path / "whole.tif", bands, UTM32, placed, photometric="RGB")
    parts = tmp_path / "parts"
    parts.mkdir()
    _split(parts, bands, UTM32, placed, [101, 237, 240, 391])
    with open_imagery(whole) as one, open_imagery(parts) as many:
        assert isinstance(many, Mosaic) and len(many.layers) == 1
        assert many.bounds.west == pytest.approx(one.bounds.west, abs=1e-6)
        assert many.bounds.north == pytest.approx(one.bounds.north, abs=1e-6)
        assert many.resolution_m == pytest.approx(one.resolution_m, rel=1e-6)
        extent = min(100.0, 40 * scale)
        pixels = round(extent / 0.5 / scale)
        steps = np.linspace(-100, 100, 9)
        east, north = (v.ravel() for v in np.meshgrid(steps, steps))
        lats, lons = geo.LocalFrame(LAT, LON).to_wgs84(east, north)
        expected = one.cut_many(lats, lons, extent, pixels)
        found = many.cut_many(lats, lons, extent, pixels)
    assert found[1] == pytest.approx(expected[1], abs=0.003)
    # GDAL rounds the averages of parts of a cell, which are then averaged.
    off = np.abs(found[0].astype(int) - expected[0])
    assert off.max() <= (0 if scale < 2 else 2)


MEETINGS = {
    "UTM zones": (UTM32, UTM33, 12.0),
    "degrees and UTM": (WGS84, UTM32, 9.4),
    "web mercator and Lambert": (CRS.from_epsg(3857), CRS.from_epsg(3035), 9.4),
    "two grids half a pixel apart": (UTM32, UTM32, 9.4),
}


@pytest.mark.parametrize("what", MEETINGS)
@pytest.mark.parametrize("pixel_m", [0.2, 1.0])
def test_no_seam_and_no_hole_where_files_of_two_systems_meet(
    tmp_path: Path, what: str, pixel_m: float
) -> None:
    """West of a meridian one file, east of it another; they share a rim of six metres."""
    first, second, lon = MEETINGS[what]
    frame = geo.LocalFrame(LAT, lon)
    for name, crs, east in (("a", first, -37.0), ("b", second, 37.07)):
        at = frame.to_wgs84(east, 0.0)
        ramp_raster(
            tmp_path / f"{name}.tif",
            crs,
            float(at[0]),
            float(at[1]),
            pixel_m=0.4,
            size=200,
            about=(LAT, lon),
            levels=3.3,
        )
    extent = 60.0
    side = round(extent / pixel_m)
    with open_imagery(tmp_path) as source:
        tiles, shares = source.cut_many(
            *frame.to_wgs84(np.array([0.0, 7.3]), np.array([0.0, 5.1])), extent, side
        )
    assert shares.tolist() == [1.0, 1.0]
    for tile, offset in zip(tiles, ((0.0, 0.0), (7.3, 5.1)), strict=True):
        for told, expected, shift in zip(
            told_metres(tile, 3.3), expected_metres(extent, side), offset, strict=True
        ):
            error = told - expected - shift
            # It is rounded to a level when it is written, averaged, turned, cut and blended.
            assert np.abs(error).max() < 3.3 / 3.3
            assert abs(error[:, side // 2 - 8 : side // 2 + 8].mean()) < 1.0 / 3.3


def test_abutting_files_in_one_grid_that_is_not_quite_one(tmp_path: Path) -> None:
    """The second begins a third of a pixel off, exactly where the first one ends."""
    bands = np.full((3, 50, 50), 200, np.uint8)
    placed = from_origin(500_000, 5_000_000, 1.0, 1.0)
    write_raster(tmp_path / "a.tif", bands, UTM32, placed, photometric="RGB")
    moved = Affine.translation(50.0, 0.33) @ placed
    write_raster(tmp_path / "b.tif", bands, UTM32, moved, photometric="RGB")
    with open_imagery(tmp_path) as source:
        assert isinstance(source, Mosaic) and len(source.layers) == 2
        lat, lon = source.bounds.centre
        for pixels in (11, 20, 53, 160, 333):
            tile, share = source.cut(lat, lon, 40.0, pixels)
            assert share == 1
            assert (np.abs(tile.astype(int) - 200) <= 1).all(), pixels


def test_gaps_of_one_file_are_filled_from_below_pixel_by_pixel(tmp_path: Path) -> None:
    size = 80
    placed = raster_transform(UTM32, LAT, LON, 1.0, size)
    top = np.full((3, size, size), 200, np.uint8)
    row, column = np.mgrid[:size, :size]
    hole = (row - 40) ** 2 + (column - 40) ** 2 < 15**2
    top[:, hole] = 0
    write_raster(tmp_path / "b.tif", top, UTM32, placed, photometric="RGB", nodata=0)
    under = np.full((3, size, size), 90, np.uint8)
    for crs in (UTM32, UTM33):
        placed = raster_transform(crs, LAT, LON, 1.0, size)
        write_raster(tmp_path / "a.tif", under, crs, placed, photometric="RGB")
        with open_imagery(tmp_path) as source:
            tile, share = source.cut(LAT, LON, 48.0, 48)
        assert share == 1
        values = tile[..., 0].astype(int)
        assert ((values >= 85) & (values <= 205)).all()  # what is turned overshoots a little
        assert values[24, 24] == 90 and values[2, 2] == 200
        # The area of the hole, to a rim of half a pixel.
        assert (values < 145).sum() == pytest.approx(np.pi * 15**2, abs=30)


def test_the_finer_file_is_on_top_and_of_equal_ones_the_last_name(tmp_path: Path) -> None:
    values = {"a_fine.tif": (0.5, 50), "b_old.tif": (1.0, 100), "c_new.tif": (1.0, 150)}
    for name, (pixel_m, value) in values.items():
        size = round((30 if value == 50 else 60) / pixel_m)
        placed = raster_transform(UTM32, LAT, LON, pixel_m, size)
        write_raster(tmp_path / name, np.full((3, size, size), value, np.uint8), UTM32, placed)
    with open_imagery(tmp_path) as source:
        tile, _ = source.cut(LAT, LON, 56.0, 56)
        assert tile[28, 28, 0] == 50
        assert tile[2, 2, 0] == 150
        assert any("0.5 to 1 m a pixel" in note for note in source.notes)
        assert source.resolution_m == pytest.approx(1.0, rel=0.01)  # of most of the ground
    with open_imagery(tmp_path / "b_old.tif") as old, open_imagery(tmp_path / "a_fine.tif") as fine:
        both = combine([old, fine])
        assert both.cut(LAT, LON, 20.0, 20)[0][10, 10, 0] == 100  # as they are given


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32660+EPSG:32601", "EPSG:3832"])
def test_across_the_180th_meridian(tmp_path: Path, crs: str) -> None:
    lat = -16.8
    west, east = crs.split("+") if "+" in crs else (crs, crs)
    for name, one, lon in (("w", west, 179.9998), ("e", east, -179.9998)):
        ramp_raster(
            tmp_path / f"{name}.tif",
            CRS.from_string(one),
            lat,
            lon,
            pixel_m=0.3,
            size=150,
            about=(lat, 180.0),
            levels=3.0,
        )
    frame = geo.LocalFrame(lat, -180.0)
    with open_imagery(tmp_path) as source:
        assert source.bounds.width_deg < 0.002
        assert source.bounds.contains(lat, 180.0) and not source.bounds.contains(lat, 0.0)
        lats, lons = frame.to_wgs84(np.array([0.0, 4.0, -6.0]), np.array([0.0, 3.0, -2.0]))
        tiles, shares = source.cut_many(lats, lons, 24.0, 80)
        source.write_copy(tmp_path / "c.part", source.bounds)
    assert shares.tolist() == [1.0, 1.0, 1.0]
    copy = (tmp_path / "c.part").rename(tmp_path / "copy.tiff")
    with open_imagery(copy) as again:
        assert again.bounds.width_deg < 0.002
        copied, copied_shares = again.cut_many(lats, lons, 24.0, 80)
    assert copied_shares.min() == 1.0
    for cut, allowed in ((tiles, 2.8), (copied, 4.5)):  # JPEG
        for tile, east_m, north_m in zip(cut, (0.0, 4.0, -6.0), (0.0, 3.0, -2.0), strict=True):
            for told, expected, offset in zip(
                told_metres(tile, 3.0), expected_metres(24.0, 80), (east_m, north_m), strict=True
            ):
                assert np.abs(told - expected - offset).max() < allowed / 3.0


def test_one_raster_around_the_whole_world_has_no_edge_at_180(tmp_path: Path) -> None:
    columns, rows = 1440, 720
    lons = (np.arange(columns) + 0.5) / columns * 360 - 180
    wave = 128 + 100 * np.cos(np.radians(lons - 180) * 8)
    bands = np.broadcast_to(wave, (3, rows, columns)).astype(np.uint8)
    placed = from_origin(-180, 90, 0.25, 0.25)
    path = write_raster(tmp_path / "world.tif", bands, WGS84, placed, photometric="RGB")
    with open_imagery(path) as source:
        assert source.bounds.width_deg == 360
        for lon in (180.0, -180.0, 179.9, -179.93):
            tile, share = source.cut(10.0, lon, 400_000.0, 64)
            assert share == 1
            across = np.arange(64) - 31.5
            degrees = lon + across * 400_000 / 64 / float(geo.metres_per_degree(10.0)[1])
            expected = 128 + 100 * np.cos(np.radians(degrees - 180) * 8)
            assert np.abs(tile[32, :, 0] - expected).max() < 3


def test_wider_values_are_stretched_alike_in_all_files(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(200, 4000, 120), (3, 60, 120)).astype(np.uint16)
    placed = raster_transform(UTM32, LAT, LON, 1.0, 120)
    for i in range(4):
        part = ramp[:, :, 30 * i : 30 * i + 30]
        write_raster(tmp_path / f"{i}.tif", part, UTM32, placed @ Affine.translation(30 * i, 30))
    with open_imagery(tmp_path) as source:
        lat, lon = source.bounds.centre
        tile, _ = source.cut(lat, lon, 118.0, 118)
        assert any("uint16" in note for note in source.notes)
    row = tile[59, :, 0].astype(int)
    steps = np.diff(row[4:-4])
    assert steps.min() >= -1 and steps.max() <= 4  # it rises on over the seams
    assert row[-4] - row[4] > 200


def test_a_copy_in_one_grid_moves_no_pixel(tmp_path: Path) -> None:
    size = 256
    smooth = np.cumsum(np.ones((3, size, size)), axis=2) * 0.9
    placed = raster_transform(UTM32, LAT, LON, 0.5, size)
    parts = tmp_path / "parts"
    parts.mkdir()
    _split(parts, smooth.astype(np.uint8), UTM32, placed, [100])
    (parts / "0000_0000.tif").unlink()
    with open_imagery(parts) as source:
        source.write_copy(tmp_path / "copy.tif", source.bounds)
        expected = source.cut(LAT, LON, 100.0, 200)
    with rasterio.open(tmp_path / "copy.tif") as file:
        assert file.crs == UTM32 and file.transform.almost_equals(placed)
    with open_imagery(tmp_path / "copy.tif") as copy:
        found = copy.cut(LAT, LON, 100.0, 200)
    assert found[1] == pytest.approx(expected[1], abs=0.005)
    assert np.abs(found[0].astype(int) - expected[0]).mean() < 1.5


def test_cancelling_a_copy_leaves_nothing(tmp_path: Path) -> None:
    for crs, name in ((UTM32, "a"), (UTM33, "b")):
        ramp_raster(tmp_path / f"{name}.tif", crs, LAT, LON)

    def report(done: int, total: int, text: str) -> None:
        raise Cancelled

    out = tmp_path / "out"
    out.mkdir()
    with open_imagery(tmp_path) as source, pytest.raises(Cancelled):
        source.write_copy(out / "copy.tif", source.bounds, report)
    assert list(out.iterdir()) == []


def test_fingerprints_tell_folders_apart_wherever_they_lie(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    for i in range(3):
        ramp_raster(one / f"{i}.tif", UTM32, LAT + 0.001 * i, LON)
    prints = [open_folder(one).fingerprint()]
    moved = Path(shutil.copytree(one, tmp_path / "elsewhere"))
    prints.append(open_folder(moved).fingerprint())
    (moved / "1.tif").unlink()
    prints.append(open_folder(moved).fingerprint())
    assert prints[0] == prints[1] != prints[2]
    a, b = (open_imagery(one / f"{i}.tif") for i in (0, 1))
    assert combine([a, b]).fingerprint() != combine([b, a]).fingerprint()
    assert combine([a]) is a


def test_a_folder_with_files_that_cannot_be_used(tmp_path: Path) -> None:
    ramp_raster(tmp_path / "a.tif", UTM32, LAT, LON)
    ramp_raster(tmp_path / "b.tif", UTM32, LAT, LON)
    (tmp_path / ".hidden.tif").write_text("of no concern")
    (tmp_path / "notes.txt").write_text("of no concern")
    open_imagery(tmp_path).close()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "bad.tif").write_text("x")
    with pytest.raises(ImageryError, match=r"sub/bad\.tif cannot be used: .*GeoTIFF"):
        open_imagery(tmp_path)
    (tmp_path / "c.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:300])
    with pytest.raises(ImageryError, match=r"2 of 4 files cannot be used.* take them out"):
        open_imagery(tmp_path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_folder_with_a_picture_without_a_place(tmp_path: Path) -> None:
    ramp_raster(tmp_path / "a.tif", UTM32, LAT, LON)
    write_raster(tmp_path / "b.tif", np.zeros((3, 9, 9), "u1"), UTM32, Affine.identity())
    with pytest.raises(ImageryError, match=r"b\.tif cannot be used: .*transform.*Georeference"):
        open_imagery(tmp_path)


def test_two_thousand_files_open_quickly_and_are_not_all_kept_open(tmp_path: Path) -> None:
    placed = from_origin(500_000, 5_000_000, 1.0, 1.0)
    first = np.full((3, 16, 16), 120, np.uint8)
    source_file = write_raster(tmp_path / "0.tif", first, UTM32, placed, photometric="RGB")
    data = source_file.read_bytes()
    # The tie point of a GeoTIFF stands in it as doubles; the files differ in nothing else.
    at = data.index(np.array([500_000.0, 5_000_000.0]).tobytes())
    for i in range(2000):
        corner = np.array([500_000.0 + 16 * (i % 50), 5_000_000.0 - 16 * (i // 50)])
        (tmp_path / f"{i}.tif").write_bytes(data[:at] + corner.tobytes() + data[at + 16 :])
    process = psutil.Process()
    before = process.num_fds(), process.memory_info().rss
    start = time.perf_counter()
    with open_imagery(tmp_path) as source:
        opened = time.perf_counter() - start
        assert opened < 20  # 2 seconds on a quiet machine
        lat, lon = source.bounds.centre
        whole, share = source.cut(lat, lon, 600.0, 150)
        assert share == 1 and (whole == 120).all()
        assert process.num_fds() - before[0] < 60
        assert process.memory_info().rss - before[1] < 200e6
    assert process.num_fds() <= before[0] + 2
