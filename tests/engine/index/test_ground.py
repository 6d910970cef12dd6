"""A dataset's tiles as ground on the map: what they were cut from comes back, each where it belongs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.encoder import open_encoder
from engine.geo import LocalFrame
from engine.imagery import open_imagery, open_source
from engine.imagery.web_tiles import native_zoom, web_tile
from engine.index import Index, build_index
from engine.index.ground import PictureGround, ground_of
from tests.engine.index.places import LAT, LON, write_place
from tests.engine.index.test_pictures_index import write_photos
from tests.linear_encoder import save_linear_encoder
from tests.street_encoder import save_street_encoder

EXTENT = 40.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raster, and nine tiles cut from it 30 m apart, so that they overlap, as an index of pictures."""
    home = tmp_path_factory.mktemp("ground")
    folder = home / "tiles"
    folder.mkdir()
    frame = LocalFrame(LAT, LON)
    rows = []
    with open_imagery(write_place(home / "place.tif")) as imagery:
        for number in range(9):
            lat, lon = (
                float(v) for v in frame.to_wgs84(30 * (number % 3 - 1), 30 * (number // 3 - 1))
            )
            pixels, share = imagery.cut(lat, lon, EXTENT, 160)
            assert share == 1
            Image.fromarray(pixels).save(folder / f"tile{number}.png")
            rows.append([f"tile{number}.png", lat, lon, EXTENT])
    with open(folder / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "lat", "lon", "extent_m"], *rows])
    save_linear_encoder(home / "e.encoder")
    encoder = open_encoder(home / "e.encoder", threads=1, gpu=False)
    build_index(home / "tiles.index", open_source(folder), encoder).close()
    return home


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_the_tiles_lie_where_they_were_cut(home: Path) -> None:
    with Index.open(home / "tiles.index") as index, open_imagery(home / "place.tif") as imagery:
        ground = ground_of(index)
        assert isinstance(ground, PictureGround)
        lat, lon = LocalFrame(LAT, LON).to_wgs84(7.0, -5.0)
        ours, share = ground.cut(float(lat), float(lon), 70.0, 280)
        theirs, _ = imagery.cut(float(lat), float(lon), 70.0, 280)
        assert share == 1 and apart(ours, theirs) < 3
        # One pixel aside would be seen.
        assert apart(ours[:, 1:], theirs[:, :-1]) > 2 * apart(ours, theirs)
        wide, share = ground.cut(LAT, LON, 200.0, 200)
        assert share == pytest.approx(100**2 / 200**2, abs=0.02) and not wide[0].any()


def test_map_tiles_of_the_ground(home: Path) -> None:
    with Index.open(home / "tiles.index") as index, open_imagery(home / "place.tif") as imagery:
        ground = ground_of(index)
        assert ground is not None
        zoom = native_zoom(0.25, LAT)
        column = int((LON + 180) / 360 * 2**zoom)
        row = int((1 - np.arcsinh(np.tan(np.radians(LAT))) / np.pi) / 2 * 2**zoom)
        ours, theirs = web_tile(ground, zoom, column, row), web_tile(imagery, zoom, column, row)
        assert ours is not None and theirs is not None
        both = np.ones((256, 256), bool) if ours.valid is None else ours.valid
        assert both.mean() > 0.5 and apart(ours.pixels[both], theirs.pixels[both]) < 3
        assert web_tile(ground, zoom, column + 40, row) is None


def test_pictures_that_are_gone_leave_a_gap(home: Path, tmp_path: Path) -> None:
    encoder = open_encoder(home / "e.encoder", threads=1, gpu=False)
    source = open_source(home / "tiles")
    build_index(tmp_path / "a.index", source, encoder, embed_imagery=False).close()
    with Index.open(tmp_path / "a.index") as index:
        ground = ground_of(index)
        assert ground is not None
        pixels, share = ground.cut(LAT, LON, 50.0, 50)
        assert share == 0 and not pixels.any()


def test_photos_have_no_ground_and_imagery_has_its_own(tmp_path: Path) -> None:
    save_street_encoder(tmp_path / "s.encoder")
    encoder = open_encoder(tmp_path / "s.encoder", threads=1, gpu=False)
    source = open_source(write_photos(tmp_path / "photos", 3))
    with build_index(tmp_path / "s.index", source, encoder) as index:
        assert ground_of(index) is None
    save_linear_encoder(tmp_path / "e.encoder")
    aerial = open_encoder(tmp_path / "e.encoder", threads=1, gpu=False)
    with (
        open_imagery(write_place(tmp_path / "place.tif")) as imagery,
        build_index(tmp_path / "a.index", imagery, aerial, extent_m=60.0, stride_m=30.0) as index,
    ):
        assert ground_of(index) is index.imagery
