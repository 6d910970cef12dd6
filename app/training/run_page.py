"""One run: how it stands, what can be done with it, its curves, pairs, log and recipe."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.bench import Load
from app.icons import icon
from app.jobs import Job
from app.session import Session
from app.theme import STEP
from app.training import work
from app.training.curves import Curves
from app.training.details import Log, RecipeTable
from app.training.events import Gallery
from app.training.model import USE, Training
from app.training.pairs import Progress
from app.training.runs import Run, State
from app.training.words import at_length, what_failed
from app.widgets import Elided, IconLabel, Segments, label

CURVES, PAIRS, LOG, RECIPE = "curves", "pairs", "log", "recipe"
END_AFTER_MS = 8000


class RunPage(QWidget):
    """Watches the run that is chosen."""

    use_asked = Signal(object)  # a Run

    def __init__(self, training: Training, session: Session) -> None:
        super().__init__()
        self._training, self._session = training, session
        self._run: Run | None = None
        self._gallery: Gallery | None = None
        self.name = Elided()
        self.name.setProperty("textSize", "large")
        self.name.setProperty("weight", "bold")
        self.state = Elided(mode=Qt.TextElideMode.ElideRight)
        self.state.setProperty("tone", "muted")
        self.pause = self._button(self.tr("Pause"), "pause", self._pause)
        self.stop = self._button(self.tr("Stop"), "stop", self._stop)
        self.resume = self._button(self.tr("Resume"), "play", self._resume)
        self.use = self._button(self.tr("Use in Locate"), "locate", self._use)
        self.use.setProperty("kind", "primary")
        self.use.setIcon(icon("locate", QPalette.ColorRole.HighlightedText))
        self._buttons = (self.pause, self.resume, self.stop, self.use)
        self.more = QToolButton()
        self.more.setIcon(icon("menu"))
        self.more.setIconSize(QSize(18, 18))
        self.more.setAccessibleName(self.tr("More"))
        self.more.setToolTip(self.tr("More"))
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        menu = QMenu(self.more)
        self.open_folder = menu.addAction(icon("open"), self.tr("Open the folder"))
        self.open_folder.triggered.connect(self._open_folder)
        self.end_now = menu.addAction(icon("close"), self.tr("End now, without a checkpoint"))
        self.end_now.triggered.connect(self._end_now)
        self.delete = menu.addAction(icon("trash"), self.tr("Delete this run…"))
        self.delete.triggered.connect(self._delete)
        self.more.setMenu(menu)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 1000)
        kept = self.bar.sizePolicy()
        kept.setRetainSizeWhenHidden(True)  # nothing jumps when a run ends
        self.bar.setSizePolicy(kept)
        self.failure = _Failure()
        self.failure.log_asked.connect(lambda: self._show(LOG))
        self.modes = Segments(
            self.tr("View"),
            (
                (CURVES, self.tr("Curves"), ""),
                (PAIRS, self.tr("Pairs"), ""),
                (LOG, self.tr("Log"), ""),
                (RECIPE, self.tr("Recipe"), ""),
            ),
        )
        self.modes.chosen.connect(self._show)
        self.curves = Curves()
        self.pairs = Progress()
        self.pairs.wanted.connect(self._fetch)
        self.log = Log()
        self.recipe = RecipeTable()
        self.stack = QStackedWidget()
        for page in (self.curves, self.pairs, self.log, self.recipe):
            self.stack.addWidget(page)
        self._lay_out()
        self._show(CURVES)
        training.run_changed.connect(self._run_changed)
        training.chosen_changed.connect(self.refresh)
        training.interpreter_changed.connect(self._interpreter_changed)
        training.compared_changed.connect(self._redraw)
        training.jobs.changed.connect(self._job_changed)
        session.overlay_changed.connect(self._overlay_changed)

    def _button(self, text: str, icon_name: str, call: object) -> QPushButton:
        button = QPushButton(text)
        button.setIcon(icon(icon_name))
        button.clicked.connect(call)
        return button

    def _lay_out(self) -> None:
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self.name)
        words.addWidget(self.state)
        head = QHBoxLayout()
        head.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 0)
        head.setSpacing(2 * STEP)
        head.addLayout(words, 1)
        for button in (self.pause, self.resume, self.stop, self.use, self.more):
            head.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        bar = QVBoxLayout()
        bar.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
        bar.setSpacing(2 * STEP)
        bar.addWidget(self.bar)
        bar.addWidget(self.failure)
        modes = QHBoxLayout()
        modes.setContentsMargins(3 * STEP, 0, 3 * STEP, 0)
        modes.addWidget(self.modes)
        modes.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, STEP, 0, 0)
        column.setSpacing(2 * STEP)
        column.addLayout(head)
        column.addLayout(bar)
        column.addLayout(modes)
        column.addWidget(self.stack, 1)

    # Showing ----------------------------------------------------------------------------------------------------

    def _show(self, mode: str) -> None:
        self._mode = mode
        self.modes.show_value(mode)
        pages = {CURVES: self.curves, PAIRS: self.pairs, LOG: self.log, RECIPE: self.recipe}
        self.stack.setCurrentWidget(pages[mode])
        self._redraw()

    def refresh(self) -> None:
        """Show the run that is chosen."""
        run = self._training.chosen
        if run is not self._run:
            self._run, self._gallery = run, None
            self.pairs.set_steps([])
            self.pairs.pairs.show_pairs([], "")
        if run is None:
            return
        self._refresh_head(run)
        self._redraw()

    def _run_changed(self, run: Run) -> None:
        if run is self._run:
            self._refresh_head(run)
        if run in self._training.shown:
            self._redraw()

    def _interpreter_changed(self) -> None:
        if self._run is not None:
            self._refresh_head(self._run)

    def _no_python(self) -> str:
        """Why nothing can be done that needs a Python that trains; empty where there is one."""
        training = self._training
        if training.interpreter is not None:
            return ""
        if training.interpreter_load == Load.FAILED:
            return self.tr("This needs PyTorch; see New run")
        return self.tr("Looking for a Python that can train…")

    def _refresh_head(self, run: Run) -> None:
        training = self._training
        state, busy = run.state, run.folder in training.busy
        held = next((button for button in self._buttons if button.hasFocus()), None)
        using = training.using == run.folder
        self.name.setText(run.name)
        lacking = self._no_python()
        offered = run.can_resume or run.best_file is not None
        if not using:
            waiting = lacking if offered and not run.live else ""
            self.state.setText(" · ".join(part for part in (at_length(run), waiting) if part))
        live, paused = run.live, state in (State.PAUSED, State.PAUSING)
        self.pause.setVisible(live)
        self.pause.setText(self.tr("Go on") if paused else self.tr("Pause"))
        self.pause.setIcon(icon("play" if paused else "pause"))
        self.pause.setEnabled(state in (State.TRAINING, State.PAUSED, State.PAUSING))
        self.pause.setToolTip(
            self.tr("Go on where it stands")
            if paused
            else self.tr("Write a checkpoint and hold; memory stays taken")
        )
        self.stop.setVisible(live)
        stopping = state == State.STOPPING
        self.stop.setText(self.tr("End now") if stopping else self.tr("Stop"))
        self.stop.setToolTip(
            self.tr("End the trainer and its helpers at once; the last checkpoint stays")
            if stopping
            else self.tr("Write a checkpoint and end; Resume goes on from there")
        )
        self.resume.setVisible(run.can_resume)
        self.resume.setEnabled(not lacking)
        self.resume.setToolTip(lacking or self.tr("Go on from the last checkpoint"))
        self.use.setVisible(run.best_file is not None)
        self.use.setEnabled(not busy and training.using is None and not lacking)
        self.use.setToolTip(
            lacking
            or self.tr(
                "Make an encoder of the best checkpoint and an index with it, and locate photos"
            )
        )
        self.end_now.setEnabled(live and not busy)
        self.delete.setEnabled(not live and not busy and not using)
        self.bar.setVisible(live or using)
        if not using:
            self._show_share(run)
        failed = state == State.FAILED
        self.failure.setVisible(failed)
        if failed:
            self.failure.say(*what_failed(run))
        if held is not None and not (held.isVisibleTo(self) and held.isEnabled()):
            self.modes.button(self._mode).setFocus()  # and not the next button, which ends the run

    def _show_share(self, run: Run) -> None:
        state, story = run.state, run.story
        if state == State.STARTING:
            self.bar.setRange(0, 0)
            return
        self.bar.setRange(0, 1000)
        share = story.share
        if state == State.DATA and story.data and story.data[1]:
            share = story.data[0] / story.data[1]
        self.bar.setValue(round(1000 * share))

    def _job_changed(self, job: Job) -> None:
        """How far the encoder and its index are."""
        run = self._run
        if job.key != USE or job.over or run is None or self._training.using != run.folder:
            return
        done, total, text = job.progress
        self.state.setText(text or job.title)
        self.bar.setRange(0, total)
        self.bar.setValue(done)

    def _redraw(self) -> None:
        """Draw what the page in front shows; the others wait until they are looked at."""
        run, shown = self._run, self._training.shown
        if run is None or run not in shown:
            return
        page = self.stack.currentWidget()
        if page is self.curves:
            self.curves.show_runs(shown)
        elif page is self.pairs:
            self._refresh_pairs(run)
        elif page is self.log:
            self.log.show_run(run)
        else:
            self.recipe.show_runs(shown)

    # Pairs ------------------------------------------------------------------------------------------------------

    def _refresh_pairs(self, run: Run) -> None:
        galleries = run.story.galleries
        self.pairs.set_steps([gallery.step for gallery in galleries])
        if not galleries:
            self.pairs.pairs.show_pairs([], self._no_pairs(run))

    def _no_pairs(self, run: Run) -> str:
        if run.live:
            return self.tr("The first pairs come with the first validation.")
        return self.tr("This run has kept no pictures of its validations.")

    def _fetch(self, at: int) -> None:
        run = self._run
        if run is None or at >= len(run.story.galleries):
            return
        gallery = run.story.galleries[at]
        if gallery is self._gallery:
            return
        self._gallery = gallery
        folder = run.folder

        def done(pictures: list[work.PairImage]) -> None:
            if gallery is self._gallery:
                empty = self.tr("The pictures of this validation are gone.")
                opacity = self._opacity()
                self.pairs.pairs.show_pairs(pictures, empty, opacity)

        self._training.jobs.start(
            self.tr("Fetching pairs"),
            lambda report: work.pictures(folder, gallery, report),
            done=done,
            lane="view",
            key="train-pairs",
            quiet=True,
        )

    def _opacity(self) -> float:
        session = self._session
        return session.overlay_opacity if session.overlay_shown else 0.0

    def _overlay_changed(self) -> None:
        self.pairs.pairs.set_opacity(self._opacity())

    # Doing ------------------------------------------------------------------------------------------------------

    @property
    def _free(self) -> Run | None:
        """The run, unless something is being done with it just now."""
        run = self._run
        return run if run is not None and run.folder not in self._training.busy else None

    def _pause(self) -> None:
        run = self._free
        if run is None:
            return
        if run.state in (State.PAUSED, State.PAUSING):
            self._training.go_on(run)
        else:
            self._training.pause(run)

    def _stop(self) -> None:
        run = self._free
        if run is not None:
            stopping = run.state == State.STOPPING
            (self._training.end_now if stopping else self._training.stop)(run)

    def _resume(self) -> None:
        if (run := self._free) is not None:
            self._training.resume(run)

    def _use(self) -> None:
        if self._run is not None:
            self.use_asked.emit(self._run)

    def _end_now(self) -> None:
        if self._run is not None:
            self._training.end_now(self._run)

    def _open_folder(self) -> None:
        if self._run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._run.folder)))

    def _delete(self) -> None:
        run = self._run
        if run is None:
            return
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.NoIcon)
        box.setWindowTitle(self.tr("Delete this run"))
        box.setText(self.tr("Delete “{0}” with its checkpoints?").format(run.name))
        box.setInformativeText(str(run.folder))
        delete = box.addButton(self.tr("Delete"), QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(self.tr("Keep"), QMessageBox.ButtonRole.RejectRole)
        box.buttonClicked.connect(
            lambda button: self._training.delete(run) if button is delete else None
        )
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()


class _Failure(QFrame):
    """Why a run failed and what to do, over its curves."""

    log_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("place", "notice-error")
        self.headline = label(bold=True, wrap=True, selectable=True)
        self.text = label(wrap=True, selectable=True)
        show_log = QPushButton(self.tr("Show the log"))
        show_log.clicked.connect(self.log_asked.emit)
        words = QVBoxLayout()
        words.setSpacing(STEP)
        words.addWidget(self.headline)
        words.addWidget(self.text)
        row = QHBoxLayout(self)
        row.setContentsMargins(3 * STEP, 2 * STEP, 3 * STEP, 2 * STEP)
        row.setSpacing(2 * STEP)
        row.addWidget(IconLabel("error", 18, "error"), 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(show_log, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def say(self, headline: str, text: str) -> None:
        """Show the reason."""
        self.headline.setText(headline)
        self.text.setText(text)
        self.setAccessibleName(f"{headline} {text}")
