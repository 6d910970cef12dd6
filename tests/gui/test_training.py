"""The Train workspace with the real trainer on a tiny world: from the first click to a located photo."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton

from app.bench import Load
from app.main_window import MainWindow
from app.photos import Stage
from app.training import launch, processes
from app.training.missing import Farewell
from app.training.run_page import CURVES, LOG, PAIRS, RECIPE
from app.training.runs import Run, State
from app.training.workspace import TrainWorkspace
from engine import training_python
from tests.sights import Sights
from tests.tiny_training import write_recipe, write_towns

pytestmark = [pytest.mark.gui, pytest.mark.timeout(240)]
SOON, LATER = 30_000, 90_000
CLICK = Qt.MouseButton.LeftButton


@pytest.fixture(scope="session")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_towns(tmp_path_factory.mktemp("towns"))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """The folder of runs; what a failed test leaves at work there is ended."""
    root = tmp_path / "my runs"
    yield root
    for file in root.glob("*/run.json"):
        from app.training.runs import read_launch

        begun = read_launch(file.parent)
        if begun is not None:
            processes.end(begun.token, begun.pid, begun.mark)


def opened(window: MainWindow, runs: Path) -> TrainWorkspace:
    """Click on Train."""
    window.store.change(runs=str(runs))
    QTest.mouseClick(window.rail.train, CLICK)
    assert not window.locating
    return window.train


def set_up(window: MainWindow, runs: Path, towns: Path, recipe: Path, qtbot) -> TrainWorkspace:
    """The form filled in, checked and ready to start."""
    train = opened(window, runs)
    qtbot.waitUntil(lambda: window.training.interpreter is not None, timeout=LATER)
    train.setup.set_recipe_file(recipe)
    train.setup.set_data(towns)
    qtbot.waitUntil(train.setup.form.start.isEnabled, timeout=LATER)
    return train


def chosen(window: MainWindow) -> Run:
    run = window.training.chosen
    assert run is not None
    return run


def button(train: TrainWorkspace, name: str) -> QPushButton:
    return getattr(train.page, name)


def points(run: Run, key: str) -> list[int]:
    """The steps at which a quantity was told."""
    series = run.story.series.get(key)
    return series.steps if series is not None else []


def lit(image: QImage) -> int:
    """How many colours a picture has: a plot with curves has more than an empty one."""
    return len(
        {image.pixel(x, y) for x in range(0, image.width(), 3) for y in range(image.height())}
    )


def test_from_the_first_click_to_a_located_photo(
    window: MainWindow, sights: Sights, runs: Path, towns: Path, tmp_path: Path, qtbot
) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", steps=5000, every=40)
    train = set_up(window, runs, towns, recipe, qtbot)
    setup = train.setup
    assert len(setup.form.pairs.views) == 8 and "48 pairs" in setup.form.facts.text()
    assert (
        "CPU" in setup.form.devices.boxes[0][1].text()
        and "free" in setup.form.devices.boxes[0][1].text()
    )
    qtbot.waitUntil(lambda: "fits" in setup.form.fits.text(), timeout=LATER)
    assert setup.form.estimate.text().startswith("About ")
    setup.form.name.selectAll()
    QTest.keyClicks(setup.form.name, "first")
    empty = lit(train.page.curves.loss.plot.grab().toImage())
    QTest.mouseClick(setup.form.start, CLICK)
    qtbot.waitUntil(lambda: window.training.chosen is not None, timeout=SOON)
    run = chosen(window)
    assert run.name == "first" and (runs / "first" / "run.json").is_file()
    assert train.stack.currentWidget() is train.page
    assert window.focusWidget() is train.list.list, "and not the button that stops it"

    # The plots fill, validations come, and the pairs can be looked at.
    qtbot.waitUntil(
        lambda: run.state == State.TRAINING and run.story.score is not None, timeout=LATER
    )
    qtbot.waitUntil(lambda: len(points(run, "loss")) > 1, timeout=LATER)
    qtbot.waitUntil(lambda: lit(train.page.curves.loss.plot.grab().toImage()) > empty, timeout=SOON)
    for card in train.page.curves.cards:
        assert card._lines and len(card._lines[0][1]), card.title
    QTest.mouseClick(train.page.modes.button(PAIRS), CLICK)
    qtbot.waitUntil(lambda: len(train.page.pairs.pairs.views) > 0, timeout=SOON)
    assert train.page.pairs.pairs.views[0].pair.photo_heat is not None
    QTest.mouseClick(train.page.modes.button(LOG), CLICK)
    assert "loss=" in train.page.log.toPlainText()
    QTest.mouseClick(train.page.modes.button(RECIPE), CLICK)
    assert train.page.recipe.table.rowCount() > 20
    QTest.mouseClick(train.page.modes.button(CURVES), CLICK)

    # Pause, go on, stop with a checkpoint, resume.
    QTest.mouseClick(button(train, "pause"), CLICK)
    qtbot.waitUntil(lambda: run.state == State.PAUSED, timeout=LATER)
    held = run.story.step
    QTest.mouseClick(button(train, "pause"), CLICK)
    qtbot.waitUntil(lambda: run.state == State.TRAINING and run.story.step > held, timeout=LATER)
    QTest.mouseClick(button(train, "stop"), CLICK)
    qtbot.waitUntil(lambda: run.state == State.STOPPED, timeout=LATER)
    assert (run.folder / "checkpoint.pt").is_file() and not button(train, "stop").isVisible()
    assert run.launch is not None
    assert processes.family(run.launch.token, run.launch.pid, run.launch.mark) == []
    at = run.story.step
    QTest.mouseClick(button(train, "resume"), CLICK)
    qtbot.waitUntil(lambda: chosen(window) is not run, timeout=SOON)
    again = chosen(window)
    qtbot.waitUntil(lambda: again.state == State.TRAINING and again.story.step > at, timeout=LATER)
    QTest.mouseClick(button(train, "stop"), CLICK)
    qtbot.waitUntil(lambda: again.state == State.STOPPED, timeout=LATER)
    steps = points(again, "loss")
    assert steps == sorted(set(steps))

    # The best checkpoint, exported and used on the open area's imagery, in one step.
    QTest.mouseClick(button(train, "use"), CLICK)
    qtbot.waitUntil(lambda: window.locating, timeout=LATER)
    bench = window.session.bench
    qtbot.waitUntil(lambda: bench.pair is not None and bench.pair[0].name == "first", timeout=LATER)
    assert bench.pair is not None
    assert bench.pair[1].manifest.encoder_hash == bench.pair[0].hash
    window.session.add_files([sights.panorama])
    qtbot.waitUntil(lambda: window.session.answer.stage == Stage.READY, timeout=LATER)
    result = window.session.result
    assert result is not None and result.candidates


def test_a_run_goes_on_without_the_window_and_is_found_again(
    new_window: Callable[..., MainWindow], runs: Path, towns: Path, tmp_path: Path, qtbot
) -> None:
    first = new_window()
    recipe = write_recipe(tmp_path / "long.toml", steps=100_000, every=100_000, workers=1)
    train = set_up(first, runs, towns, recipe, qtbot)
    QTest.mouseClick(train.setup.form.start, CLICK)
    qtbot.waitUntil(lambda: bool(first.training.live), timeout=SOON)
    run = chosen(first)
    begun = run.launch
    assert begun is not None
    qtbot.waitUntil(lambda: run.state == State.TRAINING and run.story.step > 0, timeout=LATER)
    first.close()
    assert processes.lives(begun.pid, begun.mark)

    second = new_window()
    assert second.store.now.runs == str(runs)
    second.training.wake()  # as it does of itself a moment after the start
    qtbot.waitUntil(lambda: bool(second.training.live), timeout=SOON)
    found = chosen(second)
    assert found.name == run.name and found.live and second.rail.train._busy
    assert "still training" in second.notice.accessibleName()
    QTest.mouseClick(second.rail.train, CLICK)
    step = found.story.step
    qtbot.waitUntil(lambda: found.story.step > step, timeout=LATER)

    # Ending it ends the workers too.
    family = processes.family(begun.token, begun.pid, begun.mark)
    assert len(family) > 1
    second.train.page.end_now.trigger()
    qtbot.waitUntil(lambda: not second.rail.train._busy, timeout=SOON)
    assert [pid for pid in family if processes.mark_of(pid)] == []
    assert found.state == State.STOPPED


def told_run(folder: Path) -> None:
    """A run that the command line made: its events, and nothing of ours."""
    folder.mkdir(parents=True)
    recipe = {"name": "told", "seed": 3, "optimiser": {"steps": 20}}
    events: list[dict[str, object]] = [{"event": "run", "recipe": recipe, "step": 0}]
    events += [{"event": "step", "step": n, "loss": 4.0 / n, "share": n / 20} for n in (5, 10, 20)]
    events.append({"event": "done", "step": 20, "elapsed_s": 2.0})
    text = "".join(json.dumps({**event, "version": 1}) + "\n" for event in events)
    (folder / "events.jsonl").write_text(text, "utf-8")


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_a_crash_is_explained_and_another_run_compared(
    window: MainWindow, runs: Path, towns: Path, tmp_path: Path, qtbot
) -> None:
    told_run(runs / "told")
    recipe = write_recipe(tmp_path / "long.toml", steps=100_000, every=100_000)
    train = set_up(window, runs, towns, recipe, qtbot)
    (told,) = window.training.runs
    assert told.state == State.DONE
    QTest.mouseClick(train.setup.form.start, CLICK)
    qtbot.waitUntil(lambda: bool(window.training.live), timeout=SOON)
    broken = chosen(window)
    qtbot.waitUntil(lambda: broken.story.step > 0, timeout=LATER)
    assert broken.launch is not None
    os.kill(broken.launch.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: broken.state == State.FAILED, timeout=SOON)
    failure = train.page.failure
    qtbot.waitUntil(failure.isVisible, timeout=SOON)
    assert "SIGKILL" in failure.headline.text() and "Resume" in failure.text.text()

    window.training.compare(told, True)
    assert [name for name, _, _ in train.page.curves.loss._lines] == [broken.name, "told"]
    QTest.mouseClick(train.page.modes.button(RECIPE), CLICK)
    table = train.page.recipe.table
    rows = {
        key.text(): value.text()
        for row in range(table.rowCount())
        if (key := table.item(row, 0)) and (value := table.item(row, 2))
    }
    assert rows["seed"] == "3" and rows["optimiser.steps"] == "20" and rows["batch.size"] == "–"

    # Resumed, and stopped while it is still being loaded: that is not forgotten.
    QTest.mouseClick(button(train, "resume"), CLICK)
    qtbot.waitUntil(lambda: bool(window.training.live), timeout=SOON)
    again = chosen(window)
    QTest.mouseClick(button(train, "stop"), CLICK)
    qtbot.waitUntil(lambda: again.state == State.STOPPED, timeout=LATER)
    assert launch.wait_gone(again, 5)


def test_what_is_wrong_with_recipe_data_and_name_is_said_before_a_start(
    window: MainWindow, runs: Path, towns: Path, tmp_path: Path, qtbot
) -> None:
    bad = write_recipe(tmp_path / "bad.toml", more="\n[loss]\nnonsense = 3\n")
    train = opened(window, runs)
    setup = train.setup
    qtbot.waitUntil(lambda: window.training.interpreter is not None, timeout=LATER)
    setup.set_recipe_file(bad)
    setup.set_data(towns)
    qtbot.waitUntil(lambda: "nonsense" in setup.form.problem.text(), timeout=LATER)
    assert not setup.form.start.isEnabled()
    write_recipe(bad)  # put right in an editor
    assert setup.form.measure.text() == "Check again"
    QTest.mouseClick(setup.form.measure, CLICK)
    qtbot.waitUntil(setup.form.start.isEnabled, timeout=LATER)
    assert not setup.form.problem.text()
    setup.set_recipe_file(write_recipe(tmp_path / "good.toml"))
    setup.set_data(tmp_path)
    qtbot.waitUntil(lambda: "town" in setup.form.problem.text(), timeout=LATER)
    assert not setup.form.start.isEnabled() and "Choose" in setup.form.problem.text()
    setup.form.name.selectAll()
    QTest.keyClicks(setup.form.name, "a/b")
    (runs / "taken").mkdir(parents=True)
    (runs / "taken" / "file").touch()
    setup.set_data(towns)
    assert "character" in setup.form.problem.text()
    setup.form.name.selectAll()
    QTest.keyClicks(setup.form.name, "taken")
    assert "already" in setup.form.problem.text() and not setup.form.start.isEnabled()


@pytest.mark.skipif(os.name == "nt", reason="writes a shell script")
def test_without_torch_the_way_to_it_is_shown(
    window: MainWindow, runs: Path, tmp_path: Path, qtbot
) -> None:
    poor = tmp_path / "poor python"
    poor.write_text('#!/bin/sh\necho \'{"version": [3, 12, 1], "found": ["numpy", "PIL"]}\'\n')
    poor.chmod(0o755)
    window.store.change(python=str(poor))
    train = opened(window, runs)
    card = train.setup.card

    def buttons() -> list[str]:
        return [b.text() for b in card.findChildren(QPushButton) if b.isVisibleTo(card)]

    qtbot.waitUntil(lambda: "Copy the command" in buttons(), timeout=SOON)
    assert card._headline.text() == "Training needs PyTorch"
    assert "lacks PyTorch" in card._text.text()
    command = card.commands.toPlainText()
    assert "pip install" in command and card.commands.isVisibleTo(card)
    assert card.commands.document().blockCount() == 1, "a line of its own, and not broken"
    copy = next(b for b in card.findChildren(QPushButton) if b.text() == "Copy the command")
    QTest.mouseClick(copy, CLICK)
    assert QApplication.clipboard().text() == command
    assert command.startswith(f'"{poor}" -m pip install')
    window.store.change(python=sys.executable)
    qtbot.waitUntil(lambda: window.training.interpreter is not None, timeout=LATER)
    assert not card.isVisible()


def test_closing_while_a_python_is_set_up_asks(
    new_window, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot
) -> None:
    monkeypatch.setattr(training_python.Needs, "room", 1)
    monkeypatch.setattr("app.training.model.own_environment", lambda: tmp_path / "python")
    window = new_window()
    train = opened(window, runs)
    training, card = window.training, train.setup.card
    qtbot.waitUntil(lambda: training.interpreter is not None, timeout=LATER)
    code = "import time; print('Collecting torch', flush=True); time.sleep(60)"
    training.set_up_steps = [[sys.executable, "-c", code]]
    card._set_up()
    qtbot.waitUntil(lambda: training.setting_up == "Collecting torch", timeout=SOON)
    card.refresh()
    assert "closing the window" in card._text.text()
    assert not window.close() and window.isVisible()
    farewell = window.findChild(Farewell)
    assert farewell is not None and farewell.box is not None
    close = next(b for b in farewell.box.buttons() if b.text() == "Close")
    QTest.mouseClick(close, CLICK)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=SOON)


def test_why_nothing_can_be_done_yet_is_said(window: MainWindow, runs: Path, qtbot) -> None:
    told_run(runs / "told")
    (runs / "told" / "best.pt").touch()
    train = opened(window, runs)
    training = window.training
    qtbot.waitUntil(lambda: bool(training.runs), timeout=SOON)
    qtbot.waitUntil(lambda: training.interpreter is not None, timeout=LATER)
    training.choose(training.runs[0])
    assert button(train, "use").isEnabled()
    found, training.interpreter = training.interpreter, None
    training.interpreter_load = Load.LOADING
    training.interpreter_changed.emit()
    assert not button(train, "use").isEnabled() and "Looking" in button(train, "use").toolTip()
    assert "Looking for a Python" in train.page.state.whole()
    training.interpreter, training.interpreter_load = found, Load.READY
    training.interpreter_changed.emit()  # nothing of the run itself has changed
    assert button(train, "use").isEnabled() and "Looking" not in train.page.state.whole()


def test_the_keyboard_reaches_the_form_and_digits_stay_in_it(
    window: MainWindow, runs: Path, qtbot
) -> None:
    told_run(runs / "told")
    train = opened(window, runs)
    qtbot.waitUntil(lambda: window.training.interpreter is not None, timeout=LATER)
    setup = train.setup
    setup.form.name.setFocus()
    setup.form.name.selectAll()
    QTest.keyClicks(setup.form.name, "run 12 h")
    assert setup.form.name.text() == "run 12 h"
    assert window.session.overlay_shown  # H stayed in the field
    seen = []
    for _ in range(60):
        now = window.focusWidget()
        if now is None or now in seen:
            break
        seen.append(now)
        window.focusNextChild()
    for wanted in (
        train.list.new,
        setup.form.recipe,
        setup.form.name,
        setup.form.elsewhere,
        window.rail.train,
    ):
        assert wanted in seen, wanted.accessibleName()
    assert train.list.list in seen and window.training.chosen is None, "passing is not choosing"
    train.list.list.setCurrentRow(0)
    QTest.keyClick(train.list.list, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.training.chosen is not None, timeout=SOON)
    assert chosen(window).name == "told"
    setup.form.name.setFocus()
    if window.isActiveWindow():
        QTest.keyClick(setup.form.name, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    else:  # a display without a window manager makes no window active, and only active ones hear shortcuts
        window.actions_.locate.trigger()
    qtbot.waitUntil(lambda: window.locating, timeout=SOON)
