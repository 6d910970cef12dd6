"""One fetch under way: tiles asked for over a few connections, kept as they come, given up when nothing else helps."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import printable
from engine.imagery.server.access import AllowedHosts, BadAnswer, Door, Limits, NoAnswer
from engine.imagery.server.ask import ServerRefusal
from engine.imagery.server.judge import Verdict, judge
from engine.imagery.server.pace import Pace, Patience, Stopped, retry_after
from engine.imagery.server.plan import TilePlan
from engine.imagery.server.service import Service
from engine.imagery.server.store import FetchStore
from engine.imagery.server.writer import write_tiles
from engine.progress import Report

_BATCH, _BATCH_S = 16, 0.3
_LEAVING_S = 2.0
_MOST_LISTED = 10_000
_MOST_REASONS = 1000
_SUSPICIOUS = 4  # so many tiles that are all the same picture are no imagery


@dataclass(frozen=True)
class Fetched:
    """What came of a fetch.

    Args:
        path: the file.
        asked: tiles of the area.
        stored: those that are in the file.
        absent: those that the server has not got.
        blank: those of one colour or transparent, which are left out.
        failed: those that were refused or failed, with why: (column, row, why), ``_MOST_LISTED`` at most.
        failed_count: how many those are.
        requests: how many went out this time.
        notes: what a person should know.
    """

    path: Path
    asked: int
    stored: int
    absent: int
    blank: int
    failed: tuple[tuple[int, int, str], ...]
    failed_count: int
    requests: int
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that the server has is in the file."""
        return self.failed_count == 0


@dataclass
class Tally:
    """Counts of one fetch."""

    states: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, int, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    row_of_blows: int = 0
    requests: int = 0

    def add(self, column: int, row: int, verdict: Verdict) -> None:
        self.states[verdict.state] += 1
        if verdict.why and (verdict.why in self.reasons or len(self.reasons) < _MOST_REASONS):
            self.reasons[verdict.why] += 1
        if verdict.state in ("refused", "failed"):
            self.row_of_blows += 1
            if len(self.failed) < _MOST_LISTED:
                self.failed.append((column, row, verdict.why))
        else:
            self.row_of_blows = 0

    @property
    def failed_count(self) -> int:
        return self.states["refused"] + self.states["failed"]


class Job:
    """One fetch under way."""

    def __init__(
        self,
        service: Service,
        plan: TilePlan,
        allowed: AllowedHosts,
        limits: Limits,
        patience: Patience,
        rate: float,
        parallel: int,
    ) -> None:
        self._service, self._plan = service, plan
        self._allowed, self._limits, self._patience = allowed, limits, patience
        self._parallel = parallel
        self._stop = threading.Event()
        self._pace = Pace(rate, self._stop)
        self._lock = threading.Lock()
        self._tally = Tally()
        self._over: ServerRefusal | None = None
        self._doors: list[Door] = []
        self._host = printable(", ".join(service.hosts))

    def run(self, out: Path, work: Path, stays: bool, mark: str, report: Report) -> Fetched:
        store = FetchStore(work, self._service.server.identity)
        try:
            self._ask(store, report)
            picture = store.first_picture(self._plan.level.zoom)
            tally = self._tally
            if not tally.states["stored"]:
                if not tally.failed_count and not stays:
                    store.delete()
                raise ServerRefusal(
                    f"{self._host} has no imagery there: {self._counts()}",
                    None,
                    "Nothing was written",
                )
            notes = self._check_same(store)
        finally:
            store.close()
        said = {
            "mark": mark,
            "kind": self._service.server.kind,
            "hosts": list(self._service.hosts),
            "layer": self._service.server.layer,
            "zoom": self._plan.level.zoom,
            "asked": self._plan.count,
            "stored": tally.states["stored"],
            "absent": tally.states["absent"],
            "blank": tally.states["blank"],
            "failed": tally.failed_count,
            "missing": sorted([c, r] for c, r, _ in tally.failed),
            "notes": [*self._service.notes, *notes],
        }
        write_tiles(out, work, self._service, self._plan, said, picture, report)
        if not tally.failed_count and not stays:
            store.delete()
        return Fetched(
            out,
            self._plan.count,
            tally.states["stored"],
            tally.states["absent"],
            tally.states["blank"],
            tuple(sorted(tally.failed)),
            tally.failed_count,
            tally.requests,
            (*self._service.notes, *notes),
        )

    def _ask(self, store: FetchStore, report: Report) -> None:
        """Ask for every tile that is not known yet, and keep what comes."""
        todo: queue.Queue[tuple[int, int] | None] = queue.Queue(4 * self._parallel)
        came: queue.Queue[tuple[int, int, Verdict] | BaseException] = queue.Queue()
        workers = [
            threading.Thread(target=self._work, args=(todo, came), daemon=True, name=f"fetch {i}")
            for i in range(self._parallel)
        ]
        for worker in workers:
            worker.start()
        batch: list[tuple[int, int, Verdict]] = []
        written = time.monotonic()
        zoom, total = self._plan.level.zoom, self._plan.count
        waiting = self._unknown(store)
        out = 0  # asked for and not yet answered
        ended = False
        try:
            while True:
                while not ended and out < 4 * self._parallel:
                    tile = next(waiting, None)
                    ended = tile is None
                    if tile is not None:
                        todo.put(tile)
                        out += 1
                if out == 0:
                    break
                with contextlib.suppress(queue.Empty):
                    item = came.get(timeout=0.1)
                    if isinstance(item, BaseException):
                        raise item
                    out -= 1
                    self._tally.add(*item)
                    if item[2].state in ("stored", "absent", "blank"):
                        batch.append(item)
                    self._give_up()
                now = time.monotonic()
                if len(batch) >= _BATCH or (batch and now - written > _BATCH_S):
                    store.put(zoom, batch)
                    batch, written = [], now
                report(sum(self._tally.states.values()), total, f"fetching tiles from {self._host}")
        finally:
            self._stop.set()
            for _ in workers:
                with contextlib.suppress(queue.Full):
                    todo.put_nowait(None)
            if batch:
                store.put(zoom, batch)
            # Who still waits for an answer is not waited for: nothing it does is seen any more.
            for door in self._doors:
                door.close()
            for worker in workers:
                worker.join(_LEAVING_S / len(workers))
        if self._over is not None:
            raise self._over

    def _unknown(self, store: FetchStore) -> Iterator[tuple[int, int]]:
        """Tiles to ask for, in order; those known are counted instead."""
        for row, first, last in self._plan.spans.tolist():
            known = store.known(self._plan.level.zoom, row, first, last)
            self._tally.states.update(known.values())
            for column in range(first, last + 1):
                if column not in known:
                    yield column, row

    def _work(self, todo: queue.Queue[Any], came: queue.Queue[Any]) -> None:
        try:
            with Door(self._allowed, self._limits) as door:
                self._doors.append(door)
                while not self._stop.is_set():
                    tile = todo.get()
                    if tile is None:
                        return
                    came.put((*tile, self._tile(door, *tile)))
        except Stopped:
            return
        except BaseException as error:
            came.put(error)

    def _tile(self, door: Door, column: int, row: int) -> Verdict:
        """One tile, asked for again where that may help."""
        level, patience = self._plan.level, self._patience
        url = self._service.address(level, column, row)
        verdict = Verdict("failed")
        for tried in range(1, patience.tries + 1):
            self._pace.wait()
            with self._lock:
                self._tally.requests += 1
            asked = None
            try:
                answer = door.get(url)
                verdict = judge(answer, level, self._service.exact_size)
                if answer.status in (429, 503):
                    asked = retry_after(answer.headers.get("retry-after"))
            except NoAnswer as error:
                verdict = Verdict("failed", why=str(error), again=True)
            except BadAnswer as error:
                return Verdict("failed", why=str(error))
            if not verdict.again:
                return verdict
            if asked is not None and asked > patience.longest_asked_s:
                self._end(
                    f"asks to wait for {asked:,.0f} s", "Run this again later: it goes on from here"
                )
                return verdict
            if tried < patience.tries:
                wait = max(asked or 0.0, patience.wait_s(tried))
                if asked is not None or answer_is_too_many(verdict):
                    self._pace.pause(wait)
                self._pace.sleep(wait)
        if answer_is_too_many(verdict):
            self._end(
                "was asked too often (429)",
                "Run this again later with a lower --rate: it goes on from here",
            )
        return verdict

    def _give_up(self) -> None:
        """End the work when nothing but blows come."""
        tally, patience = self._tally, self._patience
        good = sum(tally.states[state] for state in ("stored", "blank", "absent"))
        # A few are refused where a server keeps its gaps secret; none but refusals is another thing.
        most = 10 * patience.blows if good else min(5, patience.blows)
        if tally.row_of_blows >= most:
            why = tally.failed[-1][2] if tally.failed else "it failed"
            refused = tally.states["refused"] >= tally.states["failed"]
            self._end(
                f"{'refuses' if refused else 'does not serve'} its tiles: {why}",
                "Check that its terms allow this, and its address",
            )
        if self._over is not None:
            raise self._over

    def _end(self, what: str, remedy: str) -> None:
        kept = self._tally.states["stored"]
        said = f"; {kept:,} tiles came before and are kept" if kept else ""
        with self._lock:
            self._over = self._over or ServerRefusal(f"{self._host} {what}{said}", None, remedy)
        self._stop.set()

    def _counts(self) -> str:
        states = self._tally.states
        words = {
            "absent": "not there",
            "blank": "of one colour or transparent",
            "refused": "refused",
            "failed": "failed",
        }
        parts = [f"{states[state]:,} {text}" for state, text in words.items() if states[state]]
        common = self._tally.reasons.most_common(1)
        why = f" (mostly: {common[0][0]})" if common else ""
        return f"of {self._plan.count:,} tiles {', '.join(parts)}{why}"

    def _check_same(self, store: FetchStore) -> list[str]:
        """Servers send one and the same picture where they have nothing: that is not imagery."""
        count, most = store.sameness(self._plan)
        if count >= _SUSPICIOUS and most == count:
            raise ServerRefusal(
                f"{self._host} sent the same picture for all {count:,} tiles: it has no imagery there",
                None,
                "Try a lower zoom; nothing was written",
            )
        if most > max(_SUSPICIOUS, count // 20):
            return [
                f"{most:,} of {count:,} tiles are one and the same picture: perhaps the server's sign for nothing"
            ]
        return []


def answer_is_too_many(verdict: Verdict) -> bool:
    """Whether a server says that it is asked too often."""
    return verdict.state == "refused" and verdict.again
