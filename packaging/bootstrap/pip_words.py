"""What pip writes, told again as progress."""

from __future__ import annotations

import re
import time

from bootstrap.console import Console, bytes_text, seconds_text

_DOWNLOAD = re.compile(r"\s*Downloading (?:\S*/)?(?P<file>[^/\s]+) \((?P<size>[^)]+)\)")
_KEPT = re.compile(r"\s*(?:Using cached|Processing) (?:\S*/)?(?P<file>[^/\s]+)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


class PipWords:
    """Hears pip line by line and keeps the console moving.

    ``raw`` says whether this pip (24.1 or newer) can count bytes.
    """

    def __init__(self, console: Console, *, raw: bool) -> None:
        self.raw = raw
        self.said: list[str] = []
        self._console = console
        self._fetched = 0
        self._now = "asking the package index"
        self._since = time.monotonic()

    def hear(self, text: str) -> None:
        """Take one line of pip's."""
        progress = _PROGRESS.match(text)
        if progress:
            done, total = (int(n) for n in progress.groups())
            self._console.moving(f"      {self._now}: {bytes_text(done)} of {bytes_text(total)}")
            return
        self.said.append(text)
        download = _DOWNLOAD.match(text)
        kept = _KEPT.match(text)
        if download and not download["file"].endswith(".metadata"):
            self._fetched += 1
            self._step(
                f"[{self._fetched}] downloading {_library(download['file'])} ({download['size']})"
            )
        elif kept:
            self._fetched += 1
            self._step(f"[{self._fetched}] from the cache: {_library(kept['file'])}")
        elif text.startswith("Installing collected packages:"):
            count = text.count(",") + 1
            many = f" {count} libraries; the large ones take a while" if count > 1 else ""
            self._step(f"unpacking{many}")
        elif text.startswith("Collecting "):
            self._step(f"looking up {text.split()[1].split('=')[0].split('<')[0].split('>')[0]}")

    def tick(self, _seconds: float) -> None:
        """Let time show while pip is silent."""
        passed = time.monotonic() - self._since
        if passed > 1.0:
            self._console.moving(f"      {self._now} ({seconds_text(passed)})")

    def _step(self, text: str) -> None:
        self._now = text
        self._since = time.monotonic()
        self._console.moving(f"      {text}")


def _library(file: str) -> str:
    """``PySide6-6.12.0-cp310...whl`` -> ``PySide6 6.12.0``."""
    return " ".join(file.split("-")[:2]).removesuffix(".whl")
