"""``nadir index build``, ``add`` and ``merge`` as a person and as another program use them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine import geo
from engine.cli import main
from engine.encoder import open_encoder
from engine.errors import IndexFolderError
from engine.imagery import open_imagery
from engine.imagery.geotiff import write_orthophoto
from engine.index import Index, build_index, read_manifest, verify_index
from engine.index.encoding import duration
from engine.index.estimate import estimate_build
from engine.index.job import Settings
from tests.engine.index.places import LAT, LON, contents, write_place
from tests.linear_encoder import save_linear_encoder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    save_linear_encoder(folder / "linear.encoder")
    write_place(folder / "place.tif")
    rng = np.random.default_rng(7)
    pixels = np.kron(rng.integers(0, 256, (40, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    lat, lon = geo.LocalFrame(LAT, LON).to_wgs84(120.0, 0.0)
    write_orthophoto(folder / "more.tif", pixels, lat, lon, 0.5, "Another survey", "CC-BY")
    return folder


def _arguments(folder: Path, verb: str, out: Path, *more: object, imagery: str = "place.tif"):
    given = ["--imagery", folder / imagery, "--encoder", folder / "linear.encoder", "--cpu"]
    return [str(v) for v in ("index", verb, out, *given, "--threads", 1, *more)]


def _events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_program_is_told_in_lines_of_json(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "a.index"
    assert main(_arguments(folder, "build", out, "--stride-m", 16, "--events", "--resume")) == 0
    events = _events(capsys.readouterr().out)
    assert events[-1]["event"] == "done"
    (plan,) = (event for event in events if event["event"] == "plan")
    assert plan["tiles"] == 121
    size = sum(path.stat().st_size for path in out.iterdir())
    assert 0.3 * size < plan["bytes"] < 3 * size
    progress = [event for event in events if event["event"] == "progress"]
    assert {"done", "total", "text", "seconds_left", "waiting"} <= progress[0].keys()
    assert events[-1]["index"] == str(out)
    assert events[-1]["tiles"] == 121
    # Asked for again, it is there.
    assert main(_arguments(folder, "build", out, "--stride-m", 16, "--events", "--resume")) == 0
    assert _events(capsys.readouterr().out)[-1]["event"] == "done"
    assert main(_arguments(folder, "build", out, "--stride-m", 20, "--events", "--resume")) == 1
    told = capsys.readouterr()
    error = _events(told.out)[-1]
    assert error["event"] == "error"
    assert error["problem"] == "there is an index here already"
    assert error["remedy"]
    assert error["path"] == str(out)
    assert "nadir: a.index: there is an index here already" in told.err


def test_a_signal_stops_it_cleanly_and_it_goes_on(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "a.index"
    command = _arguments(folder, "build", out, "--stride-m", 4, "--events", "--resume")
    running = subprocess.Popen(
        [sys.executable, "-m", "engine", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and "Encoding" in event["text"] and event["done"] > 60:
            break
    os.kill(running.pid, signal.SIGTERM)
    begin = time.monotonic()
    rest, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert time.monotonic() - begin < 30
    assert _events(rest)[-1] == {"event": "cancelled"}
    with pytest.raises(IndexFolderError, match="not finished"):
        Index.open(out)
    assert list((out / "building" / "parts").iterdir())
    assert main(command) == 0
    assert _events(capsys.readouterr().out)[-1]["tiles"] == 41 * 41
    assert verify_index(out) == []


def test_shares_merging_and_adding(folder: Path, tmp_path: Path, capsys) -> None:
    more = ("--stride-m", 16, "--extent-m", "20,30", "--extent-m", 40)
    whole = tmp_path / "whole" / "a.index"
    assert main(_arguments(folder, "build", whole, *more)) == 0
    assert "the encoder waited" in capsys.readouterr().out
    shares = [tmp_path / f"{number}.share" for number in (1, 2)]
    for number, share in enumerate(shares, 1):
        assert main(_arguments(folder, "build", share, *more, "--shard", f"{number}/2")) == 0
    out = tmp_path / "a.index"
    assert main(["index", "merge", str(out), *map(str, shares)]) == 0
    assert contents(out) == contents(whole)
    assert main(["index", "merge", str(tmp_path / "x.index"), str(shares[0]), str(whole)]) == 1
    assert "whole/a.index" not in capsys.readouterr().err
    assert main(_arguments(folder, "add", out, imagery="more.tif")) == 0
    assert "tiles added" in capsys.readouterr().out
    assert main(["index", "info", str(out)]) == 0
    told = capsys.readouterr().out
    assert "tiles of 20, 30, 40 m, 16 m apart" in told
    assert "Test survey; CC0" in told
    assert "Another survey; CC-BY" in told
    assert main(["index", "verify", str(out)]) == 0
    both = tmp_path / "both.index"
    assert main(["index", "merge", str(both), str(whole), str(out)]) == 0
    assert "left out: they were there already" in capsys.readouterr().out
    assert read_manifest(both).count == read_manifest(out).count


def test_imagery_that_is_pointed_at(folder: Path, tmp_path: Path, capsys) -> None:
    out = folder / "pointing.index"
    options = ("--stride-m", 40, "--no-copy", "--attribution", "Me", "--licence", "Mine")
    assert main(_arguments(folder, "build", out, *options, "--layout", "sq8")) == 0
    assert not (out / "imagery.tif").exists()
    with Index.open(out) as index:
        assert (index.manifest.attribution, index.manifest.licence) == ("Me", "Mine")
        assert index.manifest.faiss_factory == "SQ8"
        assert index.crop(0, 16).any()
    capsys.readouterr()
    assert main(["index", "info", str(out)]) == 0
    assert "beside the index (place.tif)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layout", "cleverest"), "cannot be kept as 'cleverest'"),
        (("--imagery", "https://tiles.example.org/{z}/{x}/{y}.png"), "--area"),
    ],
)
def test_what_is_refused_before_anything_is_encoded(
    folder: Path, tmp_path: Path, capsys, options, message: str
) -> None:
    assert main(_arguments(folder, "build", tmp_path / "a.index", *options)) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.index").exists()
    for wrong in (("--shard", "3/2"), ("--shard", "2"), ("--extent-m", "20,x")):
        with pytest.raises(SystemExit):
            main(_arguments(folder, "build", tmp_path / "a.index", *wrong))


def test_what_a_build_will_take(folder: Path, tmp_path: Path) -> None:
    encoder = open_encoder(folder / "linear.encoder", threads=1, gpu=False)
    with open_imagery(folder / "place.tif") as source:
        settings = Settings(stride_m=8.0, extents_m=(20.0, 40.0))
        foreseen = estimate_build(source, encoder, settings, workers=1)
        assert 850 < foreseen.places <= 882  # at the corners there is hardly a quarter of a tile
        assert foreseen.seconds is not None
        assert 0 < foreseen.seconds < 120
        assert estimate_build(source, encoder, settings, measure=False).seconds is None
        with pytest.raises(IndexFolderError, match="cleverest"):
            estimate_build(source, encoder, Settings(layout="cleverest"))


def test_times_to_come_in_words() -> None:
    words = [duration(s) for s in (0.2, 59, 61, 3500, 3700, 8000, 50_000, 400_000)]
    assert words == ["0 s", "59 s", "1 min", "58 min", "1 h 2 min", "2 h 13 min", "14 h", "5 days"]


def test_patchy_imagery_is_foreseen_as_it_is(folder: Path, tmp_path: Path) -> None:
    """Two small pieces at the ends of a long empty box: few runs of places meet either."""
    patchy = tmp_path / "patchy"
    patchy.mkdir()
    shutil.copyfile(folder / "place.tif", patchy / "a.tif")
    pixels = np.full((320, 320, 3), 90, np.uint8)
    lat, lon = geo.LocalFrame(LAT, LON).to_wgs84(700.0, 500.0)
    write_orthophoto(patchy / "b.tif", pixels, lat, lon, 0.5)
    encoder = open_encoder(folder / "linear.encoder", threads=1, gpu=False)
    settings = Settings(stride_m=8.0)
    with open_imagery(patchy) as source:
        foreseen = estimate_build(source, encoder, settings, workers=1)
        with build_index(tmp_path / "patchy.index", source, encoder, stride_m=8.0) as index:
            made = index.manifest.count
            held = sum(facts.bytes for facts in index.manifest.files.values())
    assert made / 2 < foreseen.places < made * 2
    assert held / 3 < foreseen.bytes < held * 3
