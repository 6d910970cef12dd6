"""The window with encoders that answer no heading: nothing is said, drawn or aligned that nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from engine.photo.write import save_jpeg
from tests.engine.whole import make_place
from tests.whole_encoder import plain_card

pytestmark = pytest.mark.gui

SOON = 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that attends to three extents, its index, and a photo."""
    folder = tmp_path_factory.mktemp("window")
    card = plain_card(extents=(80.0, 160.0, 40.0), kind="attention")
    place = make_place(folder, card, 25.0)
    save_jpeg(folder / "photo.jpg", place.from_above(110, 110).pixels, 92)
    place.index.close()
    return folder


def test_no_heading_is_shown_anywhere(new_window, folder: Path, qtbot, request) -> None:
    window = new_window(
        "--encoder",
        folder / "whole.encoder",
        "--index",
        folder / "whole.index",
        folder / "photo.jpg",
    )
    session = window.session
    qtbot.waitUntil(lambda: session.evidence is not None, timeout=SOON)
    facts = window.workspace.photo.facts
    assert not session.knows_heading
    assert not facts.ring.isEnabled() and not facts.heading.isVisible()
    assert not facts.heading_box.isEnabled() and facts.fov_box.isEnabled()
    assert "answers no heading" in facts.ring.accessibleName()
    detail = window.workspace.detail
    assert detail._values["heading"][1].text() == "not answered"
    assert session.candidate is not None and session.candidate.heading_deg is None
    note = detail._note.text()
    assert "where the encoder looked" in note and "40 m across" in note
    assert "looked" in window.workspace.photo.overlay.toolTip()
    QTest.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: session.compared is not None, timeout=SOON)
    strips = window.workspace.compare.strips
    assert session.compared is not None and not session.compared.aligned
    photo, _, tile = strips.boxes()
    assert photo.height() == tile.height() == tile.width() and not photo.intersects(tile)
    asked: list[object] = []
    strips.pointed.connect(asked.append)
    qtbot.mouseMove(strips, tile.center().toPoint())
    assert [place for place in asked if place is not None] == []
    assert strips.grab().toImage().pixelColor(photo.center().toPoint()).alpha() == 255
