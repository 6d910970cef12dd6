"""The beginning of the AppImage, compiled and run with a small program behind it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from freeze import appimage
from freeze.archives import Release
from freeze.icons import SIZES

ROOT = Path(__file__).resolve().parents[2]
MISSING = appimage.missing_packages() if sys.platform == "linux" else ["Linux"]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"to compile it takes {', '.join(MISSING)} (packaging/build.py has them)"
)
PROGRAM = """\
#!/bin/sh
case $1 in
wait) sleep "$2" ;;
later) (exec >/dev/null 2>&1 </dev/null; cd "$APPDIR" && sleep "$2" && cat nadir/data >"$3") & ;;
*) echo "$APPIMAGE|$APPDIR|$ARGV0|$OWD"; for word in "$@"; do echo "word: $word"; done; exit 7 ;;
esac
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AppImage whose program only tells how it was called."""
    work = tmp_path_factory.mktemp("appimage")
    program = work / "program"
    program.mkdir()
    (program / "nadir").write_text(PROGRAM)
    (program / "nadir").chmod(0o755)
    (program / "data").write_bytes(os.urandom(700_000) + b"the end")
    (program / "link").symlink_to("data")
    icons = work / "icons"
    icons.mkdir()
    for size in SIZES:
        (icons / f"{size}x{size}.png").write_bytes(b"png")
    words = {"VERSION": "1.0", "DATE": "2026-01-01", "LIBC": "2.36", "PYTHON": "3.11", "ORT": "1"}
    svg = ROOT / "resources/icons/nadir.svg"
    release = Release(
        program, icons, svg, work, work, words, ROOT / "LICENSE", 1_700_000_000, False
    )
    made = appimage.appimage(release, appimage.build_runtime(work))
    again = appimage.appimage(replace(release, out=icons), appimage.build_runtime(work))
    assert made.read_bytes() == again.read_bytes()
    return made


def call(
    image: Path, home: Path, *words: str, fuse: bool = False, **environ: str
) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    if not fuse:
        environ["APPIMAGE_EXTRACT_AND_RUN"] = "1"
    return subprocess.run(
        [str(image), *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home), **environ},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )


def unpacked_in(home: Path) -> list[Path]:
    return [p for p in (home / ".cache/nadir").glob("appimage-*") if "." not in p.name]


def test_it_says_what_it_is(image: Path, tmp_path: Path) -> None:
    head = image.read_bytes()[:11]
    assert head[:4] == b"\x7fELF" and head[8:] == b"AI\x02"
    offset = int(call(image, tmp_path / "home", "--appimage-offset").stdout)
    with open(image, "rb") as file:
        file.seek(offset)
        assert file.read(4) == b"hsqs"
    assert "--appimage-extract" in call(image, tmp_path / "home", "--appimage-help").stdout
    wrong = call(image, tmp_path / "home", "--appimage-fly")
    assert wrong.returncode == 2 and "no such option: --appimage-fly" in wrong.stderr


def test_nothing_but_the_c_library_has_to_be_there(image: Path) -> None:
    from freeze.elf import ElfFile

    assert set(ElfFile.read(image).needed) <= {"libc.so.6", "ld-linux-x86-64.so.2"}


def test_it_unpacks_once_and_runs_from_there(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    done = call(image, home, "localize", "two words", "")
    (unpacked,) = unpacked_in(home)
    said = done.stdout.splitlines()
    assert said[0] == f"{image}|{unpacked}|{image}|{home}"
    assert said[1:] == ["word: localize", "word: two words", "word: "]
    assert done.returncode == 7 and "Unpacking once" in done.stderr
    assert (unpacked / "nadir/data").read_bytes().endswith(b"the end")
    assert (unpacked / "nadir/link").readlink() == Path("data")
    before = (unpacked / "nadir/data").stat()
    again = call(image, home, "--appimage-extract-and-run", "x", APPIMAGE_EXTRACT_AND_RUN="")
    assert again.stdout.splitlines()[1:] == ["word: x"] and not again.stderr
    assert (unpacked / "nadir/data").stat().st_mtime_ns == before.st_mtime_ns


def test_what_other_versions_unpacked_goes_unless_one_runs(image: Path, tmp_path: Path) -> None:
    import fcntl

    home = tmp_path / "home"
    cache = home / ".cache/nadir"
    for name in ("appimage-1111", "appimage-2222"):
        (cache / name / "nadir").mkdir(parents=True)
    with open(cache / "appimage-2222.lock", "w") as running:
        fcntl.flock(running, fcntl.LOCK_SH)
        call(image, home)
    assert not (cache / "appimage-1111").exists() and (cache / "appimage-2222").is_dir()


def test_an_unpacking_that_broke_off_is_done_anew(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert call(image, home).returncode == 7
    (unpacked,) = unpacked_in(home)
    shutil.move(unpacked, f"{unpacked}.new")
    (Path(f"{unpacked}.new") / "nadir/data").write_text("half")
    assert call(image, home).returncode == 7
    assert (unpacked / "nadir/data").stat().st_size > 700_000
    assert {path.name for path in unpacked.parent.iterdir()} == {
        unpacked.name,
        f"{unpacked.name}.lock",
    }


def test_what_was_partly_deleted_is_unpacked_anew(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    call(image, home)
    (unpacked,) = unpacked_in(home)
    shutil.rmtree(unpacked / "nadir")
    assert call(image, home).returncode == 7


def test_two_versions_unpack_at_once(image: Path, tmp_path: Path) -> None:
    """Each into a folder of its own; the same version twice waits for itself."""
    home = tmp_path / "home"
    home.mkdir()
    other = Path(shutil.copy2(image, tmp_path / "Other.AppImage"))
    with open(other, "ab") as file:
        file.write(b"\0" * 4096)
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "APPIMAGE_EXTRACT_AND_RUN": "1"}
    started = [
        subprocess.Popen([str(path), "x"], env=environ, stdout=subprocess.PIPE, text=True)
        for path in (image, other, image, other, image)
    ]
    for process in started:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 7 and out.endswith("word: x\n")
    for path in (image, other):
        assert call(path, home).returncode == 7
    assert not list((home / ".cache/nadir").glob("*.new"))


def test_what_a_build_runs_from_is_not_taken_away(image: Path, tmp_path: Path) -> None:
    """A build or a training of another version has no lock; it runs from the folder, or stands in it."""
    home = tmp_path / "home"
    old = home / ".cache/nadir/appimage-0123"
    old.mkdir(parents=True)
    standing = subprocess.Popen(["sleep", "60"], cwd=old)
    try:
        call(image, home)
        assert old.is_dir()
    finally:
        standing.kill()
        standing.wait()
    shutil.rmtree(unpacked_in(home)[0])
    call(image, home)
    assert not old.exists()


def test_links_that_are_there_lead_nothing_astray(image: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    doc = tmp_path / "squashfs-root/usr/share/doc/nadir"
    doc.mkdir(parents=True)
    (doc / "LICENSE").symlink_to(precious)
    assert call(image, tmp_path, "--appimage-extract", "usr/share/doc").returncode == 0
    assert precious.read_text() == "mine" and not (doc / "LICENSE").is_symlink()
    shutil.rmtree(tmp_path / "squashfs-root")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "squashfs-root").symlink_to(tmp_path / "elsewhere")
    done = call(image, tmp_path, "--appimage-extract")
    assert done.returncode == 1 and "will not write into squashfs-root" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_named(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    done = call(image, home)
    assert done.returncode == 1 and f"{home}/.cache" in done.stderr


def test_without_a_home_it_says_what_to_do(image: Path, tmp_path: Path) -> None:
    done = call(image, tmp_path, HOME="")
    assert done.returncode == 1 and "--appimage-extract" in done.stderr


def test_a_full_disk_is_told(image: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$0"', str(image)],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "APPIMAGE_EXTRACT_AND_RUN": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "cannot write" in done.stderr and "nadir/data" in done.stderr
    assert not list((home / ".cache/nadir").glob("appimage-*.new"))
    assert call(image, home).returncode == 7  # and the next start, with room, mends it


def test_parts_are_extracted_by_hand(image: Path, tmp_path: Path) -> None:
    none = call(image, tmp_path, "--appimage-extract", "none")
    assert none.returncode == 1 and "nothing in" in none.stderr
    assert call(image, tmp_path, "--appimage-extract", "usr/share/doc").stdout == "squashfs-root\n"
    assert [p.name for p in (tmp_path / "squashfs-root").iterdir()] == ["usr"]
    files = {p.name for p in (tmp_path / "squashfs-root").rglob("*") if p.is_file()}
    assert files == {"LICENSE", "READ_ME.txt", "runtime.c"}
    call(image, tmp_path, "--appimage-extract")
    root = tmp_path / "squashfs-root"
    assert (root / "AppRun").resolve() == root / "nadir/nadir"
    assert stat.S_IMODE((root / "nadir/nadir").stat().st_mode) == 0o755
    assert "X-AppImage-Version=1.0" in (root / "nadir.desktop").read_text()


@pytest.mark.parametrize("left", [0.2, 0.6, 0.98])
def test_a_download_that_broke_off_is_told(image: Path, tmp_path: Path, left: float) -> None:
    whole = image.read_bytes()
    half = tmp_path / "Nadir.AppImage"
    start = int(call(image, tmp_path, "--appimage-offset").stdout)
    half.write_bytes(whole[: start + int((len(whole) - start) * left)])
    half.chmod(0o755)
    done = call(half, tmp_path / "home")
    assert done.returncode == 1 and "is damaged: get it anew" in done.stderr
    assert not unpacked_in(tmp_path / "home")
    assert not list((tmp_path / "home/.cache/nadir").glob("*.new"))


def _mounts(home: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(home) in line]


def _can_mount(image: Path, home: Path) -> bool:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return False
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return False
    return "/.mount_nadir" in call(image, home, fuse=True).stdout


def test_it_is_mounted_for_as_long_as_anything_runs_from_it(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if not _can_mount(image, home):
        pytest.skip("this system lets nothing be mounted by FUSE")
    done = call(image, home, "x", fuse=True)
    assert done.returncode == 7 and done.stdout.splitlines()[1:] == ["word: x"] and not done.stderr
    assert not (home / ".cache").exists()
    # A training that outlives the window: it stands in the mount, and reads from it after the first process has gone.
    out = tmp_path / "out"
    began = time.monotonic()
    assert call(image, home, "later", "2", str(out), fuse=True).returncode == 0
    assert time.monotonic() - began < 1.5 and not out.exists() and _mounts(home)
    deadline = time.monotonic() + 20
    while (_mounts(home) or not out.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert out.read_bytes().endswith(b"the end")
    assert not _mounts(home) and not list(home.glob(".mount_nadir*"))


def test_a_program_that_is_killed_leaves_no_mount(image: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if not _can_mount(image, home):
        pytest.skip("this system lets nothing be mounted by FUSE")
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "TMPDIR": str(home)}
    process = subprocess.Popen([str(image), "wait", "60"], env=environ, start_new_session=True)
    deadline = time.monotonic() + 20
    while not _mounts(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _mounts(home)
    time.sleep(0.3)
    os.killpg(process.pid, 9)
    process.wait(10)
    while _mounts(home) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _mounts(home)
