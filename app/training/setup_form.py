"""The form of a new run: its fields and where they stand; what they do is the page's."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.theme import STEP
from app.training.devices import DevicePicker
from app.training.pairs import PairList
from app.training.parts import Choice, Field
from app.widgets import Elided, Segments, label

FORM_WIDTH = 356
RENDERED, FOLDER = "rendered", "folder"
STEPS, MINUTES = "steps", "minutes"


class SetupForm(QWidget):
    """Fields on the left, the data to look at on the right."""

    def __init__(self) -> None:
        super().__init__()
        self._make()
        self._lay_out()

    def _make(self) -> None:
        self.recipe = Choice(self.tr("Recipe"))
        self.about = label(size="small", muted=True, wrap=True)
        self.source = Segments(
            self.tr("Data"),
            (
                (RENDERED, self.tr("Rendered towns"), ""),
                (FOLDER, self.tr("A folder"), ""),
            ),
        )
        self.source.show_value(RENDERED)
        self.folder = Elided(self.tr("No folder chosen"))
        self.folder.setProperty("tone", "muted")
        self.browse = QPushButton(self.tr("Choose…"))
        self.folder_row = QWidget()
        row = QHBoxLayout(self.folder_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.folder, 1)
        row.addWidget(self.browse)
        self.folder_row.hide()
        self.data_words = label(size="small", muted=True, wrap=True)
        self.devices = DevicePicker()
        self.length = Segments(
            self.tr("How long"),
            ((STEPS, self.tr("The recipe's steps"), ""), (MINUTES, self.tr("Minutes"), "")),
        )
        self.length.show_value(STEPS)
        self.minutes = QSpinBox()
        self.minutes.setRange(1, 100_000)
        self.minutes.setValue(60)
        self.minutes.setAccessibleName(self.tr("Minutes"))
        self.minutes.setMaximumWidth(88)
        self.minutes.hide()
        self.name = QLineEdit()
        self.name.setAccessibleName(self.tr("Name of the run"))
        self.name.setMaxLength(100)
        self.place = Elided()
        self.place.setProperty("tone", "muted")
        self.place.setProperty("textSize", "small")
        self.elsewhere = QPushButton(self.tr("Change…"))
        self.elsewhere.setProperty("kind", "link")
        self.elsewhere.setAccessibleName(self.tr("Change where runs are kept"))
        self.estimate = label(wrap=True)
        self.fits = label(wrap=True, muted=True)
        self.measure = QPushButton(self.tr("Estimate"))
        self.problem = label(wrap=True)
        self.problem.setProperty("tone", "error")
        self.problem.hide()
        self.start = QPushButton(self.tr("Start training"))
        self.start.setProperty("kind", "primary")
        self.facts = label(muted=True, wrap=True)
        self.pairs = PairList(self.tr("Pairs of the data"))

    def _lay_out(self) -> None:
        form = QWidget()
        fields = QVBoxLayout(form)
        fields.setContentsMargins(4 * STEP, 3 * STEP, 4 * STEP, 3 * STEP)
        fields.setSpacing(3 * STEP)
        fields.addWidget(label(self.tr("New run"), size="large", bold=True))
        fields.addWidget(Field(self.tr("Recipe"), self.recipe, self.about))
        fields.addWidget(Field(self.tr("Data"), self.source, self.folder_row, self.data_words))
        fields.addWidget(Field(self.tr("Train on"), self.devices))
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
        row.addWidget(self.measure, 0, Qt.AlignmentFlag.AlignTop)
        last.addLayout(row)
        last.addWidget(self.start)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(scroll, 1)
        column.addWidget(foot)
        self.left = left
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
        page = QHBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.setSpacing(0)
        page.addWidget(left)
        page.addWidget(right, 1)
        self.pairs.show_pairs(
            [], self.tr("Pairs of photo and tile appear here once the data is checked.")
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.left.setFixedWidth(min(440, max(FORM_WIDTH, round(self.width() * 0.42))))
