"""A released checkpoint imported in the window, or how to get what that needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from app.library.sections import sections
from app.main_window import MainWindow
from engine.encoder import open_encoder
from tests.gui.test_library import opened
from tests.gui.test_window import drop, files

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SOON, LATER = 30_000, 150_000
CLICK = Qt.MouseButton.LeftButton


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "my library"


def published(folder: Path) -> Path:
    """Weights of a ResNet-18 whose pooling has no parameters, as the benchmark's authors publish such."""
    torch = pytest.importorskip("torch")
    from engine.networks import build_network

    torch.manual_seed(1)
    options = {"backbone": "resnet", "aggregation": "spoc", "input_size": (64, 96)}
    model = build_network("vg-benchmark", options)
    state = {k.removeprefix("model."): v for k, v in model.state_dict().items()}
    path = folder / "best_model.pth"
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.mark.slow
def test_what_the_weights_do_not_tell_is_asked_then_they_are_imported(
    window: MainWindow, root: Path, tmp_path: Path, qtbot
) -> None:
    weights = published(tmp_path)
    shelves = opened(window, root, qtbot)
    page = shelves.imports
    drop(window, files(weights))
    qtbot.waitUntil(lambda: window.library.page == "import", timeout=SOON)
    assert shelves.stack.currentWidget() is page and shelves.list.kind == "encoder"
    qtbot.waitUntil(lambda: window.training.interpreter is not None, timeout=LATER)
    qtbot.waitUntil(page.form.isVisible, timeout=SOON)
    assert page.name.text() == "best_model" and page.start.isEnabled()
    QTest.keyClicks(page.photos, "64 by 96")
    assert not page.start.isEnabled() and "128x512" in page.text.text()
    page.photos.clear()
    QTest.mouseClick(page.start, CLICK)
    assert page.bar.isVisible() and page.stop.isVisible()
    qtbot.waitUntil(page.problem.isVisible, timeout=LATER)
    assert "aggregation" in page.problem.accessibleName()
    assert list(root.glob("*.encoder")) == []

    QTest.keyClicks(page.options, "aggregation=spoc")
    for field in (page.photos, page.tiles):
        QTest.keyClicks(field, "64x96")
    page.extent.setValue(40.0)
    page.name.selectAll()
    QTest.keyClicks(page.name, "street resnet")
    QTest.mouseClick(page.start, CLICK)
    there = root / "street resnet.encoder"
    qtbot.waitUntil(lambda: window.library.chosen == there, timeout=LATER)
    entry = window.library.entry
    assert entry is not None and entry.check is not None and entry.check.good
    assert open_encoder(there, gpu=False).card.tile_extents_m == (40.0,)
    assert [p.name for p in root.iterdir() if p.name.startswith(".importing")] == []
    rows = [row for section in sections(entry, window.library) for row in section.rows]
    assert any(row.name == "Import" and "differ from the network by" in row.text for row in rows)


@pytest.mark.skipif(os.name == "nt", reason="writes a shell script")
def test_without_torch_the_way_to_it_is_shown(
    window: MainWindow, root: Path, tmp_path: Path, qtbot
) -> None:
    poor = tmp_path / "poor python"
    poor.write_text('#!/bin/sh\necho \'{"version": [3, 12, 1], "found": ["numpy", "PIL"]}\'\n')
    poor.chmod(0o755)
    window.store.change(python=str(poor))
    shelves = opened(window, root, qtbot)
    QTest.mouseClick(shelves.list.kinds.button("encoder"), CLICK)
    QTest.mouseClick(shelves.list.import_, CLICK)
    card = shelves.imports.card

    def buttons() -> list[str]:
        return [b.text() for b in card.findChildren(QPushButton) if b.isVisibleTo(card)]

    qtbot.waitUntil(lambda: "Copy the command" in buttons(), timeout=SOON)
    assert card._headline.text() == "Importing needs PyTorch"
    assert "pip install" in card.commands.toPlainText() and not shelves.imports.form.isVisible()
