"""What a source is, on one card: shown before anything is built from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.geo import Bounds, distance_m
from engine.imagery.source import AerialSource

if TYPE_CHECKING:
    from engine.imagery.pictures import PictureSource

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ImageryCard:
    """Facts of an aerial source, for people.

    Args:
        name: what it is called.
        kind: in words, such as "GeoTIFF" or "folder of GeoTIFFs".
        crs: its coordinate system, or several.
        resolution_m: metres on the ground that one pixel spans, where half of the ground is seen so or better; 0 of
            photos of the street.
        zooms: the first and last zoom of a pyramid; None for others.
        bounds: the box around it.
        outline: rings [n, 2] of longitude and latitude (degrees, nowhere jumping) around what really is covered;
            first point not repeated.
        pixels: columns and rows; None where it is no one rectangle.
        bytes, files: on disk; 0 where it is not known.
        attribution, licence, terms: whose it is; empty where it does not say.
        notes: what was decided while reading.
    """

    name: str
    kind: str
    crs: str
    resolution_m: float
    zooms: tuple[int, int] | None
    bounds: Bounds
    outline: tuple[FloatArray, ...]
    pixels: tuple[int, int] | None
    bytes: int
    files: int
    attribution: str
    licence: str
    terms: str
    notes: tuple[str, ...]

    @property
    def size_m(self) -> tuple[float, float]:
        """Metres from west to east, at the middle, and from south to north."""
        lat, lon = self.bounds.centre
        box = self.bounds
        quarter = box.width_deg / 4  # a long way round is longer than the line between its ends
        wide = 4 * float(distance_m(lat, box.west, lat, box.west + quarter))
        return wide, float(distance_m(box.south, lon, box.north, lon))

    def geojson(self) -> dict[str, Any]:
        """The outline as one GeoJSON feature (RFC 7946), rings closed and cut at the 180th meridian."""
        polygons = [[piece] for ring in self.outline for piece in _cut_at_180(ring)]
        return {
            "type": "Feature",
            "properties": {"name": self.name, "kind": self.kind, "resolution_m": self.resolution_m},
            "geometry": {"type": "MultiPolygon", "coordinates": polygons},
        }

    def to_json(self) -> str:
        """All facts as one JSON object."""
        box = self.bounds
        facts = {
            "name": self.name,
            "kind": self.kind,
            "crs": self.crs,
            "resolution_m": self.resolution_m,
            "zooms": self.zooms,
            "bounds": [box.west, box.south, box.east, box.north],
            "size_m": self.size_m,
            "pixels": self.pixels,
            "bytes": self.bytes,
            "files": self.files,
            "attribution": self.attribution,
            "licence": self.licence,
            "terms": self.terms,
            "notes": self.notes,
            "outline": self.geojson()["geometry"],
        }
        return json.dumps(facts, ensure_ascii=False, indent=2)


def metres_text(value_m: float) -> str:
    """A length on the ground for people, to three digits: ``0.25 m``, ``57.7 km``."""
    return f"{value_m:.3g} m" if value_m < 999.5 else f"{value_m / 1000:.3g} km"


PICTURES = {"street": "photos of the street", "aerial": "tiles with places of their own"}
"""What the kinds of :class:`engine.imagery.pictures.PictureSource` are in words."""


def describe(source: AerialSource | PictureSource) -> ImageryCard:
    """The card of a source. What a source does not say is left empty; its outline then is its box."""
    own = getattr(source, "outline", None)
    rings = [np.asarray(ring, np.float64) for ring in own()] if own is not None else []
    rings = [ring for ring in rings if ring.ndim == 2 and len(ring) >= 3]
    shape = getattr(source, "shape", None)
    size, files = getattr(source, "bytes", None), getattr(source, "files", None)
    path, kind = getattr(source, "path", None), getattr(source, "kind", "")
    if size is None:
        size = path.stat().st_size if isinstance(path, Path) and path.is_file() else 0
    return ImageryCard(
        name=source.name,
        kind=PICTURES.get(kind, kind) or "imagery",
        crs=source.crs,
        resolution_m=source.resolution_m,
        zooms=getattr(source, "zooms", None),
        bounds=source.bounds,
        outline=tuple(rings or [_box_ring(source.bounds)]),
        pixels=None if shape is None else (int(shape[1]), int(shape[0])),
        bytes=int(size),
        files=1 if files is None else int(files),
        attribution=source.attribution,
        licence=source.licence,
        terms=getattr(source, "terms", ""),
        notes=tuple(source.notes),
    )


def _box_ring(box: Bounds) -> FloatArray:
    east = box.west + box.width_deg
    corners = [(box.west, box.north), (east, box.north), (east, box.south), (box.west, box.south)]
    return np.array(corners)


def _cut_at_180(ring: FloatArray) -> list[list[list[float]]]:
    """A ring as closed GeoJSON rings that stay within 180 degrees, counter-clockwise."""
    first = 360.0 * np.floor((ring[:, 0].min() + 180.0) / 360.0)
    pieces = []
    for turn in (0.0, 360.0, 720.0):
        west = first + turn - 180.0
        piece = _clip(_clip(ring, west, 1.0), west + 360.0, -1.0)
        if len(piece) < 3:
            continue
        piece = piece - [first + turn, 0.0]
        x, y = piece[:, 0], piece[:, 1]
        area = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
        if abs(area) < 1e-14:
            continue
        piece = piece if area > 0 else piece[::-1]
        pieces.append(np.round(np.vstack([piece, piece[:1]]), 8).tolist())
    return pieces


def _clip(ring: FloatArray, x: float, side: float) -> FloatArray:
    """What of a ring lies east (side 1) or west (-1) of a meridian."""
    kept: list[FloatArray] = []
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        a_in, b_in = side * (a[0] - x) >= 0, side * (b[0] - x) >= 0
        if a_in:
            kept.append(a)
        if a_in != b_in:
            kept.append(a + (b - a) * ((x - a[0]) / (b[0] - a[0])))
    return np.array(kept).reshape(-1, 2)
