"""Every engine call off the UI thread: progress, cancelling, errors.

A job is a value with a state; panels watch :class:`Jobs`. The work is a plain function that takes the engine's
``report`` hook: cancelling makes the next report raise :class:`engine.errors.Cancelled`. What a job returns or
raises is handed over in one place on the UI thread, :meth:`Jobs._deliver`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import Enum
from typing import Any, Literal, TypeVar

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal

from app.notices import Notices
from engine.errors import Cancelled, NadirError
from engine.progress import Report

log = logging.getLogger(__name__)
translate = QCoreApplication.translate
T = TypeVar("T")

# A lane runs its jobs in order on threads of its own: `engine` is one thread, so that an open index is only ever
# touched from it; `files` reads photos; `view` draws what a panel asks for; `watch` looks after trainings and `tools`
# waits for the programs that they need (an export takes minutes, a check of the next run does not wait for it);
# `library` copies and checks indexes, and looks at imagery.
Lane = Literal["engine", "files", "view", "watch", "tools", "library"]
_THREADS: dict[Lane, int] = {
    "engine": 1,
    "files": 1,
    "view": 1,
    "watch": 1,
    "tools": 2,
    "library": 2,
}
_REPORT_EVERY_S = 0.03


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job:
    """One piece of background work; made by :meth:`Jobs.start`."""

    def __init__(self, number: int, title: str, key: str | None, quiet: bool) -> None:
        self.number = number
        self.title = title
        self.key = key
        self.quiet = quiet
        self.state = State.WAITING
        self.progress: tuple[int, int, str] = (0, 0, "")
        self._stop = threading.Event()

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in (State.DONE, State.FAILED, State.CANCELLED)

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Ask it to stop; its outcome will not be delivered."""
        self._stop.set()


class Jobs(QObject):
    """Starts jobs, and says how they go. All its methods belong to the UI thread."""

    changed = Signal(object)  # a Job whose state or progress changed
    _posted = Signal(object)

    def __init__(self, notices: Notices, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._notices = notices
        self._numbers = itertools.count(1)
        self._pools: dict[Lane, ThreadPoolExecutor] = {}
        self._active: dict[int, Job] = {}
        self._futures: set[Future[None]] = set()
        self._closed = False
        self._posted.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    @property
    def active(self) -> list[Job]:
        """Jobs that wait or run, oldest first, without those that asked to be quiet."""
        return [job for job in self._active.values() if not job.quiet and not job.cancelling]

    @property
    def idle(self) -> bool:
        """Whether nothing runs at all."""
        return not self._active

    def start(
        self,
        title: str,
        work: Callable[[Report], T],
        *,
        done: Callable[[T], None],
        failed: Callable[[NadirError], None] | None = None,
        cancelled: Callable[[], None] | None = None,
        lane: Lane = "engine",
        key: str | None = None,
        quiet: bool = False,
    ) -> Job:
        """Run ``work(report)`` in a lane.

        Args:
            title: what the user sees while it runs.
            done: called on the UI thread with what the work returned.
            failed: called on the UI thread with its error; without it the error becomes a notice.
            cancelled: called on the UI thread when it was stopped.
            key: a job of the same key that still waits or runs is cancelled first.
            quiet: keep it off the status line.
        """
        if key is not None:
            self.cancel(key)
        job = Job(next(self._numbers), title, key, quiet)
        self._active[job.number] = job
        if self._closed:
            job.cancel()
            job.state = State.CANCELLED
            del self._active[job.number]
            return job
        pool = self._pools.get(lane)
        if pool is None:
            pool = ThreadPoolExecutor(_THREADS[lane], thread_name_prefix=f"nadir-{lane}")
            self._pools[lane] = pool
        outcome = _Outcome(job, done, failed, cancelled)
        future = pool.submit(self._run, outcome, work)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        self.changed.emit(job)
        return job

    def cancel(self, key: str) -> None:
        """Stop the jobs of one key."""
        for job in list(self._active.values()):
            if job.key == key and not job.cancelling:
                job.cancel()
                self.changed.emit(job)

    def cancel_all(self) -> None:
        """Stop everything the user can see."""
        for job in self.active:
            job.cancel()
            self.changed.emit(job)

    def cancel_everything(self) -> None:
        """Stop the quiet ones too."""
        for job in self._active.values():
            job.cancel()

    def shut_down(self, timeout_s: float = 10.0) -> bool:
        """Take no more work and wait for the threads; returns whether all ended in time."""
        self._closed = True
        _, late = wait(list(self._futures), timeout=timeout_s)
        for pool in self._pools.values():
            pool.shutdown(wait=not late, cancel_futures=True)
        self._pools.clear()
        return not late

    # In the worker's thread -----------------------------------------------------------------------------------

    def _run(self, outcome: _Outcome, work: Callable[[Report], Any]) -> None:
        job = outcome.job
        if job.cancelling:
            self._post(outcome, State.CANCELLED, None)
            return
        self._post(outcome, State.RUNNING, (0, 0, ""))
        last = 0.0

        def report(count: int, total: int, text: str) -> None:
            nonlocal last
            if job.cancelling:
                raise Cancelled
            now = time.monotonic()
            if now - last >= _REPORT_EVERY_S:
                last = now
                self._post(outcome, State.RUNNING, (count, total, text))

        try:
            value = work(report)
        except Cancelled:
            self._post(outcome, State.CANCELLED, None)
        except NadirError as error:
            self._post(outcome, State.FAILED, error)
        except MemoryError:
            self._post(outcome, State.FAILED, _out_of_memory(job.title))
        except (
            Exception
        ) as error:  # the last net: a fault of ours, told as such, with its trace in the log
            log.exception("job %r failed", job.title)
            self._post(outcome, State.FAILED, _our_fault(error))
        else:
            self._post(outcome, State.DONE, value)

    def _post(self, outcome: _Outcome, state: State, value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone; nobody is left to tell
            self._posted.emit((outcome, state, value))

    # In the UI thread -----------------------------------------------------------------------------------------

    def _deliver(self, message: tuple[_Outcome, State, Any]) -> None:
        outcome, state, value = message
        job = outcome.job
        if job.over:
            return
        if job.cancelling and state != State.RUNNING:
            state = State.CANCELLED
        job.state = state
        if state == State.RUNNING:
            job.progress = value
            if not job.cancelling:
                self.changed.emit(job)
            return
        self._active.pop(job.number, None)
        if state == State.DONE:
            outcome.done(value)
        elif state == State.FAILED and outcome.failed is not None:
            outcome.failed(value)
        elif state == State.FAILED:
            self._notices.post_error(value)
        elif outcome.cancelled is not None and not self._closed:
            outcome.cancelled()
        self.changed.emit(job)


class _Outcome:
    """A job and who waits for it."""

    def __init__(
        self,
        job: Job,
        done: Callable[[Any], None],
        failed: Callable[[NadirError], None] | None,
        cancelled: Callable[[], None] | None,
    ) -> None:
        self.job = job
        self.done = done
        self.failed = failed
        self.cancelled = cancelled


def _out_of_memory(title: str) -> NadirError:
    return NadirError(
        translate("Jobs", "“{0}” needs more memory than is free").format(title),
        remedy=translate("Jobs", "Close other programs and try again"),
    )


def _our_fault(error: Exception) -> NadirError:
    return NadirError(
        translate("Jobs", "Nadir itself failed here ({0}: {1})").format(
            type(error).__name__, error
        ),
        remedy=translate("Jobs", "Nothing of yours was changed; please report this with the log"),
    )
