"""What people get: an archive with an installer, a Debian package, checksums; the AppImage has a file of its own."""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from freeze.system import depends

LINUX = Path(__file__).resolve().parents[1] / "linux"
INSTALL = {
    "archive": """\
Try it without installing:        ./nadir/nadir
Install it for you:               ./install.sh
Install it for everybody:         sudo ./install.sh --system
Take it away again:               ~/.local/lib/nadir/uninstall.sh   (or /opt/nadir/uninstall.sh)""",
    "package": """\
Start it from the desktop's menu, or as `nadir`. To take it away again: sudo apt remove nadir""",
    "appimage": """\
This is the program as one file. Make it executable (chmod +x) and start it: it is mounted, not unpacked. Where FUSE is
not to be had, it unpacks itself once into ~/.cache/nadir. `--appimage-help` lists what else the file can do. To take it
away, delete it, and ~/.cache/nadir.""",
}
"""How people get each of them, for its READ_ME.txt."""
_BESIDE = {"archive": "next to the program `nadir`", "package": "in /opt/nadir"}
_BESIDE["appimage"] = "next to the AppImage"
_LICENCES = {"archive": "nadir", "package": "/opt/nadir", "appimage": "its nadir"}
METAINFO = "org.nadir.Nadir.metainfo.xml"
_DEB_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """What is packed.

    Attributes:
        program: the folder with the program and ``_internal``.
        icons: PNGs named ``SIZExSIZE.png`` and the SVG they were made of.
        out: where the archives go.
        work: a folder for what is only needed meanwhile.
        words: for the templates: VERSION, DATE, LIBC, PYTHON, ORT.
        licence: Nadir's own.
        epoch: the time all files bear, in seconds since 1970.
        small: whether to take minutes for the smallest archives.
    """

    program: Path
    icons: Path
    svg: Path
    out: Path
    work: Path
    words: dict[str, str]
    licence: Path
    epoch: int
    small: bool

    @property
    def version(self) -> str:
        return self.words["VERSION"]


def fill(text: str, words: dict[str, str]) -> str:
    """Put words in the place of ``@NAME@``."""
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


def desktop_files(release: Release, share: Path) -> None:
    """Lay out what the desktop reads under ``share``: entries, icons, kinds of files, description, manual."""
    plain = {
        "applications/nadir.desktop": LINUX / "nadir.desktop",
        "applications/zz-nadir-folder.desktop": LINUX / "zz-nadir-folder.desktop",
        "mime/packages/nadir.xml": LINUX / "nadir.xml",
        f"metainfo/{METAINFO}": LINUX / METAINFO,
    }
    for name, source in plain.items():
        write(share / name, fill(source.read_text("utf-8"), release.words).encode())
    for picture in sorted(release.icons.glob("*x*.png")):
        if picture.stem != "1024x1024":
            where = share / "icons" / "hicolor" / picture.stem
            for name in ("apps/nadir", "mimetypes/application-x-nadir-encoder"):
                write(where / f"{name}.png", picture.read_bytes())
            write(where / "mimetypes/application-x-nadir-index.png", picture.read_bytes())
    write(share / "icons/hicolor/scalable/apps/nadir.svg", release.svg.read_bytes())
    write(share / "man/man1/nadir.1.gz", manual(release))


def tarball(release: Release) -> Path:
    """An archive with the program and ``install.sh``."""
    name = f"nadir-{release.version}-linux-{platform.machine()}"
    folder = fresh(release.work / "tarball" / name)
    place(release.program, folder / "nadir")
    desktop_files(release, folder / "share")
    write(folder / "install.sh", (LINUX / "install.sh").read_bytes(), 0o755)
    write(folder / "READ_ME.txt", readme(release, "archive"))
    write(folder / "LICENSE", release.licence.read_bytes())
    target = release.out / f"{name}.tar.xz"
    packer = ("xz -T0 -6" if release.small else "xz -T0 -0") if shutil.which("xz") else "gzip -n"
    if packer.startswith("gzip"):
        target = target.with_suffix(".gz")
    command = ["tar", "--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    command += [
        "--mode=go+rX,go-w",
        f"--mtime=@{release.epoch}",
        f"--use-compress-program={packer}",
    ]
    command += [f"--file={target}", f"--directory={folder.parent}", name]
    subprocess.run(command, check=True)
    shutil.rmtree(folder)
    return target


def debian_package(release: Release) -> Path:
    """A package for Debian and its kin: the program in ``/opt/nadir``, the rest where Debian keeps it."""
    root = fresh(release.work / "deb")
    place(release.program, root / "opt" / "nadir")
    share = root / "usr" / "share"
    desktop_files(release, share)
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "nadir").symlink_to("../../opt/nadir/nadir")
    doc = share / "doc" / "nadir"
    write(doc / "copyright", _debian_copyright(release))
    history = f"nadir ({release.version}) unstable; urgency=medium\n\n  * See the project's own history.\n\n"
    history += f" -- Nadir <nadir@localhost>  {release.words['DATE_822']}\n"
    write(doc / "changelog.gz", gzip.compress(history.encode(), mtime=0))
    write(doc / "READ_ME.txt", readme(release, "package"))
    architecture = _DEB_ARCHITECTURES.get(platform.machine(), platform.machine())
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    control = f"""\
Package: nadir
Version: {release.version}
Architecture: {architecture}
Maintainer: Nadir <nadir@localhost>
Installed-Size: {size // 1024}
Depends: {", ".join(depends(release.program / "_internal"))}
Suggests: python3 (>= 3.11), python3-venv
Section: science
Priority: optional
Description: find where a photo was taken, offline, from aerial imagery
 Nadir matches a photo or a panorama taken on the ground with aerial imagery
 and shows the places that fit best on a map, with what speaks for each.
 Nothing leaves the computer. It comes with a small town to try it on.
"""
    write(root / "DEBIAN" / "control", control.encode())
    target = release.out / f"nadir_{release.version}_{architecture}.deb"
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)}
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd"]
    command += [f"-z{19 if release.small else 3}", "--build"]
    subprocess.run([*command, root, target], env=environ, check=True, capture_output=True)
    shutil.rmtree(root)
    return target


def _debian_copyright(release: Release) -> bytes:
    text = "Nadir's own licence. Those of all it contains are in its menu under Licences, and in\n"
    text += "/opt/nadir/_internal/resources/licences.json.\n\n"
    return text.encode() + release.licence.read_bytes()


def checksums(files: list[Path], target: Path) -> None:
    """Write ``SHA256SUMS``, as ``sha256sum --check`` reads it."""
    lines = []
    for path in sorted(files):
        with open(path, "rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    target.write_text("".join(lines), "utf-8")


def readme(release: Release, kind: Literal["archive", "package", "appimage"]) -> bytes:
    """``READ_ME.txt`` with the numbers of this release, for one way of getting it."""
    words = {**release.words, "INSTALL": INSTALL[kind], "BESIDE": _BESIDE[kind]}
    words["LICENCES"] = f"{_LICENCES[kind]}/_internal/resources/licences.json"
    return fill((LINUX / "READ_ME.txt").read_text("utf-8"), words).encode()


def manual(release: Release) -> bytes:
    """The page of the manual, packed."""
    text = fill((LINUX / "nadir.1").read_text("utf-8"), release.words)
    return gzip.compress(text.encode(), mtime=0)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder


def place(program: Path, target: Path) -> None:
    """The program at another place, without a second copy where the disk allows that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(program, target, symlinks=True, copy_function=os.link)
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(program, target, symlinks=True)


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
