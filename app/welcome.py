"""The first page: three steps, and sample photos to click or to drag onto the window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, QRectF, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QAction,
    QDrag,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import tasks
from app.jobs import Jobs
from app.theme import STEP, scaled_font, tokens_of
from app.widgets import label
from engine.shipped import sample_photos

SAMPLE = QSize(116, 74)


@dataclass(frozen=True)
class Sample:
    """A photo that comes with the program."""

    path: Path
    thumbnail: QImage

    @property
    def title(self) -> str:
        """Its file's name as words."""
        return self.path.stem.replace("-", " ").replace("_", " ").capitalize()


class SampleCard(QWidget):
    """A sample photo: click it, press Enter on it, or drag it."""

    picked = Signal(object)

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self._sample = sample
        self._pressed: QPoint | None = None
        self.setFixedSize(SAMPLE.width() + 8, SAMPLE.height() + 28)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setAccessibleName(self.tr("Sample photo: {0}").format(sample.title))
        self.setToolTip(self.tr("Click to locate it, or drag it onto the window"))

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHints(
            QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
        )
        box = QRectF(4, 4, SAMPLE.width(), SAMPLE.height())
        shape = QPainterPath()
        shape.addRoundedRect(box, 4, 4)
        painter.save()
        painter.setClipPath(shape)
        painter.drawImage(box, self._sample.thumbnail)
        painter.restore()
        if self.hasFocus() or self.underMouse():
            painter.setPen(QPen(tokens.colour("accent"), 2.5 if self.hasFocus() else 1.5))
            painter.drawRoundedRect(box.adjusted(-2, -2, 2, 2), 5, 5)
        painter.setFont(scaled_font(self, "small"))
        painter.setPen(tokens.colour("muted"))
        line = QRectF(box.left(), box.bottom() + 4, box.width(), 16)
        text = painter.fontMetrics().elidedText(
            self._sample.title, Qt.TextElideMode.ElideRight, int(line.width())
        )
        painter.drawText(line, Qt.AlignmentFlag.AlignCenter, text)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position().toPoint()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is None:
            return
        moved = event.position().toPoint() - self._pressed
        if moved.manhattanLength() < QApplication.startDragDistance():
            return
        self._pressed = None
        drag = QDrag(self)
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(self._sample.path))])
        drag.setMimeData(data)
        shown = QPixmap.fromImage(self._sample.thumbnail.scaledToWidth(SAMPLE.width()))
        drag.setPixmap(shown)
        drag.setHotSpot(shown.rect().center())
        drag.exec(Qt.DropAction.CopyAction)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._pressed is not None and self.rect().contains(event.position().toPoint()):
            self.picked.emit(self._sample.path)
        self._pressed = None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.picked.emit(self._sample.path)
        else:
            super().keyPressEvent(event)


class Welcome(QFrame):
    """What there is to see before the first photo."""

    sample_picked = Signal(object)

    def __init__(self, jobs: Jobs, open_photos: QAction) -> None:
        super().__init__()
        self._jobs = jobs
        self._open = open_photos
        self.setProperty("place", "panel")
        self._cards: list[SampleCard] = []
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(8 * STEP, 8 * STEP, 8 * STEP, 6 * STEP)
        self._column.setSpacing(4 * STEP)
        self._column.addWidget(
            label(self.tr("Where was this photo taken?"), size="large", bold=True)
        )
        self._column.addWidget(
            label(
                self.tr(
                    "Nadir compares it with aerial imagery, and shows the places that fit and why."
                ),
                muted=True,
                wrap=True,
            )
        )
        self._column.addLayout(self._steps())
        self._samples_title = label(bold=True, wrap=True)
        self._samples_title.hide()
        self.say_samples(at_home=True)
        self._column.addSpacing(2 * STEP)
        self._column.addWidget(self._samples_title)
        self._grid = QGridLayout()
        self._grid.setSpacing(2 * STEP)
        self._grid.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self._column.addLayout(self._grid)
        self._column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inside)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)

    def _steps(self) -> QVBoxLayout:
        steps = QVBoxLayout()
        steps.setSpacing(4 * STEP)
        for number, (title, text) in enumerate(
            (
                (
                    self.tr("Drop a photo or a 360° panorama here"),
                    self.tr(
                        "Files, several at once, or a picture out of a browser. Nothing leaves this machine."
                    ),
                ),
                (
                    self.tr("Say what you know"),
                    self.tr(
                        "The heading and the field of view, if you know them. Nadir finds the heading if not."
                    ),
                ),
                (
                    self.tr("Look at the evidence"),
                    self.tr("Candidates on the map, and heat maps of where each match comes from."),
                ),
            ),
            start=1,
        ):
            row = QHBoxLayout()
            row.setSpacing(3 * STEP)
            row.addWidget(_Number(number), 0, Qt.AlignmentFlag.AlignTop)
            words = QVBoxLayout()
            words.setSpacing(STEP)
            words.addWidget(label(title, bold=True, wrap=True))
            words.addWidget(label(text, muted=True, wrap=True))
            if number == 1:
                button = QPushButton(self.tr("Open photos…"))
                button.setProperty("kind", "primary")
                button.clicked.connect(self._open.trigger)
                self.open_button = button
                line = QHBoxLayout()
                line.addWidget(button)
                line.addStretch(1)
                words.addSpacing(STEP)
                words.addLayout(line)
            row.addLayout(words, 1)
            steps.addLayout(row)
        return steps

    def load_samples(self) -> None:
        """Look for the sample photos, in the background."""
        self._jobs.start(
            "", lambda report: _samples(), done=self._show_samples, lane="view", quiet=True
        )

    def say_samples(self, *, at_home: bool) -> None:
        """Offer the samples; they are found nowhere but in the demo's town, so that is said where another is open."""
        words = self.tr("Or try one of these")
        if not at_home:
            words = self.tr("Or try one of these, taken in Port Nemo, the town of the demo")
        self._samples_title.setText(words)

    def _show_samples(self, samples: list[Sample]) -> None:
        self._cards = [SampleCard(sample) for sample in samples]
        for card in self._cards:
            card.picked.connect(self.sample_picked)
        self._samples_title.setVisible(bool(samples))
        self._arrange()

    def _arrange(self) -> None:
        columns = max(1, (self.width() - 16 * STEP) // (SAMPLE.width() + 8 + 2 * STEP))
        for at, card in enumerate(self._cards):
            self._grid.addWidget(card, at // columns, at % columns)

    def resizeEvent(self, event: object) -> None:
        self._arrange()


class _Number(QWidget):
    """A step's number, in the same circle as the ranks."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self.setFixedSize(28, 28)

    def paintEvent(self, event: QPaintEvent) -> None:
        tokens = tokens_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(tokens.colour("line_strong"), 1.5))
        painter.setBrush(tokens.colour("raised"))
        painter.drawEllipse(QRectF(2, 2, 24, 24))
        painter.setFont(scaled_font(self, "normal", bold=True))
        painter.setPen(tokens.colour("text"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, str(self._number))
        painter.end()


def _samples() -> list[Sample]:
    found = []
    for path in sample_photos():
        image = QImage(str(path))
        if not image.isNull():
            found.append(Sample(path, tasks.thumbnail(image)))
    return found
