"""A real map widget on a real (or offscreen) screen, over imagery whose marks lie at known positions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PySide6.QtCore import QEventLoop, QPoint, QTimer
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QWidget
from rasterio.crs import CRS
from rasterio.transform import from_origin

from app.map.messages import Area
from app.map.scheme import register_scheme
from app.map.view import MapView
from engine.geo import LocalFrame
from engine.imagery import open_imagery
from engine.localize.result import Candidate, PlanSummary, Result, Source, Timings
from engine.photo.facts import PhotoFacts

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if sys.platform.startswith("linux") and os.geteuid() == 0:
    # Chromium's sandbox does not start for root, which tests in a container often are.
    flags = os.environ.get("QTWEBENGINE_CHROMIUM_FLAGS", "")
    if "--no-sandbox" not in flags:
        os.environ["QTWEBENGINE_CHROMIUM_FLAGS"] = f"{flags} --no-sandbox".strip()

# While the tests are collected: before any of them makes the application.
NO_MAP = register_scheme()
EXTENT_M = 40.0
GREY = (110, 110, 110)
# Metres east and north of the middle, and what lies there: 6 m squares, each in a colour of its own.
MARKS = {
    (0.0, 0.0): (255, 255, 255),
    (50.0, 50.0): (230, 20, 20),
    (-50.0, 50.0): (20, 200, 20),
    (50.0, -50.0): (20, 20, 230),
    (-50.0, -50.0): (230, 200, 20),
}
PLACES = {
    "Port Nemo": (-48.87, -123.39),
    "the antimeridian": (-16.8, 180.0),
    "70 north": (70.0, 25.7),
    "the equator": (0.0, 32.59),
}


@dataclass(frozen=True)
class Ground:
    """A square of 160 m with marks, as a GeoTIFF."""

    path: Path
    lat: float
    lon: float

    def at(self, east: float, north: float) -> tuple[float, float]:
        """Latitude and longitude of a point given in metres from the middle."""
        lat, lon = LocalFrame(self.lat, self.lon).to_wgs84(east, north)
        return float(lat), float(lon)

    def area(self) -> Area:
        """What a map is given."""
        source = open_imagery(self.path)
        return Area(
            "marks",
            source.bounds,
            source.resolution_m,
            "© The painter",
            "CC0",
            lambda: source,
        )


def write_ground(path: Path, lat: float, lon: float, pixel_m: float = 0.25) -> Ground:
    """Draw the marks around a place, in a transverse Mercator of its own, whose metres are the ground's."""
    side = round(160 / pixel_m)
    pixels = np.full((side, side, 3), GREY, np.uint8)
    for (east, north), colour in MARKS.items():
        column, row = round((80 + east) / pixel_m), round((80 - north) / pixel_m)
        half = round(3 / pixel_m)
        pixels[row - half : row + half, column - half : column + half] = colour
    crs = CRS.from_proj4(f"+proj=tmerc +lat_0={lat} +lon_0={lon} +k=1 +ellps=WGS84 +units=m")
    shape = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    placed = from_origin(-80, 80, pixel_m, pixel_m)
    with rasterio.open(path, "w", crs=crs, transform=placed, tiled=True, **shape) as file:
        file.write(pixels.transpose(2, 0, 1))
    return Ground(path, lat, lon)


def make_result(
    ground: Ground,
    spots: list[tuple[float, float]],
    *,
    heading_deg: float | None = 90.0,
    fov_deg: float = 90.0,
    own: tuple[float, float] | None = None,
) -> Result:
    """An answer with candidates at spots in metres from the middle, their tiles 3 m to the east."""
    candidates = []
    for rank, (east, north) in enumerate(spots, 1):
        lat, lon = ground.at(east, north)
        tile_lat, tile_lon = ground.at(east + 3, north)
        apart = float(np.hypot(east - spots[0][0], north - spots[0][1]))
        score = 0.9 - 0.01 * rank
        candidates.append(
            Candidate(
                rank=rank,
                tile_id=rank,
                lat=lat,
                lon=lon,
                tile_lat=tile_lat,
                tile_lon=tile_lon,
                score=score,
                support=score,
                heading_deg=heading_deg,
                distance_from_first_m=apart,
                probability=None,
                turn=0,
            )
        )
    lat, lon = ground.at(*own) if own is not None else (None, None)
    facts = PhotoFacts(
        width=100,
        height=50,
        kind="perspective",
        fov_deg=fov_deg,
        fov_source="exif",
        latitude=lat,
        longitude=lon,
    )
    return Result(
        photo_name="photo.jpg",
        photo_sha256="0" * 64,
        facts=facts,
        plan=PlanSummary(None, "perspective", fov_deg, 0.0, 0.0, 32, 1, fov_deg / 360, 100),
        candidates=tuple(candidates),
        posterior=None,
        extent_m=EXTENT_M,
        timings=Timings(),
        encoder=Source("encoder", "0" * 64),
        index=Source("index", "0" * 64),
        notices=(),
    )


class Driver:
    """Looks at and acts on a map as a person would, and asks the page where things are."""

    def __init__(self, view: MapView) -> None:
        self.view = view

    @property
    def target(self) -> QWidget:
        """The widget that takes the browser's mouse and keys."""
        assert self.view._browser is not None
        target = self.view._browser.view.focusProxy()
        assert isinstance(target, QWidget)
        return target

    def ask(self, script: str) -> Any:
        """The value of an expression in the page."""
        assert self.view._browser is not None
        answers: list[str] = []
        loop = QEventLoop()

        def got(text: str) -> None:
            answers.append(text)
            loop.quit()

        self.view._browser.page.runJavaScript(f"JSON.stringify({script})", 0, got)
        QTimer.singleShot(5000, loop.quit)
        loop.exec()
        assert answers, f"the page did not answer {script}"
        return json.loads(answers[0]) if answers[0] else None

    def rest(self, ms: int) -> None:
        """Let the event loop turn."""
        loop = QEventLoop()
        QTimer.singleShot(ms, loop.quit)
        loop.exec()

    def until(self, true: Callable[[], object], seconds: float = 8.0) -> None:
        """Wait for something to become true."""
        for _ in range(round(seconds / 0.03)):
            if true():
                return
            self.rest(30)
        raise AssertionError(f"not within {seconds} s")

    def drawn(self, serial: int) -> None:
        """Wait until a message is on the screen."""
        seen: list[int] = []

        def note(number: int) -> None:
            seen.append(number)

        self.view.drawn.connect(note)
        self.until(lambda: any(number >= serial for number in seen))
        self.view.drawn.disconnect(note)

    def settled(self) -> None:
        """Wait until all map tiles in view are there."""
        self.until(
            lambda: self.ask(
                "[...document.querySelectorAll('img.leaflet-tile')].length > 0 &&"
                " [...document.querySelectorAll('img.leaflet-tile')].every(i => i.complete)"
            )
        )
        self.rest(120)

    def point(self, lat: float, lon: float) -> QPoint:
        """Where a position is in the widget. Longitudes are taken in the copy of the world that is shown."""
        shown = self.ask(
            f"(p => [p.x, p.y])(NadirMap.map().latLngToContainerPoint("
            f"[{lat}, {lon} + 360 * Math.round((NadirMap.map().getCenter().lng - {lon}) / 360)]))"
        )
        return QPoint(round(shown[0]), round(shown[1]))

    def picture(self) -> QImage:
        """What is on the screen."""
        return self.view.grab().toImage()

    def colour(self, at: QPoint) -> tuple[int, int, int]:
        """The colour on the screen at a point of the widget."""
        picture = self.picture()
        ratio = picture.devicePixelRatio()
        colour = QColor(picture.pixel(round(at.x() * ratio), round(at.y() * ratio)))
        return colour.red(), colour.green(), colour.blue()

    def circle(self, rank: int) -> QPoint:
        """The middle of a rank circle."""
        box = self.ask(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
            f"(document.querySelector('.rank[data-rank=\"{rank}\"]').getBoundingClientRect())"
        )
        return QPoint(round(box[0]), round(box[1]))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Marks at Port Nemo."""
    return write_ground(tmp_path / "marks.tif", *PLACES["Port Nemo"])


@pytest.fixture
def new_map(qtbot) -> Iterator[Callable[..., Driver]]:
    """Make a map widget that is shown and listens."""
    if NO_MAP:
        pytest.skip(NO_MAP)
    views: list[MapView] = []

    def make(width: int = 640, height: int = 480, *, ready: bool = True) -> Driver:
        view = MapView()
        views.append(view)
        view.resize(width, height)
        if ready:
            with qtbot.waitSignal(view.ready, timeout=20_000):
                view.show()
        return Driver(view)

    yield make
    for view in views:
        view.shut_down()
        view.close()
        view.deleteLater()
    loop = QEventLoop()
    QTimer.singleShot(50, loop.quit)
    loop.exec()
