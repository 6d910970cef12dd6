"""Preferences survive a restart, and a spoiled file does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs import Jobs
from app.notices import Notices
from app.settings.preferences import RECENT, Preferences, PreferenceStore, load


def test_round_trip(tmp_path: Path, qtbot) -> None:
    jobs = Jobs(Notices())
    path = tmp_path / "new folder" / "preferences.json"
    store = PreferenceStore(path, jobs)
    store.change(theme="dark", opacity=0.25)
    for i in range(RECENT + 3):
        store.remember(Path(f"/a/{i}.encoder"), None)
    store.flush()
    assert jobs.shut_down()
    again = load(path)
    assert again.theme == "dark" and again.opacity == 0.25
    assert again.encoder == f"/a/{RECENT + 2}.encoder"
    assert len(again.recent_encoders) == RECENT and again.recent_encoders[0] == again.encoder


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"theme": "pink"}',
        '{"opacity": 7}',
        '{"opacity": true}',
        '{"recent_indexes": [1]}',
        '{"x": 1}',
    ],
)
def test_spoiled_files_give_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(text)
    assert load(path) == Preferences()
