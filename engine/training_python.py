"""The Python that trains and imports for the installed program, which carries no PyTorch: where it is, making one.

The window's Train workspace and the command line use the same one. A checkout needs none of this: there Nadir runs in
an environment that has PyTorch, or says how to get it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TrainingError
from engine.shipped import engine_source, frozen_folder, training_requirements

NEEDED = ("torch", "onnx", "onnxscript", "numpy", "PIL", "engine")
VERBS = ("train", "export", "import")
"""What of the command line runs there."""

# Plain enough for any Python 3: says which of the modules named it can find.
_FIND = (
    "import importlib.util, json, sys\n"
    "print(json.dumps({'version': list(sys.version_info[:3]),"
    " 'found': [n for n in sys.argv[1:] if importlib.util.find_spec(n)]}))"
)
_CAN_MAKE = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_ASK_S = 120.0


@dataclass(frozen=True)
class Needs:
    """What setting one up takes: bytes over the network, and bytes on the disk once it is done."""

    download: int
    disk: int

    @property
    def room(self) -> int:
        """Bytes that must be free: what was downloaded lies there until it is installed."""
        return self.download + self.disk


def needs_of(system: str = sys.platform) -> Needs:
    """About what it takes here: for Linux pip's index has PyTorch with NVIDIA's libraries only."""
    if system.startswith("linux"):
        return Needs(2_900_000_000, 5_200_000_000)
    return Needs(400_000_000, 1_500_000_000)


def check_room(folder: Path) -> None:
    """Whether there is room for one in the folder that shall hold it.

    Raises:
        TrainingError: there is not.
    """
    free, room = shutil.disk_usage(folder).free, needs_of().room
    if free < room:
        raise TrainingError(
            f"{free / 1e9:.1f} GB are free, and setting up PyTorch needs about {room / 1e9:.0f}",
            folder,
            "Make room there and try again",
        )


def data_folder() -> Path:
    """Where this system keeps the program's own data: what Qt calls AppDataLocation, without Qt."""
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "nadir"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "nadir"
    data = os.environ.get("XDG_DATA_HOME", "")
    place = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return place / "nadir"


def own_environment() -> Path:
    """Where the program sets up a Python for training."""
    return data_folder() / "training-python"


def python_in(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def pythons_on_path() -> list[Path]:
    """The Pythons that may be new enough, by their names; each file once."""
    names = ["python3", "python", *(f"python3.{minor}" for minor in range(15, 10, -1))]
    found = {name: shutil.which(name) for name in names}
    by_file = {Path(path).resolve(): Path(path) for path in found.values() if path}
    return [path for path in by_file.values() if path.resolve() != Path(sys.executable).resolve()]


def surroundings() -> dict[str, str]:
    """What is added to the environment of such a Python: where the engine lies.

    Nothing is looked for in the folder it is started in: among somebody's downloads may be a file ``torch.py``.
    """
    values = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"}
    kept = os.environ.get("PYTHONPATH", "")
    values["PYTHONPATH"] = os.pathsep.join([str(engine_source()), *([kept] if kept else [])])
    if frozen_folder() is not None:
        values["PYTHONDONTWRITEBYTECODE"] = "1"  # the program's folder stays as it was installed
    return values


def lacks(python: Path) -> tuple[str, ...] | None:
    """Which of the modules that training needs a Python does not have; None where it is none, or too old."""
    try:
        done = subprocess.run(
            [str(python), "-c", _FIND, *NEEDED],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            cwd=engine_source(),
            env={**os.environ, **surroundings()},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        told = json.loads(done.stdout.splitlines()[-1])
        found = set(told["found"])
        if tuple(told["version"]) < (3, 11, 0):
            return None
    except (OSError, ValueError, IndexError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None
    return tuple(name for name in NEEDED if name not in found)


def find() -> Path | None:
    """The Python that trains for the installed program: the one set up for it, else one on the PATH."""
    places = [python_in(own_environment()), *pythons_on_path()]
    return next((path for path in places if path.is_file() and lacks(path) == ()), None)


def base_python() -> Path | None:
    """A Python of the system that can make an environment to train in; takes a moment."""
    for path in pythons_on_path():
        try:
            command = [str(path), "-I", "-c", _CAN_MAKE]
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return path
    return None


def commands(base: Path, folder: Path | None = None) -> list[list[str]]:
    """What sets one up, one after the other.

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


def shown(steps: Sequence[Sequence[str]]) -> str:
    """Commands as one would type them."""
    if sys.platform == "win32":
        return "\n".join(subprocess.list2cmdline(step) for step in steps)
    return "\n".join(shlex.join(step) for step in steps)


def set_up(tell: Callable[[str], object]) -> Path:
    """Make one, from the command line; takes the network and some minutes. What was begun and failed is taken away.

    Args:
        tell: is given the commands before they run.

    Raises:
        TrainingError: there is no Python to make it with, or a command failed.
    """
    base = base_python()
    if base is None:
        raise TrainingError(
            "this system has no Python of version 3.11 or newer that can make environments",
            None,
            "Install it (on Debian and Ubuntu: python3 and python3-venv), then try again",
        )
    folder = own_environment()
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_room(folder.parent)
    kept = {k: text for k, text in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    whole = False
    try:
        # pip unpacks some gigabytes on its way, which a /tmp in memory does not hold.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpacking-") as scratch:
            environ = {**kept, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch}
            for step in commands(base):
                tell(shown([step]))
                done = subprocess.run(step, env=environ, check=False, stdin=subprocess.DEVNULL)
                if done.returncode:
                    raise TrainingError(
                        "setting up Python for training failed: see above",
                        None,
                        "Check the network and the room on the disk, and try again",
                    )
        python = python_in(folder)
        missing = lacks(python)
        if missing != ():
            raise TrainingError(f"was set up, but lacks {', '.join(missing or ('all',))}", python)
        whole = True
    finally:
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
    return python


def hand_over(arguments: Sequence[str]) -> int:
    """Run one of :data:`VERBS` in the Python that trains, in the place of this process; returns the exit code.

    Raises:
        TrainingError: there is none yet.
    """
    python = find()
    if python is None:
        raise TrainingError(
            f"nadir {arguments[0]} needs PyTorch, which the installed program does not carry",
            None,
            "Let the window's Train set up a Python that has it (gigabytes), or type: nadir doctor --set-up-training",
        )
    command = [str(python), "-m", "engine", *arguments]
    environ = {**os.environ, **surroundings()}
    if sys.platform == "win32":  # there a process cannot take another's place
        return subprocess.run(command, env=environ, check=False).returncode
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environ)
