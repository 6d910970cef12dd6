"""The guide is read from within the program."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QTextTable
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from app import guide
from app.jobs import Jobs
from app.notices import Notices
from engine.errors import NadirError


def quietly(_done: int, _total: int, _text: str) -> None:
    return None


def test_all_pages_are_there_in_their_order() -> None:
    pages = guide.read_guide(quietly)
    there = {path.name for path in guide.resource("guide").glob("*.md")} - {guide.FIRST}
    assert {page.name for page in pages} == there
    assert pages[0].title == "Install Nadir" and pages[1].name == "locate.md"
    assert not any("![" in page.text for page in pages)
    assert all(page.title and not page.title.startswith("#") for page in pages)


def test_it_is_read_and_its_links_lead_on(qtbot: QtBot) -> None:
    jobs = Jobs(Notices())
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = guide.GuideDialog(jobs, parent)
    dialog.show()
    qtbot.waitUntil(lambda: dialog.names.count() > 3, timeout=5000)
    assert dialog.text.toPlainText().startswith("Install Nadir")
    frames = dialog.text.document().rootFrame().childFrames()
    assert any(isinstance(frame, QTextTable) for frame in frames)
    dialog.text.anchorClicked.emit(QUrl("imagery.md"))
    assert dialog.names.currentItem().text() == "Use my imagery"
    dialog.text.anchorClicked.emit(QUrl("https://example.org/"))  # nothing leaves the machine
    assert dialog.names.currentItem().text() == "Use my imagery"
    assert jobs.shut_down()


def test_without_a_guide_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "resource", lambda *parts: tmp_path.joinpath(*parts))
    with pytest.raises(NadirError, match="guide cannot be read"):
        guide.read_guide(quietly)
