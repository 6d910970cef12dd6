"""The observable state of the window: photos, the current one, its answer, the candidate looked at, the overlay.

No widgets here; panels read it and listen to its signals, and change it through its methods. Everything slow is a
job: reading, locating, evidence. A correction is answered after a short pause, and stops the search that runs.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QImage

from app import tasks
from app.bench import Bench, Load
from app.jobs import Jobs
from app.notices import Notices
from app.photos import Answer, ComparePictures, EvidencePictures, PhotoItem, Stage
from app.reader import Reader
from engine.errors import NadirError

if TYPE_CHECKING:
    from engine.localize import Candidate, Result

LOCATE, CROPS, EVIDENCE, COMPARE = "locate", "crops", "evidence", "compare"
TOP = 10  # candidates asked for
PAUSE_MS = 150  # after a correction, before the search


class Session(QObject):
    """The state of the Locate workspace."""

    photos_changed = Signal()  # which photos there are
    photo_changed = Signal(object)  # a PhotoItem: its stage, facts or corrections
    current_changed = Signal()
    answer_changed = Signal()  # the current photo's answer: stage, result
    crops_changed = Signal()
    candidate_changed = Signal()  # which candidate is looked at
    evidence_changed = Signal()
    compare_changed = Signal()
    overlay_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.notices = Notices(self)
        self.jobs = Jobs(self.notices, self)
        self.bench = Bench(self.jobs, self.notices, self)
        self.photos: list[PhotoItem] = []
        self.current: PhotoItem | None = None
        self.overlay_shown = True
        self.overlay_opacity = 0.6
        self.comparing = False
        self._numbers = count(1)
        self.reader = Reader(self)
        self.reader.read.connect(self._read)
        self.reader.failed.connect(self._not_read)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self.locate)
        self.bench.changed.connect(self._bench_changed)
        self.bench.ready.connect(self._begin)

    # Photos -----------------------------------------------------------------------------------------------------

    def add(self, sources: list[tuple[Path | bytes | QImage, str]]) -> None:
        """Put photos on the tray, each with its name; the first of them becomes the current one."""
        if not sources:
            return
        items = [PhotoItem(next(self._numbers), name, source) for source, name in sources]
        self.photos.extend(items)
        self.photos_changed.emit()
        self.choose(items[0])

    def add_files(self, paths: list[Path]) -> None:
        """Put files on the tray; a file that is there already is chosen instead of added again."""
        known = {item.source: item for item in self.photos if isinstance(item.source, Path)}
        fresh = [path for path in dict.fromkeys(paths) if path not in known]
        if fresh:
            self.add([(path, path.name) for path in fresh])
        elif paths:
            again = known[paths[0]]
            if again.stage == Stage.FAILED:
                self.read_again(again)
            self.choose(again)

    def read_again(self, item: PhotoItem) -> None:
        """Read a photo's file anew."""
        self.reader.again(item)
        if item is self.current:
            self.current_changed.emit()
            self.answer_changed.emit()

    def remove(self, item: PhotoItem) -> None:
        """Take a photo off the tray; its neighbour becomes the current one."""
        at = self.photos.index(item)
        self.photos.remove(item)
        self.reader.forget(item)
        if item is self.current:
            self._stop_work()
            self.current = None
        self.photos_changed.emit()
        if self.current is None and self.photos:
            self.choose(self.photos[min(at, len(self.photos) - 1)])
        elif self.current is None:
            self.set_comparing(False)
            self.current_changed.emit()
            self.answer_changed.emit()

    def choose(self, item: PhotoItem) -> None:
        """Look at a photo."""
        if item is not self.current:
            self._stop_work()
            self.current = item
            self.reader.look_at(item)
            self.current_changed.emit()
            self.answer_changed.emit()
            self.candidate_changed.emit()
            self._answer_or_look()

    def _answer_or_look(self) -> None:
        if self.answer.stage == Stage.READY:
            self._look_closer()
        else:
            self.locate()

    def _read(self, item: PhotoItem) -> None:
        self.photo_changed.emit(item)
        if item is self.current:
            self.current_changed.emit()
            self._answer_or_look()

    def _not_read(self, item: PhotoItem) -> None:
        if item.stage == Stage.FAILED and item.error is not None:
            self.notices.post_error(item.error, quiet=item is self.current)
        self.photo_changed.emit(item)
        if item is self.current:
            self.current_changed.emit()

    def correct(self, **changes: Any) -> None:
        """Change what is held true of the current photo (fields of ``Corrections``); it is located anew."""
        item = self.current
        if item is None or item.facts is None:
            return
        corrections = replace(item.corrections, **changes)
        if corrections == item.corrections:
            return
        item.corrections = corrections
        if self._can_locate():
            self._await_answer(item)
            self._stop_work()
            self.answer_changed.emit()
            self._pause.start()
        self.photo_changed.emit(item)

    # Answers ----------------------------------------------------------------------------------------------------

    @property
    def answer(self) -> Answer:
        """The current photo's answer; an empty one where there is no photo."""
        return self.current.answer if self.current is not None else Answer()

    @property
    def result(self) -> Result | None:
        """What was found for the current photo."""
        return self.answer.result

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that is looked at."""
        answer = self.answer
        if answer.result is None:
            return None
        return next((c for c in answer.result.candidates if c.rank == answer.rank), None)

    def _can_locate(self) -> bool:
        item = self.current
        if item is None or item.stage != Stage.READY or item.photo is None:
            return False
        return self.bench.pair is not None

    def _begin(self) -> None:
        """An encoder and an area are there: locate what waits, or make the first answer a quick one."""
        self.locate()
        pair = self.bench.pair
        if pair is not None and self.answer.stage != Stage.WORKING:
            self.jobs.start(
                self.tr("Warming up"),
                lambda report: tasks.warm_up(*pair, report),
                done=lambda _: None,
                failed=lambda error: None,  # said when it matters
                key=LOCATE,
                quiet=True,
            )

    def locate(self) -> None:
        """Search for the current photo with what is known of it now."""
        self._pause.stop()
        item, pair = self.current, self.bench.pair
        if not self._can_locate() or item is None or pair is None or item.photo is None:
            return
        answer = self._await_answer(item)
        self._stop_work()
        photo, view, heading = item.photo, item.view, item.heading_deg
        self.answer_changed.emit()
        self.jobs.start(
            self.tr("Locating {0}").format(item.name),
            lambda report: tasks.locate(photo, view, heading, *pair, TOP, report),
            done=lambda result: self._located(item, answer, result),
            failed=lambda error: self._not_located(item, answer, error),
            cancelled=lambda: self._not_located(item, answer, None),
            key=LOCATE,
        )

    def _await_answer(self, item: PhotoItem) -> Answer:
        """Put a new answer in place; what the last one showed stays in view, so that nothing jumps."""
        before = item.answer
        item.answer = Answer(
            Stage.WORKING, result=before.result, crops=before.crops, rank=before.rank
        )
        return item.answer

    def _located(self, item: PhotoItem, answer: Answer, result: Result) -> None:
        if item.answer is not answer:
            return
        item.answer = Answer(Stage.READY, result=result)
        self.photo_changed.emit(item)
        if item is self.current:
            self.answer_changed.emit()
            self.candidate_changed.emit()
            self._look_closer()

    def _not_located(self, item: PhotoItem, answer: Answer, error: NadirError | None) -> None:
        if item.answer is not answer:
            return
        item.answer = Answer(Stage.FAILED if error is not None else Stage.CANCELLED, error=error)
        if item is self.current:
            self.set_comparing(False)
        if error is not None:
            self.notices.post_error(error, quiet=item is self.current)
        if item is self.current:
            self.answer_changed.emit()
            self.candidate_changed.emit()

    def select(self, rank: int) -> None:
        """Look at the candidate of a rank, if there is one."""
        answer = self.answer
        if answer.result is None or rank == answer.rank:
            return
        if not any(c.rank == rank for c in answer.result.candidates):
            return
        answer.rank = rank
        self.candidate_changed.emit()
        self._look_closer()

    def step(self, by: int) -> None:
        """Go through the candidates."""
        self.select(self.answer.rank + by)

    # Looking closer ---------------------------------------------------------------------------------------------

    @property
    def knows_heading(self) -> bool:
        """Whether the encoder in use answers headings at all; so it is taken to while there is none."""
        pair = self.bench.pair
        return pair is None or pair[0].card.branches.query.projection != "plain"

    @property
    def evidence(self) -> EvidencePictures | None:
        """The evidence for the candidate looked at, once it is there."""
        return self.answer.evidence.get(self.answer.rank)

    @property
    def compared(self) -> ComparePictures | None:
        """The pictures of the Compare view, once they are there."""
        return self.answer.compare.get(self.answer.rank)

    def set_comparing(self, on: bool) -> None:
        """Open or close the Compare view."""
        if on == self.comparing or (on and self.result is None):
            return
        self.comparing = on
        self.compare_changed.emit()
        if on:
            self._look_closer()

    def _look_closer(self) -> None:
        """Fetch what is missing for the candidate looked at: tiles of all, evidence, the comparison."""
        item, pair = self.current, self.bench.pair
        if item is None or pair is None or item.photo is None:
            return
        if item.answer.stage != Stage.READY or item.answer.result is None:
            return
        answer, result, photo, view = item.answer, item.answer.result, item.photo, item.view
        candidate, heading = self.candidate, item.heading_deg
        if not answer.crops:
            self.jobs.start(
                self.tr("Fetching photos") if result.of_photos else self.tr("Cutting tiles"),
                lambda report: tasks.crops(result, pair[1], report),
                done=lambda crops: self._have_crops(answer, crops),
                key=CROPS,
                lane="view",
                quiet=True,
            )
        if candidate is None:
            return
        if candidate.rank not in answer.evidence:
            self.jobs.start(
                self.tr("Finding the evidence"),
                lambda report: tasks.evidence(photo, view, heading, candidate, *pair, report),
                done=lambda pictures: self._have_evidence(answer, pictures),
                key=EVIDENCE,
                quiet=True,
            )
        elif self.comparing and candidate.rank not in answer.compare:
            parts = answer.evidence[candidate.rank].raw
            self.jobs.start(
                self.tr("Fetching photos") if result.of_photos else self.tr("Unrolling the tile"),
                lambda report: tasks.compare(photo, view, candidate, heading, parts, *pair, report),
                done=lambda pictures: self._have_comparison(answer, pictures),
                key=COMPARE,
                quiet=True,
            )

    def _have_crops(self, answer: Answer, crops: dict[int, QImage]) -> None:
        answer.crops = crops
        if answer is self.answer:
            self.crops_changed.emit()

    def _have_evidence(self, answer: Answer, pictures: EvidencePictures) -> None:
        answer.evidence[pictures.rank] = pictures
        if answer is self.answer:
            self.evidence_changed.emit()
            self._look_closer()

    def _have_comparison(self, answer: Answer, pictures: ComparePictures) -> None:
        answer.compare[pictures.rank] = pictures
        if answer is self.answer:
            self.compare_changed.emit()

    def set_overlay(self, *, shown: bool | None = None, opacity: float | None = None) -> None:
        """Show or hide the heat maps, or change how strongly they cover."""
        self.overlay_shown = self.overlay_shown if shown is None else shown
        if opacity is not None:
            self.overlay_opacity = min(max(opacity, 0.0), 1.0)
        self.overlay_changed.emit()

    # Saving and ending ------------------------------------------------------------------------------------------

    def export(self, path: Path) -> None:
        """Write the current answer; the ending of the name says the format."""
        result = self.result
        if result is None:
            return
        self.jobs.start(
            self.tr("Writing {0}").format(path.name),
            lambda report: tasks.export(result, path),
            done=lambda _: self.notices.post("info", self.tr("{0} is written.").format(path.name)),
            lane="files",
        )

    def stop(self) -> None:
        """Stop the work on the current photo; what is there stays."""
        self._pause.stop()
        self.reader.stop()
        self.jobs.cancel_all()

    def shut_down(self) -> bool:
        """End all work and close the files; returns whether every thread ended in time."""
        self._pause.stop()
        self.jobs.cancel_everything()
        self.bench.close()
        return self.jobs.shut_down()

    def _stop_work(self) -> None:
        for key in (LOCATE, CROPS, EVIDENCE, COMPARE):
            self.jobs.cancel(key)

    def _bench_changed(self) -> None:
        """Answers belong to an encoder and an index; other ones make them void."""
        if self.bench.index.load == Load.READY and self.bench.encoder.load == Load.READY:
            return
        self._stop_work()
        self.set_comparing(False)
        for item in self.photos:
            item.answer = Answer()
            self.photo_changed.emit(item)
        self.answer_changed.emit()
        self.candidate_changed.emit()
