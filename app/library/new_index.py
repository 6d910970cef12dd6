"""Setting a new index up, step by step; what is chosen is looked at, reckoned, and only then started."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from app.library import imagery
from app.library.builds import Build, Plan, check_name, free_name
from app.library.estimates import Outlook, Wanted, reckon
from app.library.ground import GroundMap
from app.library.imagery import Facts, Looked
from app.library.model import Library
from app.library.new_area import AreaChooser
from app.library.new_form import NewForm
from app.library.new_settings import SettingsChooser
from app.library.new_words import (
    ask_words,
    consent_words,
    fact_sections,
    outlook_details,
    outlook_words,
)
from app.library.words import size
from app.notices import headline_of, remedy_of
from engine.errors import NadirError

LOOK, RECKON = "library-look", "library-reckon"
RECKON_AFTER_MS = 400


class NewIndexPage(QWidget):
    """The form, and what the map beside it shows and is drawn on."""

    start_asked = Signal(object, int)  # a Plan, and the tiles that were reckoned

    def __init__(self, library: Library, ground: GroundMap) -> None:
        super().__init__()
        self._library, self._ground = library, ground
        self._path: Path | None = None
        self._looked: Looked | None = None
        self._looking = False
        self._outlook: Outlook | None = None
        self._reckoning = False
        self._fault: NadirError | None = None  # why nothing could be reckoned
        self._may_ask: tuple[str, ...] = ()  # hosts that may be asked what they have
        self._named_by_user = False
        self._asked = ""  # the name of a build that was asked for and has not begun
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(RECKON_AFTER_MS)
        self._later.timeout.connect(self._reckon)
        self.form = NewForm()
        self.areas = AreaChooser(library, ground, self.form)
        self.settings = SettingsChooser(library, self.form)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        self._connect()
        self._refresh()

    def _connect(self) -> None:
        form = self.form
        form.file.clicked.connect(self._ask_file)
        form.folder.clicked.connect(self._ask_folder)
        self.areas.changed.connect(self._changed)
        self.areas.touched.connect(self._refresh)
        self.settings.changed.connect(self._changed)
        form.pictures.changed.connect(self._pictures_said)
        form.zoom.valueChanged.connect(lambda _: self._changed())
        form.name.textEdited.connect(self._name_edited)
        form.consent.allow.toggled.connect(self._consented)
        form.use_address.clicked.connect(self._use_address)
        form.address.returnPressed.connect(self._use_address)
        form.address_file.clicked.connect(self._ask_server_file)
        form.start.clicked.connect(self._start)
        self._library.begun.connect(self._has_begun)

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
            self.areas.forget()
            self._may_ask = ()
            self.form.pictures.reset()
        kind, side_m = self.form.pictures.chosen_kind, self.form.pictures.chosen_side_m
        self._path, self._looked, self._looking, self._fault = path, None, True, None
        self._stop_reckoning()
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
            self._stop_reckoning()
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
        self._stop_reckoning()

    def _show_ground(self) -> None:
        if self._looked is not None:
            ground = self._looked.ground
            self._ground.show_ready(("imagery", self._path), ground, self.tr("Imagery"))
            self.areas.begin(self._looked)

    # The name ---------------------------------------------------------------------------------------------------

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
        facts, encoder, extents = self.facts, self.settings.encoder, self.settings.extents
        if facts is None or encoder is None or extents is None or self.areas.missing:
            return None
        area = self.areas.chosen
        unasked = facts.asks_first and not self._may_ask
        if facts.server and (area is None or unasked):
            return None
        return Wanted(
            imagery=facts.path,
            server=facts.server,
            encoder=encoder.path,
            geometry=area.geometry if area is not None else None,
            extents_m=self._picture_sides() if facts.pictures else extents,
            stride_m=None if facts.pictures else self.form.stride.value() or None,
            layout=self.settings.layout,
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

    def _stop_reckoning(self) -> None:
        self._later.stop()
        self._library.jobs.cancel(RECKON)
        self._reckoning, self._outlook = False, None

    def _changed(self) -> None:
        self._stop_reckoning()
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
        self._asked = plan.name
        self.start_asked.emit(plan, outlook.tiles)

    def _has_begun(self, build: Build) -> None:
        """What was asked for is under way; where it could not be started the form stays as it was filled in."""
        if build.name == self._asked:
            self._asked = ""
            self._named_by_user = False
            self.reset()

    def fill(self, plan: Plan) -> None:
        """Begin with what was asked of another build."""
        self.reset()
        self.set_imagery(Path(plan.imagery))
        self.settings.give(plan)
        if plan.area is not None:
            self.areas.give(plan.area, imagery.rings_of(plan.area), self.tr("As before"))
        self.form.name.setText(plan.name)
        self._named_by_user = True
        self._changed()

    def reset(self) -> None:
        """Begin anew."""
        self._path = self._looked = self._outlook = None
        self.areas.forget()
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
        self.settings.refresh()
        self.areas.refresh()
        form.home.setText(self.tr("in {0}").format(self._library.root))
        self._refresh_foot()

    def _problem(self) -> str:
        """What stands in the way of a start."""
        if self._fault is not None and self._looked is not None:
            return f"{headline_of(self._fault)} {remedy_of(self._fault)}".strip()
        if self.settings.extents is None:
            return self.tr("The tiles' sides are not numbers of metres.")
        if self._looked is None:
            return ""
        outlook = self._outlook
        if outlook is not None and not outlook.writable:
            return self.tr(
                "The library's folder cannot be written. Check its permissions, or keep the library elsewhere."
            )
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
        elif (
            facts is not None
            and facts.asks_first
            and not self._may_ask
            and self.areas.chosen is not None
        ):
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
        sides = self.settings.extents or self.settings.advised
        return outlook_details(outlook, facts, sides)

    def _missing(self) -> str:
        if self._path is None:
            return self.tr("Choose imagery to begin.")
        if self.settings.encoder is None:
            return self.tr("An encoder is needed.")
        if self._looked is not None and self.areas.missing:
            return self.tr("Choose the area.")
        if self.form.consent.isVisibleTo(self):
            return self.tr("Allow the server to be asked, above.")
        return ""
