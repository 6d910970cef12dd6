"""The Library, driven as a person would: drops, clicks, keys; real encoders and imagery, real builds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QMessageBox, QPushButton, QToolButton, QWidget

from app.library.workspace import LibraryWorkspace
from app.main_window import MainWindow
from engine.library import Item, install, look
from tests.gui.test_window import drop, files
from tests.sights import Sights

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SOON, LATER = 30_000, 90_000
CLICK = Qt.MouseButton.LeftButton


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The library's folder; not there yet."""
    return tmp_path / "my library"


def opened(window: MainWindow, root: Path, qtbot) -> LibraryWorkspace:
    """Click on Library."""
    window.store.change(library=str(root))
    QTest.mouseClick(window.rail.library, CLICK)
    qtbot.waitUntil(lambda: window.library.loaded, timeout=SOON)
    return window.shelves


def listed(shelves: LibraryWorkspace) -> list[str]:
    """The names in the list."""
    rows = (shelves.list.list.item(at) for at in range(shelves.list.list.count()))
    return [row.text() for row in rows if row is not None]


def chosen(window: MainWindow) -> Item:
    entry = window.library.entry
    assert entry is not None
    return entry.item


def choose(shelves: LibraryWorkspace, name: str) -> None:
    """Click on a line of the list."""
    view = shelves.list.list
    row = listed(shelves).index(name)
    item = view.item(row)
    assert item is not None
    view.scrollToItem(item)
    QTest.mouseClick(view.viewport(), CLICK, pos=view.visualItemRect(item).center())


def answer(parent: QWidget, words: str) -> None:
    """Click a button of the question that is asked."""
    box = next(box for box in parent.findChildren(QMessageBox) if box.isVisible())
    button = next(b for b in box.buttons() if b.text() == words)
    QTest.mouseClick(button, CLICK)


def card_text(shelves: LibraryWorkspace) -> str:
    """All that the card says."""
    from PySide6.QtWidgets import QLabel, QLineEdit, QToolButton

    card = shelves.page.card
    found = [w.text() for w in card.findChildren(QLabel)]
    found += [w.text() for w in card.findChildren(QLineEdit)]
    found += [w.text() for w in card.findChildren(QToolButton)]
    return "\n".join(found)


def test_an_index_dropped_is_checked_copied_shown_and_used(
    new_window: Callable[..., MainWindow], sights: Sights, root: Path, qtbot
) -> None:
    window = new_window()
    shelves = opened(window, root, qtbot)
    drop(window, files(sights.index, sights.encoder))
    qtbot.waitUntil(lambda: len(list(root.glob("*.index"))) == 1, timeout=SOON)
    qtbot.waitUntil(lambda: window.library.of(root / "flat.index") is not None, timeout=SOON)
    qtbot.waitUntil(lambda: window.library.of(root / "linear.encoder") is not None, timeout=SOON)
    assert not window.locating, "it was added, not opened"
    QTest.mouseClick(shelves.list.kinds.button("index"), CLICK)
    choose(shelves, "flat")
    assert chosen(window).path == root / "flat.index"
    text = card_text(shelves)
    for said in ("2,021, 5 m apart", "50 cm a pixel", "EPSG:32710", "linear (it is here)"):
        assert said in text, said
    assert "Every file was as it was made" in text, "it was checked while it was brought in"
    qtbot.waitUntil(lambda: shelves.ground._ground is not None, timeout=SOON)
    ground = shelves.ground._ground
    assert ground is not None and len(ground.rings) >= 1 and ground.area.imagery is not None

    # The encoder is a link away, and the way back too.
    shelves.page.card.link_asked.emit(f"encoder:{look(sights.encoder).hash}")
    assert chosen(window).kind == "encoder" and shelves.list.kind == "encoder"
    assert "not trained" in card_text(shelves) and not shelves.ground.isVisible()

    QTest.mouseClick(shelves.list.kinds.button("index"), CLICK)
    choose(shelves, "flat")
    QTest.mouseClick(shelves.page.use, CLICK)
    assert window.locating
    bench = window.session.bench
    qtbot.waitUntil(
        lambda: bench.index.path == root / "flat.index" and bench.pair is not None, timeout=SOON
    )
    assert bench.encoder.path == root / "linear.encoder"


def test_verify_finds_damage_and_remove_asks_first(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    there = install(sights.index, root)
    shelves = opened(window, root, qtbot)
    window.library.choose(there)
    page = shelves.page
    QTest.mouseClick(page.verify, CLICK)
    qtbot.waitUntil(lambda: "Every file was as it was made" in card_text(shelves), timeout=SOON)
    whole = (there / "vectors.f16").read_bytes()
    (there / "vectors.f16").write_bytes(whole[:-9] + bytes(9))
    QTest.mouseClick(page.verify, CLICK)
    qtbot.waitUntil(lambda: "Damage was found" in card_text(shelves), timeout=SOON)
    assert "vectors.f16" in card_text(shelves)

    QTest.mouseClick(page.remove, CLICK)
    answer(page, "Keep")
    assert there.is_dir()
    QTest.mouseClick(page.remove, CLICK)
    answer(page, "Delete")
    qtbot.waitUntil(lambda: not there.exists(), timeout=SOON)
    qtbot.waitUntil(lambda: window.library.of(there) is None, timeout=SOON)
    assert sights.index.is_dir(), "what lies elsewhere stays"


def test_what_lies_elsewhere_is_only_taken_off_the_list(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    shelves = opened(window, root, qtbot)
    entry = window.library.of(sights.index)
    assert entry is not None and entry.home == "elsewhere"
    window.library.choose(sights.index)
    assert shelves.page.remove.text() == "Take off the list…"
    QTest.mouseClick(shelves.page.remove, CLICK)
    answer(shelves.page, "Take off")
    qtbot.waitUntil(lambda: window.library.of(sights.index) is None, timeout=SOON)
    assert (sights.index / "manifest.json").is_file()
    assert str(sights.index) not in window.store.now.recent_indexes
    assert window.session.bench.index.path is None, "it is not open any more either"


def test_broken_ones_are_shown_as_broken(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    root.mkdir()
    spoiled = Path(shutil.copytree(sights.index, root / "spoiled.index"))
    (spoiled / "tiles.gpkg").unlink()
    (root / "empty.index").mkdir()
    shelves = opened(window, root, qtbot)
    choose(shelves, "spoiled")
    page = shelves.page
    assert page.problem.isVisible() and "tiles.gpkg" in page.problem.headline.text()
    assert page.problem.text.text() and not page.use.isEnabled()
    choose(shelves, "empty")
    assert "manifest.json" in page.problem.headline.text()
    QTest.mouseClick(page.remove, CLICK)
    answer(page, "Delete")
    qtbot.waitUntil(lambda: not (root / "empty.index").exists(), timeout=SOON)


def test_a_damaged_one_that_is_dropped_is_refused_in_words(
    window: MainWindow, sights: Sights, root: Path, tmp_path: Path, qtbot
) -> None:
    spoiled = sights.copy_index(tmp_path)
    data = (spoiled / "tiles.gpkg").read_bytes()
    (spoiled / "tiles.gpkg").write_bytes(data[:-1])
    opened(window, root, qtbot)
    drop(window, files(spoiled))
    qtbot.waitUntil(window.notice.isVisible, timeout=SOON)
    assert "spoiled.index" in window.notice.accessibleName()
    assert "tiles.gpkg" in window.notice.accessibleName()
    assert list(root.glob("*.index")) == []


def test_a_zip_of_something_else_is_refused_where_it_was_dropped(
    window: MainWindow, root: Path, tmp_path: Path, qtbot
) -> None:
    opened(window, root, qtbot)
    (tmp_path / "holiday.zip").write_text("no zip at all")
    drop(window, files(tmp_path / "holiday.zip"))
    qtbot.waitUntil(window.notice.isVisible, timeout=SOON)
    assert "neither an encoder nor an index" in window.notice.accessibleName()
    assert not window.locating and not window.session.photos


def test_links_begin_where_the_other_values_do(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    install(sights.index, root)
    install(sights.encoder, root)
    shelves = opened(window, root, qtbot)
    choose(shelves, "flat")
    card = shelves.page.card
    qtbot.waitUntil(lambda: bool(card.findChildren(QToolButton)), timeout=SOON)
    (link,) = card.findChildren(QToolButton)
    value = next(part for part in card.findChildren(QLabel) if "50 cm" in part.text())
    assert link.text() == "linear (it is here)", "all of it, as there is room"
    qtbot.waitUntil(lambda: abs(_left(link) - _left(value)) <= 1, timeout=SOON)
    assert link.width() < link.fontMetrics().horizontalAdvance(link.text()) + 8


def _left(part: QWidget) -> int:
    return part.mapToGlobal(part.rect().topLeft()).x()


def test_a_photo_dropped_there_is_located_all_the_same(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    opened(window, root, qtbot)
    drop(window, files(sights.photo))
    qtbot.waitUntil(lambda: bool(window.session.photos), timeout=SOON)
    assert window.locating


def test_many_are_narrowed_by_typing_and_the_keyboard_goes_everywhere(
    window: MainWindow, sights: Sights, root: Path, qtbot
) -> None:
    there = install(sights.index, root)
    for number in range(9):
        shutil.copytree(there, root / f"town {number}.index")
    shelves = opened(window, root, qtbot)
    side = shelves.list
    assert side.search.isVisible()
    side.search.setFocus()
    QTest.keyClicks(side.search, "town 7")
    assert listed(shelves) == ["town 7"]
    side.list.setFocus()
    QTest.keyClick(side.list, Qt.Key.Key_Home)
    QTest.keyClick(side.list, Qt.Key.Key_Return)
    assert window.library.chosen == root / "town 7.index"
    QTest.keyClicks(side.search, " nowhere")
    assert listed(shelves) == [] and side.none.isVisible()
    side.search.clear()
    seen: list[QWidget] = []
    window.rail.library.setFocus()
    for _ in range(60):
        now = window.focusWidget()
        if now is None or now in seen:
            break
        seen.append(now)
        window.focusNextChild()
    page = shelves.page
    for wanted in (
        side.kinds.button("index"),
        side.list,
        side.new,
        side.add,
        page.use,
        page.verify,
    ):
        assert wanted in seen, wanted.accessibleName() or wanted
    assert page.remove in seen and page.folder in seen


def test_nothing_there_says_how_to_get_something(
    new_window: Callable[..., MainWindow], root: Path, monkeypatch: pytest.MonkeyPatch, qtbot
) -> None:
    monkeypatch.setattr("app.library.model.resources", lambda: root / "no resources")
    window = new_window()
    qtbot.waitUntil(lambda: window.session.bench.pair is not None, timeout=SOON)
    window.session.bench.close()
    window.store.change(recent_encoders=(), recent_indexes=())
    shelves = opened(window, root, qtbot)
    assert shelves.stack.currentWidget() is shelves.empty

    def offered() -> list[str]:
        return [b.text() for b in shelves.empty.findChildren(QPushButton) if b.isVisible()]

    qtbot.waitUntil(lambda: offered() == ["New index…", "Add from disk…"], timeout=SOON)
    QTest.mouseClick(shelves.list.kinds.button("encoder"), CLICK)
    qtbot.waitUntil(lambda: "Import a checkpoint…" in offered(), timeout=SOON)


def test_its_keys(window: MainWindow, root: Path) -> None:
    window.store.change(library=str(root))
    actions = window.actions_
    keys = [
        action.shortcut().toString() for action in (actions.locate, actions.library, actions.train)
    ]
    assert keys == ["Ctrl+1", "Ctrl+2", "Ctrl+3"]
    actions.library.trigger()
    assert window.rail.library.isChecked() and not window.locating
    actions.locate.trigger()
    assert window.locating
