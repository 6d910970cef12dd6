"""The Locate workspace: tray, photo or comparison, map, and the answer with its candidates under them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from app.bench import Load
from app.intake import name_of
from app.map.view import MapView
from app.notices import headline_of, remedy_of
from app.photo.panel import PhotoPanel
from app.photo.tray import Tray
from app.photos import Stage
from app.results.answer import AnswerBar
from app.results.compare import CompareView
from app.results.detail import CandidateDetail
from app.results.strip import FilmStrip
from app.results.tile import TileView
from app.session import Session
from app.theme import STEP
from app.welcome import Welcome
from app.widgets import StateCard, rule
from engine.shipped import shipped_index

LEAST_MAP = 180  # pixels across


class _Split(QSplitter):
    """Tells when it has another size."""

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.resized.emit()


class LocateActions:
    """The actions that the workspace shows as buttons; made by the main window."""

    def __init__(
        self, *, open_photos: QAction, copy: QAction, compare: QAction, export: QAction
    ) -> None:
        self.open_photos = open_photos
        self.copy = copy
        self.compare = compare
        self.export = export


class Workspace(QWidget):
    """Composition and the wiring between session and map; nothing else."""

    open_index_asked = Signal()
    open_encoder_asked = Signal()
    demo_asked = Signal()

    def __init__(
        self, session: Session, actions: LocateActions, has_demo: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._session = session
        self._has_demo = has_demo
        self._shown_result: object = None
        self._divided = False  # by somebody, at the bar between photo and map
        self._clicked_on_map = False
        self.tray = Tray(session)
        self.welcome = Welcome(session.jobs, actions.open_photos)
        self.photo = PhotoPanel(session)
        self.compare = CompareView(session, actions.compare)
        self.map = MapView()
        self.tile = TileView(320)
        self.tile.setMinimumSize(64, 64)
        self.answer = AnswerBar(session, actions.export)
        self.strip = FilmStrip(session)
        self.detail = CandidateDetail(session, actions.copy, actions.compare)
        self._left = QStackedWidget()
        for page in (self.welcome, self.photo, self.compare):
            self._left.addWidget(page)
        self._card = StateCard()
        self._right = QStackedWidget()
        side = QSplitter(Qt.Orientation.Vertical)
        side.setHandleWidth(1)
        side.addWidget(self.tile)
        side.addWidget(self.map)
        side.setChildrenCollapsible(False)
        self.tile.hide()
        self._right.addWidget(side)
        self._right.addWidget(self._card)
        self._side = side
        self._lay_out()
        self._wire()
        self._refresh_pages()
        self._refresh_area()

    def _lay_out(self) -> None:
        self._split = _Split(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(self._left)
        self._split.addWidget(self._right)
        self._split.setStretchFactor(0, 1)
        self._split.setStretchFactor(1, 1)
        self._split.setSizes([500, 500])
        self._right.setMinimumWidth(LEAST_MAP)
        self._split.resized.connect(self._divide)
        self._split.splitterMoved.connect(self._bar_moved)
        self._foot = QFrame()
        self._foot.setProperty("place", "panel")
        foot = QVBoxLayout(self._foot)
        foot.setContentsMargins(0, 0, 0, 0)
        foot.setSpacing(0)
        foot.addWidget(rule())
        foot.addWidget(self.answer)
        frames = QHBoxLayout()
        frames.setContentsMargins(STEP, 0, 0, 0)
        frames.setSpacing(0)
        frames.addWidget(self.strip, 1)
        frames.addWidget(self.detail)
        self._frames = QWidget()
        self._frames.setLayout(frames)
        foot.addWidget(self._frames)
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._split, 1)
        column.addWidget(self._foot)
        self._tray_frame = QFrame()
        self._tray_frame.setProperty("place", "panel")
        tray = QHBoxLayout(self._tray_frame)
        tray.setContentsMargins(0, STEP, 0, 0)
        tray.setSpacing(0)
        tray.addWidget(self.tray)
        tray.addWidget(rule(vertical=True))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._tray_frame)
        row.addLayout(column, 1)

    def _wire(self) -> None:
        session = self._session
        session.photos_changed.connect(self._refresh_pages)
        session.compare_changed.connect(self._refresh_pages)
        session.bench.changed.connect(self._refresh_area)
        session.answer_changed.connect(self._refresh_map)
        session.candidate_changed.connect(self._refresh_candidate)
        session.evidence_changed.connect(self._refresh_heat)
        session.overlay_changed.connect(self._refresh_overlay)
        session.crops_changed.connect(self._refresh_tile)
        session.evidence_changed.connect(self._refresh_tile)
        session.candidate_changed.connect(self._refresh_tile)
        self.map.candidate_clicked.connect(self._picked_on_map)
        self.map.heat_opacity_changed.connect(lambda value: session.set_overlay(opacity=value))
        self.compare.pointed.connect(self._point_tile)
        self.tile.pointed.connect(self._point_strips)
        self.map.cursor_moved.connect(self._pointed_on_map)

    # Pages ------------------------------------------------------------------------------------------------------

    def _refresh_pages(self) -> None:
        """Welcome, photo or comparison."""
        photos = bool(self._session.photos)
        comparing = photos and self._session.comparing
        page = self.compare if comparing else self.photo if photos else self.welcome
        before = self._left.currentWidget()
        if before is not page:
            self._left.setCurrentWidget(page)
            self._divided = False
            self._divide()
            self.tile.setVisible(comparing and not self._of_photos())
            self._side.setSizes([1, 1])
            if comparing:
                self.compare.strips.setFocus()
        self._tray_frame.setVisible(photos and not comparing)
        self._foot.setVisible(photos)
        if photos and page is not before and before is self.compare:
            self.take_keys()  # so that Space compares again
        self._refresh_tile()

    def _divide(self) -> None:
        """Share the width between photo and map: halves, but all that is said of the photo where there is room for
        it, and most of it to a comparison. Once somebody has moved the bar between them, it is theirs.
        """
        if self._divided:
            return
        wide, shown = self._split.width() - self._split.handleWidth(), self._left.currentWidget()
        left = wide * 3 // 4 if shown is self.compare else wide // 2
        if shown is self.photo:
            left = max(left, min(self.photo.facts.whole_width, wide - LEAST_MAP))
        self._split.setSizes([left, wide - left])

    def _bar_moved(self) -> None:
        self._divided = True

    def take_keys(self) -> None:
        """Have the keyboard where Space compares and arrows go along: at the candidates, else at the photos."""
        (self.strip if self._frames.isVisibleTo(self) else self.tray).setFocus()

    def _of_photos(self) -> bool:
        """Whether one's photo is compared with photos; there is no tile to look at then."""
        result = self._session.result
        return result is not None and result.of_photos

    def _refresh_area(self) -> None:
        """The map, or why there is none."""
        bench = self._session.bench
        index, encoder = bench.index, bench.encoder
        self._frames.setVisible(bench.pair is not None or bench.loading)
        self.welcome.say_samples(at_home=index.path is None or index.path == shipped_index())
        if index.value is not None and index.value is not self._shown_index():
            self._index_on_map = index.value
            self.map.set_index(index.value)
        if index.value is not None and encoder.value is not None:
            self._right.setCurrentIndex(0)
            return
        self._right.setCurrentIndex(1)
        opens = (self.tr("Open an area…"), self.open_index_asked.emit)
        demo = [(self.tr("Open the demo"), self.demo_asked.emit)] if self._has_demo() else []
        back = [(self.tr("Go back"), bench.go_back)] if bench.last_good is not None else []
        if bench.loading:
            name = name_of(index.path or encoder.path or Path("…"))
            self._card.say("area", self.tr("Opening {0}…").format(name))
        elif encoder.error is not None and encoder.load == Load.FAILED:
            opener = (self.tr("Open another encoder…"), self.open_encoder_asked.emit)
            self._say_error(encoder.error, [opener, *back, *demo])
        elif index.error is not None:
            other = (self.tr("Open another encoder…"), self.open_encoder_asked.emit)
            self._say_error(index.error, [*back, opens, other] if back else [opens, other, *demo])
        elif encoder.value is None:
            opener = (self.tr("Open an encoder…"), self.open_encoder_asked.emit)
            text = self.tr("An encoder turns photos and tiles into what can be compared.")
            self._card.say("encoder", self.tr("No encoder is open"), text, [*demo, opener])
        else:
            text = self.tr(
                "An area is an index of aerial imagery. Open one, or make one of your own imagery "
                "in the Library."
            )
            self._card.say(
                "area", self.tr("No area is open"), text, [*demo, opens] if demo else [opens]
            )

    def _say_error(self, error: object, buttons: list[tuple[str, Callable[[], object]]]) -> None:
        from engine.errors import NadirError

        assert isinstance(error, NadirError)
        self._card.say("error", headline_of(error), remedy_of(error), buttons, error=True)

    _index_on_map: object = None

    def _shown_index(self) -> object:
        return self._index_on_map

    # The map ----------------------------------------------------------------------------------------------------

    def _refresh_map(self) -> None:
        """An answer appears on the map when it is there, and stays until another one takes its place."""
        answer = self._session.answer
        if answer.stage == Stage.WORKING:
            return
        if answer.result is self._shown_result:
            return
        self._shown_result = answer.result
        self.map.set_result(answer.result)

    def _refresh_candidate(self) -> None:
        session = self._session
        candidate = session.candidate
        if candidate is None or session.answer.stage == Stage.WORKING:
            return
        self.map.select(candidate.rank, fly=not self._clicked_on_map)
        self._refresh_heat()

    def _refresh_heat(self) -> None:
        session = self._session
        evidence, candidate = session.evidence, session.candidate
        heat = evidence.tile_heat if evidence is not None and session.overlay_shown else None
        attention = evidence is not None and evidence.kind == "attention"
        self.map.set_tile_heat(heat, candidate, attention=attention)

    def _refresh_overlay(self) -> None:
        self.map.set_heat_opacity(self._session.overlay_opacity)
        self._refresh_heat()
        self._refresh_tile()

    def _picked_on_map(self, rank: int) -> None:
        self._clicked_on_map = True
        self._session.select(rank)
        self._clicked_on_map = False

    # The comparison's tile --------------------------------------------------------------------------------------

    def _refresh_tile(self) -> None:
        session = self._session
        candidate, evidence, result = session.candidate, session.evidence, session.result
        if not session.comparing or candidate is None or result is None or session.current is None:
            return
        crop = session.answer.crops.get(candidate.rank)
        tile = evidence.tile if evidence is not None and evidence.tile is not None else crop
        self.tile.show_tile(tile, result.extent_of(candidate))
        opacity = session.overlay_opacity if session.overlay_shown else 0.0
        self.tile.set_heat(evidence.tile_heat if evidence is not None else None, opacity)
        self.tile.set_heading(candidate.heading_deg, session.current.fov_deg)

    def _point_tile(self, place: tuple[float, float | None] | None) -> None:
        result = self._session.result
        if place is None or result is None:
            self.tile.mark(None)
            return
        bearing, metres = place
        candidate = self._session.candidate
        extent_m = result.extent_m if candidate is None else result.extent_of(candidate)
        self.tile.mark((bearing, metres if metres is not None else extent_m / 2))

    def _pointed_on_map(self, lat: float, lon: float) -> None:
        """The cursor on the map runs through the comparison too, as far as the tile reaches."""
        from engine.geo import bearing_deg, distance_m  # NumPy: not before the window stands

        candidate, result = self._session.candidate, self._session.result
        if not self._session.comparing or candidate is None or result is None or result.of_photos:
            return
        centre = candidate.tile_lat, candidate.tile_lon
        metres = float(distance_m(*centre, lat, lon))
        near = metres <= result.extent_of(candidate) / 2
        self._point_strips((float(bearing_deg(*centre, lat, lon)), metres) if near else None)

    def _point_strips(self, place: tuple[float, float] | None) -> None:
        self.compare.set_cursor(place)
        self.tile.mark(place)
