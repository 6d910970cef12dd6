"""Running a helper program while its words are read, and ending it with us."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def run_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Callable[[float], None],
    cwd: Path | None = None,
    keep_open: Sequence[int] = (),
) -> int:
    """Run ``command`` to its end and return its exit status.

    Args:
        command: program and arguments.
        env: its whole environment.
        on_line: gets every line it writes, standard output and error in one.
        on_tick: gets the seconds since the start, a few times a second.
        cwd: its working folder.
        keep_open: file descriptors it holds on to (POSIX), so that a lock outlives us with it.

    Whatever ends this call early, Ctrl-C above all, ends the child first.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        pass_fds=tuple(keep_open),
        encoding="utf-8",
        errors="replace",
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        for text in child.stdout:
            lines.put(text.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    start = time.monotonic()
    try:
        while True:
            try:
                text = lines.get(timeout=0.25)
            except queue.Empty:
                on_tick(time.monotonic() - start)
                continue
            if text is None:
                return child.wait()
            on_line(text)
    finally:
        stop(child)


def stop(child: subprocess.Popen[str] | subprocess.Popen[bytes], patience_s: float = 3.0) -> None:
    """Make sure a child has ended: it may have heard Ctrl-C itself, so wait, then ask, then insist."""
    for ask in (None, child.terminate, child.kill):
        if child.poll() is not None:
            return
        if ask is not None:
            ask()
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
