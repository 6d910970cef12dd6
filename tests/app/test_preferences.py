"""Preferences survive a restart, and a spoiled file does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs import Jobs
from app.notices import Notices
from app.settings import preferences
from app.settings.preferences import RECENT, Preferences, PreferenceStore, load
from engine.errors import NadirError


def test_round_trip(tmp_path: Path, qtbot) -> None:
    jobs = Jobs(Notices())
    path = tmp_path / "new folder" / "preferences.json"
    store = PreferenceStore(path, jobs)
    store.change(theme="dark", opacity=0.25)
    for i in range(RECENT + 3):
        store.remember(Path(f"/a/{i}.encoder"), None)
    store.flush()
    assert jobs.shut_down()
    again, damage = load(path)
    assert damage is None
    assert again.theme == "dark" and again.opacity == 0.25
    assert again.encoder == f"/a/{RECENT + 2}.encoder"
    assert len(again.recent_encoders) == RECENT and again.recent_encoders[0] == again.encoder


def test_what_came_with_the_program_is_found_where_the_program_is_next(
    tmp_path: Path, qtbot, monkeypatch
) -> None:
    """An AppImage is mounted under another name at every start; folders of programs are moved."""
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        (place / "demo.encoder").mkdir(parents=True)
    (first / "old.encoder").mkdir()
    path = tmp_path / "preferences.json"
    jobs = Jobs(Notices())
    monkeypatch.setattr(preferences, "resources", lambda: first)
    store = PreferenceStore(path, jobs)
    own = tmp_path / "mine.encoder"
    for encoder in (first / "old.encoder", own, first / "demo.encoder"):
        store.remember(encoder, None)
    store.flush()
    assert jobs.shut_down()
    assert str(first) not in path.read_text()
    monkeypatch.setattr(preferences, "resources", lambda: second)
    again, damage = load(path)
    assert damage is None
    assert again.encoder == str(second / "demo.encoder")
    assert again.recent_encoders == (str(second / "demo.encoder"), str(own))


@pytest.mark.parametrize(
    "text",
    [
        '{"theme": "pink"}',
        '{"opacity": 7}',
        '{"opacity": true}',
        '{"recent_indexes": [1]}',
        '{"x": 1}',
    ],
)
def test_spoiled_values_give_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text)
    assert load(path) == (Preferences(), None)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_file_is_kept_beside_and_told_of(tmp_path: Path, qtbot, text: str) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text)
    jobs = Jobs(Notices())
    store = PreferenceStore(path, jobs)
    assert store.now == Preferences() and store.damage is not None
    assert "preferences.json.damaged" in store.damage.remedy
    store.change(theme="dark")
    store.flush()
    assert jobs.shut_down()
    assert (tmp_path / "preferences.json.damaged").read_text() == text
    assert load(path)[0].theme == "dark"


def test_what_cannot_be_written_is_told_once_with_file_and_reason(tmp_path: Path, qtbot) -> None:
    folder = tmp_path / "settings"
    folder.write_text("a file where the folder should be")
    notices = Notices()
    jobs = Jobs(notices)
    store = PreferenceStore(folder / "preferences.json", jobs)
    told: list[NadirError] = []
    store.not_kept.connect(told.append)
    for theme in ("dark", "light"):
        store.change(theme=theme)
        store.write()
        qtbot.waitUntil(lambda: jobs.idle)
    assert len(told) == 1 and not notices.kept
    assert told[0].path == folder / "preferences.json" and "not" in told[0].problem
    folder.unlink()
    store.write()
    qtbot.waitUntil(lambda: jobs.idle)
    assert load(folder / "preferences.json")[0].theme == "light"
    assert jobs.shut_down()
