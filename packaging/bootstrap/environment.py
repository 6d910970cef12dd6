"""The ``.venv`` folder: made, filled with exactly the pinned libraries, repaired, known to be whole.

The stamp ``.venv/nadir-ready.json`` is written last. While it is there and speaks of this lock file and this
Python, nothing else is looked at, which is why a second start is quick. Without it everything is checked.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from bootstrap.child import run_child
from bootstrap.console import Console, bytes_text, seconds_text
from bootstrap.pip_words import PipWords
from bootstrap.trouble import Trouble, pip_trouble

Kind = Literal["runtime", "train", "test"]
T = TypeVar("T")
LOCK_FILE = Path("packaging/lock.txt")
_ROOM = {
    "runtime": 1.8e9,
    "train": 3.2e9,
    "test": 4.2e9,
}  # bytes while installing: the files and what they come in
_FULL = 16e6  # bytes free at the worst moment, below which the disk was the trouble
_GROUPS: dict[Kind, tuple[str, ...]] = {
    "runtime": (),
    "train": ("train",),
    "test": ("train", "milvus", "test"),
}


@dataclass(frozen=True)
class Environment:
    """Where things stand in a checkout at ``root``."""

    root: Path

    @property
    def folder(self) -> Path:
        """The virtual environment."""
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        """Its Python."""
        inside = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        return self.folder / inside

    @property
    def stamp(self) -> Path:
        """What is written once all is installed."""
        return self.folder / "nadir-ready.json"

    @property
    def log(self) -> Path:
        """All that pip said the last time."""
        return self.folder / "nadir-install.log"


def requirements(root: Path, kind: Kind) -> list[str]:
    """What pyproject.toml asks for, directly."""
    with open(root / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(r for group in _GROUPS[kind] for r in extras[group])]


def fingerprint(root: Path, kind: Kind) -> str:
    """A hash of all that decides which libraries are installed."""
    digest = hashlib.sha256((root / LOCK_FILE).read_bytes())
    digest.update("\n".join(requirements(root, kind)).encode())
    return digest.hexdigest()


def pinned(root: Path, name: str) -> str | None:
    """The version the lock file gives to ``name``."""
    for text in (root / LOCK_FILE).read_text("utf-8").splitlines():
        key, _, version = text.partition("==")
        if key == name:
            return version.strip()
    return None


def base_python(env: Environment) -> tuple[str, str] | None:
    """The Python the environment was made from and its version, as its own notes say; None when broken."""
    try:
        notes = (env.folder / "pyvenv.cfg").read_text("utf-8")
        pairs = dict(text.split(" = ", 1) for text in notes.splitlines() if " = " in text)
        target = str(env.python.resolve(strict=True))
    except (OSError, ValueError):
        return None
    version = pairs.get("version") or pairs.get("version_info", "")
    return (target, version) if version else None


def is_ready(env: Environment, kind: Kind) -> bool:
    """Whether the stamp vouches for the environment. Reads three small files and starts nothing."""
    try:
        stamp = json.loads(env.stamp.read_text("utf-8"))
        made_from = base_python(env)
        same = made_from is not None and stamp["python"] == list(made_from)
        return same and stamp["kinds"].get(kind) == fingerprint(env.root, kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def ensure(env: Environment, kind: Kind, console: Console) -> None:
    """Make the environment hold what ``kind`` needs, whatever state it is in.

    Raises:
        Trouble: with what to do, when that cannot be done.
    """
    if is_ready(env, kind):
        return
    with _alone(env, console) as lock:
        if is_ready(env, kind):  # another run.py made it while this one waited
            return
        env.stamp.unlink(missing_ok=True)
        shutil.rmtree(env.folder / ".tmp", ignore_errors=True)
        if not _works(env):
            _make(env, console)
        repaired = remove_half_installed(env)
        if repaired:
            console.line(f"      An installation was interrupted; again: {', '.join(repaired)}")
        _check_room(env, kind)
        _newer_pip(env, console, lock)
        _install(env, kind, console, lock)
        _write_stamp(env, kind)


def forget(env: Environment) -> None:
    """Make the next :func:`ensure` look at everything again."""
    env.stamp.unlink(missing_ok=True)


def clean_environ(root: Path) -> dict[str, str]:
    """Our environment variables without those that would lead pip or Python out of ``.venv``."""
    gone = {
        "PYTHONHOME",
        "PYTHONPATH",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "PIP_REQUIRE_VIRTUALENV",
    }
    kept = {key: value for key, value in os.environ.items() if key not in gone}
    return {**kept, "PIP_USER": "0", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


@contextmanager
def _alone(env: Environment, console: Console) -> Iterator[int]:
    """Hold ``.venv/.lock``; wait for another ``run.py`` that holds it. Gives the descriptor of the lock."""
    if env.folder.exists() and not env.folder.is_dir():
        raise Trouble(f"{env.folder} is in the way.", "It is not a folder: move it elsewhere.")
    env.folder.mkdir(exist_ok=True)
    with open(env.folder / ".lock", "a+") as file:
        told = False
        while not _try_lock(file.fileno()):
            if not told:
                console.line(
                    "Another run.py is preparing .venv; waiting for it (Ctrl-C stops waiting)."
                )
                told = True
            time.sleep(0.3)
        yield file.fileno()


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _works(env: Environment) -> bool:
    """Whether the environment has a Python that is new enough and a pip."""
    code = "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)"
    if base_python(env) is None or not _has_whole_pip(env):
        return False
    try:
        return (
            subprocess.run(
                [env.python, "-I", "-c", code],
                env=clean_environ(env.root),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _has_whole_pip(env: Environment) -> bool:
    """Whether pip was unpacked to the end: killed before that, it may start and fail at its work."""
    site = site_packages(env)
    notes = list(site.glob("pip-*.dist-info")) if site is not None else []
    return site is not None and len(notes) == 1 and _is_whole(site, notes[0])


def _make(env: Environment, console: Console) -> None:
    left = [entry for entry in env.folder.iterdir() if entry.name != ".lock"]
    known = {
        "pyvenv.cfg",
        "bin",
        "lib",
        "lib64",
        "include",
        "share",
        "etc",
        "Scripts",
        "Lib",
        "Include",
    }
    known |= {".gitignore", ".tmp", env.log.name, env.stamp.name}
    strange = [entry.name for entry in left if entry.name not in known]
    if strange:
        raise Trouble(
            f"{env.folder} holds what no Python environment does: {', '.join(sorted(strange)[:3])}.",
            "Move that elsewhere, or the whole folder.",
        )
    if left:
        console.line("      The environment in .venv is half made or broken: making it anew.")
    for entry in left:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    base = getattr(sys, "_base_executable", None) or sys.executable
    said: list[str] = []
    status = run_child(
        [base, "-m", "venv", str(env.folder)],
        env=clean_environ(env.root),
        on_line=said.append,
        on_tick=lambda s: console.moving(f"      making .venv ({s:.0f} s)"),
    )
    if status != 0 or not _works(env):
        words = "\n".join(said)
        if "No space left" in words:
            raise Trouble(
                "The disk is full.", f"Free about {bytes_text(_ROOM['runtime'])} in {env.root}."
            )
        raise Trouble(
            "Python could not make its environment in .venv.", words or f"Exit status {status}."
        )


def site_packages(env: Environment) -> Path | None:
    """The folder the libraries lie in."""
    found = [*env.folder.glob("lib/python3*/site-packages"), *env.folder.glob("Lib/site-packages")]
    return found[0] if found else None


def remove_half_installed(env: Environment) -> list[str]:
    """Make pip see every library that is not whole as absent; returns their names.

    pip writes a library's files first and the list of them (RECORD, with itself and INSTALLER in it) last, so one
    that lacks its list, or a file of it, was interrupted or damaged.
    """
    site = site_packages(env)
    if site is None:
        return []
    damaged = []
    for notes in sorted(site.glob("*.dist-info")):
        if not _is_whole(site, notes):
            damaged.append(notes.name.removesuffix(".dist-info"))
            shutil.rmtree(notes)
    for leftover in site.glob("~*"):  # what pip moved aside while replacing something
        shutil.rmtree(leftover, ignore_errors=True)
    return damaged


def _is_whole(site: Path, notes: Path) -> bool:
    try:
        with open(notes / "RECORD", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError:
        return False
    if not any(row[0].endswith(".dist-info/INSTALLER") for row in rows):
        return False
    for name, _, size in rows:
        if name.endswith(".pyc"):
            continue
        try:
            found = os.stat(site / name).st_size
        except OSError:
            return False
        if size and found != int(size):
            return False
    return True


def _size_of(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(where, name)).st_size
    return total


def _check_room(env: Environment, kind: Kind) -> None:
    need = _ROOM[kind] - _size_of(env.folder)
    free = shutil.disk_usage(env.folder).free
    if free < need:
        raise Trouble(
            f"Not enough room on the disk: {bytes_text(free)} free, about {_room_text(kind)} needed.",
            f"Free some space where {env.root} lies and run the same command again.",
        )


def _room_text(kind: Kind) -> str:
    cuda = " (9 GB where PyTorch comes with CUDA)" if kind != "runtime" else ""
    return bytes_text(_ROOM[kind]) + cuda


def _newer_pip(env: Environment, console: Console, lock: int) -> None:
    """Bring pip to the pinned version: old ones tell no progress."""
    version = pinned(env.root, "pip")
    site = site_packages(env)
    if version is None or site is None or (site / f"pip-{version}.dist-info").is_dir():
        return
    _pip(env, "runtime", [f"pip=={version}"], console, lock)


def _install(env: Environment, kind: Kind, console: Console, lock: int) -> None:
    start = time.monotonic()
    _pip(env, kind, requirements(env.root, kind), console, lock)
    console.line(f"      Libraries are in place ({seconds_text(time.monotonic() - start)}).")


def _pip(env: Environment, kind: Kind, wanted: list[str], console: Console, lock: int) -> None:
    """Run ``pip install`` under the lock file's constraints; Trouble where it fails."""
    temporary = (
        env.folder / ".tmp"
    )  # not /tmp: that may be small, and would keep what an interrupted pip left
    temporary.mkdir(exist_ok=True)
    site = site_packages(env)
    words = PipWords(console, raw=site is not None and _pip_version(site) >= (24, 1))
    command = [str(env.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--no-warn-script-location"]
    command += ["--progress-bar", "raw" if words.raw else "off"]
    command += ["-c", str(env.root / LOCK_FILE), *wanted]
    environ = {**clean_environ(env.root), "TMPDIR": str(temporary), "TMP": str(temporary)}
    least_free = shutil.disk_usage(env.folder).free

    def watch(tell: Callable[[T], None], what: T) -> None:
        nonlocal least_free
        least_free = min(least_free, shutil.disk_usage(env.folder).free)
        tell(what)

    try:
        status = run_child(
            command,
            env=environ,
            on_line=partial(watch, words.hear),
            on_tick=partial(watch, words.tick),
            cwd=env.folder,
            keep_open=() if sys.platform == "win32" else (lock,),
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # a full disk is told by what pip said
            env.log.write_text("\n".join(words.said) + "\n", "utf-8")
    if status != 0:
        if least_free < _FULL:  # pip calls a download that found no room a broken connection
            words.said.append("No space left on device")
        python = (base_python(env) or ("", "?"))[1]
        need = _room_text(kind)
        raise pip_trouble("\n".join(words.said), env.root, env.log, need, python)


def _pip_version(site: Path) -> tuple[int, ...]:
    names = [found.name for found in site.glob("pip-*.dist-info")]
    digits = names[0].removeprefix("pip-").removesuffix(".dist-info").split(".") if names else []
    return tuple(int(d) for d in digits[:2] if d.isdigit())


def _write_stamp(env: Environment, kind: Kind) -> None:
    held: list[Kind] = [k for k, groups in _GROUPS.items() if set(groups) <= set(_GROUPS[kind])]
    kinds = {k: fingerprint(env.root, k) for k in held}
    text = json.dumps({"python": list(base_python(env) or ()), "kinds": kinds}, indent=1)
    part = env.stamp.with_suffix(".part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, env.stamp)
