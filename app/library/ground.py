"""The map beside a card or the guided task: whose ground it shows, and letting go of it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QStackedLayout, QWidget

from app.library import work
from app.library.builds import State
from app.library.imagery import ground_of_build
from app.library.model import Entry, Library
from app.map.view import MapView
from app.notices import headline_of, remedy_of
from app.widgets import StateCard
from engine.errors import NadirError
from engine.progress import Report

log = logging.getLogger(__name__)
GROUND = "library-ground"


class GroundMap(QWidget):
    """One map for the whole workspace; what it showed before is closed once it shows something else."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library
        self._ground: work.Ground | None = None
        self._of: object = None  # what the map shows or is about to show
        self.map = MapView()
        self.card = StateCard()
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.map)
        self._stack.addWidget(self.card)

    def show_entry(self, entry: Entry | None) -> None:
        """Show the ground of an index."""
        if entry is None or entry.item.kind != "index":
            self.clear()
            return
        item = entry.item
        build = self._library.build_of(entry.path)
        if build is not None and build.state != State.DONE:
            plan = build.plan
            self.show_ground(("build", entry.path), lambda report: ground_of_build(plan, report))
            return
        if item.manifest is None or item.error is not None:
            self.clear()
            self._say("area", self.tr("No map can be drawn of it."))
            return
        path, hash_ = entry.path, item.hash
        self.show_ground((path, hash_), lambda report: work.ground_of(path, report))

    def show_ground(self, of: object, fetch: Callable[[Report], work.Ground]) -> None:
        """Show what a job gives; ``of`` tells whether it is shown already."""
        if of == self._of:
            return
        self.clear()
        self._of = of
        self._say("area", self.tr("The map is being prepared…"))

        def done(ground: work.Ground) -> None:
            if self._of != of:
                self._close(ground)
                return
            self._ground = ground
            self.map.set_area(ground.area)
            self.map.set_outlines(ground.rings, self.tr("Covered"))
            self.map.set_chosen_area(ground.chosen, self.tr("Area of the index"))
            self._stack.setCurrentWidget(self.map)

        def failed(error: NadirError) -> None:
            if self._of == of:
                self._say("area", headline_of(error), remedy_of(error))

        self._library.jobs.start(
            self.tr("Looking at the map"),
            fetch,
            done=done,
            failed=failed,
            lane="library",
            key=GROUND,
            quiet=True,
        )

    def show_ready(self, of: object, ground: work.Ground, label: str) -> None:
        """Show ground that is open already, and close it in the end."""
        self.clear()
        self._of, self._ground = of, ground
        self.map.set_area(ground.area)
        self.map.set_outlines(ground.rings, label)
        self._stack.setCurrentWidget(self.map)

    def wait(self, headline: str, text: str = "", *, error: bool = False) -> None:
        """Say in the map's place what is missing."""
        self.clear()
        self.card.say("error" if error else "area", headline, text, error=error)
        self._stack.setCurrentWidget(self.card)

    def clear(self) -> None:
        """Show nothing."""
        self._of = None
        self._library.jobs.cancel(GROUND)
        if self._ground is not None:
            self.map.set_area(None)
            self._close(self._ground)
            self._ground = None

    def forget(self, path: Path) -> None:
        """Let go of an index's files: they are about to go."""
        if isinstance(self._of, tuple) and self._of[0] == path:
            self.clear()

    def shut_down(self) -> None:
        """Close everything, with the window."""
        self.map.shut_down()
        if self._ground is not None:
            self._ground.close()
            self._ground = None

    def _say(self, icon: str, headline: str, text: str = "") -> None:
        self.card.say(icon, headline, text)
        self._stack.setCurrentWidget(self.card)

    def _close(self, ground: work.Ground) -> None:
        self._library.jobs.start(
            "", lambda report: ground.close(), done=lambda _: None, lane="library", quiet=True
        )
