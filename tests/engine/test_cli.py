"""The command line: every verb, its words, its exit codes, and errors in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import __version__
from engine.cli import main
from engine.photo import read_photo
from engine.photo.write import save_jpeg
from engine.shipped import install_for_training
from tests.engine.flat import make_town, places, write_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ein Ort mit Leerzeichen ☃")
    town = make_town(folder)
    write_dataset(town, panoramas=3, photos=2)
    return town


@pytest.fixture
def given(town):
    """The options that name encoder and index."""
    return [
        "--encoder",
        str(town.folder / "linear.encoder"),
        "--index",
        str(town.folder / "flat.index"),
        "--cpu",
    ]


@pytest.fixture
def photo(town):
    return town.folder / "panoramas" / "0000.jpg"


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def fails(capsys, *arguments):
    """Run what must fail with exit code 1, nothing on standard output and one line that says why."""
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out == ""
    assert err.startswith("nadir: ") and err.count("\n") == 1
    return err


def test_localize_text(capsys, given, photo):
    code, out, err = run(capsys, "localize", photo, *given, "--top", 4, "--threads", 1)
    assert code == 0 and err == ""
    assert out.startswith("0000.jpg  (panorama, 360°, heading to be found)\n")
    assert out.count(", -123.") == 4
    assert "note: This encoder was not trained" in out


def test_localize_finds_the_place(capsys, given, photo, town):
    east, south, heading = places(1)[0]
    lat, lon = town.world.to_wgs84(east, south)
    code, out, _ = run(capsys, "localize", photo, *given, "--format", "json", "--heading", heading)
    best = json.loads(out)["candidates"][0]
    assert code == 0
    assert best["lat"] == pytest.approx(lat, abs=1e-4) and best["lon"] == pytest.approx(
        lon, abs=1e-4
    )


def test_localize_several_to_a_file(capsys, given, town, tmp_path):
    photos = sorted((town.folder / "panoramas").iterdir())
    target = tmp_path / "places.geojson"
    code, out, err = run(
        capsys, "localize", *photos, *given, "--format", "geojson", "--output", target
    )
    assert code == 0 and out == "" and "3 located" in err
    features = json.loads(target.read_text())["features"]
    assert {feature["properties"]["photo"] for feature in features} == {
        path.name for path in photos
    }


def test_one_bad_photo_does_not_stop_the_others(capsys, given, photo, tmp_path):
    bad = tmp_path / "notes.jpg"
    bad.write_text("no picture")
    code, out, err = run(capsys, "localize", photo, bad, *given, "--format", "json")
    assert code == 1
    assert json.loads(out)["photo"]["name"] == "0000.jpg"
    assert err.startswith("nadir: notes.jpg: ")


def test_localize_in_an_area(capsys, given, photo, town, tmp_path):
    lat, lon = town.world.to_wgs84(50, 50)
    box = [[lon - 1, lat], [lon, lat], [lon, lat + 1], [lon - 1, lat + 1], [lon - 1, lat]]
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [box]}))
    code, out, _ = run(capsys, "localize", photo, *given, "--area", area, "--format", "json")
    values = json.loads(out)
    assert code == 0 and values["plan"]["tiles"] < 200
    assert all(c["tile_lat"] > lat and c["tile_lon"] < lon for c in values["candidates"])
    area.write_text("{}")
    assert "area.geojson" in fails(capsys, "localize", photo, *given, "--area", area)


def test_the_view_can_be_said(capsys, given, town):
    picture = town.folder / "photos" / "0000.jpg"
    code, out, _ = run(
        capsys,
        "localize",
        picture,
        *given,
        "--fov",
        90,
        "--pitch",
        -5,
        "--roll",
        2,
        "--format",
        "json",
    )
    plan = json.loads(out)["plan"]
    assert code == 0
    assert (plan["fov_deg"], plan["pitch_deg"], plan["roll_deg"]) == (90, -5, 2)
    assert "Give less than 180" in fails(capsys, "localize", picture, *given, "--fov", 300)


def test_the_photos_own_heading(capsys, given, town, tmp_path):
    east, south, heading = places(1)[0]
    picture = tmp_path / "compass.jpg"
    save_jpeg(picture, town.panorama(east, south, heading).pixels, heading_deg=heading)
    _, out, _ = run(capsys, "localize", picture, *given, "--heading", "photo", "--format", "json")
    assert json.loads(out)["plan"]["heading_deg"] == pytest.approx(heading, abs=0.1)
    _, out, _ = run(capsys, "localize", picture, *given, "--format", "json")
    assert json.loads(out)["plan"]["heading_deg"] is None


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, this is text", b"\xff\xd8\xff\xe0 broken"],
)
def test_what_is_no_photo(capsys, given, tmp_path, content):
    path = tmp_path / "мост.jpg"
    path.write_bytes(content)
    assert "мост.jpg" in fails(capsys, "localize", path, *given)


def test_wrong_paths(capsys, given, photo, tmp_path):
    assert "missing.jpg" in fails(capsys, "localize", tmp_path / "missing.jpg", *given)
    assert tmp_path.name in fails(capsys, "localize", tmp_path, *given)
    assert "no such index" in fails(
        capsys, "localize", photo, *given[:2], "--index", tmp_path / "x.index"
    )
    assert "no such encoder" in fails(
        capsys, "localize", photo, "--encoder", tmp_path / "x.encoder", *given[2:4]
    )
    target = tmp_path / "no" / "such" / "folder.json"
    assert "there is no folder" in fails(capsys, "localize", photo, *given, "--output", target)


def test_an_index_of_another_encoder_is_refused_with_both_names(capsys, given, photo, tmp_path):
    from tests.linear_encoder import save_linear_encoder

    save_linear_encoder(tmp_path / "other.encoder", seed=1, name="another")
    err = fails(capsys, "localize", photo, "--encoder", tmp_path / "other.encoder", *given[2:])
    assert "another" in err and "linear" in err


def test_index_build_info_verify(capsys, given, town, tmp_path):
    out_folder = tmp_path / "new.index"
    code, out, _ = run(
        capsys,
        "index",
        "build",
        out_folder,
        "--imagery",
        town.folder / "imagery.tif",
        *given[:2],
        "--stride-m",
        20,
    )
    assert code == 0 and "121 tiles" in out
    code, out, _ = run(capsys, "index", "info", out_folder)
    assert code == 0 and "121 tiles of 64 m" in out.replace("63.9103 m", "64 m") and "linear" in out
    code, out, _ = run(capsys, "index", "info", out_folder, "--json")
    assert json.loads(out)["count"] == 121
    code, out, _ = run(capsys, "index", "verify", out_folder)
    assert code == 0 and "as it was built" in out
    vectors = out_folder / "vectors.f16"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    code, out, err = run(capsys, "index", "verify", out_folder)
    assert code == 1 and "vectors.f16" in err
    vectors.unlink()
    assert "vectors.f16 is missing" in fails(
        capsys,
        "localize",
        town.folder / "panoramas" / "0000.jpg",
        *given[:2],
        "--index",
        out_folder,
    )


def test_evaluate(capsys, given, town, tmp_path):
    target = tmp_path / "numbers.json"
    code, out, _ = run(
        capsys, "evaluate", "--dataset", town.folder, "--heading", "known", *given, "--json", target
    )
    assert code == 0
    values = json.loads(target.read_text())
    assert values["queries"] == 3 and values["R@1<25m"] == 1
    assert "place within 25 m    R@1 100.0 %" in out


def test_evaluate_builds_what_is_not_there(capsys, given, town, tmp_path):
    place = tmp_path / "built.index"
    code, _, _ = run(
        capsys,
        "evaluate",
        "--dataset",
        town.folder,
        *given[:2],
        "--index",
        place,
        "--fov",
        80,
        "--limit",
        1,
    )
    assert code == 0 and (place / "manifest.json").is_file()
    assert "no queries.csv" in fails(capsys, "evaluate", "--dataset", tmp_path, *given)


def test_too_few_queries_are_no_calibration(capsys, given, town):
    before = (town.folder / "linear.encoder" / "card.json").read_bytes()
    err = fails(capsys, "evaluate", "--dataset", town.folder, *given, "--calibrate")
    assert "too few to calibrate on" in err
    assert (town.folder / "linear.encoder" / "card.json").read_bytes() == before


def test_world(capsys, tmp_path):
    out_folder = tmp_path / "town"
    code, out, _ = run(
        capsys,
        "world",
        out_folder,
        "--seed",
        3,
        "--area-km2",
        0.02,
        "--panoramas",
        1,
        "--photos",
        1,
        "--photo-fov",
        60,
        65,
        "--gps",
    )
    assert code == 0 and "1 panoramas" in out
    assert (out_folder / "imagery.tif").is_file() and (out_folder / "queries.csv").is_file()
    facts = read_photo(out_folder / "photos" / "0000.jpg").facts
    assert 60 <= facts.fov_deg <= 65 and facts.latitude is not None
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "full" in fails(capsys, "world", tmp_path / "full")


def test_doctor(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for word in ("onnxruntime", "faiss-cpu", "providers", "encoder", "Ready to locate photos."):
        assert word in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["localize"],
        ["nonsense"],
        ["localize", "a.jpg", "--heading", "north"],
        ["localize", "a.jpg", "--heading", "nan"],
        ["localize", "a.jpg", "--top", "0"],
        ["localize", "a.jpg", "--fov", "400"],
        ["index"],
        ["evaluate", "--dataset", "x", "--format", "nobody"],
        ["world", "x", "--panoramas", "-1"],
        ["world", "x", "--seed", "-1"],
        ["world", "x", "--photo-fov", "60"],
        ["world", "x", "--photo-fov", "60", "180"],
    ],
)
def test_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: nadir" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["localize"], ["world"], ["index"], ["index", "build"], ["index", "info"], ["index", "verify"],
        ["evaluate"], ["train"], ["export"], ["import"], ["doctor"],
    ],
)  # fmt: skip
def test_every_verb_has_help(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    assert "usage: nadir" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"nadir {__version__}\n"


def test_training_without_torch_says_how_to_get_it(capsys, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "torch" else real(name, *rest),
    )
    assert "pip install" in fails(capsys, "train", "--recipe", "port-nemo")


def test_cancelling_gives_130(capsys, monkeypatch, given, photo):
    import engine.localize

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.localize, "localize", stop)
    code, _, err = run(capsys, "localize", photo, *given)
    assert code == 130 and err == "nadir: cancelled\n"


def test_as_a_process_it_needs_neither_torch_nor_qt(given, photo):
    """The real thing, started by its module; what it loads is looked at from inside."""
    program = (
        "import sys; from engine.cli import main; code = main(sys.argv[1:]);"
        "print(sorted(set(sys.modules) & {'torch', 'PySide6', 'onnx'})); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "localize", str(photo), *given],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
    assert done.stderr == ""


def test_a_reader_that_goes_away_is_no_error(given, town):
    photos = [str(path) for path in (town.folder / "panoramas").iterdir()] * 40
    command = [sys.executable, "-m", "engine", "localize", *photos, *given, "--format", "json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == 0


def test_verify_names_the_index_and_the_file(capsys, town, tmp_path):
    copy = tmp_path / "mine.index"
    shutil.copytree(town.folder / "flat.index", copy)
    (copy / "tiles.gpkg").unlink()
    (copy / "tiles.gpkg").symlink_to(town.folder / "flat.index" / "tiles.gpkg")
    assert "nadir: mine.index: tiles.gpkg: tiles.gpkg is missing: there is only a link" in fails(
        capsys, "index", "verify", copy
    )
    assert "nadir: none.index: " in fails(capsys, "index", "verify", tmp_path / "none.index")


def test_text_steers_no_terminal(capsys, given, photo, town, tmp_path):
    copy = tmp_path / "mine.index"
    shutil.copytree(town.folder / "flat.index", copy)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["imagery"][0]["attribution"] = "me\x1b[2J"
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    for command in (
        ["localize", photo, *given[:2], "--index", copy, "--cpu"],
        ["index", "info", copy],
    ):
        code, out, _ = run(capsys, *command)
        assert code == 0 and "me�[2J" in out and "\x1b" not in out


def test_a_dataset_without_such_pictures_says_what_to_ask_for(capsys, given, town):
    dataset = ["evaluate", "--dataset", town.folder, *given]
    assert "smaller --fov" in fails(capsys, *dataset, "--fov", 170)
    assert "of the split 'none'" in fails(capsys, *dataset, "--split", "none")


def test_a_photo_is_never_written_over(capsys, given, photo, tmp_path):
    mine = tmp_path / "mine.jpg"
    mine.write_bytes(photo.read_bytes())
    (tmp_path / "link.json").symlink_to(mine)
    for output in (mine, tmp_path / "link.json"):
        assert "not written over" in fails(capsys, "localize", mine, *given, "--output", output)
    assert mine.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize(
    ("output", "said"), [("none/a.json", "there is no folder"), (".", "this is a folder"), ("", "this is a folder")]
)  # fmt: skip
def test_where_nothing_can_be_written_is_said_before_the_work(
    capsys, monkeypatch, given, photo, town, tmp_path, output, said
):
    monkeypatch.chdir(tmp_path)
    assert said in fails(capsys, "localize", photo, *given, "--output", output)
    assert said in fails(capsys, "evaluate", "--dataset", town.folder, *given, "--json", output)
    assert os.listdir(tmp_path) == []


def test_a_terminal_without_the_letters_is_no_reason_to_fail(given, photo, tmp_path):
    picture = tmp_path / os.fsdecode("街 ".encode() + b"\xff.jpg")
    picture.write_bytes(photo.read_bytes())
    for form, encoding in (("text", "ascii"), ("json", "utf-8"), ("geojson", "utf-8")):
        command = [sys.executable, "-m", "engine", "localize", picture, *given, "--format", form]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, timeout=120,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        assert done.returncode == 0 and done.stderr == b""
        text = done.stdout.decode(encoding)
        assert form == "text" or "街 �.jpg" in json.dumps(json.loads(text), ensure_ascii=False)


def test_more_threads_than_cores_are_not_started(capsys, given, photo, monkeypatch):
    import engine.encoder

    asked = []
    real = engine.encoder.open_encoder
    monkeypatch.setattr(
        engine.encoder,
        "open_encoder",
        lambda path, **options: (
            asked.append(options["threads"]) or real(path, threads=1, gpu=False)
        ),
    )
    assert run(capsys, "localize", photo, *given, "--threads", 100_000)[0] == 0
    assert asked == [os.cpu_count()]


def test_pictures_are_not_changed(capsys, given, photo):
    before = photo.read_bytes()
    run(capsys, "localize", photo, *given)
    assert photo.read_bytes() == before
    assert np.all([path.suffix == ".jpg" for path in photo.parent.iterdir()])


def test_what_training_needs_is_never_asked_for_by_our_name(monkeypatch):
    assert "[train]" in install_for_training() and str(ROOT) in install_for_training()
    monkeypatch.setattr(sys, "executable", "/a place/python")
    assert install_for_training().startswith('"/a place/python" -m pip install ')
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    said = install_for_training()
    assert said.startswith("python3 -m pip install torch ") and "nadir" not in said


def test_a_place_in_the_south_is_no_option(capsys, given, photo, town):
    lat, lon = town.world.to_wgs84(110.0, 105.0)
    assert lat < 0
    words = ("--near", f"{lat:.6f},{lon:.6f},30", "--format", "json")
    code, out, err = run(capsys, "localize", photo, *given, *words)
    assert code == 0, err
    assert 0 < json.loads(out)["plan"]["tiles"] < 300
