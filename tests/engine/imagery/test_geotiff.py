"""Writing imagery: where its pixels lie, whose it says it is, and a disk that fills up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from engine import geo
from engine.errors import Cancelled, ImageryError
from engine.geo import Bounds
from engine.imagery import open_imagery
from engine.imagery.geotiff import local_crs, write_geotiff, write_orthophoto
from tests.engine.imagery.rasters import WGS84, expected_metres, plane_about
from tests.full_disk import full_disk

LAT, LON = -48.87, -123.39


def _ramp(size: int, pixel_m: float) -> np.ndarray:
    east, north = expected_metres(size * pixel_m, size)
    bands = [128 + 8 * east, 128 + 8 * north, np.full_like(east, 77)]
    return np.clip(np.round(np.stack(bands, axis=-1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("compress", "loss"), [("jpeg", 4), ("webp", 4), ("deflate", 0)])
def test_an_orthophoto_lies_about_its_centre_in_true_metres(
    tmp_path: Path, compress, loss: int
) -> None:
    pixels = _ramp(640, 0.05)
    path = write_orthophoto(
        tmp_path / "town.tif", pixels, LAT, LON, 0.05, "Nadir world", "CC0", compress=compress
    )
    with rasterio.open(path) as file:
        assert file.profile["tiled"]
        assert file.compression.name.lower() == compress
        assert file.overviews(1) == [2]
        # Every corner, through PROJ alone.
        corners = [(0, 0), (640, 0), (0, 640), (640, 640)]
        xs, ys = zip(*[file.transform @ corner for corner in corners], strict=True)
        east, north = transform(file.crs, plane_about(LAT, LON), list(xs), list(ys))[:2]
        assert np.allclose(east, [-16, 16, -16, 16], atol=0.001)
        assert np.allclose(north, [16, 16, -16, -16], atol=0.001)
    with open_imagery(path) as source:
        assert (source.attribution, source.licence) == ("Nadir world", "CC0")
        assert source.resolution_m == pytest.approx(0.05, rel=1e-4)
        assert source.bounds.centre == pytest.approx((LAT, LON), abs=1e-7)
        tile, share = source.cut(LAT, LON, 32.0, 640)
    assert share == 1
    error = np.abs(tile.astype(int) - pixels)[16:-16, 16:-16]
    assert np.percentile(error, 99) <= loss


def test_metres_stay_true_far_from_the_centre() -> None:
    for east, north in ((10_000.0, 0.0), (0.0, 10_000.0), (7_000.0, -7_000.0)):
        lon, lat = (v[0] for v in transform(local_crs(LAT, LON), WGS84, [east], [north])[:2])
        assert geo.distance_m(LAT, LON, lat, lon) == pytest.approx(
            math.hypot(east, north), rel=2e-5
        )


def test_gaps_are_kept_as_a_mask(tmp_path: Path) -> None:
    pixels = np.full((300, 200, 3), 90, np.uint8)
    valid = np.ones((300, 200), bool)
    valid[:100] = False
    path = write_geotiff(
        tmp_path / "a.tif",
        pixels,
        crs="EPSG:32632",
        transform=(0.5, 0, 500_000, 0, -0.5, 5_000_000),
        valid=valid,
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]
    with open_imagery(path) as source:
        lat, lon = source.bounds.centre
        tile, share = source.cut(lat, lon, 100.0, 100)
    assert share == pytest.approx(0.75, abs=0.02)
    assert not tile[:20].any()
    assert (tile[30:] == 90).all()


def test_a_copy_of_a_part_is_the_same_ground(tmp_path: Path, realdata: Path) -> None:
    frame = geo.LocalFrame(51.84103, 4.98816)
    south, west = frame.to_wgs84(-60, -50)
    north, east = frame.to_wgs84(40, 50)
    box = Bounds(float(south), float(west), float(north), float(east))
    with open_imagery(realdata / "geotiff" / "netherlands_28992_025m.tif") as source:
        source.write_copy(tmp_path / "part.tif", box)
        expected, _ = source.cut(51.84103, 4.98816, 60.0, 240)
    with open_imagery(tmp_path / "part.tif") as copy:
        assert copy.crs == "EPSG:28992"
        assert copy.bounds.south == pytest.approx(box.south, abs=3e-5)
        assert copy.bounds.east == pytest.approx(box.east, abs=3e-5)
        found, share = copy.cut(51.84103, 4.98816, 60.0, 240)
    assert share == 1
    assert np.abs(found.astype(int) - expected).mean() < 2.5


def test_a_compact_file_is_copied_byte_for_byte(tmp_path: Path, realdata: Path) -> None:
    original = realdata / "geotiff" / "netherlands_28992_025m.tif"
    with open_imagery(original) as source:
        source.write_copy(tmp_path / "copy.tif", source.bounds)
    assert (tmp_path / "copy.tif").read_bytes() == original.read_bytes()


def test_a_copy_of_floats_keeps_colours_and_gaps(tmp_path: Path, realdata: Path) -> None:
    for name in (
        "rotterdam_4band_float64_1m.tif",
        "201404_13SED190110_201404_0x1500m_CL_1_alpha.tif",
    ):
        with open_imagery(realdata / "geotiff" / name) as source:
            source.write_copy(tmp_path / name, source.bounds)
            lat, lon = source.bounds.centre
            expected = source.cut(lat, lon, 50.0, 64)
        with open_imagery(tmp_path / name) as copy:
            found = copy.cut(lat, lon, 50.0, 64)
        assert found[1] == pytest.approx(expected[1], abs=0.01)
        assert np.abs(found[0].astype(int) - expected[0]).mean() < 8


def test_cancelling_a_copy_leaves_nothing(tmp_path: Path, realdata: Path) -> None:
    def report(done: int, total: int, text: str) -> None:
        raise Cancelled

    with (
        open_imagery(realdata / "geotiff" / "rotterdam_4band_float64_1m.tif") as source,
        pytest.raises(Cancelled),
    ):
        source.write_copy(tmp_path / "part.tif", source.bounds, report)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_what_was_there() -> None:
    """Wherever the disk ends: in the pixels, the overviews or the last bytes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (700, 700, 3), dtype=np.uint8)
    small = np.full((300, 300, 3), 50, np.uint8)
    with full_disk(megabytes=4) as folder:
        size = write_orthophoto(folder / "a.tif", noise, LAT, LON, 0.5).stat().st_size
    for share in (0.1, 0.5, 0.75, 0.85, 0.9, 0.95, 0.98, 0.995):
        with full_disk(megabytes=4) as folder:
            path = write_orthophoto(folder / "a.tif", small, LAT, LON, 0.5)
            before = path.read_bytes()
            free = 4 * 2**20 - (len(before) + 8191) // 4096 * 4096
            (folder / "ballast").write_bytes(bytes(free - int(size * share)))
            with pytest.raises(ImageryError, match=r"a\.tif: the disk is full\. Make room"):
                write_orthophoto(path, noise, LAT, LON, 0.5)
            assert path.read_bytes() == before
            assert sorted(entry.name for entry in folder.iterdir()) == ["a.tif", "ballast"]


def test_wrong_pixels_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_orthophoto(tmp_path / "a.tif", np.zeros((4, 4, 3)), LAT, LON, 1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ImageryError, match="cannot be written"):
        write_orthophoto(tmp_path / "no" / "a.tif", np.zeros((4, 4, 3), np.uint8), LAT, LON, 1.0)
