"""A file of named arrays that is mapped into memory, and that nobody has to trust.

Its bytes are those of the safetensors format: the length of the header (8 bytes, little-endian), the header (JSON: for
every array its type, its shape and where it begins and ends), then the arrays without gaps. Only number types, at most
:data:`MAX_ARRAYS` of them; the header is padded so that the data begins at a multiple of 64 bytes. A reader says which
arrays of which types and shapes it expects, and anything else is refused before a byte of it is touched.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import IndexFolderError

MAX_ARRAYS = 16
_MAX_HEADER = 1 << 16
_ALIGN = 64
_LENGTH = struct.Struct("<Q")
_TYPES = {"U8": "|u1", "I32": "<i4", "I64": "<i8", "F16": "<f2", "F32": "<f4"}
_NAMES = {np.dtype(kind).str: name for name, kind in _TYPES.items()}
_AGAIN = "Get the index again from its source, or build it again"

Shape = tuple[int, ...]


class ArraysWriter:
    """Write a file of arrays whose types and shapes are known beforehand, piece by piece.

    Args:
        path: the file, which is written over.
        wanted: type and shape of every array, in the order in which they lie; large ones last, in multiples of 64
            bytes where they are to be aligned.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, wanted: Mapping[str, tuple[Any, Shape]]) -> None:
        header: dict[str, Any] = {}
        at = 0
        self._at: dict[str, tuple[int, int]] = {}
        for name, (kind, shape) in wanted.items():
            dtype = np.dtype(kind)
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            header[name] = {
                "dtype": _NAMES[dtype.str],
                "shape": list(shape),
                "data_offsets": [at, at + size],
            }
            self._at[name] = (at, size)
            at += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(_LENGTH.size + len(text)) % _ALIGN)
        self._start = _LENGTH.size + len(text)
        self._written = dict.fromkeys(wanted, 0)
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._file.write(_LENGTH.pack(len(text)) + text)

    def add(self, name: str, values: NDArray[Any]) -> None:
        """The next piece of an array, in its memory order."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        first, size = self._at[name]
        if self._written[name] + data.size > size:
            raise ValueError(f"{name} is longer than was said")
        self._file.seek(self._start + first + self._written[name])
        self._file.write(data.data)
        self._written[name] += data.size

    def close(self) -> None:
        """Finish; every array must have come whole."""
        try:
            for name, (_, size) in self._at.items():
                if self._written[name] != size:
                    raise ValueError(f"{name} is shorter than was said")
        finally:
            self._file.close()

    def __enter__(self) -> ArraysWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()


def open_arrays(path: Path, wanted: Mapping[str, tuple[Any, Shape]]) -> dict[str, NDArray[Any]]:
    """Map a file of arrays into memory.

    Args:
        wanted: type and shape of every array; a length of -1 may be any.

    Raises:
        IndexFolderError: it cannot be read, is damaged, or holds anything else.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_LENGTH.size)
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            if not 2 <= length <= min(_MAX_HEADER, size - _LENGTH.size):
                raise _damaged(path, "is no file of arrays")
            text = file.read(length)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "is no file of arrays") from error
    if not isinstance(header, dict) or list(header) != list(wanted):
        raise _damaged(path, "does not hold what its layout has")
    start, at = _LENGTH.size + length, 0
    found: dict[str, tuple[np.dtype[Any], Shape, int]] = {}
    for name, (kind, shape) in wanted.items():
        dtype, got = np.dtype(kind), _facts(header[name])
        if got is None or got[0] != _NAMES[dtype.str] or not _fits(got[1], shape):
            raise _damaged(path, f"holds another {name} than its layout has")
        bytes_ = dtype.itemsize
        for length in got[1]:
            bytes_ *= length  # of any size in Python
        if got[2] != (at, at + bytes_) or at + bytes_ > size - start:
            raise _damaged(path, "contradicts itself about its length")
        found[name] = (dtype, got[1], start + at)
        at += bytes_
    if start + at != size:
        raise _damaged(path, f"has {size:,} bytes where its arrays need {start + at:,}")
    whole = np.memmap(path, np.uint8, "r")
    return {
        name: np.frombuffer(
            whole, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=first
        ).reshape(shape)
        if 0 not in shape
        else np.zeros(shape, dtype)
        for name, (dtype, shape, first) in found.items()
    }


def _facts(raw: Any) -> tuple[str, Shape, tuple[int, int]] | None:
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        return None
    shape, offsets = raw["shape"], raw["data_offsets"]
    for values in (shape, offsets):
        if not isinstance(values, list) or len(values) > 4:
            return None
        if not all(type(v) is int and 0 <= v < 1 << 62 for v in values):
            return None
    if not isinstance(raw["dtype"], str) or len(offsets) != 2:
        return None
    return raw["dtype"], tuple(shape), (offsets[0], offsets[1])


def _fits(got: Shape, wanted: Shape) -> bool:
    return len(got) == len(wanted) and all(w in (-1, g) for g, w in zip(got, wanted, strict=True))


def _damaged(path: Path, what: str) -> IndexFolderError:
    return IndexFolderError(f"{path.name} {what}", path.parent, _AGAIN)
