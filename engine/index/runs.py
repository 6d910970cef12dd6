"""Finding rows by place without an array of all of them: a box around every run of some hundred rows.

Rows that follow each other are neighbours on the ground, so few boxes are large; the rows of those that reach into
the place asked for are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_TOGETHER = 1 << 17  # rows looked at together while boxes are made


class Runs:
    """Boxes around runs of rows, made in one pass.

    Args:
        centres: float64 [N, 2] latitudes and longitudes; may be mapped.

    Raises:
        ValueError: a position is not on the Earth.
    """

    def __init__(self, centres: NDArray[np.float64]) -> None:
        self._count = len(centres)
        # Some hundreds of boxes even for a small index, some ten thousand for the largest.
        self._length = int(np.clip(self._count // 512, 32, 1024))
        found: list[NDArray[np.float64]] = []
        step = _TOGETHER // self._length * self._length
        for first in range(0, self._count, step):
            places = np.asarray(centres[first : first + step])
            if not on_earth(places):
                raise ValueError("a position is not on the Earth")
            starts = np.arange(0, len(places), self._length)
            lats, lons = places[:, 0], places[:, 1]
            origin = np.repeat(lons[starts], self._length)[: len(lons)]
            turned = (lons - origin + 180.0) % 360.0 - 180.0
            low, high = np.minimum.reduceat(turned, starts), np.maximum.reduceat(turned, starts)
            south, north = np.minimum.reduceat(lats, starts), np.maximum.reduceat(lats, starts)
            found.append(
                np.stack([south, north, lons[starts] + (low + high) / 2, (high - low) / 2])
            )
        self._south, self._north, self._middle, self._half = np.concatenate(found, axis=1)

    def rows(self, lat: float, lon: float, reach_lat: float, reach_lon: float) -> NDArray[np.int64]:
        """The rows of all runs that reach into a box about a position (degrees to either side), rising."""
        away = np.abs((self._middle - lon + 180.0) % 360.0 - 180.0)
        near = (self._south <= lat + reach_lat) & (self._north >= lat - reach_lat)
        runs = np.flatnonzero(near & (away <= self._half + reach_lon + 1e-9))
        rows = (runs[:, None] * self._length + np.arange(self._length)).ravel()
        return rows[rows < self._count]

    def boxes(self) -> Iterator[tuple[slice, float, float, NDArray[np.float64]]]:
        """Every run: its rows, south, north, and [west, east], which may run on beyond 180°."""
        for run in range(len(self._south)):
            first = run * self._length
            yield (
                slice(first, min(first + self._length, self._count)),
                float(self._south[run]),
                float(self._north[run]),
                self._middle[run] + np.array([-1.0, 1.0]) * self._half[run],
            )


def on_earth(places: NDArray[np.float64]) -> bool:
    """Whether latitudes and longitudes [..., 2] are such."""
    # Of what is no number, too: it is not less.
    return bool((np.abs(places) <= np.array([90.0, 180.0])).all())
