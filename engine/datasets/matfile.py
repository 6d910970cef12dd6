"""Reading MATLAB's version 5 files: as much of the format as datasets' lists use.

Numbers, texts, cells and structures, compressed or not, either byte order; no sparse arrays, functions or objects
(and so nothing that could run). The format: MathWorks, "MAT-File Format", level 5. A reader of our own because the
program would otherwise need SciPy for one file of one dataset.

Values: numeric arrays as MATLAB shapes them (at least two axes), character arrays as a list with one text a row,
cells as flat lists in MATLAB's order (down the columns), structures of one element as dicts.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DatasetError

MAX_BYTES = 512 << 20
MAX_DEPTH = 16

_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_UTF8, _UTF16, _UTF32 = 16, 17, 18
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}


class _BadFileError(ValueError):
    """The bytes are no MAT-file of version 5."""


@dataclass
class _Bytes:
    data: memoryview
    order: str
    at: int = 0

    def take(self, count: int) -> memoryview:
        if count < 0 or self.at + count > len(self.data):
            raise _BadFileError("it ends in the middle of a value")
        part = self.data[self.at : self.at + count]
        self.at += count
        return part

    def element(self) -> tuple[int, memoryview]:
        """One data element: its type and its bytes; small ones are packed into eight bytes."""
        (word,) = struct.unpack(self.order + "I", self.take(4))
        if word >> 16:
            kind, size = word & 0xFFFF, word >> 16
            if size > 4:
                raise _BadFileError("a small value is too large")
            return kind, self.take(4)[:size]
        (size,) = struct.unpack(self.order + "I", self.take(4))
        body = self.take(size)
        if word != _COMPRESSED:
            self.at = min(len(self.data), self.at + -size % 8)
        return word, body

    @property
    def left(self) -> bool:
        return self.at < len(self.data)


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MAT-file by name; what this reader does not know is left out.

    Raises:
        DatasetError: it is no such file, or it is damaged.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _BadFileError(f"it has {size:,} bytes, too many for a list")
        raw = path.read_bytes()
        if raw[:8] == b"\x89HDF\r\n\x1a\n" or raw[:10] == b"MATLAB 7.3":
            raise _BadFileError('it is of version 7.3; save it in MATLAB with the option "-v7"')
        if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
            raise _BadFileError("it has no header of a MAT-file of version 5")
        order = "<" if raw[126:128] == b"IM" else ">"
        stream = _Bytes(memoryview(raw)[128:], order)
        values: dict[str, Any] = {}
        while stream.left:
            kind, body = stream.element()
            if kind == _COMPRESSED:
                kind, body = _Bytes(memoryview(_inflate(body)), order).element()
            if kind == _MATRIX:
                name, value = _matrix(_Bytes(body, order), 0)
                if name:
                    values[name] = value
    except OSError as error:
        raise DatasetError(f"cannot be read ({error})", path) from error
    except (_BadFileError, ValueError, zlib.error, struct.error) as error:
        raise DatasetError(
            f"cannot be read as a MATLAB file ({error})", path, "Get this file of the dataset again"
        ) from error
    return values


def _inflate(body: memoryview) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(body, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise _BadFileError("it unpacks to too many bytes")
    if not inflater.eof:
        raise _BadFileError("it ends in the middle of a value")
    return data


def _matrix(stream: _Bytes, depth: int) -> tuple[str, Any]:
    if depth > MAX_DEPTH:
        raise _BadFileError("its values are nested too deep")
    if not stream.left:
        return "", np.zeros((0, 0))
    flags = _numbers(*stream.element(), stream.order)
    shape = tuple(int(n) for n in _numbers(*stream.element(), stream.order))
    name = bytes(stream.element()[1]).decode("latin-1")
    count = 1
    for length in shape:
        if length < 0:
            raise _BadFileError("an array has a negative size")
        count *= length
    kind = int(flags[0]) & 0xFF
    if kind in _NUMERIC:
        data = _numbers(*stream.element(), stream.order)
        if data.size != count:
            raise _BadFileError("an array is shorter than its size says")
        return name, data.astype(_NUMERIC[kind]).reshape(shape, order="F")
    if kind == _CHAR:
        return name, _texts(*stream.element(), stream.order, shape)
    if kind == _CELL:
        return name, [_nested(stream, depth) for _ in range(_bounded(count, stream))]
    if kind == _STRUCT:
        (length,) = (int(n) for n in _numbers(*stream.element(), stream.order))
        packed = bytes(stream.element()[1])
        if length < 1:
            raise _BadFileError("a structure's names have no length")
        names = [
            packed[i : i + length].split(b"\0")[0].decode("latin-1")
            for i in range(0, len(packed), length)
        ]
        rows = [
            {key: _nested(stream, depth) for key in names} for _ in range(_bounded(count, stream))
        ]
        return name, rows[0] if len(rows) == 1 else rows
    return name, None


def _bounded(count: int, stream: _Bytes) -> int:
    if count > len(stream.data):
        raise _BadFileError("an array says it has more values than the file has bytes")
    return count


def _nested(stream: _Bytes, depth: int) -> Any:
    kind, body = stream.element()
    if kind != _MATRIX:
        raise _BadFileError("a value stands where an array belongs")
    return _matrix(_Bytes(body, stream.order), depth + 1)[1]


def _numbers(kind: int, body: memoryview, order: str) -> np.ndarray:
    if kind not in _TYPES:
        raise _BadFileError(f"numbers of the unknown type {kind}")
    return np.frombuffer(body, np.dtype(order + _TYPES[kind]))


def _texts(kind: int, body: memoryview, order: str, shape: tuple[int, ...]) -> list[str]:
    """A character array's rows; MATLAB stores it down the columns."""
    endian = "le" if order == "<" else "be"
    codecs = {_UTF8: "utf-8", _UTF16: f"utf-16-{endian}", _UTF32: f"utf-32-{endian}"}
    if kind in codecs:
        letters = np.array(list(bytes(body).decode(codecs[kind])), "U1")
    else:
        letters = np.array([chr(code) for code in _numbers(kind, body, order)], "U1")
    rows = shape[0] if shape else 0
    if rows == 0 or letters.size % rows:
        return []
    return ["".join(row).rstrip() for row in letters.reshape((rows, -1), order="F")]
