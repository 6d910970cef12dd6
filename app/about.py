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
    from engine.encoder import Card, Encoder
    from engine.index import Index

translate = QCoreApplication.translate
Rows = list[tuple[str, str]]
WIDE = 560  # pixels, of such a page
LONG = 48  # characters without a space that no longer fit: such texts get a line that scrolls


def about_encoder(encoder: Encoder) -> Rows:
    """An encoder's card, as people read it."""
    card = encoder.card
    fov = card.branches.query.fov_trained_deg
    rows = [
        (translate("About", "Architecture"), card.architecture),
        (translate("About", "Trained on"), card.training.data),
        (translate("About", "What that means"), card.training.note),
        (translate("About", "Licence"), card.training.licence),
        (
            translate("About", "Fields of view"),
            translate("About", "{0}° to {1}°").format(f"{fov[0]:.0f}", f"{fov[1]:.0f}")
            if fov
            else "",
        ),
        *_references_of(card),
        (
            translate("About", "Confidence"),
            translate("About", "calibrated")
            if card.calibration
            else translate("About", "not calibrated: scores only rank"),
        ),
        (translate("About", "Runs on"), encoder.device),
        (translate("About", "File"), str(encoder.path or "")),
        (translate("About", "Hash"), encoder.hash),
        (
            translate("About", "Another encoder"),
            translate(
                "About",
                "Choose it under Encoder in the header, and an area that was built with it. "
                "New index in the Library makes one of your own imagery.",
            ),
        ),
    ]
    for measured in card.measured:
        words = ", ".join(f"{key} {value}" for key, value in measured.items())
        rows.append((translate("About", "Measured"), words))
    return [(name, text) for name, text in rows if text]


def _references_of(card: Card) -> Rows:
    """What photos are compared with."""
    if card.compares_photos:
        return [(translate("About", "Compares"), translate("About", "photos with photos"))]
    metres = translate("About", "{0} m")
    tiles = " + ".join(metres.format(f"{extent:.0f}") for extent in card.tile_extents_m)
    return [
        (translate("About", "Reads tiles of"), tiles),
        (translate("About", "Recommended stride"), metres.format(f"{card.stride_m:g}")),
    ]


def about_index(index: Index) -> Rows:
    """An index's manifest, as people read it."""
    manifest = index.manifest
    lat, lon = index.coverage.centre
    metres = translate("About", "{0} m")
    rows = [(translate("About", "Centre"), f"{lat:.5f}, {lon:.5f}")]
    if manifest.kind == "street":
        rows += [
            (translate("About", "Photos of the street"), f"{manifest.count:,}"),
            (translate("About", "Photos from"), manifest.attribution),
        ]
    else:
        side = metres.format(f"{manifest.extent_m:.0f}")
        stride = metres.format(f"{manifest.stride_m:g}") if manifest.stride_m else ""
        rows += [
            (translate("About", "Tiles"), f"{manifest.count:,}"),
            (translate("About", "A tile's side"), side),
            (translate("About", "Stride"), stride),
            (translate("About", "Imagery from"), manifest.attribution),
        ]
    rows += [
        (translate("About", "Licence"), manifest.licence),
        (translate("About", "Made with encoder"), manifest.encoder_name),
        (translate("About", "Hash"), index.hash),
        (translate("About", "Folder"), str(index.path)),
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
        close = QPushButton(translate("About", "Close"))
        close.clicked.connect(self.accept)
        close.setDefault(True)
        column.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
        # As tall as what it says, within the screen; what is longer scrolls.
        said = form.heightForWidth(WIDE - 10 * STEP)
        rest = column.sizeHint().height() - area.sizeHint().height()
        room = self.screen().availableGeometry().height() * 9 // 10
        self.resize(WIDE, min(max(said + rest + 2 * STEP, 460), room))


def _value(name: str, text: str) -> QWidget:
    if max(map(len, text.split()), default=0) < LONG:
        return label(text, wrap=True, selectable=True)
    line = QLineEdit(text)
    line.setReadOnly(True)
    line.setCursorPosition(0)
    line.setTextMargins(-3, 0, 0, 0)
    line.setAccessibleName(name)
    line.setProperty("kind", "text")
    return line
