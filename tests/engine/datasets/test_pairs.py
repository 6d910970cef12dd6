"""Pairs of one's own and a world's: what is read, and how a wrong table is explained."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.datasets import open_dataset
from engine.errors import DatasetError
from tests.engine.flat import make_town, write_dataset

HELSINKI_HEAD = "query,reference,lat,lon,heading_deg\n"


def picture(path: Path, colour: int, size: tuple[int, int] = (24, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 10, 20)).save(path)
    return path


def test_a_table(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"ground/{name}.png", 100, (64, 32))
    for i in range(3):
        picture(tmp_path / f"air/{i}.png", i)
    (tmp_path / "pairs.csv").write_text(
        "query,reference,split,fov_deg,lat,reference_lat\n"
        "ground/a.png,air/1.png,train,,60.5,60.51\n"
        "ground/b.png,air/0.png,test,90,,\n"
        "ground/a.png,air/0.png,train,,,\n"
        ",air/2.png,,,,\n"
    )
    data = open_dataset("pairs", tmp_path)
    assert [p.name for p in data.queries.files] == ["a.png", "b.png"]
    assert [p.name for p in data.references.files] == ["1.png", "0.png", "2.png"]
    assert [list(p) for p in data.positives] == [[0, 1], [1]]
    assert data.pairs().tolist() == [[0, 0], [1, 1]]
    assert data.pairs("test").tolist() == [[1, 1]]
    assert data.queries.lat[0] == 60.5 and np.isnan(data.queries.lat[1])
    assert not data.queries.located
    pixels, view = data.read_query(0)
    assert pixels.shape == (32, 64, 3) and view.kind == "panorama" and view.full_turn
    assert data.read_query(1)[1].fov_deg == 90
    assert data.read_reference(2)[0, 0].tolist() == [2, 10, 20]
    only = open_dataset("pairs", tmp_path / "pairs.csv", split="test")
    assert len(only.queries) == 1 and len(only.references) == 3 and only.true_references == [1]
    assert pickle.loads(pickle.dumps(data)).read_reference(0)[0, 0, 0] == 1


def test_folders(tmp_path):
    for i in range(3):
        picture(tmp_path / f"queries/x/{i}.jpg", 0)
    for i in range(4):
        picture(tmp_path / f"references/x/{i}.png", i)
    data = open_dataset("pairs", tmp_path)
    assert data.pairs().tolist() == [[0, 0], [1, 1], [2, 2]] and len(data.references) == 4
    (tmp_path / "references/x/1.png").unlink()
    with pytest.raises(DatasetError, match=r"1\.jpg: no reference has its name"):
        open_dataset("pairs", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n", "has no column query, reference (its first line: a, b)"),
        ("query,reference\nx.jpg,\n", "line 2"),
        ("query,reference\nx.jpg,../y.jpg\n", "line 2"),
        ("query,reference\n/x.jpg,y.jpg\n", "line 2"),
        ("query,reference,lat\nx.jpg,y.jpg,95\n", "line 2: lat '95'"),
        ("query,reference,fov_deg\nx.jpg,y.jpg,1\nz.jpg,y.jpg,wide\n", "line 3: fov_deg 'wide'"),
        ("query,reference,kind\nx.jpg,y.jpg,fish\n", "line 2: kind 'fish'"),
        ("query,reference\n,y.jpg\n", "holds no queries"),
        (
            "query,reference,split\nx.jpg,y.jpg,train\n",
            "no queries of the split 'val'. Its splits: train",
        ),
    ],
)
def test_a_wrong_table(tmp_path, content, words):
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DatasetError) as caught:
        open_dataset("pairs", tmp_path, split="val" if "val" in words else None)
    assert words in str(caught.value)


def test_a_wrong_folder_says_what_it_holds(tmp_path):
    picture(tmp_path / "ground/a.png", 1)
    with pytest.raises(DatasetError, match=r"it holds ground\). Write a pairs.csv"):
        open_dataset("pairs", tmp_path)
    with pytest.raises(DatasetError, match="no such dataset folder"):
        open_dataset("pairs", tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"no dataset format 'cvsua'. Known: .*pairs"):
        open_dataset("cvsua", tmp_path)
    with pytest.raises(DatasetError, match="has no option 'zoom'"):
        open_dataset("pairs", tmp_path, zoom=3)


def test_missing_and_damaged_pictures_are_named(tmp_path):
    picture(tmp_path / "q.png", 1)
    (tmp_path / "half.png").write_bytes((tmp_path / "q.png").read_bytes()[:60])
    (tmp_path / "pairs.csv").write_text("query,reference\nq.png,gone.png\nlost.png,half.png\n")
    data = open_dataset("pairs", tmp_path)
    with pytest.raises(DatasetError, match=r"gone\.png: this picture of the dataset is missing"):
        data.read_reference(0)
    with pytest.raises(DatasetError, match=r"lost\.png: this picture of the dataset is missing"):
        data.read_query(1)
    with pytest.raises(DatasetError, match=r"half\.png: cannot be read as a picture"):
        data.read_reference(1)


def test_real_pairs(tmp_path, realdata):
    source = realdata / "helsinki_pairs"
    lines = (source / "truth.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    (tmp_path / "data").symlink_to(source)
    (tmp_path / "pairs.csv").write_text(
        HELSINKI_HEAD
        + "".join(
            f"data/{r[0]}/{r[0]}.jpg,data/{r[0]}/{r[0]}_sat.jpg,{r[5]},{r[6]},{r[4]}\n"
            for r in rows
        )
    )
    data = open_dataset("pairs", tmp_path)
    assert len(data.pairs()) == 6 and data.queries.located
    assert data.queries.heading_deg[0] == pytest.approx(62.51)
    pixels, view = data.read_query(3)
    assert pixels.shape[1] == 1024 and view.kind == "perspective"
    assert data.read_reference(3).shape == (500, 500, 3)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    town = make_town(tmp_path_factory.mktemp("flat"))
    write_dataset(town, panoramas=4, photos=3)
    return town


def test_a_world(town):
    data = open_dataset("world", town.folder, extents_m=40.0, tile_pixels=32)
    assert len(data.queries) == len(data.references) == 4
    assert data.pairs().tolist() == [[i, i] for i in range(4)]
    pixels, view = data.read_query(0)
    assert view.full_turn and pixels.shape == (320, 640, 3)
    lat, lon = data.queries.lat[2], data.queries.lon[2]
    from engine.imagery import open_imagery

    with open_imagery(town.folder / "imagery.tif") as imagery:
        expected = imagery.cut(lat, lon, 40.0, 32)[0]
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.read_reference(2), expected)
    assert np.array_equal(data.read_reference(2), expected)
    both = open_dataset("world", town.folder, which="all", extents_m=(20.0, 40.0), tile_pixels=32)
    assert len(both.queries) == 7
    assert both.read_reference(2).shape == (2, 32, 32, 3)
    assert np.array_equal(both.read_reference(2)[1], expected)
    with pytest.raises(
        DatasetError, match=r"holds no photos of the split 'train'. Its splits: test"
    ):
        open_dataset("world", town.folder, split="train", which="photos")


def test_a_world_on_a_grid(town):
    data = open_dataset("world", town.folder, extents_m=40.0, stride_m=8.0)
    assert len(data.references) > 400
    for i, found in enumerate(data.positives):
        lat, lon = data.references.lat[found], data.references.lon[found]
        from engine.geo import distance_m

        away = distance_m(data.queries.lat[i], data.queries.lon[i], lat, lon)
        assert away[0] == away.min() and away[0] <= 8 * 0.71 and len(found) >= 4
        assert away.max() <= 10 * 2**0.5 + 1e-6
