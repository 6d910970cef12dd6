"""A new index of pictures in the window: what the folder does not say is asked, the rest goes as with imagery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.library import builds
from app.photos import Stage
from app.training import processes
from engine.index import Index
from tests.engine.datasets.pictures import picture
from tests.engine.index.test_pictures_index import write_photos
from tests.gui.test_library import opened
from tests.gui.test_window import drop, files
from tests.street_encoder import save_street_encoder

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SOON, LATER = 30_000, 120_000
CLICK = Qt.MouseButton.LeftButton


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "my library"
    yield folder
    for build in builds.find_builds(folder):
        processes.end(build.launch.token, build.launch.pid, build.launch.mark)


def test_from_a_folder_of_photos_and_tiles_to_a_located_photo(
    new_window, root: Path, tmp_path: Path, qtbot
) -> None:
    folder = write_photos(tmp_path / "both")
    for number in range(2):
        picture(folder / f"satellite_60.2_{24.9 + number / 100}.png", number, (80, 80))
    save_street_encoder(tmp_path / "street.encoder")
    window = new_window("--encoder", tmp_path / "street.encoder")
    shelves = opened(window, root, qtbot)
    QTest.mouseClick(shelves.list.new, CLICK)
    new, form = shelves.new, shelves.new.form
    drop(window, files(folder))
    qtbot.waitUntil(form.pictures.isVisible, timeout=SOON)
    asked = form.pictures.question
    assert asked.text() == "The folder holds 2 tiles from above and 12 photos. Which are meant?"
    assert not form.fault.isVisible() and not form.start.isEnabled() and new.facts is None

    # Tiles: then their size must be said.
    QTest.mouseClick(form.pictures.kind.button("aerial"), CLICK)
    qtbot.waitUntil(lambda: "metres of ground" in asked.text(), timeout=SOON)
    form.pictures.side.setValue(64.0)
    qtbot.waitUntil(lambda: new.facts is not None, timeout=SOON)
    assert new.facts is not None and new.facts.places == 2 and new.facts.resolution_m == 0.8
    assert not asked.isVisible()

    # Photos: nothing more to say.
    QTest.mouseClick(form.pictures.kind.button("street"), CLICK)
    qtbot.waitUntil(lambda: new.facts is not None and new.facts.street, timeout=SOON)
    assert not form.pictures.side.isVisible() and not form.stride.isEnabled()
    qtbot.waitUntil(form.start.isEnabled, timeout=LATER)
    assert form.estimate.text().startswith("12 photos")
    assert new.wanted is not None and new.wanted.extents_m == () and new.wanted.kind == "street"
    area = shelves.ground.map._state["area"]["area"]
    assert len(area["places"]) == 12 and area["token"] is None

    form.name.selectAll()
    QTest.keyClicks(form.name, "walk")
    QTest.mouseClick(form.start, CLICK)
    qtbot.waitUntil(lambda: (root / "walk.index" / "manifest.json").exists(), timeout=LATER)
    with Index.open(root / "walk.index") as index:
        assert index.manifest.kind == "street" and index.manifest.count == 12
    qtbot.waitUntil(lambda: not window.library.builds, timeout=SOON)

    # And it answers.
    window.session.bench.open(None, root / "walk.index")
    window.session.add_files([folder / "p05.jpg"])
    qtbot.waitUntil(lambda: window.session.answer.stage == Stage.READY, timeout=SOON)
    candidate = window.session.candidate
    assert candidate is not None and candidate.picture == "p05.jpg"


def test_another_folder_is_asked_anew(new_window, root: Path, tmp_path: Path, qtbot) -> None:
    photos = write_photos(tmp_path / "street photos", 3)
    tiles = tmp_path / "tiles"
    for number in range(3):
        picture(tiles / f"t_60.200{number}_24.9001.png", number, (80, 80))
    save_street_encoder(tmp_path / "street.encoder")
    window = new_window("--encoder", tmp_path / "street.encoder")
    shelves = opened(window, root, qtbot)
    QTest.mouseClick(shelves.list.new, CLICK)
    new, form = shelves.new, shelves.new.form
    drop(window, files(photos))
    qtbot.waitUntil(lambda: new.facts is not None, timeout=SOON)
    assert new.facts is not None and new.facts.street and not form.pictures.question.isVisible()
    drop(window, files(tiles))
    qtbot.waitUntil(form.pictures.question.isVisible, timeout=SOON)
    assert "metres of ground" in form.pictures.question.text() and new.facts is None
    drop(window, files(photos))
    qtbot.waitUntil(lambda: new.facts is not None, timeout=SOON)
    assert form.pictures.chosen_side_m is None and form.pictures.chosen_kind is None
