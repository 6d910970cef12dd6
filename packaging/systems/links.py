"""Whether all that is kept for Windows or macOS finds there what it is linked with."""

from __future__ import annotations

import contextlib
import importlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from freeze.macho import MachFile
from freeze.pe import PeFile
from freeze.prune import Entry, linked_name, needed_by
from systems.layout import resolve

SYSTEM32 = re.compile(
    r"advapi32|authz|avrt|bcrypt|cfgmgr32|comctl32|comdlg32|crypt32|d2d1|d3d11|d3d12|d3d9|"
    r"dbghelp|dcomp|dhcpcsvc|dnsapi|dwmapi|dwrite|dxgi|dxva2|fontsub|gdi32|hid|icuuc|"
    r"imagehlp|imm32|iphlpapi|kernel32|mf|mfplat|mfreadwrite|mmdevapi|mpr|msvcrt|ncrypt|"
    r"netapi32|ntdll|ole32|oleaut32|pdh|propsys|psapi|rpcrt4|secur32|setupapi|shell32|"
    r"shlwapi|uiautomationcore|urlmon|user32|userenv|uxtheme|version|winhttp|winmm|"
    r"winspool|winusb|wldap32|ws2_32|wtsapi32|bthprops|ucrtbase"
)
"""Libraries of Windows 10, version 1903, and newer, without their endings: ``icuuc.dll`` is since then one of them."""

PYTHONS_OWN = re.compile(r"python3(12)?\.dll|vcruntime140(_1)?\.dll", re.IGNORECASE)
MICROSOFTS = re.compile(r"(msvcp140\w*|concrt140|vcomp140|vccorlib140)\.dll", re.IGNORECASE)
"""Microsoft's runtime for C++: PyInstaller takes it from the building Windows, where it is installed."""


@dataclass
class Walk:
    """What was found.

    Attributes:
        trouble: what is linked with something that is not there.
        files: programs and libraries that were read.
        runtime: of Microsoft's runtime what no wheel brings, with who needs it.
        minimum: the oldest macOS that all of it is built for, and a file that asks for it.
    """

    trouble: list[str] = field(default_factory=list)
    files: int = 0
    runtime: dict[str, str] = field(default_factory=dict)
    minimum: tuple[tuple[int, int], str] = ((0, 0), "")


def is_of_the_system(need: str) -> bool:
    """Whether Windows or macOS itself brings what something is linked with."""
    lowered = need.lower()
    if need.startswith("/"):
        return need.startswith(("/usr/lib/", "/System/Library/"))
    stem, _, ending = lowered.rpartition(".")
    if ending == "dll" and lowered.startswith(("api-ms-win-", "ext-ms-win-")):
        return True
    return ending in ("dll", "drv", "cpl") and SYSTEM32.fullmatch(stem) is not None


def walk(kept: list[Entry], all_of_it: list[Entry], site: Path, processor: str) -> Walk:
    """Follow the links of everything that is kept.

    Args:
        all_of_it: what PyInstaller would collect, with what the rules throw away.
        processor: what everything has to be built for.
    """
    found = Walk()
    inside = {source: name for name, source, kind in kept if kind != "SYMLINK"}
    thrown = {source: name for name, source, _ in all_of_it if source not in inside}
    top = {name.lower() for name, _, kind in kept if "/" not in name and kind != "SYMLINK"}
    for source, name in sorted(inside.items(), key=lambda pair: pair[1]):
        path = Path(source)
        about = read(path)
        if about is None:
            continue
        found.files += 1
        if processor not in about:
            found.trouble.append(f"{name} is not for {processor} but for {', '.join(about)}")
        part = about.get(processor)
        if isinstance(part, MachFile):
            found.minimum = max(found.minimum, (part.minimum, name))
        for need in needed_by(path):
            short = linked_name(need)
            target = resolve(need, path, site)
            if is_of_the_system(need) or PYTHONS_OWN.fullmatch(short):
                continue
            if str(target) in inside or short.lower() in top:
                continue
            if str(target) in thrown:
                what = f"{thrown[str(target)]}, which the rules have thrown away"
                found.trouble.append(f"{name} needs {what}")
            elif MICROSOFTS.fullmatch(short):
                found.runtime.setdefault(short.lower(), name)
            elif not (isinstance(part, MachFile) and need in part.weak):
                found.trouble.append(f"{name} needs {need}, which nothing brings")
    return found


def read(path: Path) -> dict[str, PeFile | MachFile] | None:
    """What a program or library holds, by processor; None where a file is neither."""
    with contextlib.suppress(OSError, ValueError):
        about = PeFile.read(path)
        return {about.machine: about}
    with contextlib.suppress(OSError, ValueError):
        return dict(MachFile.read(path))
    return None


def disagreements(kept: list[Entry]) -> list[str]:
    """Where ``pefile`` or ``macholib`` read something else than our own readers."""
    pefile, macholib = importlib.import_module("pefile"), importlib.import_module("macholib.MachO")
    found = []
    for name, source, kind in kept:
        about = None if kind == "SYMLINK" else read(Path(source))
        if about is None:
            continue
        if isinstance(next(iter(about.values())), PeFile):
            theirs = _by_pefile(pefile, source)
        else:
            theirs = {
                link for h in macholib.MachO(source).headers for _, _, link in h.walkRelocatables()
            }
        ours = set(needed_by(source))
        if ours != theirs:
            found.append(f"{name}: the readers disagree about {sorted(ours ^ theirs)}")
    return found


def _by_pefile(pefile: object, source: str) -> set[str]:
    tables = ("IMAGE_DIRECTORY_ENTRY_IMPORT", "IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT")
    numbers = pefile.DIRECTORY_ENTRY  # pyright: ignore[reportAttributeAccessIssue]
    with pefile.PE(source, fast_load=True) as read_:  # pyright: ignore[reportAttributeAccessIssue]
        read_.parse_data_directories([numbers[name] for name in tables], import_dllnames_only=True)
        entries = [
            *getattr(read_, "DIRECTORY_ENTRY_IMPORT", ()),
            *getattr(read_, "DIRECTORY_ENTRY_DELAY_IMPORT", ()),
        ]
        return {entry.dll.decode("ascii", "replace") for entry in entries}
