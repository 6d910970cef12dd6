"""Many rasters as one aerial source, in any mix of coordinate systems, composited pixel by pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.geo import Bounds, wrap_longitude
from engine.imagery.cutting import Cuts
from engine.imagery.footprint import around_all, ring_of, window_of
from engine.imagery.geotiff import copy_pixels
from engine.imagery.projection import PixelReader
from engine.imagery.rendered import Rendered
from engine.imagery.source import AerialSource
from engine.progress import Report, silent

_MARGIN = 0.02  # of a box's size: what is straight on a grid is not quite so in degrees
_MOST_NAMES = 3  # of coordinate systems or owners that are told one by one

FloatArray = NDArray[np.float64]


class Part(PixelReader, Protocol):
    """A raster that can be laid into a mosaic."""

    @property
    def gaps(self) -> bool:
        """Whether some pixels may be nothing."""
        ...


@dataclass(frozen=True)
class Layer:
    """One raster of a mosaic and what is known about it.

    Args:
        part: its pixels.
        bounds: the box around it.
        resolution_m: metres that one of its pixels spans.
        crs: the name of its coordinate system.
    """

    part: Part
    bounds: Bounds
    resolution_m: float
    crs: str


@dataclass(frozen=True)
class MosaicFacts:
    """What a mosaic says about itself, for people, and what tells it from any other.

    Args:
        fingerprint: called when first asked for; it may read all files.
        outline: rings [n, 2] of longitude and latitude around what really is covered.
        close: lets go of the files.
        boxes: around each of its files, where a layer holds several; empty: those of the layers.
    """

    name: str
    path: Path | None
    kind: str
    fingerprint: Callable[[], str]
    outline: Callable[[], list[FloatArray]]
    close: Callable[[], None]
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    notes: tuple[str, ...] = ()
    pixels: int = 0
    bytes: int = 0
    files: int = 0
    boxes: tuple[Bounds, ...] = ()


class Mosaic(Cuts):
    """Layers over and beside each other; see :class:`engine.imagery.AerialSource`.

    Every pixel comes from the first layer that has it. It may be used from several threads where its layers may.

    Args:
        layers: the one on top first.
        facts: what is said about the whole.
    """

    def __init__(self, layers: Sequence[Layer], facts: MosaicFacts) -> None:
        self.layers = tuple(layers)
        self.facts = facts
        self.name, self.path, self.kind = facts.name, facts.path, facts.kind
        self.attribution, self.licence, self.terms = facts.attribution, facts.licence, facts.terms
        self.bytes, self.files, self.pixels = facts.bytes, facts.files, facts.pixels
        boxes = [layer.bounds for layer in layers]
        self.bounds: Bounds = around_all(boxes)
        self._south, self._north = (
            np.array([getattr(b, k) for b in boxes]) for k in ("south", "north")
        )
        self._west, self._wide = (
            np.array([getattr(b, k) for b in boxes]) for k in ("west", "width_deg")
        )
        self.resolution_m = _typical_resolution(layers)
        names = list(dict.fromkeys(layer.crs for layer in layers))
        several = len(names) > _MOST_NAMES
        self.crs = f"{len(names)} coordinate systems" if several else ", ".join(names)
        self.notes: tuple[str, ...] = (*facts.notes, *_mix_notes(layers, names))
        self._fingerprint = ""

    def under(self, lats: FloatArray, lons: FloatArray) -> Sequence[PixelReader]:
        """See :class:`engine.imagery.resample.Layered`."""
        if len(self.layers) == 1:
            return (self.layers[0].part,)
        south, north, west = float(lats.min()), float(lats.max()), float(lons.min())
        wide = float(lons.max()) - west
        margin_lat, margin_lon = _MARGIN * (north - south) + 1e-6, _MARGIN * wide + 1e-6
        west, wide = west - margin_lon, wide + 2 * margin_lon
        met = (self._south <= north + margin_lat) & (self._north >= south - margin_lat)
        met &= ((self._west - west) % 360.0 <= wide) | ((west - self._west) % 360.0 <= self._wide)
        return [self.layers[i].part for i in np.flatnonzero(met).tolist()]

    def outline(self) -> list[FloatArray]:
        """Rings [n, 2] of longitude and latitude around what really is covered."""
        return self.facts.outline()

    def boxes(self) -> Sequence[Bounds]:
        """See :func:`boxes_of`."""
        return self.facts.boxes or [layer.bounds for layer in self.layers]

    def part(self, bounds: Bounds) -> Mosaic:
        """The layers that reach into a box, as a mosaic of their own; closing it closes this one."""
        layers = self._layers_in(bounds)
        return Mosaic(layers, replace(self.facts, boxes=())) if layers else self

    def _layers_in(self, bounds: Bounds) -> list[Layer]:
        lons = bounds.west + np.array([0.0, bounds.width_deg])
        met = {id(part) for part in self.under(np.array([bounds.south, bounds.north]), lons)}
        return [layer for layer in self.layers if id(layer.part) in met]

    def fingerprint(self) -> str:
        """See :meth:`AerialSource.fingerprint`."""
        if not self._fingerprint:
            self._fingerprint = self.facts.fingerprint()
        return self._fingerprint

    def write_copy(self, path: Path, bounds: Bounds, report: Report = silent) -> None:
        """See :meth:`AerialSource.write_copy`.

        Where all files stand in one grid, no pixel is moved. Otherwise the copy has a transverse Mercator of its own
        and the resolution of the finest layer in the area.
        """
        layers = self._layers_in(bounds)
        if not layers:
            raise ImageryError("it does not cover the area asked for", self.path or self.name)
        window = window_of(layers[0].part, bounds) if len(layers) == 1 else None
        if window is not None:
            if window[2] <= window[0]:
                raise ImageryError("it does not cover the area asked for", self.path or self.name)
            copied = layers[0].part
        else:
            finest = min(layer.resolution_m for layer in layers)
            copied = Rendered.around(self, _shared(bounds, self.bounds), finest)
            window = (0, 0, copied.shape[1], copied.shape[0])
        copy_pixels(
            copied,
            path,
            window,
            attribution=self.attribution,
            licence=self.licence,
            report=report,
        )

    def close(self) -> None:
        """Let go of the files."""
        self.facts.close()

    def __enter__(self) -> Mosaic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def combine(sources: Sequence[AerialSource]) -> AerialSource:
    """Several sources as one, the first on top; closing it closes them all.

    Raises:
        ImageryError: one of them has no pixels of its own that could be laid beside others.
    """
    if len(sources) == 1:
        return sources[0]
    layers = [layer for source in sources for layer in _layers_of(source)]

    def fingerprint() -> str:
        prints = "\n".join(source.fingerprint() for source in sources)
        return hashlib.sha256(f"nadir sources 1\n{prints}\n".encode()).hexdigest()

    def close() -> None:
        for source in sources:
            source.close()

    def outline() -> list[FloatArray]:
        return [ring for source in sources for ring in _outline(source)]

    facts = MosaicFacts(
        name=" + ".join(dict.fromkeys(source.name for source in sources)),
        path=None,
        kind="several sources",
        fingerprint=fingerprint,
        outline=outline,
        close=close,
        attribution=joined(source.attribution for source in sources),
        licence=joined(source.licence for source in sources),
        terms=joined(getattr(source, "terms", "") for source in sources),
        notes=tuple(dict.fromkeys(note for source in sources for note in source.notes)),
        pixels=sum(getattr(source, "pixels", 0) for source in sources),
        bytes=sum(getattr(source, "bytes", 0) for source in sources),
        files=sum(getattr(source, "files", 1) for source in sources),
        boxes=tuple(box for source in sources for box in boxes_of(source)),
    )
    return Mosaic(layers, facts)


def boxes_of(source: AerialSource) -> Sequence[Bounds]:
    """Boxes that together hold all that a source covers, where it knows better than its one box."""
    own = getattr(source, "boxes", None)
    return own() if own is not None else [source.bounds]


def joined(texts: Iterable[str]) -> str:
    """Different texts as one line."""
    several = list(dict.fromkeys(text for text in texts if text))
    more = f"; and {len(several) - 20:,} more" if len(several) > 20 else ""
    return "; ".join(several[:20]) + more


def _layers_of(source: AerialSource) -> Sequence[Layer]:
    if isinstance(source, Mosaic):
        return source.layers
    needed = ("read", "transform", "raster_crs", "period", "shape", "gaps")
    if not all(hasattr(source, name) for name in needed):
        raise ImageryError(
            "imagery of this kind cannot be laid together with other imagery",
            getattr(source, "path", source.name),
            "Build an index of its own from it",
        )
    part: Part = source  # pyright: ignore[reportAssignmentType]
    return [Layer(part, source.bounds, source.resolution_m, source.crs)]


def _outline(source: AerialSource) -> list[FloatArray]:
    own = getattr(source, "outline", None)
    if own is not None:
        return own()
    return [ring_of(layer.part) for layer in _layers_of(source)]


def _typical_resolution(layers: Sequence[Layer]) -> float:
    """The resolution that half of the ground is seen at, or better."""
    order = sorted(layers, key=lambda layer: layer.resolution_m)
    areas = [
        (layer.bounds.north - layer.bounds.south)
        * layer.bounds.width_deg
        * np.cos(np.radians(layer.bounds.centre[0]))
        for layer in order
    ]
    half = int(np.searchsorted(np.cumsum(areas), sum(areas) / 2 - 1e-12))
    return order[min(half, len(order) - 1)].resolution_m


def _mix_notes(layers: Sequence[Layer], names: Sequence[str]) -> list[str]:
    notes = []
    if len(names) > _MOST_NAMES:
        notes.append(
            f"{len(names)} coordinate systems: {', '.join(names[:8])}"
            + (" ..." if len(names) > 8 else "")
        )
    finest = min(layer.resolution_m for layer in layers)
    coarsest = max(layer.resolution_m for layer in layers)
    if coarsest > 1.1 * finest:
        notes.append(
            f"from {finest:.3g} to {coarsest:.3g} m a pixel; where they overlap, the first on top is shown"
        )
    return notes


def _shared(a: Bounds, b: Bounds) -> Bounds:
    """The part of ``a`` that ``b`` reaches, or ``a`` where that cannot be said simply."""
    south, north = max(a.south, b.south), min(a.north, b.north)
    if north <= south:
        return a
    if b.width_deg >= 360.0:
        return Bounds(south, a.west, north, a.east)
    start = (b.west - a.west + 180.0) % 360.0 - 180.0  # of b, east of a's western edge
    west, east = max(0.0, start), min(a.width_deg, start + b.width_deg)
    if east <= west:
        return Bounds(south, a.west, north, a.east)
    return Bounds(
        south, float(wrap_longitude(a.west + west)), north, float(wrap_longitude(a.west + east))
    )
