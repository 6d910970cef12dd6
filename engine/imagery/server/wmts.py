"""Web Map Tile Service 1.0.0 (OGC 07-057r7): layers, matrix sets and addresses out of capabilities."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit

from rasterio.crs import CRS

from engine.errors import ImageryError, printable
from engine.geo import Bounds
from engine.imagery.projection import WGS84, project
from engine.imagery.safe_xml import Node
from engine.imagery.server.ask import with_query
from engine.imagery.server.description import Server
from engine.imagery.server.service import Service, Span
from engine.imagery.tile_grid import (
    DEEPEST_ZOOM,
    MERCATOR_EDGE_M,
    WEB_MERCATOR,
    Level,
    TileGrid,
    north_first,
    parse_crs,
    web_mercator_grid,
)
from engine.imagery.tile_rows import line

_PIXEL_M = 0.28e-3  # of the rendering that scale denominators are stated for
_METRES_PER_DEGREE = math.radians(6378137.0)
_LAST_NUMBER = re.compile(r"(\d+)$")
_KINDS = {"image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/webp": "webp"}
_PREFERRED = (
    "image/jpeg",
    "image/jpg",
    "image/vnd.jpeg-png",
    "image/webp",
    "image/png",
    "image/png8",
)


def wmts_service(server: Server, root: Node) -> Service:
    """The service that a WMTS's capabilities describe.

    Raises:
        ImageryError: there is no such layer, matrix set or format, or none that Nadir reads.
    """
    contents = root.child("Contents")
    if root.name != "Capabilities" or contents is None:
        raise ImageryError("its answer is no WMTS capabilities", None, "Check the address")
    layer = _chosen_layer(server, contents)
    name = layer.value("Identifier")
    box = _box(layer)
    grid, matrix_set, link = _chosen_grid(server, contents, layer, box)
    kind = chosen_format(server, _PREFERRED, [node.text.strip() for node in layer.all("Format")])
    address = _addresses(server, root, layer, kind, matrix_set)
    title = line(layer.value("Title"))
    notes = [
        f"layer {name}" + (f" ({title})" if title and title != name else ""),
        f"tiles of {matrix_set}",
    ]
    provider = line(root.value("ServiceProvider", "ProviderName"))
    identification = root.child("ServiceIdentification")
    fees = (
        []
        if identification is None
        else [identification.value("Fees"), identification.value("AccessConstraints")]
    )
    return Service(
        server if server.name else replace(server, name=title or name),
        grid,
        address,
        bounds=box,
        limits=_limits(link, grid),
        attribution=server.attribution or provider,
        licence=server.licence,
        terms=server.terms or stated_terms(fees),
        kind=_KINDS.get(kind, ""),
        notes=tuple(printable(note) for note in notes),
    )


def stated_terms(values: list[str]) -> str:
    """Fees and access constraints as one line; servers write "none" for nothing."""
    said = [line(value) for value in values]
    return "; ".join(dict.fromkeys(text for text in said if text and text.lower() != "none"))


def choose(what: str, wanted: str, have: list[str]) -> None:
    """Raise unless ``wanted`` is among what a server has, saying what there is."""
    if wanted not in have:
        some = ", ".join(map(repr, have[:12])) + (", ..." if len(have) > 12 else "")
        raise ImageryError(
            f"the server has no {what} {printable(wanted)!r}",
            None,
            printable(f"It has {some or 'none'}"),
        )


def chosen_format(server: Server, preferred: Sequence[str], formats: list[str]) -> str:
    """The picture format that was asked for, else the first preferred one that the server has."""
    if server.format:
        choose("format", server.format, formats)
        return server.format
    for wanted in preferred:
        if wanted in formats:
            return wanted
    choose("picture format", "image/jpeg", formats)
    raise AssertionError


def _chosen_layer(server: Server, contents: Node) -> Node:
    layers = {layer.value("Identifier"): layer for layer in contents.all("Layer")}
    if server.layer:
        choose("layer", server.layer, list(layers))
        return layers[server.layer]
    if len(layers) == 1:
        return next(iter(layers.values()))
    some = printable(", ".join(list(layers)[:20]) + (", ..." if len(layers) > 20 else ""))
    raise ImageryError(
        f"the server has {len(layers)} layers", None, f"Choose one with --layer: {some}"
    )


def _box(layer: Node) -> Bounds | None:
    box = layer.child("WGS84BoundingBox")
    if box is None:
        return None
    try:
        west, south = (float(v) for v in box.value("LowerCorner").split())
        east, north = (float(v) for v in box.value("UpperCorner").split())
    except ValueError:
        return None
    values = (west, south, east, north)
    if not all(math.isfinite(v) for v in values) or not (-90.1 <= south < north <= 90.1):
        return None
    if not (-360 <= west <= 360 and -360 <= east <= 540):
        return None
    return Bounds(south, west, north, east)


def _chosen_grid(
    server: Server, contents: Node, layer: Node, box: Bounds | None
) -> tuple[TileGrid, str, Node]:
    """The grid, the name of its matrix set, and the layer's link to it."""
    links = {link.value("TileMatrixSet"): link for link in layer.all("TileMatrixSetLink")}
    sets = {node.value("Identifier"): node for node in contents.all("TileMatrixSet")}
    known = [name for name in links if name in sets]
    if server.matrix_set:
        choose("matrix set", server.matrix_set, known)
        known = [server.matrix_set]
    grids: list[tuple[TileGrid, str, Node]] = []
    problem = "it has none"
    for name in known:
        try:
            grids.append((_grid(sets[name], box), name, links[name]))
        except ValueError as error:
            problem = str(error)
    if not grids:
        raise ImageryError(
            f"none of the server's matrix sets can be used: {printable(problem)}", None
        )
    # What is a web map's is known everywhere; else the finest.
    return min(grids, key=lambda g: (not g[0].is_web_mercator, g[0].levels[-1].resolution))


def _grid(matrix_set: Node, box: Bounds | None) -> TileGrid:
    text = matrix_set.value("SupportedCRS")
    crs = parse_crs(text)
    if not (crs.is_geographic or crs.is_projected):
        raise ValueError(f"{text[:60]} is no coordinate system for maps")
    metres = _METRES_PER_DEGREE if crs.is_geographic else float(crs.linear_units_factor[1])
    swapped = north_first(crs, text)
    levels = []
    for matrix in matrix_set.all("TileMatrix"):
        resolution = float(matrix.value("ScaleDenominator")) * _PIXEL_M / metres
        first, second = (float(v) for v in matrix.value("TopLeftCorner").split())
        west, north = (second, first) if swapped else (first, second)
        sizes = ("TileWidth", "TileHeight", "MatrixWidth", "MatrixHeight")
        levels.append(
            Level(
                0,
                resolution,
                west,
                north,
                *(int(matrix.value(s)) for s in sizes),
                name=matrix.value("Identifier"),
            )
        )
    levels.sort(key=lambda level: -level.resolution)
    if not levels or len(levels) > 64:
        raise ValueError("it has no zooms, or too many")
    levels = _placed(levels, crs, box)
    if crs == WEB_MERCATOR:
        web = _web_levels(levels)
        if web is not None:
            return web
    numbered = [
        replace(level, zoom=zoom) for level, zoom in zip(levels, _zooms(levels), strict=True)
    ]
    return TileGrid(crs, tuple(numbered))


def _placed(levels: list[Level], crs: CRS, box: Bounds | None) -> list[Level]:
    """Some servers write corners east first whatever the CRS says: the other way round where only that lies right."""
    turned = [replace(level, west=level.north, north=level.west) for level in levels]
    if box is None:
        wrong = crs.is_geographic and abs(levels[0].north) > 90.0 + levels[0].tile_span[1]
        return turned if wrong else levels
    lat, lon = box.centre
    x, y = (float(v[0]) for v in project(WGS84, crs, [lon], [lat]))

    def holds(level: Level) -> bool:
        wide, high = level.tile_span
        across, down = (x - level.west) / wide, (level.north - y) / high
        return 0 <= across <= level.columns and 0 <= down <= level.rows

    return turned if holds(turned[0]) and not holds(levels[0]) else levels


def _web_levels(levels: list[Level]) -> TileGrid | None:
    """The grid of web maps with the server's names, where its levels are that grid's."""
    pixels = levels[0].tile_width
    found = []
    for level in levels:
        zoom = (
            round(math.log2(2 * MERCATOR_EDGE_M / level.tile_span[0]))
            if level.tile_span[0] > 0
            else -1
        )
        if not 0 <= zoom <= DEEPEST_ZOOM or level.tile_width != pixels:
            return None
        own = web_mercator_grid(pixels, (zoom, zoom)).levels[0]
        if not TileGrid(WEB_MERCATOR, (replace(level, zoom=zoom),)).is_web_mercator:
            return None
        found.append(replace(own, name=level.name))
    return TileGrid(WEB_MERCATOR, tuple(found))


def _zooms(levels: list[Level]) -> list[int]:
    """Numbers of zooms: those that the levels' names end with where they rise, else counted from the coarsest."""
    ends = [_LAST_NUMBER.search(level.name) for level in levels]
    numbers = [int(end[1][:6]) if end else -1 for end in ends]
    rising = all(a < b for a, b in itertools.pairwise(numbers))
    if rising and numbers[0] >= 0 and numbers[-1] <= DEEPEST_ZOOM:
        return numbers
    return list(range(len(levels)))


def _limits(link: Node, grid: TileGrid) -> dict[int, Span]:
    limits: dict[int, Span] = {}
    by_name = {level.name: level.zoom for level in grid.levels}
    stated = link.child("TileMatrixSetLimits")
    for node in stated.all("TileMatrixLimits") if stated else []:
        zoom = by_name.get(node.value("TileMatrix"))
        try:
            span = tuple(
                int(node.value(key))
                for key in ("MinTileCol", "MinTileRow", "MaxTileCol", "MaxTileRow")
            )
        except ValueError:
            continue
        if zoom is not None:
            limits[zoom] = (span[0], span[1], span[2], span[3])
    return limits


def _addresses(server: Server, root: Node, layer: Node, kind: str, matrix_set: str):
    """The address of a tile: by its template (REST) where there is one, else by parameters (KVP)."""
    name, style = layer.value("Identifier"), server.style or _style(layer)
    dimensions = _dimensions(server, layer)
    for resource in layer.all("ResourceURL"):
        if (
            resource.attributes.get("resourceType") == "tile"
            and resource.attributes.get("format") == kind
        ):
            template = _absolute(server, resource.attributes.get("template", ""))
            fixed = {"Layer": name, "Style": style, "TileMatrixSet": matrix_set, **dimensions}
            for key, value in fixed.items():
                template = re.sub(
                    r"\{" + re.escape(key) + r"\}",
                    lambda _, v=value: quote(v, safe=""),
                    template,
                    flags=re.IGNORECASE,
                )

            def by_path(level: Level, column: int, row: int, template: str = template) -> str:
                url = template.replace("{TileMatrix}", quote(level.name, safe=""))
                return url.replace("{TileCol}", str(column)).replace("{TileRow}", str(row))

            return by_path
    endpoint = _absolute(server, _endpoint(root) or server.url)
    values = {
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": name,
        "STYLE": style,
        "FORMAT": kind,
        "TILEMATRIXSET": matrix_set,
        **dimensions,
    }

    def by_query(level: Level, column: int, row: int) -> str:
        place = {"TILEMATRIX": level.name, "TILEROW": str(row), "TILECOL": str(column)}
        return with_query(endpoint, {**values, **place})

    return by_query


def _absolute(server: Server, url: str) -> str:
    whole = urljoin(server.url, url)
    parts = urlsplit(whole)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ImageryError("the server names an address for its tiles that cannot be used", None)
    return whole


def _endpoint(root: Node) -> str:
    """Where tiles are asked for by parameters."""
    operations = root.child("OperationsMetadata")
    for operation in operations.all("Operation") if operations else []:
        if operation.attributes.get("name") != "GetTile":
            continue
        for get in (node for node in operation.walk() if node.name == "Get"):
            said = [node.text.strip().upper() for node in get.walk() if node.name == "Value"]
            if not said or "KVP" in said:
                return get.attributes.get("href", "")
    return ""


def _style(layer: Node) -> str:
    styles = layer.all("Style")
    default = [
        style for style in styles if style.attributes.get("isDefault", "").lower() in ("true", "1")
    ]
    chosen = (default or styles)[:1]
    return chosen[0].value("Identifier") if chosen else ""


def _dimensions(server: Server, layer: Node) -> dict[str, str]:
    wanted = dict(server.dimensions)
    values = {}
    for dimension in layer.all("Dimension"):
        name = dimension.value("Identifier")
        values[name] = wanted.get(name) or dimension.value("Default") or dimension.value("Value")
    return values
