"""Making inverted lists: rotation, centres and codes are learned from a sample, then every vector finds its list.

Lists in great number are found in two steps, as k-means with tens of thousands of centres would take hours: first a
few hundred groups, then the lists of every group among its own vectors. Everything that grows with the number of
vectors lies in files, in the order of the rows or of the lists, and is read a block at a time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.index.arrays import ArraysWriter
from engine.index.halves import Halves
from engine.index.inverted import BLOCK_ROWS, arrays_of
from engine.index.layouts import ARRAYS_FILE, EXACT_FILE, Layout
from engine.index.lists import offsets, one_list
from engine.progress import Report, part, silent

FloatArray = NDArray[np.float32]

SAMPLE = 65_536
"""Vectors that rotation and codes are learned from."""

SHORT = 300
"""Rows whose vectors are read for a query at most, where no more results are wanted."""

FLAT_CENTRES = 1024
"""Up to so many centres are learned at once, from all of the sample."""

_POINTS_A_CENTRE = 64
_BLOCK = 1 << 16
_ROUNDS = 10


def write_inverted(
    folder: Path,
    layout: Layout,
    count: int,
    report: Report = silent,
) -> None:
    """Write the file of lists beside ``vectors.f16``, which must be there whole.

    Raises:
        OSError: it cannot be written.
    """
    halves = Halves(folder / EXACT_FILE, count, layout.dimension)
    try:
        with tempfile.TemporaryDirectory(prefix="lists-", dir=folder) as scratch:
            _write(Path(scratch), folder, layout, halves, report)
    finally:
        halves.close()


def _write(
    scratch: Path,
    folder: Path,
    layout: Layout,
    halves: Halves,
    report: Report,
) -> None:
    report(0, 100, "Learning the rotation")
    whole = _sample(halves, SAMPLE)
    rotation = _rotation(layout, whole)
    dropped = _dropped(whole, rotation)
    del whole
    inner = _turned(scratch, halves, rotation, part(report, 0.05, 0.15, "Turning vectors"))
    sample = _sample(inner, SAMPLE)
    sorting = part(report, 0.15, 0.65, "Sorting vectors into lists")
    centres, assigned = _assign(layout, inner, sample, sorting)
    report(65, 100, "Learning the codes")
    rest = None
    if centres is not None and not layout.imi_bits:
        rest = sample - centres[_closest(sample, centres)]
        if layout.residual:
            sample = rest
    codec, learned = _codec(layout, sample)
    errors = sample - codec.decode(codec.compute_codes(sample))
    lists = len(centres) if centres is not None and not layout.imi_bits else layout.lists
    if layout.lists == 1:
        lists = max(1, -(-halves.count // BLOCK_ROWS))
    sizes = np.bincount(assigned, minlength=lists).astype(np.int32)
    length = int(offsets(sizes, layout.code_bytes, layout.fast)[-1])
    wanted = arrays_of(layout, halves.count) | {"lists": ("|u1", (length,))}
    values: dict[str, NDArray[Any] | None] = {
        "effort": np.array(_effort(layout, lists), np.int32),
        "rotation": rotation,
        "centres": centres,
        "pieces": learned,
        "ranges": learned,
        "errors": _covariance(errors),
        "dropped": np.array([dropped], np.float32),
        "spread": None if rest is None else _covariance(rest),
        "sizes": sizes,
    }
    with ArraysWriter(folder / ARRAYS_FILE, wanted) as file:
        for name in wanted:
            value = values.get(name)
            if value is not None:
                file.add(name, value)
        writing = part(report, 0.7, 1.0, "Writing lists")
        _fill(file, layout, inner, codec, centres, assigned, sizes, writing)
    inner.close()


def _effort(layout: Layout, lists: int) -> tuple[int, int]:
    """Lists looked at for every query, and rows whose vectors are read at most."""
    return (max(1, lists // 8) if layout.imi_bits else max(1, min(64, lists // 4))), SHORT


def _covariance(values: FloatArray) -> FloatArray:
    """Mean products [d, d] of what is left over; its mean matters little and is not taken off."""
    return (values.T @ values / np.float32(max(1, len(values)))).astype(np.float32)


def _dropped(sample: FloatArray, rotation: FloatArray | None) -> float:
    """The variance in each of the directions that a rotation leaves out."""
    if rotation is None or len(rotation) == sample.shape[1]:
        return 0.0
    centred = sample - sample.mean(axis=0)
    lost = (centred**2).sum(axis=1).mean() - ((centred @ rotation.T) ** 2).sum(axis=1).mean()
    return max(0.0, float(lost)) / (sample.shape[1] - len(rotation))


def _sample(halves: Halves, wanted: int) -> FloatArray:
    """Vectors from all over the rows, neighbours together: [n, dimension]."""
    if halves.count <= wanted:
        return halves.part(0, halves.count)
    runs = wanted // 16
    starts = np.linspace(0, halves.count - 16, runs).astype(np.int64)
    return halves.take(np.unique(starts[:, None] + np.arange(16)))


def _rotation(layout: Layout, sample: FloatArray) -> FloatArray | None:
    import faiss

    if not layout.transform:
        return None
    if layout.transform == "OPQ":
        opq: Any = faiss.OPQMatrix(layout.dimension, layout.opq, layout.inner)
        opq.niter = 20
        # Pieces of 4 bits find as good a rotation as those of 8, in a twentieth of the time.
        opq.pq = pieces = faiss.ProductQuantizer(layout.inner, layout.opq, 4)
        opq.train(sample[:: max(1, len(sample) // (SAMPLE // 2))])
        del pieces
        found: Any = opq
    else:
        found = faiss.PCAMatrix(layout.dimension, layout.inner, 0.0, layout.transform == "PCAR")
        found.train(sample)
    # Where the rotation puts the origin is the same for every vector, so it changes no order: it is left out.
    return faiss.vector_to_array(found.A).reshape(layout.inner, layout.dimension).copy()


def _turned(scratch: Path, halves: Halves, rotation: FloatArray | None, report: Report) -> Halves:
    """The vectors as they are searched, in a file of their own; the very ones where there is no rotation."""
    if rotation is None:
        return Halves(halves.path, halves.count, halves.dimension)
    path = scratch / "turned.f16"
    with open(path, "wb") as file:
        for first in range(0, halves.count, _BLOCK):
            report(first, halves.count, "")
            rows = halves.part(first, min(first + _BLOCK, halves.count))
            file.write(np.ascontiguousarray(rows @ rotation.T, "<f2").data)
    return Halves(path, halves.count, len(rotation))


def _codec(layout: Layout, sample: FloatArray) -> tuple[Any, NDArray[np.float32] | None]:
    """What makes codes, and what it learned."""
    import faiss

    if layout.code == "PQ":
        pieces: Any = faiss.ProductQuantizer(layout.inner, layout.pieces, layout.bits)
        pieces.cp.min_points_per_centroid = 1
        pieces.train(sample[:: max(1, len(sample) >> (14 if layout.bits == 8 else 16))])
        return pieces, faiss.vector_to_array(pieces.centroids).copy()
    quantizer: Any = faiss.ScalarQuantizer
    kind = {"SQ8": quantizer.QT_8bit, "SQ4": quantizer.QT_4bit, "SQfp16": quantizer.QT_fp16}
    scalar: Any = faiss.ScalarQuantizer(layout.inner, kind[layout.code])
    scalar.train(sample)
    return scalar, faiss.vector_to_array(scalar.trained).copy()


def _assign(
    layout: Layout, inner: Halves, sample: FloatArray, report: Report
) -> tuple[FloatArray | None, NDArray[np.int32]]:
    """The centres of the lists, and every row's list."""
    assigned = np.empty(inner.count, np.int32)
    if layout.lists == 1:
        return None, (np.arange(inner.count) // BLOCK_ROWS).astype(np.int32)
    if layout.imi_bits:
        half, size = layout.inner // 2, 1 << layout.imi_bits
        both = [_kmeans(sample[:, :half], size, report), _kmeans(sample[:, half:], size, report)]
        for rows, block in _blocks(inner, report):
            first = _closest(block[:, :half], both[0])
            assigned[rows] = first + (_closest(block[:, half:], both[1]) << layout.imi_bits)
        return np.stack(both), assigned
    if layout.lists <= FLAT_CENTRES:
        centres = _kmeans(sample, layout.lists, part(report, 0.0, 0.4))
        for rows, block in _blocks(inner, part(report, 0.4, 1.0)):
            assigned[rows] = _closest(block, centres)
        return centres, assigned
    groups = 2 ** round(np.log2(layout.lists) / 2)
    tops = _kmeans(sample, groups, part(report, 0.0, 0.1))
    group = np.empty(inner.count, np.int32)
    for rows, block in _blocks(inner, part(report, 0.1, 0.3)):
        group[rows] = _closest(block, tops)
    order = np.argsort(group, kind="stable")
    members = np.bincount(group, minlength=groups)
    shares = _apportioned(members, layout.lists)
    centres, first, start = np.empty((layout.lists, layout.inner), np.float32), 0, 0
    for number in range(groups):
        report(300 + 700 * number // groups, 1000, "")
        rows, lists = order[start : start + members[number]], int(shares[number])
        start += int(members[number])
        if not lists:
            continue
        step = max(1, len(rows) // (lists * _POINTS_A_CENTRE))
        found = _kmeans(inner.take(rows[::step]), lists, silent, rounds=6)
        centres[first : first + lists] = found
        for at in range(0, len(rows), _BLOCK):
            some = rows[at : at + _BLOCK]
            assigned[some] = first + _closest(inner.take(some), found)
        first += lists
    return centres, assigned


def _apportioned(members: NDArray[np.int64], lists: int) -> NDArray[np.int64]:
    """How many lists each group gets: by its members, and never more than those."""
    exact = members * (lists / members.sum())
    shares = np.minimum(np.maximum(np.floor(exact), members > 0), members).astype(np.int64)
    while (left := lists - int(shares.sum())) != 0:
        if left > 0:
            open_ = np.flatnonzero(shares < members)
            order = open_[np.argsort(-(exact - shares)[open_], kind="stable")]
        else:
            open_ = np.flatnonzero(shares > 1)
            order = open_[np.argsort((exact - shares)[open_], kind="stable")]
        shares[order[: abs(left)]] += 1 if left > 0 else -1
    return shares


def _kmeans(data: FloatArray, count: int, report: Report, rounds: int = _ROUNDS) -> FloatArray:
    """Centres [count, dimension]; a round at a time, so that it can be cancelled."""
    import faiss

    data = np.ascontiguousarray(data)
    if len(data) <= count:
        return data[np.arange(count) % len(data)].copy()
    centres: FloatArray | None = None
    for number in range(rounds):
        report(number, rounds, "")
        cluster: Any = faiss.Clustering(data.shape[1], count)
        cluster.niter, cluster.seed, cluster.verbose = 1, 1234 + number, False
        cluster.min_points_per_centroid, cluster.max_points_per_centroid = 1, len(data)
        index: Any = faiss.IndexFlatL2(data.shape[1])
        if centres is not None:
            faiss.copy_array_to_vector(centres.reshape(-1), cluster.centroids)
        cluster.train(data, index)
        centres = faiss.vector_to_array(cluster.centroids).reshape(count, -1).copy()
    assert centres is not None
    return centres


def _closest(block: FloatArray, centres: FloatArray) -> NDArray[np.int64]:
    import faiss

    return faiss.knn(np.ascontiguousarray(block), np.ascontiguousarray(centres), 1)[1][:, 0]


def _blocks(inner: Halves, report: Report):
    for first in range(0, inner.count, _BLOCK):
        report(first, inner.count, "")
        last = min(first + _BLOCK, inner.count)
        yield slice(first, last), inner.part(first, last)


def _fill(
    file: ArraysWriter,
    layout: Layout,
    inner: Halves,
    codec: Any,
    centres: FloatArray | None,
    assigned: NDArray[np.int32],
    sizes: NDArray[np.int32],
    report: Report,
) -> None:
    order = np.argsort(assigned, kind="stable")
    ends = np.cumsum(sizes, dtype=np.int64)
    first = 0
    while first < len(sizes):
        start = int(ends[first]) - int(sizes[first])
        report(start, len(order), "")
        last = max(first + 1, int(np.searchsorted(ends, start + _BLOCK, "right")))
        rows = order[start : ends[last - 1]]
        vectors = inner.take(rows)
        if layout.residual and centres is not None:
            vectors = vectors - centres[assigned[rows]]
        codes = codec.compute_codes(np.ascontiguousarray(vectors)) if len(rows) else None
        whole: list[NDArray[np.uint8]] = []
        for number in range(first, last):
            at = int(ends[number]) - int(sizes[number]) - start
            here = slice(at, at + int(sizes[number]))
            if sizes[number] and codes is not None:
                ids = rows[here].astype(np.int64)
                whole.append(one_list(codes[here], ids, layout.pieces, layout.fast))
        if whole:
            file.add("lists", np.concatenate(whole))
        first = last
