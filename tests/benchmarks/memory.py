"""Memory of a program with all its child processes (the map's web engine runs in some)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Memory:
    """Megabytes (10^6 bytes).

    Attributes:
        rss: resident memory of the main process, libraries that others share included.
        pss: proportional set size of the whole tree: what shared pages cost is split among those who share.
        processes: how many there are.
    """

    rss: float
    pss: float
    processes: int


def memory_of(pid: int) -> Memory:
    """Look at a process tree now."""
    main = psutil.Process(pid)
    tree = [main, *main.children(recursive=True)]
    return Memory(main.memory_info().rss / 1e6, sum(map(_pss, tree)) / 1e6, len(tree))


def _pss(process: psutil.Process) -> float:
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        return (
            next(int(row.split()[1]) for row in text.splitlines() if row.startswith("Pss:")) * 1024
        )
    except (OSError, StopIteration):
        try:
            return process.memory_info().rss
        except psutil.NoSuchProcess:
            return 0.0


class PeakWatch(threading.Thread):
    """Looks at a process tree ten times a second while it is running; ``peak`` is the most it saw."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = Memory(0.0, 0.0, 0)
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        """Watch until told to stop or the program is gone."""
        while not self._done.wait(0.1):
            try:
                now = memory_of(self._pid)
            except psutil.NoSuchProcess:
                return
            self.peak = max(self.peak, now, key=lambda memory: memory.pss)

    def stop(self) -> Memory:
        """Stop watching; the peak."""
        self._done.set()
        self.join()
        return self.peak
