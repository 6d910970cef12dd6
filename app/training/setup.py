"""Setting a new run up: recipe, data, device, time and name; checked, previewed and measured before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.bench import Load
from app.notices import headline_of, remedy_of
from app.theme import STEP
from app.training import work
from app.training.interpreter import Device, MissingError, install_command
from app.training.launch import TOWNS, Plan
from app.training.model import Training
from app.training.pairs import PairList
from app.training.parts import Choice, Field
from app.training.runs import check_name, free_name
from app.training.words import duration, gigabytes
from app.widgets import Elided, Segments, StateCard, label
from engine.errors import NadirError

CHECK, MEASURE = "train-check", "train-measure"
CHECK_AFTER_MS = 400
FORM_WIDTH = 356
RENDERED, FOLDER = "rendered", "folder"
STEPS, MINUTES = "steps", "minutes"


@dataclass(frozen=True)
class Chosen:
    """A recipe to train by: a name that ships, or a file."""

    value: str
    title: str
    about: str
    renders: bool


class SetupPage(QWidget):
    """The form, and beside it what the check has found."""

    start_asked = Signal(object)  # a Plan

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training
        self._shipped: list[Chosen] = []
        self._recipe: Chosen | None = None
        self._file: Chosen | None = None
        self._folder: Path | None = None
        self._checked: work.Checked | None = None
        self._problem: NadirError | None = None
        self._measured: work.Measured | None = None
        self._unmeasured: NadirError | None = None
        self._checking = self._measuring = False
        self._named_by_user = False
        self._devices: list[tuple[Device, QRadioButton | QCheckBox]] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(CHECK_AFTER_MS)
        self._later.timeout.connect(self.check)
        self._make()
        self._lay_out()
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

    # Making -----------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.recipe = Choice(self.tr("Recipe"))
        self.recipe.picked.connect(self._recipe_picked)
        self.about = label(size="small", muted=True, wrap=True)
        self.source = Segments(
            self.tr("Data"),
            (
                (RENDERED, self.tr("Rendered towns"), ""),
                (FOLDER, self.tr("A folder"), ""),
            ),
        )
        self.source.chosen.connect(self._source_chosen)
        self._source = RENDERED
        self.source.show_value(RENDERED)
        self.folder = Elided(self.tr("No folder chosen"))
        self.folder.setProperty("tone", "muted")
        self.browse = QPushButton(self.tr("Choose…"))
        self.browse.clicked.connect(self._browse_data)
        self._folder_row = QWidget()
        row = QHBoxLayout(self._folder_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.folder, 1)
        row.addWidget(self.browse)
        self._folder_row.hide()
        self.data_words = label(size="small", muted=True, wrap=True)
        self._device_box = QVBoxLayout()
        self._device_box.setSpacing(0)
        self._radios = QButtonGroup(self)
        self.length = Segments(
            self.tr("How long"),
            ((STEPS, self.tr("The recipe's steps"), ""), (MINUTES, self.tr("Minutes"), "")),
        )
        self.length.show_value(STEPS)
        self.length.chosen.connect(self._length_chosen)
        self._length = STEPS
        self.minutes = QSpinBox()
        self.minutes.setRange(1, 100_000)
        self.minutes.setValue(60)
        self.minutes.setAccessibleName(self.tr("Minutes"))
        self.minutes.setMaximumWidth(88)
        self.minutes.valueChanged.connect(lambda _: self._forget_measurement())
        self.minutes.hide()
        self.name = QLineEdit()
        self.name.setAccessibleName(self.tr("Name of the run"))
        self.name.setMaxLength(100)
        self.name.textEdited.connect(self._name_edited)
        self.place = Elided()
        self.place.setProperty("tone", "muted")
        self.place.setProperty("textSize", "small")
        self.elsewhere = QPushButton(self.tr("Change…"))
        self.elsewhere.setProperty("kind", "link")
        self.elsewhere.setAccessibleName(self.tr("Change where runs are kept"))
        self.elsewhere.clicked.connect(self._browse_root)
        self.estimate = label(wrap=True)
        self.fits = label(wrap=True, muted=True)
        self.measure_button = QPushButton(self.tr("Estimate"))
        self.measure_button.setToolTip(
            self.tr("Train a few steps to see how long it takes and how much memory")
        )
        self.measure_button.clicked.connect(self.measure)
        self.problem = label(wrap=True)
        self.problem.setProperty("tone", "error")
        self.problem.hide()
        self.start = QPushButton(self.tr("Start training"))
        self.start.setProperty("kind", "primary")
        self.start.clicked.connect(self._start)
        self.facts = label(muted=True, wrap=True)
        self.pairs = PairList(self.tr("Pairs of the data"))
        self.card = StateCard()

    def _lay_out(self) -> None:
        form = QWidget()
        fields = QVBoxLayout(form)
        fields.setContentsMargins(4 * STEP, 3 * STEP, 4 * STEP, 3 * STEP)
        fields.setSpacing(3 * STEP)
        fields.addWidget(label(self.tr("New run"), size="large", bold=True))
        fields.addWidget(Field(self.tr("Recipe"), self.recipe, self.about))
        fields.addWidget(Field(self.tr("Data"), self.source, self._folder_row, self.data_words))
        devices = QWidget()
        devices.setLayout(self._device_box)
        self._device_box.setContentsMargins(0, 0, 0, 0)
        fields.addWidget(Field(self.tr("Train on"), devices))
        length = QWidget()
        row = QHBoxLayout(length)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2 * STEP)
        row.addWidget(self.length)
        row.addWidget(self.minutes)
        row.addStretch(1)
        fields.addWidget(Field(self.tr("How long"), length))
        where = QWidget()
        row = QHBoxLayout(where)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.place, 1)
        row.addWidget(self.elsewhere)
        fields.addWidget(Field(self.tr("Name"), self.name, where))
        fields.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(form)
        foot = QFrame()
        foot.setProperty("place", "panel")
        foot.setProperty("line", "above")
        last = QVBoxLayout(foot)
        last.setContentsMargins(4 * STEP, 3 * STEP, 4 * STEP, 3 * STEP)
        last.setSpacing(2 * STEP)
        last.addWidget(self.problem)
        told = QVBoxLayout()
        told.setSpacing(0)
        told.addWidget(self.estimate)
        told.addWidget(self.fits)
        row = QHBoxLayout()
        row.setSpacing(2 * STEP)
        row.addLayout(told, 1)
        row.addWidget(self.measure_button, 0, Qt.AlignmentFlag.AlignTop)
        last.addLayout(row)
        last.addWidget(self.start)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(foot)
        self._left = left
        right = QFrame()
        right.setProperty("place", "panel")
        right.setProperty("line", "left")
        side = QVBoxLayout(right)
        side.setContentsMargins(0, 3 * STEP, 0, 0)
        side.setSpacing(STEP)
        title = QVBoxLayout()
        title.setContentsMargins(3 * STEP, 0, 3 * STEP, STEP)
        title.setSpacing(STEP)
        title.addWidget(label(self.tr("What it learns from"), bold=True))
        title.addWidget(self.facts)
        side.addLayout(title)
        side.addWidget(self.pairs, 1)
        self._whole = QWidget()
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self._whole)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._row.addWidget(left)
        self._row.addWidget(right, 1)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(self._whole)
        page.addWidget(self.card)
        self.pairs.show_pairs(
            [], self.tr("Pairs of photo and tile appear here once the data is checked.")
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._left.setFixedWidth(min(440, max(FORM_WIDTH, round(self.width() * 0.42))))

    # The interpreter --------------------------------------------------------------------------------------------

    def _interpreter_changed(self) -> None:
        training = self._training
        ready = training.interpreter is not None
        self._whole.setVisible(ready)
        self.card.setVisible(not ready)
        if training.interpreter is not None:
            self._fill_devices(training.interpreter.devices)
            self._check_later()
        elif training.interpreter_load == Load.FAILED:
            self._say_missing(training.interpreter_error)
        else:
            self.card.say("train", self.tr("Looking for a Python that can train…"))

    def _say_missing(self, error: NadirError | None) -> None:
        choose = (self.tr("Choose a Python…"), self.choose_python)
        again = (self.tr("Look again"), self._training.find_interpreter)
        if isinstance(error, MissingError) and error.lacks:
            command = install_command(error.python)
            where = self.tr("{0} lacks {1}.").format(error.python, ", ".join(error.lacks))
            if error.python is None:
                where = self.tr("This program comes without it.")
            text = self.tr(
                "{0}\nInstall it, or choose a Python that has it. The command is:\n{1}"
            ).format(where, command)
            copy = (
                self.tr("Copy the command"),
                lambda: QGuiApplication.clipboard().setText(command),
            )
            self.card.say("train", self.tr("Training needs PyTorch"), text, [copy, choose, again])
        elif error is not None:
            self.card.say(
                "error", headline_of(error), remedy_of(error), [choose, again], error=True
            )

    def choose_python(self) -> None:
        """Ask for an interpreter."""
        name, _ = QFileDialog.getOpenFileName(
            self, self.tr("Choose the Python that trains, such as .venv/bin/python")
        )
        if name:
            self._training.store.change(python=name)

    def _fill_devices(self, devices: tuple[Device, ...]) -> None:
        before = self.devices
        while (item := self._device_box.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self._devices = []
        gpus = [device for device in devices if device.gpu]
        for device in devices:
            # Several GPUs may be picked together; the processor stands for itself.
            box = QCheckBox() if device.gpu and len(gpus) > 1 else QRadioButton()
            memory = ""
            if device.total:
                memory = self.tr("{0} of {1} free").format(
                    gigabytes(device.free), gigabytes(device.total)
                )
            box.setText(f"{device.title} · {memory}" if memory else device.title)
            box.setToolTip(device.name)
            if isinstance(box, QRadioButton):
                self._radios.addButton(box)
            box.setChecked(device.name in before)
            box.clicked.connect(lambda _=False, device=device: self._device_clicked(device))
            self._device_box.addWidget(box)
            self._devices.append((device, box))
        if not self.devices:
            first = next((box for device, box in self._devices if device.gpu), self._devices[0][1])
            first.setChecked(True)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices picked."""
        return tuple(device.name for device, box in self._devices if box.isChecked())

    def _device_clicked(self, clicked: Device) -> None:
        for device, box in self._devices:
            if clicked.gpu != device.gpu and isinstance(box, QCheckBox):
                box.setChecked(False)
            elif clicked.gpu and not device.gpu and isinstance(box, QRadioButton):
                self._radios.setExclusive(False)
                box.setChecked(False)
                self._radios.setExclusive(True)
        if not self.devices:
            next(box for device, box in self._devices if device is clicked).setChecked(True)
        self._forget_measurement()

    # Choosing ---------------------------------------------------------------------------------------------------

    def _have_recipes(self, shipped: list[work.Shipped]) -> None:
        self._shipped = [Chosen(r.name, r.name, r.about, r.renders) for r in shipped]
        self._fill_recipes()
        if self._recipe is None and self._shipped:
            first = next((r for r in self._shipped if r.value == "port-nemo"), self._shipped[0])
            self.set_recipe(first)

    def _fill_recipes(self) -> None:
        entries = [(r.value, r.title, r.about) for r in self._shipped]
        if self._file is not None:
            entries.append((self._file.value, self._file.title, self._file.value))
        self.recipe.set_entries(entries, (self.tr("From a file…"), self._browse_recipe))

    def _recipe_picked(self, value: str) -> None:
        known = [*self._shipped, *([self._file] if self._file is not None else [])]
        self.set_recipe(next(r for r in known if r.value == value))

    def set_recipe(self, recipe: Chosen) -> None:
        """Train by this one."""
        self._recipe = recipe
        self.recipe.show_entry(recipe.value, recipe.title)
        self.about.setText(recipe.about)
        self.about.setVisible(bool(recipe.about))
        self.source.setVisible(recipe.renders)
        if not recipe.renders:
            self._source = FOLDER
            self.source.show_value(FOLDER)
        self._folder_row.setVisible(self._source == FOLDER)
        self._propose_name()
        self._check_later()

    def set_recipe_file(self, path: Path) -> None:
        """Train by a file."""
        facts = work.recipe_facts(path)
        self._file = Chosen(str(path), path.name, facts.about, facts.renders)
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
        self._folder_row.setVisible(value == FOLDER)
        if value == FOLDER and self._folder is None:
            self._browse_data()
        self._check_later()

    def _browse_data(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, self.tr("Choose the folder of the data"), self._training.store.now.folder
        )
        if name:
            self.set_data(Path(name))

    def set_data(self, folder: Path) -> None:
        """Train on this folder."""
        self._folder, self._source = folder, FOLDER
        self.source.show_value(FOLDER)
        self._folder_row.show()
        self.folder.setText(str(folder))
        self._check_later()

    def _length_chosen(self, value: str) -> None:
        self._length = value
        self.minutes.setVisible(value == MINUTES)
        self._forget_measurement()

    def _name_edited(self) -> None:
        self._named_by_user = bool(self.name.text())
        self._refresh()

    def _propose_name(self) -> None:
        if self._recipe is not None and not self._named_by_user:
            self.name.setText(free_name(self._training.root, Path(self._recipe.title).stem))
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
        if interpreter is None or recipe is None or not self.devices:
            return None
        if self._source == FOLDER and self._folder is None:
            return None
        return Plan(
            name=self.name.text().strip(),
            root=self._training.root,
            recipe=recipe.value,
            data=self._folder if self._source == FOLDER else None,
            devices=self.devices,
            minutes=float(self.minutes.value()) if self._length == MINUTES else None,
            python=interpreter.path,
        )

    def _check_later(self) -> None:
        self._training.jobs.cancel(CHECK)
        self._training.jobs.cancel(MEASURE)
        self._checked = self._problem = None
        self._measured = self._unmeasured = None
        self._checking = self._measuring = False
        self._later.start()
        self._refresh()

    def check(self) -> None:
        """Let the trainer's own code look at recipe and data."""
        plan = self.plan
        if plan is None:
            return
        self._checking = True
        self._refresh()

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
            lambda report: work.check(plan.python, plan.recipe, plan.data_folder, report),
            done=done,
            failed=failed,
            lane="tools",
            key=CHECK,
            quiet=True,
        )

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
        self.place.setText(self.tr("in {0}").format(self._training.root))
        name_problem = self._name_words()
        problem = name_problem
        if self._problem is not None:
            problem = f"{headline_of(self._problem)} {remedy_of(self._problem)}".strip()
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.start.setEnabled(
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
        }[check_name(self._training.root, self.name.text().strip())]

    def _refresh_estimate(self) -> None:
        measured, plan = self._measured, self.plan
        fits = ""
        if self._measuring:
            words = self.tr("Estimating: training a few steps…")
        elif self._unmeasured is not None:
            words = headline_of(self._unmeasured)
            fits = remedy_of(self._unmeasured)
        elif measured is not None:
            words = self.tr("About {0}").format(duration(measured.seconds))
            many = len(plan.devices) if plan is not None else 1
            if many > 1:
                words = self.tr("About {0} on one GPU, less on {1}").format(
                    duration(measured.seconds), many
                )
            if measured.render_s > 1:
                words = self.tr("{0}, and {1} before that to render the data").format(
                    words, duration(measured.render_s)
                )
            if measured.fits:
                fits = self.tr("Needs {0} of {1} free: it fits.").format(
                    gigabytes(measured.memory), gigabytes(measured.free)
                )
            else:
                fits = self.tr(
                    "Needs {0}, {1} are free: it does not fit. Take smaller batches."
                ).format(gigabytes(measured.memory), gigabytes(measured.free))
        elif self._checking:
            words = self.tr("Checking recipe and data…")
        elif self._checked is not None and self._training.live:
            words = self.tr("Not estimated while another run is at work.")
        elif self._source == FOLDER and self._folder is None:
            words = self.tr("Choose the folder of the data.")
        else:
            words = self.tr("Not estimated yet.") if self._problem is None else ""
        self.estimate.setText(words)
        self.estimate.setVisible(bool(words))
        self.fits.setText(fits)
        self.fits.setVisible(bool(fits))
        wrong = self._unmeasured is not None or (measured is not None and not measured.fits)
        self.fits.setProperty("tone", "error" if wrong else "muted")
        self.fits.style().unpolish(self.fits)
        self.fits.style().polish(self.fits)
        self.measure_button.setVisible(self._checked is not None)
        self.measure_button.setEnabled(not self._measuring)

    def _refresh_data(self) -> None:
        checked = self._checked
        if self._source == RENDERED:
            words = self.tr("Towns with exact truth, rendered once and kept in {0}.")
            self.data_words.setText(words.format(self._training.root / TOWNS))
        else:
            self.data_words.setText("")
        self.data_words.setVisible(self._source == RENDERED)
        if checked is None:
            waiting = self.tr("Checking…") if self._checking else ""
            self.facts.setText(waiting if self._problem is None else self.tr("Not checked."))
            empty = self.tr("Pairs of photo and tile appear here once the data is checked.")
            self.pairs.show_pairs([], empty)
            return
        self.facts.setText(self._data_words(checked))
        if [view.pair for view in self.pairs.views] != checked.pairs:
            self.pairs.show_pairs(checked.pairs, self.tr("There are no pairs to look at."))

    def _data_words(self, checked: work.Checked) -> str:
        data = checked.data
        pairs, rendered = int(data.get("pairs") or 0), int(data.get("pairs_to_render") or 0)
        parts = []
        if pairs:
            parts.append(self.tr("{0} pairs are there.").format(f"{pairs:,}"))
        if rendered:
            words = self.tr("{0} pairs in {1} towns are rendered first.")
            parts.append(words.format(f"{rendered:,}", data.get("to_render")))
            if not pairs:
                parts.append(self.tr("These are from a small town of the same making."))
        if not data.get("validation") and not rendered:
            parts.append(self.tr("There is nothing to validate on, so no recall will be shown."))
        return " ".join(parts)
