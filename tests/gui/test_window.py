"""The window, driven as a person would: drops, clicks, keys; what is shown in every state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton, QToolButton, QWidget

from app.main_window import MainWindow
from app.photo.panel import AROUND
from app.photos import Stage
from engine.geo import distance_m, heading_difference
from tests.sights import Sights

pytestmark = pytest.mark.gui
SOON = 30_000


def drop(window: MainWindow, data: QMimeData, at: QWidget | None = None) -> None:
    """Drop something on the window as the window system would: enter, then drop."""
    spot = QPointF(window.rect().center())
    action, button, keys = (
        Qt.DropAction.CopyAction,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    enter = QDragEnterEvent(spot.toPoint(), action, data, button, keys)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(window, QDropEvent(spot, action, data, button, keys))


def files(*paths: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def located(window: MainWindow) -> bool:
    return window.session.answer.stage == Stage.READY and window.session.evidence is not None


def searched_heading(window: MainWindow) -> float | None:
    """The heading that the answer shown was searched with."""
    result = window.session.result
    assert result is not None
    return result.plan.heading_deg


def buttons_of(widget: QWidget) -> list[str]:
    return [b.text() for b in widget.findChildren(QPushButton) if b.isVisibleTo(widget)]


def test_dropped_files_are_located_and_shown(window: MainWindow, sights: Sights, qtbot) -> None:
    assert window.workspace.welcome.isVisible()
    drop(window, files(sights.panorama, sights.photo, sights.text))
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert not window.workspace.welcome.isVisible()
    assert window.workspace.photo.isVisible() and window.workspace.strip.isVisible()
    assert window.workspace.photo.name.whole() == sights.panorama.name
    candidate = window.session.candidate
    assert candidate is not None
    assert distance_m(candidate.lat, candidate.lon, sights.lat, sights.lon) < 5
    assert window.workspace.strip.model().rowCount() > 1
    assert window.workspace.detail.isVisible()
    assert window.status.fact.whole().startswith("Located in ")
    assert "linear" in window.status.who.text() and "CPU" in window.status.who.text()
    assert "not trained" in window.workspace.answer.caveat.toolTip()
    qtbot.waitUntil(lambda: window.session.photos[2].stage == Stage.FAILED, timeout=SOON)
    assert window.notice.isVisible() and "letter.jpg" in window.notice.accessibleName()


def test_a_photo_named_on_the_command_line(new_window, sights: Sights, qtbot) -> None:
    window = new_window("--encoder", sights.encoder, "--index", sights.index, sights.photo)
    qtbot.waitUntil(lambda: located(window), timeout=SOON)


def test_a_picture_out_of_a_browser_and_an_address_alone(window: MainWindow, sights, qtbot) -> None:
    data = QMimeData()
    data.setData("image/jpeg", sights.photo.read_bytes())
    data.setUrls([QUrl("https://example.org/corner.jpg")])
    drop(window, data)
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert window.session.photos[0].name == "corner.jpg"
    only = QMimeData()
    only.setUrls([QUrl("https://example.org/other.jpg")])
    drop(window, only)
    qtbot.waitUntil(lambda: window.notice.isVisible(), timeout=SOON)
    assert "network" in window.notice.accessibleName()
    assert len(window.session.photos) == 1


def test_a_picture_on_the_clipboard_is_pasted(window: MainWindow, sights: Sights, qtbot) -> None:
    QGuiApplication.clipboard().setImage(QImage(str(sights.photo)))
    window.actions_.paste.trigger()
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    QGuiApplication.clipboard().setText("hello")
    window.actions_.paste.trigger()
    assert "no picture" in window.notice.accessibleName()


def test_the_heading_typed_in_is_answered_at_once(window: MainWindow, sights, qtbot) -> None:
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    facts = window.workspace.photo.facts
    assert facts.heading.button("find").isChecked()
    facts.heading_box.setFocus()
    facts.heading_box.selectAll()
    QTest.keyClicks(facts.heading_box, "40")
    assert facts.heading.button("known").isChecked()
    qtbot.waitUntil(lambda: located(window) and searched_heading(window) == 40.0, timeout=SOON)
    QTest.mouseClick(facts.heading.button("find"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: located(window) and searched_heading(window) is None, timeout=SOON)


def test_the_dial_turns_by_mouse_and_keys(window: MainWindow, sights: Sights, qtbot) -> None:
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    ring = window.workspace.photo.facts.ring
    middle = ring.rect().center()
    QTest.mouseClick(ring, Qt.MouseButton.LeftButton, pos=middle + QPoint(25, 3))
    item = window.session.current
    assert item is not None and item.heading_deg == pytest.approx(90, abs=10)
    before = item.heading_deg
    assert before is not None
    ring.setFocus()
    QTest.keyClick(ring, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(ring, Qt.Key.Key_Left)
    assert item.heading_deg == pytest.approx(before + 9)
    qtbot.waitUntil(
        lambda: located(window) and searched_heading(window) == item.heading_deg,
        timeout=SOON,
    )


def test_the_rail_gives_the_keyboard_to_the_candidates(
    window: MainWindow, sights: Sights, qtbot
) -> None:
    locate = next(b for b in window.rail.findChildren(QToolButton) if b.text() == "Locate")
    locate.setFocus()
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert window.focusWidget() is window.workspace.strip
    QTest.mouseClick(window.rail.train, Qt.MouseButton.LeftButton)
    QTest.mouseClick(locate, Qt.MouseButton.LeftButton)
    assert window.focusWidget() is window.workspace.strip
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Space)
    assert window.session.comparing


def test_candidates_by_keys_and_compare_by_space(window: MainWindow, sights, qtbot) -> None:
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    strip = window.workspace.strip
    strip.setFocus()
    QTest.keyClick(strip, Qt.Key.Key_Right)
    assert window.session.answer.rank == 2
    QTest.keyClick(strip, Qt.Key.Key_Space)
    assert window.workspace.compare.isVisible() and window.workspace.tile.isVisible()
    qtbot.waitUntil(lambda: window.session.compared is not None, timeout=SOON)
    strips = window.workspace.compare.strips
    QTest.keyClick(strips, Qt.Key.Key_Right)
    assert window.session.answer.rank == 3
    qtbot.waitUntil(lambda: window.session.compared is not None, timeout=SOON)
    _, _, tile = strips.boxes()
    candidate = window.session.candidate
    assert candidate is not None and candidate.heading_deg is not None
    readout = window.workspace.compare._readout

    def pointed() -> bool:
        """Point at the middle anew: what arrives late clears what was said of the cursor."""
        QTest.mouseMove(strips, tile.center().toPoint() + QPoint(0, 1))
        QTest.mouseMove(strips, tile.center().toPoint())
        return "°" in readout.text()

    qtbot.waitUntil(pointed, timeout=SOON)
    said = readout.text()  # the photo looks at the middle: "NE 040° · 20 m"
    bearing = float(said.split("°")[0].split()[1])
    assert heading_difference(bearing, candidate.heading_deg) < 2 and said.endswith(" m")
    QTest.keyClick(strips, Qt.Key.Key_Space)
    assert window.workspace.photo.isVisible() and not window.workspace.tile.isVisible()


def test_looking_around_in_a_panorama(window: MainWindow, sights: Sights, qtbot) -> None:
    window.session.add_files([sights.panorama])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    panel = window.workspace.photo
    QTest.mouseClick(panel.modes.button(AROUND), Qt.MouseButton.LeftButton)
    around = panel.around
    assert around.isVisible()
    qtbot.waitUntil(lambda: around._shown is not None, timeout=SOON)
    first = around._shown
    middle = around.rect().center()
    QTest.mousePress(around, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(around, middle - QPoint(80, 10))
    QTest.mouseRelease(around, Qt.MouseButton.LeftButton, pos=middle - QPoint(80, 10))
    qtbot.waitUntil(lambda: around._shown is not first, timeout=SOON)
    assert around._look.azimuth > 5


def test_a_text_named_jpg_is_explained_in_its_place(window: MainWindow, sights, qtbot) -> None:
    window.session.add_files([sights.text])
    qtbot.waitUntil(lambda: window.session.photos[0].stage == Stage.FAILED, timeout=SOON)
    panel = window.workspace.photo
    assert panel.stack.currentWidget() is panel.card
    qtbot.waitUntil(lambda: "Try again" in buttons_of(panel.card))
    assert not window.notice.isVisible()  # said once, where one looks
    assert len(window.session.notices.kept) == 1


def test_no_area_says_how_to_get_one(new_window, sights: Sights, qtbot) -> None:
    window = new_window("--encoder", sights.encoder, "--index", sights.folder / "nowhere.index")
    qtbot.waitUntil(lambda: window.session.bench.index.error is not None, timeout=SOON)
    card = window.workspace._card
    assert card.isVisible()
    qtbot.waitUntil(lambda: any("Open an area" in text for text in buttons_of(card)))
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: window.session.photos[0].stage == Stage.READY, timeout=SOON)
    assert "No area" in window.workspace.answer.headline.text()
    assert not window.actions_.export.isEnabled()


def test_an_encoder_dropped_that_does_not_fit(window: MainWindow, sights: Sights, qtbot) -> None:
    drop(window, files(sights.other_encoder))
    qtbot.waitUntil(lambda: window.session.bench.index.error is not None, timeout=SOON)
    card = window.workspace._card
    qtbot.waitUntil(lambda: card.isVisible() and "Go back" in buttons_of(card))
    back = next(b for b in card.findChildren(QPushButton) if b.text() == "Go back")
    QTest.mouseClick(back, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.session.bench.pair is not None, timeout=SOON)
    assert not card.isVisible()


def test_heat_maps_are_faded_and_hidden(window: MainWindow, sights: Sights, qtbot) -> None:
    window.session.add_files([sights.photo])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    panel = window.workspace.photo
    shown = panel.flat.grab().toImage()
    QTest.mouseClick(panel.overlay, Qt.MouseButton.LeftButton)
    hidden = panel.flat.grab().toImage()
    assert shown != hidden and not window.session.overlay_shown
    window.actions_.overlay.trigger()
    panel.opacity.setFocus()
    QTest.keyClick(panel.opacity, Qt.Key.Key_Home)
    assert window.session.overlay_opacity == 0
    assert panel.flat.grab().toImage() == hidden


def test_theme_chosen_in_the_settings_holds_at_once_and_later(
    new_window, sights: Sights, qtbot, tmp_path: Path
) -> None:
    window = new_window()
    QTest.mouseClick(window.rail.settings, Qt.MouseButton.LeftButton)
    assert window.settings.isVisible()
    QTest.mouseClick(window.settings.theme.button("dark"), Qt.MouseButton.LeftButton)
    dark = QApplication.palette().window().color()
    QTest.mouseClick(window.settings.theme.button("light"), Qt.MouseButton.LeftButton)
    assert dark.lightness() < 100 < QApplication.palette().window().color().lightness()
    window.settings.hide()
    window.close()
    assert json.loads((tmp_path / "preferences.json").read_text())["theme"] == "light"


def test_the_keyboard_reaches_everything(window: MainWindow, sights: Sights, qtbot) -> None:
    window.session.add_files([sights.panorama])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    start = window.header.area
    start.setFocus()
    seen: list[QWidget] = []
    for _ in range(80):
        now = window.focusWidget()
        if now is None or now in seen:
            break
        seen.append(now)
        window.focusNextChild()
    for wanted in (
        window.header.encoder,
        window.header.menu_button,
        window.rail.locate,
        window.rail.settings,
        window.workspace.tray,
        window.workspace.photo.overlay,
        window.workspace.photo.opacity,
        window.workspace.photo.flat,
        window.workspace.photo.facts.ring,
        window.workspace.photo.facts.heading_box,
        window.workspace.photo.facts.fov_box,
        window.workspace.photo.facts.camera_button,
        window.workspace.answer.caveat,
        window.workspace.strip,
        window.status.bell,
    ):
        assert wanted in seen, wanted.accessibleName()
    nameless = [w for w in seen if not (w.accessibleName() or getattr(w, "text", str)())]
    assert [type(w).__name__ for w in nameless if not type(w).__name__.startswith("Q")] == []


def test_copying_coordinates(window: MainWindow, sights: Sights, qtbot) -> None:
    window.session.add_files([sights.panorama])
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    window.actions_.copy.trigger()
    lat, lon = (float(part) for part in QGuiApplication.clipboard().text().split(","))
    candidate = window.session.candidate
    assert candidate is not None
    assert distance_m(lat, lon, candidate.lat, candidate.lon) < 0.2


def test_long_names_and_a_small_window(new_window, sights: Sights, qtbot, tmp_path: Path) -> None:
    long = tmp_path / ("a very long name of a photo " * 6 + ".jpg")
    long.write_bytes(sights.panorama.read_bytes())
    window = new_window("--encoder", sights.encoder, "--index", sights.index, long, size=(880, 560))
    qtbot.waitUntil(lambda: located(window), timeout=SOON)
    assert (window.width(), window.height()) == (880, 560)
    panel = window.workspace.photo
    for part in (panel.name, panel.modes, panel.overlay, panel.opacity, panel.facts.heading):
        assert part.isVisible() and panel.rect().contains(
            part.mapTo(panel, part.rect().bottomRight())
        )
