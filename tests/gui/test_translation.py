"""Every text of the window can be translated: a made-up language reaches all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTranslator
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QMenu, QWidget

from app.bench import Load
from app.library.words import sentence
from app.rail import LIBRARY, TRAIN
from engine.shipped import shipped_encoder, shipped_index
from tests.conftest import ROOT

pytestmark = pytest.mark.gui

RECIPES = Path(__file__).resolve().parents[2] / "resources" / "recipes"


def tool(name: str) -> str:
    """One of PySide's command line tools."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def made_up_language(qapp: QApplication, tmp_path: Path) -> Iterator[None]:
    """«Every text in brackets»."""
    sources = [str(path) for path in (ROOT / "app").rglob("*.py")]
    ts, qm = tmp_path / "nadir_xx.ts", tmp_path / "nadir_xx.qm"
    subprocess.run([tool("pyside6-lupdate"), *sources, "-ts", ts], check=True, capture_output=True)
    tree = ElementTree.parse(ts)
    for message in tree.getroot().iter("message"):
        source, translation = message.find("source"), message.find("translation")
        assert source is not None and translation is not None
        translation.text = f"«{source.text}»"
        translation.attrib.pop("type", None)
    tree.write(ts, encoding="utf-8", xml_declaration=True)
    subprocess.run([tool("pyside6-lrelease"), ts, "-qm", qm], check=True, capture_output=True)
    translator = QTranslator()
    assert translator.load(str(qm))
    qapp.installTranslator(translator)
    yield
    qapp.removeTranslator(translator)


def test_every_text_is_translated(made_up_language, new_window, sights, qtbot) -> None:
    window = new_window("--encoder", sights.encoder, "--index", sights.index, sights.photo)
    qtbot.waitUntil(lambda: window.session.evidence is not None, timeout=30_000)
    window.show_workspace(LIBRARY)
    qtbot.waitUntil(lambda: window.library.entry is not None, timeout=30_000)
    for page in ("import", "new"):  # which make their parts
        window.library.show(page)
    window.show_workspace(TRAIN)
    training = window.training
    qtbot.waitUntil(lambda: training.interpreter_load in (Load.READY, Load.FAILED), timeout=60_000)
    own = {sights.photo.name, "linear", "flat", "CPU", window.status.who.text()}
    own |= {path.stem for path in (shipped_encoder(), shipped_index()) if path is not None}
    own.add(window.train.setup.form.about.text())  # said by the recipe
    manifest = window.session.bench.index.value.manifest  # whose words the card repeats
    (imagery,) = manifest.imagery
    own |= {manifest.made_by, imagery.crs, f"{imagery.name} ({imagery.kind})"}
    own |= set(map(sentence, manifest.notes))
    english = set()
    for widget in window.findChildren(QWidget):
        if isinstance(widget, (QLabel, QAbstractButton)):
            text = widget.text().removesuffix("  ▾").strip()
            letters = [c for c in text if c.isalpha()]
            if letters and "«" not in text and text not in own:
                english.add(text)
    for menu in window.findChildren(QMenu):
        english |= {a.text() for a in menu.actions() if a.text() and "«" not in a.text()} - own
    # Said by the engine and by files, not by the window.
    note = window.session.result.notices[0]
    english = {t for t in english if not note.startswith(t[:20]) and t not in own}
    # A menu of recipes names files, and says of each what the file says of itself.
    recipes = {path.stem for path in RECIPES.glob("*.toml")}
    english = {t for t in english if t.split("\t")[0] not in recipes}
    assert english == set()
