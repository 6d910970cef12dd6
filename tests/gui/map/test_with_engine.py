"""The map over what the engine makes: a real index, real answers, real imagery; right to the pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtGui import QImage

from app.map.messages import Area
from engine.geo import distance_m, tile_bounds
from engine.imagery import open_imagery
from engine.index import Index
from engine.localize import Query, localize
from tests.engine.flat import Town, make_town
from tests.gui.map.conftest import Driver

pytestmark = pytest.mark.gui

NewMap = Callable[..., Driver]


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> Town:
    return make_town(tmp_path_factory.mktemp("town"))


def look_at(driver: Driver, lat: float, lon: float, zoom: int) -> None:
    """Show a place at a whole zoom, and wait for its pixels."""
    driver.ask(f"(NadirMap.map().setView([{lat}, {lon}], {zoom}, {{animate: false}}), 0)")
    driver.rest(150)
    driver.settled()


def seen_square(driver: Driver, lat: float, lon: float, extent_m: float) -> np.ndarray:
    """What the screen shows of a tile's footprint, [H, W, 3]."""
    bounds = tile_bounds(lat, lon, extent_m)
    top_left = driver.point(bounds.north, bounds.west)
    bottom_right = driver.point(bounds.south, bounds.east)
    picture = driver.picture().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), -1)
    pixels = rows[:, : picture.width() * 3].reshape(picture.height(), picture.width(), 3)
    return pixels[top_left.y() : bottom_right.y(), top_left.x() : bottom_right.x()].copy()


def shift_between(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """By how many pixels b lies right of and below a, from the peak of their cross-correlation."""
    a, b = (v.astype(float).mean(axis=2) for v in (a, b))
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    fa, fb = (np.fft.fft2((v - v.mean()) * window) for v in (a, b))
    peak = np.fft.fftshift(np.fft.ifft2(fb * fa.conj()).real)
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    offsets = []
    for line, at in ((peak[:, column], row), (peak[row], column)):
        before, here, after = line[at - 1], line[at], line[(at + 1) % len(line)]
        offsets.append(at - len(line) // 2 + (before - after) / (2 * (before - 2 * here + after)))
    return float(offsets[1]), float(offsets[0])


def compare(
    driver: Driver, lat: float, lon: float, extent_m: float, cut: Callable[[int], Any]
) -> None:
    shown = seen_square(driver, lat, lon, extent_m)
    assert min(shown.shape[:2]) > 100
    # Both sides of a footprint are as long on the screen, to the rounding of its corners.
    assert abs(shown.shape[0] - shown.shape[1]) <= 2
    wanted = np.asarray(Image.fromarray(cut(shown.shape[0])).resize(shown.shape[1::-1]))
    right, down = shift_between(wanted, shown)
    assert abs(right) < 0.75 and abs(down) < 0.75, f"off by {right:.2f}, {down:.2f} pixels"


def test_tiles_of_an_index_lie_on_the_map_where_they_were_cut(new_map: NewMap, town: Town) -> None:
    driver = new_map(700, 600)
    driver.view.set_index(town.index)
    driver.settled()
    middle = town.index.near(*town.index.coverage.centre, 20.0)[0]
    (tile,) = town.index.tiles([middle])
    look_at(driver, tile.lat, tile.lon, 19)
    compare(driver, tile.lat, tile.lon, tile.extent_m, lambda n: town.index.crop(tile.id, n))


@pytest.mark.parametrize(
    ("name", "zoom", "extent_m"),
    [
        ("netherlands_28992_025m.tif", 19, 60.0),
        ("drone_32632_006m.tif", 21, 24.0),
        ("201404_13SED190110_201404_0x1500m_CL_1.tif", 20, 30.0),
        ("rotterdam_4band_float64_1m.tif", 17, 200.0),
    ],
)
def test_real_imagery_lies_right(
    new_map: NewMap, realdata: Path, name: str, zoom: int, extent_m: float
) -> None:
    source = open_imagery(realdata / "geotiff" / name)
    lat, lon = source.bounds.centre
    driver = new_map(700, 600)
    driver.view.set_area(Area(name, source.bounds, source.resolution_m, "", "", lambda: source))
    driver.settled()
    look_at(driver, lat, lon, zoom)
    compare(driver, lat, lon, extent_m, lambda n: source.cut(lat, lon, extent_m, n)[0])


def test_an_answer_of_the_engine(new_map: NewMap, town: Town) -> None:
    truth = town.world.to_wgs84(95.0, 120.0)
    photo = town.panorama(95.0, 120.0, 40.0)
    photo = replace(photo, facts=replace(photo.facts, latitude=truth[0], longitude=truth[1]))
    found = localize(Query(photo), town.encoder, town.index)
    assert found.best is not None and distance_m(*truth, found.best.lat, found.best.lon) < 3
    driver = new_map(700, 600)
    driver.view.set_index(town.index)
    driver.drawn(driver.view.set_result(found))
    assert driver.ask("document.querySelectorAll('.rank').length") == len(found.candidates)
    driver.view.select(1)
    driver.rest(700)
    assert (driver.circle(1) - driver.point(*truth)).manhattanLength() <= 30
    assert driver.ask("document.querySelectorAll('.own').length") == 1
    assert driver.ask("document.querySelectorAll('.wedge.whole').length") == 2


def test_closing_the_index_under_the_map_is_borne(new_map: NewMap, town: Town) -> None:
    index = Index.open(town.folder / "flat.index", town.encoder)
    driver = new_map()
    driver.view.set_index(index)
    driver.rest(60)
    index.close()
    driver.ask("(NadirMap.map().setZoom(18, {animate: false}), 0)")
    driver.rest(500)
    assert driver.ask("document.querySelectorAll('img.leaflet-tile').length") > 0
    driver.drawn(driver.view.set_index(None))
