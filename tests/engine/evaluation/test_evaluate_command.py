"""``nadir evaluate --format ...`` on pictures on disk: what it prints, writes, keeps, and refuses."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from engine.cli import main
from engine.commands import evaluate_dataset
from engine.datasets.formats import FORMATS
from engine.errors import Cancelled
from engine.evaluation import describe
from engine.evaluation.rules import RULES
from engine.evaluation.variants import VARIANTS
from tests.engine.datasets.pictures import picture
from tests.street_encoder import save_street_encoder

# What the design promises of the JSON.
KEYS = {
    "queries", "R@1", "R@5", "R@10", "R@1%", "hit_rate", "R@1<25m", "R@5<25m", "R@1<50m", "R@5<50m", "R@10<25m",
    "median_error_m", "median_heading_error_deg", "dataset", "encoder", "index", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    save_street_encoder(folder / "street.encoder", any_size=True)
    for i in range(4):
        picture(folder / f"cvusa/bingmap/19/{i}.jpg", i, (40, 40))
        picture(folder / f"cvusa/streetview/panos/{i}.jpg", i, (88, 16))
        at = f"@{500_000 + 100 * i:.2f}@4000000.00@@@@@p{i}@@@@@@@@.png"
        picture(folder / f"vg/images/test/database/{at}", i, (48, 32))
        picture(folder / f"vg/images/test/queries/{at}", i, (48, 32))
    (folder / "cvusa/splits").mkdir()
    lines = [f"bingmap/19/{i}.jpg,streetview/panos/{i}.jpg,x" for i in range(4)]
    (folder / "cvusa/splits/val-19zl.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def evaluate(capsys, folder, tmp_path):
    """Run the command; exit code, standard output and standard error."""

    def run(format, dataset, *more, encoder="street"):
        given = [
            "--format",
            format,
            "--dataset",
            dataset,
            "--encoder",
            folder / f"{encoder}.encoder",
        ]
        options = [] if format == "world" else ["--cache", tmp_path / "kept"]
        code = main([str(word) for word in ("evaluate", *given, "--cpu", *options, *more)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture
def refused(evaluate):
    def run(*arguments, **named):
        code, out, err = evaluate(*arguments, **named)
        assert code == 1 and out == "" and err.startswith("nadir: ") and err.count("\n") == 1
        return err

    return run


def test_the_words_are_those_of_the_engine():
    assert set(evaluate_dataset.FORMATS) == set(FORMATS) - {"world"}
    assert evaluate_dataset.RULES == tuple(RULES)
    assert set(evaluate_dataset.VARIANTS) == set(VARIANTS)


def test_numbers_a_curve_and_kept_descriptors(evaluate, folder, tmp_path):
    target, curve = tmp_path / "n.json", tmp_path / "c.csv"
    code, out, err = evaluate("vg", folder / "vg", "--json", target, "--curve", curve)
    assert code == 0 and err == ""
    values = json.loads(target.read_text())
    assert values.keys() >= KEYS
    assert values["R@1"] == values["R@20"] == values["R@1<25m"] == 1 and values["R@1%"] is None
    assert values["median_error_m"] == 0 and values["index"] is None and values["from_store"] == []
    assert "R@1 100.00 %" in out and "Descriptors are kept in" in out
    assert curve.read_text().startswith("curve,x,recall\nR@K,1,1.000000\n")
    code, out, _ = evaluate("vg", folder / "vg", "--rule", "strict", "--json", target)
    assert code == 0 and "nothing was encoded" in out and "(rule strict)" in out
    values = json.loads(target.read_text())
    assert values["R@1%"] == 1 and values["from_store"] == ["reference", "query"]
    code, out, _ = evaluate("vg", folder / "vg", "--variant", "five_crops", "--pca", 2)
    assert code == 0 and "five_crops, 2 components" in out
    assert "those of references were there from before" in out
    code, out, _ = evaluate("vg", folder / "vg", "--no-cache", "--limit", 2)
    assert code == 0 and "2 queries, 4 references" in out and "kept" not in out


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plots(evaluate, folder, tmp_path, ending):
    assert evaluate("cvusa", folder / "cvusa", "--curve", tmp_path / f"c.{ending}")[0] == 0
    start = (tmp_path / f"c.{ending}").read_bytes()[:4]
    assert start == (b"<svg" if ending == "svg" else b"\x89PNG")


def test_another_picture_is_encoded_again(evaluate, folder, tmp_path):
    shutil.copytree(folder / "cvusa", tmp_path / "cvusa")
    numbers = tmp_path / "n.json"

    def run():
        assert evaluate("cvusa", tmp_path / "cvusa", "--json", numbers)[0] == 0
        return json.loads(numbers.read_text())

    before = run()
    assert before["heading"] == "known" and before["rule"] == "safa" and before["split"] == "val"
    assert run()["from_store"] == ["reference", "query"]
    for name in ("0", "1"):
        Image.new("RGB", (88, 16)).save(tmp_path / f"cvusa/streetview/panos/{name}.jpg")
    after = run()
    assert after["from_store"] == ["reference"] and after["R@1"] < before["R@1"]


def test_wrong_and_partial_folders_are_explained(refused, evaluate, folder, tmp_path):
    err = refused("cvusa", folder / "vg")
    assert "val-19zl.csv" in err and "images/" in err  # what was looked for, what is there
    err = refused("cvusa", folder / "cvusa", "--split", "test")
    assert "there is no split 'test'" in err and "train, val" in err
    shutil.copytree(folder / "cvusa", tmp_path / "cvusa")
    (tmp_path / "cvusa/bingmap/19/2.jpg").unlink()
    err = refused("cvusa", tmp_path / "cvusa")
    assert "1 of its 8 pictures" in err and "2.jpg" in err and "--skip-missing" in err
    code, out, _ = evaluate("cvusa", tmp_path / "cvusa", "--skip-missing")
    assert code == 0 and "3 queries, 3 references" in out and "1 queries were left out" in out
    (tmp_path / "cvusa/bingmap/19/3.jpg").write_bytes(b"no picture")
    err = refused("cvusa", tmp_path / "cvusa", "--skip-missing")
    assert "3.jpg" in err and "cannot be read as a picture" in err
    shutil.rmtree(tmp_path / "cvusa/bingmap")
    err = refused("cvusa", tmp_path / "cvusa", "--skip-missing")
    assert "nothing is left to measure" in err and "--skip-missing" not in err
    assert "the folder nowhere/ is missing" in refused("vg", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--option", "radius=10"], "has no option 'radius'"),
        (["--option", "radius_m=wide"], "'radius_m' cannot be 'wide'. It is a number"),
        (["--option", "queries=9"], "9/"),
        (["--index", "x.index"], "--index is for --format world"),
        (["--calibrate"], "--calibrate needs positions and imagery"),
        (["--curve", "c.pdf"], "ends in .csv, .svg or .png"),
        (["--heading", "known"], "does not say where its photos look"),
        (["--pca", "9"], "at most 4"),
        (["--pca-on", "."], "--pca-on needs --pca"),
        (["--rule", "strict", "--variant", "maj_voting"], "merges lists"),
        (["--json", "no/such/folder.json"], "there is no folder"),
    ],
)
def test_what_does_not_fit_is_said(refused, folder, arguments, words):
    assert words in refused("vg", folder / "vg", *arguments)


@pytest.mark.parametrize(
    "option",
    [["--rule", "vg"], ["--variant", "five_crops"], ["--pca", "3"], ["--skip-missing"], ["--no-cache"],
     ["--option", "area=same"]],
)  # fmt: skip
def test_a_world_takes_none_of_it(refused, folder, option):
    err = refused("world", folder / "vg", *option)
    assert f"{option[0]} is for datasets" in err


def test_cancelling_keeps_what_is_done(evaluate, folder, tmp_path, monkeypatch):
    class Stopped:
        def __enter__(self):
            return self.report

        def __exit__(self, *_):
            pass

        def report(self, done, total, text):
            if "queries" in text:
                raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_dataset, "Progress", Stopped)
        code, out, _ = evaluate("cvusa", folder / "cvusa")
    assert code == 130 and out == ""
    numbers = tmp_path / "n.json"
    assert evaluate("cvusa", folder / "cvusa", "--json", numbers)[0] == 0
    assert json.loads(numbers.read_text())["from_store"] == ["reference"]


def test_only_what_is_shaped_is_held(folder, tmp_path, monkeypatch):
    """Large photos are let go of as soon as the encoder's canvas of them is drawn."""
    import tracemalloc

    from engine.datasets import open_dataset
    from engine.encoder import open_encoder

    picture(tmp_path / "one.jpg", 0, (800, 800))
    for side in ("queries", "references"):
        (tmp_path / side).mkdir()
        for i in range(36):
            shutil.copy(tmp_path / "one.jpg", tmp_path / side / f"{i}.jpg")
    data = open_dataset("pairs", tmp_path)
    model = describe.Model.of(open_encoder(folder / "street.encoder", threads=1, gpu=False))
    tracemalloc.start()
    describe.describe_references(data, model)
    describe.describe_queries(data, model, describe.Asked(heading_known=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # 36 photos of 2 MB would be 70, beside what decoding one takes


# ---------------------------------------------------------------- real lists, without their pictures


def test_real_lists_without_pictures(refused, realdata, tmp_path):
    shutil.copytree(realdata / "cvusa_splits", tmp_path / "cvusa/splits")
    err = refused("cvusa", tmp_path / "cvusa")
    assert "4,430 of its 4,430 pictures are missing" in err and "streetview" in err
    err = refused(
        "vigor",
        realdata / "vigor_labels",
        "--option",
        "cities=Seattle,Chicago",
        "--option",
        "area=same",
    )
    assert "are missing" in err and "Seattle" in err
