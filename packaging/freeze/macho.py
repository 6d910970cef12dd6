"""Reading of a program or library of macOS which others it needs, for which processors and which macOS it is.

After Apple's ``mach-o/loader.h`` and ``mach-o/fat.h``. A file may hold several programs, one for each processor, of
which PyInstaller keeps the one it builds for.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FAT, _FAT_64 = 0xCAFEBABE, 0xCAFEBABF
_THIN = b"\xcf\xfa\xed\xfe"  # 64 bits, little-endian
_PROCESSORS = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_ID, _RPATH, _OLD_VERSION, _VERSION = 0xD, 0x8000001C, 0x24, 0x32
_WEAK = 0x80000018
_LOADS = (0xC, _WEAK, 0x8000001F, 0x20, 0x80000023)  # plain, weak, re-exported, lazy, upward


@dataclass(frozen=True)
class MachFile:
    """What a program or library of macOS says about itself, for one processor.

    Attributes:
        processor: ``arm64`` or ``x86_64``.
        size: bytes of this part of the file.
        needed: the libraries that have to be there, by the paths it knows them by.
        weak: those it does without where they are not there.
        rpaths: what ``@rpath`` in these paths stands for.
        minimum: the oldest macOS it is built for.
    """

    processor: str
    size: int
    needed: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    rpaths: tuple[str, ...] = ()
    minimum: tuple[int, int] = (0, 0)

    @staticmethod
    def read(path: Path) -> dict[str, MachFile]:
        """What a file holds, by processor.

        Raises:
            ValueError: it is no Mach-O file for 64 bits, or damaged.
        """
        with open(path, "rb") as file:
            first = file.read(4)
            if first != _THIN and first not in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
                raise ValueError(f"{path} is no Mach-O file for 64 bits")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    parts = [_parse(data, start, size) for start, size in slices(data)]
                except (struct.error, IndexError) as error:
                    raise ValueError(f"{path} is no Mach-O file, or damaged") from error
        return {part.processor: part for part in parts}


def slices(data: mmap.mmap | bytes) -> Iterator[tuple[int, int]]:
    """Where in a file its programs start, and how long they are."""
    if data[:4] == _THIN:
        yield 0, len(data)
        return
    kind, count = struct.unpack_from(">II", data, 0)
    for n in range(count):
        if kind == _FAT_64:
            yield struct.unpack_from(">QQ", data, 8 + 32 * n + 8)
        else:
            yield struct.unpack_from(">II", data, 8 + 20 * n + 8)


def commands(data: mmap.mmap | bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Kind, place and length of every load command of the program that begins at ``start``."""
    if data[start : start + 4] != _THIN:
        raise IndexError(start)
    count = struct.unpack_from("<I", data, start + 16)[0]
    at = start + 32
    for _ in range(count):
        kind, length = struct.unpack_from("<II", data, at)
        yield kind, at, length
        at += length


def _parse(data: mmap.mmap, start: int, size: int) -> MachFile:
    processor = struct.unpack_from("<I", data, start + 4)[0]
    needed, weak, rpaths = [], [], []
    minimum = (0, 0)
    for kind, at, length in commands(data, start):
        if kind in _LOADS or kind == _RPATH:
            offset = struct.unpack_from("<I", data, at + 8)[0]
            name = data[at + offset : at + length].split(b"\0")[0].decode("utf-8", "replace")
            (rpaths if kind == _RPATH else weak if kind == _WEAK else needed).append(name)
        elif kind in (_OLD_VERSION, _VERSION):
            packed = struct.unpack_from("<I", data, at + (8 if kind == _OLD_VERSION else 12))[0]
            minimum = (packed >> 16, packed >> 8 & 0xFF)
    name = _PROCESSORS.get(processor, hex(processor))
    return MachFile(name, size, tuple(needed), tuple(weak), tuple(rpaths), minimum)
