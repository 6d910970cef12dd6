"""The observable state of the Train workspace: runs, the one looked at, those compared, the interpreter that trains.

No widgets here. What lies on disk is looked at by jobs in a lane of its own, twice a second while it is watched; what
they saw is taken over on the UI thread, so that nobody reads a story while it is written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QStandardPaths, Qt, QTimer, Signal

from app.bench import Load
from app.jobs import Jobs
from app.notices import Notices
from app.settings.preferences import PreferenceStore
from app.training import launch, set_up, work
from app.training.interpreter import Interpreter, own_environment
from app.training.runs import Look, Run, State, find_runs, read_launch, read_run
from engine import training_python
from engine.errors import NadirError
from engine.progress import Report
from engine.shipped import training_requirements

log = logging.getLogger(__name__)
WATCH_MS = 500
FAR_MS = 3000
INTERPRETER, USE, FIND = "train-interpreter", "train-use", "train-find"
SET_UP = "train-set-up"


def default_root() -> Path:
    """Where runs lie unless the user has another place."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppDataLocation)
    return Path(place) / "runs"


class Training(QObject):
    """The trainings this window knows of."""

    runs_changed = Signal()  # which there are, or their order
    run_changed = Signal(object)  # a Run that told or became something
    chosen_changed = Signal()  # the one looked at; None: a new one is set up
    compared_changed = Signal()
    interpreter_changed = Signal()
    set_up_changed = Signal()  # what is shown while a Python for training is set up
    live_changed = Signal()  # whether any is at work
    _told_setting_up = Signal(str)  # from the worker's thread
    made = Signal(object)  # a work.Ready: an encoder, and an index for it

    def __init__(
        self,
        jobs: Jobs,
        notices: Notices,
        store: PreferenceStore,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.jobs, self.notices, self.store = jobs, notices, store
        self.runs: list[Run] = []
        self.chosen: Run | None = None
        self.compared: set[Path] = set()
        self.interpreter: Interpreter | None = None
        self.interpreter_error: NadirError | None = None
        self.interpreter_load = Load.NONE
        self.can_set_up = training_requirements() is not None  # the frozen program can
        self.set_up_steps: list[list[str]] | None = None  # None: no Python was found to do it with
        self.setting_up: str | None = None  # what it says meanwhile
        self.busy: set[Path] = set()  # runs that are being started, stopped or deleted
        self.using: Path | None = None  # the run whose encoder is being made
        self._opened = self._looking = False
        self._live = False
        self._python = store.now.python
        self._watch = QTimer(self)
        self._watch.setInterval(FAR_MS)
        self._watch.timeout.connect(self._look)
        store.changed.connect(self._preferences_changed)
        self._told_setting_up.connect(self._hear_setting_up, Qt.ConnectionType.QueuedConnection)

    @property
    def root(self) -> Path:
        """The folder of runs."""
        return Path(self.store.now.runs) if self.store.now.runs else default_root()

    @property
    def live(self) -> list[Run]:
        """Runs at work."""
        return [run for run in self.runs if run.live]

    # Finding ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """At the window's start: see whether a run of an earlier window is still at work."""
        root = self.root
        self.jobs.start(
            "", lambda report: _live_runs(root), done=self._woken, lane="watch", quiet=True
        )

    def _woken(self, found: list[Run]) -> None:
        if self._opened or not found:
            return
        self._add([run for run in found if self._known(run.folder) is None])
        for run in found:
            self.notices.post("info", self.tr("“{0}” is still training.").format(run.name))

    def open(self) -> None:
        """The workspace is looked at: find all runs, and the interpreter."""
        self._watch.setInterval(WATCH_MS)
        self._watch.start()
        if self._opened:
            return
        self._opened = True
        self.find_runs()
        self.find_interpreter()

    def leave(self) -> None:
        """The workspace is not looked at any more."""
        self._watch.setInterval(FAR_MS)
        if not self.live:
            self._watch.stop()

    def find_runs(self) -> None:
        """Read the folder of runs anew."""
        root, known = self.root, {run.folder for run in self.runs}

        def work(report: Report) -> list[Run]:
            found = []
            folders = [folder for folder in find_runs(root) if folder not in known]
            for at, folder in enumerate(folders):
                report(at, len(folders), "")
                run = read_run(folder)
                if run is not None:
                    found.append(run)
            return found

        self.jobs.start(
            self.tr("Reading earlier runs"),
            work,
            done=self._add,
            key=FIND,
            lane="watch",
            quiet=True,
        )

    def _add(self, found: list[Run]) -> None:
        found = [run for run in found if self._known(run.folder) is None]
        self.runs = sorted(self.runs + found, key=_age, reverse=True)
        self.runs_changed.emit()
        live = self.live
        if self.chosen is None and live and found:
            self.choose(live[0])
        self._tell_live()

    def _known(self, folder: Path) -> Run | None:
        return next((run for run in self.runs if run.folder == folder), None)

    def find_interpreter(self) -> None:
        """Look for a Python that can train."""
        self.interpreter_load = Load.LOADING
        self.interpreter_error = None
        self.interpreter_changed.emit()
        chosen = self.store.now.python

        def found(interpreter: Interpreter) -> None:
            self.interpreter, self.interpreter_load = interpreter, Load.READY
            self.interpreter_changed.emit()

        def missing(error: NadirError) -> None:
            self.interpreter, self.interpreter_load = None, Load.FAILED
            self.interpreter_error = error
            self.interpreter_changed.emit()

        def look(report: Report) -> Interpreter:
            try:
                return work.find(chosen, report)
            except NadirError:
                if self.can_set_up:
                    base = training_python.base_python()
                    self.set_up_steps = None if base is None else training_python.commands(base)
                raise

        def cancelled() -> None:
            self.interpreter_load = Load.NONE
            self.interpreter_changed.emit()

        self.jobs.start(
            self.tr("Looking for PyTorch"),
            look,
            done=found,
            failed=missing,
            cancelled=cancelled,
            lane="tools",
            key=INTERPRETER,
            quiet=True,
        )

    def set_up(self) -> None:
        """Run the commands that were shown, and look again."""
        steps = self.set_up_steps
        if steps is None or self.setting_up is not None:
            return

        def over() -> None:
            self._say_setting_up(None)

        def done(_: Path) -> None:
            over()
            # What was chosen before could not train; what was set up for it is found by itself.
            self.store.change(python="")
            self.find_interpreter()

        def failed(error: NadirError) -> None:
            over()
            self.notices.post_error(error)

        def run(report: Report) -> Path:
            folder = own_environment()

            def tell(done: int, total: int, text: str) -> None:
                report(done, total, text)
                self._told_setting_up.emit(text)

            return set_up.set_up(steps, folder, tell)

        self._say_setting_up("")
        self.jobs.start(
            self.tr("Setting up Python for training"),
            run,
            done=done,
            failed=failed,
            cancelled=over,
            lane="tools",
            key=SET_UP,
        )

    def stop_setting_up(self) -> None:
        """Stop, and take away what was begun."""
        self.jobs.cancel(SET_UP)

    def _say_setting_up(self, text: str | None) -> None:
        if text != self.setting_up:
            self.setting_up = text
            self.set_up_changed.emit()

    def _hear_setting_up(self, text: str) -> None:
        if self.setting_up is not None:
            self._say_setting_up(text)

    def _preferences_changed(self) -> None:
        if self.store.now.python != self._python:
            self._python = self.store.now.python
            if self._opened:
                self.find_interpreter()

    def set_root(self, root: Path) -> None:
        """Keep runs somewhere else; those of the old place leave the list unless they are at work."""
        self.store.change(runs=str(root))
        self.runs = [run for run in self.runs if run.live or run.folder.parent == root]
        if self.chosen not in self.runs:
            self.choose(None)
        self.runs_changed.emit()
        self.find_runs()

    # Choosing ---------------------------------------------------------------------------------------------------

    def choose(self, run: Run | None) -> None:
        """Look at a run; None: set a new one up."""
        if run is not self.chosen:
            self.chosen = run
            self.chosen_changed.emit()

    def compare(self, run: Run, on: bool) -> None:
        """Lay a run's curves beside those of the one looked at, or take them away."""
        before = set(self.compared)
        (self.compared.add if on else self.compared.discard)(run.folder)
        if self.compared != before:
            self.compared_changed.emit()

    @property
    def shown(self) -> list[Run]:
        """The run looked at, and those compared with it."""
        others = [
            run for run in self.runs if run.folder in self.compared and run is not self.chosen
        ]
        return ([self.chosen] if self.chosen is not None else []) + others

    # Doing ------------------------------------------------------------------------------------------------------

    def begin(self, plan: launch.Plan) -> None:
        """Start a new run."""
        self._start(plan.folder, lambda: launch.begin(plan))

    def resume(self, run: Run) -> None:
        """Go on with a run that ended."""
        python = self.interpreter.path if self.interpreter is not None else None
        self._start(run.folder, lambda: launch.resume(run, python))

    def _start(self, folder: Path, start: Callable[[], Run]) -> None:
        def done(run: Run) -> None:
            self.busy.discard(folder)
            self.runs = [other for other in self.runs if other.folder != folder]
            self.runs.append(run)
            self.runs.sort(key=_age, reverse=True)
            self.chosen = run
            self.runs_changed.emit()
            self.chosen_changed.emit()
            self._tell_live()

        self._do(folder, self.tr("Starting {0}").format(folder.name), start, done)

    def stop(self, run: Run) -> None:
        """Ask for a checkpoint and the end."""
        self._do(run.folder, self.tr("Stopping {0}").format(run.name), lambda: launch.stop(run))

    def end_now(self, run: Run) -> None:
        """End the run and all its helpers at once."""
        self._do(run.folder, self.tr("Ending {0}").format(run.name), lambda: launch.end_now(run))

    def pause(self, run: Run) -> None:
        """Let it hold its place."""
        self._do(run.folder, self.tr("Pausing {0}").format(run.name), lambda: launch.pause(run))

    def go_on(self, run: Run) -> None:
        """Let it go on after a pause."""
        self._do(run.folder, self.tr("Going on"), lambda: launch.go_on(run))

    def delete(self, run: Run) -> None:
        """Delete a run's folder."""

        def done(_: object) -> None:
            self.busy.discard(run.folder)
            self.compared.discard(run.folder)
            self.runs = [other for other in self.runs if other is not run]
            if self.chosen is run:
                self.choose(None)
            self.runs_changed.emit()

        self._do(
            run.folder, self.tr("Deleting {0}").format(run.name), lambda: launch.delete(run), done
        )

    def _do(
        self,
        folder: Path,
        title: str,
        act: Callable[[], object],
        done: Callable[..., None] | None = None,
    ) -> None:
        self.busy.add(folder)
        self._tell(folder)

        def over(_: object) -> None:
            self.busy.discard(folder)
            self._tell(folder)
            self._look()

        def failed(error: NadirError) -> None:
            self.busy.discard(folder)
            self.notices.post_error(error)
            self._tell(folder)

        self.jobs.start(
            title,
            lambda report: act(),
            done=done or over,
            failed=failed,
            cancelled=lambda: over(None),
            lane="watch",
            quiet=True,
        )

    def _tell(self, folder: Path) -> None:
        run = self._known(folder)
        if run is not None:
            self.run_changed.emit(run)

    def use(self, run: Run, index: Path | None, imagery: Path | None) -> None:
        """Make an encoder of a run's best checkpoint, and an index for it; ``made`` tells."""
        checkpoint = run.best_file
        if checkpoint is None or self.interpreter is None or self.using is not None:
            return
        python, name = self.interpreter.path, run.name
        self.using = run.folder
        self._tell(run.folder)

        def over() -> None:
            self.using = None
            self._tell(run.folder)

        def done(ready: work.Ready) -> None:
            over()
            self.made.emit(ready)

        def failed(error: NadirError) -> None:
            over()
            self.notices.post_error(error)

        self.jobs.start(
            self.tr("Preparing {0} for use").format(name),
            lambda report: work.put_to_use(python, checkpoint, name, index, imagery, report),
            done=done,
            failed=failed,
            cancelled=over,
            lane="tools",
            key=USE,
        )

    # Watching ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See what the runs at work have told. A run that is over is looked at once more and then left alone."""
        wanted = [run for run in self.runs if run.alive or run is self.chosen]
        if not wanted or self._looking:
            return
        self._looking = True

        def work(report: Report) -> list[tuple[Run, Look]]:
            return [(run, run.look()) for run in wanted]

        def failed(error: NadirError) -> None:
            self._looking = False
            log.warning("runs could not be looked at: %s", error)

        self.jobs.start("", work, done=self._seen, failed=failed, lane="watch", quiet=True)

    def _seen(self, looks: list[tuple[Run, Look]]) -> None:
        self._looking = False
        for run, look in looks:
            if run not in self.runs:
                continue
            before = run.state
            if run.take(look):
                self.run_changed.emit(run)
                if before != run.state:
                    self._became(run, before)
        self._tell_live()

    def _became(self, run: Run, before: State) -> None:
        """Say what happened to a run that nobody looks at."""
        if (not run.live and run is not self.chosen) or not self._looked_at:
            if run.state == State.DONE:
                self.notices.post("info", self.tr("“{0}” is trained.").format(run.name))
            elif run.state == State.FAILED:
                from app.training.words import what_failed

                headline, remedy = what_failed(run)
                self.notices.post("error", f"{run.name}: {headline}", remedy)

    @property
    def _looked_at(self) -> bool:
        return self._watch.interval() == WATCH_MS

    def _tell_live(self) -> None:
        live = bool(self.live)
        if live and not self._watch.isActive():
            self._watch.start()
        if live != self._live:
            self._live = live
            self.live_changed.emit()


def _live_runs(root: Path) -> list[Run]:
    from app.training.processes import lives

    found = []
    for folder in find_runs(root):
        begun = read_launch(folder)
        if begun is not None and lives(begun.pid, begun.mark):
            run = read_run(folder)
            if run is not None:
                found.append(run)
    return found


def _age(run: Run) -> str:
    """What runs are sorted by: when they were begun."""
    if run.launch is not None and run.launch.created:
        return run.launch.created
    from datetime import datetime

    try:
        at = os.stat(run.folder).st_mtime
    except OSError:
        at = 0.0
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")
