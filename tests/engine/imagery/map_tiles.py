"""Map tiles whose pixels say where they lie (see ``rasters``), made without the code under test."""

from __future__ import annotations

import io
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rasterio.crs import CRS
from rasterio.warp import transform

from tests.engine.imagery.rasters import LEVELS_PER_M, MIDDLE, plane_about

MERCATOR = CRS.from_epsg(3857)
EDGE = math.pi * 6378137.0
Address = tuple[int, int, int]  # zoom, column, row from the north


@dataclass(frozen=True)
class Square:
    """A tile's ground: upper left corner and the size of a pixel in a CRS."""

    crs: CRS
    west: float
    north: float
    resolution: float
    pixels: int


def web_square(zoom: int, column: int, row: int, pixels: int = 256) -> Square:
    """The ground of a web map's tile."""
    span = 2 * EDGE / 2**zoom
    return Square(MERCATOR, column * span - EDGE, EDGE - row * span, span / pixels, pixels)


def ramp(square: Square, lat: float, lon: float) -> np.ndarray:
    """Red says how far east of a position a pixel lies, green how far north; blue is 77."""
    along = (np.arange(square.pixels) + 0.5) * square.resolution
    x, y = np.meshgrid(square.west + along, square.north - along)
    east, north = transform(
        square.crs, plane_about(lat, lon), x.ravel().tolist(), y.ravel().tolist()
    )[:2]
    east, north = (np.reshape(v, x.shape) for v in (east, north))
    ramps = [MIDDLE + LEVELS_PER_M * east, MIDDLE + LEVELS_PER_M * north, np.full_like(east, 77)]
    return np.clip(np.round(np.stack(ramps, axis=-1)), 0, 255).astype(np.uint8)


def picture(pixels: np.ndarray, kind: str = "png") -> bytes:
    """An image as a file's bytes; JPEG and WebP lose a little."""
    out = io.BytesIO()
    if kind == "jpg":
        Image.fromarray(pixels).save(out, "JPEG", quality=98, subsampling=0)
    elif kind == "webp":
        Image.fromarray(pixels).save(out, "WEBP", lossless=True, quality=0, method=0)
    else:
        Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def tile_at(lat: float, lon: float, zoom: int) -> tuple[int, int]:
    """Column and row of the tile that a position lies in."""
    x = ((lon + 180.0) % 360.0) / 360.0 * 2**zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**zoom
    return int(x), int(y)


def ramp_tiles(
    lat: float, lon: float, zoom: int, *, reach: int = 1, pixels: int = 256, kind: str = "png"
) -> dict[Address, bytes]:
    """Tiles about a position, ``reach`` to every side, over the 180th meridian too."""
    column, row = tile_at(lat, lon, zoom)
    tiles = {}
    for c in range(column - reach, column + reach + 1):
        for r in range(row - reach, row + reach + 1):
            square = web_square(zoom, c % 2**zoom, r, pixels)
            tiles[zoom, c % 2**zoom, r] = picture(ramp(square, lat, lon), kind)
    return tiles


def write_folder(
    folder: Path, tiles: dict[Address, bytes], ending: str = ".png", *, tms: bool = False
) -> Path:
    """Tiles as ``zoom/column/row``."""
    for (zoom, column, row), data in tiles.items():
        name = 2**zoom - 1 - row if tms else row
        path = folder / str(zoom) / str(column) / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_mbtiles(
    path: Path,
    tiles: dict[Address, bytes],
    metadata: Iterable[tuple[str, str]] = (),
    *,
    xyz: bool = False,
    rows: Callable[[int], int] = lambda zoom: 2**zoom,
    index: bool = True,
) -> Path:
    """Tiles as MBTiles, rows from the south as the format asks (``xyz``: from the north)."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
    db.execute(
        "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)"
    )
    if index:
        db.execute("CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row)")
    db.executemany("INSERT INTO metadata VALUES (?, ?)", list(metadata))
    db.executemany(
        "INSERT INTO tiles VALUES (?, ?, ?, ?)",
        [(z, c, r if xyz else rows(z) - 1 - r, data) for (z, c, r), data in tiles.items()],
    )
    db.commit()
    db.close()
    return path
