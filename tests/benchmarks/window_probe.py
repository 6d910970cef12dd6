"""The application itself, started as ever, with a stopwatch on its own signals.

Run by :mod:`tests.benchmarks.bench_spine` as a process of its own. It writes JSON lines, one an event:
``usable``, ``demo``, ``rest``, one ``answer`` for every drop, ``watched`` before the drops that are watched for
memory, ``done``. Times are seconds; those of the start count from the moment the process was launched.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, QObject, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication

import app.main as program
from app.photos import Stage

PATIENCE_MS = 60_000
SETTLE_MS = 3_000  # after loading, before memory at rest is looked at
PAUSE_MS = 1_500  # between drops: evidence and tiles come after the answer


def say(event: str, **facts: Any) -> None:
    """Tell the parent."""
    print(json.dumps({"event": event, **facts}), flush=True)


class Probe(QObject):
    """Watches a window from its making to its end, and drops photos on it."""

    def __init__(self, launched_ns: int, drops: list[Path], watched: list[Path]) -> None:
        super().__init__()
        self._launched = launched_ns
        self._drops, self._watched = list(drops), list(watched)
        self._window: Any = None
        self._painted = self._begun = self._usable = self._rested = False
        self._path: Path | None = None
        self._dropped = self._last_beat = 0.0
        self._stall = 0.0
        self._beat = QTimer(self)
        self._beat.setInterval(5)
        self._beat.timeout.connect(self._on_beat)

    def _since_launch(self) -> float:
        return (time.monotonic_ns() - self._launched) / 1e9

    def attach(self, window: Any) -> None:
        """Begin with a window that is made and not shown yet."""
        self._window = window
        window.centralWidget().installEventFilter(self)
        session = window.session
        session.bench.ready.connect(self._ready)
        session.answer_changed.connect(self._answer_changed)
        session.evidence_changed.connect(self._evidence_changed)
        QTimer.singleShot(PATIENCE_MS * 5, lambda: self._give_up("took too long"))

    def begun(self) -> None:
        """The window's own start is done."""
        self._begun = True
        self._mark_usable()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """See the first paint."""
        if event.type() == QEvent.Type.Paint and not self._painted:
            self._painted = True
            QTimer.singleShot(0, self._mark_usable)  # after it was painted
        return super().eventFilter(watched, event)

    def _mark_usable(self) -> None:
        if self._painted and self._begun and not self._usable:
            self._usable = True
            say("usable", seconds=self._since_launch())
            self._last_beat = time.monotonic()
            self._beat.start()

    def _on_beat(self) -> None:
        now = time.monotonic()
        self._stall = max(self._stall, now - self._last_beat - 0.005)
        self._last_beat = now

    def _ready(self) -> None:
        if not self._rested:
            self._rested = True
            say("demo", seconds=self._since_launch())
            QTimer.singleShot(SETTLE_MS, self._at_rest)

    def _at_rest(self) -> None:
        say("rest", stall=self._stall)
        QTimer.singleShot(SETTLE_MS // 2, self._next)

    def _next(self) -> None:
        if self._drops:
            self._drop(self._drops.pop(0))
        elif self._watched:
            say("watched")
            self._drops, self._watched = self._watched, []
            QTimer.singleShot(PAUSE_MS, self._next)
        else:
            say("done")
            self._window.close()

    def _drop(self, path: Path) -> None:
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        middle = self._window.rect().center()
        copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        plain = Qt.KeyboardModifier.NoModifier
        # Qt delivers a drop to the widget that was entered.
        QApplication.sendEvent(self._window, QDragEnterEvent(middle, copy, mime, left, plain))
        self._path, self._stall = path, 0.0
        self._dropped = time.monotonic()
        QApplication.sendEvent(self._window, QDropEvent(QPointF(middle), copy, mime, left, plain))

    def _answer_changed(self) -> None:
        item = self._window.session.current
        if item is None or self._path is None or item.source != self._path:
            return
        if Stage.FAILED in (item.stage, item.answer.stage):
            self._give_up(str(item.error or item.answer.error))
        elif item.answer.stage == Stage.READY:
            self._path = None
            # Twice through the event loop: the panels that heard of the answer have been painted then.
            QTimer.singleShot(0, lambda: QTimer.singleShot(0, self._shown))

    def _shown(self) -> None:
        say("answer", seconds=time.monotonic() - self._dropped, stall=self._stall)
        QTimer.singleShot(PAUSE_MS, self._next)

    def _evidence_changed(self) -> None:
        answer = self._window.session.answer
        if self._dropped and answer.rank in answer.evidence:
            say("evidence", seconds=time.monotonic() - self._dropped)

    def _give_up(self, why: str) -> None:
        say("failed", why=why)
        self._window.close()


def main() -> int:
    """Run the application under the stopwatch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--launched-ns", type=int, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--drop", type=Path, action="append", default=[])
    parser.add_argument("--watched", type=Path, action="append", default=[])
    options = parser.parse_args()
    probe: list[Probe] = []
    make_window, begin = program.make_window, program.begin

    def watched_window(*arguments: Any) -> Any:
        window = make_window(*arguments)
        probe.append(Probe(options.launched_ns, options.drop, options.watched))
        probe[0].attach(window)
        return window

    def watched_begin(*arguments: Any) -> None:
        begin(*arguments)
        probe[0].begun()

    program.make_window, program.begin = watched_window, watched_begin
    return program.main(["--encoder", str(options.encoder), "--index", str(options.index)])


if __name__ == "__main__":
    sys.exit(main())
