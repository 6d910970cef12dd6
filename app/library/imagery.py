"""Imagery as the guided task looks at it: what it is, where, how fine, and whose. The work of jobs; no Qt here."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.library.work import Ground, Rings, plain
from engine.geo import Bounds
from engine.progress import Report

if TYPE_CHECKING:
    from app.library.builds import Plan
    from engine.index import Area

log = logging.getLogger(__name__)
SERVER = ".server.json"


@dataclass(frozen=True)
class Facts:
    """What is shown of imagery before anything is built of it.

    Args:
        kind: what it is, in words; ``rows``: "tiles" are cut from it, or it is "pictures" that are "photos" or "tiles".
        resolution_m: metres a pixel; 0 where that means nothing.
        zooms: lowest and highest, where it has such.
        pixels: columns and rows; ``places``: of pictures, how many.
        hosts: of a server, else none; ``asks_first``: what it has is only known once it was asked.
    """

    path: Path
    name: str
    kind: str
    crs: str = ""
    resolution_m: float = 0.0
    zooms: tuple[int, int] | None = None
    bounds: Bounds | None = None
    spans_m: tuple[float, float] | None = None  # from west to east, and from south to north
    pixels: tuple[int, int] | None = None
    bytes: int = 0
    files: int = 0
    places: int = 0
    street: bool = False
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    notes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    asks_first: bool = False

    @property
    def server(self) -> bool:
        return bool(self.hosts)

    @property
    def host(self) -> str:
        """The server's hosts, in words."""
        return ", ".join(self.hosts)

    @property
    def pictures(self) -> bool:
        return self.places > 0


@dataclass
class Looked:
    """Facts about imagery, and its ground for the map."""

    facts: Facts
    ground: Ground


def look_at(
    path: Path,
    report: Report,
    *,
    kind: Literal["aerial", "street"] | None = None,
    side_m: float | None = None,
) -> Looked:
    """Open imagery of any kind, say what it is, and keep it open for the map.

    Args:
        kind, side_m: what the user says of pictures; see :func:`engine.imagery.open_source`.

    Raises:
        ImageryError: it is no imagery, or cannot be read; one with ``needs``: more must be said of pictures.
    """
    if path.name.lower().endswith(SERVER):
        return _look_at_server(path)
    from engine.imagery import open_source
    from engine.imagery.pictures import PictureSource

    source: Any = open_source(path, kind=kind, extent_m=side_m, report=report)
    try:
        if not hasattr(source, "cut"):
            assert isinstance(source, PictureSource) or True
            return _look_at_pictures(path, source)
        return _look_at_imagery(path, source)
    except BaseException:
        source.close()
        raise


def ground_of_build(plan: Plan, report: Report) -> Ground:
    """What the map shows of an index that is being built: its imagery, and the area that was chosen.

    Raises:
        ImageryError: the imagery cannot be read any more.
    """
    ground = look_at(Path(plan.imagery), report).ground
    if plan.area is not None:
        ground.chosen = rings_of(plan.area)
        if plan.allow:  # of a server there is nothing to be seen yet but where it will be
            ground.area = replace(ground.area, bounds=box_of(ground.chosen))
    return ground


def _look_at_imagery(path: Path, source: Any) -> Looked:
    from app.map.messages import Area
    from engine.imagery.describe import describe

    card = describe(source)
    facts = Facts(
        path=path,
        name=source.name,
        kind=card.kind,
        crs=card.crs,
        resolution_m=card.resolution_m,
        zooms=card.zooms,
        bounds=card.bounds,
        spans_m=card.size_m,
        pixels=card.pixels,
        bytes=card.bytes,
        files=card.files,
        attribution=card.attribution,
        licence=card.licence,
        terms=card.terms,
        notes=card.notes,
    )
    area = Area(
        source.name,
        card.bounds,
        card.resolution_m,
        card.attribution,
        card.licence,
        lambda: source,
    )
    return Looked(facts, Ground(area, plain(card.outline), source.close))


def _look_at_pictures(path: Path, source: Any) -> Looked:
    from app.map.messages import Area, drawn_places
    from engine.library.coverage import outline

    lats, lons = source.places()
    facts = Facts(
        path=path,
        name=source.name,
        kind=source.kind,
        crs=source.crs,
        resolution_m=source.resolution_m,
        bounds=source.bounds,
        places=len(lats),
        street=source.kind == "street",
        attribution=source.attribution,
        licence=source.licence,
        notes=tuple(source.notes),
    )
    rings = plain(outline(lats, lons, 0.0))
    area = Area(
        source.name,
        source.bounds,
        source.resolution_m or 0.3,
        source.attribution,
        source.licence,
        None,
        drawn_places(lats, lons) if facts.street else (),
    )
    return Looked(facts, Ground(area, rings, source.close))


def _look_at_server(path: Path) -> Looked:
    """What a server's description says; nothing is asked of it."""
    from app.map.messages import Area
    from engine.imagery.server import read_server

    server = read_server(path)
    bounds, rings = None, []
    if server.bounds:
        west, south, east, north = server.bounds
        bounds = Bounds(south, west, north, east)
        far = west + bounds.width_deg
        rings = [[(west, north), (far, north), (far, south), (west, south)]]
    host = server.hosts[0]
    facts = Facts(
        path=path,
        name=server.name or host,
        kind=f"{server.kind.upper()}",
        zooms=server.zooms,
        bounds=bounds,
        attribution=server.attribution,
        licence=server.licence,
        terms=server.terms,
        hosts=server.hosts,
        asks_first=server.kind != "xyz",
    )
    world = Bounds(-60.0, -179.0, 72.0, 179.0)
    area = Area(facts.name, bounds or world, 1.0, server.attribution, server.licence, None)
    return Looked(facts, Ground(area, rings, lambda: None))


def describe_server(address: str, folder: Path) -> Path:
    """Keep the description of a server that was given by its address, and say where.

    Raises:
        ImageryError: it is no address of a server.
    """
    from engine.imagery.server import server_of, write_server

    server = server_of(address)
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in server.hosts[0])
    path = folder / f"{name}{SERVER}"
    number = 2
    while path.exists():
        path, number = folder / f"{name}-{number}{SERVER}", number + 1
    write_server(path, server)
    return path


# Areas ------------------------------------------------------------------------------------------------------------


def polygon_of(rings: Rings) -> dict[str, Any] | None:
    """Rings as a GeoJSON geometry, each a polygon of its own; None where there are none."""
    closed = [[*map(list, ring), list(ring[0])] for ring in rings if len(ring) > 2]
    if not closed:
        return None
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in closed]}


@dataclass(frozen=True)
class Chosen:
    """An area that was chosen: for the build, and for the map."""

    geometry: dict[str, Any]
    rings: Rings
    name: str = ""


def read_area_file(path: Path) -> Chosen:
    """A GeoJSON file's polygons.

    Raises:
        NadirError: it holds none.
    """
    from engine.index.area import read_area

    area = read_area(path)
    polygons = [[_closed(ring) for ring in polygon] for polygon in area.polygons]
    rings = plain([ring for polygon in area.polygons for ring in polygon])
    return Chosen({"type": "MultiPolygon", "coordinates": polygons}, rings, path.name)


def _closed(ring: Any) -> list[list[float]]:
    points = [[float(lon), float(lat)] for lon, lat in ring]
    return [*points, points[0]]


def square_around(lat: float, lon: float, side_m: float) -> Chosen:
    """A square about a place."""
    from engine.geo import tile_bounds

    box = tile_bounds(lat, lon, side_m)
    east = box.west + (box.east - box.west) % 360.0
    corners = [
        (box.west, box.north),
        (east, box.north),
        (east, box.south),
        (box.west, box.south),
    ]
    geometry = polygon_of([corners])
    assert geometry is not None
    return Chosen(geometry, [corners])


def rings_of(geometry: dict[str, Any]) -> Rings:
    """The rings of a geometry that :func:`polygon_of` or a file gave."""
    area = area_of(geometry)
    return plain([ring for polygon in area.polygons for ring in polygon]) if area else []


def box_of(rings: Rings) -> Bounds:
    """The box around rings."""
    lons = [lon for ring in rings for lon, _ in ring]
    lats = [lat for ring in rings for _, lat in ring]
    turn = [(lon + 180.0) % 360.0 - 180.0 for lon in (min(lons), max(lons))]
    return Bounds(min(lats), turn[0], max(lats), turn[1])


def area_of(geometry: dict[str, Any] | None) -> Area | None:
    """The engine's own area of a geometry."""
    from engine.index import area_from_geojson

    return None if geometry is None else area_from_geojson(geometry)
