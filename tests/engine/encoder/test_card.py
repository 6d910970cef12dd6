"""Cards: what is written comes back, and what is wrong is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.encoder import card_from_dict, read_card
from engine.errors import EncoderError
from tests.linear_encoder import linear_card
from tests.street_encoder import save_street_encoder

HASH = "a" * 64
ROOT = Path(__file__).parents[3]


def whole_card():
    card = linear_card(recipe={"name": "none"}, measured=({"R@1<25m": 1.0},))
    query, reference = card.branches.query, card.branches.reference
    branches = replace(
        card.branches, query=replace(query, sha256=HASH), reference=replace(reference, sha256=HASH)
    )
    return replace(card, branches=branches)


def test_round_trip():
    card = whole_card()
    again = read_card(json.dumps(card.to_dict()))
    assert again == card
    assert again.hash == card.hash


def test_hash_is_of_what_decides_a_descriptor():
    card = whole_card()
    assert replace(card, measured=(), calibration={"temperature": 1}).hash == card.hash
    assert replace(card, query_subshifts=1).hash != card.hash
    query = replace(card.branches.query, mean=(0.4, 0.5, 0.5))
    assert replace(card, branches=replace(card.branches, query=query)).hash != card.hash
    graph = replace(card.branches.reference, sha256="b" * 64)
    assert replace(card, branches=replace(card.branches, reference=graph)).hash != card.hash


def test_later_keys_are_absent_where_they_say_nothing():
    card = whole_card()
    for branch in card.to_dict()["branches"].values():
        assert not {"channels", "fit", "polar", "missing"} & set(branch)
    reference = replace(
        card.branches.reference, channels="BGR", polar="safa", radii=None, missing="white"
    )
    query = replace(card.branches.query, projection="plain", fit="pad", resize="gaussian")
    other = replace(
        card,
        branches=replace(card.branches, query=query, reference=reference),
        azimuth_blocks=1,
        tile_up="south",
    )
    raw = other.to_dict()
    assert raw["branches"]["reference"]["channels"] == "BGR"
    assert raw["branches"]["reference"]["polar"] == "safa"
    assert raw["branches"]["reference"]["missing"] == "white"
    assert raw["branches"]["query"]["fit"] == "pad"
    assert read_card(json.dumps(raw)) == other
    assert len({other.hash, card.hash, replace(other, tile_up="north").hash}) == 3


def test_the_shipped_encoder_keeps_its_hash():
    """The shipped index names this hash; a card that gained keys must not cut it off."""
    encoder = ROOT / "resources" / "port-nemo-1.encoder"
    card = read_card((encoder / "card.json").read_bytes())
    assert card.to_dict() == json.loads((encoder / "card.json").read_text("utf-8"))
    manifest = json.loads((ROOT / "resources/port-nemo.index/manifest.json").read_text("utf-8"))
    assert card.hash == manifest["encoder_hash"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "other"}, "nadir-encoder"),
        ({"version": 2}, "version 2"),
        ({"colour": "red"}, "colour"),
        ({"descriptor_dim": None}, "descriptor_dim"),
        ({"descriptor_dim": True}, "descriptor_dim"),
        ({"descriptor_dim": 385}, "azimuth_blocks"),
        ({"query_subshifts": 3}, "query_subshifts"),
        ({"stride_m": "8"}, "stride_m"),
        ({"stride_m": float("nan")}, "stride_m"),
        ({"tile_extents_m": []}, "tile_extents_m"),
        ({"tile_up": "east"}, "tile_up"),
        ({"name": "  "}, "name"),
        ({"measured": {}}, "measured"),
        ({"calibration": 3}, "calibration"),
        ({"branches": {}}, "branches.query"),
        ({"branches": 1}, "branches"),
        ({"outputs": {"descriptor": "descriptor", "features": "saliency"}}, "outputs.features"),
        ({"outputs": {"descriptor": "d", "features": None, "more": 1}}, "outputs.more"),
    ],
)
def test_wrong_cards_name_the_key(change, named):
    raw = whole_card().to_dict()
    raw |= change
    with pytest.raises(EncoderError) as caught:
        card_from_dict(raw)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("side", "change", "named"),
    [
        ("query", {"graph": "../both.onnx"}, "branches.query.graph"),
        ("query", {"graph": "/etc/passwd"}, "branches.query.graph"),
        ("reference", {"graph": ".hidden"}, "branches.reference.graph"),
        ("query", {"sha256": "12"}, "branches.query.sha256"),
        ("query", {"std": [0, 0.2, 0.2]}, "branches.query.std"),
        ("query", {"mean": [0.1, 0.2]}, "branches.query.mean"),
        ("query", {"input_size": [32, 128.5]}, "branches.query.input_size"),
        ("query", {"projection": "polar"}, "polar"),
        ("reference", {"projection": "equirectangular"}, "equirectangular"),
        ("query", {"top_deg": -50.0}, "top_deg"),
        ("reference", {"tile_pixels": None}, "tile_pixels"),
        ("reference", {"radii": [0.5]}, "radii"),
        ("reference", {"zoom": 20}, "branches.reference.zoom"),
        ("query", {"fov_trained_deg": [60]}, "fov_trained_deg"),
    ],
)
def test_wrong_branches_name_the_key(side, change, named):
    raw = whole_card().to_dict()
    raw["branches"][side] |= change
    with pytest.raises(EncoderError) as caught:
        card_from_dict(raw)
    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '"card"', "\x00"])
def test_what_is_no_card(text):
    with pytest.raises(EncoderError):
        read_card(text)


def test_a_card_is_small():
    with pytest.raises(EncoderError, match="1 MB"):
        read_card(" " * (2 << 20))


def test_a_wrong_card_says_what_to_do():
    with pytest.raises(EncoderError) as caught:
        read_card("[1]")
    assert caught.value.remedy


def test_which_encoders_compare_photos_with_photos(tmp_path: Path) -> None:
    card = save_street_encoder(tmp_path / "a.encoder")
    assert card.compares_photos
    # The same network under two names is one network; two networks are not.
    pair = card.branches
    apart = replace(pair, query=replace(pair.query, graph="other.onnx"))
    assert replace(card, branches=apart).compares_photos
    differing = replace(apart, query=replace(apart.query, sha256="0" * 64))
    assert not replace(card, branches=differing).compares_photos
    tiles = replace(pair, query=replace(pair.query, projection="equirectangular"))
    assert not replace(card, branches=tiles).compares_photos
