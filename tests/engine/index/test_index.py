"""Indexes as a whole: what a build makes, how it is searched, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from engine import geo
from engine.encoder import open_encoder
from engine.errors import ImageryError, IndexFolderError
from engine.imagery import open_imagery
from engine.imagery.geotiff import local_crs, write_geotiff
from engine.index import Index, area_from_geojson, build_index, read_manifest, verify_index
from tests.engine.index.places import (
    DIMENSION,
    EXTENT,
    LAT,
    LON,
    PIXELS,
    STRIDE,
    ProjectionEncoder,
    build_place,
    write_place,
)
from tests.linear_encoder import save_linear_encoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("place")
    source, encoder, index = build_place(folder)
    with source, index:
        yield folder, encoder, index


@pytest.fixture
def copied(place, tmp_path: Path) -> Path:
    """A copy of the index that a test may spoil."""
    return Path(shutil.copytree(place[0] / "place.index", tmp_path / "place.index"))


def test_what_a_build_makes(place) -> None:
    folder, encoder, index = place
    assert sorted(p.name for p in (folder / "place.index").iterdir()) == [
        "centres.f64",
        "imagery.tif",
        "manifest.json",
        "tiles.gpkg",
        "vectors.f16",
    ]
    manifest = index.manifest
    assert manifest.count == 21 * 21
    assert (manifest.dimension, manifest.extent_m, manifest.stride_m) == (DIMENSION, EXTENT, STRIDE)
    assert manifest.tile_pixels == PIXELS
    assert (manifest.encoder_name, manifest.encoder_hash) == ("projections", encoder.hash)
    assert (manifest.attribution, manifest.licence) == ("Test survey", "CC0")
    assert manifest.imagery[0].name == "place.tif"
    assert manifest.imagery[0].resolution_m == pytest.approx(0.5, rel=1e-3)
    assert manifest.made_by.startswith("nadir ")
    assert index.coverage.contains(LAT, LON)
    assert verify_index(folder / "place.index") == []
    assert read_manifest(folder / "place.index").hash == index.hash


def test_every_tile_finds_itself_and_shows_what_was_encoded(place) -> None:
    _, encoder, index = place
    ids = np.arange(index.manifest.count)
    pixels = np.stack([index.crop(int(i), PIXELS) for i in ids])
    vectors = encoder.encode_tiles(pixels)
    assert np.abs(vectors - index.vectors(ids)).max() < 0.02
    scores, found = index.search(vectors, 1)
    assert (found[:, 0] == ids).all()
    assert scores.min() > 0.99


def test_tiles_lie_on_the_grid(place) -> None:
    _, _, index = place
    lats, lons = index.centres
    east, north = geo.LocalFrame(LAT, LON).to_local(lats, lons)
    assert np.abs(east / STRIDE - np.round(east / STRIDE)).max() < 0.01
    assert np.abs(north / STRIDE - np.round(north / STRIDE)).max() < 0.01
    middle = index.near(LAT, LON, 1.0)
    assert len(middle) == 1
    tile = index.tiles(middle)[0]
    assert (tile.lat, tile.lon) == pytest.approx((LAT, LON), abs=1e-7)
    assert (tile.extent_m, tile.source) == (EXTENT, "place")
    assert len(index.near(LAT, LON, STRIDE * 1.1)) == 5


def test_an_area_limits_tiles_and_the_imagery_kept(place, tmp_path: Path) -> None:
    folder, encoder, whole = place
    frame = geo.LocalFrame(LAT, LON)
    corners = [(-71, -71), (11, -71), (11, 11), (-71, 11), (-71, -71)]
    ring = [[float(v) for v in reversed(frame.to_wgs84(*c))] for c in corners]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    with open_imagery(folder / "place.tif") as source:
        index = build_index(tmp_path / "part.index", source, encoder, area=polygon)
    with index:
        assert index.manifest.count == 11 * 11
        lats, lons = index.centres
        area = area_from_geojson(polygon)
        assert area.contains(lats, lons).all()
        assert index.imagery.bounds.width_deg < 0.9 * whole.imagery.bounds.width_deg
        # What is kept is all that a tile at the edge shows, although it reaches beyond the area.
        edge = index.near(*frame.to_wgs84(6, 6), 6.0)[0]
        assert index.imagery.cut(float(lats[edge]), float(lons[edge]), EXTENT, 16)[1] == 1
    assert len(whole.within(area)) == pytest.approx(105, abs=20)
    everywhere = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    with (
        open_imagery(folder / "place.tif") as source,
        pytest.raises(ImageryError, match="holds no tile of the imagery place"),
    ):
        build_index(tmp_path / "none.index", source, encoder, area=everywhere)
    assert not (tmp_path / "none.index").exists()


def test_places_without_imagery_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_place(tmp_path / "place.tif", size=60)  # 30 m: a tile of 40 m never fits whole
    with (
        open_imagery(path) as source,
        build_index(tmp_path / "a.index", source, ProjectionEncoder()) as index,
    ):
        assert index.manifest.count == 9
        assert index.manifest.notes == ()
    with (
        open_imagery(path) as source,
        build_index(tmp_path / "b.index", source, ProjectionEncoder(), minimum_valid=0.48) as index,
    ):
        assert index.manifest.count == 5
        assert index.manifest.notes == ("4 of 9 places left out: less than 48% imagery",)
    with (
        open_imagery(path) as source,
        pytest.raises(
            ImageryError,
            match="no tile of 40 m in the area is covered to 90%; the imagery is 30 m by 30 m",
        ),
    ):
        build_index(tmp_path / "c.index", source, ProjectionEncoder(), minimum_valid=0.9)
    assert not (tmp_path / "c.index").exists()


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, 45.0])
@pytest.mark.parametrize("shape", [(60, 60), (40, 120)])
def test_the_extent_that_is_advised_is_the_largest_that_works(tmp_path, turn_deg, shape) -> None:
    """However the imagery lies: it is measured."""
    pixels = np.full((*shape, 3), 120, np.uint8)
    placed = Affine.rotation(turn_deg) @ Affine.scale(0.5, -0.5)
    placed = placed @ Affine.translation(-shape[1] / 2, -shape[0] / 2)
    crs = local_crs(LAT, LON)
    path = write_geotiff(tmp_path / "place.tif", pixels, crs=crs, transform=placed)

    def build(extent_m: float) -> None:
        out = tmp_path / "a.index"
        shutil.rmtree(out, ignore_errors=True)
        with open_imagery(path) as source:
            build_index(
                out, source, ProjectionEncoder(), extent_m=extent_m, minimum_valid=0.6
            ).close()

    with pytest.raises(ImageryError, match="no tile of 100 m") as told:
        build(100.0)
    advised = re.search(r"a tile extent of (\d+) m or less \(--extent-m\)", told.value.remedy)
    assert advised is not None
    build(float(advised[1]))
    with pytest.raises(ImageryError, match="no tile of"):
        build(1.1 * float(advised[1]))


def test_an_index_without_imagery_finds_it_beside_itself(tmp_path: Path) -> None:
    source, _, index = build_place(tmp_path, embed_imagery=False)
    with source, index:
        assert not (tmp_path / "place.index" / "imagery.tif").exists()
        shown = index.crop(0, 32)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = Path(shutil.move(tmp_path / "place.index", elsewhere / "place.index"))
    with Index.open(moved) as index:
        assert len(index.search(np.ones((1, DIMENSION), np.float32), 3)[1][0]) == 3
        with pytest.raises(ImageryError, match=r"place\.tif is not beside it"):
            index.crop(0, 32)
    with Index.open(moved, imagery=tmp_path / "place.tif") as index:
        assert (index.crop(0, 32) == shown).all()
    write_place(elsewhere / "place.tif", seed=9)
    with (
        Index.open(moved) as index,
        pytest.raises(ImageryError, match="not the imagery that the index was built from"),
    ):
        index.crop(0, 32)
    assert verify_index(moved) == []


def test_real_files_end_to_end(realdata: Path, tmp_path: Path) -> None:
    """Real pixels, a real encoder in onnxruntime: every tile is found again from its own crop."""
    save_linear_encoder(tmp_path / "linear.encoder")
    encoder = open_encoder(tmp_path / "linear.encoder", threads=1)
    side = encoder.card.branches.reference.tile_pixels or 0
    for name in (
        "drone_32632_006m.tif",
        "201404_13SED190110_201404_0x1500m_CL_1_alpha.tif",
        "rotterdam_4band_float64_1m.tif",
    ):
        with open_imagery(realdata / "geotiff" / name) as source:
            index = build_index(
                tmp_path / f"{name}.index", source, encoder, stride_m=source.resolution_m * 60
            )
        with index:
            ids = np.unique(np.linspace(0, index.manifest.count - 1, 12).astype(int))
            crops = np.stack([index.crop(int(i), side) for i in ids])
            scores, found = index.search(encoder.encode_tiles(crops), 1)
            assert (found[:, 0] == ids).all()
            assert scores.min() > 0.95
            assert verify_index(index.path) == []


def test_another_encoder_is_refused_with_both_names(place, tmp_path: Path) -> None:
    folder, encoder, _ = place
    path = folder / "place.index"
    Index.open(path, encoder).close()
    with pytest.raises(IndexFolderError) as caught:
        Index.open(path, ProjectionEncoder("others"))
    assert "projections" in str(caught.value)
    assert "others" in str(caught.value)
    assert str(caught.value).startswith("place.index: ")
    with pytest.raises(IndexFolderError) as caught:
        Index.open(path, ProjectionEncoder("projections", seed=4))
    assert encoder.hash[:8] in str(caught.value)


def test_what_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "empty.index").mkdir()
    (tmp_path / "file.index").write_text("x")
    for name, message in (
        ("missing.index", "no such index"),
        ("empty.index", "holds no manifest"),
        ("file.index", "no index"),
    ):
        with pytest.raises(IndexFolderError, match=rf"{name}: .*{message}"):
            Index.open(tmp_path / name)
        assert len(verify_index(tmp_path / name)) == 1


def test_missing_and_short_files(copied: Path) -> None:
    for name in ("vectors.f16", "tiles.gpkg", "imagery.tif"):
        whole = (copied / name).read_bytes()
        (copied / name).write_bytes(whole[:-1])
        with pytest.raises(IndexFolderError, match=rf"place\.index: {name} has"):
            Index.open(copied)
        assert [p.file for p in verify_index(copied)] == [name]
        (copied / name).unlink()
        with pytest.raises(IndexFolderError, match=rf"{name} is missing"):
            Index.open(copied)
        (copied / name).write_bytes(whole)
    Index.open(copied).close()


def test_altered_files_are_found_by_verify(copied: Path) -> None:
    for name in ("vectors.f16", "tiles.gpkg", "imagery.tif"):
        whole = bytearray((copied / name).read_bytes())
        altered = bytearray(whole)
        altered[-200] ^= 1
        (copied / name).write_bytes(altered)
        problems = verify_index(copied)
        assert [p.file for p in problems] == [name]
        assert "altered or damaged" in str(problems[0])
        (copied / name).write_bytes(whole)
    (copied / "notes.txt").write_text("mine")
    assert [p.file for p in verify_index(copied)] == ["notes.txt"]


def test_verify_reports_and_can_be_cancelled(copied: Path) -> None:
    from engine.errors import Cancelled

    calls: list[tuple[int, int]] = []
    verify_index(copied, lambda done, total, text: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] > 0

    def cancel(done: int, total: int, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        verify_index(copied, cancel)


def test_a_link_out_of_the_folder_is_no_file_of_the_index(copied: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.faiss"
    shutil.move(copied / "vectors.f16", outside)
    os.symlink(outside, copied / "vectors.f16")
    with pytest.raises(IndexFolderError, match=r"vectors\.f16 is missing"):
        Index.open(copied)


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: Any) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = to

    return change


def _rename_file(name: str) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        raw["files"][name] = raw["files"].pop("imagery.tif")
        raw["imagery"][0]["file"] = name

    return change


BAD_MANIFESTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "another format": _set("format", to="other"),
    "version": _set("version", to=3),
    "no name": lambda raw: raw.pop("name"),
    "unknown key": _set("colour", to="red"),
    "count is text": _set("count", to="441"),
    "count is huge": _set("count", to=10**15),
    "count is zero": _set("count", to=0),
    "count is one more": _set("count", to=442),
    "count is true": _set("count", to=True),
    "dimension is negative": _set("dimension", to=-48),
    "dimension is another": _set("dimension", to=96),
    "stride is infinite": _set("stride_m", to=1e999),
    "extent is nothing": _set("extents_m", to=[None]),
    "coverage upside down": _set("coverage", "south", to=80),
    "coverage off the Earth": _set("coverage", "west", to=-500),
    "hash is short": _set("encoder_hash", to="abc"),
    "name is long": _set("name", to="x" * 100_000),
    "notes are no list": _set("notes", to="hello"),
    "notes without end": _set("notes", to=["x"] * 1000),
    "factory": _set("faiss_factory", to="HNSW32,Flat"),
    "files are a list": _set("files", to=[]),
    "vectors are not listed": lambda raw: raw["files"].pop("vectors.f16"),
    "path up": _rename_file("../imagery.tif"),
    "absolute path": _rename_file("/etc/passwd"),
    "drive": _rename_file("C:\\imagery.tif"),
    "network share": _rename_file("\\\\server\\imagery.tif"),
    "hidden": _rename_file(".imagery.tif"),
    "subfolder": _rename_file("a/imagery.tif"),
    "virtual": _rename_file("vsizip:a.tif"),
    "newline": _rename_file("imagery.tif\n"),
    "the manifest itself": _rename_file("manifest.json"),
    "imagery not listed": _set("imagery", 0, "file", to="other.tif"),
    "bytes are negative": _set("files", "vectors.f16", "bytes", to=-1),
    "bytes are more": _set("files", "vectors.f16", "bytes", to=10**12),
}


@pytest.mark.parametrize("what", BAD_MANIFESTS)
def test_manifests_from_somebody_else(copied: Path, what: str) -> None:
    file = copied / "manifest.json"
    raw = json.loads(file.read_text())
    BAD_MANIFESTS[what](raw)
    file.write_text(json.dumps(raw))
    with pytest.raises(IndexFolderError) as caught:
        Index.open(copied)
    message = str(caught.value)
    assert message.startswith("place.index: ")
    assert len(message) < 400
    assert verify_index(copied)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "[" * 200_000, '{"format": NaN}', '"x"', "\x00\xff"]
)
def test_manifests_that_are_no_json(copied: Path, text: str) -> None:
    (copied / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(IndexFolderError, match=r"place\.index: "):
        Index.open(copied)


def test_a_manifest_of_many_megabytes_is_not_read(copied: Path) -> None:
    with open(copied / "manifest.json", "ab") as file:
        file.truncate(1 << 32)
    with pytest.raises(IndexFolderError, match="larger than 1 MB"):
        Index.open(copied)


def test_the_hash_follows_every_fact(place) -> None:
    manifest = place[2].manifest
    assert replace(manifest, stride_m=9.0).hash != manifest.hash
    assert replace(manifest, notes=("x",)).hash != manifest.hash


def test_many_threads_may_use_an_index(place) -> None:
    from concurrent.futures import ThreadPoolExecutor

    _, _, index = place
    queries = index.vectors([0, 17, 440])
    expected = index.search(queries, 5)[1]

    def work(_: int) -> bool:
        same = (index.search(queries, 5)[1] == expected).all()
        near = index.near(LAT, LON, 20.0)
        return bool(same and len(index.tiles(near)) and index.crop(3, 16).any())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
