"""Grids of map tiles: which square of the ground the tile ``zoom/column/row`` is, in any CRS.

Columns count from the west, rows from the north (XYZ); a place in a level is also given in its pixels, from the
upper left corner of its first tile, corners at whole numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError

from engine.imagery.projection import epsg_code, world_width

WEB_MERCATOR = CRS.from_epsg(3857)
MERCATOR_EDGE_M = math.pi * 6378137.0
DEEPEST_ZOOM = 30
MOST_TILE_PIXELS = 4096
_MOST_TILES = (
    2**40
)  # along one side of a level; far beyond any grid, far below what a float holds exactly
_SAME = 0.01  # of a pixel: two grids that differ less are one
_NAMED = re.compile(
    r"(?:EPSG:|urn:(?:ogc|x-ogc):def:crs:EPSG:[\d.:]*:|https?://www\.opengis\.net/(?:def/crs/EPSG/[\d.]+/|gml/srs/epsg\.xml#))(\d{1,9})",
    re.IGNORECASE,
)
_CRS84 = re.compile(
    r"(?:urn:ogc:def:crs:OGC:[\d.]*:|https?://www\.opengis\.net/def/crs/OGC/[\d.]+/|OGC:|CRS:)?(?:CRS)?84",
    re.IGNORECASE,
)
_WKT = re.compile(r"(?:PROJCS|GEOGCS|COMPD_CS|PROJCRS|GEOGCRS|GEODCRS|BOUNDCRS|COMPOUNDCRS)\[")
_AXIS = re.compile(r'AXIS\["[^"]*",\s*(\w+)')
_MERCATOR_CODES = (3857, 3785, 900913, 102100, 102113)  # names that web mercator has had


@dataclass(frozen=True)
class Level:
    """One zoom of a grid.

    Args:
        zoom: its number; larger is finer.
        resolution: what one pixel spans, in units of the CRS.
        west, north: the upper left corner of the first tile, in the CRS.
        tile_width, tile_height: pixels of a tile.
        columns, rows: how many tiles it has.
        name: what a server calls it.
    """

    zoom: int
    resolution: float
    west: float
    north: float
    tile_width: int
    tile_height: int
    columns: int
    rows: int
    name: str = ""

    @property
    def tile_span(self) -> tuple[float, float]:
        """Width and height of a tile in units of the CRS."""
        return self.tile_width * self.resolution, self.tile_height * self.resolution

    def box(self, column: int, row: int) -> tuple[float, float, float, float]:
        """West, south, east and north of a tile in the CRS."""
        wide, high = self.tile_span
        west, north = self.west + column * wide, self.north - row * high
        return west, north - high, west + wide, north


@dataclass(frozen=True)
class TileGrid:
    """Levels of one CRS, coarse to fine, each of another zoom.

    Raises:
        ValueError: a level means nothing: no size, no tiles, or two of one zoom.
    """

    crs: CRS
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("a grid without levels")
        for level in self.levels:
            numbers = (level.resolution, level.west, level.north)
            if not all(math.isfinite(number) for number in numbers) or level.resolution <= 0:
                raise ValueError(f"zoom {level.zoom} has no size")
            if not (0 < level.columns <= _MOST_TILES and 0 < level.rows <= _MOST_TILES):
                raise ValueError(f"zoom {level.zoom} has {level.columns} by {level.rows} tiles")
            if not (
                0 < level.tile_width <= MOST_TILE_PIXELS
                and 0 < level.tile_height <= MOST_TILE_PIXELS
            ):
                raise ValueError(f"tiles of {level.tile_width} by {level.tile_height} pixels")
        pairs = zip(self.levels, self.levels[1:], strict=False)
        if any(a.zoom >= b.zoom or a.resolution <= b.resolution for a, b in pairs):
            raise ValueError("its levels do not run from coarse to fine")

    @property
    def zooms(self) -> tuple[int, ...]:
        return tuple(level.zoom for level in self.levels)

    def level(self, zoom: int) -> Level:
        """The level of a zoom.

        Raises:
            KeyError: it has none of that zoom.
        """
        for level in self.levels:
            if level.zoom == zoom:
                return level
        raise KeyError(zoom)

    def turns(self, level: Level) -> bool:
        """Whether the level's last column touches its first: it goes once around the Earth."""
        period = world_width(self.crs)
        return period > 0 and math.isclose(level.columns * level.tile_span[0], period, rel_tol=1e-9)

    @property
    def is_web_mercator(self) -> bool:
        """Whether its tiles are those of web maps, so that ``zoom/column/row`` says all (256 or 512 pixels)."""
        return epsg_code(self.crs) == 3857 and all(_is_web_level(level) for level in self.levels)


def _is_web_level(level: Level) -> bool:
    if level.zoom < 0 or level.tile_width != level.tile_height:
        return False
    count = 2**level.zoom
    slack = max(
        _SAME * level.resolution, 0.01
    )  # where servers round, they do it to a centimetre or better
    across = abs(level.tile_span[0] * count - 2 * MERCATOR_EDGE_M)
    return (
        across <= max(0.5 * level.resolution, 0.02)
        and abs(level.west + MERCATOR_EDGE_M) <= slack
        and abs(level.north - MERCATOR_EDGE_M) <= slack
    )


def parse_crs(text: str) -> CRS:
    """The CRS that a server or a file names: ``EPSG:28992``, its URN or address, ``CRS:84``, or WKT.

    Nothing else is tried: GDAL itself would also take the name of a file, or an address to fetch.

    Raises:
        ValueError: it is none of these, or not known.
    """
    text = text.strip()
    named = _NAMED.fullmatch(text)
    try:
        if named:
            code = int(named[1])
            return WEB_MERCATOR if code in _MERCATOR_CODES else CRS.from_epsg(code)
        if _CRS84.fullmatch(text):
            return CRS.from_epsg(4326)
        if _WKT.match(text) and len(text) < 20_000:
            return CRS.from_wkt(text)
    except CRSError as error:
        raise ValueError(f"the coordinate system {text[:60]!r} is not known") from error
    raise ValueError(f"{text[:60]!r} names no coordinate system")


def north_first(crs: CRS, text: str = "") -> bool:
    """Whether coordinates in this CRS are written north before east, by its own definition (as WMS 1.3.0 and WMTS
    have it). ``text`` is how the CRS was named: ``CRS:84`` is EPSG:4326 written east first."""
    if text and _CRS84.fullmatch(text.strip()):
        return False
    axes = _AXIS.findall(crs.to_wkt(version="WKT2_2019"))
    return bool(axes) and axes[0].lower() in ("north", "south")


def web_mercator_grid(tile_pixels: int = 256, zooms: tuple[int, int] = (0, 24)) -> TileGrid:
    """The grid of web maps: EPSG:3857, one tile at zoom 0. ``zooms`` are the first and the last."""
    levels = []
    for zoom in range(zooms[0], zooms[1] + 1):
        count = 2**zoom
        resolution = 2 * MERCATOR_EDGE_M / tile_pixels / count
        west, north = -MERCATOR_EDGE_M, MERCATOR_EDGE_M
        levels.append(
            Level(zoom, resolution, west, north, tile_pixels, tile_pixels, count, count, str(zoom))
        )
    return TileGrid(WEB_MERCATOR, tuple(levels))


def grid_to_json(grid: TileGrid) -> dict[str, Any]:
    """A grid as plain values, for the metadata of a file."""
    code = epsg_code(grid.crs)
    return {
        "crs": f"EPSG:{code}" if code else grid.crs.to_wkt(),
        "levels": [
            {
                "zoom": level.zoom,
                "resolution": level.resolution,
                "origin": [level.west, level.north],
                "tile": [level.tile_width, level.tile_height],
                "size": [level.columns, level.rows],
                "name": level.name,
            }
            for level in grid.levels
        ],
    }


def grid_from_json(raw: Any) -> TileGrid:
    """The grid that :func:`grid_to_json` made; the values are not trusted.

    Raises:
        ValueError: they are no grid.
    """
    try:
        levels = raw["levels"]
        if not isinstance(levels, list) or len(levels) > DEEPEST_ZOOM + 1:
            raise ValueError("no list of levels")
        return TileGrid(parse_crs(str(raw["crs"])), tuple(_level(value) for value in levels))
    except (KeyError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"no grid of tiles ({error})") from error


def _level(raw: Any) -> Level:
    return Level(
        zoom=int(raw["zoom"]),
        resolution=float(raw["resolution"]),
        west=float(raw["origin"][0]),
        north=float(raw["origin"][1]),
        tile_width=int(raw["tile"][0]),
        tile_height=int(raw["tile"][1]),
        columns=int(raw["size"][0]),
        rows=int(raw["size"][1]),
        name=str(raw.get("name", ""))[:200],
    )
