#!/usr/bin/env python3
"""Build Nadir as people get it: a program of its own, and what installs it.

    python3 packaging/build.py                  everything this system can make, into dist/
    python3 packaging/build.py --program-only   the program alone: dist/nadir

It makes an environment of its own in build/venv (network, once), runs PyInstaller after nadir.spec, leaves out what is
not used, collects the licences, and prints what the program is made of. `smoke_test.py` proves the result.
"""

from __future__ import annotations

import argparse
import email.utils
import importlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "packaging"))
sys.dont_write_bytecode = True


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build", help="(default: build)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="(default: dist)")
    parser.add_argument("--program-only", action="store_true", help="no archives")
    parser.add_argument(
        "--small", action="store_true", help="take minutes more for the smallest archives"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> int:
    """Make the environment, then build in it."""
    options = parse(sys.argv[1:])
    options.work, options.out = options.work.resolve(), options.out.resolve()
    if options.inside:
        build(options)
        return 0
    from bootstrap.console import Console
    from bootstrap.trouble import Trouble
    from freeze import environment

    options.work.mkdir(parents=True, exist_ok=True)
    try:
        python = environment.ensure(ROOT, options.work / "venv", Console(sys.stderr))
    except Trouble as trouble:
        print(f"Nadir cannot be built. {trouble}", file=sys.stderr)
        return 1
    command = [str(python), str(Path(__file__).resolve()), *sys.argv[1:], "--inside"]
    command += ["--work", str(options.work), "--out", str(options.out)]
    return subprocess.run(command, env=environment.build_environ(ROOT, options.work)).returncode


def build(options: argparse.Namespace) -> None:
    """Build; runs in the environment that :func:`main` has made."""
    from freeze import appimage, licences, sbom, sizes
    from freeze.icons import make_icons
    from freeze.plan import facts
    from freeze.slim import slim

    begun = time.monotonic()
    work, out, about = options.work, options.out, facts(ROOT)
    make_icons(ROOT / "resources" / "icons" / "nadir.svg", work / "icons")
    program = _freeze(work, out)
    inner = _inner(program)
    before = sizes.sizes(program).total()
    if sys.platform == "linux":
        saved = slim(inner)
        say(f"[slim] symbols of {saved.files} libraries {saved.symbols / 1e6:.1f} MB,")
        say(f"       languages of ICU {saved.icu / 1e6:.1f} MB, a second OpenBLAS")
        say(f"       {saved.blas / 1e6:.1f} MB (of {before / 1e6:.1f} MB)")
    parts = licences.collect(inner, _modules(work), ROOT, about.version)
    runtime = None if options.program_only else _appimage_runtime(work)
    if runtime is not None:
        parts += appimage.parts()
    licences.write(parts, inner / "resources" / "licences.json")
    if sys.platform == "darwin":
        _sign(program)
    say(f"[licences] {len(parts)} parts, nothing on GPL terms alone")
    bill = out / f"nadir-{about.version}-{_system()}.cdx.json"
    sbom.write(parts, about.version, program, bill)
    print(sizes.table(sizes.sizes(program)), flush=True)
    made = [bill]
    if not options.program_only:
        made += _archives(options, program, about.version, runtime)
        from freeze.archives import checksums

        checksums(made, out / "SHA256SUMS")
        for path in made:
            say(f"[made] {path.name} {path.stat().st_size / 1e6:.1f} MB")
    say(f"[done] after {time.monotonic() - begun:.0f} s: {out}")


def say(text: str) -> None:
    """Words on the way."""
    print(text, file=sys.stderr, flush=True)


def _freeze(work: Path, out: Path) -> Path:
    """Run PyInstaller; returns the program's folder (on macOS the application)."""
    log = work / "pyinstaller.log"
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=INFO"]
    command += ["--distpath", str(out), "--workpath", str(work / "pyinstaller")]
    started = time.monotonic()
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(
            [*command, str(ROOT / "packaging" / "nadir.spec")], stdout=file, stderr=file, cwd=work
        )
    if done.returncode:
        sys.stderr.write("".join(log.read_text("utf-8").splitlines(keepends=True)[-30:]))
        raise SystemExit(f"PyInstaller failed; all it said is in {log}")
    say(f"[freeze] PyInstaller took {time.monotonic() - started:.0f} s")
    return out / ("Nadir.app" if sys.platform == "darwin" else "nadir")


def _sign(application: Path) -> None:
    """Sign the application anew: PyInstaller has done it before the licences were in it."""
    rights = ROOT / "packaging" / "macos" / "entitlements.plist"
    command = [
        "codesign",
        "--force",
        "--deep",
        "--options",
        "runtime",
        "--entitlements",
        str(rights),
    ]
    identity = os.environ.get("NADIR_SIGN", "-")
    subprocess.run([*command, "--sign", identity, str(application)], check=True)


def _inner(program: Path) -> Path:
    # On macOS the libraries themselves lie there; in Contents/Resources are only links to them.
    return program / ("Contents/Frameworks" if sys.platform == "darwin" else "_internal")


def _system() -> str:
    names = {"linux": "linux", "darwin": "macos", "win32": "windows"}
    return f"{names[sys.platform]}-{platform.machine().lower()}"


def _modules(work: Path) -> list[str]:
    """The Python modules packed into the program."""
    readers = importlib.import_module("PyInstaller.archive.readers")
    found = next((work / "pyinstaller").rglob("PYZ-*.pyz"))
    return sorted(readers.ZlibArchiveReader(str(found)).toc)


def _appimage_runtime(work: Path) -> Path | None:
    from freeze.appimage import CannotBuildError, build_runtime

    if sys.platform != "linux":
        return None
    try:
        return build_runtime(work)
    except CannotBuildError as error:
        say(f"[appimage] left out: {error}")
        return None


def _archives(
    options: argparse.Namespace, program: Path, version: str, runtime: Path | None
) -> list[Path]:
    from importlib.metadata import version as version_of

    from freeze import archives
    from freeze.appimage import appimage
    from freeze.system import outside_needs
    from freeze.zipped import zip_folder

    out, work = options.out, options.work
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    if sys.platform != "linux":
        if sys.platform == "win32":
            for script in (ROOT / "packaging" / "windows").iterdir():
                shutil.copy2(script, program)
        base = out / f"nadir-{version}-{_system()}"
        zip_folder(program, base.with_name(f"{base.name}.zip"), epoch)
        return [base.with_name(f"{base.name}.zip")]
    libc = outside_needs(_inner(program))[1]
    words = {
        "VERSION": version,
        "DATE": time.strftime("%Y-%m-%d", time.gmtime(epoch)),
        "DATE_822": email.utils.formatdate(epoch),
        "LIBC": libc,
        "PYTHON": f"{sys.version_info.major}.{sys.version_info.minor}",
        "ORT": version_of("onnxruntime"),
    }
    icons, svg = work / "icons", ROOT / "resources" / "icons" / "nadir.svg"
    release = archives.Release(
        program, icons, svg, out, work, words, ROOT / "LICENSE", epoch, options.small
    )
    made = [archives.tarball(release)]
    if runtime is not None:
        made.append(appimage(release, runtime))
    if shutil.which("dpkg-deb"):
        made.append(archives.debian_package(release))
    else:
        say("[deb] left out: dpkg-deb is not here")
    return made


if __name__ == "__main__":
    sys.exit(main())
