"""The first minutes with the window: where the keyboard is, what may be dropped, what is said of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCompleter, QDoubleSpinBox, QLineEdit, QMenu, QWidget

from app.library.model import Library
from app.main_window import MainWindow
from tests.gui.test_window import SOON, drop, files, located
from tests.sights import Sights

pytestmark = pytest.mark.gui


def keyboard(window: MainWindow) -> QWidget:
    held = window.focusWidget()
    assert held is not None
    return held


def test_space_compares_with_no_click_before(window: MainWindow, sights: Sights, qtbot) -> None:
    assert keyboard(window) is window.workspace
    QTest.keyClick(keyboard(window), Qt.Key.Key_Space)
    assert not window.header.area.isDown()
    drop(window, files(sights.photo))
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert keyboard(window) is window.workspace.strip
    for comparing in (True, False, True, False):
        QTest.keyClick(keyboard(window), Qt.Key.Key_Space)
        assert window.session.comparing is comparing
    window.workspace.setFocus()
    QTest.keyClick(keyboard(window), Qt.Key.Key_Right)
    assert window.session.answer.rank == 2
    window.workspace.tray.setFocus()
    QTest.keyClick(keyboard(window), Qt.Key.Key_Left)
    assert window.session.answer.rank == 1


def test_the_header_is_reached_by_tab_and_never_by_chance(window: MainWindow, qtbot) -> None:
    window.show_workspace("library")
    window.library.show("import")
    page = window.shelves.imports
    page.form.show()
    page.options.setFocus()
    assert keyboard(window) is page.options
    for hidden in (True, False):
        last = page.options
        last.setFocus()
        if hidden:
            last.hide()
        else:
            last.setEnabled(False)
        assert window.shelves.isAncestorOf(keyboard(window)) or keyboard(window) is window.shelves
        last.show()
    window.status.bell.setFocus()
    window.focusNextChild()
    seen = [keyboard(window)]
    while window.header.area not in seen and len(seen) < 60:
        window.focusNextChild()
        seen.append(keyboard(window))
    assert window.header.area in seen


def test_a_checkpoint_is_offered_to_be_imported(
    window: MainWindow, sights: Sights, tmp_path: Path, qtbot
) -> None:
    for name in ("statewide.safetensors", "model.pth.tar"):
        window.show_workspace("locate")
        weights = tmp_path / name
        weights.write_bytes(bytes(8))
        drop(window, files(weights))
        qtbot.waitUntil(lambda: window.library.page == "import", timeout=SOON)
        assert not window.locating and not window.session.photos
        qtbot.waitUntil(
            lambda weights=weights: window.shelves.imports.file.whole() == str(weights),
            timeout=SOON,
        )
        window.library.show("item")


def test_a_checkpoint_named_on_the_command_line(new_window, tmp_path: Path, qtbot) -> None:
    weights = tmp_path / "gem.pth"
    weights.write_bytes(bytes(8))
    window = new_window(weights)
    assert isinstance(window.library, Library) and window.library.page == "import"
    assert not window.session.photos


def test_a_packed_area_goes_to_the_library(
    window: MainWindow, sights: Sights, tmp_path: Path, qtbot
) -> None:
    """What file managers open with Nadir by its ending."""
    window.store.change(library=str(tmp_path / "library"))
    packed = shutil.make_archive(
        str(tmp_path / "harbour.index"), "zip", sights.index.parent, sights.index.name
    )
    drop(window, files(Path(packed)))
    entries = window.library.listed
    qtbot.waitUntil(lambda: any(e.home == "library" for e in entries("index")), timeout=SOON)
    assert not window.locating and not window.session.photos


def test_an_area_named_goes_before_the_encoder_of_last_time(
    new_window, sights: Sights, tmp_path: Path, qtbot
) -> None:
    last, known = str(sights.other_encoder), str(sights.encoder)
    kept = {"encoder": last, "recent_encoders": [last, known]}
    (tmp_path / "preferences.json").write_text(json.dumps(kept))
    window = new_window("--index", sights.index)
    qtbot.waitUntil(lambda: window.session.bench.pair is not None, timeout=SOON)
    assert window.session.bench.encoder.path == sights.encoder
    assert window.header.encoder.text().startswith("linear")
    assert not window.session.notices.kept


def test_the_menu_names_the_keys_that_work(window: MainWindow) -> None:
    menu = window.header.menu_button.menu()
    assert isinstance(menu, QMenu)
    keys = dict(action.text().split("\t") for action in menu.actions() if "\t" in action.text())
    assert keys == {"Compare": "Space", "Previous candidate": "←", "Next candidate": "→"}
    assert window.actions_.compare.iconText() == "Compare"


def test_samples_of_port_nemo_are_said_to_be_of_there(new_window, sights: Sights, qtbot) -> None:
    title = new_window("--demo").workspace.welcome._samples_title
    assert "Port Nemo" not in title.text()
    other = new_window("--encoder", sights.encoder, "--index", sights.index)
    assert "Port Nemo" in other.workspace.welcome._samples_title.text()


def test_a_damaged_file_of_settings_is_told(new_window, tmp_path: Path, qtbot) -> None:
    (tmp_path / "preferences.json").write_text("{")
    window = new_window()
    qtbot.waitUntil(lambda: bool(window.session.notices.kept), timeout=SOON)
    text = window.session.notices.kept[-1].text
    assert "preferences.json" in text and "preferences.json.damaged" in text


def test_a_very_small_window(new_window, sights: Sights, qtbot) -> None:
    size = (700, 480)
    window = new_window(
        "--encoder", sights.encoder, "--index", sights.index, sights.photo, size=size
    )
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert (window.width(), window.height()) == size
    panel = window.workspace.photo
    for part in (window.header.menu_button, window.status.bell, panel.flat, panel.opacity):
        corner = part.mapTo(window, part.rect().bottomRight())
        assert part.isVisible() and window.rect().contains(corner)
    window.resize(
        860, 700
    )  # enough for all that is said of the photo, and the map gives way for it
    qtbot.waitUntil(lambda: panel.facts.isVisible() and panel.facts.ring.isVisible())


def test_fields_of_numbers_and_lists_of_completions_look_like_the_rest(
    window: MainWindow, qtbot
) -> None:
    host = QWidget(window)
    line, box = QLineEdit("ab", host), QDoubleSpinBox(host)
    completer = QCompleter(["abc", "abd"], line)
    line.setCompleter(completer)
    line.resize(200, 30)
    box.move(0, 40)
    box.resize(200, 30)
    host.resize(200, 80)
    host.show()
    inner = box.findChild(QLineEdit)
    assert inner is not None
    line.home(False)
    inner.home(False)
    left = line.cursorRect().left() - (inner.cursorRect().left() + inner.x())
    assert abs(left) <= 1
    completer.complete()
    popup = completer.popup()
    assert popup is not None
    paper = popup.grab().toImage().pixelColor(popup.width() // 2, popup.height() - 4)
    ink = popup.palette().text().color()
    popup.hide()
    assert abs(paper.lightness() - ink.lightness()) > 100
