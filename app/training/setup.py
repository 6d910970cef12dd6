"""Setting a new run up: recipe, data, device, time and name; checked, previewed and measured before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from app.notices import headline_of, remedy_of
from app.training import work
from app.training.launch import TOWNS, Plan
from app.training.missing import MissingCard
from app.training.model import Training
from app.training.parts import Entry
from app.training.runs import check_name, free_name
from app.training.setup_form import FOLDER, MINUTES, RENDERED, STEPS, SetupForm
from app.training.setup_words import data_words, measured_words, memory_words, rendering_words
from app.widgets import restyle
from engine.errors import NadirError

CHECK, MEASURE = "train-check", "train-measure"
CHECK_AFTER_MS = 400


@dataclass(frozen=True)
class Chosen:
    """A recipe to train by: a name that ships, or a file."""

    value: str
    name: str
    facts: work.Shipped

    @property
    def renders(self) -> bool:
        """Whether it can make its own data."""
        return self.facts.renders

    @property
    def about(self) -> str:
        """What it trains, and on what."""
        return "\n".join(words for words in (self.facts.title, self.facts.data) if words)

    @property
    def entry(self) -> Entry:
        """What the menu shows of it."""
        return Entry(self.value, self.name, self.facts.title, self.facts.notes)


class SetupPage(QWidget):
    """The form, and beside it what the check has found."""

    start_asked = Signal(object)  # a Plan
    _data_told = Signal(
        int, object
    )  # from the worker's thread: which check, and what it found in the data

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training
        self._shipped: list[Chosen] = []
        self._recipe: Chosen | None = None
        self._file: Chosen | None = None
        self._folder: Path | None = None
        self._checked: work.Checked | None = None
        self._checks = 0
        self._early: dict[str, Any] = {}  # of the data, while the check is still making pictures
        self._problem: NadirError | None = None
        self._measured: work.Measured | None = None
        self._unmeasured: NadirError | None = None
        self._checking = self._measuring = False
        self._named_by_user = False
        self._wants_rendered = True
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(CHECK_AFTER_MS)
        self._later.timeout.connect(self.check)
        self.form = SetupForm()
        self.card = MissingCard(training)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(self.form)
        page.addWidget(self.card)
        self._source, self._length = RENDERED, STEPS
        self._connect()
        training.interpreter_changed.connect(self._interpreter_changed)
        training.runs_changed.connect(self._propose_name)
        self._interpreter_changed()
        training.jobs.start(
            self.tr("Reading recipes"),
            work.shipped_recipes,
            done=self._have_recipes,
            lane="view",
            quiet=True,
        )

    def _connect(self) -> None:
        form = self.form
        self._data_told.connect(self._hear_data, Qt.ConnectionType.QueuedConnection)
        form.recipe.picked.connect(self._recipe_picked)
        form.source.chosen.connect(self._source_chosen)
        form.browse.clicked.connect(self._browse_data)
        form.devices.changed.connect(self._forget_measurement)
        form.length.chosen.connect(self._length_chosen)
        form.minutes.valueChanged.connect(lambda _: self._forget_measurement())
        form.name.textEdited.connect(self._name_edited)
        form.elsewhere.clicked.connect(self._browse_root)
        form.measure.clicked.connect(self._again)
        form.start.clicked.connect(self._start)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._checked is None and self._problem is None and not self._checking:
            self._later.start()

    # The interpreter --------------------------------------------------------------------------------------------

    def _interpreter_changed(self) -> None:
        training = self._training
        ready = training.interpreter is not None
        self.form.setVisible(ready)
        self.card.setVisible(not ready)
        if training.interpreter is not None:
            self.form.devices.set_devices(training.interpreter.devices)
            self._check_later()
        self.card.refresh()

    # Choosing ---------------------------------------------------------------------------------------------------

    def _have_recipes(self, shipped: list[work.Shipped]) -> None:
        self._shipped = [Chosen(facts.name, facts.name, facts) for facts in shipped]
        self._fill_recipes()
        if self._recipe is None and self._shipped:
            first = next((r for r in self._shipped if r.value == "port-nemo"), self._shipped[0])
            self.set_recipe(first)

    def _fill_recipes(self) -> None:
        own = [recipe.entry for recipe in self._shipped if recipe.renders]
        bring = [recipe.entry for recipe in self._shipped if not recipe.renders]
        groups = [
            (self.tr("These render their own data"), own),
            (self.tr("These need a data set on your disk"), bring),
        ]
        if self._file is not None:
            groups.append((self.tr("From a file"), [self._file.entry]))
        self.form.recipe.set_entries(groups, (self.tr("From a file…"), self._browse_recipe))

    def _recipe_picked(self, value: str) -> None:
        known = [*self._shipped, *([self._file] if self._file is not None else [])]
        self.set_recipe(next(r for r in known if r.value == value))

    def set_recipe(self, recipe: Chosen) -> None:
        """Train by this one."""
        self._recipe = recipe
        self.form.recipe.show_entry(recipe.value, recipe.name)
        self.form.about.setText(recipe.about)
        self.form.about.setVisible(bool(recipe.about))
        self.form.source.setVisible(recipe.renders)
        rendered = recipe.renders and (self._wants_rendered or self._folder is None)
        self._source = RENDERED if rendered else FOLDER
        self.form.source.show_value(self._source)
        self.form.folder_row.setVisible(self._source == FOLDER)
        self._propose_name()
        self._check_later()

    def set_recipe_file(self, path: Path) -> None:
        """Train by a file."""
        facts = work.recipe_facts(path)
        self._file = Chosen(str(path), path.name, facts)
        self._fill_recipes()
        self.set_recipe(self._file)

    def _browse_recipe(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose a recipe"),
            self._training.store.now.folder,
            self.tr("Recipes ({0})").format("*.toml"),
        )
        if name:
            self.set_recipe_file(Path(name))

    def _source_chosen(self, value: str) -> None:
        self._source = value
        self._wants_rendered = value == RENDERED
        self.form.folder_row.setVisible(value == FOLDER)
        self._check_later()
        if value == FOLDER and self._folder is None:
            self._browse_data()

    def _browse_data(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, self.tr("Choose the folder of the data"), self._training.store.now.folder
        )
        if name:
            self.set_data(Path(name))

    def set_data(self, folder: Path) -> None:
        """Train on this folder."""
        self._folder, self._source = folder, FOLDER
        self._wants_rendered = False
        self.form.source.show_value(FOLDER)
        self.form.folder_row.show()
        self.form.folder.setText(str(folder))
        self._check_later()

    def _length_chosen(self, value: str) -> None:
        self._length = value
        self.form.minutes.setVisible(value == MINUTES)
        self._forget_measurement()

    def _name_edited(self) -> None:
        self._named_by_user = bool(self.form.name.text())
        self._refresh()

    def _propose_name(self) -> None:
        if self._recipe is not None and not self._named_by_user:
            self.form.name.setText(free_name(self._training.root, Path(self._recipe.name).stem))
        self._refresh()

    def _browse_root(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, self.tr("Choose where runs are kept"), str(self._training.root)
        )
        if name:
            self._training.set_root(Path(name))
            self._propose_name()
            self._check_later()

    # Checking and measuring -------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan | None:
        """The run as it is set up; None while something is missing."""
        interpreter, recipe = self._training.interpreter, self._recipe
        if interpreter is None or recipe is None or not self.form.devices.picked:
            return None
        if self._source == FOLDER and self._folder is None:
            return None
        return Plan(
            name=self.form.name.text().strip(),
            root=self._training.root,
            recipe=recipe.value,
            data=self._folder if self._source == FOLDER else None,
            devices=self.form.devices.picked,
            minutes=float(self.form.minutes.value()) if self._length == MINUTES else None,
            python=interpreter.path,
        )

    def _check_later(self) -> None:
        self._training.jobs.cancel(CHECK)
        self._training.jobs.cancel(MEASURE)
        self._checked = self._problem = None
        self._early = {}
        self._measured = self._unmeasured = None
        self._checking = self._measuring = False
        self._later.start()
        self._refresh()

    def check(self) -> None:
        """Let the trainer's own code look at recipe and data."""
        plan = self.plan
        if plan is None or not self.isVisible():  # it takes processor time: only for who looks
            return
        self._checking = True
        self._checks += 1
        number = self._checks
        self._refresh()

        def told(data: dict[str, Any]) -> None:
            self._data_told.emit(number, data)

        def done(checked: work.Checked) -> None:
            self._checking, self._checked = False, checked
            self._refresh()
            if not self._training.live:
                self.measure()

        def failed(error: NadirError) -> None:
            self._checking, self._problem = False, error
            self._refresh()

        self._training.jobs.start(
            self.tr("Checking the data"),
            lambda report: work.check(plan.python, plan.recipe, plan.data_folder, report, told),
            done=done,
            failed=failed,
            lane="tools",
            key=CHECK,
            quiet=True,
        )

    def _hear_data(self, number: int, data: dict[str, Any]) -> None:
        if self._checking and number == self._checks:
            self._early = data
            self._refresh()

    def _forget_measurement(self) -> None:
        self._training.jobs.cancel(MEASURE)
        self._measured = self._unmeasured = None
        self._measuring = False
        self._refresh()

    def measure(self) -> None:
        """Train a few steps and reckon."""
        plan = self.plan
        if plan is None or self._checked is None:
            return
        self._measuring = True
        self._measured = self._unmeasured = None
        self._refresh()

        def done(measured: work.Measured) -> None:
            self._measuring, self._measured = False, measured
            self._refresh()

        def failed(error: NadirError) -> None:
            self._measuring, self._unmeasured = False, error
            self._refresh()

        def cancelled() -> None:
            self._measuring = False
            self._refresh()

        self._training.jobs.start(
            self.tr("Estimating"),
            lambda report: work.measure(
                plan.python,
                plan.recipe,
                plan.data_folder,
                plan.devices[0],
                plan.minutes,
                report,
            ),
            done=done,
            failed=failed,
            cancelled=cancelled,
            lane="tools",
            key=MEASURE,
            quiet=True,
        )

    def _again(self) -> None:
        if self._checked is None:
            self._check_later()
        else:
            self.measure()

    def _start(self) -> None:
        plan = self.plan
        if plan is None:
            return
        self._training.jobs.cancel(CHECK)
        self._training.jobs.cancel(MEASURE)
        self._measuring = self._checking = False
        self._named_by_user = False
        self.start_asked.emit(plan)

    # Showing ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        self.form.place.setText(self.tr("in {0}").format(self._training.root))
        name_problem = self._name_words()
        problem = name_problem
        if self._problem is not None:
            problem = f"{headline_of(self._problem)} {remedy_of(self._problem)}".strip()
        self.form.problem.setText(problem)
        self.form.problem.setVisible(bool(problem))
        self.form.start.setEnabled(
            self.plan is not None and self._checked is not None and not name_problem
        )
        self._refresh_estimate()
        self._refresh_data()

    def _name_words(self) -> str:
        return {
            "": "",
            "empty": self.tr("The run needs a name."),
            "characters": self.tr(
                "The name holds a character that files cannot have, or is too long."
            ),
            "taken": self.tr("There is a run of this name already."),
        }[check_name(self._training.root, self.form.name.text().strip())]

    def _refresh_estimate(self) -> None:
        measured, plan = self._measured, self.plan
        data = self._checked.data if self._checked is not None else self._early
        fits = ""
        if self._measuring:
            words = self.tr("Estimating: training a few steps…")
            fits = rendering_words(data)
        elif self._unmeasured is not None:
            words = headline_of(self._unmeasured)
            fits = remedy_of(self._unmeasured)
        elif measured is not None:
            words = measured_words(measured, len(plan.devices) if plan is not None else 1)
            fits = memory_words(measured)
        elif self._checking:
            words = self.tr("Checking recipe and data…")
            fits = rendering_words(data)
        elif self._checked is not None and self._training.live:
            words = self.tr("Not estimated while another run is at work.")
            fits = rendering_words(data)
        elif self._source == FOLDER and self._folder is None:
            words = self.tr("Choose the folder of the data.")
        else:
            words = self.tr("Not estimated yet.") if self._problem is None else ""
            fits = rendering_words(data)
        self.form.estimate.setText(words)
        self.form.estimate.setVisible(bool(words))
        self.form.fits.setText(fits)
        self.form.fits.setVisible(bool(fits))
        wrong = self._unmeasured is not None or (measured is not None and not measured.fits)
        self.form.fits.setProperty("tone", "error" if wrong else "muted")
        restyle(self.form.fits)
        self.form.measure.setText(
            self.tr("Check again") if self._problem is not None else self.tr("Estimate")
        )
        self.form.measure.setToolTip(
            self.tr("Look at recipe and data once more")
            if self._problem is not None
            else self.tr("Train a few steps to see how long it takes and how much memory")
        )
        self.form.measure.setVisible(self._checked is not None or self._problem is not None)
        self.form.measure.setEnabled(not self._measuring)

    def _refresh_data(self) -> None:
        checked = self._checked
        if self._source == RENDERED:
            words = self.tr("Towns with exact truth, rendered once and kept in {0}.")
            self.form.data_words.setText(words.format(self._training.root / TOWNS))
        else:
            self.form.data_words.setText("")
        self.form.data_words.setVisible(self._source == RENDERED)
        if checked is None:
            waiting = self.tr("Checking…") if self._checking else ""
            if self._early:
                rendered = self._source == RENDERED
                waiting = data_words(self._early, rendered=rendered, pictured=False)
            self.form.facts.setText(waiting if self._problem is None else self.tr("Not checked."))
            empty = self.tr("Pairs of photo and tile appear here once the data is checked.")
            self.form.pairs.show_pairs([], empty)
            return
        self.form.facts.setText(data_words(checked.data, rendered=self._source == RENDERED))
        if [view.pair for view in self.form.pairs.views] != checked.pairs:
            self.form.pairs.show_pairs(checked.pairs, self.tr("There are no pairs to look at."))
