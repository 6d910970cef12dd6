"""Processes that outlive the window: starting one, knowing it again later, ending it with all it started.

A process id is used again by the system sooner or later, so a process is known by its id and the moment it began
(its *mark*). What it starts inherits the environment variable ``NADIR_RUN``, by which its whole family is found even
after parents have died or children have made sessions of their own, as torchrun's do. No Qt here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TOKEN = "NADIR_RUN"
_WINDOWS_FLAGS = (
    subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    if sys.platform == "win32"
    else 0
)
_LINUX = sys.platform.startswith("linux")


def start(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    errors: Path,
    output: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that nothing that happens to us happens to it.

    Args:
        folder: where it runs.
        environment: added to ours.
        errors: a file at whose end its standard error goes.
        output: a file at whose end its standard output goes; None: nowhere.
    """
    with open(errors, "ab") as file, open(output or os.devnull, "ab") as told:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=file,
            creationflags=_WINDOWS_FLAGS,
            start_new_session=sys.platform != "win32",
        )
    return process


def mark_of(pid: int) -> str:
    """When a process began, as this system tells it; empty where there is none (or only its remains)."""
    if pid <= 0:
        return ""
    if _LINUX:
        fields = _stat(pid)
        if not fields or fields[0] in "ZX":
            return ""
        with contextlib.suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{boot}/{fields[19]}"
        return fields[19]
    if sys.platform == "win32":
        return _windows_mark(pid)
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return told[1].strip() if len(told) == 2 and not told[0].startswith("Z") else ""


def lives(pid: int, mark: str) -> bool:
    """Whether the very process that was started is still there."""
    return bool(mark) and mark_of(pid) == mark


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 1 :].split()


def _windows_mark(pid: int) -> str:
    told = subprocess.run(
        ["wmic", "process", "where", f"ProcessId={pid}", "get", "CreationDate", "/value"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return told.partition("=")[2].strip()


def family(token: str, pid: int = 0, mark: str = "") -> list[int]:
    """The living processes that belong to a run: who bears its token, and all that descend from them.

    Args:
        token: what stands in their environment; nothing is found by an empty one.
        pid, mark: the process that was started. It counts only while it is that very process, so that a number which
            the system gave to somebody else never leads to strangers.
    """
    parents = _parents()
    found = {pid} if pid > 1 and lives(pid, mark) else set()
    if _LINUX and token:
        wanted = f"{TOKEN}={token}".encode()
        for other in parents:
            with contextlib.suppress(OSError):
                if wanted in Path(f"/proc/{other}/environ").read_bytes().split(b"\0"):
                    found.add(other)
    more = bool(found)
    while more:
        children = {child for child, parent in parents.items() if parent in found} - found
        found |= children
        more = bool(children)
    return sorted(found - _never(parents))


def _never(parents: dict[int, int]) -> set[int]:
    """Who is never ended, whatever was found: the system's first processes, we ourselves and those we descend from."""
    never, at = {0, 1, 2}, os.getpid()
    while at > 2 and at not in never:
        never.add(at)
        at = parents.get(at, 0)
    return never


def _parents() -> dict[int, int]:
    """Parent of every living process that may be looked at."""
    if _LINUX:
        told = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = _stat(int(entry))
                if fields and fields[0] not in "ZX":
                    told[int(entry)] = int(fields[1])
        return told
    if sys.platform == "win32":
        command = ["wmic", "process", "get", "ParentProcessId,ProcessId"]
        reverse = True
    else:
        command = ["ps", "-A", "-o", "pid=,ppid="]
        reverse = False
    told = {}
    for line in subprocess.run(
        command, capture_output=True, text=True, check=False
    ).stdout.splitlines():
        numbers = [int(word) for word in line.split() if word.isdigit()]
        if len(numbers) == 2:
            child, parent = numbers[::-1] if reverse else numbers
            told[child] = parent
    return told


def interrupt(pid: int, mark: str) -> None:
    """Ask one process to stop, as Ctrl+C in a terminal would."""
    if sys.platform != "win32" and lives(pid, mark):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGINT)


def end(token: str, pid: int = 0, mark: str = "", *, wait_s: float = 5.0) -> bool:
    """End a run's whole :func:`family` at once; returns whether nothing of it is left."""
    deadline = time.monotonic() + wait_s
    while left := family(token, pid, mark):
        for member in left:
            with contextlib.suppress(OSError):
                os.kill(member, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
