"""Areas on the ground: GeoJSON polygons, and which positions lie inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import NadirError
from engine.geo import Bounds, wrap_longitude

_MAX_BYTES = 16 << 20
_MAX_VERTICES = 20_000
_HELP = "It should hold a Polygon or MultiPolygon with longitude and latitude in degrees"

Ring = NDArray[np.float64]


class AreaError(NadirError):
    """A GeoJSON area that cannot be read."""


@dataclass(frozen=True)
class Area:
    """Polygons on the ground. A ring is [n, 2] longitudes and latitudes; longitudes run on across 180°."""

    polygons: tuple[tuple[Ring, ...], ...]

    @property
    def bounds(self) -> Bounds:
        """The box around all polygons."""
        rings = [polygon[0] for polygon in self.polygons]
        start = rings[0][0, 0]
        lons = []
        for ring in rings:
            turns = 360.0 * np.round((start - (ring[:, 0].min() + ring[:, 0].max()) / 2) / 360.0)
            lons.append(ring[:, 0] + turns)
        west, east = min(v.min() for v in lons), max(v.max() for v in lons)
        south, north = min(r[:, 1].min() for r in rings), max(r[:, 1].max() for r in rings)
        if east - west >= 360.0:
            return Bounds(float(south), -180.0, float(north), 180.0)
        return Bounds(
            float(south), float(wrap_longitude(west)), float(north), float(wrap_longitude(east))
        )

    def contains(self, lats: ArrayLike, lons: ArrayLike) -> NDArray[np.bool_]:
        """Which positions lie inside (rings by the even-odd rule, so that holes are holes)."""
        lat = np.atleast_1d(np.asarray(lats, np.float64))
        lon = np.atleast_1d(np.asarray(lons, np.float64))
        inside = np.zeros(lat.shape, np.bool_)
        for polygon in self.polygons:
            outer = polygon[0]
            middle = (outer[:, 0].min() + outer[:, 0].max()) / 2
            x = lon + 360.0 * np.round((middle - lon) / 360.0)
            near = np.flatnonzero(
                (lat >= outer[:, 1].min())
                & (lat <= outer[:, 1].max())
                & (x >= outer[:, 0].min())
                & (x <= outer[:, 0].max())
            )
            odd = np.zeros(near.size, np.bool_)
            for ring in polygon:
                odd ^= _crossings_odd(ring, x[near], lat[near])
            inside[near] |= odd
        return inside


def _crossings_odd(ring: Ring, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a ray to the east crosses the ring an odd number of times."""
    odd = np.zeros(x.shape, np.bool_)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        spans = (y0 > y) != (y1 > y)
        odd ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def read_area(path: Path | str) -> Area:
    """Read a GeoJSON file.

    Raises:
        AreaError: it is missing, too large, no GeoJSON, or holds no polygon.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AreaError("the area is larger than 16 MB", path, "Simplify it")
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise AreaError(f"the area cannot be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:
        raise AreaError("the area is not valid GeoJSON", path, _HELP) from error
    try:
        return area_from_geojson(raw)
    except AreaError as error:
        raise AreaError(error.problem, path, error.remedy) from None


def area_from_geojson(raw: Mapping[str, Any]) -> Area:
    """The polygons in a Polygon, MultiPolygon, GeometryCollection, Feature or FeatureCollection.

    Raises:
        AreaError: there are none, or a coordinate is no position on the Earth.
    """
    polygons: list[tuple[Ring, ...]] = []
    _collect(raw, polygons, depth=0)
    if not polygons:
        raise AreaError("there is no polygon in it", None, _HELP)
    if sum(len(ring) for polygon in polygons for ring in polygon) > _MAX_VERTICES:
        raise AreaError(f"it has more than {_MAX_VERTICES:,} corners", None, "Simplify it")
    return Area(tuple(polygons))


def _collect(raw: Any, polygons: list[tuple[Ring, ...]], depth: int) -> None:
    if not isinstance(raw, Mapping) or depth > 8:
        raise AreaError("it is not GeoJSON", None, _HELP)
    kind = raw.get("type")
    if kind == "Polygon":
        polygons.append(_polygon(raw.get("coordinates")))
    elif kind == "MultiPolygon":
        polygons.extend(_polygon(part) for part in _list(raw.get("coordinates")))
    elif kind == "Feature":
        _collect(raw.get("geometry"), polygons, depth + 1)
    elif kind in ("FeatureCollection", "GeometryCollection"):
        for part in _list(raw.get("features" if kind == "FeatureCollection" else "geometries")):
            _collect(part, polygons, depth + 1)


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise AreaError("it is not GeoJSON", None, _HELP)
    return raw


def _polygon(raw: Any) -> tuple[Ring, ...]:
    rings = tuple(_ring(ring) for ring in _list(raw))
    if not rings:
        raise AreaError("a polygon in it is empty", None, _HELP)
    return rings


def _ring(raw: Any) -> Ring:
    points = _list(raw)
    try:
        ring = np.array([(float(point[0]), float(point[1])) for point in points], np.float64)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise AreaError("a corner in it is not two numbers", None, _HELP) from error
    if len(ring) and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3:
        raise AreaError("a polygon in it has fewer than three corners", None, _HELP)
    if (
        not np.isfinite(ring).all()
        or np.abs(ring[:, 1]).max() > 90
        or np.abs(ring[:, 0]).max() > 540
    ):
        raise AreaError("its corners are not longitudes and latitudes in degrees", None, _HELP)
    steps = np.diff(ring[:, 0])
    ring[1:, 0] -= 360.0 * np.cumsum(np.where(np.abs(steps) > 180.0, np.round(steps / 360.0), 0.0))
    return ring
