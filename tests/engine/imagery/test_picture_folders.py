"""Folders of pictures: which are found, where each lies, what they are, and what is said where that fails."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.warp import transform

from engine.cli import main
from engine.errors import Cancelled, ImageryError
from engine.imagery import open_imagery, open_source
from engine.imagery.pictures import PictureSource, PicturesUnclearError, open_pictures, spacing_m
from engine.imagery.pictures.names import at_name, named_place, panorama_place, tile_place
from engine.imagery.pictures.tables import TableError, open_table
from engine.imagery.pictures.utm import utm_to_wgs84
from engine.photo.write import save_jpeg
from tests.engine.datasets.pictures import picture
from tests.engine.photo.pictures import encoded, exif_block, scene

LAT, LON = 47.6, -122.3


def write_csv(path: Path, *rows: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def notes_of(folder: Path, **more) -> str:
    return " ".join(open_pictures(folder, **more).notes)


# Names --------------------------------------------------------------------------------------------------------


def test_names_of_vigor() -> None:
    assert tile_place("satellite_47.5_-122.25.png") == (47.5, -122.25)
    assert panorama_place("a_b-c,47.5,-122.25,.jpg") == (47.5, -122.25)
    for name in (
        "satellite_47.5.png",
        "satellite_97.5_0.1.png",
        "tile_47.5_1.5.png",
        "satellite_x_y.png",
    ):
        assert tile_place(name) is None


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("London_0000001_2008_07_110_51.5101_-0.1002_abc.JPG", (51.5101, -0.1002)),
        ("60.1234_24.5678.png", (60.1234, 24.5678)),
        ("60.1234,24.5678.png", (60.1234, 24.5678)),
        ("a_51.51_-0.15.jpg", None),  # two decimals are a version as likely as a place
        ("1.2345_2.3456_3.4567.jpg", None),  # which two?
        ("95.1234_24.5678.png", None),
        ("0.0000_0.0000.png", None),
        ("IMG_20230514_101112.jpg", None),
    ],
)
def test_a_latitude_and_a_longitude_in_any_name(name: str, place) -> None:
    assert named_place(name) == place


def test_names_of_the_benchmark() -> None:
    whole = at_name("@0584286.88@4477157.70@17@T@040.44080@-080.00616@p@@090@@@@201509@@.jpg")
    assert whole is not None
    assert (whole.east, whole.zone, whole.letter, whole.lat) == (584286.88, 17, "T", 40.4408)
    assert whole.heading_deg == 90.0
    bare = at_name("@584286.88@4477157.70@@@.jpg")
    assert bare is not None and bare.zone == 0 and np.isnan(bare.lat) and np.isnan(bare.heading_deg)
    assert at_name("@a@4477157.70@@@.jpg") is None and at_name("x.jpg") is None


@pytest.mark.parametrize(
    ("lat", "lon", "zone", "letter"),
    [
        (40.44, -80.0, 17, "T"),
        (37.78, -122.43, 10, "S"),  # the band, though S may mean south
        (-33.87, 151.2, 56, "S"),  # the hemisphere
        (-33.87, 151.2, 56, "H"),
        (51.5, -0.1, 30, "N"),
        (0.3, 32.6, 36, "N"),
        (-48.87, -123.39, 10, "F"),
        (70.0, 20.0, 34, "W"),
    ],
)
def test_utm_comes_back_where_it_came_from(lat, lon, zone, letter) -> None:
    code = (32700 if lat < 0 else 32600) + zone
    moved = transform("EPSG:4326", f"EPSG:{code}", [lon], [lat])
    lats, lons = utm_to_wgs84(moved[0], moved[1], [zone], [letter])
    assert lats[0] == pytest.approx(lat, abs=1e-7) and lons[0] == pytest.approx(lon, abs=1e-7)


def test_utm_that_makes_no_place() -> None:
    lats, _ = utm_to_wgs84(
        [584286.88] * 5,
        [4477157.7, 4477157.7, 4477157.7, 9e9, 4477157.7],
        [17, 0, 17, 17, 61],
        ["J", "T", "", "T", "T"],  # another band; no zone; no letter; off the Earth; no such zone
    )
    assert np.isnan(lats).all()


# Real folders -------------------------------------------------------------------------------------------------


def test_berlin_tiles(realdata: Path) -> None:
    with pytest.raises(ImageryError, match=r"how much ground 100 of its 108 tiles.*--extent-m"):
        open_pictures(realdata / "berlin_tiles")
    source = open_source(realdata / "berlin_tiles", extent_m=128.0)
    assert isinstance(source, PictureSource) and source.kind == "aerial"
    lats, lons = source.places()
    assert len(lats) == 108 and (source.extents_m() == 128).all() and (source.headings() == 0).all()
    rows = {
        row["file"]: row
        for row in json.loads((realdata / "berlin_tiles/tiles.json").read_bytes())["tiles"]
    }
    for number in range(108):
        if (row := rows.get(source.file_name(number))) is not None:
            assert (lats[number], lons[number]) == (row["lat"], row["lon"])
    said = open_pictures(realdata / "berlin_tiles" / "tiles.json")
    assert len(said) == 8 and said.extents_m() is not None and "cell_m says" in " ".join(said.notes)
    assert said.resolution_m == pytest.approx(0.5) and said.read(0).shape == (256, 256, 3)


def test_helsinki_has_tiles_and_photos_of_the_same_places(realdata: Path) -> None:
    folder = realdata / "helsinki_pairs"
    with pytest.raises(ImageryError, match=r"6 tiles seen from above and 6 street photos.*--kind"):
        open_pictures(folder)
    photos = open_pictures(folder, kind="street")
    assert len(photos) == 6 and photos.extents_m() is None and photos.resolution_m == 0
    at = [photos.file_name(n) for n in range(6)].index("111140337709579/111140337709579.jpg")
    assert photos.headings()[at] == 319.54 and photos.places()[0][at] == 60.2703701178553
    assert photos.read(at).shape[2] == 3
    tiles = open_pictures(folder, kind="aerial", extent_m=100.0)
    assert len(tiles) == 6 and tiles.read(0).shape == (500, 500, 3)
    assert all("_sat" in tiles.file_name(n) for n in range(6))


def test_photos_by_their_own_gps(realdata: Path) -> None:
    source = open_pictures(realdata / "photos")
    names = [source.file_name(n) for n in range(len(source))]
    assert {"berlin_gps.jpg", "portland_gps.jpg"} <= set(names) and source.kind == "street"
    lats, lons = source.places()
    at = names.index("portland_gps.jpg")
    assert lats[at] == pytest.approx(45.516903, abs=1e-6) and lons[at] == pytest.approx(
        -122.572765, abs=1e-6
    )
    assert source.headings()[names.index("fixed_exif.jpg")] == pytest.approx(147.96, abs=0.01)
    assert "3 pictures without a place (corrupt_exif_large_thumbnail.jpg" in " ".join(source.notes)


def test_tiles_named_as_vigor_names_them(realdata: Path, tmp_path: Path) -> None:
    listed = (realdata / "vigor_labels/Seattle/satellite_list.txt").read_text().split()[:6]
    for number, name in enumerate(listed):
        picture(tmp_path / "satellite" / name, number, (640, 640))
    source = open_pictures(tmp_path)
    extents = source.extents_m()
    assert extents is not None and len(extents) == 6
    # Measured on the labels: 0.1008 m a pixel in Seattle.
    assert extents / 640 == pytest.approx(0.1008, abs=2e-4)
    assert spacing_m(*source.places()) == pytest.approx(36.5, abs=0.5)
    picture(tmp_path / "satellite" / listed[0], 0, (320, 320))
    with pytest.raises(
        ImageryError, match="extent-m"
    ):  # resized: whose tiles these are is not known
        open_pictures(tmp_path)


def test_a_folder_without_places_says_what_was_looked_at(realdata: Path) -> None:
    with pytest.raises(ImageryError) as caught:
        open_source(realdata / "street_toy")
    said = str(caught.value)
    for part in (
        "none of its 22 pictures",
        "db1.jpg",
        "satellite_LAT_LON.png",
        "EXIF",
        "no CSV or JSON",
        "file,lat,lon",
    ):
        assert part in said


# Tables -------------------------------------------------------------------------------------------------------


def test_columns_by_their_usual_names_and_files_by_their_values(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "images" / f"k{number}.jpg", number)
    rows = [
        {
            "seq": 7,
            "key": f"k{n}",
            "lon": LON + n / 1000,
            "lat": LAT,
            "ca": 350 + 10 * n,
            "pano": False,
        }
        for n in range(3)
    ]
    write_csv(tmp_path / "raw.csv", *rows)
    source = open_pictures(tmp_path)
    assert source.kind == "street" and source.headings().tolist() == [350.0, 0.0, 10.0]
    assert source.places()[1].tolist() == [LON, LON + 0.001, LON + 0.002]
    assert "whose column key names the pictures" in source.notes[0]


@pytest.mark.parametrize(
    "value",
    [
        [{"filename": "a.png", "latitude": LAT, "lng": LON, "extent_m": 50}],
        {"tiles": [{"file": "t/a.png", "lat": str(LAT), "lon": LON}], "tile_m": 50, "made": "2024"},
        {"a.png": {"lat": LAT, "lon": LON, "extent": 50}},
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [LON, LAT]},
                    "properties": {"name": "a", "extent_m": 50},
                }
            ],
        },
    ],
)
def test_json_in_its_usual_shapes(tmp_path: Path, value) -> None:
    picture(tmp_path / "t" / "a.png", 1)
    (tmp_path / "where.json").write_text(json.dumps(value))
    source = open_pictures(tmp_path)
    assert [v.tolist() for v in source.places()] == [[LAT], [LON]]
    assert source.kind == "aerial" and np.asarray(source.extents_m()).tolist() == [50.0]


def test_a_table_itself_is_opened_and_speaks_for_its_pictures_alone(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / name, ord(name[0]))
    table = write_csv(
        tmp_path / "some.csv", {"file": "b.jpg", "lat": LAT, "lon": LON, "heading": ""}
    )
    source = open_source(table)
    assert (
        isinstance(source, PictureSource)
        and source.file_name(0) == "b.jpg"
        and source.name == "some"
    )
    assert np.isnan(source.headings()).all()


def test_what_a_table_says_wrong_is_counted_and_named(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"photo{number}.jpg", number)
    picture(tmp_path / "x" / "twice.jpg", 8)
    picture(tmp_path / "y" / "twice.jpg", 9)
    good = {"file": "photo0.jpg", "lat": LAT, "lon": LON, "heading": 10}
    table = write_csv(
        tmp_path / "a.csv",
        good,
        {**good, "file": "photo1.jpg", "lat": 147.0},
        {**good, "file": "photo2.jpg", "lon": "east"},
        {**good, "file": "photo3.jpg", "lat": 0, "lon": 0},
        {**good, "file": "gone.jpg"},
        {**good, "file": "twice.jpg"},
    )
    source = open_pictures(tmp_path)
    assert len(source) == 1 and source.file_name(0) == "photo0.jpg"
    said = " ".join(source.notes)
    assert (
        "1 of its rows name no picture" in said
        and "3 of its rows give no position on the Earth (photo1.jpg)" in said
    )
    assert "1 of its rows name several pictures" in said
    assert "5 pictures without a place (photo1.jpg, photo2.jpg, photo3.jpg and 2 more)" in said
    write_csv(tmp_path / "b.csv", {**good, "lat": LAT + 1})
    with pytest.raises(ImageryError, match=r"two places in the tables \(photo0.jpg\)"):
        open_pictures(tmp_path)
    table.unlink()
    assert len(open_pictures(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"\xff\xfe\x00\x01binary"),
        ("a.csv", b""),
        ("a.csv", b"file,lat\nphoto.jpg,1\n"),
        ("a.csv", b"file,lat,lon\nother.jpg,1,2\n"),
        ("a.csv", b"file,lat,lon\n" + b"x" * 300_000 + b",1,2\n"),
        ("a.json", b"[" * 100_000),
        ("a.json", b'{"a": 1}'),
        ("a.json", b"not json"),
        ("a.json", b"[1, 2, 3]"),
        ("a.jsonl", b"{}\n{\n"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": []}'),
    ],
)
def test_tables_that_are_none_do_no_harm(tmp_path: Path, name: str, data: bytes) -> None:
    picture(tmp_path / "photo.jpg", 1)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageryError) as caught:
        open_pictures(tmp_path)
    assert f"the tables {name} (" in str(caught.value)
    save_jpeg(tmp_path / "photo.jpg", scene(), latitude=LAT, longitude=LON)
    assert len(open_pictures(tmp_path)) == 1


def test_what_they_are_is_asked_where_nothing_says(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number in range(2):
        picture(folder / f"n{number}.png", number)
    write_csv(
        folder / "t.csv",
        *({"file": f"n{n}.png", "lat": LAT, "lon": LON + n / 100} for n in range(2)),
    )
    with pytest.raises(ImageryError, match=r"its 2 pictures \(n0.png, …\) are tiles.*--kind"):
        open_pictures(folder)
    with pytest.raises(PicturesUnclearError) as caught:
        open_pictures(folder)
    assert caught.value.needs == "kind" and caught.value.counts == (0, 0, 2)
    with pytest.raises(PicturesUnclearError) as caught:
        open_pictures(folder, kind="aerial")
    assert caught.value.needs == "extent" and caught.value.counts[0] == 2
    assert open_pictures(folder, kind="street").kind == "street"
    assert open_pictures(folder, kind="aerial", extent_m=60).kind == "aerial"
    folder.rename(tmp_path / "street photos")
    assert open_pictures(tmp_path / "street photos").kind == "street"


# What lies about ----------------------------------------------------------------------------------------------


def test_links_out_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    save_jpeg(
        outside_file := picture(outside / "secret.jpg", 1), scene(), latitude=LAT, longitude=LON
    )
    picture(inside / "a.jpg", 1)
    save_jpeg(inside / "a.jpg", scene(), latitude=LAT, longitude=LON)
    write_csv(outside / "t.csv", {"file": "a.jpg", "lat": 1, "lon": 2})
    (inside / "secret.jpg").symlink_to(outside_file)
    (inside / "more").symlink_to(outside)
    (inside / "t.csv").symlink_to(outside / "t.csv")
    (inside / "gone.jpg").symlink_to(inside / "nothing.jpg")
    (inside / "round").symlink_to(inside)
    os.mkfifo(inside / "pipe.jpg")
    source = open_pictures(inside)
    assert [source.file_name(n) for n in range(len(source))] == ["a.jpg"]
    assert source.places()[0][0] == pytest.approx(LAT)
    assert "1 picture linking out of the folder (secret.jpg)" in " ".join(source.notes)
    linked = tmp_path / "name"
    linked.symlink_to(inside)
    assert len(open_pictures(linked)) == 1


def test_copies_at_one_place_are_one(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a.jpg", scene(), latitude=LAT, longitude=LON)
    (tmp_path / "copy of a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    save_jpeg(tmp_path / "c.jpg", scene(200, 100), latitude=LAT, longitude=LON)
    source = open_pictures(tmp_path)
    assert [source.file_name(n) for n in range(2)] == ["a.jpg", "c.jpg"] and len(source) == 2
    assert "1 picture copied from others at the same place (copy of a.jpg)" in " ".join(
        source.notes
    )


def test_exif_that_goes_on_and_on(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "good.jpg", scene(), latitude=LAT, longitude=LON)
    data = (tmp_path / "good.jpg").read_bytes()
    segment = b"\xff\xe1\xff\xff" + b"Exif\x00\x00" + b"MM\x00*" + b"\xff" * (65533 - 10)
    (tmp_path / "many.jpg").write_bytes(data[:2] + segment * 1500 + data[2:])
    (tmp_path / "endless.jpg").write_bytes(data[:2] + b"\xff" * 100_000)
    (tmp_path / "cut.jpg").write_bytes(data[:40])
    (tmp_path / "text.jpg").write_text("nothing")
    source = open_pictures(tmp_path)
    assert [source.file_name(n) for n in range(len(source))] == ["good.jpg"]


def test_very_many_files_take_bounded_memory(tmp_path: Path) -> None:
    data = picture(tmp_path / "one.jpg", 1).read_bytes()
    count = 4_000  # bytes a file are what is measured
    folder = tmp_path / "photos"
    for part in range(20):
        (folder / f"{part:03d}").mkdir(parents=True)
    first = folder / "000" / f"@{500000}@{5270000}@10@T@@@@@.jpg"
    first.write_bytes(data)
    for number in range(1, count):
        name = f"@{500000 + number}@{5270000 + number % 97}@10@T@@@{number}@@{number % 360}@.jpg"
        os.link(first, folder / f"{number % 20:03d}" / name)
    tracemalloc.start()
    source = open_pictures(folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == count and not np.isnan(source.places()[0]).any()
    assert peak < count * 2500
    assert len({open_pictures(folder).fingerprint() for _ in range(2)}) == 1

    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        open_pictures(folder, report=stop)


def test_empty_folders_and_imagery_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ImageryError, match="holds no pictures"):
        open_source(tmp_path)
    with pytest.raises(ImageryError, match="no such imagery"):
        open_source(tmp_path / "nothing")
    (tmp_path / "town.mbtiles").write_bytes(b"")
    with pytest.raises(ImageryError, match=r"holds no pictures.*town\.mbtiles") as caught:
        open_source(tmp_path)
    assert caught.value.remedy == "Choose the file town.mbtiles in it"
    with pytest.raises(ImageryError):
        open_imagery(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ImageryError, match="no imagery that Nadir reads"):
        open_source(tmp_path / "x.txt")


def test_imagery_info_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Photos have no resolution; tiles are outlined one by one."""
    for number in range(2):
        picture(tmp_path / f"p{number}.png", number, (64, 64))
    write_csv(
        tmp_path / "t.csv",
        *({"file": f"p{n}.png", "lat": LAT + n / 100, "lon": LON} for n in range(2)),
    )
    assert main(["imagery", "info", str(tmp_path), "--kind", "street"]) == 0
    said = capsys.readouterr().out
    assert "photos of the street" in said and "resolution" not in said and "2 files" in said
    asked = ["imagery", "info", str(tmp_path), "--kind", "aerial", "--extent-m", "64", "--json"]
    assert main(asked) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["resolution_m"] == 1.0 and len(card["outline"]["coordinates"]) == 2


def test_headings_from_magnetic_north_are_remarked_on(tmp_path: Path) -> None:
    for number, reference in enumerate(("M", "T")):
        gps = {
            1: "N",
            2: (47.0, 36.0, 0.0),
            3: "W",
            4: (122.0, 18.0, float(number)),
            16: reference,
            17: 90.0,
        }
        (tmp_path / f"{number}.jpg").write_bytes(encoded(scene(), "JPEG", exif=exif_block(gps=gps)))
    source = open_pictures(tmp_path)
    assert source.headings().tolist() == [90.0, 90.0]
    assert "Headings from magnetic north, which were not corrected: 1." in " ".join(source.notes)


# Whatever there may be ----------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_any_name_is_read_or_not(name: str) -> None:
    for place in (tile_place(name), panorama_place(name), named_place(name)):
        assert place is None or (abs(place[0]) <= 90 and abs(place[1]) <= 180)
    said = at_name(name)
    assert said is None or (np.isfinite([said.east, said.north]).all() and 0 <= said.zone <= 60)


@given(
    st.floats(-89.9, 89.9).filter(lambda v: abs(v) > 1e-3),
    st.floats(-180, 180).filter(lambda v: abs(v) > 1e-3),
    st.text("abcXYZ019_-", max_size=12),
)
def test_a_place_written_into_a_name_is_read_from_it(lat: float, lon: float, before: str) -> None:
    name = f"{before.rstrip('-')}_{lat:.6f}_{lon:.6f}.jpg"
    place = named_place(name)
    # A name that ends in a number may make another pair; it is then no place rather than a wrong one.
    assert place in ((round(lat, 6), round(lon, 6)), None)
    if not before.strip("_-XYZabc"):
        assert place is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["lat", "lon", "file", "a", "tiles", "geometry"]), inner, max_size=4
        )
    ),
    max_leaves=24,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_any_json_is_a_table_or_none(tmp_path: Path, value) -> None:
    table = tmp_path / "t.json"
    table.write_text(json.dumps(value))
    try:
        rows = list(open_table(table).rows())
    except TableError:
        return
    assert all(isinstance(text, str) for row in rows for text in row.texts.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    head=st.sampled_from([b"", b"file,lat,lon\n", b"\xef\xbb\xbflat;lon\n"]),
)
def test_any_bytes_are_a_table_or_none(tmp_path: Path, data: bytes, head: bytes) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(head + data)
    try:
        for row in open_table(table).rows():
            assert not row.placed or abs(row.lat) <= 90
    except TableError:
        pass
