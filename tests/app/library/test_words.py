"""What cards and estimates say, from real encoders and indexes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.library import words
from app.library.builds import Build, Launch, Plan, Story
from app.library.estimates import Outlook
from app.library.imagery import box_of, polygon_of, square_around
from app.library.new_words import outlook_words
from app.library.sections import _degrees, _measured
from app.library.words import in_short, sentence
from engine.geo import distance_m
from engine.library import Item, look
from engine.shipped import shipped_encoder


@pytest.mark.parametrize(
    ("bytes_", "said"),
    [(0, "1 kB"), (1400, "1 kB"), (950_000, "0.9 MB"), (3_400_000, "3.4 MB"), (2.1e11, "210 GB")],
)
def test_sizes(bytes_: float, said: str) -> None:
    assert words.size(bytes_).replace("\N{NO-BREAK SPACE}", " ") == said


def test_distances_resolutions_and_areas() -> None:
    assert words.metres(0.25) == "0.25 m" and words.metres(63.9) == "63.9 m"
    assert words.metres(1999) == "1,999 m" and words.metres(12_300) == "12.3 km"
    assert words.resolution(0.25) == "25 cm a pixel" and words.resolution(1.194) == "1.19 m a pixel"
    assert words.resolution(57_700) == "57.7 km a pixel"
    assert words.area(5e5) == "50 ha" and words.area(2.5e6) == "2.5 km²"
    place = words.position(-48.87, 180.0)
    assert place.split(" ") == ["48.87000°\N{NO-BREAK SPACE}S,", "180.00000°\N{NO-BREAK SPACE}E"]


def test_an_outlook_in_a_line() -> None:
    assert "no tile" in outlook_words(Outlook(0, 0, None))
    said = outlook_words(Outlook(12_345, 23_000_000, 125.0))
    assert said.replace("\N{NO-BREAK SPACE}", " ") == "12,345 tiles · about 23.0 MB · about 2 min"


def test_recall_is_a_table_and_odd_measurements_do_no_harm() -> None:
    (table, odd) = _measured(
        (
            {"dataset": "d", "queries": 3, "fov_deg": 90.0, "heading": "known", "R@1<25m": 0.5},
            {"dataset": "d", "queries": 3, "fov_deg": 360.0, "R@1<25m": None},
            {"R@1": "high", "kind": "street"},
        )
    )
    assert table.caption == "d · 3 photos" and len(table.headings) == 2
    assert table.rows[0] == ("90°, heading known", "50.0\N{NO-BREAK SPACE}%")
    assert table.rows[1] == ("360°", "–") and odd.rows[0][0] == "high, street"


def test_squares_and_their_boxes_across_180() -> None:
    chosen = square_around(-16.8, 179.999, 2000.0)
    (ring,) = chosen.rings
    box = box_of(chosen.rings)
    assert box.west > box.east, "it crosses"
    assert ring[0][0] < 180.0 < ring[1][0], "longitudes run on"
    assert distance_m(ring[0][1], ring[0][0], ring[1][1], ring[1][0]) == pytest.approx(
        2000, rel=0.01
    )
    assert polygon_of([[(0.0, 0.0), (1.0, 1.0)]]) is None


def test_what_is_kept_is_said_once() -> None:
    story = Story(
        phase="error",
        problem="the disk is full; what was done so far is kept",
        remedy="Make room and continue with: nadir index build '/a b/town.index' --resume --allow x.org",
    )
    build = Build(Path("town"), Launch(Plan("town", "imagery.tif", "one.encoder")), story)
    assert words.why_failed(build) == (
        "The disk is full; what was done so far is kept.",
        "Make room. Resume goes on from there.",
    )


def test_a_sentence_never_changes_a_files_name() -> None:
    assert sentence("the disk is full") == "The disk is full."
    assert sentence("rubbish.pth: is no file of weights") == "rubbish.pth: is no file of weights."
    assert sentence("my area.tif: cannot be read") == "my area.tif: cannot be read."
    assert sentence("ortho.tif is damaged") == "ortho.tif is damaged."
    assert sentence("/data/x is gone") == "/data/x is gone."


def test_an_encoder_without_an_architecture_is_its_size() -> None:
    shipped = shipped_encoder()
    card = look(shipped).card if shipped is not None else None
    assert card is not None
    item = Item("encoder", Path("x.encoder"), "x", bytes=4_800_000, card=card)
    assert in_short(item).startswith(card.architecture)
    bare = Item(
        "encoder", Path("x.encoder"), "x", bytes=4_800_000, card=replace(card, architecture="")
    )
    assert in_short(bare) == "4.8\N{NO-BREAK SPACE}MB"


def test_a_field_of_view_is_said_once() -> None:
    assert _degrees((360.0, 360.0)) == "360°" and _degrees((60.0, 120.0)) == "60° to 120°"
