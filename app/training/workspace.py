"""The Train workspace: the list of runs, and beside it a new run's form or a run's page."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QStackedWidget, QWidget

from app.session import Session
from app.training import work
from app.training.launch import Plan
from app.training.model import Training
from app.training.run_list import RunList
from app.training.run_page import RunPage
from app.training.runs import Run
from app.training.setup import SetupPage


class TrainWorkspace(QWidget):
    """Composition, and the way from a checkpoint to the Locate workspace."""

    put_to_use = Signal()  # encoder and area are being opened

    def __init__(self, training: Training, session: Session) -> None:
        super().__init__()
        self._training, self._session = training, session
        self.list = RunList(training)
        self.setup = SetupPage(training)
        self.page = RunPage(training, session)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.setup)
        self.stack.addWidget(self.page)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.list)
        row.addWidget(self.stack, 1)
        self.setup.start_asked.connect(self._begin)
        self.page.use_asked.connect(self.use)
        training.chosen_changed.connect(self._chosen)
        training.made.connect(self._made)
        self._chosen()

    def _begin(self, plan: Plan) -> None:
        self.list.list.setFocus()  # else Stop would have the keyboard as soon as the form is gone
        self._training.begin(plan)

    def _chosen(self) -> None:
        chosen = self._training.chosen
        self.stack.setCurrentWidget(self.setup if chosen is None else self.page)
        self.page.refresh()

    def use(self, run: Run, imagery: Path | None = None) -> None:
        """Export a run's best checkpoint, make an index with it over the open area's imagery, and open both.

        Where no area is open, the imagery is asked for.
        """
        index = self._session.bench.index
        if index.value is not None and imagery is None:
            self._training.use(run, index.value.path, None)
            return
        if imagery is None:
            name, _ = QFileDialog.getOpenFileName(
                self,
                self.tr("No area is open: choose aerial imagery to make one of"),
                self._training.store.now.folder,
                self.tr("Imagery ({0});;All files (*)").format("*.tif *.tiff"),
            )
            if not name:
                return
            imagery = Path(name)
        self._training.use(run, None, imagery)

    def _made(self, ready: work.Ready) -> None:
        self._session.bench.open(ready.encoder, ready.index)
        self.put_to_use.emit()
