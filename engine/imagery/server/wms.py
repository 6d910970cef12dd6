"""Web Map Service 1.1.1 (OGC 01-068r3) and 1.3.0 (OGC 06-042): maps drawn tile by tile on a grid of our own."""

from __future__ import annotations

import math
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import numpy as np
from rasterio.crs import CRS

from engine.errors import ImageryError, printable
from engine.geo import Bounds
from engine.imagery.projection import WGS84, project
from engine.imagery.safe_xml import Node
from engine.imagery.server.ask import with_query
from engine.imagery.server.description import Server, host_of
from engine.imagery.server.service import Service
from engine.imagery.server.wmts import choose, chosen_format, stated_terms
from engine.imagery.tile_grid import (
    MERCATOR_EDGE_M,
    WEB_MERCATOR,
    Level,
    TileGrid,
    north_first,
    parse_crs,
    web_mercator_grid,
)
from engine.imagery.tile_rows import line

_KINDS = {"image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/webp": "webp"}
# The first is GeoServer's: PNG where something is transparent, JPEG elsewhere.
_PREFERRED = (
    "image/vnd.jpeg-png",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/webp",
    "image/png; mode=24bit",
)
_MOST_LAYERS = 100_000


def wms_service(server: Server, root: Node) -> Service:
    """The service that a WMS's capabilities describe.

    Raises:
        ImageryError: there is no such layer, CRS or format, or none that Nadir reads.
    """
    capability = root.child("Capability")
    if root.name not in ("WMS_Capabilities", "WMT_MS_Capabilities") or capability is None:
        raise ImageryError("its answer is no WMS capabilities", None, "Check the address")
    version = root.attributes.get("version", "1.3.0")
    if version not in ("1.1.1", "1.3.0", "1.1.0"):
        raise ImageryError(
            f"it speaks WMS {printable(version)[:20]}; Nadir speaks 1.1.1 and 1.3.0", None
        )
    chain = _chosen_layer(server, capability)
    name, title = chain[-1].value("Name"), line(chain[-1].value("Title"))
    text, crs = _chosen_crs(server, chain)
    box = _box(chain)
    grid = _grid(server, crs, box)
    request = capability.child("Request", "GetMap")
    kind = chosen_format(
        server,
        _PREFERRED,
        [] if request is None else [f.text.strip() for f in request.all("Format")],
    )
    endpoint, moved = _endpoint(server, request)
    notes = [
        f"layer {name}" + (f" ({title})" if title and title != name else ""),
        f"WMS {version}, maps in {text}",
        *moved,
    ]
    service = root.child("Service")
    fees = [] if service is None else [service.value("Fees"), service.value("AccessConstraints")]
    return Service(
        server if server.name else replace(server, name=title or name),
        grid,
        _addresses(server, endpoint, version, name, text, crs, kind),
        bounds=box,
        exact_size=True,
        attribution=server.attribution or _attribution(chain),
        licence=server.licence,
        terms=server.terms or stated_terms(fees),
        kind=_KINDS.get(kind, ""),
        notes=tuple(printable(note) for note in notes),
    )


def _chosen_layer(server: Server, capability: Node) -> list[Node]:
    """The layer asked for, after all that it lies in: they hand down what they say."""
    named: dict[str, list[Node]] = {}
    waiting = [[layer] for layer in reversed(capability.all("Layer"))]
    while waiting and len(named) < _MOST_LAYERS:
        chain = waiting.pop()
        name = chain[-1].value("Name")
        if name:
            named.setdefault(name, chain)
        waiting.extend([*chain, layer] for layer in reversed(chain[-1].all("Layer")))
    if server.layer:
        choose("layer", server.layer, list(named))
        return named[server.layer]
    if len(named) == 1:
        return next(iter(named.values()))
    some = printable(", ".join(list(named)[:20]) + (", ..." if len(named) > 20 else ""))
    raise ImageryError(
        f"the server has {len(named)} layers", None, f"Choose one with --layer: {some}"
    )


def _chosen_crs(server: Server, chain: list[Node]) -> tuple[str, CRS]:
    """The CRS to ask in, as the server names it: web mercator where it can, else one in metres, else degrees."""
    names: list[str] = []
    for layer in chain:
        for node in (*layer.all("CRS"), *layer.all("SRS")):
            names.extend(node.text.split())  # WMS 1.1.0 lists several in one element
    if server.crs:
        names = [name for name in names if name.upper() == server.crs.upper()]
        if not names:
            raise ImageryError(f"the server does not draw in {printable(server.crs)}", None)
    usable: list[tuple[str, CRS]] = []
    for name in list(dict.fromkeys(names))[:2000]:
        try:
            crs = parse_crs(name)
        except ValueError:
            continue
        if not (crs.is_geographic or crs.is_projected):
            continue
        usable.append((name, crs))
        if usable[-1][1] == WEB_MERCATOR and name.upper() == "EPSG:3857":
            return usable[-1]
        if len(usable) > 200:
            break
    for name, crs in usable:
        if crs == WEB_MERCATOR:
            return name, crs
    projected = [pair for pair in usable if pair[1].is_projected]
    if not usable:
        raise ImageryError("the server draws in no coordinate system that is known", None)
    return (projected or usable)[0]


def _box(chain: list[Node]) -> Bounds | None:
    for layer in reversed(chain):
        new, old = layer.child("EX_GeographicBoundingBox"), layer.child("LatLonBoundingBox")
        try:
            if new is not None:
                keys = (
                    "southBoundLatitude",
                    "westBoundLongitude",
                    "northBoundLatitude",
                    "eastBoundLongitude",
                )
                south, west, north, east = (float(new.value(key)) for key in keys)
            elif old is not None:
                south, west, north, east = (
                    float(old.attributes[key]) for key in ("miny", "minx", "maxy", "maxx")
                )
            else:
                continue
        except (KeyError, ValueError):
            continue
        if all(map(math.isfinite, (south, west, north, east))) and -90.1 <= south < north <= 90.1:
            return Bounds(south, west, north, east)
    return None


def _grid(server: Server, crs: CRS, box: Bounds | None) -> TileGrid:
    """The grid of web maps, or in another CRS one of the same scales about the layer's box."""
    if crs == WEB_MERCATOR:
        return web_mercator_grid(server.tile_pixels, server.zooms)
    if box is None:
        raise ImageryError("the server does not say where its layer lies", None)
    t = np.linspace(0, 1, 17)
    lats, lons = np.meshgrid(box.south + t * (box.north - box.south), box.west + t * box.width_deg)
    x, y = project(WGS84, crs, lons.ravel(), lats.ravel())
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        raise ImageryError("the server's layer does not lie in its own coordinate system", None)
    west, north = math.floor(x[good].min()), math.ceil(y[good].max())
    wide, high = x[good].max() - west, north - y[good].min()
    unit = 360.0 if crs.is_geographic else 2 * MERCATOR_EDGE_M / float(crs.linear_units_factor[1])
    pixels = server.tile_pixels
    levels = []
    for zoom in range(server.zooms[0], server.zooms[1] + 1):
        resolution = unit / 256 / 2**zoom
        columns, rows = (max(1, math.ceil(v / resolution / pixels)) for v in (wide, high))
        levels.append(
            Level(zoom, resolution, west, north, pixels, pixels, columns, rows, str(zoom))
        )
    return TileGrid(crs, tuple(levels))


def _endpoint(server: Server, request: Node | None) -> tuple[str, list[str]]:
    """Where maps are asked for. Servers behind others often name an address inside; then it is the one given."""
    get = None if request is None else request.child("DCPType", "HTTP", "Get", "OnlineResource")
    said = "" if get is None else urljoin(server.url, get.attributes.get("href", ""))
    try:
        parts = urlsplit(said)
        usable = parts.scheme in ("http", "https") and parts.username is None
        same = usable and host_of(said) == host_of(server.url)
    except ValueError:
        return server.url, []
    if same and parts.scheme == urlsplit(server.url).scheme:
        return said, []
    if usable and parts.hostname:
        return server.url, [
            f"it names {host_of(said)[:80]} for its maps; the address given is used instead"
        ]
    return server.url, []


def _addresses(
    server: Server, endpoint: str, version: str, name: str, text: str, crs: CRS, kind: str
):
    new = version == "1.3.0"
    swapped = new and north_first(crs, text)
    values = {
        "SERVICE": "WMS",
        "REQUEST": "GetMap",
        "VERSION": version,
        "LAYERS": name,
        "STYLES": server.style,
        "CRS" if new else "SRS": text,
        "FORMAT": kind,
        "TRANSPARENT": "FALSE" if kind in ("image/jpeg", "image/jpg") else "TRUE",
        "EXCEPTIONS": "XML" if new else "application/vnd.ogc.se_xml",
        **dict(server.dimensions),
    }

    def address(level: Level, column: int, row: int) -> str:
        west, south, east, north = level.box(column, row)
        box = (south, west, north, east) if swapped else (west, south, east, north)
        place = {
            "BBOX": ",".join(
                f"{value:.10f}" if crs.is_geographic else f"{value:.6f}" for value in box
            ),
            "WIDTH": str(level.tile_width),
            "HEIGHT": str(level.tile_height),
        }
        return with_query(endpoint, {**values, **place})

    return address


def _attribution(chain: list[Node]) -> str:
    for layer in reversed(chain):
        said = line(layer.value("Attribution", "Title"))
        if said:
            return said
    return ""
