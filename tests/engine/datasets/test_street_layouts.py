"""The benchmark's layout, SF-XL and GSV-Cities; positives by distance and by place."""

from __future__ import annotations

import numpy as np
import pytest

from engine.datasets import check_pictures, open_dataset
from engine.datasets.nearby import positives_within
from engine.datasets.places import positives_of_places
from engine.errors import DatasetError
from tests.engine.datasets.pictures import picture


def named(east: float, north: float, rest: str = "@@@@@@@@@@@") -> str:
    return f"@{east:010.2f}@{north:010.2f}{rest}@.jpg"


SAN_FRANCISCO = "@10@S@037.74472@-122.50057@NY0VsOD8@03@270@@@@201708@"


@pytest.mark.parametrize("root", ["images/test", "test", ""])
def test_the_benchmarks_layout(tmp_path, root):
    base = tmp_path / root
    picture(base / "database" / named(544_000.32, 4_177_609.18, SAN_FRANCISCO), 0)
    picture(base / "database/deeper" / named(544_020, 4_177_609.18), 1)
    picture(base / "database" / named(544_100, 4_177_609.18), 2)
    picture(base / "queries" / named(544_001, 4_177_609.18), 3)
    picture(base / "queries" / named(549_000, 4_177_609.18), 4)
    data = open_dataset("vg", tmp_path)
    check_pictures(data)
    assert len(data.references) == 3 and data.rule == "vg"
    near, far = data.positives
    assert [data.references.files[i].name[:11] for i in near] == ["@0544000.32", "@0544020.00"]
    assert far.size == 0
    assert data.pairs().tolist() == [[0, int(near[0])]]
    first = int(near[0])
    assert data.references.heading_deg[first] == 270
    assert data.references.lat[first] == pytest.approx(37.74472)
    assert np.isnan(data.references.heading_deg).sum() == 2
    assert len(open_dataset("vg", tmp_path, radius_m=10).positives[0]) == 1


def test_photos_without_places(realdata):
    with pytest.raises(DatasetError) as caught:
        open_dataset("vg", realdata / "street_toy")
    assert "expected @UTM_EAST@UTM_NORTH@...@.jpg" in str(caught.value)
    assert "db1.jpg" in str(caught.value)


def test_a_split_that_is_not_there(tmp_path):
    picture(tmp_path / "images/train/database/x.jpg", 1)
    with pytest.raises(DatasetError) as caught:
        open_dataset("vg", tmp_path, split="val")
    message = str(caught.value)
    assert (
        "database/ and queries/ of the split 'val' are missing" in message
        and "holds images/" in message
    )


def test_sfxl(tmp_path):
    for i in range(3):
        picture(tmp_path / "train/a" / named(500_000 + i, 4e6, SAN_FRANCISCO), i)
    picture(tmp_path / "test/database" / named(500_000, 4e6), 1)
    picture(tmp_path / "test/queries_v1" / named(500_000, 4e6), 1)
    picture(tmp_path / "test/queries_v2" / named(500_030, 4e6), 1)
    train = open_dataset("sfxl", tmp_path, split="train")
    assert len(train.queries) == 3 and len(train.pairs()) == 0
    assert train.queries.utm is not None and (train.queries.heading_deg == 270).all()
    assert len(open_dataset("sfxl", tmp_path).positives[0]) == 1
    assert len(open_dataset("sfxl", tmp_path, queries="queries_v2").positives[0]) == 0
    assert open_dataset("sfxl", tmp_path).format == "sfxl"


def write_gsv(folder, city="Boston", places=(3, 5), photos=4):
    (folder / "Dataframes").mkdir(exist_ok=True)
    lines = ["place_id,year,month,northdeg,city_id,lat,lon,panoid"]
    for place in places:
        for i in range(photos if place != 5 else 5):
            lines.append(
                f"{place},{2008 + i},{i + 1},{i * 9},{city},42.3{i},-71.0{i}5,pano{place}{i}"
            )
    lines.append(f"9,2010,1,0,{city},42.0,-71.0,lonely")
    (folder / "Dataframes" / f"{city}.csv").write_text("\n".join(lines) + "\n")


def test_gsv_cities(tmp_path):
    write_gsv(tmp_path)
    write_gsv(tmp_path, "Osaka", places=(3,))
    data = open_dataset("gsv-cities", tmp_path)
    assert len(data.queries) == 9 + 4
    assert data.queries.files[2] == (
        tmp_path / "Images/Boston/Boston_0000003_2010_03_018_42.32_-71.025_pano32.jpg"
    )
    assert data.queries.labels[0] == "Boston/0000003" and data.queries.labels[-1] == "Osaka/0000003"
    assert data.positives[1].tolist() == [0, 2, 3]
    assert data.positives[9].tolist() == [10, 11, 12]
    assert len(open_dataset("gsv-cities", tmp_path, cities="Osaka").queries) == 4
    assert len(open_dataset("gsv-cities", tmp_path, least_photos=5).queries) == 5
    with pytest.raises(
        DatasetError, match=r"Paris\.csv is missing; there is Boston\.csv, Osaka\.csv"
    ):
        open_dataset("gsv-cities", tmp_path, cities=("Paris",))
    with pytest.raises(DatasetError, match="no place with 50 photos"):
        open_dataset("gsv-cities", tmp_path, least_photos=50)


def test_gsv_cities_with_wrong_tables(tmp_path):
    with pytest.raises(DatasetError, match="Dataframes/ is missing"):
        open_dataset("gsv-cities", tmp_path)
    write_gsv(tmp_path)
    table = tmp_path / "Dataframes/Boston.csv"
    table.write_text(table.read_text().replace("42.30", "north"))
    with pytest.raises(DatasetError, match=r"line 2: a value is wrong .*'north'"):
        open_dataset("gsv-cities", tmp_path)
    table.write_text("a,b\n")
    with pytest.raises(DatasetError, match=r"has no column place_id, year"):
        open_dataset("gsv-cities", tmp_path)


def test_positives_within_are_those_of_the_plain_definition():
    rng = np.random.default_rng(0)
    references, queries = rng.uniform(0, 300, (500, 2)), rng.uniform(0, 300, (60, 2))
    references[0] = queries[0] + [15.0, 20.0]  # 25 m exactly
    found = positives_within(references, queries, 25.0)
    for query, indices in zip(queries, found, strict=True):
        away = np.hypot(*(references - query).T)
        expected = np.flatnonzero(((references - query) ** 2).sum(1) <= 625.0)
        assert set(indices) == set(expected)
        assert (np.diff(away[indices]) >= 0).all()
    assert len(positives_within(references, queries[:0], 25.0)) == 0


def test_the_radius_counts_as_the_benchmark_does(golden):
    arrays = np.load(golden / "metrics/inputs_and_arrays.npz")
    found = positives_within(arrays["vg_db_utm"], arrays["vg_q_utm"], 25.0)
    assert [len(p) for p in found] == arrays["vg_npos"].tolist()
    official = np.split(arrays["vg_pos_flat"], np.cumsum(arrays["vg_npos"])[:-1])
    for ours, theirs in zip(found, official, strict=True):
        assert set(ours.tolist()) == set(theirs.tolist())


def test_positives_of_places():
    found = positives_of_places(["b", "a", "z"], ["a", "b", "a", "c"])
    assert [p.tolist() for p in found] == [[1], [0, 2], []]
    assert len(found) == 3 and found[0:2][1].tolist() == [0, 2]
    same = positives_of_places(["x", "y", "x"], ["x", "y", "x"], same=True)
    assert [p.tolist() for p in same] == [[2], [], [0]]
