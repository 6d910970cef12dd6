"""The environment the program is built in: what Nadir runs on and PyInstaller, in the versions of the lock file."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

from bootstrap import system
from bootstrap.console import Console
from bootstrap.environment import clean_environ, pinned
from bootstrap.trouble import Trouble
from freeze import appimage


def wanted(root: Path) -> list[str]:
    """What is installed: the project's own needs and the extra ``build``."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["build"]]


def ensure(root: Path, folder: Path, console: Console) -> Path:
    """Have the environment in ``folder``; returns its Python.

    Raises:
        Trouble: this Python cannot be built with, or pip fails.
    """
    if sys.platform == "linux" and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        raise Trouble(
            f"{sys.executable} has no shared library, which the program would need.",
            "Run build.py with another Python: the system's own has one.",
        )
    _ensure_tools(console)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "nadir-build.json"
    mark = hashlib.sha256((root / "packaging" / "lock.txt").read_bytes())
    mark.update(f"{wanted(root)} {sys.version} {sys.base_prefix}".encode())
    if stamp.is_file() and json.loads(stamp.read_text("utf-8")) == mark.hexdigest():
        return python
    console.line(f"[environment] installing what the build needs into {folder}")
    stamp.unlink(missing_ok=True)
    environ = clean_environ(root)
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        _pip(python, f"pip=={pinned(root, 'pip')}"),
        [*_pip(python, "-c", str(root / "packaging" / "lock.txt")), *wanted(root)],
    ]
    for command in commands:
        done = subprocess.run(
            command, env=environ, cwd=root, capture_output=True, text=True, check=False
        )
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
            raise Trouble("The environment could not be made.", "\n".join(words))
    stamp.write_text(json.dumps(mark.hexdigest()), "utf-8")
    return python


def _ensure_tools(console: Console) -> None:
    """Have what the build takes from the system; where it may not be installed, say with which command."""
    if sys.platform != "linux":
        return
    missing = []
    if shutil.which("strip") is None or shutil.which("ld") is None:
        missing.append("binutils")
    if shutil.which("xz") is None:
        missing.append("xz-utils")
    library = sysconfig.get_config_var("INSTSONAME") or ""
    inside = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / library
    if not inside.is_file() and not _loads(library):  # Debian keeps it apart from the interpreter
        missing.append(f"libpython{sys.version_info.major}.{sys.version_info.minor}")
    machine = system.this_system()
    if (
        machine.installs
    ):  # the AppImage is left out where its needs are not there, and none may be installed
        missing += appimage.missing_packages()
    if missing:
        system.ensure_packages(
            missing, "The build takes some packages of the system", machine, console
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _pip(python: Path, *arguments: str) -> list[str]:
    common = ["--no-input", "--disable-pip-version-check", "--only-binary=:all:", "-q"]
    return [str(python), "-m", "pip", "install", *common, *arguments]


def build_environ(root: Path, work: Path) -> dict[str, str]:
    """Our environment for the build's own steps."""
    return {
        **clean_environ(root),
        "NADIR_BUILD": str(work),
        "PYINSTALLER_CONFIG_DIR": str(work / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(root / "packaging"),
        # The same sources give the same files.
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", _date_of(root)),
        "PYTHONHASHSEED": "0",
    }


def _date_of(root: Path) -> str:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "1700000000"
