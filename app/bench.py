"""What answers, on what: the encoder and the index that are open, loading them, and why they are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from PySide6.QtCore import QObject, Signal

from app.intake import name_of
from app.jobs import Jobs
from app.notices import Notices
from engine.errors import NadirError
from engine.progress import Report

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index

T = TypeVar("T")
Known = tuple[tuple[Path, ...], tuple[Path, ...]]
"""Encoders and indexes that were open before, or come with the program."""
LOAD = "load"


class Load(Enum):
    """How far a file has come."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Slot(Generic[T]):
    """A place for one open thing."""

    load: Load = Load.NONE
    path: Path | None = None
    value: T | None = None
    error: NadirError | None = None

    @property
    def name(self) -> str:
        """What the open thing is called; "" where nothing is open."""
        return name_of(self.path) if self.value is not None and self.path is not None else ""


class Bench(QObject):
    """The open encoder and index. Signals come on the UI thread; opening happens in the engine's lane."""

    changed = Signal()  # anything below
    ready = Signal()  # encoder and index are both open and fit

    def __init__(self, jobs: Jobs, notices: Notices, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._notices = notices
        self.encoder: Slot[Encoder] = Slot()
        self.index: Slot[Index] = Slot()
        self.last_good: tuple[Path, Path] | None = None
        self.known: Known = ((), ())

    @property
    def pair(self) -> tuple[Encoder, Index] | None:
        """The open encoder and index, where both are ready."""
        if self.encoder.value is None or self.index.value is None:
            return None
        return self.encoder.value, self.index.value

    @property
    def loading(self) -> bool:
        """Whether one of them is on its way."""
        return Load.LOADING in (self.encoder.load, self.index.load)

    def open(
        self, encoder: Path | None, index: Path | None, remembered: Path | None = None
    ) -> None:
        """Open an encoder, an index, or both; what is not named stays as it is.

        An index is always opened against the encoder; a new encoder therefore reopens the index. Where only one of the
        two is named and the other does not fit it, one of the ``known`` that does is opened with it.

        Args:
            remembered: what was open in the place of the one that is not named when the program ran last. Nobody
                asks for it now: it gives way to what was named.
        """
        kept = self.encoder.value
        request = _Request(kept, self.encoder.path, encoder, index or self.index.path)
        if encoder is None:
            request = replace(request, others=self.known[0], remembered=remembered)
        elif index is None:
            request = replace(request, others=self.known[1], remembered=remembered)
            request = replace(request, index_path=request.index_path or remembered)
        coming = encoder or (remembered if kept is None else None)
        if coming is not None:
            self.encoder = Slot(Load.LOADING, coming)
        if request.index_path is not None:
            self._close_index()
            self.index = Slot(Load.LOADING, request.index_path)
        self.changed.emit()
        self._jobs.start(
            self.tr("Opening {0}").format(name_of(index or encoder or Path("…"))),
            lambda report: _open(request, report),
            done=self._opened,
            cancelled=lambda: self._cancelled(request),
            key=LOAD,
        )

    def go_back(self) -> None:
        """Open the last encoder and index that fitted each other."""
        if self.last_good is not None:
            self.open(*self.last_good)

    def let_go(self, path: Path) -> None:
        """Close the encoder or the index that lies there, if it is open: its files are about to go."""
        if self.index.path == path:
            self._close_index()
            self.index = Slot()
        elif self.encoder.path == path:
            self.encoder = Slot()
        else:
            return
        if self.last_good is not None and path in self.last_good:
            self.last_good = None
        self.changed.emit()

    def close(self) -> None:
        """Let go of the index's files."""
        self._close_index()
        self.index = Slot()
        self.encoder = Slot()

    def _close_index(self) -> None:
        index = self.index.value
        if index is not None:
            self.index = Slot()
            self._jobs.start("", lambda report: index.close(), done=lambda _: None, quiet=True)

    def _opened(self, outcome: _Outcome) -> None:
        fresh = outcome.encoder.value is not self.encoder.value
        self.encoder, self.index = outcome.encoder, outcome.index
        for error in outcome.errors:
            told = error in (self.encoder.error, self.index.error)  # in the map's place
            self._notices.post_error(error, quiet=told)
        if outcome.brought is not None:
            text = self.tr("{0} was opened with it: they belong together.")
            self._notices.post("info", text.format(name_of(outcome.brought)))
        if outcome.given_way is not None:
            text = self.tr("{0} was not opened: it was built with another encoder.")
            self._notices.post("info", text.format(name_of(outcome.given_way)))
        if fresh and self.encoder.value is not None:
            for text in self.encoder.value.notices:
                self._notices.post("warning", text)
        if self.pair is not None and self.encoder.path and self.index.path:
            self.last_good = (self.encoder.path, self.index.path)
        self.changed.emit()
        if self.pair is not None:
            self.ready.emit()

    def _cancelled(self, request: _Request) -> None:
        if any(job.key == LOAD and not job.cancelling for job in self._jobs.active):
            return  # replaced by another opening, which will have its own say
        load = Load.READY if request.kept is not None else Load.NONE
        self.encoder = Slot(load, request.kept_path, request.kept)
        self.index = Slot()
        self.changed.emit()


@dataclass(frozen=True)
class _Request:
    """What to open. ``kept`` is the encoder that stays, or that comes back when the new one cannot be opened."""

    kept: Encoder | None
    kept_path: Path | None
    encoder_path: Path | None
    index_path: Path | None
    others: tuple[Path, ...] = ()  # of what was not named: what may be opened in its place
    remembered: Path | None = (
        None  # of what was not named: what the program had open when it ran last
    )


@dataclass(frozen=True)
class _Outcome:
    encoder: Slot[Encoder]
    index: Slot[Index]
    errors: tuple[NadirError, ...]
    brought: Path | None = None  # what was opened though nobody named it
    given_way: Path | None = (
        None  # the remembered index that was not, for what was named does not fit it
    )


def _open(request: _Request, report: Report) -> _Outcome:
    from engine.encoder import open_encoder
    from engine.index import Index

    brought, given_way = _other(request), None
    if brought is not None and request.encoder_path is None:
        request = replace(request, encoder_path=brought)
    elif brought is not None:
        request = replace(request, index_path=brought)
    elif request.encoder_path is None and request.kept is None:
        request = replace(request, encoder_path=request.remembered)
    elif request.remembered is not None and not _fit(request):
        given_way = request.index_path
        request = replace(request, index_path=None)
    errors: list[NadirError] = []
    load = Load.READY if request.kept is not None else Load.NONE
    encoder: Slot[Encoder] = Slot(load, request.kept_path, request.kept)
    if request.encoder_path is not None:
        report(0, 3, "")
        try:
            opened = open_encoder(request.encoder_path)
            encoder = Slot(Load.READY, request.encoder_path, opened)
        except NadirError as error:
            errors.append(error)
            if request.kept is None:
                encoder = Slot(Load.FAILED, request.encoder_path, None, error)
    index: Slot[Index] = Slot()
    if request.index_path is not None:
        report(2, 3, "")
        try:
            index = Slot(
                Load.READY, request.index_path, Index.open(request.index_path, encoder.value)
            )
        except NadirError as error:
            errors.append(error)
            index = Slot(Load.FAILED, request.index_path, None, error)
    fits = encoder.value is not None and index.value is not None
    if brought == request.remembered:
        brought = None  # it is as it was
    return _Outcome(encoder, index, tuple(errors), brought if fits else None, given_way)


def _other(request: _Request) -> Path | None:
    """What fits the one that was named, where what is open does not; None where that does, or nothing is known."""
    if request.index_path is None:
        return None
    if (
        request.encoder_path is not None
    ):  # an encoder was named, and the open area need not be of it
        wanted = _encoder_hash(request.encoder_path)
        if wanted is None or _built_with(request.index_path) in (wanted, None):
            return None
        return next((path for path in request.others if _built_with(path) == wanted), None)
    wanted = _built_with(request.index_path)
    if wanted is None or (request.kept is not None and request.kept.hash == wanted):
        return None
    others = request.others
    if request.kept is None and request.remembered is not None:
        others = (request.remembered, *others)
    return next((path for path in others if _encoder_hash(path) == wanted), None)


def _fit(request: _Request) -> bool:
    """Whether a remembered index is of the named encoder; True where that cannot be read, which is told."""
    encoder, index = request.encoder_path, request.index_path
    if encoder is None or index is None or index != request.remembered:
        return True
    wanted = _encoder_hash(encoder)
    return wanted is None or _built_with(index) == wanted


def _built_with(index: Path) -> str | None:
    """The hash of the encoder that an index is of; None where it cannot be read."""
    from engine.index.manifest import read_manifest

    try:
        return read_manifest(index).encoder_hash
    except NadirError:
        return None


def _encoder_hash(encoder: Path) -> str | None:
    """Of the encoder in a folder or a zip; None where it cannot be read."""
    from engine.encoder.package import read_facts

    try:
        return read_facts(encoder)[0].hash
    except (NadirError, OSError):
        return None
