"""A new index in the window, from a dropped GeoTIFF to a located photo; builds that pause and outlive the window."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QEventLoop, QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from app.bench import Load
from app.library import builds
from app.library.builds import Build, State
from app.library.workspace import LibraryWorkspace
from app.main_window import MainWindow
from app.photos import Stage
from app.training import processes
from engine.geo import LocalFrame, distance_m
from engine.imagery import open_imagery
from engine.imagery.web_tiles import web_tile
from engine.index import Index
from tests.engine.imagery.tile_server import Asked, Reply, serving
from tests.full_disk import full_disk
from tests.gui.map.conftest import NO_MAP, Driver
from tests.gui.test_library import answer, opened
from tests.gui.test_window import drop, files
from tests.sights import Sights

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SOON, LATER = 30_000, 120_000
CLICK = Qt.MouseButton.LeftButton


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The library's folder; what a failed test leaves at work there is ended."""
    folder = tmp_path / "my library"
    yield folder
    for build in builds.find_builds(folder):
        processes.end(build.launch.token, build.launch.pid, build.launch.mark)


def set_up(window: MainWindow, root: Path, imagery: Path, qtbot) -> LibraryWorkspace:
    """The guided task with imagery dropped onto it, ready to start."""
    shelves = opened(window, root, qtbot)
    QTest.mouseClick(shelves.list.new, CLICK)
    assert shelves.stack.currentWidget() is shelves.new
    drop(window, files(imagery))
    form = shelves.new.form
    qtbot.waitUntil(lambda: shelves.new.facts is not None, timeout=SOON)
    qtbot.waitUntil(form.start.isEnabled, timeout=LATER)
    return shelves


def only_build(window: MainWindow) -> Build:
    (build,) = window.library.builds
    return build


def begin(window: MainWindow, shelves: LibraryWorkspace, name: str, qtbot) -> Build:
    form = shelves.new.form
    form.name.selectAll()
    QTest.keyClicks(form.name, name)
    QTest.mouseClick(form.start, CLICK)
    qtbot.waitUntil(lambda: bool(window.library.builds), timeout=SOON)
    return only_build(window)


def drag(target: QWidget, start: QPoint, end: QPoint) -> None:
    QTest.mousePress(target, CLICK, pos=start)
    for step in range(1, 6):
        QTest.mouseMove(target, start + (end - start) * step / 5)
        loop = QEventLoop()
        QTimer.singleShot(20, loop.quit)
        loop.exec()
    QTest.mouseRelease(target, CLICK, pos=end)


@pytest.mark.skipif(bool(NO_MAP), reason=NO_MAP or "the map can be shown")
def test_from_a_dropped_geotiff_to_a_located_photo(
    new_window: Callable[..., MainWindow], sights: Sights, root: Path, qtbot
) -> None:
    window = new_window("--encoder", sights.encoder)
    shelves = set_up(window, root, sights.folder / "imagery.tif", qtbot)
    new, form = shelves.new, shelves.new.form
    said = form.facts.findChildren(QWidget)
    texts = " ".join(getattr(part, "text", str)() for part in said if hasattr(part, "text"))
    assert "50 cm a pixel" in texts and "EPSG:32710" in texts and "GeoTIFF" in texts
    whole = new._outlook
    assert whole is not None and whole.tiles > 1000 and "tiles" in form.estimate.text()

    # A box on the map, about where the photo was taken: fewer tiles, reckoned anew.
    driver = Driver(shelves.ground.map)
    qtbot.waitUntil(lambda: shelves.ground.map._listening, timeout=SOON)
    QTest.mouseClick(form.area.button("drawn"), CLICK)
    assert form.box.isChecked()
    driver.rest(300)
    driver.settled()
    frame = LocalFrame(sights.lat, sights.lon)
    corners = [driver.point(*map(float, frame.to_wgs84(*spot))) for spot in ((-30, 30), (30, -30))]
    drag(driver.target, *corners)
    qtbot.waitUntil(lambda: new.areas.chosen is not None, timeout=SOON)
    qtbot.waitUntil(lambda: new._outlook is not None and form.start.isEnabled(), timeout=LATER)
    assert new._outlook is not None and 100 < new._outlook.tiles < 0.5 * whole.tiles
    assert not form.box.isChecked(), "what was drawn stays until another is asked for"

    build = begin(window, shelves, "harbour", qtbot)
    assert shelves.stack.currentWidget() is shelves.page
    out = root / "harbour.index"
    assert build.out == out
    qtbot.waitUntil(lambda: (out / "manifest.json").is_file(), timeout=LATER)
    qtbot.waitUntil(lambda: not window.library.builds, timeout=SOON)
    qtbot.waitUntil(shelves.page.use.isEnabled, timeout=SOON)
    entry = window.library.of(out)
    assert entry is not None and entry.item.error is None and entry.item.manifest is not None
    assert 0 < entry.item.manifest.count <= new_count(whole.tiles)
    assert not (root / builds.BUILDS / "harbour").exists(), "put away"

    qtbot.waitUntil(shelves.page.use.isEnabled, timeout=SOON)
    QTest.mouseClick(shelves.page.use, CLICK)
    bench = window.session.bench
    qtbot.waitUntil(lambda: bench.index.path == out and bench.pair is not None, timeout=SOON)
    drop(window, files(sights.photo))
    qtbot.waitUntil(lambda: window.session.answer.stage == Stage.READY, timeout=SOON)
    candidate = window.session.candidate
    assert candidate is not None
    assert distance_m(candidate.lat, candidate.lon, sights.lat, sights.lon) < 6


def new_count(tiles: int) -> int:
    """At most half of what all of the imagery would be."""
    return tiles // 2


def slow(window: MainWindow, shelves: LibraryWorkspace, qtbot) -> None:
    """Ask for so many tiles that there is time to pause."""
    form = shelves.new.form
    form.more.setChecked(True)
    form.stride.setValue(0.8)
    qtbot.waitUntil(lambda: shelves.new._outlook is None, timeout=SOON)
    qtbot.waitUntil(form.start.isEnabled, timeout=LATER)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_pause_outlives_the_window_and_a_killed_build_is_told_and_resumed(
    new_window: Callable[..., MainWindow], sights: Sights, root: Path, qtbot
) -> None:
    first = new_window("--encoder", sights.encoder)
    shelves = set_up(first, root, sights.folder / "imagery.tif", qtbot)
    slow(first, shelves, qtbot)
    build = begin(first, shelves, "quay", qtbot)
    panel = shelves.page.build
    qtbot.waitUntil(lambda: build.state == State.WORKING and build.story.done > 0, timeout=LATER)
    assert panel.isVisible() and panel.pause.isVisible() and first.rail.library._busy
    qtbot.waitUntil(lambda: "%" in panel.text.text(), timeout=SOON)
    QTest.mouseClick(panel.pause, CLICK)
    qtbot.waitUntil(lambda: build.state == State.PAUSED, timeout=LATER)
    assert not processes.lives(build.launch.pid, build.launch.mark)
    assert panel.resume.isVisible() and not first.rail.library._busy
    first.close()

    second = new_window("--encoder", sights.encoder)
    assert second.store.now.library == str(root)
    shelves = opened(second, root, qtbot)
    second.library.choose(root / "quay.index")
    panel = shelves.page.build
    assert panel.isVisible() and only_build(second).state == State.PAUSED
    assert panel.state.text() == "Paused"
    QTest.mouseClick(panel.resume, CLICK)
    qtbot.waitUntil(lambda: only_build(second).state == State.WORKING, timeout=LATER)
    build = only_build(second)
    assert build.launch.plan.name == "quay"
    os.kill(build.launch.pid, signal.SIGKILL)
    qtbot.waitUntil(
        lambda: only_build(second).state in (State.BROKEN_OFF, State.FAILED), timeout=SOON
    )
    assert panel.text.text() and panel.resume.isVisible()
    QTest.mouseClick(panel.resume, CLICK)
    qtbot.waitUntil(lambda: only_build(second).state == State.WORKING, timeout=LATER)

    # Given up: asked first, then all of it is gone.
    QTest.mouseClick(panel.discard, CLICK)
    answer(panel, "Delete")
    qtbot.waitUntil(lambda: not second.library.builds, timeout=LATER)
    assert not (root / "quay.index").exists() and builds.find_builds(root) == []
    with Index.open(sights.index) as untouched:
        assert untouched.manifest.count > 0


def test_a_build_ends_without_a_window_and_is_found_done(
    new_window: Callable[..., MainWindow], sights: Sights, root: Path, qtbot
) -> None:
    first = new_window("--encoder", sights.encoder)
    shelves = set_up(first, root, sights.folder / "imagery.tif", qtbot)
    build = begin(first, shelves, "pier", qtbot)
    out = build.out
    first.close()
    qtbot.waitUntil(lambda: (out / "manifest.json").is_file(), timeout=LATER)
    qtbot.waitUntil(lambda: not processes.lives(build.launch.pid, build.launch.mark), timeout=LATER)
    second = new_window("--encoder", sights.encoder)
    second.library.wake()  # as it does of itself a moment after the start
    qtbot.waitUntil(second.notice.isVisible, timeout=SOON)
    assert "pier" in second.notice.accessibleName()
    qtbot.waitUntil(lambda: not (root / builds.BUILDS / "pier").exists(), timeout=SOON)
    shelves = opened(second, root, qtbot)
    second.library.choose(out)
    qtbot.waitUntil(shelves.page.use.isEnabled, timeout=SOON)


def test_what_is_wrong_is_said_before_a_start(
    window: MainWindow, sights: Sights, root: Path, tmp_path: Path, qtbot
) -> None:
    shelves = opened(window, root, qtbot)
    QTest.mouseClick(shelves.list.new, CLICK)
    new, form = shelves.new, shelves.new.form
    assert not form.start.isEnabled() and "Choose imagery" in form.estimate.text()
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes((sights.folder / "imagery.tif").read_bytes()[:100])
    drop(window, files(damaged))
    qtbot.waitUntil(lambda: form.fault.isVisible(), timeout=SOON)
    assert "damaged.tif" in form.fault.text()
    drop(window, files(sights.folder / "imagery.tif"))
    qtbot.waitUntil(form.start.isEnabled, timeout=LATER)
    assert not form.fault.isVisible()
    form.more.setChecked(True)
    QTest.keyClicks(form.extents, "40, wide")
    assert form.problem.isVisible() and not form.start.isEnabled()
    form.extents.clear()
    far = {"type": "Polygon", "coordinates": [[[0, 0], [0.1, 0], [0.1, 0.1], [0, 0]]]}
    (tmp_path / "far.geojson").write_text(json.dumps(far))
    new.areas.set_file(tmp_path / "far.geojson")
    qtbot.waitUntil(lambda: new.areas.chosen is not None, timeout=SOON)
    qtbot.waitUntil(lambda: not new._reckoning, timeout=LATER)
    assert not form.start.isEnabled()
    assert "no tile" in form.estimate.text() or form.problem.isVisible()
    QTest.mouseClick(form.area.button("all"), CLICK)
    form.name.selectAll()
    QTest.keyClicks(form.name, "a/b")
    qtbot.waitUntil(lambda: "character" in form.problem.text(), timeout=SOON)


def test_the_encoder_is_the_open_one_until_another_is_chosen(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    other = root / "other.encoder"
    shutil.copytree(sights.other_encoder, other)
    shelves = opened(window, root, qtbot)
    settings, bench = shelves.new.settings, window.session.bench

    def taken() -> Path | None:
        return settings.encoder.path if settings.encoder is not None else None

    qtbot.waitUntil(lambda: taken() == sights.encoder, timeout=SOON)
    bench.open(other, None)
    qtbot.waitUntil(lambda: taken() == other, timeout=SOON)
    shelves.new.form.encoder.picked.emit(str(other))  # by hand, from the menu
    bench.open(sights.encoder, None)
    qtbot.waitUntil(lambda: bench.encoder.path == sights.encoder, timeout=SOON)
    qtbot.waitUntil(lambda: bench.encoder.load == Load.READY, timeout=SOON)
    qtbot.wait(300)
    assert taken() == other


def test_what_failed_to_open_is_not_reckoned_for_ever(
    window: MainWindow, sights: Sights, root: Path, tmp_path: Path, qtbot
) -> None:
    shelves = set_up(window, root, sights.folder / "imagery.tif", qtbot)
    new, form = shelves.new, shelves.new.form
    form.stride.setValue(7.0)  # reckoned anew, and meanwhile something else is dropped
    assert form.estimate.text() == "Reckoning…"
    (tmp_path / "bad.tif").write_text("this is text")
    drop(window, files(tmp_path / "bad.tif"))
    qtbot.waitUntil(form.fault.isVisible, timeout=SOON)
    assert not new._reckoning and form.estimate.text() != "Reckoning…"


def test_a_library_that_cannot_be_written_is_told_before_the_start(
    window: MainWindow, sights: Sights, qtbot
) -> None:
    with full_disk(500, read_only=True) as disk:
        shelves = opened(window, disk / "library", qtbot)
        QTest.mouseClick(shelves.list.new, CLICK)
        drop(window, files(sights.folder / "imagery.tif"))
        qtbot.waitUntil(lambda: shelves.new._outlook is not None, timeout=LATER)
        form = shelves.new.form
        assert "cannot be written" in form.problem.text() and not form.start.isEnabled()


def test_a_start_that_fails_leaves_the_form_as_it_was(
    window: MainWindow, sights: Sights, qtbot
) -> None:
    with full_disk(300) as disk:
        shelves = opened(window, disk / "library", qtbot)
        QTest.mouseClick(shelves.list.new, CLICK)
        drop(window, files(sights.folder / "imagery.tif"))
        form = shelves.new.form
        qtbot.waitUntil(form.start.isEnabled, timeout=LATER)
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(1024)):
                pass
        name = form.name.text()
        QTest.mouseClick(form.start, CLICK)
        qtbot.waitUntil(lambda: bool(window.session.notices.kept), timeout=LATER)
        assert shelves.new.facts is not None and form.name.text() == name
        assert window.library.builds == []


def test_a_place_typed_in_is_an_area(window: MainWindow, sights: Sights, root: Path, qtbot) -> None:
    shelves = set_up(window, root, sights.folder / "imagery.tif", qtbot)
    new, form = shelves.new, shelves.new.form
    before = new._outlook
    QTest.mouseClick(form.area.button("around"), CLICK)
    assert new.areas.chosen is None and not form.start.isEnabled()
    form.across.setValue(0.1)
    form.place.setFocus()
    QTest.keyClicks(form.place, f"{sights.lat:.6f}, {sights.lon:.6f}")
    qtbot.waitUntil(lambda: new._outlook is not None and form.start.isEnabled(), timeout=LATER)
    assert before is not None and new._outlook is not None
    assert 0 < new._outlook.tiles < before.tiles


def test_a_server_is_asked_only_after_the_word_was_given(
    new_window: Callable[..., MainWindow], sights: Sights, root: Path, tmp_path: Path, qtbot
) -> None:
    imagery = open_imagery(sights.folder / "imagery.tif")

    def answered(asked: Asked) -> Reply:
        zoom, column, row = (int(part) for part in asked.path.strip("/").split(".")[0].split("/"))
        tile = web_tile(imagery, zoom, column, row)
        if tile is None:
            return Reply(404)
        held = io.BytesIO()
        Image.fromarray(tile.pixels).save(held, "PNG")
        return Reply(body=held.getvalue())

    with imagery, serving(answered) as site:
        window = new_window("--encoder", sights.encoder)
        shelves = opened(window, root, qtbot)
        QTest.mouseClick(shelves.list.new, CLICK)
        new, form = shelves.new, shelves.new.form
        QTest.mouseClick(form.server, CLICK)
        QTest.keyClicks(form.address, f"{site.url}/{{z}}/{{x}}/{{y}}.png")
        QTest.mouseClick(form.use_address, CLICK)
        qtbot.waitUntil(lambda: new.facts is not None, timeout=SOON)
        form.zoom.setValue(18)
        form.across.setValue(0.1)
        QTest.keyClicks(form.place, f"{sights.lat:.6f}, {sights.lon:.6f}")
        qtbot.waitUntil(lambda: new._outlook is not None, timeout=LATER)
        assert site.host in form.consent.headline.text()
        assert "requests" in form.consent.text.text() and "not stated" in form.consent.text.text()
        assert not form.start.isEnabled() and site.asked == []
        QTest.mouseClick(form.consent.allow, CLICK, pos=QPoint(10, 10))
        qtbot.waitUntil(form.start.isEnabled, timeout=SOON)
        form.across.setValue(0.12)  # more is asked for: so the word is asked for again
        qtbot.waitUntil(lambda: new._outlook is None, timeout=SOON)
        qtbot.waitUntil(lambda: new._outlook is not None, timeout=LATER)
        assert not form.start.isEnabled() and site.asked == []
        QTest.mouseClick(form.consent.allow, CLICK, pos=QPoint(10, 10))
        qtbot.waitUntil(form.start.isEnabled, timeout=SOON)
        begin(window, shelves, "fetched town", qtbot)
        qtbot.waitUntil(lambda: site.host in window.header.offline.text(), timeout=SOON)
        out = root / "fetched town.index"
        qtbot.waitUntil(lambda: (out / "manifest.json").is_file(), timeout=LATER)
        qtbot.waitUntil(lambda: window.header.offline.text() == "Offline", timeout=SOON)
        assert len(site.asked) > 3
    with Index.open(out) as built:
        assert built.manifest.count > 10
    qtbot.waitUntil(lambda: not (root / builds.BUILDS / "fetched town").exists(), timeout=SOON)


def test_a_plan_that_cannot_be_carried_out_is_changed(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    shelves = opened(window, root, qtbot)
    imagery = str(sights.folder / "imagery.tif")
    plan = builds.Plan("too wide", imagery, str(sights.encoder), extents_m=(900.0,))
    window.library.begin(plan, 0)
    qtbot.waitUntil(lambda: bool(window.library.builds), timeout=SOON)
    build = only_build(window)
    qtbot.waitUntil(lambda: build.state == State.FAILED, timeout=LATER)
    panel = shelves.page.build
    qtbot.waitUntil(panel.change.isVisible, timeout=SOON)
    assert "900 m" in panel.text.text() and "Resume" not in panel.text.text()
    assert not panel.resume.isVisible()
    QTest.mouseClick(panel.change, CLICK)
    form = shelves.new.form
    assert shelves.stack.currentWidget() is shelves.new and form.extents.text() == "900"
    qtbot.waitUntil(lambda: builds.find_builds(root) == [], timeout=SOON)
    qtbot.waitUntil(lambda: not shelves.new._reckoning, timeout=LATER)
    assert not form.start.isEnabled()
    form.extents.clear()
    qtbot.waitUntil(form.start.isEnabled, timeout=LATER)
    assert form.name.text() == "too wide"
