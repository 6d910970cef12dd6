"""The words of ``python3 run.py``: open the window, run the tests, use the command line, repair."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from bootstrap import display, system
from bootstrap.child import stop
from bootstrap.console import Console, seconds_text
from bootstrap.environment import Environment, Kind, clean_environ, ensure, forget, is_ready
from bootstrap.trouble import Trouble, os_trouble

USAGE = """\
python3 run.py [PHOTO...]          open Nadir, on the demo that comes with it
python3 run.py test [--headed] [PYTEST ARGUMENTS]
                                   run the checks and tests; --headed shows the windows
python3 run.py nadir VERB ...      the command line: localize, index, evaluate, ... (--help lists them)
python3 run.py repair              look at the whole environment again and mend it

The first time, each installs what it needs into .venv in this folder and nowhere else.
"""
_TORCH_VERBS = ("train", "export", "import")
_PROBE = """\
import faiss, numpy, onnxruntime, rasterio
from PySide6 import QtWebEngineWidgets, QtWidgets
"""


def main(arguments: Sequence[str], root: str) -> int:
    """Do what ``run.py`` was asked to; returns the exit status where no program took over."""
    console = Console(sys.stderr)
    env = Environment(Path(root))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _dispatch(list(arguments), env, console)
    except Trouble as trouble:
        console.line(f"\nNadir cannot go on. {trouble}")
        return 1
    except OSError as error:
        console.line(f"\nNadir cannot go on. {os_trouble(error, env.root)}")
        return 1
    except KeyboardInterrupt:
        console.line("\nStopped. The same command goes on from here.")
        return 130


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _dispatch(arguments: list[str], env: Environment, console: Console) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if verb == "test":
        return _test(rest, env, console)
    if verb == "nadir" and rest:
        prepare(env, "train" if rest[0] in _TORCH_VERBS else "runtime", console, window=False)
        return _become(env, ["-m", "engine", *rest], os.environ)
    if verb == "repair":
        forget(env)
        prepare(env, "runtime", console)
        _try_out(env, console)
        console.line("The environment is whole.")
        return 0
    return _open_window([] if verb == "nadir" else arguments, env, console)


def prepare(env: Environment, kind: Kind, console: Console, *, window: bool = True) -> bool:
    """Have the system's libraries and the environment of ``kind``; whether anything had to be installed.

    What the system lacks comes first: who cannot install it should know before the large download.
    """
    start = time.monotonic()
    machine = system.this_system()
    is_new = not is_ready(env, kind)
    if is_new:
        sorts = {
            "runtime": "the libraries Nadir runs on",
            "train": "the libraries Nadir runs on, and PyTorch",
        }
        what = sorts.get(kind, "all that Nadir, its trainer and its tests use")
        console.line(f"[environment] .venv gets {what}.")
    others = system.venv_package(machine) if is_new else []
    if kind == "test" and machine.installs and shutil.which("Xvfb") is None:
        others.append(system.XVFB[0])
    missing = system.missing_libraries(os.environ, window=window)
    system.ensure_system(missing, others, machine, console)
    ensure(env, kind, console)
    if is_new:
        console.line(f"[environment] ready after {seconds_text(time.monotonic() - start)}.")
    return is_new


def _open_window(arguments: list[str], env: Environment, console: Console) -> int:
    start = time.monotonic()
    where = display.check_display(
        os.environ
    )  # first: nobody should wait for a window that cannot come
    if prepare(env, "runtime", console):
        _try_out(env, console)
    environ = {**os.environ, **_sandbox(system.this_system(), console)}
    passed = seconds_text(time.monotonic() - start)
    console.line(f"[start] environment checked in {passed}; opening Nadir on {where}.")
    return _become(env, ["-m", "app", *arguments], environ)


def _sandbox(machine: system.System, console: Console) -> dict[str, str]:
    obstacle = system.sandbox_obstacle(machine)
    if not obstacle or "QTWEBENGINE_DISABLE_SANDBOX" in os.environ:
        return {}
    console.line(
        f"[map] runs without Chromium's sandbox, because {obstacle}; it loads Nadir's own files only."
    )
    return {"QTWEBENGINE_DISABLE_SANDBOX": "1"}


def _try_out(env: Environment, console: Console) -> None:
    """Load the large libraries once, so that one that cannot be loaded is told of here and by name."""
    console.line("[libraries] trying Qt, its web engine, onnxruntime, faiss and rasterio.")
    done = subprocess.run(
        [env.python, "-c", _PROBE], env=clean_environ(env.root), capture_output=True, text=True
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Trouble(
            f"A library was installed and does not load: {words[-1]}",
            "If it names a .so file, install the package of your system that has it. Then: python3 run.py repair",
        )


def _become(
    env: Environment, arguments: list[str], environ: os._Environ[str] | dict[str, str]
) -> int:
    """Turn into a program of the environment, so that Ctrl-C and exit codes are its own."""
    command = [
        str(env.python),
        "-P",
        *arguments,
    ]  # -P: a folder named `app` where we stand is not ours
    ours = {key: value for key, value in environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    ours["PYTHONPATH"] = str(env.root)
    if sys.platform == "win32":  # exec there returns to the shell at once
        return subprocess.run(command, env=ours).returncode
    sys.stderr.flush()
    os.execve(env.python, command, ours)


def _test(arguments: list[str], env: Environment, console: Console) -> int:
    start = time.monotonic()
    headed = "--headed" in arguments
    arguments = [word for word in arguments if word != "--headed"]
    prepare(env, "test", console)
    environ = {**clean_environ(env.root), **_sandbox(system.this_system(), console)}
    with ExitStack() as stack:
        if headed:
            console.line(f"[screen] windows open on {display.check_display(os.environ)}.")
        elif sys.platform == "linux":
            environ |= _quiet_screen(stack, console)
        console.line("[tests] ruff, types, import contracts and all tests, by pytest.")
        status = _wait(
            subprocess.Popen([env.python, "-m", "pytest", *arguments], cwd=env.root, env=environ)
        )
    passed = seconds_text(time.monotonic() - start)
    words = {0: "all passed", 1: "some failed, see above", 5: "none matched the arguments"}
    console.line(f"[tests] {words.get(status, f'pytest stopped with status {status}')} ({passed}).")
    return status


def _quiet_screen(stack: ExitStack, console: Console) -> dict[str, str]:
    """A screen nobody sees for the windows of the tests: Xvfb, else Qt's own `offscreen` platform."""
    name = stack.enter_context(display.screen_in_memory())
    if name is None:
        console.line("[screen] no Xvfb here; windows are drawn by Qt's `offscreen` platform.")
        return {"QT_QPA_PLATFORM": "offscreen"}
    console.line(f"[screen] windows open on {name}, in memory.")
    return {"DISPLAY": name, "QT_QPA_PLATFORM": "xcb", "WAYLAND_DISPLAY": ""}


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for a program that hears Ctrl-C itself and tells in its own words how far it was."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        stop(child, patience_s=15.0)
        raise
