"""Setting up a Python that can train, where the frozen program finds none: the commands, and running them.

The program carries no PyTorch, which is larger than all the rest of it. A virtual environment of a Python that the
system has gets it, in the versions Nadir is tested with. Only on request: it takes the network.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

from app.training import processes
from app.training.interpreter import environment, own_environment, python_in, pythons_on_path
from engine.errors import TrainingError
from engine.progress import Report
from engine.shipped import training_requirements

ROOM = 4 * 10**9  # bytes, less than PyTorch with CUDA needs and more than without
_CAN_MAKE = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_POLL_S = 0.1
_LAST_LINES = 12


def base_python() -> Path | None:
    """A Python of the system that can make an environment to train in; takes a moment."""
    for path in pythons_on_path():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [str(path), "-I", "-c", _CAN_MAKE],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=30,
                check=False,
            )
            if done.returncode == 0:
                return path
    return None


def commands(base: Path, folder: Path | None = None) -> list[list[str]]:
    """What sets it up, one after the other.

    Raises:
        TrainingError: this program carries no list of what is needed.
    """
    needs = training_requirements()
    if needs is None:
        raise TrainingError("this copy of Nadir carries no list of what training needs")
    folder = own_environment() if folder is None else folder
    pip = [str(python_in(folder)), "-m", "pip", "install", "--progress-bar", "off"]
    return [
        [str(base), "-m", "venv", "--clear", str(folder)],
        [*pip, "--no-input", "--disable-pip-version-check", "-r", str(needs)],
    ]


def shown(steps: list[list[str]]) -> str:
    """Commands as one would type them."""
    if sys.platform == "win32":
        return "\n".join(subprocess.list2cmdline(step) for step in steps)
    return "\n".join(shlex.join(step) for step in steps)


def set_up(steps: list[list[str]], folder: Path, report: Report) -> Path:
    """Run the commands; returns the Python. What was begun is taken away when that fails or is cancelled.

    Raises:
        TrainingError: one of them failed, with the end of what it said.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < ROOM:
        raise TrainingError(
            f"{free / 1e9:.1f} GB are free, and PyTorch needs about {ROOM / 1e9:.0f}",
            folder.parent,
            "Make room there and try again",
        )
    whole = False
    try:
        for number, step in enumerate(steps):
            _run(step, lambda text, number=number: report(number, len(steps), text))
        whole = True
    finally:
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
    return python_in(folder)


def _run(command: list[str], tell) -> None:
    token = f"set-up-{secrets.token_hex(6)}"
    values = environment(token)
    values.pop("PYTHONPATH")
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
                    text = line.strip()
                    last.append(text)
        if process.wait():
            why = next((line for line in reversed(last) if "rror" in line), "") or (
                last[-1] if last else f"exit code {process.returncode}"
            )
            raise TrainingError(
                f"setting up Python for training failed: {why[:300]}",
                None,
                "Check the network and try again, or run the commands in a terminal to see more",
            )
    finally:
        if process.poll() is None:
            processes.end(token, process.pid, mark)
        process.wait()
        reader.join(1.0)
        out.close()


def _read(stream, lines: queue.SimpleQueue[str | None]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            lines.put(line.rstrip("\n"))
    lines.put(None)
