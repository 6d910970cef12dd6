"""Encoders on disk: folders and zips, and what happens to damaged ones."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from engine.encoder import open_encoder, rewrite_card, save_encoder, unzip_encoder, zip_encoder
from engine.errors import EncoderError
from tests.linear_encoder import TILE_PIXELS, linear_card, linear_graph, save_linear_encoder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "a place" / "linéaire.encoder"
    save_linear_encoder(path)
    return path


def test_folder_and_zip_are_one_encoder(folder, tmp_path):
    packed = zip_encoder(folder, tmp_path / "linear.zip")
    unpacked = tmp_path / "again.encoder"
    unzip_encoder(packed, unpacked)
    tiles = np.random.default_rng(0).integers(0, 255, (3, TILE_PIXELS, TILE_PIXELS, 3), np.uint8)
    opened = [open_encoder(path) for path in (folder, folder / "card.json", packed, unpacked)]
    assert len({encoder.hash for encoder in opened}) == 1
    for encoder in opened[1:]:
        np.testing.assert_array_equal(encoder.encode_tiles(tiles), opened[0].encode_tiles(tiles))
    assert zip_encoder(unpacked, tmp_path / "second.zip").read_bytes() == packed.read_bytes()


def test_saving_again_replaces(folder):
    before = open_encoder(folder).hash
    save_linear_encoder(folder, seed=1)
    assert open_encoder(folder).hash != before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_saving_leaves_other_folders_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EncoderError, match="left alone"):
        save_linear_encoder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_saving_needs_the_graphs_the_card_names(tmp_path):
    card = linear_card()
    with pytest.raises(EncoderError, match=r"other\.onnx"):
        save_encoder(tmp_path / "x.encoder", card, {"other.onnx": linear_graph(card)})


def test_a_calibration_is_added_without_a_new_hash(folder):
    card = open_encoder(folder).card
    rewrite_card(folder, card.with_calibration({"temperature": [1, 2, 3]}))
    again = open_encoder(folder)
    assert again.hash == card.hash
    assert again.card.calibration == {"temperature": [1, 2, 3]}
    with pytest.raises(EncoderError, match="another encoder"):
        rewrite_card(folder, replace(card, stride_m=9.0))


def damaged(folder, kind):
    graph, card = folder / "both.onnx", folder / "card.json"
    if kind == "altered graph":
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
    elif kind == "short graph":
        graph.write_bytes(graph.read_bytes()[:100])
    elif kind == "no graph":
        graph.unlink()
    elif kind == "no card":
        card.unlink()
    elif kind == "half a card":
        card.write_text(card.read_text()[:200])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("altered graph", "both.onnx was altered"),
        ("short graph", "both.onnx was altered"),
        ("no graph", "both.onnx is missing"),
        ("no card", "no card.json"),
        ("half a card", "not valid JSON"),
    ],
)
def test_damage_is_named(folder, kind, words):
    damaged(folder, kind)
    with pytest.raises(EncoderError) as caught:
        open_encoder(folder)
    assert words in str(caught.value)
    assert folder.name in str(caught.value)


def test_what_is_no_encoder(tmp_path):
    with pytest.raises(EncoderError, match="no such encoder"):
        open_encoder(tmp_path / "missing.encoder")
    text = tmp_path / "text.zip"
    text.write_text("hello")
    with pytest.raises(EncoderError, match="neither"):
        open_encoder(text)
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(EncoderError, match=r"0 files card\.json"):
        open_encoder(empty)


def test_a_zip_cannot_lead_out_of_itself(folder, tmp_path):
    raw = json.loads((folder / "card.json").read_text())
    raw["branches"]["query"]["graph"] = "../secret"
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("x.encoder/card.json", json.dumps(raw))
        archive.writestr("x.encoder/../../secret", b"content")
    with pytest.raises(EncoderError, match="plain file name"):
        unzip_encoder(evil, tmp_path / "out.encoder")
    assert not (tmp_path / "out.encoder").exists()


def test_a_damaged_zip(folder, tmp_path):
    packed = zip_encoder(folder, tmp_path / "linear.zip")
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 255
    packed.write_bytes(content)
    with pytest.raises(EncoderError):
        open_encoder(packed)


def test_a_graph_that_is_not_what_the_card_says(tmp_path):
    narrow = linear_card(depth=12)
    wide = linear_card(depth=24)
    folder = tmp_path / "mixed.encoder"
    save_encoder(
        folder,
        replace(wide, outputs=replace(wide.outputs, descriptor="other")),
        {"both.onnx": linear_graph(wide)},
    )
    with pytest.raises(EncoderError, match="no output 'other'"):
        open_encoder(folder)
    save_encoder(folder, wide, {"both.onnx": linear_graph(narrow)})
    with pytest.raises(EncoderError, match="the card says 384"):
        open_encoder(folder)
    save_encoder(folder, wide, {"both.onnx": b"not a graph"})
    with pytest.raises(EncoderError, match="cannot be loaded"):
        open_encoder(folder)


def two_graphs(path, seed=0):
    """An encoder whose branches have a graph each."""
    card = linear_card()
    sides = {
        "query": replace(card.branches.query, graph="query.onnx"),
        "reference": replace(card.branches.reference, graph="reference.onnx"),
    }
    graph = linear_graph(card, seed)
    card = replace(card, branches=replace(card.branches, **sides))
    save_encoder(path, card, {"query.onnx": graph, "reference.onnx": graph})
    return path


def test_the_tiles_graph_is_started_when_it_is_needed(tmp_path):
    path = two_graphs(tmp_path / "two.encoder")
    tiles = np.random.default_rng(0).integers(0, 255, (3, TILE_PIXELS, TILE_PIXELS, 3), np.uint8)
    whole, photos = open_encoder(path), open_encoder(path, photos_only=True)
    assert len(whole._started) == 2 and len(photos._started) == 1
    assert photos.hash == whole.hash and photos.device == whole.device
    np.testing.assert_array_equal(photos.encode_tiles(tiles), whole.encode_tiles(tiles))
    assert len(photos._started) == 2


def test_a_tiles_graph_that_was_changed_meanwhile_is_refused(tmp_path):
    path = two_graphs(tmp_path / "two.encoder")
    tiles = np.zeros((1, TILE_PIXELS, TILE_PIXELS, 3), np.uint8)
    photos = open_encoder(path, photos_only=True)
    (path / "reference.onnx").write_bytes((path / "reference.onnx").read_bytes() + b"\0")
    with pytest.raises(EncoderError, match=r"reference\.onnx was altered"):
        photos.encode_tiles(tiles)
    two_graphs(path, seed=1)
    with pytest.raises(EncoderError, match="replaced meanwhile"):
        photos.encode_tiles(tiles)
