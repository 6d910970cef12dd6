"""Debian's part: which package a library is of, on what terms, and which packages the program needs beside it."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bootstrap.system import LIBRARIES, WAYLAND
from freeze.elf import ElfFile, is_elf


@dataclass(frozen=True)
class Package:
    """A package of the building system."""

    name: str
    version: str
    licence: str


@functools.cache
def package_of(library: str) -> Package | None:
    """The package that a library of this system comes from, by the library's file name; None where not told."""
    if shutil.which("dpkg-query") is None:
        return None
    done = _run("dpkg-query", "--search", f"*/{library}")
    names = {
        line.partition(":")[0].strip() for line in done.splitlines() if "diversion" not in line
    }
    name = min(names, default="", key=len)
    if not name:
        return None
    return Package(name, version_of(name), licence_in(copyright_of(name)))


def version_of(package: str) -> str:
    """Which version of one of Debian's packages is here; empty where that is not told."""
    if shutil.which("dpkg-query") is None:
        return ""
    said = _run("dpkg-query", "--show", "--showformat", "${Version}\n", package).splitlines()
    return said[0] if said else ""


def copyright_of(package: str) -> str:
    """Debian's statement of a package's terms."""
    path = Path("/usr/share/doc") / package / "copyright"
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def licence_in(text: str) -> str:
    """The terms in short, from a Debian copyright file.

    Of a file in Debian's machine-readable form the licence of ``Files: *`` counts: the others are those of tests and
    of the build.
    """
    main = re.search(r"^Files:[ \t]*\*\s(?:.*\n)*?License:[ \t]*(.+)$", text, re.MULTILINE)
    if main is None:
        main = re.search(r"^License:[ \t]*(.+)$", text, re.MULTILINE)
    if main is not None:
        return re.sub(r"\s+or\s+", " OR ", main[1].strip())
    return "see the text" if text else ""


def outside_needs(folder: Path) -> tuple[set[str], str]:
    """What the program in ``folder`` needs of the system: libraries, and the newest version of the C library."""
    inside: set[str] = set()
    needed: set[str] = set()
    newest = (0, 0)
    for path in folder.rglob("*"):
        inside.add(path.name)
        if path.is_symlink() or not path.is_file() or not is_elf(path):
            continue
        facts = ElfFile.read(path)
        inside.add(facts.soname)
        if not _is_optional(path):
            needed |= set(facts.needed)
        for version in facts.versions:
            found = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", version)
            if found is not None:
                newest = max(newest, (int(found[1]), int(found[2])))
    return needed - inside, f"{newest[0]}.{newest[1]}"


def _is_optional(path: Path) -> bool:
    """Plugins that stay away by themselves where what they need is not there."""
    return path.parent.name == "platformthemes" or "wayland" in path.name.lower()


def depends(folder: Path) -> list[str]:
    """The Debian packages that the program in ``folder`` needs, as they stand in a package's ``Depends``."""
    needed, libc = outside_needs(folder)
    packages = {f"libc6 (>= {libc})"}
    known = {**LIBRARIES, **WAYLAND}
    for name in sorted(needed):
        if name in known:
            packages.add(known[name][0].replace("|", " | "))
        elif not re.match(r"(ld-linux|lib(c|m|dl|rt|pthread|util|resolv)\.so)", name):
            owner = package_of(name)
            if owner is None:
                raise LookupError(f"no package of this system has {name}, which the program needs")
            packages.add(owner.name)
    return sorted(packages)


def _run(*command: str) -> str:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
