"""Making the program smaller where PyInstaller has laid it out: debugging symbols, languages of the ICU library.

Only on Linux. Whatever cannot be done safely is left as it was: a larger program is better than one that fails.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from freeze.elf import ElfFile, is_elf, load_segments

PAGE = 4096
_LARGEST_CHARACTER_SET = (
    40_000  # bytes: Europe's fit; East Asia's old ones, which Unicode has replaced, do not
)
_ICU_KEPT = ("root", "en", "supplementalData", "res_index", "pool", "ucadata", "likelySubtags")


@dataclass
class Saved:
    """Bytes that are gone, by what was done."""

    symbols: int = 0
    icu: int = 0
    files: int = 0


def slim(folder: Path) -> Saved:
    """Make the files of ``_internal`` smaller, in place."""
    saved = Saved()
    strip = shutil.which("strip")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or ".so" not in path.name or not is_elf(path):
            continue
        if strip is not None:
            won = strip_symbols(path, strip)
            saved.symbols += won
            saved.files += won > 0
    for path in folder.rglob("libicudata.so.*"):
        if not path.is_symlink():
            saved.icu += _filter_icu(path)
    return saved


def strip_symbols(path: Path, strip: str = "strip") -> int:
    """Take a library's symbols for debuggers away; returns the bytes won.

    Libraries of Python wheels were edited after linking (their names and search paths), and ``strip`` moves the parts
    of some of those so that they cannot be loaded any more. Such a result is thrown away.
    """
    before = path.stat().st_size
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        smaller = Path(work) / path.name
        shutil.copy2(path, smaller)
        done = subprocess.run(
            [strip, "--strip-unneeded", str(smaller)], capture_output=True, check=False
        )
        if done.returncode or not same_library(path, smaller):
            return 0
        won = before - smaller.stat().st_size
        if won <= 0:
            return 0
        smaller.replace(path)
    return won


def same_library(one: Path, other: Path) -> bool:
    """Whether the second can be loaded in place of the first: the same name and needs, all parts on whole pages."""
    try:
        facts, others = ElfFile.read(one), ElfFile.read(other)
        segments = load_segments(other)
    except ValueError:
        return False
    whole = all(offset % PAGE == address % PAGE for offset, address in segments)
    return whole and bool(segments) and facts == others


# The data library of ICU --------------------------------------------------------------------------------------------


def _filter_icu(path: Path) -> int:
    """Leave out of the data of ICU what only other languages and programs read; returns the bytes won.

    Qt asks ICU for collation and for character sets. Chromium brings its own. Built anew by the linker, from the same
    data less the items that are not kept; where there is no linker, or the file is not what is expected, nothing is
    done.
    """
    linker, copy = shutil.which("ld"), shutil.which("objcopy")
    if linker is None or copy is None:
        return 0
    facts = ElfFile.read(path)
    found = icu_package(path.read_bytes())
    if found is None:
        return 0
    package, symbol = found
    smaller = filter_icu_package(package)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        data, thing, library = (Path(work) / name for name in ("icu.dat", "icu.o", path.name))
        data.write_bytes(smaller)
        commands = (
            [linker, "-r", "-b", "binary", "-z", "noexecstack", "-o", "icu.o", "icu.dat"],
            [copy, "--rename-section", ".data=.rodata,alloc,load,readonly,data,contents"]
            + ["--set-section-alignment", ".rodata=16", "--redefine-sym"]
            + [f"_binary_icu_dat_start={symbol}", "--strip-symbol=_binary_icu_dat_end"]
            + ["--strip-symbol=_binary_icu_dat_size", "icu.o"],
            [linker, "-shared", "-z", "noexecstack", "-soname", facts.soname]
            + ["-o", library.name, "icu.o"],
        )
        for command in commands:
            if subprocess.run(command, cwd=work, capture_output=True, check=False).returncode:
                return 0
        assert thing.is_file()
        before, after = path.stat().st_size, library.stat().st_size
        library.chmod(path.stat().st_mode)
        library.replace(path)
    return before - after


def icu_package(library: bytes) -> tuple[bytes, str] | None:
    """The data package inside ICU's data library, and its symbol; None where it does not look like one.

    After ICU's ``unicode/udata.h`` and ``ucmndata.h``: a header of size, magic 0xDA 0x27 and data format ``CmnD``,
    then a table of names and places, both counted from the table's start.
    """
    at = library.find(b"\xda\x27")
    while at >= 2:
        start = at - 2
        if library[start + 12 : start + 16] == b"CmnD":
            size = struct.unpack_from("<H", library, start)[0]
            base = start + size
            count = struct.unpack_from("<I", library, base)[0]
            entries = struct.unpack_from(f"<{2 * count}I", library, base + 4)
            first = library[base + entries[0] : base + entries[0] + 64].split(b"\0")[0].decode()
            version = first.partition("/")[0]  # icudt73l/...
            digits = "".join(c for c in version if c.isdigit())
            return library[start:], f"icudt{digits}_dat"
        at = library.find(b"\xda\x27", at + 2)
    return None


def icu_wanted(name: str) -> bool:
    """Whether an item of ICU's data is kept, by its name without the package's: ``coll/de.res``."""
    folder, _, leaf = name.rpartition("/")
    stem = leaf.partition(".")[0]
    if folder in ("translit", "rbnf", "unit", "brkitr"):
        return False
    if folder in ("lang", "region", "curr", "zone"):
        return stem in _ICU_KEPT
    if folder == "coll":
        return True
    if leaf.endswith(".cnv"):
        return True
    if leaf.endswith(".res") and not folder:
        common = stem.partition("_")[0]
        return stem in _ICU_KEPT or common == "en" or (len(stem) > 3 and "_" not in stem)
    return not leaf.endswith((".dict", ".brk"))


def filter_icu_package(package: bytes) -> bytes:
    """The package with only the items that :func:`icu_wanted` keeps."""
    size = struct.unpack_from("<H", package, 0)[0]
    count = struct.unpack_from("<I", package, size)[0]
    pairs = struct.iter_unpack("<II", package[size + 4 : size + 4 + 8 * count])
    places = [(name, data) for name, data in pairs]
    ends = [data for _, data in places[1:]] + [_end_of_last(package, size, places)]
    kept: list[tuple[bytes, bytes]] = []
    for (name, data), end in zip(places, ends, strict=True):
        full = package[size + name : package.index(b"\0", size + name)]
        large = full.endswith(b".cnv") and end - data > _LARGEST_CHARACTER_SET
        if icu_wanted(full.decode().partition("/")[2]) and not large:
            kept.append((full, package[size + data : size + end]))
    names, at = bytearray(), 4 + 8 * len(kept)
    name_places = []
    for full, _ in kept:
        name_places.append(at + len(names))
        names += full + b"\0"
    body = bytearray(struct.pack("<I", len(kept)))
    place = -(-(at + len(names)) // 16) * 16
    contents = bytearray()
    for (_, item), where in zip(kept, name_places, strict=True):
        body += struct.pack("<II", where, place + len(contents))
        contents += item + b"\0" * (-len(item) % 16)
    body += names
    body += b"\0" * (place - len(body))
    return package[:size] + bytes(body) + bytes(contents)


def _end_of_last(package: bytes, size: int, places: list[tuple[int, int]]) -> int:
    """The last item (``zone/zu.res``, ``zoneinfo64.res``) is a resource bundle, which says how long it is."""
    at = size + places[-1][1]
    header = struct.unpack_from("<H", package, at)[0]
    # A resource bundle: root, then indexes; indexes[3] is its end in 32-bit words (ICU uresdata.h).
    words = struct.unpack_from("<I", package, at + header + 4 + 4 * 3)[0]
    return places[-1][1] + header + 4 * words
