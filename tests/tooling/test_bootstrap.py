"""What ``run.py`` says and asks of the system, piece by piece."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import pytest

from bootstrap import display, system
from bootstrap.console import Console
from bootstrap.environment import Environment, is_ready, remove_half_installed
from bootstrap.pip_words import PipWords
from bootstrap.trouble import Trouble, pip_trouble

linux = pytest.mark.skipif(sys.platform != "linux", reason="about Linux desktops")


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        (
            "...: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "offline",
        ),
        (
            "ProxyError('Cannot connect to proxy.', NewConnectionError('Name or service not known'))",
            "proxy did not let",
        ),
        (
            "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
            "certificate",
        ),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "download failed"),
        ("error: incomplete-download\n× Download failed after 6 attempts", "download failed"),
        (
            "ERROR: No matching distribution found for PySide6==6.12.0",
            "no PySide6==6.12.0 that fits Python 3.11",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "damaged"),
        ("ERROR: Could not install: [Errno 13] Permission denied: '/x'", "could not be written"),
        ("ERROR: something new", "pip could not install"),
    ],
)
def test_pips_failures_are_told_in_words(output: str, problem: str) -> None:
    trouble = pip_trouble(output, Path("/home/me/nadir"), Path("/log"), "1.8 GB", "3.11.7")
    assert problem in trouble.problem
    assert "/log" in trouble.remedy


def test_pips_lines_become_progress() -> None:
    said = io.StringIO()
    said.isatty = lambda: True  # type: ignore[method-assign]
    words = PipWords(Console(said), raw=True)
    words.hear("Downloading pyside6_addons-6.12.0-cp310-abi3-manylinux_2_34_x86_64.whl (171.0 MB)")
    words._console._last = 0.0
    words.hear("Progress 85500000 of 171000000")
    assert "downloading pyside6_addons 6.12.0 (171.0 MB): 86 MB of 171 MB" in said.getvalue()
    assert not any("Progress" in text for text in words.said)


_DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
_UBUNTU = 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
_FEDORA = "PRETTY_NAME='Rocky Linux 9'\nID='rocky'\nID_LIKE='rhel centos fedora'\n"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (_DEBIAN, "debian"),
        (_UBUNTU, "debian"),
        (_FEDORA, "fedora"),
        ("ID=arch\n", "arch"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ("ID=nixos\n", ""),
        ("", ""),
    ],
)
def test_distributions_are_known_by_their_kin(text: str, family: str) -> None:
    assert system.parse_system(text, root=False).family == family


@pytest.mark.parametrize(
    ("text", "root", "command"),
    [
        (_FEDORA, False, "sudo dnf install -y libglvnd-egl xcb-util-cursor"),
        ("ID=arch\n", True, "    pacman -S --needed libglvnd xcb-util-cursor"),
        (_DEBIAN, False, "sudo apt-get install -y --no-install-recommends libegl1 libxcb-cursor0"),
    ],
)
def test_who_may_not_install_gets_the_exact_command(text: str, root: bool, command: str) -> None:
    machine = system.parse_system(text, root=root)
    packages = system.packages_of(["libEGL.so.1", "libxcb-cursor.so.0"], machine)
    with pytest.raises(Trouble) as caught:
        system.ensure_packages(packages, "Qt needs libraries", machine, Console(io.StringIO()))
    assert command in caught.value.remedy


def needed_libraries(path: Path) -> set[str]:
    """The shared libraries a 64-bit little-endian ELF file names (DT_NEEDED)."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return set()
    offset, entry, count = (
        struct.unpack_from("<Q", data, 32)[0],
        *struct.unpack_from("<HH", data, 54),
    )
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * entry) for i in range(count)]
    loads = [(h[3], h[2], h[5]) for h in headers if h[0] == 1]
    tags: list[tuple[int, int]] = []
    for header in headers:
        if header[0] == 2:
            pairs = range(header[2], header[2] + header[5], 16)
            tags = [struct.unpack_from("<QQ", data, at) for at in pairs]
    strings = next(value for tag, value in tags if tag == 5)
    base = next(o + strings - v for v, o, size in loads if v <= strings < v + size)
    ends = [(base + value, data.index(b"\0", base + value)) for tag, value in tags if tag == 1]
    return {data[start:end].decode() for start, end in ends}


@linux
def test_every_library_that_qt_takes_from_the_system_is_known() -> None:
    pyside = pytest.importorskip("PySide6")
    qt = Path(pyside.__file__).parent / "Qt"
    modules = "Core Gui Widgets Network OpenGL Svg WebChannel WebEngineCore WebEngineWidgets XcbQpa"
    files = [qt / "lib" / f"libQt6{name}.so.6" for name in modules.split()]
    files += [qt / "libexec" / "QtWebEngineProcess", qt / "plugins" / "platforms" / "libqxcb.so"]
    files += qt.glob("plugins/xcbglintegrations/*.so")
    brought = {path.name for path in (qt / "lib").iterdir()}
    libc = {
        "libc.so.6",
        "libm.so.6",
        "libgcc_s.so.1",
        "libdl.so.2",
        "libpthread.so.0",
        "libresolv.so.2",
    }
    needed = set().union(*(needed_libraries(path) for path in files)) - brought - libc
    unknown = {name for name in needed if not name.startswith("ld-linux")} - set(system.LIBRARIES)
    assert len(needed) > 30
    assert not unknown


@linux
def test_libraries_that_are_not_there_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.missing_libraries({}) == []
    monkeypatch.setitem(system.LIBRARIES, "libnowhere.so.7", ("libnowhere7",) * 4)
    assert system.missing_libraries({}) == ["libnowhere.so.7"]


@linux
def test_a_display_has_to_answer() -> None:
    with pytest.raises(Trouble, match="not set"):
        display.check_display({})
    with pytest.raises(Trouble, match="DISPLAY is :7654"):
        display.check_display({"DISPLAY": ":7654"})
    with pytest.raises(Trouble, match="WAYLAND_DISPLAY is wayland-9"):
        display.check_display({"WAYLAND_DISPLAY": "wayland-9", "XDG_RUNTIME_DIR": "/nonexistent"})
    assert "offscreen" in display.check_display({"QT_QPA_PLATFORM": "offscreen"})


@linux
def test_a_screen_in_memory_is_a_display() -> None:
    with display.screen_in_memory("640x480x24") as name:
        if name is None:
            pytest.skip("Xvfb is not installed")
        assert display.check_display({"DISPLAY": name}) == f"X display {name}"
    assert not display.x11_answers(name)


def test_the_sandbox_is_given_up_for_root_alone_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    root = system.System("debian", "Debian", True)
    assert system.sandbox_obstacle(root) == ("you are root" if sys.platform == "linux" else "")


def test_whole_libraries_are_left_alone(tmp_path: Path) -> None:
    env = Environment(tmp_path)
    site = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("whole", "cut", "listless"):
        notes = site / f"{name}-1.dist-info"
        notes.mkdir(parents=True)
        (site / f"{name}.py").write_text("x = 1\n")
        (notes / "INSTALLER").write_text("pip\n")
        lines = [f"{name}.py,sha256=abc,6", f"{name}-1.dist-info/INSTALLER,,"]
        (notes / "RECORD").write_text("\n".join(lines))
    (site / "cut.py").write_text("x =")
    (site / "listless-1.dist-info" / "RECORD").unlink()
    (site / "~umpy").mkdir()
    assert remove_half_installed(env) == ["cut-1", "listless-1"]
    assert sorted(path.name for path in site.glob("*.dist-info")) == ["whole-1.dist-info"]
    assert not (site / "~umpy").exists()


def test_a_damaged_stamp_vouches_for_nothing(tmp_path: Path) -> None:
    env = Environment(tmp_path)
    env.folder.mkdir()
    for text in ("", "{", "[]", '{"python": 3}'):
        env.stamp.write_text(text)
        assert not is_ready(env, "runtime")
