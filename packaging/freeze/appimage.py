"""The AppImage: the whole program as one file that is mounted where it lies, not unpacked.

After the AppImage specification, type 2: a small program of ours (``packaging/appimage/runtime.c``) with a squashfs
behind it. The runtime that others use is published where this project's builds do not download from, so ours is
compiled here, from the building system's own libraries for squashfs and FUSE.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from freeze.archives import METAINFO, Release, desktop_files, fresh, place, readme, write
from freeze.licences import Part, standard_text
from freeze.system import copyright_of, version_of

SOURCE = Path(__file__).resolve().parents[1] / "appimage" / "runtime.c"
MAGIC = b"AI\x02"  # at byte 8 of the file, which ELF leaves free
_HEADERS = Path("/usr/include")

NEEDS: dict[str, Path] = {
    "gcc": Path("/usr/bin/gcc"),
    "libc6-dev": _HEADERS / "stdio.h",
    "libfuse3-dev": _HEADERS / "fuse3/fuse_lowlevel.h",
    "libsquashfuse-dev": _HEADERS / "squashfuse/ll.h",
    "libzstd-dev": _HEADERS / "zstd.h",
    "squashfs-tools": Path("/usr/bin/mksquashfs"),
    "zlib1g-dev": _HEADERS / "zlib.h",
}
"""Debian's packages that it takes, each with a file by which it is known."""


class CannotBuildError(Exception):
    """The building system lacks something; the words say what."""


def missing_packages() -> list[str]:
    """Debian's packages that are not here."""
    return [name for name, file in NEEDS.items() if not file.exists()]


def build_runtime(work: Path) -> Path:
    """Compile what the AppImage begins with.

    The libraries go inside: it must run where none of them is. Only the C library stays outside, which the program
    needs anyway.

    Raises:
        CannotBuildError: compiler, headers or static libraries are missing.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or shutil.which("mksquashfs") is None:
        raise CannotBuildError("it takes a C compiler and mksquashfs")
    target = work / "appimage-runtime"
    command = [compiler, "-Os", "-Wall", "-s", "-o", str(target), str(SOURCE)]
    command += [f"-I{_HEADERS}/squashfuse", "-Wl,-Bstatic"]
    command += ["-lsquashfuse_ll", "-lsquashfuse", "-lfuse3", "-lzstd", "-lz"]
    command += ["-Wl,-Bdynamic", "-lpthread", "-ldl", "-Wl,--build-id=none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip() or "the compiler failed").splitlines()
        raise CannotBuildError(f"its runtime could not be compiled: {words[-1]}")
    with open(target, "r+b") as file:
        file.seek(8)
        file.write(MAGIC)
    return target


def parts() -> list[Part]:
    """What the runtime is linked with, for the page of licences (zlib and Zstandard are told of already)."""
    words = (
        "Linked into the AppImage's first part. Its source and the command that links it with another version\n"
        "of this library: packaging/appimage and packaging/freeze/appimage.py in Nadir's source; the source is\n"
        "in the AppImage too, under usr/share/doc/nadir.\n\n"
    )
    told = (
        ("squashfuse", "libsquashfuse-dev", "BSD-2-Clause", "https://github.com/vasi/squashfuse"),
        ("libfuse", "libfuse3-dev", "LGPL-2.1-only", "https://github.com/libfuse/libfuse"),
    )
    return [
        Part(
            title,
            version_of(package),
            licence,
            "library",
            home,
            words + (standard_text(licence) or copyright_of(package)),
        )
        for title, package, licence, home in told
    ]


def appimage(release: Release, runtime: Path) -> Path:
    """Write ``Nadir-VERSION-MACHINE.AppImage``."""
    folder = fresh(release.work / "appdir")
    place(release.program, folder / "nadir")
    (folder / "AppRun").symlink_to("nadir/nadir")
    share = folder / "usr" / "share"
    desktop_files(release, share)
    # Tools that put AppImages into the desktop's menu look at the root.
    entry = (share / "applications" / "nadir.desktop").read_text("utf-8")
    write(folder / "nadir.desktop", f"{entry}X-AppImage-Version={release.version}\n".encode())
    write(folder / "nadir.png", (release.icons / "256x256.png").read_bytes())
    (folder / ".DirIcon").symlink_to("nadir.png")
    (share / "metainfo" / "nadir.appdata.xml").symlink_to(METAINFO)
    doc = share / "doc" / "nadir"
    write(doc / "LICENSE", release.licence.read_bytes())
    write(doc / "READ_ME.txt", readme(release, "appimage"))
    write(doc / SOURCE.name, SOURCE.read_bytes())
    files = release.work / "appimage.squashfs"
    files.unlink(missing_ok=True)
    command = ["mksquashfs", str(folder), str(files), "-comp", "zstd"]
    command += ["-Xcompression-level", "22" if release.small else "9", "-b", "256K"]
    command += ["-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet"]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)}
    subprocess.run(command, env=environ, check=True, capture_output=True)
    target = release.out / f"Nadir-{release.version}-{platform.machine()}.AppImage"
    with open(target, "wb") as out:
        for part in (runtime, files):
            with open(part, "rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    target.chmod(0o755)
    files.unlink()
    shutil.rmtree(folder)
    return target
