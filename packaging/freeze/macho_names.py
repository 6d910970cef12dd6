"""Libraries of one name, of which a program on macOS knows only one: the others get a name of their package.

PyInstaller lets everything look for ``@rpath/NAME`` at the top of the program, where a link of that name leads to one
library. Pillow and rasterio both bring a ``libtiff.6.dylib``: with rasterio's, Pillow is not loaded ("Incompatible
library version"); with Pillow's, GDAL cannot read what is packed with ZSTD or LERC. The same goes for the OpenSSL of
Python and rasterio's. Names are changed in copies, to ones of the same length, so that nothing in a file moves.
PyInstaller signs what it collects after this.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path

from freeze.macho import MachFile, commands, slices
from freeze.prune import Entry, linked_name

_ID = 0xD
_LOADS = (0xC, 0x80000018, 0x8000001F, 0x20, 0x80000023)


def own_name(library: str, package: str) -> str:
    """What a library is called once it has to bear a name of its package: ``libtiff`` of PIL is ``piltiff``."""
    return package[:3].lower() + library[3:]


def separate(entries: list[Entry], work: Path) -> list[Entry]:
    """The entries with every library's name but once.

    Args:
        work: where the copies with other names go.
    """
    bearers: dict[str, list[str]] = defaultdict(list)
    for name, _, kind in entries:
        if kind != "SYMLINK" and name.endswith(".dylib"):
            bearers[linked_name(name)].append(name)
    changed: dict[str, dict[str, str]] = defaultdict(dict)  # of a package: name -> its own name
    links: dict[str, str] = {}
    for library, names in bearers.items():
        if len(names) > 1:
            # Python's own stay, then those of rasterio: it has more that is linked with them.
            first, *others = sorted(names, key=lambda name: ("/" in name, name.startswith("PIL/")))
            links[library] = first
            for name in others:
                package = name.partition("/")[0]
                changed[package][library] = own = own_name(library, package)
                links[own] = f"{name.rpartition('/')[0]}/{own}"
    made = [_changed(entry, changed.get(entry[0].partition("/")[0]), work) for entry in entries]
    kept = [entry for entry in made if not (entry[2] == "SYMLINK" and entry[0] in links)]
    return kept + [(at, to, "SYMLINK") for at, to in sorted(links.items()) if "/" in to]


def _changed(entry: Entry, names: dict[str, str] | None, work: Path) -> Entry:
    """An entry of a package some of whose libraries get other names."""
    name, source, kind = entry
    if names is None or kind in ("SYMLINK", "DATA"):
        return entry
    folder, _, short = name.rpartition("/")
    inside = f"{folder}/{names.get(short, short)}"
    try:
        parts = MachFile.read(Path(source)).values()
    except (OSError, ValueError):
        return entry
    linked = {linked_name(link) for part in parts for link in (*part.needed, *part.weak)}
    if inside == name and not linked & set(names):
        return entry
    copy = work / inside
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(with_names(Path(source).read_bytes(), names))
    copy.chmod(0o755)
    return inside, str(copy), kind


def with_names(content: bytes, names: dict[str, str]) -> bytes:
    """A Mach-O file with other names in its links and in what it calls itself; they are as long as those before.

    Raises:
        ValueError: a name is not.
    """
    data = bytearray(content)
    for start, _ in slices(content):
        for kind, at, length in commands(content, start):
            if kind not in _LOADS and kind != _ID:
                continue
            offset = struct.unpack_from("<I", data, at + 8)[0]
            path = content[at + offset : at + length].split(b"\0")[0].decode("utf-8", "replace")
            folder, slash, short = path.rpartition("/")
            other = f"{folder}{slash}{names.get(short, short)}".encode()
            if len(other) != len(path.encode()):
                raise ValueError(f"{names[short]} is not as long as {short}")
            data[at + offset : at + offset + len(other)] = other
    return bytes(data)
