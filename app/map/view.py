"""The map panel: the page in a widget, told by methods, answering by signals.

Nothing of Qt WebEngine is imported before the widget is shown; where it cannot run, the widget says so and why, and
its methods do nothing. What is told before the page listens is kept, the latest of each kind, and told again if the
page has to be started anew.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QImage, QShowEvent
from PySide6.QtWidgets import QStackedLayout, QWidget

from app.map import messages
from app.map.basemap import BaseMap
from app.map.pictures import Pictures, heat_picture
from app.map.scheme import is_registered, why_no_map
from app.resources import resource
from app.theme import DARK, LIGHT, Tokens, tokens_of
from app.widgets import StateCard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.map.browser import Browser
    from engine.index import Index
    from engine.localize.result import Candidate, Result

log = logging.getLogger(__name__)

Rings = Sequence[Sequence[Sequence[float]]]

# A page that dies again this soon is not started anew by itself.
RESTART_AFTER_S = 20.0
# The order in which a page that begins to listen is told what there is.
KINDS = ("theme", "words", "area", "outlines", "areas", "result", "heat", "opacity", "select")


@dataclass(frozen=True)
class _Built:
    """What a worker thread prepared for the page."""

    page: bytes | None
    files: dict[str, bytes]
    ramp: list[list[int]]
    problem: str = ""


class MapView(QWidget):
    """The map. Give it an index, then results; ask it to select; listen to what is clicked."""

    ready = Signal()  # the page listens
    drawn = Signal(int)  # the serial of a message that is on the screen now
    candidate_clicked = Signal(int)  # its rank
    cursor_moved = Signal(float, float)  # latitude, longitude
    heat_opacity_changed = Signal(float)  # by the slider in the legend
    moved = Signal(float, float, float)  # the centre's latitude and longitude, the zoom
    area_drawn = Signal(list)  # corners [(longitude, latitude), ...]
    failed = Signal(str)  # the map cannot be shown, and why
    _built = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(160, 120)
        self.setAccessibleName(self.tr("Map"))
        self._stack = QStackedLayout(self)
        self._stack.setContentsMargins(0, 0, 0, 0)
        # The page lies under the card while it loads: it has its size from the start, and nothing white shows.
        self._stack.setStackingMode(QStackedLayout.StackingMode.StackAll)
        self._card = StateCard()
        self._card.setAutoFillBackground(True)
        self._card.say("area", self.tr("The map is being prepared…"))
        self._stack.addWidget(self._card)
        self._basemap = BaseMap(self)
        self._pictures = Pictures()
        self._browser: Browser | None = None
        self._heat: tuple[object, object] = (None, None)
        self._result: Result | None = None
        self._state: dict[str, messages.Message] = {"words": self._words()}
        self._serials = itertools.count(1)
        self._areas = itertools.count(1)
        self._dark: bool | None = None
        self._ramp: list[list[int]] = []
        self._listening = False
        self._started = False
        self._died_at = -RESTART_AFTER_S
        self._built.connect(self._load)

    # What the window tells --------------------------------------------------------------------------------------

    def set_index(self, index: Index | None) -> int:
        """Show the area of an index, its imagery and its attribution; ``None`` clears the map."""
        return self.set_area(None if index is None else messages.area_of(index))

    def set_area(self, area: messages.Area | None) -> int:
        """Show ground with its imagery, and no answer on it; ``None`` clears the map."""
        self._result = None
        self._forget("result", "select", "heat", "outlines", "areas")
        token = f"area-{next(self._areas)}"
        self._basemap.show(token, None if area is None else area.imagery)
        return self._tell(messages.area(area, token, self._translate))

    def set_result(self, result: Result | None) -> int:
        """Draw an answer with nothing selected yet, the view staying where it is; ``None`` takes it away.

        Returns:
            The serial that ``drawn`` tells once it is on the screen (every ``set_...`` returns one).
        """
        self._forget("select", "heat")
        self._result = result
        self._tell(messages.no_heat(), keep=False)
        return self._tell(messages.result(result, self._translate))

    def select(self, rank: int | None, *, fly: bool = True) -> int:
        """Mark a candidate and fly there within 250 ms; the view stays where it was clicked on the map itself."""
        return self._tell({"type": "select", "rank": rank, "fly": fly})

    def set_tile_heat(
        self,
        heat: QImage | bytes | NDArray[np.float32] | None,
        tile: Candidate | None = None,
        *,
        attention: bool = False,
    ) -> int:
        """Lay a heat map over a candidate's tile; ``None`` takes it away.

        Args:
            heat: a coloured image with alpha, the bytes of one (PNG), or the map itself [P, P], coloured by the ramp.
            tile: the candidate it belongs to.
            attention: it shows where the encoder looked, not what the score is made of; the legend says so.
        """
        if heat is None or tile is None or self._result is None or self._result.of_photos:
            self._forget("heat")
            return self._tell(messages.no_heat(), keep=False)
        if self._heat[0] is heat and self._heat[1] is tile and "heat" in self._state:
            return self._state["heat"]["serial"]  # it is there already
        self._heat = (heat, tile)
        path = self._pictures.add(heat_picture(heat))
        return self._tell(
            messages.heat(path, tile, self._result, self._translate, attention=attention)
        )

    def set_outlines(self, rings: Rings, label: str = "") -> int:
        """Draw the edge of what is covered: rings of (longitude, latitude), by the even-odd rule."""
        return self._tell(messages.outlines(rings, label))

    def set_chosen_area(self, rings: Rings, label: str = "", tool: str | None = None) -> int:
        """Draw the area that is chosen, and put a tool into the user's hand: "box", "polygon" or none.

        What is drawn with it is told by ``area_drawn``, and only shown when it is set here.
        """
        return self._tell(messages.areas(rings, label, tool))

    def take_view(self) -> None:
        """Have ``area_drawn`` tell what the map shows now, as if it had been drawn."""
        self._tell({"type": "view"}, keep=False)

    def set_heat_opacity(self, opacity: float) -> None:
        """How strongly the heat map covers, 0..1."""
        self._tell({"type": "opacity", "value": min(max(float(opacity), 0.0), 1.0)})

    def set_theme(self, dark: bool) -> None:
        """Light or dark. Until this is called the map follows its own palette."""
        self._dark = dark
        self._tell_theme()

    def show_area(self) -> None:
        """Bring the whole area into view."""
        self._tell({"type": "home"}, keep=False)

    def start(self) -> None:
        """Start the page without waiting until the widget is shown."""
        if self._started:
            return
        self._started = True
        problem = why_no_map()
        if not problem and not is_registered():
            problem = self.tr("Its URL scheme was not registered before the application started.")
        if problem:
            self._fail(problem)
            return
        threading.Thread(target=self._build, name="map-page", daemon=True).start()
        self._open_browser()

    def shut_down(self) -> None:
        """End the page and its threads. The widget does so itself when it is destroyed with its window."""
        self._started = True
        self._listening = False
        self._basemap.close()
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    # The page ---------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # After the window has been painted: starting the browser takes a moment.
        QTimer.singleShot(0, self.start)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (
            QEvent.Type.PaletteChange,
            QEvent.Type.FontChange,
            QEvent.Type.StyleChange,
        ):
            self._tell_theme()

    def _build(self) -> None:
        """In a thread: folium is imported, the page written, the files read."""
        from app.map.page import build_page, read_assets
        from app.ramp import table

        try:
            built = _Built(build_page(), read_assets(resource("web")), table().tolist())
        except Exception as error:
            log.exception("the map page could not be made")
            built = _Built(None, {}, [], str(error))
        with contextlib.suppress(RuntimeError):  # the widget is gone; nobody waits for the page
            self._built.emit(built)

    def _open_browser(self) -> None:
        from app.map.browser import Browser

        self._browser = Browser(self, self._basemap, self._pictures, self._tokens().colour("well"))
        self._browser.received.connect(self._received)
        self._browser.died.connect(self._died)
        self._stack.addWidget(self._browser.view)
        self._show_card(True)
        self.setFocusProxy(self._browser.view)

    def _load(self, built: _Built) -> None:
        if self._browser is None:
            return
        if built.page is None:
            self._fail(built.problem)
            return
        self._ramp = built.ramp
        self._state["theme"] = self._theme()
        self._browser.load(built.page, built.files)

    def _received(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "ready":
                self._listening = True
                assert self._browser is not None
                self._show_card(False)
                self._browser.send([self._state[kind] for kind in KINDS if kind in self._state])
                self.ready.emit()
            case "drawn":
                self.drawn.emit(int(message["serial"]))
            case "candidate":
                self.candidate_clicked.emit(int(message["rank"]))
            case "area":
                self.area_drawn.emit([(float(lon), float(lat)) for lat, lon in message["ring"]])
            case "cursor":
                self.cursor_moved.emit(float(message["lat"]), float(message["lon"]))
            case "opacity":
                opacity = float(message["value"])
                self._state["opacity"] = {"type": "opacity", "value": opacity}
                self.heat_opacity_changed.emit(opacity)
            case "moved":
                self.moved.emit(
                    float(message["lat"]), float(message["lon"]), float(message["zoom"])
                )

    def _died(self, how: str) -> None:
        """The page's process ended: start it anew, unless it has just died before."""
        log.warning("the map page ended: %s", how)
        self._listening = False
        if time.monotonic() - self._died_at > RESTART_AFTER_S:
            self._died_at = time.monotonic()
            QTimer.singleShot(0, self._again)
            return
        self._fail(self.tr("Its process ended unexpectedly ({0}).").format(how), again=True)

    def _again(self) -> None:
        if self._browser is not None:
            self._card.say("area", self.tr("The map is being prepared…"))
            self._show_card(True)
            self._browser.page.triggerAction(self._browser.page.WebAction.Reload)

    def _fail(self, problem: str, *, again: bool = False) -> None:
        log.warning("no map: %s", problem)
        buttons = [(self.tr("Show the map again"), self._again)] if again else []
        self._card.say(
            "area",
            self.tr("The map cannot be shown"),
            self.tr("{0} Everything else works without it.").format(problem),
            buttons,
        )
        self._show_card(True)
        self.failed.emit(problem)

    def _show_card(self, shown: bool) -> None:
        self._card.setVisible(shown)
        if shown or self._browser is None:
            self._stack.setCurrentWidget(self._card)
        else:
            self._stack.setCurrentWidget(self._browser.view)

    # Telling ----------------------------------------------------------------------------------------------------

    def _tell(self, message: messages.Message, *, keep: bool = True) -> int:
        serial = next(self._serials)
        message = {**message, "serial": serial}
        if keep:
            self._state[message["type"]] = message
        if self._listening and self._browser is not None:
            self._browser.send([message])
        return serial

    def _forget(self, *kinds: str) -> None:
        for kind in kinds:
            self._state.pop(kind, None)

    def _tokens(self) -> Tokens:
        return tokens_of(self) if self._dark is None else DARK if self._dark else LIGHT

    def _theme(self) -> messages.Message:
        hints = QGuiApplication.styleHints()
        still = False
        if hasattr(hints, "accessibility"):  # Qt 6.10 and later
            preference = getattr(hints.accessibility(), "motionPreference", None)
            still = preference is not None and preference().name == "ReducedMotion"
        return messages.theme(self._tokens(), self.font(), self._ramp, motion=not still)

    def _tell_theme(self) -> None:
        if self._ramp:
            self._tell(self._theme())
            if self._browser is not None:
                self._browser.page.setBackgroundColor(self._tokens().colour("well"))

    def _translate(self, text: str) -> str:
        return self.tr(text)

    def _words(self) -> messages.Message:
        """The page's own texts."""
        return {
            "type": "words",
            "words": {
                "legend": self.tr("Legend"),
                "opacity": self.tr("Opacity"),
                "home": self.tr("Whole area (Home)"),
                "zoom_in": self.tr("Zoom in (+)"),
                "zoom_out": self.tr("Zoom out (−)"),
                "ranks": self.tr("Candidates by rank"),
                "footprint": self.tr("Tile that matched"),
                "towards": self.tr("Where the matched photo looks"),
                "wedge": self.tr("Heading and field of view"),
                "ring": self.tr("Heading of the panorama"),
                "map": self.tr("Map of the area searched"),
                "cursor": self.tr("Position under the cursor"),
            },
        }
