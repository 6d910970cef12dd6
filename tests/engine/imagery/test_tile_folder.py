"""Folders of map tiles: layouts, rows either way, retina, and folders with far too much in them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.crs import CRS
from rasterio.warp import transform

from engine.errors import ImageryError
from engine.imagery import open_imagery
from engine.imagery.pyramid import TilePyramid
from engine.imagery.tile_folder import TileFolderStore, is_tile_folder, open_tile_folder
from engine.imagery.web_tiles import web_tile
from tests.engine.imagery.map_tiles import (
    Square,
    picture,
    ramp,
    ramp_tiles,
    tile_at,
    write_folder,
)
from tests.engine.imagery.rasters import WGS84
from tests.engine.imagery.test_pyramid import errors

LAT, LON, ZOOM = 48.2, 16.37, 18


def lies_right(source: TilePyramid) -> bool:
    return source.bounds.contains(LAT, LON) and source.cut(LAT, LON, 4.0, 8)[1] == 1.0


@pytest.mark.parametrize("tms", [False, True])
def test_rows_of_both_kinds(tmp_path: Path, tms: bool) -> None:
    folder = write_folder(tmp_path / "t", ramp_tiles(LAT, LON, ZOOM), tms=tms)
    assert lies_right(open_tile_folder(folder)) is not tms
    assert "north" in open_tile_folder(folder).notes[0]  # it is said that this was taken
    assert lies_right(open_tile_folder(folder, rows="tms" if tms else "xyz"))
    (folder / "metadata.json").write_text(json.dumps({"scheme": "tms" if tms else "xyz"}))
    assert lies_right(open_tile_folder(folder)) and not open_tile_folder(folder).notes
    box = [LON - 0.001, LAT - 0.001, LON + 0.001, LAT + 0.001]
    (folder / "metadata.json").write_text(json.dumps({"bounds": box, "attribution": "© Town"}))
    found = open_tile_folder(folder)
    assert lies_right(found) and found.attribution == "© Town"


RESOURCE = """<?xml version="1.0" encoding="utf-8"?>
<TileMap version="1.0.0" tilemapservice="http://tms.osgeo.org/1.0.0">
  <Title>t</Title><Abstract></Abstract><SRS>{srs}</SRS>
  <BoundingBox minx="0" miny="0" maxx="1" maxy="1"/>
  <Origin x="{x}" y="{y}"/>
  <TileFormat width="256" height="256" mime-type="image/png" extension="png"/>
  <TileSets profile="{profile}">{sets}</TileSets>
</TileMap>"""


def test_a_tile_map_service_counts_from_the_south(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "t", ramp_tiles(LAT, LON, ZOOM), tms=True)
    text = RESOURCE.format(
        srs="EPSG:3857", x=-20037508.34, y=-20037508.34, profile="mercator", sets=""
    )
    (folder / "tilemapresource.xml").write_text(text)
    assert lies_right(open_tile_folder(folder))


def test_a_tile_map_service_in_a_national_grid(tmp_path: Path) -> None:
    crs = CRS.from_epsg(31256)
    x, y = (v[0] for v in transform(WGS84, crs, [LON], [LAT])[:2])
    west, south = x - 70.0, y - 55.0
    resolution = 0.2
    tiles = {}
    for zoom, size in ((3, resolution), (2, 2 * resolution)):
        for column in range(3 if zoom == 3 else 2):
            for row in range(3 if zoom == 3 else 2):
                north = south + (row + 1) * 256 * size
                square = Square(crs, west + column * 256 * size, north, size, 256)
                tiles[zoom, column, 2**zoom - 1 - row] = picture(ramp(square, LAT, LON))
    folder = write_folder(tmp_path / "t", tiles, tms=True)
    sets = '<TileSet href="2" units-per-pixel="0.4" order="2"/><TileSet href="3" units-per-pixel="0.2" order="3"/>'
    (folder / "tilemapresource.xml").write_text(
        RESOURCE.format(srs="EPSG:31256", x=west, y=south, profile="raster", sets=sets)
    )
    with open_tile_folder(folder) as source:
        assert source.crs == "EPSG:31256" and source.resolution_m == pytest.approx(0.2, rel=1e-3)
        for side, slack in ((96, 0.37), (40, 0.5)):
            tile, share = source.cut(LAT, LON, 24.0, side)
            assert share == 1.0 and errors(tile, 24.0) < slack
    (folder / "tilemapresource.xml").write_text(
        RESOURCE.format(srs="", x=west, y=south, profile="raster", sets=sets)
    )
    with pytest.raises(ImageryError, match="does not say where"):
        open_tile_folder(folder)


@pytest.mark.parametrize("text", ["<TileMap", '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', ""])
def test_a_resource_file_that_is_damaged_is_named(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path / "t", ramp_tiles(LAT, LON, ZOOM, reach=0))
    (folder / "tilemapresource.xml").write_text(text)
    with pytest.raises(ImageryError, match="tilemapresource"):
        open_imagery(folder)


@pytest.mark.parametrize("ending", [".png", ".JPG", ".jpeg", ".webp", "@2x.png"])
def test_endings_and_retina(tmp_path: Path, ending: str) -> None:
    kind = "png" if "png" in ending else "webp" if "webp" in ending else "jpg"
    pixels = 512 if "@2x" in ending else 256
    tiles = ramp_tiles(LAT, LON, ZOOM, reach=0, pixels=pixels, kind=kind)
    with open_imagery(write_folder(tmp_path / "t", tiles, ending)) as source:
        assert source.shape == (pixels, pixels)  # pyright: ignore[reportAttributeAccessIssue]
        assert source.cut(LAT, LON, 2.0, 8)[1] == 1.0


def test_real_tiles_are_shown_to_the_pixel(realdata: Path) -> None:
    with open_imagery(realdata / "xyz_kampala") as source:
        assert isinstance(source, TilePyramid)
        assert (
            source.zoom == 21
            and source.files == 112
            and source.resolution_m == pytest.approx(0.0744, abs=2e-4)
        )
        assert source.bounds.contains(0.3505, 32.5950)
        path = realdata / "xyz_kampala" / "21" / "1238454" / "1046534.png"
        shown = web_tile(source, 21, 1238454, 1046534)
        assert shown is not None
        truth = np.asarray(Image.open(path).convert("RGBA"))
        valid = truth[..., 3] >= 128
        assert np.array_equal(shown.pixels[valid], truth[..., :3][valid])
        assert shown.valid is None or np.array_equal(shown.valid, valid)
        assert len(source.outline()) == 2  # two patches a mile apart
        # Between the patches there is nothing.
        assert source.cut(*source.bounds.centre, 5.0, 16)[1] == 0.0
        assert web_tile(source, 14, *tile_at(*source.bounds.centre, 14)) is not None


def test_what_is_no_tile_folder(tmp_path: Path) -> None:
    (tmp_path / "18" / "5").mkdir(parents=True)
    assert not is_tile_folder(tmp_path)
    (tmp_path / "18" / "5" / "readme.txt").write_text("x")
    (tmp_path / "18" / "5" / "007.png").write_text("x")
    assert not is_tile_folder(tmp_path)
    with pytest.raises(ImageryError, match="no imagery that Nadir reads"):
        open_imagery(tmp_path)
    (tmp_path / "18" / "5" / "7.png").write_text("no picture")
    with pytest.raises(ImageryError, match="cannot be shown"):
        open_imagery(tmp_path)
    other = tmp_path / "other"
    (other / "2" / "9").mkdir(parents=True)
    (other / "2" / "9" / "1.png").write_bytes(picture(np.zeros((256, 256, 3), np.uint8)))
    with pytest.raises(ImageryError, match="beyond the edge of the world"):
        open_imagery(other)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    tiles = ramp_tiles(LAT, LON, ZOOM)
    folder = write_folder(tmp_path / "t", tiles)
    column, row = tile_at(LAT, LON, ZOOM)
    spot = folder / str(ZOOM) / str(column) / f"{row}.png"
    spot.unlink()
    os.mkfifo(spot)
    with open_imagery(folder) as source:
        assert source.cut(LAT, LON, 2.0, 8)[1] == 0.0


def test_a_huge_folder_is_looked_at_in_part(tmp_path: Path) -> None:
    """40 columns of 50 rows and leave to look at 500 names: all of it is still there."""
    tile = picture(np.full((256, 256, 3), 60, np.uint8))
    column, row = tile_at(LAT, LON, ZOOM)
    tiles = {(ZOOM, column + c, row + r): tile for c in range(40) for r in range(50)}
    folder = write_folder(tmp_path / "t", tiles)
    store = TileFolderStore(folder, most_listed=500)
    with TilePyramid(store, store.facts()) as source:
        assert source.shape == (50 * 256, 40 * 256)
        assert any("columns were looked at" in note for note in source.notes)
        assert all(source.cut(*p, 30.0, 8)[1] == 1.0 for p in [source.bounds.centre, (LAT, LON)])
    whole = TileFolderStore(folder)
    assert whole.facts().files == 2000 and whole.facts().bytes == 2000 * len(tile)
