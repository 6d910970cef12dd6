"""Setting up a Python that can train, where the frozen program finds none: the commands, and running them.

The program carries no PyTorch, which is larger than all the rest of it. A virtual environment of a Python that the
system has gets it, in the versions Nadir is tested with. Only on request: it takes the network.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from PySide6.QtCore import QCoreApplication

from app.training import processes
from app.training.interpreter import environment
from engine.errors import TrainingError
from engine.progress import Report
from engine.training_python import check_room, python_in

translate = QCoreApplication.translate
_POLL_S = 0.1
_LAST_LINES = 12
_LONGEST = 120
_NO_NETWORK = re.compile(
    r"Retrying \(Retry\(|NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError"
    r"|Max retries exceeded|[Nn]ame resolution|Network is unreachable|Connection (refused|broken|reset)"
)
_NOTHING_FOUND = re.compile("No matching distribution|Could not find a version")


def nvidia_driver() -> bool:
    """Whether this computer has NVIDIA's driver, without which their libraries are no use."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def set_up(steps: list[list[str]], folder: Path, report: Report) -> Path:
    """Run the commands; returns the Python. What was begun is taken away when that fails or is cancelled.

    Everything that they say is kept in :func:`log_of`.

    Raises:
        TrainingError: one of them failed, with the end of what it said.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_room(folder.parent)
    whole = False
    # pip unpacks gigabytes on its way. They go where they are taken away with the rest, whatever ends it.
    scratch = folder / "unpacking"
    try:
        with open(log_of(folder), "w", encoding="utf-8") as told:
            for number, step in enumerate(steps):
                made = number > 0 and folder.is_dir()  # the first step makes it, and empties it
                if made:
                    scratch.mkdir(exist_ok=True)
                _run(
                    step,
                    scratch if made else None,
                    told,
                    lambda text, number=number: report(number, len(steps), text),
                )
        whole = True
    finally:
        shutil.rmtree(scratch if whole else folder, ignore_errors=True)
    return python_in(folder)


def log_of(folder: Path) -> Path:
    """Where all that was said while a Python was set up is kept: beside it."""
    return folder.with_name(f"{folder.name}.log")


def plain(line: str) -> str:
    """A line of pip's for people: no addresses, no paths, no more than a line or two."""
    if _NO_NETWORK.search(line):
        return translate("Training", "The package index cannot be reached; trying again…")
    short = re.sub(r"\s*\(from .*", "", line)
    short = re.sub(r"\S*[/\\](\S+)", r"\1", short)
    return short if len(short) <= _LONGEST else f"{short[: _LONGEST - 1]}…"


def _run(
    command: list[str], scratch: Path | None, told: TextIO, tell: Callable[[str], object]
) -> None:
    token = f"set-up-{secrets.token_hex(6)}"
    values = environment(token)
    values.pop("PYTHONPATH")
    if scratch is not None:
        values |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    kept = {
        name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    try:
        process = subprocess.Popen(
            command,
            env={**kept, **values},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise TrainingError(f"cannot be started ({error.strerror})", command[0]) from error
    mark = processes.mark_of(process.pid)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    cut_off = False
    out = process.stdout
    assert out is not None
    reader = threading.Thread(target=_read, args=(out, lines), daemon=True)
    reader.start()
    text = ""
    try:
        while True:
            tell(text)
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=_POLL_S)
                if line is None:
                    break
                if line.strip():
                    told.write(f"{line}\n")
                    told.flush()
                    cut_off = cut_off or bool(_NO_NETWORK.search(line))
                    text = plain(line.strip())
                    last.append(line.strip())
        if process.wait():
            raise _failed(list(last), process.returncode, cut_off, Path(told.name))
    finally:
        if process.poll() is None:
            processes.end(token, process.pid, mark)
        process.wait()
        reader.join(1.0)
        out.close()


def _failed(last: list[str], code: int, cut_off: bool, log: Path) -> TrainingError:
    """Why a command failed, by the end of what it said."""
    why = next((line for line in reversed(last) if "rror" in line), "") or (
        last[-1] if last else f"exit code {code}"
    )
    if _NO_NETWORK.search(why) or (cut_off and _NOTHING_FOUND.search(why)):
        return TrainingError(
            "setting up Python for training failed: the package index cannot be reached",
            None,
            "Connect this computer to the network, or tell pip of your own index or proxy "
            f"(PIP_INDEX_URL, HTTPS_PROXY), and try again. What pip said is in {log}",
        )
    return TrainingError(
        f"setting up Python for training failed: {plain(why)}",
        None,
        "Check the network and try again, or run the commands in a terminal to see more. "
        f"What was said is in {log}",
    )


def _read(stream: TextIO, lines: queue.SimpleQueue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            lines.put(line.rstrip("\n"))
    lines.put(None)
