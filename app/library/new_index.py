"""Setting a new index up, step by step; what is chosen is looked at, reckoned, and only then started."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from app.library import imagery
from app.library.builds import Plan, check_name, free_name
from app.library.estimates import Outlook, Wanted, reckon
from app.library.ground import GroundMap
from app.library.imagery import Chosen, Facts, Looked
from app.library.model import Entry, Library
from app.library.new_form import ALL, AROUND, BOX, DRAWN, FILE, POLYGON, NewForm
from app.library.new_words import (
    ask_words,
    consent_words,
    fact_sections,
    outlook_details,
    outlook_words,
)
from app.library.words import metres, size
from app.notices import headline_of, remedy_of
from app.training.parts import Entry as Option
from engine.errors import NadirError

LOOK, RECKON, READ_AREA = "library-look", "library-reckon", "library-area"
RECKON_AFTER_MS = 400
LAYOUTS = ("auto", "exact", "sq8", "ivf-sq8", "ivf-pq", "pq", "hnsw", "imi")


class NewIndexPage(QWidget):
    """The form, and what the map beside it shows and is drawn on."""

    start_asked = Signal(object, int)  # a Plan, and the tiles that were reckoned

    def __init__(self, library: Library, ground: GroundMap) -> None:
        super().__init__()
        self._library, self._ground = library, ground
        self._path: Path | None = None
        self._looked: Looked | None = None
        self._looking = False
        self._encoder: Entry | None = None
        self._mode = ALL
        self._tool: str | None = None
        self._chosen: dict[str, Chosen] = {}  # by mode
        self._area_fault: NadirError | None = None
        self._outlook: Outlook | None = None
        self._reckoning = False
        self._fault: NadirError | None = None  # why nothing could be reckoned
        self._layout = "auto"
        self._may_ask: tuple[str, ...] = ()  # hosts that may be asked what they have
        self._named_by_user = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(RECKON_AFTER_MS)
        self._later.timeout.connect(self._reckon)
        self.form = NewForm()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self._connect()
        self._fill_encoders()
        self._fill_layouts()
        self._refresh()

    def _connect(self) -> None:
        form = self.form
        form.file.clicked.connect(self._ask_file)
        form.folder.clicked.connect(self._ask_folder)
        form.encoder.picked.connect(self._encoder_picked)
        form.area.chosen.connect(self.set_mode)
        form.box.clicked.connect(lambda: self._use_tool(BOX))
        form.polygon.clicked.connect(lambda: self._use_tool(POLYGON))
        form.view.clicked.connect(self._ground.map.take_view)
        form.place.textChanged.connect(lambda _: self._around_changed())
        form.across.valueChanged.connect(lambda _: self._around_changed())
        form.area_file.clicked.connect(self._ask_area)
        form.pictures.changed.connect(self._pictures_said)
        form.extents.textChanged.connect(lambda _: self._changed())
        form.stride.valueChanged.connect(lambda _: self._changed())
        form.zoom.valueChanged.connect(lambda _: self._changed())
        form.layout_choice.picked.connect(self._layout_picked)
        form.name.textEdited.connect(self._name_edited)
        form.consent.allow.toggled.connect(self._consented)
        form.use_address.clicked.connect(self._use_address)
        form.address.returnPressed.connect(self._use_address)
        form.address_file.clicked.connect(self._ask_server_file)
        form.start.clicked.connect(self._start)
        self._ground.map.area_drawn.connect(self._drawn)
        self._library.changed.connect(self._fill_encoders)

    # Imagery ----------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts | None:
        """What is known of the imagery."""
        return self._looked.facts if self._looked is not None else None

    def _ask_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose imagery"),
            self._library.store.now.folder,
            self.tr("Imagery ({0});;All files (*)").format(
                "*.tif *.tiff *.gtiff *.vrt *.mbtiles *.tiles *.csv *.json *.geojson"
            ),
        )
        if name:
            self.set_imagery(Path(name))

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, self.tr("Choose a folder of imagery"), self._library.store.now.folder
        )
        if name:
            self.set_imagery(Path(name))

    def set_imagery(self, path: Path) -> None:
        """Look at imagery, and show what it is."""
        if path != self._path:
            self._chosen.clear()
            self._may_ask = ()
            self.form.pictures.reset()
        kind, side_m = self.form.pictures.chosen_kind, self.form.pictures.chosen_side_m
        self._path, self._looked, self._looking, self._fault = path, None, True, None
        self._outlook = None
        self.form.source.setText(str(path))
        self._ground.wait(self.tr("Looking at {0}…").format(path.name))
        self._refresh()

        def done(looked: Looked) -> None:
            if path != self._path:
                looked.ground.close()
                return
            self._looked, self._looking = looked, False
            if looked.facts.pictures:
                self.form.pictures.show_known(street=looked.facts.street)
            self._library.store.change(folder=str(path.parent))
            facts = looked.facts
            if facts.server or facts.pictures:
                self._mode = AROUND if facts.server else ALL
                self.form.area.show_value(self._mode)
            if facts.zooms is not None:
                self.form.zoom.setRange(*facts.zooms)
                self.form.zoom.setValue(facts.zooms[1])
            self._show_ground()
            self._propose_name()
            self._changed()

        def failed(error: NadirError) -> None:
            if path != self._path:
                return
            self._looking = False
            if needs := getattr(error, "needs", ""):  # pictures of which more must be said
                self.form.pictures.ask(needs, getattr(error, "counts", (0, 0, 0)))
                said = self.tr("Say what they are, and they are looked at again.")
                self._ground.wait(self.form.pictures.question.text(), said)
            else:
                self._fault = error
                self._ground.wait(headline_of(error), remedy_of(error), error=True)
            self._refresh()

        self._library.jobs.start(
            self.tr("Looking at {0}").format(path.name),
            lambda report: imagery.look_at(path, report, kind=kind, side_m=side_m),
            done=done,
            failed=failed,
            lane="library",
            key=LOOK,
            quiet=True,
        )

    def _pictures_said(self) -> None:
        """More was said of pictures: they are looked at with that."""
        if self._path is not None:
            if self._looked is not None:
                self._ground.clear()
            self.set_imagery(self._path)

    def _use_address(self) -> None:
        address, folder = self.form.address.text().strip(), self._library.root / ".servers"
        if not address:
            return

        def failed(error: NadirError) -> None:
            self._path, self._looked, self._fault = None, None, error
            self._refresh()

        self._library.jobs.start(
            self.tr("Reading the address"),
            lambda report: imagery.describe_server(address, folder),
            done=self.set_imagery,
            failed=failed,
            lane="library",
            key=LOOK,
            quiet=True,
        )

    def _ask_server_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose a server's description"),
            self._library.store.now.folder,
            self.tr("Servers ({0})").format("*.server.json"),
        )
        if name:
            self.set_imagery(Path(name))

    def show_map(self) -> None:
        """The page has come to the front: the map shows its imagery again."""
        if (
            self._looked is None
            and self._path is not None
            and not self._looking
            and not self._fault
        ):
            self.set_imagery(self._path)  # it was closed when the map showed something else
        elif self._path is None:
            self._ground.wait(
                self.tr("No imagery yet"),
                self.tr("Its coverage appears here; the area is then drawn on it."),
            )

    def leave(self) -> None:
        """The map is about to show something else."""
        if self._looked is not None:
            self._ground.clear()
            self._looked = None
        self._library.jobs.cancel(RECKON)
        self._reckoning = False

    def _show_ground(self) -> None:
        if self._looked is not None:
            ground = self._looked.ground
            self._ground.show_ready(("imagery", self._path), ground, self.tr("Imagery"))
            self._show_area()

    # Encoder ----------------------------------------------------------------------------------------------------

    def _fill_encoders(self) -> None:
        library = self._library
        good = [entry for entry in library.listed("encoder") if entry.item.card is not None]
        good = [entry for entry in good if entry.item.error is None]
        options = []
        for entry in good:
            card = entry.item.card
            assert card is not None
            words = ", ".join(map(metres, card.tile_extents_m))
            options.append(Option(str(entry.path), library.title(entry), words, card.training.data))
        self.form.encoder.set_entries([(self.tr("In the library"), options)])
        paths = [entry.path for entry in good]
        if self._encoder is None or self._encoder.path not in paths:
            opened = library.session.bench.encoder.path
            first = next((entry for entry in good if entry.path == opened), None)
            self._encoder = first or next(iter(good), None)
            self._changed()
        if self._encoder is not None:
            self.form.encoder.show_entry(str(self._encoder.path), library.title(self._encoder))
        else:
            self.form.encoder.show_entry("", self.tr("None: add an encoder first"))

    def _encoder_picked(self, value: str) -> None:
        self._encoder = self._library.of(Path(value))
        self._fill_encoders()
        self._changed()

    # Area -------------------------------------------------------------------------------------------------------

    def set_mode(self, mode: str) -> None:
        """All of it, drawn, around a place, or out of a file."""
        self._mode = mode
        self._area_fault = None
        self.form.area.show_value(mode)
        self._tool = BOX if mode == DRAWN and DRAWN not in self._chosen else None
        self._show_area()
        self._changed()
        if mode == FILE and FILE not in self._chosen:
            self._ask_area()
        elif mode == AROUND:
            self._around_changed()

    def _use_tool(self, tool: str) -> None:
        self._tool = None if self._tool == tool else tool
        self._show_area()
        self._refresh()

    def _drawn(self, corners: list[tuple[float, float]]) -> None:
        if self._library.page != "new" or self._mode != DRAWN:
            return
        geometry = imagery.polygon_of([corners])
        if geometry is not None:
            self._chosen[DRAWN] = Chosen(geometry, [corners])
            self._tool = None
            self._show_area()
            self._changed()

    def _around_changed(self) -> None:
        if self._mode != AROUND:
            return
        self._chosen.pop(AROUND, None)
        numbers = [
            float(text) for text in re.findall(r"[-+]?\d+(?:\.\d+)?", self.form.place.text())
        ]
        if len(numbers) == 2 and abs(numbers[0]) <= 85 and abs(numbers[1]) <= 180:
            side_m = 1000.0 * self.form.across.value()
            self._chosen[AROUND] = imagery.square_around(numbers[0], numbers[1], side_m)
        self._show_area()
        self._changed()

    def _ask_area(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("Choose the area's GeoJSON file"),
            self._library.store.now.folder,
            self.tr("GeoJSON ({0});;All files (*)").format("*.geojson *.json"),
        )
        if name:
            self.set_area_file(Path(name))

    def set_area_file(self, path: Path) -> None:
        """Take the polygons of a GeoJSON file."""

        def done(chosen: Chosen) -> None:
            self._chosen[FILE], self._area_fault = chosen, None
            self._show_area()
            self._changed()

        def failed(error: NadirError) -> None:
            self._chosen.pop(FILE, None)
            self._area_fault = error
            self._show_area()
            self._changed()

        self._library.jobs.start(
            self.tr("Reading the area"),
            lambda report: imagery.read_area_file(path),
            done=done,
            failed=failed,
            lane="library",
            key=READ_AREA,
            quiet=True,
        )

    @property
    def area(self) -> Chosen | None:
        """The area that is chosen; None: all, or not chosen yet."""
        return self._chosen.get(self._mode)

    def _show_area(self) -> None:
        rings = self.area.rings if self.area is not None else []
        facts, looked = self.facts, self._looked
        if facts is not None and looked is not None and facts.server and rings:
            # There is no imagery to look at yet: the map goes to where it will be.
            self._ground.map.set_area(replace(looked.ground.area, bounds=imagery.box_of(rings)))
        tool = self._tool if self._mode == DRAWN else None
        self._ground.map.set_chosen_area(rings, self.tr("Area of the index"), tool)

    # More, and the name -----------------------------------------------------------------------------------------

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
        self.form.layout_choice.set_entries([(self.tr("Layouts"), options)])
        self.form.layout_choice.show_entry(self._layout, f"{self._layout} ({words[self._layout]})")

    def _layout_picked(self, value: str) -> None:
        self._layout = value
        self._fill_layouts()
        self._changed()

    @property
    def extents(self) -> tuple[float, ...] | None:
        """The tiles' sides that were typed; empty: the encoder's; None: no numbers."""
        text = self.form.extents.text().replace("m", " ").strip()
        try:
            found = tuple(float(part) for part in re.split(r"[,;\s]+", text) if part)
        except ValueError:
            return None
        good = all(0.1 <= extent <= 100_000 for extent in found) and len(found) <= 8
        return tuple(sorted(set(found))) if good else None

    def _name_edited(self) -> None:
        self._named_by_user = bool(self.form.name.text())
        self._refresh()

    def _propose_name(self) -> None:
        if self._path is not None and not self._named_by_user:
            wish = self.facts.name if self.facts is not None else self._path.stem
            self.form.name.setText(free_name(self._library.root, wish))

    # Reckoning --------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> Wanted | None:
        """What is to be reckoned; None while something is missing."""
        facts, encoder = self.facts, self._encoder
        missing = self._mode != ALL and self.area is None
        if facts is None or encoder is None or self.extents is None or missing:
            return None
        unasked = facts.asks_first and not self._may_ask
        if facts.server and (self.area is None or unasked):
            return None
        return Wanted(
            imagery=facts.path,
            server=facts.server,
            encoder=encoder.path,
            geometry=self.area.geometry if self.area is not None else None,
            extents_m=self._picture_sides() if facts.pictures else self.extents,
            stride_m=None if facts.pictures else self.form.stride.value() or None,
            layout=self._layout,
            zoom=self.form.zoom.value() if facts.server else None,
            root=self._library.root,
            allow=self._may_ask,
            kind=self.form.pictures.chosen_kind if facts.pictures else None,
        )

    def _picture_sides(self) -> tuple[float, ...]:
        """Metres along a tile's side where the user said it of pictures."""
        side_m = self.form.pictures.chosen_side_m
        return () if side_m is None else (side_m,)

    def _consented(self, given: bool) -> None:
        facts = self.facts
        if given and facts is not None and facts.asks_first and not self._may_ask:
            self._may_ask = facts.hosts
            self.form.consent.put_away()
            self._changed()
        else:
            self._refresh()

    def _changed(self) -> None:
        self._library.jobs.cancel(RECKON)
        self._outlook = None
        self._fault = None
        self._reckoning = self.wanted is not None
        self._later.start()
        self._refresh()

    def _reckon(self) -> None:
        wanted = self.wanted
        if wanted is None or self._library.page != "new":
            self._reckoning = False
            return

        def done(outlook: Outlook) -> None:
            self._reckoning, self._outlook = False, outlook
            if outlook.zooms is not None:
                self.form.zoom.blockSignals(True)
                self.form.zoom.setRange(*outlook.zooms)
                self.form.zoom.blockSignals(False)
            self._refresh()

        def failed(error: NadirError) -> None:
            self._reckoning, self._fault = False, error
            self._refresh()

        self._library.jobs.start(
            self.tr("Reckoning"),
            lambda report: reckon(wanted, report),
            done=done,
            failed=failed,
            lane="library",
            key=RECKON,
            quiet=True,
        )

    # Starting ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        wanted, outlook, facts = self.wanted, self._outlook, self.facts
        if wanted is None or outlook is None or facts is None or self._problem():
            return
        plan = Plan(
            name=self.form.name.text().strip(),
            imagery=str(wanted.imagery),
            encoder=str(wanted.encoder),
            area=wanted.geometry,
            extents_m=wanted.extents_m,
            stride_m=wanted.stride_m,
            layout="" if wanted.layout == "auto" else wanted.layout,
            allow=outlook.hosts if facts.server and self.form.consent.given else (),
            zoom=wanted.zoom,
            kind=wanted.kind or "",
        )
        self._named_by_user = False
        self.start_asked.emit(plan, outlook.tiles)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._path = self._looked = self._outlook = None
        self._chosen.clear()
        self._mode, self._tool = ALL, None
        self.form.area.show_value(ALL)
        self.form.source.setText(self.tr("None chosen. You can also drop it here."))
        self.form.pictures.reset()
        self.form.name.clear()
        self.form.extents.clear()
        self.form.consent.put_away()
        self.form.server.setChecked(False)
        self.form.address.clear()
        self._may_ask = ()
        self._refresh()

    # Showing ----------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        form, facts = self.form, self.facts
        form.facts.show_sections(fact_sections(facts) if facts is not None else [])
        form.facts.setVisible(facts is not None)
        fault = self._fault if self._looked is None else None
        form.fault.setVisible(fault is not None)
        if fault is not None:
            form.fault.setText(f"{headline_of(fault)} {remedy_of(fault)}".strip())
        form.zoom_row.setVisible(facts is not None and facts.server)
        for field in (form.extents, form.stride):
            field.setEnabled(facts is None or not facts.pictures)  # they have their own
        card = self._encoder.item.card if self._encoder is not None else None
        if card is not None:
            words = self.tr("It reads tiles of {0} and advises {1} between them.")
            tiles = ", ".join(map(metres, card.tile_extents_m))
            if card.compares_photos:
                words = self.tr("It compares photos with photos of the street.")
            form.encoder_words.setText(words.format(tiles, metres(card.stride_m)))
            form.extents.setPlaceholderText(", ".join(f"{e:g}" for e in card.tile_extents_m))
        form.draw_row.setVisible(self._mode == DRAWN)
        form.around_row.setVisible(self._mode == AROUND)
        form.area_file.setVisible(self._mode == FILE)
        form.box.setChecked(self._tool == BOX)
        form.polygon.setChecked(self._tool == POLYGON)
        form.area_words.setText(self._area_words())
        form.area.button(ALL).setEnabled(facts is None or not facts.server)
        form.home.setText(self.tr("in {0}").format(self._library.root))
        self._refresh_foot()

    def _area_words(self) -> str:
        if self._area_fault is not None and self._mode == FILE:
            return f"{headline_of(self._area_fault)} {remedy_of(self._area_fault)}".strip()
        if self._mode == ALL and self.facts is not None and self.facts.pictures:
            return self.tr("All the pictures.")
        if self._mode == ALL:
            return self.tr("All that the imagery covers.")
        if self.area is not None:
            return self.area.name or self.tr("Chosen; see it on the map.")
        return {
            DRAWN: {
                BOX: self.tr("Drag a box on the map."),
                POLYGON: self.tr("Click the corners on the map; double-click the last one."),
            }.get(self._tool or "", self.tr("Choose how to draw it.")),
            AROUND: self.tr("Type a position, such as 48.8566, 2.3522."),
            FILE: self.tr("A file with a polygon in longitudes and latitudes."),
        }[self._mode]

    def _problem(self) -> str:
        """What stands in the way of a start."""
        if self._fault is not None and self._looked is not None:
            return f"{headline_of(self._fault)} {remedy_of(self._fault)}".strip()
        if self.extents is None:
            return self.tr("The tiles' sides are not numbers of metres.")
        if self._looked is None:
            return ""
        outlook = self._outlook
        if outlook is not None and outlook.needed > outlook.free:
            words = self.tr("While it is built {0} are needed, and {1} are free there.")
            return words.format(size(outlook.needed), size(outlook.free))
        return {
            "": "",
            "empty": self.tr("The index needs a name."),
            "characters": self.tr(
                "The name holds a character that files cannot have, or is too long."
            ),
            "taken": self.tr("There is an index of this name already."),
        }[check_name(self._library.root, self.form.name.text().strip())]

    def _refresh_foot(self) -> None:
        form, facts, outlook = self.form, self.facts, self._outlook
        problem = self._problem()
        form.problem.setText(problem)
        form.problem.setVisible(bool(problem))
        if outlook is not None:
            form.estimate.setText(outlook_words(outlook))
            form.details.setText("" if facts is None else self._details(facts, outlook))
        else:
            waiting = self._looking or self._reckoning
            form.estimate.setText(self.tr("Reckoning…") if waiting else self._missing())
            form.details.setText("")
        form.details.setVisible(bool(form.details.text()))
        if facts is not None and facts.server and outlook is not None:
            form.consent.ask(", ".join(outlook.hosts), consent_words(facts, outlook))
        elif facts is not None and facts.asks_first and not self._may_ask and self.area is not None:
            form.consent.ask(facts.host, ask_words(), first=True)
        else:
            form.consent.put_away()
        allowed = facts is not None and (not facts.server or form.consent.given)
        if outlook is not None and not allowed:
            form.details.setText(self.tr("It starts once you have allowed the requests, above."))
            form.details.show()
        elif outlook is None and not (self._looking or self._reckoning):
            form.estimate.setText(self._missing())
        form.start.setEnabled(outlook is not None and outlook.tiles > 0 and not problem and allowed)

    def _details(self, facts: Facts, outlook: Outlook) -> str:
        card = self._encoder.item.card if self._encoder is not None else None
        advised = card.tile_extents_m if card is not None else ()
        return outlook_details(outlook, facts, self.extents or advised)

    def _missing(self) -> str:
        if self._path is None:
            return self.tr("Choose imagery to begin.")
        if self._encoder is None:
            return self.tr("An encoder is needed.")
        if self._looked is not None and self.area is None and self._mode != ALL:
            return self.tr("Choose the area.")
        if self.form.consent.isVisibleTo(self):
            return self.tr("Allow the server to be asked, above.")
        return ""
