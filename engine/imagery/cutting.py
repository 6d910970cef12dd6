"""The part of an aerial source that is the same for all whose pixels can be read."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.imagery.projection import PixelReader
from engine.imagery.resample import Layered, SizedGrid, cut_tiles, render


class Cuts:
    """Tiles out of a class that is a :class:`PixelReader` or :class:`Layered`; see :class:`AerialSource`."""

    def cut(
        self, lat: float, lon: float, extent_m: float, pixels: int, *, missing: int = 0
    ) -> tuple[NDArray[np.uint8], float]:
        """See :meth:`AerialSource.cut`."""
        tiles, shares = self.cut_many([lat], [lon], extent_m, pixels, missing=missing)
        return tiles[0], float(shares[0])

    def cut_many(
        self,
        lats: ArrayLike,
        lons: ArrayLike,
        extent_m: float,
        pixels: int,
        *,
        missing: int = 0,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """See :meth:`AerialSource.cut_many`."""
        return cut_tiles(self._pixels, lats, lons, extent_m, pixels, missing)

    def render(self, grid: SizedGrid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The imagery on any grid: pixels [height, width, 3] and which of them are valid."""
        return render(self._pixels, grid)

    @property
    def _pixels(self) -> PixelReader | Layered:
        return cast("PixelReader | Layered", self)
