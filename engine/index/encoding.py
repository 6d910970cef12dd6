"""The stream of a build: threads decode and cut, one encoder encodes, one thread writes.

The encoder takes chunks in their order; so many are loaded ahead that it does not wait, and so few that memory stays
bounded. How long it waited all the same is measured and told.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EncoderError
from engine.index.parts import Chunk, Segments
from engine.index.plan import Plan
from engine.index.references import Loaded, References
from engine.index.seam import TileEncoder
from engine.progress import Report

BATCH = 32  # rows encoded between two reports
_AHEAD_BYTES = 384 << 20  # pixels held at a time
_MOST_WORKERS = 16
_LOOK_S = 0.1  # between two looks whether to stop while the encoder waits
_WINDOW_S = 60.0  # the estimate follows the pace of the last minute


@dataclass(frozen=True)
class BuildProgress:
    """How far an encoding has come.

    Args:
        done, total: rows, those of earlier sittings included.
        seconds_left: at the pace of the last minute; None while there is none.
        waiting: the share of its time that the encoder had nothing to encode, 0..1.
    """

    done: int
    total: int
    seconds_left: float | None
    waiting: float


Watch = Callable[[BuildProgress], None]


def unwatched(progress: BuildProgress) -> None:
    """Nobody watches."""


def encode_missing(
    segments: Segments,
    plan: Plan,
    references: References,
    encoder: TileEncoder,
    report: Report,
    watch: Watch = unwatched,
    workers: int = 0,
) -> BuildProgress:
    """Write every chunk that is missing.

    Args:
        workers: threads that decode and cut; 0: as many as there are cores.

    Raises:
        EncoderError: the encoder gives something else than descriptors.
        Cancelled: ``report`` said so. What was encoded is kept.
    """
    missing = segments.missing
    pace = _Pace(plan, segments, missing, report, watch)
    workers = min(workers or os.cpu_count() or 1, _MOST_WORKERS)
    ahead = max(1, min(workers + 1, _AHEAD_BYTES // (plan.chunk * references.row_bytes + 1) - 1))
    loading: deque[Future[Loaded]] = deque()
    writing: Future[None] | None = None
    upcoming = iter(missing)
    with (
        ThreadPoolExecutor(min(workers, ahead), "cutting") as cutters,
        ThreadPoolExecutor(1, "writing") as writer,
    ):
        try:
            for chunk in missing:
                while len(loading) < ahead and (following := next(upcoming, None)) is not None:
                    loading.append(cutters.submit(references.load, *plan.chunk_range(following)))
                with pace.waiting():
                    loaded = _result(loading.popleft(), pace.tell)
                following = next(upcoming, None)
                if following is not None:
                    loading.append(cutters.submit(references.load, *plan.chunk_range(following)))
                encoded = _encode(references, encoder, loaded, plan, chunk, pace)
                if writing is not None:
                    with pace.waiting():
                        _result(writing, pace.tell)
                writing = writer.submit(segments.write, chunk, encoded)
                pace.finish(chunk)
            if writing is not None:
                _result(writing, pace.tell)
                writing = None
        finally:
            for future in loading:
                future.cancel()
    return pace.progress()


def _encode(
    references: References,
    encoder: TileEncoder,
    loaded: Loaded,
    plan: Plan,
    chunk: int,
    pace: _Pace,
) -> Chunk:
    first, last = plan.chunk_range(chunk)
    good = loaded.good
    vectors = np.zeros((len(good), plan.dimension), np.float32)
    for begin in range(0, len(good), BATCH):
        batch = slice(begin, min(begin + BATCH, len(good)))
        found = references.encode(encoder, loaded, batch)
        _check(found, batch.stop - begin, plan)
        vectors[batch] = found
        pace.advance((last - first) * batch.stop / len(good))
    lats, lons = references.centres(first, last)
    return Chunk(
        good,
        np.stack([lats[good], lons[good]], axis=1),
        references.extents(first, last)[good],
        vectors,
        references.pictures(first + good),
    )


def _check(vectors: NDArray[np.float32], count: int, plan: Plan) -> None:
    if vectors.shape != (count, plan.dimension):
        raise EncoderError(
            f"the encoder {plan.encoder_name} gave {vectors.shape} for {count} tiles "
            f"where its card says {plan.dimension} numbers each"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or np.abs(lengths - 1).max(initial=0) > 0.01:
        raise EncoderError(
            f"the encoder {plan.encoder_name} gave vectors that are not of length 1",
            None,
            "Export it again",
        )


def _result(future: Future[Any], look: Callable[[], None]) -> Any:
    """A future's result; meanwhile there is a look whether to stop."""
    while True:
        try:
            return future.result(_LOOK_S)
        except NotYet:
            if future.done():
                raise  # it is the work's own
            look()


class _Pace:
    """Counts, times and tells."""

    def __init__(
        self, plan: Plan, segments: Segments, missing: list[int], report: Report, watch: Watch
    ) -> None:
        self._plan, self._report, self._watch = plan, report, watch
        chunks = segments.chunks
        self._total = plan.chunk_range(chunks[-1])[1] - plan.chunk_range(chunks[0])[0]
        to_do = sum(last - first for first, last in map(plan.chunk_range, missing))
        self._done: float = self._total - to_do
        self._part = 0.0
        self._start = time.monotonic()
        self._waited = 0.0
        self._marks: deque[tuple[float, float]] = deque([(self._start, self._done)])

    @contextlib.contextmanager
    def waiting(self):
        """The encoder waits inside."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - begin

    def advance(self, part: float) -> None:
        """So many rows of the chunk are done."""
        self._part = part
        self.tell()

    def finish(self, chunk: int) -> None:
        first, last = self._plan.chunk_range(chunk)
        self._done, self._part = self._done + last - first, 0.0
        self.tell()

    def progress(self) -> BuildProgress:
        now, done = time.monotonic(), self._done + self._part
        while len(self._marks) > 1 and now - self._marks[1][0] > _WINDOW_S:
            self._marks.popleft()
        if now - self._marks[-1][0] > _WINDOW_S / 60:
            self._marks.append((now, done))
        then, before = self._marks[0]
        left = None
        if now - then > 2 and done > before:
            left = (self._total - done) * (now - then) / (done - before)
        share = self._waited / max(now - self._start, 1e-9)
        return BuildProgress(round(done), self._total, left, min(share, 1.0))

    def tell(self) -> None:
        progress = self.progress()
        text = f"Encoding tiles: {progress.done:,} of {progress.total:,}"
        if progress.seconds_left is not None:
            text += f", about {duration(progress.seconds_left)} left"
        self._watch(progress)
        self._report(progress.done, progress.total, text)


def duration(seconds: float) -> str:
    """A time to come as people say it: ``40 s``, ``12 min``, ``3 h 20 min``, ``4 days``."""
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 600:
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24):,} days"
