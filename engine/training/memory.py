"""The memory of a training: keeping what is freed instead of giving it back at once, and how much was in use."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_peak = 0


def keep_memory() -> bool:
    """Tell glibc to hold on to large blocks; whether that worked (on other systems nothing happens).

    A training step allocates and frees the same few hundred megabytes. By default every large block is mapped and
    unmapped anew, and the kernel clears each page again: measured at 43,000 page faults and a tenth of a step's
    processor time, against 3,000 and a fiftieth so.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 << 20, _M_ARENA_MAX: 1}
    return all([bool(mallopt(*setting)) for setting in settings.items()])  # noqa: C419 - every one is made


def peak_bytes() -> int:
    """The most memory that this process and its workers have been seen to hold; 0 where the system does not say.

    Pages of files that are mapped (the towns' pictures) do not count where the system tells them apart: they are the
    system's cache, which gives them up whenever somebody needs the room.
    """
    global _peak
    own = _held("self")
    if own is None:
        return _resident_peak()
    workers = (_held(str(process.pid)) for process in multiprocessing.active_children())
    _peak = max(_peak, own + sum(held or 0 for held in workers))
    return _peak


def _held(process: str) -> int | None:
    """Bytes that a process alone holds now; None where the system does not say, or the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines()
        sizes = [line.split()[1] for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
        return 1024 * sum(map(int, sizes)) if sizes else None
    except (OSError, ValueError, IndexError):
        return None


def _resident_peak() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(each).ru_maxrss for each in who) * unit
