"""``nadir import`` where it cannot do what was asked, and what it leaves behind."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.cli import main
from engine.encoder import open_encoder, read_package
from engine.errors import EncoderError
from engine.networks import build_network
from engine.networks.dsm import dsm
from engine.networks.importing import Wanted, check_dims, export_branches, guided, settled
from engine.networks.recognise import UnknownWeightsError, recognise
from engine.networks.releases import Found, Release, releases
from engine.networks.saig.branch import saig
from engine.shipped import install_for_training
from tests.full_disk import full_disk
from tests.golden_rule import rule_state

FLAGS = ("--option", "aggregation=spoc", "--query-size", "64x96", "--reference-size", "64x96")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the benchmark's ResNet-18 without parameters in its pooling."""
    torch.manual_seed(1)
    options = {"backbone": "resnet", "aggregation": "spoc", "input_size": (64, 96)}
    model = build_network("vg-benchmark", options)
    state = {k.removeprefix("model."): v for k, v in model.state_dict().items()}
    path = tmp_path_factory.mktemp("published") / "best_model.pth"
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


def test_an_import_says_what_it_is_and_works(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "street.encoder"
    more = ("--extent-m", "40", "--stride-m", "12")
    assert main(["import", str(published), "--out", str(out), *FLAGS, *more]) == 0
    said = capsys.readouterr().out
    assert "ResNet-18" in said and "gmberton" in said and "differs" in said
    assert "one graph serves photos and tiles" in said
    encoder = open_encoder(out, gpu=False)
    card = encoder.card
    assert card.name == "street" and card.tile_extents_m == (40.0,) and card.stride_m == 12.0
    assert card.branches.query.input_size == card.branches.reference.input_size == (64, 96)
    assert (
        card.recipe["file"] == "best_model.pth" and card.recipe["options"]["aggregation"] == "spoc"
    )
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "encoder.onnx"]
    side = card.branches.reference.tile_pixels
    assert side is not None
    tiles = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_tiles(tiles), axis=1), 1, atol=1e-5)


def test_half_the_bytes(published: Path, tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "fp16"):
        out = tmp_path / f"{precision}.encoder"
        words = ["import", str(published), "--out", str(out), *FLAGS, "--precision", precision]
        assert main(words) == 0
        sizes.append(len(read_package(out)[1]["encoder.onnx"]))
    assert sizes[1] < 0.55 * sizes[0]


def test_what_weights_do_not_tell_is_asked(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.encoder"
    assert main(["import", str(published), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "spoc, mac, rmac" in said and "--option aggregation=spoc" in said
    wrong = ["import", str(published), "--out", str(out), "--option", "aggregation=max"]
    assert main(wrong) == 1 and "spoc, mac, rmac" in capsys.readouterr().err
    uneven = [*FLAGS[:4], "--reference-size", "64x64"]
    assert main(["import", str(published), "--out", str(out), *uneven]) == 1
    assert "same --query-size and --reference-size" in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_file_gets_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.pth"
    torch.save({f"layer{i}.weight": torch.zeros(4, i + 1) for i in range(20)}, path)
    assert main(["import", str(path), "--out", str(tmp_path / "a.encoder")]) == 1
    said = capsys.readouterr().err
    assert "layer0.weight [4, 1]" in said and "20 tensors" in said and "(12 more)" in said
    for project in ("SAIG", "TransGeo", "FRGeo", "Sample4Geo", "statewide", "MegaLoc"):
        assert project.lower() in said.lower()
    assert "mine.pth" in said


def test_a_part_and_two_owners_are_said(published: Path) -> None:
    state = torch.load(published, weights_only=True)["model_state_dict"]
    state = {name.removeprefix("module."): value for name, value in state.items()}
    owner = recognise(state).release
    twice = [owner, replace(owner, project="Another")]
    with pytest.raises(UnknownWeightsError, match=r"more than one.*Another"):
        recognise(state, known=twice)
    with pytest.raises(UnknownWeightsError, match=r"only a part of an encoder .*: the head"):
        recognise(state, known=[replace(owner, part="the head is missing")])
    with pytest.raises(UnknownWeightsError, match="no weights that Nadir knows"):
        recognise(state, known=[])


def test_incomplete_weights_are_no_encoder(published: Path, tmp_path: Path) -> None:
    state = dict(torch.load(published, weights_only=True)["model_state_dict"])
    gone = next(name for name in state if name.endswith("running_mean"))
    del state[gone]
    path = tmp_path / "cut.pth"
    torch.save(state, path)
    out = tmp_path / "a.encoder"
    assert main(["import", str(path), "--out", str(out), *FLAGS]) == 1
    assert not out.exists()


def test_weights_that_are_no_numbers_are_named_before_the_work(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(torch.load(published, weights_only=True)["model_state_dict"])
    name = next(name for name in state if name.endswith("running_mean"))
    path, out = tmp_path / "broken.pth", tmp_path / "a.encoder"
    for value in (state[name] * torch.nan, state[name].to_sparse()):
        torch.save({**state, name: value}, path)
        assert main(["import", str(path), "--out", str(out), *FLAGS]) == 1
        streams = capsys.readouterr()
        assert name.removeprefix("module.") in streams.err and "exporting" not in streams.out
        assert not out.exists()


def test_a_long_name_is_cut_where_it_is_shown() -> None:
    with pytest.raises(UnknownWeightsError) as caught:
        recognise({"a" * 5000: torch.zeros(3)})
    assert len(str(caught.value)) < 400 and all(len(line) < 200 for line in caught.value.found)


def test_what_stands_there_is_left_alone(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.encoder"
    out.mkdir()
    (out / "letters.txt").write_text("mine")
    assert main(["import", str(published), "--out", str(out), *FLAGS]) == 1
    assert "left alone" in capsys.readouterr().err
    assert (out / "letters.txt").read_text() == "mine"
    nowhere = tmp_path / "no" / "a.encoder"
    assert main(["import", str(published), "--out", str(nowhere), *FLAGS]) == 1
    assert "no folder" in capsys.readouterr().err
    link = tmp_path / "link.encoder"
    link.symlink_to(tmp_path / "nothing")
    assert main(["import", str(published), "--out", str(link), *FLAGS]) == 1
    assert "left alone" in capsys.readouterr().err


def test_an_option_that_the_network_lacks_is_named(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(published), "--out", str(tmp_path / "a.encoder"), *FLAGS]
    assert main([*words, "--option", "colour=3"]) == 1
    said = capsys.readouterr().err
    assert "colour" in said and "--option" in said


def test_a_full_disk_leaves_nothing_half(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(4) as disk:
        out = disk / "a.encoder"
        assert main(["import", str(published), "--out", str(out), *FLAGS]) == 1
        assert "Make room" in capsys.readouterr().err
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("--query-size", "12"), ("--option", "novalue"), ("--extent-m", "x")]
)
def test_words_that_mean_nothing_are_usage(words: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", "a.pth", "--out", "b.encoder", *words])
    assert caught.value.code == 2


def test_without_torch_the_way_to_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )
    assert main(["import", "a.pth", "--out", str(tmp_path / "a.encoder")]) == 1
    said = capsys.readouterr().err
    assert "PyTorch" in said and install_for_training() in said


def test_sizes_go_where_the_network_has_them() -> None:
    found = Found("saig", "SAIG", (128, 512), (256, 256), {"query_size": (128, 512), "head": "gap"})
    other = settled(found, Wanted(query_size=(64, 256), reference_size=(32, 32)))
    assert other.query_size == (64, 256) and other.reference_size == (32, 32)
    assert other.options == {"query_size": (64, 256), "head": "gap"}


def test_sizes_that_do_not_belong_together_are_refused() -> None:
    found = Found("dsm", "DSM", (128, 256), (128, 512))
    sides = {"widths": (1, 1, 1, 1), "reduced": (1, 1, 2)}
    model = dsm(query_size=found.query_size, reference_size=found.reference_size, **sides)
    with pytest.raises(EncoderError, match="256 numbers for photos of 128x256 and 512 for tiles"):
        check_dims(model, found)
    check_dims(dsm(**sides), found)


def test_a_graph_that_differs_is_refused() -> None:
    class Restless(nn.Module):
        """Puts out something else each time; a graph of it can only be wrong."""

        input_size, dim, evidence_kind = (32, 64), 48, None
        calls = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 48)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Restless.calls += 1.0  # of the class, for what is exported is a copy
            return self.inner(x.mean((2, 3))) + torch.sin(Restless.calls * torch.arange(48.0))

    model = saig(query_size=(32, 64), reference_size=(32, 32), depth=1, dim=24, heads=2)
    release = next(r for r in releases() if "SAIG" in r.project)
    found = Found("saig", "SAIG", (32, 64), (32, 32))
    preprocessing = release.preprocess(found)
    model._modules["model_grd"] = Restless().eval()
    with pytest.raises(EncoderError, match="differs from its network"):
        export_branches(model.eval(), preprocessing, tell=lambda text: None)


def test_every_release_says_what_it_expects() -> None:
    for release in releases():
        assert isinstance(release, Release) and len(release.expects) > 10 and release.project
        assert release.recognise({}) is None
        assert release.recognise({"a.weight": (3, 4)}) is None


def test_stage_1_chooses_what_stage_2_looks_at(golden: Path, tmp_path: Path) -> None:
    first = rule_state(golden / "transgeo" / "transgeo_cvusa_keys.json")
    second = rule_state(golden / "transgeo" / "transgeo_cvusa_stage2crop320_keys.json")
    file = tmp_path / "first.pth"
    torch.save(first, file)
    here = tmp_path / "second.pth"
    alone = recognise(second, here)
    assert "guide_size" not in alone.found.options
    joined = guided(alone, second, here, file)
    assert recognise(joined, here).found.options["guide_size"] == (256, 256)
    with pytest.raises(EncoderError, match="no first stage"):
        guided(recognise(first, file), first, file, file)
    wrong = tmp_path / "wrong.pth"
    torch.save(second, wrong)
    with pytest.raises(EncoderError, match="not a stage 1"):
        guided(alone, second, here, wrong)
