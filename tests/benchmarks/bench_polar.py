"""The polar transform beside the published NumPy method, on one core: ``python -m tests.benchmarks.bench_polar``.

The published method, as SAFA's authors describe their sampling, is written plainly below: four gathers of colours by
fancy indexing inside a mask of what lies within the picture, mixed in double precision. Ours must give the same
pixels, within rounding, at least twenty times as fast. The table of positions is made beforehand for both.
"""

from __future__ import annotations

import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import statistics  # noqa: E402 - after the threads are settled
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from engine.photo.polar import safa_grid, safa_warp  # noqa: E402

TARGET = 20.0
CASES = ((750, 112, 616), (1200, 112, 616), (750, 128, 512), (1200, 128, 512))
"""Tile size and the polar image's height and width: SAFA on CVUSA and CVACT, DSM on both."""


@dataclass(frozen=True)
class Row:
    """One case: medians in milliseconds, and the largest difference in grey levels after rounding."""

    size: int
    height: int
    width: int
    published_ms: float
    ours_ms: float
    worst: int

    @property
    def ratio(self) -> float:
        return self.published_ms / self.ours_ms


def published(
    picture: NDArray[np.uint8], rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The published way, float64 [h, w, 3]."""
    top, left = rows.astype(int), columns.astype(int)

    def colours(row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.float64]:
        inside = (row >= 0) & (row < picture.shape[0]) & (column >= 0) & (column < picture.shape[1])
        found = np.zeros((*row.shape, 3))
        found[inside, :] = picture[row[inside], column[inside], :]
        return found

    down, right = (rows - top)[..., None], (columns - left)[..., None]
    near = (1 - down) * colours(top, left) + down * colours(top + 1, left)
    far = (1 - down) * colours(top, left + 1) + down * colours(top + 1, left + 1)
    return (1 - right) * near + right * far


def median_ms(work: Callable[[], object], seconds: float) -> float:
    """The median of as many runs as fit into ``seconds``, the first ones left out."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(size: int, height: int, width: int, seconds: float = 1.0) -> Row:
    """Time both on the same noise, which is the hardest for rounding."""
    tile = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    rows, columns = safa_grid(size, height, width)
    ours = safa_warp(tile[None], height=height, width=width)[0]
    worst = int(np.abs(ours - np.rint(published(tile, rows, columns))).max())
    return Row(
        size,
        height,
        width,
        median_ms(lambda: published(tile, rows, columns), seconds),
        median_ms(lambda: safa_warp(tile[None], height=height, width=width), seconds),
        worst,
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench_polar", description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="for every measurement")
    args = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("tile   polar      published      ours   ratio  largest difference")
    met = True
    for case in CASES:
        row = measure(*case, seconds=args.seconds)
        met &= row.ratio >= TARGET and row.worst <= 1
        print(
            f"{row.size:>4}  {row.height} x {row.width}  {row.published_ms:8.2f} ms  {row.ours_ms:6.3f} ms"
            f"  {row.ratio:5.1f}  {row.worst} of 255"
        )
    print("target met" if met else f"target missed: {TARGET:g} times, 1 of 255")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
