"""What has to come from the operating system: Qt's shared libraries, Python's venv module, Xvfb."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.child import run_child
from bootstrap.console import Console
from bootstrap.trouble import AGAIN, Trouble

FAMILIES = ("debian", "fedora", "arch", "suse")


@dataclass(frozen=True)
class System:
    """Which packages this machine understands, and whether we may install them."""

    family: str  # one of FAMILIES, or "" where unknown
    name: str
    root: bool

    @property
    def installs(self) -> bool:
        """Whether run.py may install packages by itself: root on Debian, Ubuntu and their kin."""
        return self.root and self.family == "debian" and shutil.which("apt-get") is not None


# shared library -> its package on Debian (newer name first where it has two), Fedora, Arch, openSUSE
LIBRARIES: dict[str, tuple[str, str, str, str]] = {
    "libstdc++.so.6": ("libstdc++6", "libstdc++", "gcc-libs", "libstdc++6"),
    "libEGL.so.1": ("libegl1", "libglvnd-egl", "libglvnd", "libEGL1"),
    "libGL.so.1": ("libgl1", "libglvnd-glx", "libglvnd", "libGL1"),
    "libgbm.so.1": ("libgbm1", "mesa-libgbm", "mesa", "libgbm1"),
    "libX11.so.6": ("libx11-6", "libX11", "libx11", "libX11-6"),
    "libX11-xcb.so.1": ("libx11-xcb1", "libX11-xcb", "libx11", "libX11-xcb1"),
    "libXcomposite.so.1": ("libxcomposite1", "libXcomposite", "libxcomposite", "libXcomposite1"),
    "libXdamage.so.1": ("libxdamage1", "libXdamage", "libxdamage", "libXdamage1"),
    "libXext.so.6": ("libxext6", "libXext", "libxext", "libXext6"),
    "libXfixes.so.3": ("libxfixes3", "libXfixes", "libxfixes", "libXfixes3"),
    "libXrandr.so.2": ("libxrandr2", "libXrandr", "libxrandr", "libXrandr2"),
    "libXtst.so.6": ("libxtst6", "libXtst", "libxtst", "libXtst6"),
    "libxcb.so.1": ("libxcb1", "libxcb", "libxcb", "libxcb1"),
    "libxcb-cursor.so.0": (
        "libxcb-cursor0",
        "xcb-util-cursor",
        "xcb-util-cursor",
        "libxcb-cursor0",
    ),
    "libxcb-dri3.so.0": ("libxcb-dri3-0", "libxcb", "libxcb", "libxcb-dri3-0"),
    "libxcb-glx.so.0": ("libxcb-glx0", "libxcb", "libxcb", "libxcb-glx0"),
    "libxcb-icccm.so.4": ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm", "libxcb-icccm4"),
    "libxcb-image.so.0": ("libxcb-image0", "xcb-util-image", "xcb-util-image", "libxcb-image0"),
    "libxcb-keysyms.so.1": (
        "libxcb-keysyms1",
        "xcb-util-keysyms",
        "xcb-util-keysyms",
        "libxcb-keysyms1",
    ),
    "libxcb-randr.so.0": ("libxcb-randr0", "libxcb", "libxcb", "libxcb-randr0"),
    "libxcb-render.so.0": ("libxcb-render0", "libxcb", "libxcb", "libxcb-render0"),
    "libxcb-render-util.so.0": (
        "libxcb-render-util0",
        "xcb-util-renderutil",
        "xcb-util-renderutil",
        "libxcb-render-util0",
    ),
    "libxcb-shape.so.0": ("libxcb-shape0", "libxcb", "libxcb", "libxcb-shape0"),
    "libxcb-shm.so.0": ("libxcb-shm0", "libxcb", "libxcb", "libxcb-shm0"),
    "libxcb-sync.so.1": ("libxcb-sync1", "libxcb", "libxcb", "libxcb-sync1"),
    "libxcb-util.so.1": ("libxcb-util1", "xcb-util", "xcb-util", "libxcb-util1"),
    "libxcb-xfixes.so.0": ("libxcb-xfixes0", "libxcb", "libxcb", "libxcb-xfixes0"),
    "libxcb-xkb.so.1": ("libxcb-xkb1", "libxcb", "libxcb", "libxcb-xkb1"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    "libxkbcommon-x11.so.0": (
        "libxkbcommon-x11-0",
        "libxkbcommon-x11",
        "libxkbcommon-x11",
        "libxkbcommon-x11-0",
    ),
    "libxkbfile.so.1": ("libxkbfile1", "libxkbfile", "libxkbfile", "libxkbfile1"),
    "libfontconfig.so.1": ("libfontconfig1", "fontconfig", "fontconfig", "fontconfig"),
    "libfreetype.so.6": ("libfreetype6", "freetype", "freetype2", "libfreetype6"),
    "libdbus-1.so.3": ("libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    "libexpat.so.1": ("libexpat1", "expat", "expat", "libexpat1"),
    "libglib-2.0.so.0": ("libglib2.0-0t64|libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    "libgthread-2.0.so.0": ("libglib2.0-0t64|libglib2.0-0", "glib2", "glib2", "libgthread-2_0-0"),
    "libgssapi_krb5.so.2": ("libgssapi-krb5-2", "krb5-libs", "krb5", "krb5"),
    "libnspr4.so": ("libnspr4", "nspr", "nspr", "mozilla-nspr"),
    "libnss3.so": ("libnss3", "nss", "nss", "mozilla-nss"),
    "libnssutil3.so": ("libnss3", "nss-util", "nss", "mozilla-nss"),
    "libsmime3.so": ("libnss3", "nss", "nss", "mozilla-nss"),
    "libasound.so.2": ("libasound2t64|libasound2", "alsa-lib", "alsa-lib", "libasound2"),
    "libudev.so.1": ("libudev1", "systemd-libs", "systemd-libs", "libudev1"),
    "libz.so.1": ("zlib1g", "zlib", "zlib", "libz1"),
    "libzstd.so.1": ("libzstd1", "libzstd", "zstd", "libzstd1"),
    "libbrotlicommon.so.1": ("libbrotli1", "libbrotli", "brotli", "libbrotlicommon1"),
    "libbrotlidec.so.1": ("libbrotli1", "libbrotli", "brotli", "libbrotlidec1"),
}
# wanted too where the desktop is a Wayland one
WAYLAND: dict[str, tuple[str, str, str, str]] = {
    "libwayland-client.so.0": (
        "libwayland-client0",
        "libwayland-client",
        "wayland",
        "libwayland-client0",
    ),
    "libwayland-cursor.so.0": (
        "libwayland-cursor0",
        "libwayland-cursor",
        "wayland",
        "libwayland-cursor0",
    ),
    "libwayland-egl.so.1": ("libwayland-egl1", "libwayland-egl", "wayland", "libwayland-egl1"),
}
ENGINE = (
    "libstdc++.so.6",
    "libexpat.so.1",
    "libz.so.1",
)  # of LIBRARIES, what works without a window
XVFB = ("xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb", "xorg-x11-server-Xvfb")
_COMMANDS = {
    "debian": "apt-get install -y --no-install-recommends",
    "fedora": "dnf install -y",
    "arch": "pacman -S --needed",
    "suse": "zypper install -y",
}


def this_system() -> System:
    """Read ``/etc/os-release``."""
    try:
        text = Path("/etc/os-release").read_text("utf-8")
    except OSError:
        text = ""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return parse_system(text, root=root)


def parse_system(os_release: str, *, root: bool) -> System:
    """The family a distribution belongs to, from the words of its ``os-release``."""
    facts = dict(text.split("=", 1) for text in os_release.splitlines() if "=" in text)
    facts = {key: value.strip().strip("\"'") for key, value in facts.items()}
    ids = [facts.get("ID", ""), *facts.get("ID_LIKE", "").split()]
    kin = {"debian": "debian", "ubuntu": "debian", "fedora": "fedora", "rhel": "fedora"}
    kin |= {"arch": "arch", "suse": "suse", "opensuse": "suse", "opensuse-tumbleweed": "suse"}
    family = next((kin[i] for i in ids if i in kin), "")
    return System(family, facts.get("PRETTY_NAME", sys.platform), root)


def missing_libraries(environ: Mapping[str, str], *, window: bool = True) -> list[str]:
    """Names of the shared libraries that are needed and that this Linux cannot load.

    Without a window only the engine's own few count.
    """
    if sys.platform != "linux":
        return []
    wanted = [*LIBRARIES, *(WAYLAND if environ.get("WAYLAND_DISPLAY") else ())]
    return [name for name in (wanted if window else ENGINE) if not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def packages_of(names: Sequence[str], system: System) -> list[str]:
    """The packages of this system that bring the shared libraries ``names``."""
    column = FAMILIES.index(system.family)
    return sorted({({**LIBRARIES, **WAYLAND})[name][column] for name in names})


def ensure_system(
    missing: Sequence[str], others: Sequence[str], system: System, console: Console
) -> None:
    """Have the shared libraries ``missing`` and the packages ``others``: install them where we may.

    Raises:
        Trouble: with one exact command for all of it, where somebody else must do it.
    """
    if missing and not system.family:
        raise Trouble(
            f"Shared libraries are needed that {system.name} does not have: {', '.join(missing)}.",
            "Install them with your system's package manager, then run the same command again.",
        )
    packages = [*others, *(packages_of(missing, system) if missing else ())]
    if not packages:
        return
    ensure_packages(packages, "Some packages of the system are missing", system, console)
    code = "import ctypes, sys\nfor n in sys.argv[1:]: ctypes.CDLL(n)"  # a fresh process: a fresh cache
    done = subprocess.run([sys.executable, "-c", code, *missing], capture_output=True, text=True)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise Trouble("A library of the system still cannot be loaded.", words[-1] if words else "")


def ensure_packages(packages: Sequence[str], why: str, system: System, console: Console) -> None:
    """Install packages of the system where we may, else say with which command to."""
    if not system.installs:
        names = " ".join(name.split("|")[-1] for name in known_names(packages, system))
        sudo = "" if system.root else "sudo "
        raise Trouble(
            f"{why}.",
            f"Run this, then the same command again:\n    {sudo}{_COMMANDS[system.family]} {names}",
        )
    console.line(
        f"      {why}; installing with apt-get: {' '.join(p.split('|')[-1] for p in packages)}"
    )
    _apt(["update"], console)
    names = known_names(packages, system)
    _apt(["install", "-y", "--no-install-recommends", *names], console)


def known_names(packages: Sequence[str], system: System) -> list[str]:
    """Choose among ``new|old`` names of a Debian package the one that this release can install."""
    names = []
    for package in packages:
        choices = package.split("|")
        if len(choices) > 1 and system.family == "debian":
            choices = [c for c in choices if _is_installable(c)] or choices[-1:]
        names.append(choices[0])
    return names


def _is_installable(package: str) -> bool:
    try:
        done = subprocess.run(
            ["apt-cache", "policy", package],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return False
    return "Candidate:" in done.stdout and "Candidate: (none)" not in done.stdout


def _apt(arguments: list[str], console: Console) -> None:
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        if text.strip():
            console.moving(f"      apt-get: {text.strip()}")

    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    status = run_child(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        on_line=hear,
        on_tick=lambda s: console.moving(f"      apt-get {arguments[0]} ({s:.0f} s)"),
    )
    if (
        status != 0 and arguments[0] != "update"
    ):  # a stale list may still do; the installation tells
        last = [text for text in said if text.startswith(("E:", "Err:"))] or said
        raise Trouble(
            "apt-get could not install what is missing.",
            "\n".join(last[-3:])
            + f"\nRun it yourself to see more:\n    {' '.join(command)}\n{AGAIN}",
        )


def venv_package(system: System) -> list[str]:
    """The package that lets this Python make virtual environments, where Debian keeps that apart."""
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return []
    if system.family != "debian":
        raise Trouble(
            "This Python cannot make virtual environments (no ensurepip).",
            "Install the part of Python that brings `ensurepip` and `venv`.",
        )
    return [f"python{sys.version_info.major}.{sys.version_info.minor}-venv"]


def sandbox_obstacle(system: System) -> str:
    """Why Chromium's own sandbox cannot work here; empty where it can."""
    if sys.platform != "linux":
        return ""
    if system.root:
        return "you are root"
    for name, closed in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
    ):
        try:
            value = (Path("/proc/sys") / name).read_text().strip()
        except OSError:
            continue
        if value == closed:
            return "this system keeps programs from making user namespaces"
    return ""
