"""Reading the photos of the tray, one at a time, the one that is looked at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app import tasks
from app.photos import Answer, PhotoItem, Stage
from engine.errors import NadirError

if TYPE_CHECKING:
    from app.session import Session

READ = "read"
PIXELS_KEPT = 3  # photos whose pixels stay in memory


class Reader(QObject):
    """Reads what waits; the pixels of the photos looked at last stay, the others' are let go."""

    read = Signal(object)  # a PhotoItem that is ready
    failed = Signal(object)  # a PhotoItem that could not be read

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._recent: list[PhotoItem] = []

    def look_at(self, item: PhotoItem) -> None:
        """Have a photo's pixels at hand."""
        self.forget(item)
        self._recent.insert(0, item)
        for old in self._recent[PIXELS_KEPT:]:
            old.photo = None
            old.picture = None
        del self._recent[PIXELS_KEPT:]
        if item.stage == Stage.CANCELLED or (item.stage == Stage.READY and item.photo is None):
            item.stage = Stage.WAITING
        self.go_on()

    def forget(self, item: PhotoItem) -> None:
        """A photo has left the tray."""
        if item in self._recent:
            self._recent.remove(item)

    def again(self, item: PhotoItem) -> None:
        """Read a photo's file anew."""
        if item.stage == Stage.WORKING:
            return
        item.stage = Stage.WAITING
        item.error = None
        item.facts = None
        item.photo = item.picture = None
        item.answer = Answer()
        self._session.photo_changed.emit(item)
        self.go_on()

    def stop(self) -> None:
        """Read no more of what waits, until it is looked at."""
        for item in self._session.photos:
            if item.stage == Stage.WAITING:
                item.stage = Stage.CANCELLED
                self._session.photo_changed.emit(item)
        self._session.jobs.cancel(READ)

    def go_on(self) -> None:
        """Start on the next, unless one is being read."""
        photos, current = self._session.photos, self._session.current
        if any(item.stage == Stage.WORKING for item in photos):
            return
        waiting = [item for item in photos if item.stage == Stage.WAITING]
        if not waiting:
            return
        item = current if current in waiting else waiting[0]
        assert item is not None
        item.stage = Stage.WORKING
        self._session.photo_changed.emit(item)
        source, name = item.source, item.name
        self._session.jobs.start(
            self.tr("Reading {0}").format(name),
            lambda report: tasks.read(source, name, report),
            done=lambda outcome: self._done(item, outcome),
            failed=lambda error: self._not_done(item, error, Stage.FAILED),
            cancelled=lambda: self._not_done(item, self._stopped(item), Stage.CANCELLED),
            lane="files",
            key=READ,
        )

    def _done(self, item: PhotoItem, outcome: tasks.ReadPhoto) -> None:
        first = item.facts is None
        item.stage = Stage.READY
        item.error = None
        item.facts = outcome.photo.facts
        item.notes = tuple(outcome.photo.notes)
        item.thumbnail = outcome.thumbnail
        if item in self._recent:
            item.photo = outcome.photo
            item.picture = outcome.picture
        if item in self._session.photos:
            if first:
                for note in item.notes:
                    self._session.notices.post("warning", f"{item.name}: {note}")
            self.read.emit(item)
        self.go_on()

    def _not_done(self, item: PhotoItem, error: NadirError, stage: Stage) -> None:
        item.stage = stage
        item.error = error
        if item in self._session.photos:
            self.failed.emit(item)
        self.go_on()

    def _stopped(self, item: PhotoItem) -> NadirError:
        return NadirError(
            self.tr("reading was stopped"), item.name, self.tr("Choose “Try again” to read it")
        )
