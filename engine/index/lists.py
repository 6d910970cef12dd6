"""Inverted lists where they lie in a mapped file, for faiss to search.

List after list: its codes, then the ids of their vectors (8 bytes each), then as many zeros as make it a multiple of 64
bytes. Codes for fast scanning stand in blocks of 32, the last one filled up with zeros: of two pieces of 4 bits at a
time, first the even pieces of all 32 vectors and then the odd ones, vectors 0 and 16, 8 and 24, 1 and 17 ... sharing
a byte (faiss, ``pq4_fast_scan.h``).

Where lists begin follows from their sizes, so a file cannot say it wrongly. faiss is given the addresses; it never
reads a file itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
ALIGN = 64
_ID_BYTES = 8
_PAIRS = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])


def capacities(sizes: NDArray[Any], fast: bool) -> NDArray[np.int64]:
    """Vectors that lists have room for."""
    sizes = sizes.astype(np.int64)
    return -(-sizes // BLOCK) * BLOCK if fast else sizes


def offsets(sizes: NDArray[Any], code_bytes: int, fast: bool) -> NDArray[np.int64]:
    """Where every list begins [n + 1]; the last entry is the length of all."""
    bytes_ = capacities(sizes, fast) * code_bytes + sizes.astype(np.int64) * _ID_BYTES
    return np.concatenate([[0], np.cumsum(-(-bytes_ // ALIGN) * ALIGN)])


def packed(codes: NDArray[np.uint8], pieces: int) -> NDArray[np.uint8]:
    """4-bit codes [n, bytes] as fast scanning wants them: flat, in blocks of 32 vectors."""
    count = len(codes)
    blocks = -(-count // BLOCK)
    even = np.zeros((blocks * BLOCK, -(-pieces // 2)), np.uint8)
    even[:count] = codes
    even = even.reshape(blocks, BLOCK, -1).transpose(0, 2, 1)  # [blocks, pairs of pieces, 32]
    low, high = even & 15, even >> 4
    both = [part[..., _PAIRS] | (part[..., _PAIRS + 16] << np.uint8(4)) for part in (low, high)]
    return np.concatenate(both, axis=-1).astype(np.uint8).reshape(-1)


def one_list(
    codes: NDArray[np.uint8], ids: NDArray[np.int64], pieces: int, fast: bool
) -> NDArray[np.uint8]:
    """The bytes of a list."""
    body: NDArray[np.uint8] = packed(codes, pieces) if fast else codes.reshape(-1)
    numbers: NDArray[np.uint8] = np.frombuffer(ids.astype("<i8").tobytes(), np.uint8)
    end: NDArray[np.uint8] = np.zeros(-(body.size + numbers.size) % ALIGN, np.uint8)
    whole: NDArray[np.uint8] = np.concatenate([body, numbers, end])
    return whole


class MappedLists:
    """faiss's inverted lists over mapped bytes.

    Args:
        data: the bytes of all lists; kept as long as these are.
        sizes: [n], vectors in every list.
        code_bytes: of a vector's code; ``fast``: whether codes are packed for fast scanning.

    Attributes:
        faiss: what ``IndexIVF.replace_invlists`` takes; use it no longer than this object.
    """

    def __init__(
        self, data: NDArray[np.uint8], sizes: NDArray[np.int32], code_bytes: int, fast: bool
    ) -> None:
        import faiss  # not at the top: it takes a tenth of a second

        self._data = data
        at, room = offsets(sizes, code_bytes, fast)[:-1], capacities(sizes, fast)
        if not hasattr(faiss, "OnDiskInvertedLists"):  # Windows
            self.faiss = _copied(data, sizes.astype(np.int64), at, room, code_bytes, fast)
            return
        lists: Any = faiss.OnDiskInvertedLists()
        lists.nlist, lists.code_size = len(sizes), code_bytes
        lists.read_only, lists.prefetch_nthread = True, 0
        lists.lists.resize(len(sizes))
        table = np.stack([sizes.astype(np.uint64), room.astype(np.uint64), at.astype(np.uint64)], 1)
        table = np.ascontiguousarray(table)
        faiss.memcpy(lists.lists.data(), faiss.swig_ptr(table), table.nbytes)
        lists.ptr, lists.totsize = faiss.swig_ptr(data), data.size
        lists.thisown = False  # it would unmap what is not its own
        self.faiss = lists

    def __del__(self) -> None:
        lists = getattr(self, "faiss", None)
        if lists is not None and hasattr(lists, "totsize"):
            lists.ptr, lists.totsize = None, 0
            lists.thisown = True


def _copied(
    data: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    at: NDArray[np.int64],
    room: NDArray[np.int64],
    code_bytes: int,
    fast: bool,
) -> Any:
    """The same in memory, where faiss has no lists on disk."""
    import faiss as typed

    faiss: Any = typed  # its types are incomplete
    if fast:
        lists: Any = faiss.BlockInvertedLists(len(sizes), BLOCK, BLOCK * code_bytes)
    else:
        lists = faiss.ArrayInvertedLists(len(sizes), code_bytes)
    for number, size in enumerate(sizes.tolist()):
        if size:
            first, bytes_ = int(at[number]), int(room[number]) * code_bytes
            codes = faiss.swig_ptr(data[first : first + bytes_])
            ids = faiss.swig_ptr(data[first + bytes_ : first + bytes_ + 8 * size])
            lists.resize(number, size)
            faiss.memcpy(lists.get_codes(number), codes, bytes_)
            faiss.memcpy(lists.get_ids(number), ids, 8 * size)
    return lists
