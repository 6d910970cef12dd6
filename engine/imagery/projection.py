"""Between WGS84, a raster's coordinate system and its pixels, also where a world begins anew."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

WGS84 = CRS.from_epsg(4326)
HIGHEST_LATITUDE = 89.9  # local metres mean nothing at the pole itself

_MERCATOR_WORLD_M = 2 * math.pi * 6378137.0
_SAID_CODE = re.compile(r'(?:AUTHORITY|ID)\["EPSG",\s*"?(\d+)"?\]\]\s*$')

FloatArray = NDArray[np.float64]


class PixelReader(Protocol):
    """A raster of 8-bit red, green and blue in some CRS. ``transform`` takes column and row to the CRS."""

    @property
    def raster_crs(self) -> CRS: ...

    @property
    def transform(self) -> Affine: ...

    @property
    def period(self) -> float:
        """:func:`world_width` of the CRS."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pixels [3, rows, columns] of a window inside the raster, averaged down to that size, and how far each is
        there (255 wholly, 0 not) [rows, columns], None where all are. The window holds a whole number of its pixels
        for each of those asked for."""
        ...


# How the library says that a point has no place: in words at first, then by PROJ's number for them.
_OUTSIDE = (
    "outside of projection domain",
    "Invalid latitude",
    "Invalid longitude",
    "Invalid coordinate",
    "err = 2049",
    "err = 2050",
    "err = 2052",
)


def project(source: CRS, target: CRS, xs: Any, ys: Any) -> tuple[FloatArray, FloatArray]:
    """Points from one CRS to another; inf where there are none.

    Raises:
        CRSError: there is no way between the two, as for a plane that lies nowhere on the Earth.
    """
    x, y = np.ravel(xs), np.ravel(ys)
    try:
        moved = transform(source, target, x.tolist(), y.tolist())
    except CPLE_BaseError as error:
        if not any(words in str(error) for words in _OUTSIDE):
            raise CRSError(str(error)) from error
        # One point that has no place is an error for all of them: look for it.
        if len(x) == 1:
            return np.full(1, np.inf), np.full(1, np.inf)
        half = len(x) // 2
        parts = [
            project(source, target, x[part], y[part]) for part in (slice(half), slice(half, None))
        ]
        moved = np.concatenate(parts, axis=1)
    return np.asarray(moved[0], np.float64), np.asarray(moved[1], np.float64)


def to_raster(
    reader: PixelReader, lats: Any, lons: Any, *, together: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Columns and rows (fractional, pixel corners at whole numbers) of positions; inf where there are none.

    Where the same meridian has several columns, the one nearest to the raster's middle is taken.

    Args:
        together: positions are of one piece of ground, which is not torn where the world begins anew: all lie on one
            side of it, with their middle one; some may then lie beyond the raster.
    """
    x, y = project(WGS84, reader.raster_crs, lons, lats)
    rows, columns = reader.shape
    period = reader.period
    if period:
        near, _ = reader.transform @ (columns / 2, rows / 2)
        if together:
            middle = x[x.size // 2]
            near = middle + period * np.round((near - middle) / period)
        with np.errstate(invalid="ignore"):
            x = x + period * np.round((near - x) / period)
    with np.errstate(invalid="ignore"):
        inverse = ~reader.transform
        column = inverse.a * x + inverse.b * y + inverse.c
        row = inverse.d * x + inverse.e * y + inverse.f
    return column.reshape(np.shape(lons)), row.reshape(np.shape(lons))


def epsg_code(crs: CRS) -> int | None:
    """The code that a CRS says it has. (``CRS.to_epsg`` compares with the whole database where it says none.)"""
    said = _SAID_CODE.search(crs.to_wkt())
    return int(said[1]) if said else None


def crs_name(crs: CRS) -> str:
    """``EPSG:28992`` where a CRS has such a name, else what it calls itself."""
    code = epsg_code(crs)
    if code:
        return f"EPSG:{code}"
    quoted = crs.to_wkt().split('"')
    return quoted[1] if len(quoted) > 1 else "unnamed"


def world_width(crs: CRS) -> float:
    """After how much x the world begins anew: 360 for degrees, the equator for web mercator, 0 for "never"."""
    return _world_width(crs.to_wkt())


@lru_cache(maxsize=256)
def _world_width(wkt: str) -> float:
    crs = CRS.from_wkt(wkt)
    if crs.is_geographic:
        _, radians = crs.units_factor
        return 360.0 if abs(radians - math.radians(1)) < 1e-12 else 2 * math.pi / radians
    if epsg_code(crs) == 3857:
        return _MERCATOR_WORLD_M
    # A world that begins anew has meridians that are straight, parallel and evenly spaced. Measured over one degree
    # at several places, so that the meridian where it is torn falls into one of them at most.
    lons = np.arange(-175.0, 175.0, 50.0)
    places = [
        (lat, lon + step) for lat in (-30.0, 0.0, 45.0) for lon in lons for step in (0.0, 1.0)
    ]
    lats, longitudes = zip(*places, strict=True)
    try:
        x, y = project(WGS84, crs, longitudes, lats)
    except CRSError:
        return 0.0
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0
    x, y = x.reshape(3, -1, 2), y.reshape(3, -1, 2)
    steps = x[..., 1] - x[..., 0]
    per_degree = float(np.median(steps))
    straight = np.isclose(steps, per_degree, rtol=1e-9, atol=0)
    level = np.abs(np.diff(y, axis=2)).max() <= 1e-6 * abs(per_degree)
    if per_degree == 0 or not level or straight.sum() < steps.size - 3:
        return 0.0
    return 360 * abs(per_degree)
