"""Indexes of pictures: photos of the street, and a dataset's tiles; from the folder to the answer."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.encoder import Encoder, open_encoder
from engine.encoder.preprocess import shape_tiles
from engine.errors import Cancelled, EncoderError, ImageryError
from engine.imagery import open_source
from engine.imagery.pictures import open_pictures
from engine.index import Index, area_from_geojson, build_index, verify_index
from engine.index.picture_references import PictureReferences
from engine.localize import Query, explain, localize
from engine.localize.export import WRITERS
from engine.photo import read_photo
from tests.engine.datasets.pictures import picture
from tests.engine.index.places import contents
from tests.linear_encoder import save_linear_encoder
from tests.street_encoder import save_street_encoder

LAT, LON, COUNT = 60.2, 24.9, 12


def write_photos(folder: Path, count: int = COUNT) -> Path:
    """Photos of several shapes along a street, 20 m apart, every third without a heading."""
    rows = []
    for number in range(count):
        name = f"p{number:02d}.jpg"
        picture(folder / name, number, [(64, 48), (48, 64), (60, 60)][number % 3])
        rows.append(
            [name, LAT + number * 20 / 111_400, LON, "" if number % 3 == 0 else number * 30]
        )
    with open(folder / "photos.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "lat", "lon", "heading"], *rows])
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("street")
    write_photos(home / "photos")
    save_street_encoder(home / "street.encoder", features=True)
    return home


@pytest.fixture(scope="module")
def encoder(home: Path) -> Encoder:
    return open_encoder(home / "street.encoder", threads=1, gpu=False)


@pytest.fixture(scope="module")
def index(home: Path, encoder: Encoder):
    with build_index(home / "street.index", open_source(home / "photos"), encoder) as index:
        yield index


def test_every_photo_is_found_again(home: Path, encoder: Encoder, index: Index) -> None:
    assert index.manifest.kind == "street" and index.manifest.count == COUNT
    assert index.manifest.extents_m == () and index.manifest.extent_m == 0
    assert verify_index(index.path) == []
    for number in range(COUNT):
        photo = read_photo(home / "photos" / f"p{number:02d}.jpg")
        result = localize(Query(photo, top=5), encoder, index)
        best = result.best
        assert best is not None and best.picture == photo.name and best.score > 0.99
        # Where it was taken, and nowhere between.
        assert (best.lat, best.lon) == pytest.approx((best.tile_lat, best.tile_lon), abs=1e-9)
        assert best.lat == pytest.approx(LAT + number * 20 / 111_400, abs=1e-9)
        assert best.heading_deg is None and result.of_photos and result.extent_of(best) == 0
        towards = best.picture_heading_deg
        assert towards is None if number % 3 == 0 else towards == number * 30
        assert len({c.picture for c in result.candidates}) == 5


def test_photos_of_one_place_are_one_candidate(tmp_path: Path, encoder: Encoder) -> None:
    folder = tmp_path / "street photos"
    for number in range(6):  # three places, two photos a metre apart at each
        picture(
            folder / f"{LAT + (number // 2) / 1000 + number % 2 / 111_400:.7f}_{LON:.7f}.jpg",
            number,
        )
    with build_index(tmp_path / "a.index", open_pictures(folder), encoder) as index:
        photo = read_photo(folder / sorted(p.name for p in folder.iterdir())[0])
        result = localize(Query(photo), encoder, index)
        assert index.manifest.count == 6 and len(result.candidates) == 3


def test_a_row_is_what_the_encoder_makes_of_the_picture(
    home: Path, encoder: Encoder, index: Index
) -> None:
    source = open_pictures(home / "photos")
    pictures = [source.read(number) for number in range(COUNT)]
    expected = encoder.encode_pictures(pictures)
    assert np.einsum("nd,nd->n", index.vectors(np.arange(COUNT)), expected).min() > 0.999
    shaped = encoder.shape_picture(pictures[0])
    assert (shaped == shape_tiles(pictures[0][None], encoder.card.branches.reference)[0]).all()


def test_what_is_shown_is_the_picture(home: Path, index: Index) -> None:
    source = open_pictures(home / "photos")
    for number, tile in enumerate(index.tiles(range(COUNT))):
        assert tile.picture is not None and tile.name == source.file_name(tile.picture)
        assert (index.picture(number) == source.read(tile.picture)).all()
    wide = index.crop(0, 64, missing=9)
    assert wide.shape == (64, 64, 3) and (wide[:8] == 9).all() and (wide[-8:] == 9).all()
    with pytest.raises(ImageryError):
        _ = index.imagery


def test_evidence_lies_over_the_photo_and_adds_up(
    home: Path, encoder: Encoder, index: Index
) -> None:
    query = Query(read_photo(home / "photos" / "p01.jpg"))
    result = localize(query, encoder, index)
    for candidate in result.candidates[:3]:
        parts = explain(query, candidate, encoder, index)
        height, width = index.picture(candidate.tile_id).shape[:2]
        assert parts.tile_map is not None and parts.tile_map.shape == (height, width)
        assert parts.tile_pixels is not None and parts.tile_pixels.shape == (height, width, 3)
        assert parts.tile_map.sum() == pytest.approx(parts.score, abs=1e-4)
        assert parts.photo_map.sum() == pytest.approx(parts.score, abs=1e-4)
        assert parts.score == pytest.approx(candidate.score, abs=0.01)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_no_file_says_that_a_photo_covers_ground(
    form: str, home: Path, encoder: Encoder, index: Index
) -> None:
    result = localize(Query(read_photo(home / "photos" / "p01.jpg")), encoder, index)
    text = WRITERS[form]([result])
    assert "Polygon" not in text and "LineString" not in text
    assert " tile" not in text.replace("prefers tile", "") or form in ("json", "geojson", "csv")
    if form != "html":
        assert "p01.jpg" in text
    if form == "json":
        values = json.loads(text)
        assert values["references"] == "street" and values["tile_extent_m"] is None
        first = values["candidates"][0]
        assert (first["picture"], first["picture_heading_deg"], first["extent_m"]) == (
            "p01.jpg",
            30.0,
            None,
        )
    if form == "geojson":
        assert {f["geometry"]["type"] for f in json.loads(text)["features"]} == {"Point"}


def test_pictures_that_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, encoder: Encoder
) -> None:
    folder = write_photos(tmp_path / "photos")
    data = (folder / "p03.jpg").read_bytes()
    (folder / "p03.jpg").write_bytes(data[: len(data) // 2])
    (folder / "p05.jpg").write_text("no picture")
    (folder / "p07.jpg").write_bytes(b"")
    with build_index(tmp_path / "a.index", open_pictures(folder), encoder) as index:
        assert index.manifest.count == COUNT - 3
        assert verify_index(index.path) == []
        said = " ".join(index.manifest.notes)
        assert "3 of 12" in said and "(p03.jpg, p05.jpg, p07.jpg)" in said
        names = [tile.name for tile in index.tiles(range(COUNT - 3))]
        assert not {"p03.jpg", "p05.jpg", "p07.jpg"} & set(names)
        for number, name in enumerate(names):
            assert (index.picture(number) == open_pictures(folder).read(int(name[1:3]))).all()


def test_nothing_is_made_where_no_picture_can_be_read(tmp_path: Path, encoder: Encoder) -> None:
    folder = write_photos(tmp_path / "photos", 3)
    for path in folder.glob("*.jpg"):
        path.write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(ImageryError) as caught:
        build_index(tmp_path / "a.index", open_pictures(folder), encoder)
    assert "3" in str(caught.value) and "read" in str(caught.value)
    assert not (tmp_path / "a.index").exists()


def test_only_pictures_in_the_area(tmp_path: Path, home: Path, encoder: Encoder) -> None:
    def box(north: float) -> dict:
        ring = [[24.8, 60.1], [25.0, 60.1], [25.0, north], [24.8, north], [24.8, 60.1]]
        return {"type": "Polygon", "coordinates": [ring]}

    source = open_pictures(home / "photos")
    middle = LAT + 90 / 111_400
    with build_index(tmp_path / "a.index", source, encoder, area=box(middle)) as index:
        assert index.manifest.count == 5 and (index.centres[0] < middle).all()
        assert verify_index(index.path) == []
        assert (index.picture(4) == source.read(4)).all()
    with pytest.raises(ImageryError, match="none of the 12 pictures"):
        PictureReferences(source, encoder, area_from_geojson(box(60.15)))


def test_an_index_that_points_at_the_folder(tmp_path: Path, encoder: Encoder) -> None:
    folder = write_photos(tmp_path / "photos", 4)
    build_index(tmp_path / "a.index", open_pictures(folder), encoder, embed_imagery=False).close()
    assert not (tmp_path / "a.index" / "pictures.sqlite").exists()
    with Index.open(tmp_path / "a.index") as index:
        assert index.picture(2).shape == (60, 60, 3)
    moved = folder.rename(tmp_path / "elsewhere")
    with (
        Index.open(tmp_path / "a.index") as index,
        pytest.raises(ImageryError, match="not beside it"),
    ):
        index.picture(2)
    with Index.open(tmp_path / "a.index", imagery=moved) as index:
        assert index.picture(2).shape == (60, 60, 3)
    picture(moved / "p02.jpg", 99, (64, 48))
    with (
        Index.open(tmp_path / "a.index", imagery=moved) as index,
        pytest.raises(ImageryError, match="not the pictures"),
    ):
        index.picture(2)


def test_encoders_that_know_no_street_are_refused(tmp_path: Path, home: Path) -> None:
    save_linear_encoder(tmp_path / "tiles.encoder")
    encoder = open_encoder(tmp_path / "tiles.encoder", threads=1, gpu=False)
    with pytest.raises(
        EncoderError, match=r"compares photos with tiles seen from above.*nadir import"
    ):
        build_index(tmp_path / "a.index", open_pictures(home / "photos"), encoder)
    assert not (tmp_path / "a.index").exists()


def test_a_datasets_tiles_have_the_extents_that_it_says(tmp_path: Path) -> None:
    save_linear_encoder(tmp_path / "tiles.encoder")
    encoder = open_encoder(tmp_path / "tiles.encoder", threads=1, gpu=False)
    folder = tmp_path / "tiles"
    rows = []
    for number in range(5):
        picture(folder / f"t{number}.png", number, (64, 64) if number < 4 else (64, 48))
        rows.append([f"t{number}.png", LAT + number / 1000, LON, 50 + 10 * (number % 2)])
    with open(folder / "tiles.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "lat", "lon", "extent_m"], *rows])
    with build_index(tmp_path / "tiles.index", open_source(folder), encoder) as index:
        assert index.manifest.kind == "aerial" and index.manifest.extents_m == (50.0, 60.0)
        assert index.manifest.count == 4  # the one that is no square is left out
        assert [tile.extent_m for tile in index.tiles(range(4))] == [50.0, 60.0, 50.0, 60.0]
        assert verify_index(index.path) == []
        expected = encoder.encode_pictures([index.picture(n) for n in range(4)])
        assert np.einsum("nd,nd->n", index.vectors(np.arange(4)), expected).min() > 0.999
        photo = read_photo(folder / "t1.png")
        result = localize(Query(photo, heading_deg=0.0), encoder, index)
        assert {c.tile_id: result.extent_of(c) for c in result.candidates} == {
            0: 50.0,
            1: 60.0,
            2: 50.0,
            3: 60.0,
        }
        assert not result.of_photos and all(
            c.picture_heading_deg is None for c in result.candidates
        )
        rings = json.loads(WRITERS["geojson"]([result]))["features"]
        assert sum(f["geometry"]["type"] == "Polygon" for f in rings) == 4


def test_pictures_of_strangers_in_an_index(home: Path, encoder: Encoder, tmp_path: Path) -> None:
    build_index(tmp_path / "a.index", open_pictures(home / "photos"), encoder).close()
    file = tmp_path / "a.index" / "pictures.sqlite"
    whole = file.read_bytes()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE files SET data=zeroblob(100) WHERE id=1")
    connection.commit()
    connection.close()
    spoiled = file.read_bytes()
    assert len(spoiled) == len(whole)
    with Index.open(tmp_path / "a.index", encoder) as index:
        with pytest.raises(ImageryError):
            index.picture(1)
        query = Query(read_photo(home / "photos" / "p01.jpg"))
        result = localize(query, encoder, index)  # the answer needs no pictures
        assert result.best is not None and result.best.picture == "p01.jpg"
        parts = explain(query, result.best, encoder, index)
        assert parts.tile_map is None and "photo cannot be shown" in " ".join(parts.notices)
    assert any(problem.file == "pictures.sqlite" for problem in verify_index(tmp_path / "a.index"))


def test_on_the_command_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, encoder = tmp_path / "street.index", home / "street.encoder"
    arguments = [
        "index",
        "build",
        str(out),
        "--imagery",
        str(home / "photos"),
        "--encoder",
        str(encoder),
        "--cpu",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "12 places from photos.csv" in said and f"{COUNT} photos in" in said
    assert main(["index", "info", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{COUNT} photos of the street" in said and " m a pixel" not in said
    photo = home / "photos" / "p04.jpg"
    located = ["localize", str(photo), "--index", str(out), "--encoder", str(encoder), "--cpu"]
    assert main(located) == 0
    said = capsys.readouterr().out
    assert "p04.jpg, taken towards 120°" in said and "12 photos" in said and "tiles" not in said
    both = tmp_path / "both"
    shutil.copytree(home / "photos", both)
    picture(both / "satellite_60.2_24.9.png", 1, (640, 640))
    arguments[4] = str(both)
    arguments[2] = str(tmp_path / "b.index")
    assert main(arguments) == 1
    assert "--kind aerial or --kind street" in capsys.readouterr().err
    assert main([*arguments, "--kind", "street"]) == 0


def test_real_photos_against_real_photos(realdata: Path, tmp_path: Path) -> None:
    """Helsinki's six photos: a cut of each, brighter and smaller, finds its place among them."""
    from PIL import Image, ImageEnhance

    save_street_encoder(tmp_path / "street.encoder", (96, 128))
    encoder = open_encoder(tmp_path / "street.encoder", threads=1, gpu=False)
    source = open_pictures(realdata / "helsinki_pairs", kind="street")
    with build_index(tmp_path / "helsinki.index", source, encoder) as index:
        for number in range(6):
            with Image.open(realdata / "helsinki_pairs" / source.file_name(number)) as image:
                width, height = image.size
                part = image.crop((width // 20, height // 20, width - width // 30, height))
                ImageEnhance.Brightness(part.resize((600, 400))).enhance(1.05).save(
                    tmp_path / "q.jpg"
                )
            result = localize(Query(read_photo(tmp_path / "q.jpg")), encoder, index)
            assert result.best is not None and result.best.picture == source.file_name(number)
            assert result.best.picture_heading_deg == pytest.approx(source.headings()[number])


@pytest.mark.parametrize("at", [1, 3, 5, 8])
def test_a_build_that_is_stopped_goes_on_and_ends_the_same(
    home: Path, encoder: Encoder, tmp_path: Path, at: int
) -> None:
    source = open_pictures(home / "photos")
    build_index(tmp_path / "whole.index", source, encoder).close()
    told = 0

    def stop(done: int, total: int, text: str) -> None:
        nonlocal told
        told += 1
        if told == at:
            raise Cancelled

    out = tmp_path / "stopped" / "whole.index"
    out.parent.mkdir()
    with pytest.raises(Cancelled):
        build_index(out, source, encoder, report=stop)
    build_index(out, source, encoder).close()
    assert contents(out) == contents(tmp_path / "whole.index")


def test_tiles_much_wider_than_what_was_learned_are_remarked_on(tmp_path: Path) -> None:
    save_linear_encoder(tmp_path / "tiles.encoder")
    encoder = open_encoder(tmp_path / "tiles.encoder", threads=1, gpu=False)
    for number in range(2):
        picture(tmp_path / "tiles" / f"t_60.200{number}_24.9001.png", number, (64, 64))
    learned = min(encoder.card.tile_extents_m)
    for factor, said in ((1.1, False), (3.0, True)):
        source = open_source(tmp_path / "tiles", extent_m=factor * learned)
        with build_index(tmp_path / f"{factor}.index", source, encoder) as index:
            assert ("has learned from tiles of" in " ".join(index.manifest.notes)) is said
