"""Pages about the open encoder and the open area: what they are, where they come from, what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import (
    QDialog,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.theme import STEP
from app.widgets import label

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index

Rows = list[tuple[str, str]]
LONG = 48  # characters without a space that no longer fit: such texts get a line that scrolls


def tr(text: str) -> str:
    """Translate a text of this module."""
    return QCoreApplication.translate("About", text)


def about_encoder(encoder: Encoder) -> Rows:
    """An encoder's card, as people read it."""
    card = encoder.card
    fov = card.branches.query.fov_trained_deg
    rows = [
        (tr("Architecture"), card.architecture),
        (tr("Trained on"), card.training.data),
        (tr("What that means"), card.training.note),
        (tr("Licence"), card.training.licence),
        (
            tr("Fields of view"),
            tr("{0}° to {1}°").format(f"{fov[0]:.0f}", f"{fov[1]:.0f}") if fov else "",
        ),
        (
            tr("Reads tiles of"),
            " + ".join(tr("{0} m").format(f"{e:.0f}") for e in card.tile_extents_m),
        ),
        (tr("Recommended stride"), tr("{0} m").format(f"{card.stride_m:g}")),
        (
            tr("Confidence"),
            tr("calibrated") if card.calibration else tr("not calibrated: scores only rank"),
        ),
        (tr("Runs on"), encoder.device),
        (tr("File"), str(encoder.path or "")),
        (tr("Hash"), encoder.hash),
        (
            tr("Another encoder"),
            tr(
                "Choose it under Encoder in the header, and an area that was built with it. "
                "`nadir index build` makes one from your own imagery."
            ),
        ),
    ]
    for measured in card.measured:
        words = ", ".join(f"{key} {value}" for key, value in measured.items())
        rows.append((tr("Measured"), words))
    return [(name, text) for name, text in rows if text]


def about_index(index: Index) -> Rows:
    """An index's manifest, as people read it."""
    manifest = index.manifest
    lat, lon = index.coverage.centre
    rows = [
        (tr("Centre"), f"{lat:.5f}, {lon:.5f}"),
        (tr("Tiles"), f"{manifest.count:,}"),
        (tr("A tile's side"), tr("{0} m").format(f"{manifest.extent_m:.0f}")),
        (tr("Stride"), tr("{0} m").format(f"{manifest.stride_m:g}")),
        (tr("Imagery from"), manifest.attribution),
        (tr("Licence"), manifest.licence),
        (tr("Made with encoder"), manifest.encoder_name),
        (tr("Hash"), index.hash),
        (tr("Folder"), str(index.path)),
    ]
    return [(name, text) for name, text in rows if text]


class AboutDialog(QDialog):
    """A page of names and texts, all of which can be selected and copied."""

    def __init__(self, title: str, rows: Rows, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        inside = QWidget()
        form = QFormLayout(inside)
        form.setHorizontalSpacing(4 * STEP)
        form.setVerticalSpacing(2 * STEP)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        for name, text in rows:
            form.addRow(label(name, muted=True), _value(name, text))
        area = QScrollArea()
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(inside)
        column = QVBoxLayout(self)
        column.setContentsMargins(5 * STEP, 5 * STEP, 5 * STEP, 4 * STEP)
        column.setSpacing(4 * STEP)
        column.addWidget(label(title, size="large", bold=True))
        column.addWidget(area, 1)
        close = QPushButton(tr("Close"))
        close.clicked.connect(self.accept)
        close.setDefault(True)
        column.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
        self.resize(560, 460)


def _value(name: str, text: str) -> QWidget:
    if max(map(len, text.split()), default=0) < LONG:
        return label(text, wrap=True, selectable=True)
    line = QLineEdit(text)
    line.setReadOnly(True)
    line.setCursorPosition(0)
    line.setAccessibleName(name)
    line.setProperty("kind", "text")
    return line
