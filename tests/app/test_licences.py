"""The page of licences, and files that the desktop hands over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from app import licences
from app.jobs import Jobs
from app.main import parse, sort_arguments
from app.notices import Notices
from engine.errors import NadirError


def quietly(_done: int, _total: int, _text: str) -> None:
    return None


def test_a_checkout_tells_of_its_libraries() -> None:
    terms = licences.read_terms(quietly)
    assert terms[0].name == "Nadir" and "MIT" in terms[0].text
    by_name = {part.name: part for part in terms}
    assert "Leaflet" in by_name and "LGPL" in by_name["PySide6"].licence
    assert "Redistribution" in by_name["numpy"].page


def test_the_frozen_program_shows_what_its_build_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr(licences, "resource", lambda *parts: tmp_path.joinpath(*parts))
    part = {
        "name": "GDAL",
        "version": "3",
        "licence": "MIT",
        "home": "https://gdal.org",
        "text": "T",
    }
    (tmp_path / licences.LIST).write_text(json.dumps([part, {**part, "name": "PROJ"}]))
    notices = Notices()
    jobs = Jobs(notices)
    from PySide6.QtWidgets import QWidget

    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = licences.LicencesDialog(jobs, parent)
    dialog.show()
    qtbot.waitUntil(lambda: dialog.names.count() == 2, timeout=5000)
    dialog.names.setCurrentRow(1)
    assert dialog.text.toPlainText() == "PROJ 3\nMIT\nhttps://gdal.org\n\nT"
    assert jobs.shut_down()


def test_a_damaged_list_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "resource", lambda *parts: tmp_path.joinpath(*parts))
    (tmp_path / licences.LIST).write_text("[{}]")
    with pytest.raises(NadirError, match="damaged"):
        licences.read_terms(quietly)


def test_what_a_file_manager_hands_over_is_told_apart(tmp_path: Path) -> None:
    for name in ("town", "town.index", "net.encoder"):
        (tmp_path / name).mkdir()
    (tmp_path / "town" / "manifest.json").write_text("{}")
    photo, area, named = tmp_path / "a.jpg", tmp_path / "town", tmp_path / "town.index"
    net = tmp_path / "net.encoder"
    told = sort_arguments(parse([str(photo), str(area), str(net)]))
    assert (told.photos, told.index, told.encoder) == ([photo], area, net)
    told = sort_arguments(parse([str(named), "--encoder", "mine.encoder"]))
    assert (told.photos, told.index, told.encoder) == ([], named, Path("mine.encoder"))
