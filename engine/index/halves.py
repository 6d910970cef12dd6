"""The file ``vectors.f16``: descriptors of 16 bits a number, row after row, memory-mapped.

Pages of a mapped file count as the program's memory once they were touched, and the system maps their neighbours with
them: 1,000 short lists of 100 rows would show as gigabytes. So a scan lets go of every block after its turn, and short
lists are read row by row, which maps nothing; the system keeps all of it in its cache as long as it likes.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import IndexFolderError
from engine.progress import Report, silent

BLOCK_BYTES = 32 << 20
_ROWS_KEPT = 16384
_SCANNED_ROWS = 65536
_AGAIN = "Get the index again from its source, or build it again"


class Halves:
    """Rows of a file of 16-bit floats [count, dimension]; safe in several threads.

    Raises:
        IndexFolderError: it cannot be read, or is not as long as that.
    """

    def __init__(self, path: Path, count: int, dimension: int) -> None:
        self.path, self.count, self.dimension = path, count, dimension
        wanted = 2 * count * dimension
        try:
            size = path.stat().st_size
            if size != wanted:
                raise IndexFolderError(
                    f"{path.name} has {size:,} bytes where {count:,} vectors of {dimension:,} need {wanted:,}",
                    path.parent,
                    _AGAIN,
                )
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise IndexFolderError(
                f"{path.name} cannot be read ({str(error)[:80]})", path.parent
            ) from error
        self.rows: NDArray[np.float16] = np.frombuffer(self._map, "<f2").reshape(count, dimension)
        # Picked out row by row it is half the time to read a row as to have its page mapped.
        self._file = os.open(path, os.O_RDONLY) if hasattr(os, "pread") else None
        if self._file is not None:
            weakref.finalize(self, os.close, self._file)
        if hasattr(mmap, "MADV_RANDOM"):  # no reading ahead: short lists lie all over the file
            self._map.madvise(mmap.MADV_RANDOM)

    def take(self, ids: ArrayLike) -> NDArray[np.float32]:
        """Some rows [n, dimension].

        Raises:
            IndexError: one of the ids is no row's.
            IndexFolderError: they hold what is no number.
        """
        return self.checked(as_floats(self.take_halves(ids)))

    def part(self, first: int, last: int) -> NDArray[np.float32]:
        """The rows from ``first`` to before ``last``."""
        rows = as_floats(np.array(self.rows[first:last]))
        self._advise("MADV_DONTNEED", first, last)
        return self.checked(rows)

    def checked(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values, made of rows here: finite, or the rows are damaged.

        Raises:
            IndexFolderError: they are not.
        """
        if not np.isfinite(values).all():
            raise IndexFolderError(
                f"{self.path.name} holds what is no number", self.path.parent, _AGAIN
            )
        return values

    def take_halves(self, ids: ArrayLike) -> NDArray[np.float16]:
        """Some rows [n, dimension] as they lie; raises as :meth:`take` does."""
        wanted = np.atleast_1d(np.asarray(ids, np.int64))
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < self.count:
            raise IndexError(f"tile ids run from 0 to {self.count - 1}")
        if self._file is None or len(wanted) > _SCANNED_ROWS:
            return self._mapped(wanted)
        size, read, file = 2 * self.dimension, os.pread, self._file
        different, where = np.unique(wanted, return_inverse=True)  # in order: half the time
        data = b"".join([read(file, size, at) for at in (different * size).tolist()])
        if len(data) != size * len(different):
            raise IndexFolderError(f"{self.path.name} became shorter", self.path.parent, _AGAIN)
        rows = np.frombuffer(data, "<f2").reshape(len(different), self.dimension)
        return rows[where]

    def _mapped(self, wanted: NDArray[np.int64]) -> NDArray[np.float16]:
        rows = np.empty((len(wanted), self.dimension), np.float16)
        for first in range(0, len(wanted), _ROWS_KEPT):
            rows[first : first + _ROWS_KEPT] = self.rows[wanted[first : first + _ROWS_KEPT]]
            self.let_go()
        return rows

    def blocks(self, bytes_a_block: int = BLOCK_BYTES) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """All rows in order, some at a time, with the first one's id; each block is let go of after its turn."""
        step = max(1, bytes_a_block // (2 * self.dimension))
        for first in range(0, self.count, step):
            last = min(first + step, self.count)
            self._advise("MADV_WILLNEED", first, last)
            yield first, self.rows[first:last]
            self._advise("MADV_DONTNEED", first, last)

    def close(self) -> None:
        """Let go of the pages; the file itself once nobody looks at its rows."""
        self.let_go()

    def let_go(self) -> None:
        """Stop counting the pages that were read as this program's memory."""
        self._advise("MADV_DONTNEED", 0, self.count)

    def _advise(self, what: str, first: int, last: int) -> None:
        # For a file that is only read, MADV_DONTNEED loses nothing: a page that is asked for again is mapped again.
        if hasattr(mmap, what):
            page = mmap.PAGESIZE
            start = first * 2 * self.dimension // page * page
            self._map.madvise(getattr(mmap, what), start, last * 2 * self.dimension - start)


def as_floats(rows: NDArray[np.float16]) -> NDArray[np.float32]:
    """16-bit rows with 32 bits; by faiss where there are many, which is four times as quick as NumPy."""
    if rows.size < 1 << 20:
        return rows.astype(np.float32)
    import faiss  # not at the top: it takes a tenth of a second

    codec: Any = faiss.IndexScalarQuantizer(rows.shape[-1], faiss.ScalarQuantizer.QT_fp16)
    codes = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, 2 * rows.shape[-1])
    return codec.sa_decode(codes).reshape(rows.shape)


def write_halves(
    path: Path,
    parts: Callable[[], Iterable[NDArray[np.float32]]],
    count: int,
    report: Report = silent,
) -> int:
    """Write rows that come some at a time. Returns how many came.

    Raises:
        OSError: they cannot be written.
    """
    written = 0
    with open(path, "wb") as file:
        for rows in parts():
            report(written, count, "Writing vectors")
            file.write(np.ascontiguousarray(rows, "<f2").data)
            written += len(rows)
    return written
