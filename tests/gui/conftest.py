"""Tests on a real window. Without a display they run on Qt's `offscreen` platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.qt_setup import no_leaked_threads, prepare_qt
from tests.sights import Sights, make_sights

PROBLEM = prepare_qt()  # before any test makes the application

from app.main import begin, make_window, parse  # noqa: E402
from app.main_window import MainWindow  # noqa: E402


@pytest.fixture(scope="session")
def sights(tmp_path_factory) -> Sights:
    """An area with its encoder, photos taken there, spoiled files."""
    return make_sights(tmp_path_factory.mktemp("sights"))


@pytest.fixture
def new_window(qapp, qtbot, tmp_path: Path) -> Iterator[Callable[..., MainWindow]]:
    """Open the program's window as the command line would; all threads must end with it."""
    if PROBLEM:
        pytest.skip(PROBLEM)
    opened: list[MainWindow] = []

    def make(*arguments: str | Path, size: tuple[int, int] = (1200, 760)) -> MainWindow:
        window = make_window(qapp, tmp_path / "preferences.json")
        opened.append(window)
        window.resize(*size)
        window.show()
        qtbot.waitUntil(window.isVisible)
        window.activateWindow()
        begin(window, parse([str(argument) for argument in arguments]))
        return window

    with no_leaked_threads():
        yield make
        for window in opened:
            window.close()
            window.deleteLater()
        qapp.processEvents()
        qtbot.wait(50)


@pytest.fixture
def window(new_window, sights: Sights, qtbot) -> MainWindow:
    """A window with the area open."""
    made = new_window("--encoder", sights.encoder, "--index", sights.index)
    qtbot.waitUntil(lambda: made.session.bench.pair is not None, timeout=30_000)
    return made
