"""The area of a new index: all of the imagery, drawn on the map, around a place, or out of a file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog

from app.library import imagery
from app.library.ground import GroundMap
from app.library.imagery import Chosen, Looked
from app.library.model import Library
from app.library.new_form import ALL, AROUND, BOX, DRAWN, FILE, POLYGON, NewForm
from app.notices import headline_of, remedy_of
from engine.errors import NadirError

READ_AREA = "library-area"
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


class AreaChooser(QObject):
    """Watches the form's part about the area, and what is drawn on the map."""

    changed = Signal()  # another area is chosen, or none
    touched = Signal()  # only how it is chosen

    def __init__(self, library: Library, ground: GroundMap, form: NewForm) -> None:
        super().__init__(form)
        self._library, self._ground, self._form = library, ground, form
        self._looked: Looked | None = None
        self._tool: str | None = None
        self._chosen: dict[str, Chosen] = {}  # by mode
        self._fault: NadirError | None = None
        self.mode = ALL
        form.area.chosen.connect(self.set_mode)
        form.box.clicked.connect(lambda: self.use_tool(BOX))
        form.polygon.clicked.connect(lambda: self.use_tool(POLYGON))
        form.view.clicked.connect(ground.map.take_view)
        form.place.textChanged.connect(lambda _: self._around_changed())
        form.across.valueChanged.connect(lambda _: self._around_changed())
        form.area_file.clicked.connect(self._ask)
        ground.map.area_drawn.connect(self.take)

    @property
    def chosen(self) -> Chosen | None:
        """The area that is chosen; None: all, or not chosen yet."""
        return self._chosen.get(self.mode)

    @property
    def missing(self) -> bool:
        """Whether one must still be chosen."""
        return self.mode != ALL and self.chosen is None

    def forget(self) -> None:
        """Other imagery, another area."""
        self._chosen.clear()
        self._looked = self._fault = self._tool = None
        self.mode = ALL
        self._form.area.show_value(ALL)

    def begin(self, looked: Looked) -> None:
        """There is imagery to choose an area of."""
        self._looked = looked
        if looked.facts.server and self.mode == ALL:
            self.mode = AROUND
        elif looked.facts.pictures:
            self.mode = ALL
        self._form.area.show_value(self.mode)
        self.show_on_map()

    def give(self, geometry: dict[str, Any], rings: imagery.Rings, name: str) -> None:
        """Take an area that was chosen before."""
        self._chosen[FILE] = Chosen(geometry, rings, name)
        self.mode = FILE
        self._form.area.show_value(FILE)

    def set_mode(self, mode: str) -> None:
        """All of it, drawn, around a place, or out of a file."""
        self.mode, self._fault = mode, None
        self._form.area.show_value(mode)
        self._tool = BOX if mode == DRAWN and DRAWN not in self._chosen else None
        self.show_on_map()
        self.changed.emit()
        if mode == FILE and FILE not in self._chosen:
            self._ask()
        elif mode == AROUND:
            self._around_changed()

    def use_tool(self, tool: str) -> None:
        """Take a tool in hand, or put it down."""
        self._tool = None if self._tool == tool else tool
        self.show_on_map()
        self.touched.emit()

    def take(self, corners: list[tuple[float, float]]) -> None:
        """Something was drawn on the map."""
        if self._library.page != "new" or self.mode != DRAWN:
            return
        geometry = imagery.polygon_of([corners])
        if geometry is not None:
            self._chosen[DRAWN] = Chosen(geometry, [corners])
            self._tool = None
            self.show_on_map()
            self.changed.emit()

    def _around_changed(self) -> None:
        if self.mode != AROUND:
            return
        self._chosen.pop(AROUND, None)
        numbers = [float(text) for text in _NUMBER.findall(self._form.place.text())]
        if len(numbers) == 2 and abs(numbers[0]) <= 85 and abs(numbers[1]) <= 180:
            side_m = 1000.0 * self._form.across.value()
            self._chosen[AROUND] = imagery.square_around(numbers[0], numbers[1], side_m)
        self.show_on_map()
        self.changed.emit()

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self._form,
            self.tr("Choose the area's GeoJSON file"),
            self._library.store.now.folder,
            self.tr("GeoJSON ({0});;All files (*)").format("*.geojson *.json"),
        )
        if name:
            self.set_file(Path(name))

    def set_file(self, path: Path) -> None:
        """Take the polygons of a GeoJSON file."""
        self.mode = FILE
        self._form.area.show_value(FILE)

        def done(chosen: Chosen) -> None:
            self._chosen[FILE], self._fault = chosen, None
            self.show_on_map()
            self.changed.emit()

        def failed(error: NadirError) -> None:
            self._chosen.pop(FILE, None)
            self._fault = error
            self.show_on_map()
            self.changed.emit()

        self._library.jobs.start(
            self.tr("Reading the area"),
            lambda report: imagery.read_area_file(path),
            done=done,
            failed=failed,
            lane="library",
            key=READ_AREA,
            quiet=True,
        )

    # Showing ----------------------------------------------------------------------------------------------------

    def show_on_map(self) -> None:
        """Draw what is chosen, and put the tool in the user's hand."""
        rings = self.chosen.rings if self.chosen is not None else []
        looked = self._looked
        if looked is not None and looked.facts.server and rings:
            # There is no imagery to look at yet: the map goes to where it will be.
            self._ground.map.set_area(replace(looked.ground.area, bounds=imagery.box_of(rings)))
        tool = self._tool if self.mode == DRAWN else None
        self._ground.map.set_chosen_area(rings, self.tr("Area of the index"), tool)

    def refresh(self) -> None:
        """Show the fields that belong to the way it is chosen."""
        form = self._form
        form.draw_row.setVisible(self.mode == DRAWN)
        form.around_row.setVisible(self.mode == AROUND)
        form.area_file.setVisible(self.mode == FILE)
        form.box.setChecked(self._tool == BOX)
        form.polygon.setChecked(self._tool == POLYGON)
        form.area_words.setText(self._words())
        server = self._looked is not None and self._looked.facts.server
        form.area.button(ALL).setEnabled(not server)

    def _words(self) -> str:
        if self._fault is not None and self.mode == FILE:
            return f"{headline_of(self._fault)} {remedy_of(self._fault)}".strip()
        if self.mode == ALL:
            return self.tr("All that the imagery covers.")
        if self.chosen is not None:
            return self.chosen.name or self.tr("Chosen; see it on the map.")
        return {
            DRAWN: {
                BOX: self.tr("Drag a box on the map."),
                POLYGON: self.tr("Click the corners on the map; double-click the last one."),
            }.get(self._tool or "", self.tr("Choose how to draw it.")),
            AROUND: self.tr("Type a position, such as 48.8566, 2.3522."),
            FILE: self.tr("A file with a polygon in longitudes and latitudes."),
        }[self.mode]
