#!/usr/bin/env python3
"""Check from here what can be checked of the programs for Windows and macOS, which cannot be built here.

    python3 packaging/check_systems.py [windows] [macos]

It downloads the wheels for these systems in the locked versions, lays their files out as PyInstaller would, leaves out
what `freeze/prune.py` leaves out, and follows every link of what is kept. Work goes into build/systems.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "packaging"))
sys.dont_write_bytecode = True

GRAMMAR = ("tree-sitter==0.26.1", "tree-sitter-powershell==0.26.4")


def main() -> int:
    """Make the environment, then check in it."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", help="windows, macos (default: both)")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "systems")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    systems = options.systems or ["windows", "macos"]
    if unknown := set(systems) - {"windows", "macos"}:
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    work = options.work.resolve()
    if options.inside:
        trouble = [line for system in systems for line in check(system, work)]
        print(f"\n{len(trouble)} found." if trouble else "\nNothing found.")
        return 1 if trouble else 0
    python = environment(work)
    command = [str(python), str(Path(__file__).resolve()), *systems]
    command += ["--inside", "--work", str(work)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}).returncode


def environment(work: Path) -> Path:
    """An environment with PyInstaller, what reads these systems' files, and Qt for the icons; returns its Python."""
    lock = ROOT / "packaging" / "lock.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["optional-dependencies"]["build"],
        "Pillow",
        "packaging",
        "PySide6_Essentials",
    ]
    folder, stamp = work / "venv", work / "venv.txt"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    content = lock.read_bytes() + repr((wanted, GRAMMAR, sys.version)).encode()
    mark = hashlib.sha256(content).hexdigest()
    if stamp.is_file() and stamp.read_text("utf-8") == mark:
        return python
    print(f"Installing what the check needs into {folder}", flush=True)
    stamp.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    install += ["--only-binary=:all:", "-c", str(lock)]
    for packages in (["pip"], wanted):
        subprocess.run([*install, "--upgrade", *packages], check=True, stderr=subprocess.DEVNULL)
    # Where there is no grammar, the script is not parsed.
    subprocess.run([*install, *GRAMMAR], check=False, capture_output=True)
    stamp.write_text(mark, "utf-8")
    return python


def check(name: str, work: Path) -> list[str]:
    """Check one system; returns the trouble, having said it."""
    from freeze.icons import make_icons
    from freeze.macho_names import separate
    from freeze.plan import facts, languages
    from freeze.prune import prune
    from systems import checks
    from systems.layout import collect
    from systems.links import disagreements, walk
    from systems.wheels import SYSTEMS, fetch

    system, about, folder = SYSTEMS[name], facts(ROOT), work / name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = (ROOT / "packaging" / "lock.txt").read_text("utf-8")
    build = project["optional-dependencies"]["build"]
    wheels = fetch(system, project["dependencies"], build, lock, folder)
    layout = collect(wheels.site, name == "windows", about.distributions, ROOT)
    before = list(layout.entries.values())
    kept = prune(before, languages(ROOT), system.processor)
    walked = walk(kept, before, wheels.site, system.processor)
    say(f"\n{name}: {len(wheels.files)} wheels, {len(before)} files and links collected")
    trouble = [f"not in lock.txt: {need}" for need in wheels.unpinned]
    trouble += walked.trouble
    if name == "macos":
        own = separate(kept, folder / "separate")
        say(f"libraries that get a name of their package: {', '.join(_renamed(kept, own))}")
        trouble += _twice(own)
        kept = own
    trouble += disagreements(kept)
    names = {inside for inside, _, _ in kept}
    trouble += checks.lacking(names, name, layout.bindings)
    trouble += checks.bindings_that_are_not(wheels.site, name)
    files = {inside for inside, _, kind in kept if kind != "SYMLINK"}
    trouble += checks.terms_trouble(files, wheels.site, name)
    trouble += checks.kinds_trouble(ROOT, about)
    make_icons(ROOT / "resources" / "icons" / "nadir.svg", work / "icons")
    trouble += checks.icon_trouble(work / "icons")
    if name == "windows":
        for program in ("nadir", "nadir-cli"):
            trouble += checks.version_trouble(about, program)
        script = checks.script_trouble(ROOT / "packaging" / "windows" / "install.ps1")
        say("install.ps1 is not parsed: no grammar" if script is None else "install.ps1 is parsed")
        trouble += script or []
    else:
        minimum, file = walked.minimum
        say(f"built for macOS {minimum[0]}.{minimum[1]} and newer, as {file} is")
        trouble += checks.plist_trouble(about, minimum, f"{file} asks for")
        helper = next(wheels.site.rglob("Versions/A/**/QtWebEngineProcess.entitlements"))
        ours = ROOT / "packaging" / "macos" / "entitlements.plist"
        trouble += checks.entitlement_trouble(ours, helper)
    say(f"links of {walked.files} programs and libraries followed, read by two readers each")
    for file, who in walked.runtime.items():
        say(f"of the building Windows: {file}, for {who}")
    _sizes(before, kept, system.processor)
    for line in trouble:
        print(f"NOT RIGHT: {line}")
    return trouble


def say(text: str) -> None:
    """Words on the way."""
    print(text, flush=True)


def _renamed(before: list[tuple[str, str, str]], after: list[tuple[str, str, str]]) -> list[str]:
    names = {inside for inside, _, _ in before}
    new = [inside for inside, _, kind in after if kind != "SYMLINK" and inside not in names]
    return [Path(inside).name for inside in sorted(new)] or ["none"]


def _twice(entries: list[tuple[str, str, str]]) -> list[str]:
    """Names that two libraries bear, and links that lead to no library."""
    from freeze.prune import linked_name, needed_by
    from systems.links import is_of_the_system

    files = [(n, s) for n, s, kind in entries if kind not in ("SYMLINK", "DATA")]
    bearers = Counter(Path(n).name for n, _ in files if not n.endswith(".so"))
    found = [f"{name} is the name of several libraries" for name, n in bearers.items() if n > 1]
    top = {n for n, _, _ in entries if "/" not in n}
    for name, source in files:
        for link in needed_by(source):
            if not is_of_the_system(link) and linked_name(link) not in top:
                found.append(f"{name} needs {link}, to which no link at the top leads")
    return found


def _sizes(
    before: list[tuple[str, str, str]], after: list[tuple[str, str, str]], processor: str
) -> None:
    from freeze.sizes import component_of, table
    from systems.layout import bytes_of

    counts: list[Counter[str]] = []
    for entries in (before, after):
        found: Counter[str] = Counter()
        for inside, source, kind in entries:
            if kind != "SYMLINK":
                found[component_of(inside)] += bytes_of(source, processor)
        counts.append(found)
    say(f"before the rules {counts[0].total() / 1e6:.1f} MB, after them:\n{table(counts[1])}")
    sized = [(bytes_of(s, processor), n) for n, s, kind in after if kind != "SYMLINK"]
    say("the largest:")
    for size, inside in sorted(sized, reverse=True)[:10]:
        say(f"{size / 1e6:8.1f} MB  {inside}")


if __name__ == "__main__":
    sys.exit(main())
