"""The page that imports a released checkpoint, or says how to get what that needs."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.jobs import Job
from app.library import importing, work
from app.library.importing import Import
from app.library.item_page import Problem
from app.library.model import Library
from app.notices import headline_of, remedy_of
from app.theme import STEP
from app.training.missing import MissingCard
from app.training.model import Training
from app.training.parts import Field
from app.widgets import Elided, label
from engine.errors import NadirError

IMPORT = "library-import"
_SIZE = re.compile(r"\s*\d{1,4}\s*[x×X]\s*\d{1,4}\s*")
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')


class ImportPage(QWidget):
    """A checkpoint, a name, and what its weights do not tell."""

    def __init__(self, library: Library, training: Training) -> None:
        super().__init__()
        self._library, self._training = library, training
        self._path: Path | None = None
        self._first_stage: Path | None = None
        self._at_work = False
        self.card = MissingCard(training, self.tr("Importing needs PyTorch"))
        self.choose = QPushButton(self.tr("Choose the checkpoint…"))
        self.choose.clicked.connect(self._ask)
        self.file = Elided(self.tr("None chosen. You can also drop it here."))
        self.file.setProperty("tone", "muted")
        self.name = QLineEdit()
        self.name.setAccessibleName(self.tr("Name of the encoder"))
        self.name.textChanged.connect(lambda _: self.refresh())
        self.photos = self._size(self.tr("Photos, height × width in pixels"))
        self.tiles = self._size(self.tr("Tiles, height × width in pixels"))
        self.extent = self._metres(self.tr("A tile's side"))
        self.stride = self._metres(self.tr("Between tiles"))
        self.options = QLineEdit()
        self.options.setPlaceholderText(self.tr("such as aggregation=spoc"))
        self.options.setAccessibleName(self.tr("Options of the network"))
        self.stage = QPushButton(self.tr("Choose the first stage…"))
        self.stage.setToolTip(self.tr("For TransGeo's second stage: the weights of its first one"))
        self.stage.clicked.connect(self._ask_stage)
        self.half = QCheckBox(self.tr("Keep the weights in half the bytes"))
        self.problem = Problem()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        self.text = label(muted=True, wrap=True)
        self.start = QPushButton(self.tr("Import"))
        self.start.setProperty("kind", "primary")
        self.start.clicked.connect(self._start)
        self.stop = QPushButton(self.tr("Stop"))
        self.stop.clicked.connect(lambda: library.jobs.cancel(IMPORT))
        self._lay_out()
        training.interpreter_changed.connect(self.refresh)
        library.jobs.changed.connect(self._job_changed)
        self.refresh()

    def _size(self, name: str) -> QLineEdit:
        field = QLineEdit()
        field.setPlaceholderText(self.tr("its authors'"))
        field.setAccessibleName(name)
        field.textChanged.connect(lambda _: self.refresh())
        return field

    def _metres(self, name: str) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setRange(0.0, 10_000.0)
        box.setDecimals(1)
        box.setSpecialValueText(self.tr("its data's"))
        box.setSuffix(self.tr(" m"))
        box.setAccessibleName(name)
        return box

    def _lay_out(self) -> None:
        form = QWidget()
        form.setMaximumWidth(640)
        column = QVBoxLayout(form)
        column.setContentsMargins(5 * STEP, 4 * STEP, 5 * STEP, 4 * STEP)
        column.setSpacing(3 * STEP)
        column.addWidget(label(self.tr("Import a checkpoint"), size="large", bold=True))
        column.addWidget(
            label(
                self.tr(
                    "Weights that others have released become an encoder with their authors' own preprocessing. "
                    "Whose they are is recognised by the names of their parameters; nothing in them is run."
                ),
                muted=True,
                wrap=True,
            )
        )
        row = QHBoxLayout()
        row.addWidget(self.choose)
        row.addWidget(self.file, 1)
        column.addLayout(row)
        column.addWidget(Field(self.tr("Name of the encoder"), self.name))
        column.addWidget(
            label(self.tr("Only where they differ from what its authors used"), bold=True)
        )
        for left, right in ((self.photos, self.tiles), (self.extent, self.stride)):
            pair = QHBoxLayout()
            pair.setSpacing(3 * STEP)
            for part in (left, right):
                pair.addWidget(Field(part.accessibleName(), part), 1)
            column.addLayout(pair)
        column.addWidget(Field(self.tr("Options of the network"), self.options))
        column.addWidget(self.half)
        column.addWidget(self.stage, 0, Qt.AlignmentFlag.AlignLeft)
        for part in (self.problem, self.bar, self.text):
            column.addWidget(part)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.stop)
        buttons.addStretch(1)
        column.addLayout(buttons)
        column.addStretch(1)
        inside = QWidget()
        middle = QHBoxLayout(inside)
        middle.setContentsMargins(0, 0, 0, 0)
        middle.addWidget(form, 1)
        middle.addStretch(0)
        self.form = QScrollArea()
        self.form.setWidgetResizable(True)
        self.form.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.form.setWidget(inside)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(self.form)
        page.addWidget(self.card)

    # Choosing ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The page has come to the front: look for a Python that can."""
        if self._training.interpreter is None and self._training.setting_up is None:
            self._training.find_interpreter()

    def _ask(self) -> None:
        endings = " ".join(f"*{ending}" for ending in importing.ENDINGS)
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose released weights"),
            self._library.store.now.folder,
            self.tr("Checkpoints ({0});;All files (*)").format(endings),
        )
        if name:
            self.set_checkpoint(Path(name))

    def set_checkpoint(self, path: Path) -> None:
        """Import this one."""
        self._path = path
        self.file.setText(str(path))
        self._library.store.change(folder=str(path.parent))
        stem = path.name
        while Path(stem).suffix.lower() in importing.ENDINGS:
            stem = Path(stem).stem
        self.name.setText(_NOT_IN_NAMES.sub("-", stem).strip(". ")[:80])
        self.problem.hide()
        self.refresh()

    def _ask_stage(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, self.tr("Choose the weights of the first stage"), self._library.store.now.folder
        )
        self._first_stage = Path(name) if name else None
        words = self.tr("First stage: {0}").format(Path(name).name)
        self.stage.setText(words if name else self.tr("Choose the first stage…"))

    # Showing ----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what can be done."""
        ready = self._training.interpreter is not None
        self.form.setVisible(ready)
        self.card.setVisible(not ready)
        self.card.refresh()
        sizes = all(
            not field.text().strip() or _SIZE.fullmatch(field.text())
            for field in (self.photos, self.tiles)
        )
        name = self.name.text().strip()
        good = bool(name) and not _NOT_IN_NAMES.search(name) and not name.startswith(".")
        self.start.setEnabled(self._path is not None and good and sizes and not self._at_work)
        self.start.setVisible(not self._at_work)
        self.stop.setVisible(self._at_work)
        self.bar.setVisible(self._at_work)
        if not self._at_work:
            self.text.setText(
                "" if sizes else self.tr("Sizes are written as height × width, such as 128x512.")
            )
        self.text.setVisible(self._at_work or not sizes)

    def _job_changed(self, job: Job) -> None:
        if job.key == IMPORT and not job.over:
            self.text.setText(job.progress[2] or self.tr("Reading the weights…"))

    # Doing ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        interpreter, path = self._training.interpreter, self._path
        if interpreter is None or path is None or self._at_work:
            return
        wanted = Import(
            path,
            self.name.text().strip(),
            _plain(self.photos.text()),
            _plain(self.tiles.text()),
            self.extent.value(),
            self.stride.value(),
            self.half.isChecked(),
            tuple(self.options.text().split()),
            self._first_stage,
        )
        self._at_work = True
        self.problem.hide()
        self.refresh()
        python, root = interpreter.path, self._library.root

        def over() -> None:
            self._at_work = False
            self.refresh()

        def done(made: tuple[work.Brought, float | None]) -> None:
            brought, apart = made
            over()
            self._path = None
            self.file.setText(self.tr("None chosen. You can also drop it here."))
            self.name.clear()
            words = self.tr("Its graphs differ from the network by {0} at most.")
            self._library.brought(
                brought, words.format(f"{apart:.1g}") if apart is not None else ""
            )

        def failed(error: NadirError) -> None:
            over()
            self.problem.say(headline_of(error), remedy_of(error))
            self.problem.show()

        self._library.jobs.start(
            self.tr("Importing {0}").format(path.name),
            lambda report: importing.import_checkpoint(python, wanted, root, report),
            done=done,
            failed=failed,
            cancelled=over,
            lane="tools",
            key=IMPORT,
        )


def _plain(size: str) -> str:
    return size.replace("×", "x").replace(" ", "").lower()
