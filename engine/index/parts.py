"""The pieces of an unfinished build: what was encoded so far, in few files that only grow.

``parts/000012.part`` holds the chunks of one segment, each a record that is written whole or is not there::

    "NPRT", chunk, rows n, numbers a row D, bytes of more, CRC-32 of the rest, CRC-32 of this head   (7 x uint32)
    offsets uint32 [n]       which places of the chunk became rows
    positions float64 [n, 2] latitude, longitude
    extents float32 [n]      metres
    vectors float16 [n, D]   what indexes keep, however coarse, is made from these
    more                     JSON, for rows that are pictures

A record that was cut off is found by its checksum and cut away; the chunks after it are encoded again.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import IndexFolderError
from engine.index.begun import resume_command
from engine.index.plan import Plan
from engine.index.references import PictureRows
from engine.index.rows import Block

_HEAD = struct.Struct("<4s6I")
_MAGIC = b"NPRT"
_SEGMENT_BYTES = 256 << 20


@dataclass(frozen=True)
class Chunk:
    """What one chunk of places became: which of them are rows, where they lie, and their descriptors."""

    offsets: NDArray[np.int64]
    positions: NDArray[np.float64]
    extents: NDArray[np.float32]
    vectors: NDArray[np.float32]
    pictures: PictureRows | None = None


class DamagedPartError(IndexFolderError):
    """A piece of the unfinished build is damaged; it was removed, so that going on makes it again."""


@dataclass(frozen=True)
class _Record:
    chunk: int
    start: int
    count: int
    dimension: int
    more: int
    checksum: int

    @property
    def length(self) -> int:
        return self.count * (4 + 16 + 4 + 2 * self.dimension) + self.more

    @property
    def end(self) -> int:
        return self.start + _HEAD.size + self.length


class Segments:
    """The parts of a build in one work folder, for the chunks ``first .. last``.

    Opening it looks at the heads of all records, cuts off what was not finished, and removes what does not belong.
    """

    def __init__(self, work: Path, plan: Plan, first: int, last: int) -> None:
        self.folder = work / "parts"
        self.plan = plan
        self.chunks = range(first, last)
        self._size = max(1, _SEGMENT_BYTES // (2 * plan.dimension * plan.chunk))
        self._records: dict[int, _Record] = {}
        self._checked: set[int] = set()
        for segment in range(first // self._size, -(-last // self._size)):
            self._scan(segment)

    @property
    def missing(self) -> list[int]:
        """Chunks that are not there yet, rising."""
        return [chunk for chunk in self.chunks if chunk not in self._records]

    @property
    def count(self) -> int:
        """Rows in all records."""
        return sum(record.count for record in self._records.values())

    def write(self, number: int, chunk: Chunk) -> None:
        """Keep a chunk, whole or not at all; of one segment they come in their order.

        Raises:
            OSError: it cannot be written; what was there is as before.
        """
        more = b""
        if chunk.pictures is not None:
            more = json.dumps(
                {
                    "numbers": chunk.pictures.numbers.tolist(),
                    "headings": [
                        None if np.isnan(v) else float(v) for v in chunk.pictures.headings_deg
                    ],
                    "names": list(chunk.pictures.names),
                }
            ).encode()
        rest = b"".join(
            (
                chunk.offsets.astype("<u4").tobytes(),
                chunk.positions.astype("<f8").tobytes(),
                chunk.extents.astype("<f4").tobytes(),
                chunk.vectors.astype("<f2").tobytes(),
                more,
            )
        )
        checksum = zlib.crc32(rest)
        path = self._path(number // self._size)
        self.folder.mkdir(exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            start = file.seek(0, os.SEEK_END)
            record = _Record(
                number, start, len(chunk.offsets), self.plan.dimension, len(more), checksum
            )
            head = _HEAD.pack(
                _MAGIC, number, record.count, record.dimension, record.more, checksum, 0
            )
            head = head[:-4] + struct.pack("<I", zlib.crc32(head[:-4]))
            try:
                _write_all(file, head + rest)
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(start)
                raise
            if number + 1 not in self.chunks or (number + 1) % self._size == 0:
                os.fsync(file.fileno())
        self._records[number] = record

    def read(self, number: int, *, vectors: bool = True) -> Chunk:
        """What :meth:`write` kept. ``vectors`` False: the descriptors are left on the disk, [n, 0] is given.

        Raises:
            DamagedPartError: its file is damaged and was removed.
        """
        record = self._records[number]
        path = self._path(number // self._size)
        n, dimension = record.count, record.dimension
        before = n * (4 + 16 + 4)
        try:
            with open(path, "rb") as file:
                file.seek(record.start + _HEAD.size)
                if number in self._checked and not vectors:
                    rest = file.read(before)
                    file.seek(2 * n * dimension, os.SEEK_CUR)
                    more = file.read(record.more)
                else:
                    rest = file.read(record.length)
                    more = rest[record.length - record.more :]
                    if zlib.crc32(rest) != record.checksum:
                        raise ValueError("another checksum")
            offsets = np.frombuffer(rest, "<u4", n).astype(np.int64)
            if n and not 0 <= offsets.min() <= offsets.max() < self.plan.chunk:
                raise ValueError("another chunk")
            chunk = Chunk(
                offsets,
                np.frombuffer(rest, "<f8", 2 * n, 4 * n).reshape(n, 2),
                np.frombuffer(rest, "<f4", n, 20 * n),
                np.zeros((n, 0), np.float32),
                _pictures(more) if record.more else None,
            )
            if vectors:
                kept = np.frombuffer(rest, "<f2", n * dimension, before).reshape(n, dimension)
                chunk = replace(chunk, vectors=kept.astype(np.float32))
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise
            self._forget(number // self._size)
            raise DamagedPartError(
                f"{path.name}, a piece of the unfinished build, is damaged and was removed",
                self.folder.parent.parent,
                f"Continue with: {resume_command(self.folder.parents[1])}",
            ) from error
        self._checked.add(number)
        return chunk

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:06d}.part"

    def _forget(self, segment: int) -> None:
        self._path(segment).unlink(missing_ok=True)
        for chunk in [c for c in self._records if c // self._size == segment]:
            del self._records[chunk]

    def _scan(self, segment: int) -> None:
        """Learn what a segment's file holds; what follows the last good record is cut off."""
        path = self._path(segment)
        first = max(segment * self._size, self.chunks.start)
        last = min((segment + 1) * self._size, self.chunks.stop)
        found: list[_Record] = []
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        with open(path, "rb") as file:
            at = 0
            for chunk in range(first, last):
                file.seek(at)
                record = _record(file.read(_HEAD.size), at)
                wanted = (chunk, self.plan.dimension)
                if record is None or (record.chunk, record.dimension) != wanted:
                    break
                if record.end > size or record.count > self.plan.chunk:
                    break
                found.append(record)
                at = record.end
            # Only the last can have been cut off in the middle of what looks whole.
            if found:
                file.seek(found[-1].start + _HEAD.size)
                if zlib.crc32(file.read(found[-1].length)) != found[-1].checksum:
                    found.pop()
        end = found[-1].end if found else 0
        if end < size:
            os.truncate(path, end)
        self._records.update((record.chunk, record) for record in found)


@dataclass(frozen=True)
class PartRows:
    """The rows of a build, or of one that was divided among machines, from its parts (see :class:`rows.Rows`).

    Args:
        ends: of imagery in pieces: see :class:`engine.index.facts.Facts`.
    """

    segments: Sequence[Segments]
    ends: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return sum(part.count for part in self.segments)

    def blocks(self, *, vectors: bool) -> Iterator[Block]:
        """See :meth:`engine.index.rows.Rows.blocks`."""
        for part in self.segments:
            for number in part.chunks:
                chunk = part.read(number, vectors=vectors)
                yield Block(
                    np.ascontiguousarray(chunk.positions[:, 0]),
                    np.ascontiguousarray(chunk.positions[:, 1]),
                    chunk.extents,
                    self._sources(part.plan.chunk_range(number)[0] + chunk.offsets),
                    chunk.pictures,
                    chunk.vectors if vectors else None,
                )

    def _sources(self, rows: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Which piece each row is from."""
        return np.searchsorted(self.ends, rows, side="right").astype(np.uint16)


def _record(head: bytes, start: int) -> _Record | None:
    if len(head) < _HEAD.size:
        return None
    magic, chunk, count, dimension, more, checksum, own = _HEAD.unpack(head)
    if magic != _MAGIC or own != zlib.crc32(head[:-4]):
        return None
    return _Record(chunk, start, count, dimension, more, checksum)


def _pictures(more: bytes) -> PictureRows:
    raw = json.loads(more)
    return PictureRows(
        np.array(raw["numbers"], np.int64),
        np.array([np.nan if v is None else v for v in raw["headings"]], np.float64),
        tuple(str(name) for name in raw["names"]),
    )


def _write_all(file: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    if path.is_dir():
        with contextlib.suppress(OSError):  # Windows opens no folders
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
