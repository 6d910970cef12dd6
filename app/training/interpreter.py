"""The Python that trains: finding one that has what training needs, asking it, running its tools. No widgets here.

The window never imports torch. Whatever needs it is a short program of ``engine.training.probe`` or the command line,
run by an interpreter that has it: this one, the checkout's own environment, or one the user chose.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.training import processes
from engine.errors import TrainingError
from engine.progress import Report
from engine.shipped import engine_source, frozen_folder, training_packages
from engine.training_python import (
    lacks,
    own_environment,
    python_in,
    pythons_on_path,
    surroundings,
)

_POLL_S = 0.05
_STDERR_LINES = 40


@dataclass(frozen=True)
class Device:
    """Something to compute on. Memory in bytes; 0 where that is not known."""

    name: str
    title: str
    free: int = 0
    total: int = 0

    @property
    def gpu(self) -> bool:
        return self.name != "cpu"


@dataclass(frozen=True)
class Interpreter:
    """A Python that can train."""

    path: Path
    torch: str
    devices: tuple[Device, ...]


def candidates(chosen: str) -> list[Path]:
    """Interpreters worth asking, in order.

    The frozen program is no Python that can train: there it is the one that was set up for it, else what the PATH has.
    """
    if chosen:
        return [Path(chosen)]
    if frozen_folder() is None:
        places = [Path(sys.executable)]
        places += [
            engine_source() / ".venv" / name for name in ("bin/python", "Scripts/python.exe")
        ]
    else:
        places = [python_in(own_environment()), *pythons_on_path()]
    return list(dict.fromkeys(path for path in places if path.is_file()))


def environment(token: str = "") -> dict[str, str]:
    """What is added to the environment of an interpreter: where the engine lies, and whose child it is."""
    values = surroundings()
    if token:
        values[processes.TOKEN] = token
    return values


def folder_to_run_in() -> Path:
    """Where tools are started: beside the engine."""
    return engine_source()


class MissingError(TrainingError):
    """No interpreter can train; ``lacks`` are the modules it does not have, ``python`` the best one there is."""

    def __init__(
        self, problem: str, python: Path | None, lacks: Sequence[str], remedy: str
    ) -> None:
        super().__init__(problem, python, remedy)
        self.python = python
        self.lacks = tuple(lacks)


def find_interpreter(chosen: str, report: Report) -> Interpreter:
    """The first interpreter that has all that is needed, and its devices.

    Raises:
        MissingError: what is missing where.
    """
    best: MissingError | None = None
    tried = candidates(chosen)
    for at, path in enumerate(tried):
        report(at, len(tried), "")
        lacking = lacks(path)
        if lacking == ():
            return ask_devices(path, report)
        if lacking is None:
            error = MissingError("is no Python that can be started", path, (), "Choose another one")
        else:
            error = MissingError(f"lacks {', '.join(lacking)}", path, lacking, "")
        best = best or error
    if best is None:
        best = MissingError("no Python for training is known", None, ("torch",), "")
    raise best


def install_command(python: Path | None) -> str:
    """What to type so that an interpreter can train."""
    quoted = f'"{python}"' if python and " " in str(python) else str(python or "python3")
    return f"{quoted} -m pip install {training_packages()}"


def ask_devices(python: Path, report: Report) -> Interpreter:
    """What an interpreter can compute on."""
    for event in probe(python, ["devices"], report):
        if event["event"] == "devices":
            listed = tuple(
                Device(
                    str(raw["name"]),
                    str(raw["title"]),
                    int(raw.get("free_bytes") or 0),
                    int(raw.get("total_bytes") or 0),
                )
                for raw in event["devices"]
            )
            return Interpreter(python, str(event["torch"]), listed)
    raise TrainingError("did not say what it can compute on", python, "Choose another Python")


def probe(python: Path, arguments: Sequence[str], report: Report) -> Iterator[dict[str, Any]]:
    """Run ``engine.training.probe`` and give its events as they come.

    Raises:
        TrainingError: what it said went wrong, or the end of what it wrote when it broke.
    """
    yield from run_tool([str(python), "-m", "engine.training.probe", *arguments], report)


def run_tool(
    command: Sequence[str], report: Report, *, said: Callable[[str], object] | None = None
) -> Iterator[dict[str, Any]]:
    """Run a tool that speaks JSON lines. Cancelling ends its whole family.

    Args:
        said: told the other lines that it prints, which are passed over otherwise.
    """
    # A tool that is cut off cannot take its scratch away: it gets a folder that is taken away for it.
    with tempfile.TemporaryDirectory(prefix="nadir-tool-", ignore_cleanup_errors=True) as scratch:
        yield from _run_tool(command, report, scratch, said)


def _run_tool(
    command: Sequence[str], report: Report, scratch: str, said: Callable[[str], object] | None
) -> Iterator[dict[str, Any]]:
    token = f"tool-{os.getpid()}-{time.monotonic_ns()}"
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder_to_run_in(),
            env={
                **os.environ,
                **environment(token),
                **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise TrainingError(
            f"cannot be started ({error.strerror})", command[0], "Choose another Python"
        ) from error
    mark = processes.mark_of(process.pid)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    complaints: deque[str] = deque(maxlen=_STDERR_LINES)
    assert process.stdout is not None and process.stderr is not None
    out, err = process.stdout, process.stderr
    readers = [
        threading.Thread(target=_pass_on, args=(out, lines.put), daemon=True),
        threading.Thread(target=_pass_on, args=(err, complaints.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    problem: TrainingError | None = None
    try:
        while True:
            report(0, 0, "")
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=_POLL_S)
                if line is None:
                    break
                event = _event(line)
                if event is None:
                    if said is not None:
                        said(line)
                    continue
                if event["event"] == "error":
                    remedy = str(event.get("remedy") or "")
                    problem = TrainingError(str(event.get("problem")), event.get("file"), remedy)
                else:
                    yield event
        code = process.wait()
        readers[1].join(1.0)
        if problem is not None:
            raise problem
        if code:
            raise broken("\n".join(complaints), code)
    finally:
        if process.poll() is None:
            processes.end(token, process.pid, mark)
        process.wait()
        for reader in readers:
            reader.join(1.0)
        out.close()
        err.close()


def _pass_on(stream: Any, take: Callable[[Any], object]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            take(line.rstrip("\n"))
    take(None if take.__name__ == "put" else "")


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def broken(complaints: str, code: int) -> TrainingError:
    """What a tool that ended badly left behind: ``nadir: ...`` where it said so itself, else its last line."""
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("nadir: "):
            problem = line.removeprefix("nadir: ").rstrip(".")
            # A file that is named first is the file: its name stays as it is written.
            name, told, rest = problem.partition(": ")
            if told and Path(name).suffix:
                return TrainingError(rest, name)
            return TrainingError(problem)
    last = lines[-1] if lines else ""
    why = f": {last}" if last else ""
    return TrainingError(f"it ended with {exit_words(code)}{why}")


def exit_words(code: int) -> str:
    """An exit code as people say it."""
    if code < 0:
        import signal

        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        killed = {"SIGKILL": "killed, perhaps for want of memory", "SIGSEGV": "crashed"}
        return f"signal {name} ({killed[name]})" if name in killed else f"signal {name}"
    return f"exit code {code}"
