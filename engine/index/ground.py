"""The ground of an index as a map shows it: its imagery, or the tiles that a dataset gave, each where it belongs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import ImageryError
from engine.geo import Bounds, metres_per_degree
from engine.imagery.resample import centred_grid
from engine.imagery.web_tiles import Cuttable
from engine.index.store import Index

MOST_TILES = 64
"""More than so many are not laid out for one piece of the map: seen from so far, one must come nearer."""

_KEPT = 48  # pictures, of at most so many pixels a side
_SIDE = 512


def ground_of(index: Index) -> Cuttable | None:
    """What a map may be drawn from; None where the index is made of photos of the street.

    Raises:
        ImageryError: the index does not hold it and it was not found.
    """
    if index.manifest.kind == "street":
        return None
    if index.manifest.pictures:
        return PictureGround(index)
    return index.imagery


class PictureGround:
    """Tiles that are pictures, north up, laid side by side; where they overlap, the later one is seen.

    Safe in several threads.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.bounds: Bounds = index.coverage
        self.resolution_m = max(min(f.resolution_m for f in index.manifest.imagery), 1e-3)
        self._lats, self._lons = index.centres
        self._halves = index.extents
        self._kept: OrderedDict[int, Image.Image | None] = OrderedDict()
        self._lock = threading.Lock()

    def cut(
        self, lat: float, lon: float, extent_m: float, pixels: int
    ) -> tuple[NDArray[np.uint8], float]:
        """A square of ground, as :meth:`engine.imagery.AerialSource.cut`."""
        cut, seen = self.render(centred_grid(lat, lon, extent_m, pixels))
        return cut, float(seen.mean())

    def render(self, grid: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The tiles on a grid whose rows are parallels and whose columns are meridians: pixels [H, W, 3] and which of
        them a tile covers."""
        height, width = round(grid.height), round(grid.width)
        out = np.zeros((height, width, 3), np.uint8)
        seen = np.zeros((height, width), np.bool_)
        lats = np.asarray(grid.positions(0.0, np.arange(height + 1))[0], np.float64)
        lons = np.asarray(grid.positions(np.arange(width + 1), 0.0)[1], np.float64)
        for number in self._within(lats, lons).tolist():
            picture = self._picture(number)
            if picture is not None:
                self._lay(number, picture, lats, lons, out, seen)
        return out, seen

    def _within(self, lats: NDArray[np.float64], lons: NDArray[np.float64]) -> NDArray[np.intp]:
        """The tiles that meet a box; none where there are too many to lay out."""
        middle = float(lons[0] + lons[-1]) / 2
        per_lat, per_lon = (float(v) for v in metres_per_degree(float(lats[0] + lats[-1]) / 2))
        half = np.asarray(self._halves, np.float64) / 2
        north, south = float(lats.max()), float(lats.min())
        reach = abs(float(lons[-1] - lons[0])) / 2
        away = np.abs((self._lons - middle + 180.0) % 360.0 - 180.0)
        meets = (away <= reach + half / max(per_lon, 1.0)) & (self._lats <= north + half / per_lat)
        found = np.flatnonzero(meets & (self._lats >= south - half / per_lat))
        return found if len(found) <= MOST_TILES else found[:0]

    def _lay(
        self,
        number: int,
        picture: Image.Image,
        lats: NDArray[np.float64],
        lons: NDArray[np.float64],
        out: NDArray[np.uint8],
        seen: NDArray[np.bool_],
    ) -> None:
        """Lay one tile: lines ``lats`` and ``lons`` are the edges of the grid's rows and columns."""
        lat, lon, extent = self._lats[number], self._lons[number], float(self._halves[number])
        per_lat, per_lon = (float(v) for v in metres_per_degree(lat))
        side = picture.width
        # The grid's lines in pixels of the tile; both run to the right and down.
        x = ((lons - lon + 180.0) % 360.0 - 180.0) * per_lon / extent * side + side / 2
        y = (lat - lats) * per_lat / extent * side + side / 2
        columns = np.flatnonzero((x[:-1] >= -0.01) & (x[1:] <= side + 0.01))
        rows = np.flatnonzero((y[:-1] >= -0.01) & (y[1:] <= side + 0.01))
        if not len(columns) or not len(rows):
            return
        box = tuple(
            float(np.clip(edge, 0, side))
            for edge in (x[columns[0]], y[rows[0]], x[columns[-1] + 1], y[rows[-1] + 1])
        )
        size = (len(columns), len(rows))
        drawn = picture.resize(size, Image.Resampling.BILINEAR, box=box)  # pyright: ignore[reportArgumentType]
        place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        out[place], seen[place] = np.asarray(drawn), True

    def _picture(self, number: int) -> Image.Image | None:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        try:
            pixels = self._index.picture(number)
        except ImageryError:
            made = None  # the tile's own card says why
        else:
            side = min(_SIDE, max(pixels.shape[:2]))
            made = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
        with self._lock:
            self._kept[number] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made
