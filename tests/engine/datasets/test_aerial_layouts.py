"""CVUSA, CVACT, VIGOR and University-1652: real lists, small copies on disk, and how wrong copies are explained."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from engine.datasets import check_pictures, open_dataset, without_missing
from engine.datasets.vigor import place_from_offset
from engine.errors import DatasetError
from engine.geo import distance_m
from tests.engine.datasets.pictures import picture

scipy_io = pytest.importorskip("scipy.io", reason="the oracle of the MAT reader is SciPy's writer")


# ---------------------------------------------------------------- CVUSA


def test_cvusa_on_real_lists(realdata):
    folder = realdata / "cvusa_splits"
    val = open_dataset("cvusa", folder)
    train = open_dataset("cvusa", folder, split="train")
    assert (len(val.queries), len(train.queries)) == (2215, 6647)
    assert val.split == "val" and val.rule == "safa"
    assert val.references.files[0] == folder / "bingmap/input0003932.png"
    assert val.queries.files[0] == folder / "streetview/input0003932.png"
    assert val.pairs()[7].tolist() == [7, 7]
    assert not set(val.references.files) & set(train.references.files)
    with pytest.raises(DatasetError) as caught:
        check_pictures(val)
    assert "4,430 of its 4,430 pictures are missing" in str(caught.value)
    assert "input0003932.png" in str(caught.value)


@pytest.fixture
def cvusa(tmp_path):
    for i in range(4):
        picture(tmp_path / f"bingmap/19/{i:07d}.jpg", i, (40, 40))
        picture(tmp_path / f"streetview/panos/{i:07d}.jpg", 10 + i, (88, 16))
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/val-19zl.csv").write_text(
        "".join(
            f"bingmap/19/{i:07d}.jpg,streetview/panos/{i:07d}.jpg,streetview/annotations/{i:07d}.png\n"
            for i in range(4)
        )
    )
    return tmp_path


def test_cvusa(cvusa):
    data = open_dataset("cvusa", cvusa)
    check_pictures(data)
    pixels, view = data.read_query(2)
    assert pixels.shape == (16, 88, 3) and view.full_turn
    assert view.top_deg == -view.bottom_deg == pytest.approx(32.727, abs=1e-3)
    assert data.read_reference(2).shape == (40, 40, 3)
    assert np.isnan(data.queries.lat).all() and (data.queries.heading_deg == 0).all()


def test_cvusa_without_some_pictures(cvusa):
    (cvusa / "bingmap/19/0000001.jpg").unlink()
    (cvusa / "streetview/panos/0000003.jpg").unlink()
    data = open_dataset("cvusa", cvusa)
    with pytest.raises(DatasetError, match=r"2 of its 8 pictures are missing: .*0000003\.jpg"):
        check_pictures(data)
    with pytest.raises(DatasetError, match=r"0000001\.jpg: this picture of the dataset is missing"):
        data.read_reference(1)
    fewer = pickle.loads(pickle.dumps(without_missing(data)))
    assert [p.name for p in fewer.queries.files] == ["0000000.jpg", "0000002.jpg"]
    assert [p.name for p in fewer.references.files] == ["0000000.jpg", "0000002.jpg", "0000003.jpg"]
    assert fewer.pairs().tolist() == [[0, 0], [1, 1]]
    assert np.array_equal(fewer.read_query(1)[0], data.read_query(2)[0])
    assert "2 pictures are missing; 2 queries were left out" in fewer.notes[-1]
    assert without_missing(fewer) is fewer


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bingmap/19/1.jpg\n", "line 1: expected tile,panorama"),
        ("bingmap/19/1.jpg,streetview/1.jpg\na,b\n", "line 2: expected tile,panorama"),
        ("../x.jpg,streetview/1.jpg\n", "line 1"),
        ("", "the list is empty"),
    ],
)
def test_cvusa_with_a_wrong_list(tmp_path, line, words):
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/val-19zl.csv").write_text(line)
    with pytest.raises(DatasetError, match=words):
        open_dataset("cvusa", tmp_path)


def test_cvusa_that_is_something_else(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError) as caught:
        open_dataset("cvusa", tmp_path)
    assert "val-19zl.csv" in str(caught.value) and "holds images/" in str(caught.value)
    with pytest.raises(DatasetError, match=r"no split 'test'\. Known: train, val"):
        open_dataset("cvusa", tmp_path, split="test")


# ---------------------------------------------------------------- CVACT


def write_act(folder, count=7, small=(0, 1, 2, 3), val=(4, 5), test=(4, 5, 6, 0), **changed):
    ids = np.array([f"pano_{i:02d}_x{'y' * (i % 3)}" for i in range(count)])
    utm = np.array([[692_000.0 + 3 * i, 6_090_000.0] for i in range(count)])
    content = {
        "panoIds": ids,
        "utm": utm,
        "trainSet": {"trainNum": 4.0, "trainInd": np.array(small)[:, None] + 1.0},
        "valSet": {"valNum": 2.0, "valInd": np.array(val)[:, None] + 1.0},
        "valSetAll": {"valNum": 4.0, "valInd": np.array(test, np.uint8)[:, None] + 1},
    } | changed
    scipy_io.savemat(folder / "ACT_data.mat", content, do_compression=True)
    return [str(i) for i in ids]


def test_cvact(tmp_path):
    ids = write_act(tmp_path)
    for i in (4, 5):
        small = tmp_path / "ANU_data_small"
        picture(small / f"streetview/{ids[i]}_grdView.jpg", i, (64, 32))
        picture(small / f"satview_polish/{ids[i]}_satView_polish.jpg", i, (50, 50))
    val = open_dataset("cvact", tmp_path)
    check_pictures(val)
    assert val.queries.labels == (ids[4], ids[5]) and val.pairs().tolist() == [[0, 0], [1, 1]]
    pixels, view = val.read_query(1)
    assert pixels.shape == (32, 64, 3) and (view.top_deg, view.bottom_deg) == (90, -90)
    assert val.references.extent_m[0] == pytest.approx(146.3, abs=0.2)
    assert val.queries.utm is not None and val.queries.utm[1, 0] == 692_015
    train = open_dataset("cvact", tmp_path, split="train")
    assert train.queries.labels == tuple(ids[:4])
    test = open_dataset("cvact", tmp_path, split="test")
    assert test.queries.files[0].parent == tmp_path / "ANU_data_test/streetview"
    # Neighbours stand 3 m apart: within 5 m there are two, the true one first.
    assert [p.tolist() for p in test.positives] == [[0, 1], [1, 0, 2], [2, 1], [3]]
    assert test.radius_m == 5 and (test.rule, val.rule) == ("cvact", "safa")


def test_cvact_with_wrong_lists(tmp_path):
    with pytest.raises(DatasetError, match=r"ACT_data\.mat"):
        open_dataset("cvact", tmp_path)
    write_act(tmp_path, val=(4, 99))
    with pytest.raises(DatasetError, match=r"valSet\.valInd names pair 100 of 7"):
        open_dataset("cvact", tmp_path)
    write_act(tmp_path, utm=np.zeros((3, 2)))
    with pytest.raises(DatasetError, match=r"holds no utm, 7 by 2 metres; it holds panoIds"):
        open_dataset("cvact", tmp_path)
    write_act(tmp_path, panoIds=np.array(["../../x"] * 7))
    with pytest.raises(DatasetError, match="no plain name"):
        open_dataset("cvact", tmp_path)
    scipy_io.savemat(tmp_path / "ACT_data.mat", {"other": np.zeros(3)})
    with pytest.raises(DatasetError, match=r"holds no panoIds.*it holds other"):
        open_dataset("cvact", tmp_path)


# ---------------------------------------------------------------- VIGOR


def test_vigor_on_real_lists(realdata):
    folder = realdata / "vigor_labels"
    data = open_dataset("vigor", folder, cities=("Seattle", "Chicago"))
    assert len(data.queries) == 24_614
    assert len(data.references) == 43_084
    assert "not the papers' protocol" in data.notes[0]
    true = data.true_references
    references, queries = data.references, data.queries
    # The true tile holds the panorama in its middle quarter, and the offsets say where: to the pixel's rounding.
    assert data.offsets_px is not None
    assert np.abs(data.offsets_px[:, 0]).max() <= 640 / 4 * 1.15
    lat, lon = place_from_offset(references.lat[true], references.lon[true], data.offsets_px[:, 0])
    error = distance_m(lat, lon, queries.lat, queries.lon)
    assert np.median(error) < 0.2 and error.max() < 0.5
    semi = np.stack(list(data.semi_positives))
    away = distance_m(
        references.lat[semi], references.lon[semi], queries.lat[:, None], queries.lon[:, None]
    )
    assert (
        away
        > distance_m(references.lat[true], references.lon[true], queries.lat, queries.lon)[:, None]
    ).mean() > 0.99
    assert references.extent_m[[0, -1]] == pytest.approx([64.5, 71.1], abs=0.1)


def test_vigor_without_a_town(realdata):
    with pytest.raises(DatasetError) as caught:
        open_dataset("vigor", realdata / "vigor_labels")
    message = str(caught.value)
    assert "labels of NewYork are missing" in message and "splits__corrected/NewYork/" in message
    assert "Chicago/, Seattle/" in message and "cities" in message
    with pytest.raises(DatasetError, match=r"splits/Seattle/pano_label_balanced\.txt"):
        open_dataset(
            "vigor", realdata / "vigor_labels", area="cross", split="train", cities="Seattle"
        )


TILES = [f"satellite_40.{i}_-74.{i}.png" for i in range(6)]


def vigor_line(name: str, first: int) -> str:
    tiles = [TILES[(first + j) % 6] for j in range(4)]
    return name + "".join(f" {t} {10.0 * j} {-5.0 * j}" for j, t in enumerate(tiles)) + "\n"


def write_vigor(folder, root="splits", suffix="", names=("a,40.0,-74.0,.jpg", "b,40.1,-74.1,.jpg")):
    for town in ("NewYork", "Seattle"):
        lists = folder / root / town
        lists.mkdir(parents=True, exist_ok=True)
        (lists / "satellite_list.txt").write_text("\n".join(TILES) + "\n")
        (lists / f"pano_label_balanced{suffix}.txt").write_text(
            "".join(vigor_line(name, i) for i, name in enumerate(names))
        )


def test_vigor_layouts(tmp_path):
    write_vigor(tmp_path, names=("old,40.0,-74.0,.jpg",))
    write_vigor(tmp_path, "splits__corrected", "__corrected")
    for i, name in enumerate(TILES):
        picture(tmp_path / "NewYork/satellite" / name, i, (64, 64))
        picture(tmp_path / "satellite/Seattle" / name, i + 10, (64, 64))
    for i, name in enumerate(("a,40.0,-74.0,.jpg", "b,40.1,-74.1,.jpg")):
        picture(tmp_path / "NewYork/panorama" / name, 20 + i, (64, 32))
        picture(tmp_path / "ground/Seattle" / name, 30 + i, (64, 32))
    data = open_dataset("vigor", tmp_path, area="cross", split="train")
    check_pictures(data)
    assert len(data.queries) == 4 and len(data.references) == 12
    assert data.pairs().tolist() == [[0, 0], [1, 1], [2, 6], [3, 7]]
    assert data.semi_positives[3].tolist() == [8, 9, 10]
    assert data.offsets_px is not None and data.offsets_px[0, 1].tolist() == [10, -5]
    assert data.read_query(2)[1].full_turn
    old = open_dataset("vigor", tmp_path, area="cross", split="train", labels="original")
    assert len(old.queries) == 2 and old.queries.files[0].name == "old,40.0,-74.0,.jpg"
    (tmp_path / "ground/Seattle/a,40.0,-74.0,.jpg").unlink()
    fewer = without_missing(data)
    assert fewer.pairs().tolist() == [[0, 0], [1, 1], [2, 7]]
    assert fewer.semi_positives[2].tolist() == [8, 9, 10] and fewer.offsets_px is not None
    assert fewer.offsets_px.shape == (3, 4, 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,40.0,-74.0,.jpg satellite_40.0_-74.0.png 1 2\n", "line 3: .*found 4 words"),
        (vigor_line("a_40.0.jpg", 0), "line 3: expected ID,LAT,LON,.jpg"),
        (vigor_line("a,95.0,-74.0,.jpg", 0), "line 3: expected ID,LAT,LON,.jpg"),
        (
            vigor_line("a,40.0,-74.0,.jpg", 0).replace("40.2", "40.9"),
            "line 3: the tile .* is not in satellite_list",
        ),
        (
            vigor_line("a,40.0,-74.0,.jpg", 0).replace("10.0", "east"),
            "line 3: an offset is no number",
        ),
    ],
)
def test_vigor_with_a_wrong_line(tmp_path, line, words):
    write_vigor(tmp_path)
    with open(tmp_path / "splits/NewYork/pano_label_balanced.txt", "a") as file:
        file.write(line)
    with pytest.raises(DatasetError, match=words):
        open_dataset("vigor", tmp_path, area="cross", split="train")


def test_vigor_with_a_wrong_tile_list(tmp_path):
    write_vigor(tmp_path)
    (tmp_path / "splits/NewYork/satellite_list.txt").write_text("tile.png\n")
    with pytest.raises(
        DatasetError, match=r"line 1: expected satellite_LAT_LON\.png, found 'tile.png'"
    ):
        open_dataset("vigor", tmp_path, area="cross", split="train")
    (tmp_path / "splits/NewYork/satellite_list.txt").unlink()
    with pytest.raises(DatasetError, match="list of the tiles of NewYork is missing"):
        open_dataset("vigor", tmp_path, area="cross", split="train")


# ---------------------------------------------------------------- University-1652


def test_university(tmp_path):
    for name, buildings, each in (("query_drone", (1, 2), 3), ("gallery_satellite", (1, 2, 7), 1)):
        for building in buildings:
            for i in range(each):
                picture(tmp_path / f"test/{name}/{building:04d}/image-{i:02d}.jpeg", i, (32, 32))
    data = open_dataset("university", tmp_path)
    assert data.queries.labels == ("0001",) * 3 + ("0002",) * 3 and len(data.references) == 3
    assert [p.tolist() for p in data.positives] == [[0]] * 3 + [[1]] * 3
    assert data.read_query(0)[1].kind == "perspective" and data.rule == "university"
    with pytest.raises(
        DatasetError, match=r"query_satellite/ is missing.*holds gallery_satellite/, query_drone/"
    ):
        open_dataset("university", tmp_path, task="satellite-drone")
    with pytest.raises(DatasetError, match="'task' cannot be 'plane-boat'"):
        open_dataset("university", tmp_path, task="plane-boat")
    with pytest.raises(DatasetError, match="train/ is missing"):
        open_dataset("university", tmp_path, split="train")
    picture(tmp_path / "test/query_satellite/loose.jpg", 1)
    picture(tmp_path / "test/gallery_drone/0001/x.jpg", 1)
    with pytest.raises(DatasetError, match=r"holds no BUILDING/\*\.jpg; it holds loose\.jpg"):
        open_dataset("university", tmp_path, task="satellite-drone")
