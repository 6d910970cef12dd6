"""The ground that a raster covers: its outline, the box around it, and boxes around several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from engine.geo import Bounds, LocalFrame, wrap_heading, wrap_longitude
from engine.imagery.projection import WGS84, PixelReader, project, to_raster, world_width

FloatArray = NDArray[np.float64]


def outlines(
    crs: CRS, transforms: FloatArray, shapes: NDArray[np.int64], points: int = 8
) -> tuple[FloatArray, FloatArray]:
    """Where the rims of rasters in one CRS lie: latitudes and longitudes [N, 4 * points + 1], the middle last.

    Args:
        transforms: [N, 6], in the order of ``Affine``.
        shapes: [N, 2], rows and columns.
        points: along each side; the rims run round once and do not come back to their first point.

    Points that do not lie on the Earth are nan.
    """
    t = np.arange(points) / points
    one, nought = np.ones(points), np.zeros(points)
    x = np.concatenate([t, one, 1 - t, nought, [0.5]]) * shapes[:, 1:2]
    y = np.concatenate([nought, t, one, 1 - t, [0.5]]) * shapes[:, 0:1]
    a, b, c, d, e, f = (transforms[:, i : i + 1] for i in range(6))
    try:
        lons, lats = project(crs, WGS84, a * x + b * y + c, d * x + e * y + f)
    except CRSError:
        lons = lats = np.full(x.size, np.nan)
    bad = ~(np.isfinite(lons) & np.isfinite(lats)) | (np.abs(lats) > 90.001)
    lats, lons = np.where(bad, np.nan, lats), np.where(bad, np.nan, lons)
    return lats.reshape(x.shape), lons.reshape(x.shape)


def boxes(
    crs: CRS, transforms: FloatArray, shapes: NDArray[np.int64], points: int = 8
) -> list[Bounds | None]:
    """The box around each of several rasters in one CRS; None for one that does not lie on the Earth."""
    lats, lons = outlines(crs, transforms, shapes, points)
    poles = _poles(crs, transforms, shapes)
    period = world_width(crs)
    found: list[Bounds | None] = []
    for i in range(len(lats)):
        good = np.isfinite(lats[i])
        if not good[-1] or good.sum() < 5:
            found.append(None)
            continue
        south, north = float(lats[i][good].min()), float(lats[i][good].max())
        wide = abs(transforms[i, 0]) * shapes[i, 1] + abs(transforms[i, 1]) * shapes[i, 0]
        if poles[i] != (False, False) or (period and wide >= period * 0.999):
            south, north = -90.0 if poles[i][0] else south, 90.0 if poles[i][1] else north
            found.append(Bounds(south, -180.0, north, 180.0))
            continue
        middle = lons[i][-1]
        if period:  # it may be wider than half the Earth
            half = 180.0 * wide / period
            west, east = wrap_longitude(middle - half), wrap_longitude(middle + half)
            found.append(Bounds(south, float(west), north, float(east)))
            continue
        around = (lons[i][good] - middle + 180.0) % 360.0 - 180.0
        west, east = wrap_longitude(middle + around.min()), wrap_longitude(middle + around.max())
        found.append(Bounds(south, float(west), north, float(east)))
    return found


def _poles(crs: CRS, transforms: FloatArray, shapes: NDArray[np.int64]) -> list[tuple[bool, bool]]:
    """Whether the south and the north pole lie inside each raster."""
    found = [[False, False] for _ in transforms]
    if not crs.is_geographic:
        for side, lat in ((0, -90.0), (1, 90.0)):
            try:
                x, y = project(WGS84, crs, [0.0], [lat])
                # At the pole itself, and not somewhere that a cylinder puts all of it.
                _, lats = project(crs, WGS84, x, y)
            except CRSError:
                continue
            if not (np.isfinite([*x, *y, *lats]).all() and abs(lats[0] - lat) < 1e-3):
                continue
            for i, (a, b, c, d, e, f) in enumerate(transforms):
                scale = a * e - b * d
                dx, dy = x[0] - c, y[0] - f
                column, row = (e * dx - b * dy) / scale, (a * dy - d * dx) / scale
                found[i][side] = bool(0 < column < shapes[i, 1] and 0 < row < shapes[i, 0])
        if world_width(crs):  # a cylinder has the poles on its rim, if anywhere
            return [(False, False) for _ in found]
    return [(south, north) for south, north in found]


def box_of(reader: PixelReader) -> Bounds | None:
    """The box around one raster; None where it does not lie on the Earth."""
    transform = np.array([reader.transform[:6]], np.float64)
    return boxes(reader.raster_crs, transform, np.array([reader.shape]), 33)[0]


def ring_of(reader: PixelReader, points: int = 8) -> FloatArray:
    """The outline of a raster [n, 2]: longitude and latitude, first point not repeated, longitudes without a jump."""
    transform = np.array([reader.transform[:6]], np.float64)
    lats, lons = outlines(reader.raster_crs, transform, np.array([reader.shape]), points)
    return as_ring(lats[0], lons[0])


def as_ring(lats: FloatArray, lons: FloatArray) -> FloatArray:
    """One row of :func:`outlines` as longitude and latitude [n, 2]; a rim around a pole is led over the pole."""
    good = np.isfinite(lats[:-1])
    lat, lon = np.clip(lats[:-1][good], -90.0, 90.0), lons[:-1][good]
    if not len(lon):
        return np.zeros((0, 2))
    steps = (np.diff(lon, append=lon[0]) + 180.0) % 360.0 - 180.0
    start = wrap_longitude(lons[-1]) if np.isfinite(lons[-1]) else lon[0]
    first = start + (lon[0] - start + 180.0) % 360.0 - 180.0
    turned = first + np.concatenate([[0.0], np.cumsum(steps[:-1])])
    ring = np.column_stack([turned, lat])
    if abs(steps.sum()) > 180.0:
        pole = 90.0 if lat.mean() > 0 else -90.0
        end = turned[0] + 360.0 * np.sign(steps.sum())
        ring = np.vstack([ring, [[end, lat[0]], [end, pole], [turned[0], pole]]])
    return ring


def window_of(reader: PixelReader, bounds: Bounds) -> tuple[int, int, int, int] | None:
    """The window (left, top, right, bottom) of pixels that holds all of a box; empty where they do not meet.

    None where the box lies on both ends of the raster, over the meridian where its world begins anew.
    """
    rows, columns = reader.shape
    lons = bounds.west + np.linspace(0, bounds.width_deg, 17)
    lats = np.linspace(bounds.south, bounds.north, 17)
    grid = np.meshgrid(lats, lons)
    column, row = to_raster(reader, grid[0].ravel(), grid[1].ravel(), together=True)
    good = np.isfinite(column) & np.isfinite(row)
    if not good.any():
        return 0, 0, columns, rows
    low, high = float(column[good].min()), float(column[good].max())
    if reader.period and (low < 0 or high > columns):
        turn = reader.period / float(np.hypot(reader.transform.a, reader.transform.d))
        if (low < 0 and low + turn < columns) or (high > columns and high - turn > 0):
            return None if high - low < turn * 0.99 else (0, 0, columns, rows)
    left, top = max(0, int(np.floor(low)) - 2), max(0, int(np.floor(row[good].min())) - 2)
    right = min(columns, int(np.ceil(high)) + 2)
    bottom = min(rows, int(np.ceil(row[good].max())) + 2)
    return (left, top, right, bottom) if right > left and bottom > top else (0, 0, 0, 0)


def around_all(several: Sequence[Bounds]) -> Bounds:
    """The smallest box that holds all boxes, over the 180th meridian where that is the shorter way."""
    south, north = min(b.south for b in several), max(b.north for b in several)
    spans = [(float(wrap_heading(b.west)), b.width_deg) for b in several]
    # Two turns eastward, so that in the second what wraps over from the first is seen; the widest gap is left out.
    twice = sorted([*spans, *((west + 360.0, width) for west, width in spans)])
    gap, start, reach = 0.0, 0.0, -np.inf
    for west, width in twice:
        if west >= 360.0 and west - reach > gap:
            gap, start = west - reach, west
        reach = max(reach, west + width)
    if gap <= 1e-9:
        return Bounds(south, -180.0, north, 180.0)
    west = float(wrap_longitude(start))
    # Counted from the west, so that a box of no width does not turn into the whole circle by rounding.
    east = float(wrap_longitude(west + max(360.0 - gap, 0.0)))
    return Bounds(south, west, north, east)


def resolution_of(reader: PixelReader, at: tuple[float, float]) -> float:
    """Metres that one pixel spans at a position, whatever the CRS calls a metre; nan where it has no size."""
    frame = LocalFrame(*at)
    lats, lons = frame.to_wgs84(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    column, row = to_raster(reader, lats, lons)
    first = (column[1] - column[0]) * (row[2] - row[0])
    area = first - (column[2] - column[0]) * (row[1] - row[0])
    return float(1 / np.sqrt(abs(area))) if np.isfinite(area) and area != 0 else float("nan")
