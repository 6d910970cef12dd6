"""The wheels that the frozen program is made of on another system, laid out as its site-packages would be.

pip downloads them in the locked versions for that system; which ones, is read from what they say they need there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PYTHON = "3.12"


@dataclass(frozen=True)
class System:
    """A system that is packaged for.

    Attributes:
        name: ``windows`` or ``macos``.
        platforms: what pip calls it, as its wheels are tagged.
        markers: what a wheel's conditions ask of it.
        processor: what the program is built for there, as :mod:`freeze.pe` and :mod:`freeze.macho` call it.
    """

    name: str
    platforms: tuple[str, ...]
    markers: dict[str, str]
    processor: str


SYSTEMS = {
    "windows": System(
        "windows",
        ("win_amd64",),
        {
            "sys_platform": "win32",
            "platform_system": "Windows",
            "os_name": "nt",
            "platform_machine": "AMD64",
        },
        "x86_64",
    ),
    "macos": System(
        "macos",
        # pip takes the lower ones too. 15.0 is the newest that a wheel may ask for.
        ("macosx_15_0_arm64",),
        {
            "sys_platform": "darwin",
            "platform_system": "Darwin",
            "os_name": "posix",
            "platform_machine": "arm64",
        },
        "arm64",
    ),
}


@dataclass
class Wheels:
    """What was downloaded.

    Attributes:
        site: the folder as site-packages would be; what is needed to build is not in it.
        files: the wheels' names.
        unpinned: needs of the wheels that the lock file does not know, with who needs them.
    """

    site: Path
    files: list[str] = field(default_factory=list)
    unpinned: list[str] = field(default_factory=list)


def pins(lock: str) -> dict[str, str]:
    """Canonical name to ``name==version``, of a lock file's text."""
    lines = [line.strip() for line in lock.splitlines()]
    return {
        canonicalize_name(line.partition("==")[0]): line
        for line in lines
        if "==" in line and not line.startswith("#")
    }


def applies(requirement: Requirement, system: System) -> bool:
    """Whether a wheel's need counts on a system."""
    markers = {
        **system.markers,
        "extra": "",
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return requirement.marker is None or requirement.marker.evaluate(markers)


def fetch(system: System, wanted: list[str], build: list[str], lock: str, folder: Path) -> Wheels:
    """Download the wheels of ``wanted`` and all they need, and unpack them into ``folder/site``.

    Args:
        build: what is only needed to build: downloaded to see what it needs in turn, not unpacked.
    """
    known = pins(lock)
    found = Wheels(folder / "site")
    kept = _closure(system, wanted, known, folder / "wheels", found)
    tools = _closure(system, build, known, folder / "wheels", found)
    found.files = sorted(path.name for path in {**tools, **kept}.values())
    _unpack(sorted(kept.values()), found.site)
    return found


def _closure(
    system: System, wanted: list[str], known: dict[str, str], folder: Path, found: Wheels
) -> dict[str, Path]:
    wheels: dict[str, Path] = {}
    todo = {canonicalize_name(Requirement(text).name): "pyproject.toml" for text in wanted}
    while todo:
        found.unpinned += [f"{name} (for {who})" for name, who in todo.items() if name not in known]
        names = [name for name in todo if name in known]
        _download(system, [known[name] for name in names], folder)
        have = {parse_wheel_filename(path.name)[0]: path for path in folder.glob("*.whl")}
        wheels |= {name: have[canonicalize_name(name)] for name in names}
        following = {}
        for name in names:
            for need in needs_of(wheels[name]):
                key = canonicalize_name(need.name)
                if applies(need, system) and key not in wheels:
                    following[key] = name
        todo = following
    return wheels


def _download(system: System, requirements: Iterable[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", PYTHON, "-d", str(folder)]
    for platform in system.platforms:
        command += ["--platform", platform]
    wanted = list(requirements)
    if not wanted:
        return
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise OSError("pip could not download the wheels:\n" + "\n".join(said[-8:]))


def needs_of(wheel: Path) -> list[Requirement]:
    """What a wheel says it needs."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode("utf-8")
    return [
        Requirement(need) for need in HeaderParser().parsestr(text).get_all("Requires-Dist") or []
    ]


def _unpack(wheels: list[Path], site: Path) -> None:
    stamp = site.with_suffix(".json")
    names = [wheel.name for wheel in wheels]
    if stamp.is_file() and json.loads(stamp.read_text("utf-8")) == names:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    for extra in site.glob("*.data"):
        for part in ("purelib", "platlib"):
            if (extra / part).is_dir():
                shutil.copytree(extra / part, site, dirs_exist_ok=True)
        shutil.rmtree(extra)
    stamp.write_text(json.dumps(names), "utf-8")
