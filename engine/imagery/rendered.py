"""Imagery in a coordinate system and at a resolution that is not its own, as a raster of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.imagery.geotiff import local_crs
from engine.imagery.projection import WGS84, PixelReader, project
from engine.imagery.resample import Layered, render

_MOST_PIXELS = 1 << 31  # along one side; a GeoTIFF counts them so


@dataclass(frozen=True)
class PlaneGrid:
    """Pixels of a plane in some CRS; see :class:`engine.imagery.patch.AnyGrid`."""

    crs: CRS
    transform: Affine
    width: int
    height: int

    def positions(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes of points given in pixels; longitudes nowhere jump."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        t = self.transform
        lons, lats = project(self.crs, WGS84, t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
        lons = lons[0] + (lons - lons[0] + 180.0) % 360.0 - 180.0
        return lats.reshape(x.shape), lons.reshape(x.shape)


class Rendered:
    """A view of imagery; ``read`` resamples it. See :class:`engine.imagery.geotiff.Copyable`."""

    def __init__(
        self,
        imagery: PixelReader | Layered,
        crs: CRS,
        transform: Affine,
        shape: tuple[int, int],
    ) -> None:
        self._imagery = imagery
        self.raster_crs, self.transform, self.shape = crs, transform, shape
        self.gaps = True

    @staticmethod
    def around(imagery: PixelReader | Layered, bounds: Bounds, resolution_m: float) -> Rendered:
        """A view of a box in a transverse Mercator about its middle.

        Raises:
            ImageryError: there would be too many pixels.
        """
        lat, lon = bounds.centre
        crs = CRS.from_wkt(local_crs(lat, lon))
        t = np.linspace(0, 1, 17)
        lats = bounds.south + t * (bounds.north - bounds.south)
        lons = bounds.west + t * bounds.width_deg
        grid = np.meshgrid(lats, lons)
        x, y = project(WGS84, crs, grid[1].ravel(), grid[0].ravel())
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ImageryError("the area is too large to be copied", None, "Choose a smaller area")
        west, south = np.floor(x.min() / resolution_m) - 2, np.floor(y.min() / resolution_m) - 2
        columns = int(np.ceil(x.max() / resolution_m) + 2 - west)
        rows = int(np.ceil(y.max() / resolution_m) + 2 - south)
        if max(rows, columns) >= _MOST_PIXELS:
            raise ImageryError(
                f"a copy would have {columns:,} by {rows:,} pixels", None, "Choose a smaller area"
            )
        corner = Affine.translation(west * resolution_m, (south + rows) * resolution_m)
        transform = corner @ Affine.scale(resolution_m, -resolution_m)
        return Rendered(imagery, crs, transform, (rows, columns))

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See ``PixelReader.read``."""
        transform = self.transform @ Affine.translation(left, top)
        transform = transform @ Affine.scale((right - left) / columns, (bottom - top) / rows)
        grid = PlaneGrid(self.raster_crs, transform, columns, rows)
        pixels, valid = render(self._imagery, grid)
        mask = None if valid.all() else valid * np.uint8(255)
        return np.moveaxis(pixels, -1, 0), mask
