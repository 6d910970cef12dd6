"""Reading world datasets, and naming what is wrong with them."""

from __future__ import annotations

import pytest

from engine.datasets import read_world
from engine.errors import DatasetError

HEAD = "file,lat,lon,heading_deg,fov_deg,split\n"
ROWS = (
    "panoramas/0.jpg,-48.87,-123.39,370.5,360.000,test\nphotos/0.jpg,-48.87,-123.39,10,92.5,train\n"
)


def test_rows(tmp_path):
    (tmp_path / "queries.csv").write_text(HEAD + ROWS)
    world = read_world(tmp_path)
    assert [truth.is_panorama for truth in world.truths] == [True, False]
    assert world.truths[0].heading_deg == pytest.approx(10.5)
    assert world.truths[0].file == tmp_path / "panoramas" / "0.jpg"
    assert len(world.queries(360)) == len(world.queries(90)) == 1
    assert world.queries(90, split="test") == []
    assert world.name == tmp_path.name


def test_a_table_saved_by_a_spreadsheet(tmp_path):
    (tmp_path / "queries.csv").write_bytes(b"\xef\xbb\xbf" + (HEAD + ROWS).encode())
    assert len(read_world(tmp_path).truths) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no queries.csv"),
        ("file,lat\n", "has no column lon"),
        ("", "has no column file"),
        (HEAD + "a.jpg,91,0,0,360,test\n", "line 2: lat"),
        (HEAD + "a.jpg,north,0,0,360,test\n", "line 2: lat 'north'"),
        (HEAD + ROWS + "a.jpg,0,0,0,0,test\n", "line 4: fov_deg"),
        (HEAD + "../../etc/passwd,0,0,0,90,test\n", "line 2"),
        (HEAD + "/etc/passwd,0,0,0,90,test\n", "line 2"),
        (HEAD + "a.jpg,0\n", "line 2: lon"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / "queries.csv").write_text(content)
    with pytest.raises(DatasetError) as caught:
        read_world(tmp_path)
    assert words in str(caught.value)
    assert caught.value.remedy


def test_a_table_that_is_no_text(tmp_path):
    (tmp_path / "queries.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_world(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(DatasetError, match="no such dataset"):
        read_world(tmp_path / "missing")
