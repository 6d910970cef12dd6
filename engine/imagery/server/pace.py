"""How fast a server is asked: so many requests a second, and longer waits when it asks for them."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from dataclasses import dataclass


class Stopped(Exception):  # noqa: N818 - the work was given up, for a reason that is known elsewhere
    """Nobody waits for this any more."""


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for a server that falters.

    Args:
        tries: for one tile.
        first_wait_s: before the second try; twice as long before every further one.
        longest_wait_s: the longest of these.
        longest_asked_s: a longer wait than this that the server asks for ends the work.
        blows: ten times so many tiles refused, or failed, one after the other end the work; where none ever came,
            five.
    """

    tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_asked_s: float = 300.0
    blows: int = 20

    def wait_s(self, tried: int) -> float:
        """Before the next try, after ``tried`` of them; a random share less, so that connections do not keep step."""
        return min(self.first_wait_s * 2 ** (tried - 1), self.longest_wait_s) * random.uniform(
            0.75, 1
        )


class Pace:
    """Lets at most ``rate`` requests a second through, over all threads."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._step = 1.0 / rate
        self._stop = stop
        self._lock = threading.Lock()
        self._next = self._resume = 0.0

    def wait(self) -> None:
        """Wait for one's turn.

        Raises:
            Stopped: the work was given up meanwhile.
        """
        with self._lock:
            turn = max(self._next, self._resume, time.monotonic())
            self._next = turn + self._step
        # All may be asked to pause while they wait.
        while (left := max(turn, self._resume) - time.monotonic()) > 0:
            self.sleep(left)
        if self._stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Let nobody through for so long."""
        with self._lock:
            self._resume = max(self._resume, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; :class:`Stopped` when the work is given up."""
        if self._stop.wait(max(seconds, 0.0)):
            raise Stopped


def retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110 10.2.3); None where it asks for nothing."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        when = email.utils.parsedate_to_datetime(value)
        return max(when.timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
