"""The card of a source says what really is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rasterio.crs import CRS

from engine import geo
from engine.geo import Bounds
from engine.imagery import guard, open_imagery
from engine.imagery.describe import ImageryCard, describe, metres_text
from engine.imagery.mosaic import combine
from tests.engine.imagery.rasters import ramp_raster

LAT, LON = 45.0, 9.0
UTM = CRS.from_epsg(32632)


def _area_m2(card: ImageryCard) -> float:
    """The area of all polygons of a card's GeoJSON, metres on the ground."""
    total = 0.0
    per_lat, per_lon = geo.metres_per_degree(card.bounds.centre[0])
    for polygon in card.geojson()["geometry"]["coordinates"]:
        x, y = np.array(polygon[0]).T
        assert (x[0], y[0]) == (x[-1], y[-1])
        assert np.abs(x).max() <= 180 and np.abs(y).max() <= 90
        area = float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
        assert area > 0  # counter-clockwise
        total += area * per_lat * per_lon
    return total


def test_the_card_of_a_turned_raster(tmp_path: Path) -> None:
    path = ramp_raster(tmp_path / "a.tif", UTM, LAT, LON, pixel_m=0.5, size=200, turn_deg=30)
    with open_imagery(path) as source:
        card = describe(source)
    assert (card.name, card.kind, card.crs) == ("a", "GeoTIFF", "EPSG:32632")
    assert (card.pixels, card.files, card.zooms) == ((200, 200), 1, None)
    assert card.bytes == path.stat().st_size
    assert card.resolution_m == pytest.approx(0.5, rel=1e-3)
    assert len(card.outline) == 1
    # The rectangle as it lies, not the box around it.
    assert _area_m2(card) == pytest.approx(100 * 100, rel=2e-3)
    side = 100 * (np.cos(np.radians(30)) + np.sin(np.radians(30)))
    assert card.size_m == pytest.approx((side, side), rel=0.01)
    facts = json.loads(card.to_json())
    assert facts["crs"] == "EPSG:32632" and facts["outline"]["type"] == "MultiPolygon"


def test_the_card_of_a_folder_shows_every_file(tmp_path: Path) -> None:
    for i in range(3):
        ramp_raster(tmp_path / f"{i}.tif", UTM, LAT + i * 0.01, LON, pixel_m=1.0, size=100)
    with open_imagery(tmp_path) as source:
        card = describe(source)
        both = describe(combine([source, source]))
    assert card.kind == "folder of GeoTIFFs"
    assert (card.files, len(card.outline), card.pixels) == (3, 3, None)
    assert card.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert _area_m2(card) == pytest.approx(3 * 100 * 100, rel=3e-3)
    assert "3 files" in card.notes
    assert both.kind == "several sources" and both.files == 6 and len(both.outline) == 6


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32660", "EPSG:3857"])
def test_an_outline_over_the_180th_meridian_is_cut_there(tmp_path: Path, crs: str) -> None:
    path = ramp_raster(
        tmp_path / "a.tif", CRS.from_string(crs), -16.8, 179.9999, pixel_m=1.0, size=100
    )
    with open_imagery(path) as source:
        card = describe(source)
    pieces = card.geojson()["geometry"]["coordinates"]
    assert len(pieces) == 2
    assert sorted(np.sign(np.array(piece[0])[:, 0].mean()) for piece in pieces) == [-1, 1]
    assert _area_m2(card) == pytest.approx(100 * 100, rel=5e-3)
    assert card.size_m[0] == pytest.approx(100, rel=0.02)


def test_a_source_that_says_little_has_a_card_too() -> None:
    class Little:
        name, crs, resolution_m = "x", "EPSG:4326", 2.0
        bounds = Bounds(-1.0, 179.0, 1.0, -179.0)
        attribution = licence = ""
        notes = ()

    card = describe(Little())  # pyright: ignore[reportArgumentType]
    assert (card.kind, card.bytes, card.pixels, card.terms) == ("imagery", 0, None, "")
    assert len(card.geojson()["geometry"]["coordinates"]) == 2
    assert card.size_m == pytest.approx((222_600, 221_100), rel=0.01)
    whole = Little()
    whole.bounds = Bounds(-90.0, -180.0, 90.0, 180.0)
    world = describe(whole)  # pyright: ignore[reportArgumentType]
    assert world.size_m[0] == pytest.approx(40_075_000, rel=0.01)
    assert world.geojson()["geometry"]["coordinates"] == [
        [[[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]]
    ]


def test_cards_of_the_real_files(realdata: Path) -> None:
    with open_imagery(realdata / "geotiff") as source:
        card = describe(source)
    assert card.files == 6 and len(card.outline) == 6
    assert card.crs == "4 coordinate systems"
    # The middle of every file lies inside one of the rings' boxes, and nothing lies between the towns.
    for lat, lon, count in ((38.9536, -104.775, 3), (51.84103, 4.98816, 1), (45.0, 0.0, 0)):
        inside = [
            ring[:, 1].min() < lat < ring[:, 1].max() and ring[:, 0].min() < lon < ring[:, 0].max()
            for ring in card.outline
        ]
        assert sum(inside) == count


def test_lengths_are_told_as_people_say_them() -> None:
    told = [metres_text(value) for value in (0.05914, 0.25, 12.0, 999.0, 57_700.0, 156_543.0)]
    assert told == ["0.0591 m", "0.25 m", "12 m", "999 m", "57.7 km", "157 km"]


def test_nothing_is_said_of_network_drivers_and_none_is_there() -> None:
    """GDAL complains of every driver it was told to skip and does not have; that is in nobody's way."""
    code = "import engine.imagery, rasterio\nwith rasterio.Env() as e: print(*e.drivers())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    there = set(done.stdout.split())
    assert "GTiff" in there and not there & set(guard._NETWORK_DRIVERS.split(","))
