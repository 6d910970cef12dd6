"""Going on with a build by its folder alone, as the hint says."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from engine.cli import main
from engine.errors import Cancelled, IndexFolderError
from engine.imagery import open_imagery
from engine.index import Index, build_index, job, merge_shards, read_area
from engine.index.begun import ASKED_FILE, asked_for, keep_asked, read_asked, resume_command
from engine.index.job import Settings
from engine.index.store import BUILDING
from tests.engine.index.places import LAT, LON, ProjectionEncoder, contents, write_place
from tests.linear_encoder import save_linear_encoder

AREA = {
    "type": "Polygon",
    "coordinates": [
        [[LON - 0.002, LAT - 0.002], [LON + 0.0004, LAT - 0.002], [LON + 0.0005, LAT + 0.002]]
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun here")
    save_linear_encoder(folder / "linear.encoder")
    write_place(folder / "place.tif")
    (folder / "area.geojson").write_text(json.dumps(AREA))
    return folder


def _options(folder: Path) -> list[str]:
    given = ["--imagery", folder / "place.tif", "--encoder", folder / "linear.encoder", "--cpu"]
    chosen = ["--stride-m", 8.5, "--extent-m", "40,50", "--area", folder / "area.geojson"]
    whose = ["--attribution", "A. Surveyor", "--layout", "exact", "--threads", 1]
    return [str(v) for v in (*given, *chosen, *whose)]


def _begin(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Begin a build that is stopped in the middle."""
    from engine.index import build, shards

    def stopped(*_: object, **__: object) -> None:
        raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr(build, "encode_range", stopped)
        patch.setattr(shards, "encode_range", stopped)
        assert main(["index", "build", *arguments]) == 130


def _hint(out: Path) -> list[str]:
    with pytest.raises(IndexFolderError, match="not finished") as told:
        Index.open(out)
    line = told.value.remedy.removeprefix("Continue with: nadir ")
    return shlex.split(line) if sys.platform != "win32" else line.replace('"', "").split()


def test_the_hint_as_it_is_printed_goes_on(folder: Path, tmp_path: Path, monkeypatch) -> None:
    whole = tmp_path / "whole" / "a.index"
    assert main(["index", "build", str(whole), *_options(folder)]) == 0
    out = tmp_path / "a folder" / "a.index"
    _begin(monkeypatch, [str(out), *_options(folder), "--no-copy"])
    hint = _hint(out)
    assert hint == ["index", "build", str(out), "--resume"]
    assert main([*hint, "--cpu", "--threads", "1"]) == 0
    with Index.open(out) as index:
        manifest = index.manifest
        assert (manifest.extents_m, manifest.stride_m, manifest.layout) == ((40, 50), 8.5, "exact")
        assert manifest.attribution == "A. Surveyor" and manifest.imagery[0].file is None
        assert read_area(folder / "area.geojson").contains(*index.centres).all()
    copied = tmp_path / "copied" / "a.index"
    _begin(monkeypatch, [str(copied), *_options(folder)])
    assert main([*_hint(copied), "--cpu", "--threads", "1"]) == 0
    assert contents(copied) == contents(whole)


def test_what_is_given_besides_and_differs_is_told_with_both(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    out = tmp_path / "a.index"
    _begin(monkeypatch, [str(out), *_options(folder)])
    other = {"type": "Polygon", "coordinates": [[[0, 0], [-179, 0], [-179, -80], [0, -80]]]}
    (tmp_path / "other.geojson").write_text(json.dumps(other))
    write_place(tmp_path / "other.tif", seed=3)
    for option, value, told in (
        ("--stride-m", "8", "another stride (8.5, not 8)"),
        ("--extent-m", "45", "45"),
        ("--extent-m", "40,60", "(40 and 50 m, not 40 and 60 m)"),
        ("--layout", "sq8", "another layout (exact, not sq8)"),
        ("--attribution", "B", "another attribution (A. Surveyor, not B)"),
        ("--imagery", tmp_path / "other.tif", "another imagery (place, not other)"),
        ("--area", tmp_path / "other.geojson", "another area"),
        ("--no-copy", None, "copy of the imagery (with, not without)"),
        ("--shard", "1/2", "whole index was begun here"),
    ):
        more = [option] if value is None else [option, str(value)]
        assert main(["index", "build", str(out), "--resume", "--cpu", *more]) == 1
        assert told in capsys.readouterr().err, option


def test_a_share_goes_on_as_that_share(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(job, "_CHUNK_BYTES", 1 << 18)
    shares = [tmp_path / f"{number}.index" for number in (1, 2)]
    for number, share in enumerate(shares, 1):
        _begin(monkeypatch, [str(share), *_options(folder), "--shard", f"{number}/2"])
        assert main(["index", "build", str(share), "--resume", "--shard", "1/3"]) == 1
        assert f"share {number}/2 was begun here, not 1/3" in capsys.readouterr().err
    for share in shares:
        assert main(["index", "build", str(share), "--resume", "--cpu", "--threads", "1"]) == 0
    merge_shards(tmp_path / "a.index", shares).close()


def test_without_imagery_there_must_be_something_begun(
    folder: Path, tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["index", "build", str(tmp_path / "a.index")])
    assert ended.value.code == 2 and "required: --imagery" in capsys.readouterr().err
    assert main(["index", "build", str(tmp_path / "a.index"), "--resume"]) == 1
    assert "no build was begun here" in capsys.readouterr().err
    assert not (tmp_path / "a.index").exists()
    done = tmp_path / "done.index"
    assert main(["index", "build", str(done), *_options(folder)]) == 0
    capsys.readouterr()
    assert main(["index", "build", str(done), "--resume"]) == 0
    assert "done.index: finished already" in capsys.readouterr().out
    (tmp_path / "old.index" / BUILDING).mkdir(parents=True)
    assert main(["index", "build", str(tmp_path / "old.index"), "--resume"]) == 1
    assert "does not say from what. Give --imagery" in capsys.readouterr().err


def test_a_build_that_a_program_began_goes_on_too(tmp_path: Path) -> None:
    """Imagery is known by its path; the area comes back to the last place."""
    path = write_place(tmp_path / "place.tif")
    area = read_area(_written(tmp_path / "area.geojson"))
    with open_imagery(path) as source, pytest.raises(Cancelled):
        build_index(tmp_path / "a.index", source, ProjectionEncoder(), area=area, report=_stop)
    asked = read_asked(tmp_path / "a.index")
    assert asked.imagery == str(path) and asked.encoder == ""
    again = asked.polygons()
    assert again is not None
    assert job._area_hash(again) == job._area_hash(area)


def test_hosts_are_told_and_never_taken_from_the_folder(tmp_path: Path, capsys) -> None:
    """A folder may come from anybody: it must not make the program ask a server."""
    from dataclasses import replace

    work = tmp_path / "a.index" / BUILDING
    work.mkdir(parents=True)
    address = "https://tiles.example.invalid/{z}/{x}/{y}.png"
    asked = asked_for(None, None, Settings(area=read_area(_written(tmp_path / "area.geojson"))))
    keep_asked(work, replace(asked, imagery=address, zoom=18, allow=("tiles.example.invalid",)))
    assert resume_command(tmp_path / "a.index").endswith(" --resume --allow tiles.example.invalid")
    assert main(["index", "build", str(tmp_path / "a.index"), "--resume", "--cpu"]) == 1
    assert "--allow tiles.example.invalid" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"imagery": 3}, {"area": "{"}, {"extents_m": "x"}, {"zoom": -1}, {"allow": [1]}]
)
def test_what_makes_no_sense_is_not_believed(tmp_path: Path, change: dict) -> None:
    work = tmp_path / "a.index" / BUILDING
    work.mkdir(parents=True)
    keep_asked(work, asked_for(None, None, Settings()))
    raw = json.loads((work / ASKED_FILE).read_bytes()) | change
    (work / ASKED_FILE).write_text(json.dumps(raw))
    with pytest.raises(IndexFolderError, match="does not say from what"):
        read_asked(tmp_path / "a.index")


def _written(path: Path) -> Path:
    path.write_text(json.dumps(AREA))
    return path


def _stop(done: int, total: int, text: str) -> None:
    if text.startswith("Encoding"):
        raise Cancelled
