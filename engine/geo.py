"""Positions on the WGS84 ellipsoid: local metres, distances, bearings, the footprint of a tile.

Latitudes and longitudes are degrees, longitudes in [-180, 180); distances are metres; bearings are degrees
clockwise from north in [0, 360). Functions take floats or arrays that broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEMI_MAJOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """A box of latitudes and longitudes. ``west > east`` where it crosses the 180° meridian."""

    south: float
    west: float
    north: float
    east: float

    @property
    def width_deg(self) -> float:
        """Degrees of longitude from west to east, 360 for the whole turn."""
        width = self.east - self.west
        return 360.0 if width >= 360.0 else width % 360.0

    @property
    def centre(self) -> tuple[float, float]:
        """Latitude and longitude of the middle."""
        middle = wrap_longitude(self.west + self.width_deg / 2)
        return (self.south + self.north) / 2, float(middle)

    def contains(self, lat: float, lon: float) -> bool:
        """Whether a position lies inside or on the edge."""
        inside = (lon - self.west) % 360.0 <= self.width_deg
        return self.south <= lat <= self.north and inside


def wrap_longitude(lon: Any) -> Any:
    """Bring longitudes into [-180, 180)."""
    return wrap_heading(np.asarray(lon) + 180.0) - 180.0


def wrap_heading(degrees: Any) -> Any:
    """Bring headings into [0, 360)."""
    turned = np.asarray(degrees) % 360.0
    # The remainder of a tiny negative number rounds to 360 itself.
    return np.where(turned >= 360.0, 0.0, turned)[()]


def heading_difference(a: Any, b: Any) -> Any:
    """The smaller angle between headings, 0..180 degrees."""
    return np.abs((np.asarray(a) - np.asarray(b) + 180.0) % 360.0 - 180.0)


def metres_per_degree(lat: Any) -> tuple[Any, Any]:
    """Metres a degree of latitude and of longitude span at ``lat`` (the ellipsoid's two radii of curvature)."""
    sin = np.sin(np.radians(lat))
    root = np.sqrt(1 - _E2 * sin**2)
    meridian = SEMI_MAJOR_M * (1 - _E2) / root**3
    normal = SEMI_MAJOR_M / root
    return np.radians(meridian), np.radians(normal * np.cos(np.radians(lat)))


@dataclass(frozen=True)
class LocalFrame:
    """Metres east and north of an origin, on the plane that touches the ellipsoid there.

    Good to a centimetre over a tile, to a part in a thousand over tens of kilometres.
    """

    lat: float
    lon: float

    def to_local(self, lat: Any, lon: Any) -> tuple[Any, Any]:
        """East and north of the origin, metres."""
        per_lat, per_lon = metres_per_degree(self.lat)
        east = (np.asarray(lon) - self.lon + 180.0) % 360.0 - 180.0
        return east * per_lon, (np.asarray(lat) - self.lat) * per_lat

    def to_wgs84(self, east: Any, north: Any) -> tuple[Any, Any]:
        """Latitude and longitude of a point given in metres."""
        per_lat, per_lon = metres_per_degree(self.lat)
        return self.lat + np.asarray(north) / per_lat, wrap_longitude(
            self.lon + np.asarray(east) / per_lon
        )


def distance_m(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    """Distance in metres: exact for short lines (local radii), the great circle's for long ones."""
    lat1, lon1, lat2, lon2 = (np.asarray(v, np.float64) for v in (lat1, lon1, lat2, lon2))
    per_lat, per_lon = metres_per_degree((lat1 + lat2) / 2)
    dlon = (lon2 - lon1 + 180.0) % 360.0 - 180.0
    near = np.hypot((lat2 - lat1) * per_lat, dlon * per_lon)
    a, b = np.radians(lat1), np.radians(lat2)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(dlon) / 2) ** 2
    far = 2 * 6371008.8 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return np.where(far > 20_000.0, far, near)[()]


def bearing_deg(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
    """Initial bearing of the great circle from the first point to the second."""
    a, b = np.radians(lat1), np.radians(lat2)
    dlon = np.radians(np.asarray(lon2) - np.asarray(lon1))
    y = np.sin(dlon) * np.cos(b)
    x = np.cos(a) * np.sin(b) - np.sin(a) * np.cos(b) * np.cos(dlon)
    return wrap_heading(np.degrees(np.arctan2(y, x)))


def tile_bounds(lat: float, lon: float, extent_m: float) -> Bounds:
    """The footprint of a square, north-up tile of ``extent_m`` metres a side centred at a position."""
    half = extent_m / 2
    south, west = LocalFrame(lat, lon).to_wgs84(-half, -half)
    north, east = LocalFrame(lat, lon).to_wgs84(half, half)
    return Bounds(float(south), float(west), float(north), float(east))
