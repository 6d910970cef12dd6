"""Icons outlive their files, which go when the program is renewed or removed while it runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from PySide6.QtCore import QSize

from app import icons
from app.icons import icon
from tests.conftest import ROOT


def drawn(name: str) -> bool:
    picture = icon(name).pixmap(QSize(16, 16)).toImage()
    return any(picture.pixelColor(x, y).alpha() for x in range(16) for y in range(16))


def test_icons_are_kept_and_a_missing_one_is_nothing(qapp, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "icons"
    shutil.copytree(ROOT / "resources" / "icons", folder)
    monkeypatch.setattr(icons, "resource", lambda *parts: tmp_path.joinpath(*parts))
    icons._sources.cache_clear()
    icons._source.cache_clear()
    try:
        assert drawn("open")
        shutil.rmtree(folder)
        assert drawn("open") and drawn("trash")
        assert not drawn("of another version")
    finally:
        icons._sources.cache_clear()
        icons._source.cache_clear()


def test_every_icon_that_is_named_is_there() -> None:
    named = re.compile(r"""\b(?:icon|IconLabel|set_icon)\("([a-z]+)\"""")
    wanted = {n for file in (ROOT / "app").rglob("*.py") for n in named.findall(file.read_text())}
    assert len(wanted) > 10
    assert wanted <= {path.stem for path in (ROOT / "resources" / "icons").glob("*.svg")}
