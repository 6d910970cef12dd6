"""Shortening the data of ICU, which Qt and Chromium both bring whole: a hundred languages, few of them spoken here."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from freeze.elf import ElfFile

_LARGEST_CHARACTER_SET = (
    40_000  # bytes: Europe's fit; East Asia's old ones, which Unicode has replaced, do not
)
_CHROMIUM = frozenset(
    (*(f"brkitr/{name}.brk" for name in ("char", "word", "sent", "title", "line", "line_cj")),)
    + (*(f"brkitr/line_{name}.brk" for name in ("loose", "normal", "loose_cj", "normal_cj")),)
    + ("brkitr/root.res", "brkitr/en.res", "brkitr/en_US.res", "brkitr/res_index.res")
    + (
        "translit/root.res",
        "translit/en.res",
        "translit/el.res",
        "unit/root.res",
        "unit/en.res",
        "unit/pool.res",
        "unit/res_index.res",
    )
)
"""What Blink lays text out with, beside what Qt asks for."""
_ICU_KEPT = ("root", "en", "supplementalData", "res_index", "pool", "ucadata", "likelySubtags")


def shorten_library(path: Path) -> int:
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


def shorten_file(path: Path) -> int:
    """The same for the data file of Chromium's own ICU; returns the bytes won.

    Chromium shows one page of ours, in UTF-8 and English. Scripts whose words only a dictionary can tell apart are
    broken anywhere; their characters are drawn as before.
    """
    whole = path.read_bytes()
    if whole[2:4] != b"\xda\x27" or whole[12:16] != b"CmnD":
        return 0
    smaller = filter_icu_package(
        whole, lambda name: icu_wanted(name) or name in _CHROMIUM, len(whole)
    )
    path.write_bytes(smaller)
    return len(whole) - len(smaller)


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


def filter_icu_package(
    package: bytes, wanted: Callable[[str], bool] = icu_wanted, end: int | None = None
) -> bytes:
    """The package with only the items that are wanted.

    Args:
        wanted: is asked with an item's name without the package's.
        end: where the package ends, where that is known; else its last item, a resource, is asked.
    """
    size = struct.unpack_from("<H", package, 0)[0]
    count = struct.unpack_from("<I", package, size)[0]
    pairs = struct.iter_unpack("<II", package[size + 4 : size + 4 + 8 * count])
    places = [(name, data) for name, data in pairs]
    ends = [data for _, data in places[1:]] + [
        end - size if end is not None else _end_of_last(package, size, places)
    ]
    kept: list[tuple[bytes, bytes]] = []
    for (name, data), end in zip(places, ends, strict=True):
        full = package[size + name : package.index(b"\0", size + name)]
        large = full.endswith(b".cnv") and end - data > _LARGEST_CHARACTER_SET
        if wanted(full.decode().partition("/")[2]) and not large:
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
