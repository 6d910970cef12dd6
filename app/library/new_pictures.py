"""What a folder of pictures does not say of itself is asked: what they are, and how much ground a tile shows."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QVBoxLayout, QWidget

from app.theme import STEP
from app.widgets import Segments, label

AERIAL: Literal["aerial"] = "aerial"
STREET: Literal["street"] = "street"


class PicturesRow(QWidget):
    """Shown for pictures alone, above what is known of them."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.question = label(bold=True, wrap=True)
        self.kind = Segments(
            self.tr("These pictures are"),
            (
                (AERIAL, self.tr("Tiles from above"), ""),
                (STREET, self.tr("Photos of the street"), ""),
            ),
        )
        self.side = QDoubleSpinBox()
        self.side.setRange(0.0, 10_000.0)
        self.side.setDecimals(1)
        self.side.setKeyboardTracking(False)
        self.side.setSuffix(self.tr(" m"))
        self.side.setSpecialValueText(self.tr("as the dataset says"))
        self.side.lineEdit().setTextMargins(4, 0, 4, 0)
        self.side.setAccessibleName(self.tr("Ground along a tile's side"))
        self._side_row = QWidget()
        row = QHBoxLayout(self._side_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2 * STEP)
        row.addWidget(label(self.tr("Ground along a tile's side"), muted=True))
        row.addWidget(self.side)
        row.addStretch(1)
        kinds = QWidget()
        row = QHBoxLayout(kinds)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.kind)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2 * STEP)
        for part in (self.question, kinds, self._side_row):
            column.addWidget(part)
        self._chosen: Literal["aerial", "street", ""] = ""
        self.kind.chosen.connect(self._choose)
        self.side.valueChanged.connect(lambda _: self.changed.emit())
        self.hide()

    @property
    def chosen_kind(self) -> Literal["aerial", "street"] | None:
        """What the user said they are."""
        return self._chosen or None

    @property
    def chosen_side_m(self) -> float | None:
        """Metres along a tile's side, as the user said."""
        return self.side.value() or None if self._chosen != STREET else None

    def _choose(self, kind: str) -> None:
        self._chosen = AERIAL if kind == AERIAL else STREET
        self.changed.emit()

    def ask(self, needs: str, counts: tuple[int, int, int]) -> None:
        """Ask what must be known before anything can be made of them."""
        tiles, photos, unknown = counts
        if needs == "extent":
            words = self.tr("How many metres of ground does a tile show from side to side?")
            self._show(AERIAL)
        elif unknown:
            words = self.tr("What are these {0} pictures?").format(f"{unknown:,}")
        else:
            words = self.tr(
                "The folder holds {0} tiles from above and {1} photos. Which are meant?"
            )
            words = words.format(f"{tiles:,}", f"{photos:,}")
        self.question.setText(words)
        self.question.show()
        self._side_row.setVisible(needs == "extent" or self._chosen == AERIAL)
        self.show()

    def show_known(self, *, street: bool) -> None:
        """They are known; it can still be said otherwise."""
        self.question.hide()
        self._show(STREET if street else AERIAL)
        self._side_row.setVisible(not street)
        self.show()

    def _show(self, kind: str) -> None:
        self.kind.show_value(kind)

    def reset(self) -> None:
        """Forget what was said."""
        self._chosen = ""
        self.kind.show_none()
        self.side.blockSignals(True)
        self.side.setValue(0.0)
        self.side.blockSignals(False)
        self.hide()
