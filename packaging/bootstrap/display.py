"""Is there a screen to open a window on; and one out of memory for the tests."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bootstrap.child import stop
from bootstrap.trouble import Trouble

_ADVICE = """\
On a desktop: run this in a terminal of the desktop session, as its own user.
Over SSH: connect with `ssh -X` (or `-Y`), or open a remote desktop.
On a server: a screen in memory shows it can start: xvfb-run -a python3 run.py
Without any screen the command line does the same work: python3 run.py nadir localize PHOTO"""


def check_display(environ: Mapping[str, str]) -> str:
    """Say which display a window would open on.

    Raises:
        Trouble: where there is none, or none that answers.
    """
    if sys.platform != "linux":
        return "the desktop"
    chosen = environ.get("QT_QPA_PLATFORM", "").partition(":")[0].partition(";")[0]
    if chosen and not chosen.startswith(("xcb", "wayland")):
        return f"Qt's `{chosen}` platform"
    wayland, x11 = environ.get("WAYLAND_DISPLAY", ""), environ.get("DISPLAY", "")
    if not wayland and not x11:
        raise Trouble("There is no display: DISPLAY and WAYLAND_DISPLAY are not set.", _ADVICE)
    if wayland and chosen != "xcb" and wayland_answers(wayland, environ.get("XDG_RUNTIME_DIR", "")):
        return f"Wayland display {wayland}"
    if x11 and x11_answers(x11):
        return f"X display {x11}"
    tried = f"DISPLAY is {x11}" if x11 else f"WAYLAND_DISPLAY is {wayland}"
    raise Trouble(f"{tried}, but no display answers there.", _ADVICE)


def x11_answers(display: str) -> bool:
    """Whether a server listens at an X display name such as ``:0`` or ``localhost:10.0``."""
    match = re.fullmatch(r"(?:(?P<host>[^/]*)|.*/unix):(?P<number>\d+)(?:\.\d+)?", display)
    if match is None:
        return Path(display.rpartition(":")[0] or display).exists()  # macOS names a socket
    number, host = int(match["number"]), match["host"]
    if host not in (None, "", "unix"):
        try:
            socket.create_connection((host, 6000 + number), timeout=3).close()
        except OSError:
            return False
        return True
    path = f"/tmp/.X11-unix/X{number}"
    return any(_listens(address) for address in (path, "\0" + path))


def wayland_answers(name: str, runtime_dir: str) -> bool:
    """Whether a compositor listens at ``WAYLAND_DISPLAY`` in ``XDG_RUNTIME_DIR``."""
    return _listens(name if os.path.isabs(name) else os.path.join(runtime_dir, name))


def _listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(3)
        try:
            line.connect(address)
        except OSError:
            return False
    return True


@contextmanager
def screen_in_memory(size: str = "1600x1000x24") -> Iterator[str | None]:
    """Start Xvfb on a free display and give its name; None where it is not installed or does not start."""
    program = shutil.which("Xvfb")
    if program is None:
        yield None
        return
    read, write = os.pipe()
    with tempfile.TemporaryFile() as words:
        server = subprocess.Popen(
            [
                program,
                "-displayfd",
                str(write),
                "-screen",
                "0",
                size,
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,  # Ctrl-C is for the tests; the screen goes after them
        )
        os.close(write)
        try:
            with open(read, encoding="ascii") as answer:
                number = answer.readline().strip()  # at once, or at its end: an empty line
            yield f":{number}" if number else None
        finally:
            server.terminate()
            stop(server)
