"""Reading of a Windows program or library which others it needs, and since when it must be there.

After Microsoft's "PE Format": the import table (each entry 20 bytes) is read when the file is loaded, the table of
delayed imports (32 bytes) when the first function of a library is called.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_PE32, _PE32_PLUS = 0x10B, 0x20B
_IMPORTS, _DELAYED_IMPORTS = 1, 13  # places in the directory of tables
_MACHINES = {0x14C: "x86", 0x8664: "x86_64", 0xAA64: "arm64"}


@dataclass(frozen=True)
class PeFile:
    """What a program or library of Windows says about itself.

    Attributes:
        machine: the processor it is for.
        needed: names of the libraries that have to be there for it to be loaded.
        delayed: names of those that it asks for once it needs them.
    """

    machine: str = ""
    needed: tuple[str, ...] = ()
    delayed: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> PeFile:
        """Read a file.

        Raises:
            ValueError: it is no PE file, or damaged.
        """
        with open(path, "rb") as file:
            if file.read(2) != b"MZ":
                raise ValueError(f"{path} is no PE file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    return _parse(data)
                except (struct.error, IndexError) as error:
                    raise ValueError(f"{path} is no PE file, or damaged") from error


def _parse(data: mmap.mmap) -> PeFile:
    at = struct.unpack_from("<I", data, 0x3C)[0]
    if data[at : at + 4] != b"PE\0\0":
        raise IndexError(at)
    machine, count = struct.unpack_from("<HH", data, at + 4)
    length = struct.unpack_from("<H", data, at + 20)[0]
    optional = at + 24
    kind = struct.unpack_from("<H", data, optional)[0]
    if kind not in (_PE32, _PE32_PLUS):
        raise IndexError(kind)
    tables = optional + (112 if kind == _PE32_PLUS else 96)
    known = struct.unpack_from("<I", data, tables - 4)[0]
    sections = [
        struct.unpack_from("<IIII", data, optional + length + 40 * n + 8) for n in range(count)
    ]

    def place(address: int) -> int:
        for size, first, stored, start in sections:
            if first <= address < first + max(size, stored):
                return address - first + start
        raise IndexError(address)

    def text(address: int) -> str:
        start = place(address)
        return data[start : data.find(b"\0", start)].decode("ascii", "replace")

    def names(table: int, step: int, name_at: int) -> tuple[str, ...]:
        address, size = struct.unpack_from("<II", data, tables + 8 * table)
        if table >= known or not address or not size:
            return ()
        found = []
        entry = place(address)
        while name := struct.unpack_from("<I", data, entry + name_at)[0]:
            found.append(text(name))
            entry += step
        return tuple(found)

    return PeFile(
        _MACHINES.get(machine, hex(machine)),
        names(_IMPORTS, 20, 12),
        names(_DELAYED_IMPORTS, 32, 4),
    )
