"""Words and progress on standard error; standard output belongs to the program that is started."""

from __future__ import annotations

import shutil
import time
from typing import TextIO


class Console:
    """Lines for people, and on a terminal one line that is overwritten while something goes on.

    Away from a terminal the moving line becomes an ordinary one, at most every ten seconds.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._open = False  # is a moving line standing there
        self._last = 0.0

    def line(self, text: str) -> None:
        """Say something that stays."""
        self._wipe()
        print(text, file=self._stream, flush=True)
        self._last = time.monotonic()

    def moving(self, text: str) -> None:
        """Say how far something is."""
        now = time.monotonic()
        if self._live:
            if now - self._last < 0.08:
                return
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\033[K" + text[:width])
            self._stream.flush()
            self._open = True
            self._last = now
        elif now - self._last >= 10.0:
            self.line(text)

    def _wipe(self) -> None:
        if self._open:
            self._stream.write("\r\033[K")
            self._open = False


def bytes_text(count: float) -> str:
    """A size for people: ``512 kB``, ``171 MB``, ``1.4 GB``."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    if count >= 1e6:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB"


def seconds_text(seconds: float) -> str:
    """A duration for people: ``0.3 s``, ``45 s``, ``3 min 20 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
