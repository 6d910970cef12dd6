"""Being asked from outside to stop or to pause: two files in the run's folder, and the signals of a terminal.

``RUN/stop``, SIGINT and SIGTERM ask for the same: finish the step, write a checkpoint, say ``stopped``, end with exit
code 130. ``RUN/pause`` asks to write a checkpoint, say ``paused`` and hold until the file is gone. Files, because they
work on every system, reach a run that another program started, and are seen by every rank that shares the folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Literal

STOP, PAUSE = "stop", "pause"
STARTED_BY_WINDOW = "NADIR_RUN"
POLL_S = 0.2

Wish = Literal["go", "pause", "stop"]


class Control:
    """What somebody outside wants of a training. Asking costs two looks at the file system."""

    def __init__(self, folder: Path) -> None:
        self._stop, self._pause = folder / STOP, folder / PAUSE
        self._signalled = False

    def clear(self) -> None:
        """Forget what was asked of an earlier sitting.

        A window that starts a training has done so before: what stands there then was asked of this sitting, while
        it was still being loaded.
        """
        if os.environ.get(STARTED_BY_WINDOW):
            return
        for file in (self._stop, self._pause):
            file.unlink(missing_ok=True)

    def wanted(self) -> Wish:
        """What is wanted now; stopping goes before pausing."""
        if self._signalled or self._stop.exists():
            return "stop"
        return "pause" if self._pause.exists() else "go"

    def hold(self, poll_s: float = POLL_S) -> float:
        """Wait for as long as a pause is wanted; returns the seconds that took."""
        start = time.perf_counter()
        while self.wanted() == "pause":
            time.sleep(poll_s)
        return time.perf_counter() - start

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Within the block the first SIGINT or SIGTERM is a wish to stop; a second SIGINT interrupts at once.

        Only the main thread can take signals; in another one nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heed(number: int, frame: FrameType | None) -> None:
            if self._signalled and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._signalled = True

        before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
