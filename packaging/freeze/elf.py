"""Reading of an ELF file what packaging asks for: what it is linked with, which versions of the C library it wants.

After the System V ABI, "Object files" (gABI 4.1) and, for the versions, the Linux Standard Base 5.0, 10.7.
Little-endian 64-bit files alone, which is what Nadir is built for.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2
_RPATH, _RUNPATH = 15, 29
_NEEDED, _STRTAB, _SONAME, _VERNEED, _VERNEEDNUM = 1, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True)
class ElfFile:
    """What a shared library or program says about itself.

    Attributes:
        soname: its own name; empty for programs.
        needed: names of the libraries it is linked with.
        versions: symbol versions it wants, ``GLIBC_2.34`` and the like.
    """

    soname: str = ""
    needed: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    @staticmethod
    def read(path: Path) -> ElfFile:
        """Read a file.

        Raises:
            ValueError: it is no 64-bit little-endian ELF file, or damaged.
        """
        with open(path, "rb") as file:
            if file.read(6) != b"\x7fELF\x02\x01":
                raise ValueError(f"{path} is no ELF file for 64 bits")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    return _parse(data)
                except (struct.error, IndexError) as error:
                    raise ValueError(f"{path} is damaged") from error


def is_elf(path: Path) -> bool:
    """Whether a file is a program or library of Linux."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _segments(data: mmap.mmap) -> tuple[list[tuple[int, int, int]], tuple[int, int] | None]:
    """What is loaded (address, length, offset in the file), and where the dynamic section is (offset, length)."""
    offset, size, count = struct.unpack_from("<Q", data, 32) + struct.unpack_from("<HH", data, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for at in range(offset, offset + size * count, size):
        kind = struct.unpack_from("<I", data, at)[0]
        start, address, _, length = struct.unpack_from("<QQQQ", data, at + 8)
        if kind == _PT_LOAD:
            loads.append((address, length, start))
        elif kind == _PT_DYNAMIC:
            dynamic = (start, length)
    return loads, dynamic


def _place(loads: list[tuple[int, int, int]], address: int) -> int:
    """Where in the file something lies that has an address in memory."""
    for first, length, start in loads:
        if first <= address < first + length:
            return address - first + start
    raise IndexError(address)


def _parse(data: mmap.mmap) -> ElfFile:
    loads, dynamic = _segments(data)
    if dynamic is None:
        return ElfFile()

    def text(at: int) -> str:
        return data[at : data.find(b"\0", at)].decode("utf-8", "replace")

    tags: dict[int, list[int]] = {}
    for at in range(dynamic[0], dynamic[0] + dynamic[1], 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        if tag == 0:
            break
        tags.setdefault(tag, []).append(value)
    strings = _place(loads, tags[_STRTAB][0])
    versions: set[str] = set()
    at = _place(loads, tags[_VERNEED][0]) if _VERNEED in tags else 0
    for _ in range(tags.get(_VERNEEDNUM, [0])[0]):
        _, entries, _, first, following = struct.unpack_from("<HHIII", data, at)
        entry = at + first
        for _ in range(entries):
            _, _, _, name, step = struct.unpack_from("<IHHII", data, entry)
            versions.add(text(strings + name))
            entry += step
        at += following
    soname = text(strings + tags[_SONAME][0]) if _SONAME in tags else ""
    return ElfFile(soname, [text(strings + value) for value in tags.get(_NEEDED, [])], versions)


def forget_search_path(path: Path) -> bool:
    """Take out of a library where the machine it was built on keeps libraries; whether there was such a path.

    A path of that machine is of no use on another, and whoever may write there would have a say in what is loaded.
    Paths beside the library (``$ORIGIN``) stay. The entries that follow move up, and the text is overwritten.

    Raises:
        ValueError: it is no 64-bit little-endian ELF file, or damaged.
    """
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is no ELF file for 64 bits")
        try:
            return _without_search_path(data)
        except (struct.error, IndexError) as error:
            raise ValueError(f"{path} is damaged") from error


def _without_search_path(data: mmap.mmap) -> bool:
    loads, dynamic = _segments(data)
    if dynamic is None:
        return False
    entries = list(struct.iter_unpack("<QQ", data[dynamic[0] : dynamic[0] + dynamic[1]]))
    strings = next((value for tag, value in entries if tag == _STRTAB), None)
    if strings is None:
        return False
    start = _place(loads, strings)
    kept = []
    for tag, value in entries:
        end = data.find(b"\0", start + value) if tag in (_RPATH, _RUNPATH) else -1
        text = data[start + value : end] if end >= 0 else b""
        if text.startswith(b"/") and b"$ORIGIN" not in text:
            data[start + value : end] = b"\0" * len(text)
        else:
            kept.append((tag, value))
    gone = len(entries) - len(kept)
    kept += [(0, 0)] * gone
    data[dynamic[0] : dynamic[0] + 16 * len(kept)] = b"".join(struct.pack("<QQ", *e) for e in kept)
    return gone > 0


def load_segments(path: Path) -> list[tuple[int, int]]:
    """Offset in the file and address in memory of everything that is loaded of an ELF file.

    Raises:
        ValueError: it is no 64-bit little-endian ELF file, or damaged.
    """
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is no ELF file for 64 bits")
    try:
        offset, size, count = struct.unpack_from("<Q", data, 32) + struct.unpack_from(
            "<HH", data, 54
        )
        found = []
        for at in range(offset, offset + size * count, size):
            if struct.unpack_from("<I", data, at)[0] == _PT_LOAD:
                found.append(struct.unpack_from("<QQ", data, at + 8))
        return found
    except struct.error as error:
        raise ValueError(f"{path} is damaged") from error
