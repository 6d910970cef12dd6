"""With which encoder a new index is made, and what may differ from the encoder's advice."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.library.builds import Plan
from app.library.model import Entry, Library
from app.library.new_form import NewForm
from app.library.words import metres
from app.training.parts import Entry as Option

LAYOUTS = ("auto", "exact", "sq8", "ivf-sq8", "ivf-pq", "pq", "hnsw", "imi")
_MOST_SIDES = 8


class SettingsChooser(QObject):
    """Watches the form's parts about the encoder, the tiles' sides and stride, and the layout."""

    changed = Signal()

    def __init__(self, library: Library, form: NewForm) -> None:
        super().__init__(form)
        self._library, self._form = library, form
        self.encoder: Entry | None = None
        self._opened: Path | None = None
        self._by_hand = False  # an encoder that was chosen stays, whatever is opened
        self.layout = "auto"
        form.encoder.picked.connect(self._encoder_picked)
        form.extents.textChanged.connect(lambda _: self.changed.emit())
        form.stride.valueChanged.connect(lambda _: self.changed.emit())
        form.layout_choice.picked.connect(self._layout_picked)
        library.changed.connect(self.fill_encoders)
        library.session.bench.changed.connect(self._bench_changed)
        self.fill_encoders()
        self._fill_layouts()

    def _bench_changed(self) -> None:
        if self._library.session.bench.encoder.path != self._opened:
            self.fill_encoders()

    def fill_encoders(self) -> None:
        """Offer the encoders that work; the one that is open is taken until another is chosen by hand."""
        library, form = self._library, self._form
        good = [
            entry
            for entry in library.listed("encoder")
            if entry.item.card is not None and entry.item.error is None
        ]
        options = []
        for entry in good:
            card = entry.item.card
            assert card is not None
            words = ", ".join(map(metres, card.tile_extents_m))
            options.append(Option(str(entry.path), library.title(entry), words, card.training.data))
        form.encoder.set_entries([(self.tr("In the library"), options)])
        here = {entry.path: entry for entry in good}
        chosen = here.get(self.encoder.path) if self.encoder is not None else None
        self._opened = library.session.bench.encoder.path
        opened = here.get(self._opened or Path())
        if chosen is None or (not self._by_hand and opened is not None):
            chosen = opened or chosen or next(iter(good), None)
        before, self.encoder = self.encoder, chosen
        if (before and before.path) != (chosen and chosen.path):
            self.changed.emit()
        if self.encoder is not None:
            form.encoder.show_entry(str(self.encoder.path), library.title(self.encoder))
        else:
            form.encoder.show_entry("", self.tr("None: add an encoder first"))

    def _encoder_picked(self, value: str) -> None:
        self.encoder, self._by_hand = self._library.of(Path(value)), True
        self.fill_encoders()
        self.changed.emit()

    def _fill_layouts(self) -> None:
        words = {
            "auto": self.tr("by the number of tiles and the memory"),
            "exact": self.tr("as they are: exact, large"),
            "sq8": self.tr("8 bits a number"),
            "ivf-sq8": self.tr("8 bits a number, searched in parts"),
            "ivf-pq": self.tr("short codes, searched in parts"),
            "pq": self.tr("short codes"),
            "hnsw": self.tr("a graph of neighbours: quick, large"),
            "imi": self.tr("two codebooks: for very many tiles"),
        }
        options = [Option(name, name, words[name]) for name in LAYOUTS]
        self._form.layout_choice.set_entries([(self.tr("Layouts"), options)])
        title = f"{self.layout} ({words[self.layout]})"
        self._form.layout_choice.show_entry(self.layout, title)

    def _layout_picked(self, value: str) -> None:
        self.layout = value
        self._fill_layouts()
        self.changed.emit()

    @property
    def extents(self) -> tuple[float, ...] | None:
        """The tiles' sides that were typed; empty: the encoder's; None: no numbers."""
        text = self._form.extents.text().replace("m", " ").strip()
        try:
            found = tuple(float(part) for part in re.split(r"[,;\s]+", text) if part)
        except ValueError:
            return None
        good = all(0.1 <= extent <= 100_000 for extent in found) and len(found) <= _MOST_SIDES
        return tuple(sorted(set(found))) if good else None

    @property
    def advised(self) -> tuple[float, ...]:
        """The tiles' sides that the encoder advises."""
        card = self.encoder.item.card if self.encoder is not None else None
        return card.tile_extents_m if card is not None else ()

    def give(self, plan: Plan) -> None:
        """Take what was chosen before."""
        chosen = self._library.of(Path(plan.encoder))
        if chosen is not None:
            self.encoder, self._by_hand = chosen, True
        self.layout = plan.layout if plan.layout in LAYOUTS else "auto"
        self._form.extents.setText(", ".join(f"{extent:g}" for extent in plan.extents_m))
        self._form.stride.setValue(plan.stride_m or 0.0)
        self._form.more.setChecked(True)
        self.fill_encoders()
        self._fill_layouts()

    def refresh(self) -> None:
        """Say what the encoder reads."""
        card = self.encoder.item.card if self.encoder is not None else None
        if card is None:
            self._form.encoder_words.setText("")
            return
        words = self.tr("It reads tiles of {0} and advises {1} between them.")
        if card.compares_photos:
            words = self.tr("It compares photos with photos of the street.")
        tiles = ", ".join(map(metres, card.tile_extents_m))
        self._form.encoder_words.setText(words.format(tiles, metres(card.stride_m)))
        self._form.extents.setPlaceholderText(", ".join(f"{e:g}" for e in card.tile_extents_m))
