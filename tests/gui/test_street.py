"""The window with an index of street photos: photos are shown as photos, and nothing is said that nobody knows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.results.detail import shortened
from engine.encoder import open_encoder
from engine.imagery import open_source
from engine.index import build_index
from tests.engine.index.test_pictures_index import write_photos
from tests.street_encoder import save_street_encoder

pytestmark = pytest.mark.gui

SOON = 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    save_street_encoder(folder / "street.encoder", features=True)
    encoder = open_encoder(folder / "street.encoder", threads=1, gpu=False)
    source = open_source(write_photos(folder / "photos"))
    build_index(folder / "street.index", source, encoder, attribution="Walkers").close()
    return folder


def settled() -> bool:
    """Whether the map's page has been written: on a busy machine a test may end before."""
    return not any(thread.name == "map-page" for thread in threading.enumerate())


def test_a_photo_is_matched_with_photos(new_window, folder: Path, qtbot) -> None:
    window = new_window(
        "--encoder",
        folder / "street.encoder",
        "--index",
        folder / "street.index",
        folder / "photos" / "p04.jpg",
    )
    session, workspace = window.session, window.workspace
    qtbot.waitUntil(
        lambda: session.evidence is not None and bool(session.answer.crops), timeout=SOON
    )
    assert session.evidence is not None and session.candidate is not None
    assert session.candidate.picture == "p04.jpg"
    answer = workspace.answer
    assert answer.headline.text() == "The best match was taken here."
    assert "photos" in window.status.fact.text() and "tile" not in window.status.fact.text()

    # The strip and the card beside it: the photo in its own shape, nothing drawn into it.
    crop = session.answer.crops[1]
    assert (crop.width(), crop.height()) == (48, 64)
    detail = workspace.detail
    values = {
        name: box.text() for name, (_, box) in detail._values.items() if box.isVisibleTo(detail)
    }
    assert values["picture"] == "p04.jpg, looks to 120°"
    assert "heading" not in values
    box = detail.tile.square()
    assert box.width() == pytest.approx(0.75 * box.height())
    detail.tile.set_heat(None, 0.0)
    shown = detail.tile.grab().toImage()
    middle = shown.pixelColor(box.center().toPoint())
    expected = session.evidence.tile.pixelColor(24, 32) if session.evidence.tile else None
    assert expected is not None
    assert abs(middle.red() - expected.red()) < 12 and abs(middle.blue() - expected.blue()) < 12

    # Evidence lies over both photos, and not on the map.
    heat = session.evidence.tile_heat
    assert heat is not None and heat.width() * 64 == heat.height() * 48
    assert "heat" not in workspace.map._state

    QTest.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: session.compared is not None, timeout=SOON)
    compared = session.compared
    assert compared is not None and not compared.aligned
    assert compared.caption.endswith("p04.jpg, taken towards 120°")
    photo, _, other = workspace.compare.strips.boxes()
    assert other.height() == photo.height() and other.width() == pytest.approx(
        0.75 * other.height()
    )
    assert not workspace.tile.isVisible()
    QTest.keyClick(window, Qt.Key.Key_Space)

    # Candidate 2 and its own photo.
    session.select(2)
    qtbot.waitUntil(lambda: session.evidence is not None, timeout=SOON)
    assert session.candidate is not None and session.candidate.picture != "p04.jpg"
    assert detail._values["picture"][1].text().startswith(session.candidate.picture)
    assert (
        shortened("@0584286.88@4477157.70@17@T@040.44080@-080.00616@.jpg")
        == "@0584286.88….00616@.jpg"
    )
    qtbot.waitUntil(settled, timeout=SOON)


def test_what_the_map_is_told(new_window, folder: Path, qtbot) -> None:
    window = new_window("--encoder", folder / "street.encoder", "--index", folder / "street.index")
    qtbot.waitUntil(lambda: window.session.bench.pair is not None, timeout=SOON)
    area = window.workspace.map._state["area"]["area"]
    assert area["token"] is None and len(area["places"]) == 12
    assert area["attribution"] == "Walkers"
    (south, west), (north, east) = area["bounds"]
    assert all(south < lat < north and west < lon < east for lat, lon in area["places"])
    qtbot.waitUntil(settled, timeout=SOON)
