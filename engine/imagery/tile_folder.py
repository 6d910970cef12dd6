"""Folders ``zoom/column/row.png`` (jpg, webp; ``row@2x.png``), as tilers write them and web maps read them.

How rows count and on which grid is taken from ``tilemapresource.xml`` (Tile Map Service 1.0), from a TileJSON or a
``metadata.json``; where none says it, rows count from the north.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS

from engine.errors import ImageryError
from engine.imagery.pyramid import PyramidFacts, TilePyramid
from engine.imagery.safe_xml import Node, XmlError, parse_xml
from engine.imagery.tile_cover import Cover
from engine.imagery.tile_grid import (
    DEEPEST_ZOOM,
    WEB_MERCATOR,
    Level,
    TileGrid,
    parse_crs,
    web_mercator_grid,
)
from engine.imagery.tile_image import MOST_TILE_BYTES, TileError, tile_size
from engine.imagery.tile_rows import (
    RowRule,
    Rows,
    bounds_of,
    mercator_rows,
    row_rule,
    said,
    said_rows,
)

RESOURCE_FILE = "tilemapresource.xml"
METADATA_FILES = ("metadata.json", "tilejson.json", "tile.json", "tiles.json")
MOST_LISTED = 500_000  # names that opening a folder may look at
_MOST_TOP = 10_000
_MOST_METADATA = 4 << 20
_STATED = 20_000  # files whose sizes are summed
_SAMPLES = 64
_TILE = re.compile(r"(0|[1-9]\d{0,9})((?:@2x)?\.(?:png|jpg|jpeg|webp))", re.IGNORECASE)
_NUMBER = re.compile(r"0|[1-9]\d{0,9}")
_HOW_TO_SAY = 'a metadata.json with {"scheme": "tms"} in the folder says the other'


def is_tile_folder(path: Path) -> bool:
    """Whether a folder holds ``zoom/column/row.png`` or the like; looks at a few names only."""
    if not path.is_dir():
        return False
    try:
        return any(
            True
            for zoom in sorted(_numbers(path, _MOST_TOP), reverse=True)[:4]
            if zoom <= DEEPEST_ZOOM
            for column in list(_numbers(path / str(zoom), 8))[:8]
            for _ in _tiles(path / str(zoom) / str(column), 50)
        )
    except OSError:
        return False


def open_tile_folder(
    path: Path | str, *, zoom: int | None = None, rows: Rows | None = None
) -> TilePyramid:
    """Open a folder of map tiles as imagery.

    Args:
        path: the folder that holds the zooms.
        zoom: the zoom to use; the deepest where it is not given.
        rows: ``"tms"`` where rows count from the south, ``"xyz"`` from the north; else found out.

    Raises:
        ImageryError: it holds no tiles that can be shown and placed.
    """
    store = TileFolderStore(Path(path).absolute(), zoom, rows)
    return TilePyramid(store, store.facts(), zoom=store.base)


class TileFolderStore:
    """The tiles of a folder; see ``TileStore``. Only the zoom in use is listed.

    Args:
        path, zoom, rows: see :func:`open_tile_folder`.
        most_listed: names to look at; of a larger folder a part of the columns is listed.
    """

    def __init__(
        self,
        path: Path,
        zoom: int | None = None,
        rows: Rows | None = None,
        most_listed: int = MOST_LISTED,
    ) -> None:
        self.path = path
        try:
            self.zooms = tuple(
                z for z in sorted(_numbers(path, _MOST_TOP)) if z <= DEEPEST_ZOOM and self._any(z)
            )
        except OSError as error:
            raise ImageryError(f"the folder cannot be read ({error.strerror})", path) from error
        if not self.zooms:
            raise ImageryError("it holds no tiles named zoom/column/row.png", path)
        if zoom is not None and zoom not in self.zooms:
            has = ", ".join(map(str, self.zooms))
            raise ImageryError(f"it has no tiles of zoom {zoom}", path, f"It has zoom {has}")
        self.base = self.zooms[-1] if zoom is None else zoom
        self._listed = _list_zoom(path / str(self.base), most_listed)
        if self._listed.cover is None:
            raise ImageryError(f"zoom {self.base} holds no tiles", path)
        self.metadata = _read_metadata(path)
        resource = _read_resource(path)
        self._suffixes = self._listed.suffixes
        pixels = self._tile_pixels(self._listed.cover)
        self.grid, self._rule = self._placed(self._listed.cover, resource, pixels, rows)

    def _any(self, zoom: int) -> bool:
        return any(
            True
            for column in _numbers(self.path / str(zoom), 50)
            for _ in _tiles(self.path / str(zoom) / str(column), 50)
        )

    def _placed(
        self, cover: Cover, resource: Node | None, pixels: tuple[int, int], rows: Rows | None
    ) -> tuple[TileGrid, RowRule]:
        ends = (int(cover.tops.min()), int(cover.bottoms.max()))
        if resource is not None and not _is_mercator(resource):
            grid = _resource_grid(resource, self.path, self.base, ends[1], pixels)
            return grid, RowRule(rows or "tms")
        if pixels[0] != pixels[1]:
            raise ImageryError(f"its tiles have {pixels[0]} by {pixels[1]} pixels", self.path)
        grid = web_mercator_grid(pixels[0], (0, self.base))
        count = 2**self.base
        if ends[1] >= count or int(cover.columns[-1]) >= count:
            raise ImageryError(
                f"it has tiles beyond the edge of the world at zoom {self.base}",
                self.path,
                "It may be laid out in another way than zoom/column/row, or on another grid",
            )
        if rows is not None:
            return grid, RowRule(rows)
        box = bounds_of(self.metadata.get("bounds"))
        whole = box is None or (box.north > 84 and box.south < -84)
        wanted = None if box is None or whole else mercator_rows(box, self.base)
        stated: Rows | None = "tms" if resource is not None else said_rows(self.metadata)
        return grid, row_rule(ends, count, wanted, "xyz", stated, _HOW_TO_SAY)

    def _tile_pixels(self, cover: Cover) -> tuple[int, int]:
        problem = ""
        for column, row in _sample(cover):
            data = self._bytes(self.base, column, row)
            if data is None:
                continue
            try:
                return tile_size(data)
            except TileError as error:
                problem = problem or str(error)
        raise ImageryError(f"its tiles cannot be shown ({problem or 'they are empty'})", self.path)

    def cover(self, zoom: int) -> Cover | None:
        """See ``TileStore``."""
        found = self._listed.cover if zoom == self.base else None
        if found is None:
            return None
        rows = self.grid.level(zoom).rows
        ends = [
            rows - 1 - values if self._rule.rows == "tms" else values
            for values in (found.tops, found.bottoms)
        ]
        return Cover(found.columns, np.minimum(*ends), np.maximum(*ends), found.exact)

    def read(self, zoom: int, column: int, row: int) -> bytes | None:
        """See ``TileStore``."""
        return self._bytes(zoom, column, self._rule.from_north(row, self.grid.level(zoom).rows))

    def _bytes(self, zoom: int, column: int, stored_row: int) -> bytes | None:
        stem = f"{self.path}{os.sep}{zoom}{os.sep}{column}{os.sep}{stored_row}"
        for suffix in self._suffixes:
            try:
                return _read_file(stem + suffix)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise ImageryError(
                    f"a tile cannot be read ({error.strerror})", Path(stem + suffix)
                ) from error
        return None

    def facts(self) -> PyramidFacts:
        """What the folder says of itself."""
        listed, metadata = self._listed, self.metadata
        notes = [self._rule.note] if self._rule.note else []
        if not listed.exact:
            notes.append(
                f"more than {MOST_LISTED:,} files: {listed.seen:,} of {listed.columns:,} columns were looked at, "
                "and the others are taken to reach as far"
            )
        return PyramidFacts(
            kind="folder of map tiles",
            name=self.path.name,
            attribution=said(metadata.get("attribution")),
            licence=said(metadata.get("licence") or metadata.get("license")),
            terms=said(metadata.get("terms")),
            notes=tuple(notes),
            fingerprint=self._fingerprint(),
            bytes=listed.bytes,
            files=listed.files if listed.exact else 0,
        )

    def _fingerprint(self) -> str:
        cover = self._listed.cover
        assert cover is not None
        digest = hashlib.sha256(f"nadir tile folder 1, {self.base} {self._rule.rows}\n".encode())
        for part in (cover.columns, cover.tops, cover.bottoms):
            digest.update(part.astype("<i8").tobytes())
        for column, row in _sample(cover):
            digest.update(self._bytes(self.base, column, row) or b"")
        return digest.hexdigest()

    def close(self) -> None:
        """Nothing is held open."""


class _Listed:
    """What was found in the folder of one zoom."""

    def __init__(self) -> None:
        self.cover: Cover | None = None
        self.suffixes: tuple[str, ...] = ()
        self.exact = True
        self.seen = self.columns = self.files = self.bytes = 0


def _list_zoom(folder: Path, most: int) -> _Listed:
    """List columns spread over the folder until ``most`` names were seen."""
    listed = _Listed()
    columns = sorted(_numbers(folder, most))
    listed.columns = len(columns)
    suffixes: Counter[str] = Counter()
    found: dict[int, tuple[int, int]] = {}
    for i in _spread(len(columns)):
        if listed.files >= most:
            listed.exact = False
            break
        listed.seen += 1
        rows: list[int] = []
        for entry, row, suffix in _tiles(folder / str(columns[i]), most):
            rows.append(row)
            suffixes[suffix] += 1
            listed.files += 1
            if listed.files <= _STATED:
                listed.bytes += entry.stat().st_size
        if rows:
            found[columns[i]] = (min(rows), max(rows))
    if not listed.exact or listed.files > _STATED:
        listed.bytes = 0
    # Retina tiles first, then what there is most of.
    order = sorted(suffixes, key=lambda s: ("@2x" not in s.lower(), -suffixes[s], s))
    listed.suffixes = tuple(order[:8])
    if found:
        reach = (min(v[0] for v in found.values()), max(v[1] for v in found.values()))
        names = sorted(found) if listed.exact else columns
        table = np.array([(c, *found.get(c, reach)) for c in names], np.int64)
        listed.cover = Cover(table[:, 0], table[:, 1], table[:, 2], listed.exact)
    return listed


def _spread(count: int) -> Iterator[int]:
    """0..count-1, in an order whose every beginning is spread evenly."""
    bits = max(count - 1, 1).bit_length()
    for i in range(1 << bits):
        turned = int(f"{i:0{bits}b}"[::-1], 2)
        if turned < count:
            yield turned


def _sample(cover: Cover) -> list[tuple[int, int]]:
    """Columns and rows (as they are stored) of tiles spread over a cover; some may not be there."""
    chosen = np.unique(np.linspace(0, len(cover.columns) - 1, _SAMPLES).astype(int))
    return [
        (int(cover.columns[i]), row)
        for i in chosen
        for row in sorted({int(cover.tops[i]), int(cover.bottoms[i])})
    ]


def _numbers(folder: Path, most: int) -> Iterator[int]:
    """Folders named by a number, of the first ``most`` names in a folder; nothing where it is no folder."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(most), entries, strict=False):
                if _NUMBER.fullmatch(entry.name) and entry.is_dir():
                    yield int(entry.name)
    except NotADirectoryError:
        return


def _tiles(folder: Path, most: int) -> Iterator[tuple[os.DirEntry[str], int, str]]:
    """Tiles of a column, of the first ``most`` names in its folder: the entry, the row, what follows the row."""
    with os.scandir(folder) as entries:
        for _, entry in zip(range(most), entries, strict=False):
            named = _TILE.fullmatch(entry.name)
            if named:
                yield entry, int(named[1]), named[2]


def _read_file(path: str) -> bytes | None:
    # A pipe with the name of a tile must not be waited for.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return file.read(MOST_TILE_BYTES + 1) or None


def _read_metadata(folder: Path) -> dict[str, Any]:
    for name in METADATA_FILES:
        try:
            with open(folder / name, "rb") as file:
                raw = json.loads(file.read(_MOST_METADATA))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(raw, dict):
            return raw
    return {}


def _read_resource(folder: Path) -> Node | None:
    path = folder / RESOURCE_FILE
    try:
        with open(path, "rb") as file:
            return parse_xml(file.read(_MOST_METADATA))
    except FileNotFoundError:
        return None
    except (OSError, XmlError) as error:
        raise ImageryError(
            f"what it says of the tiles cannot be read ({error})",
            path,
            "Repair it, or take it away",
        ) from error


def _is_mercator(resource: Node) -> bool:
    sets = resource.child("TileSets")
    profile = sets.attributes.get("profile", "") if sets else ""
    if profile in ("mercator", "global-mercator"):
        return True
    srs = resource.value("SRS").upper()
    return not profile and srs in ("OSGEO:41001", "EPSG:900913", "EPSG:3857")


def _resource_grid(
    resource: Node, path: Path, base: int, last_row: int, pixels: tuple[int, int]
) -> TileGrid:
    """The grid of a Tile Map Service: tiles are counted from its lower left origin."""
    try:
        crs: CRS = _srs(resource.value("SRS"))
        origin = resource.child("Origin")
        sets = resource.child("TileSets")
        if origin is None or sets is None:
            raise ValueError("it names no origin and no zooms")
        west, south = float(origin.attributes["x"]), float(origin.attributes["y"])
        units: dict[int, float] = {}
        for one in sets.all("TileSet"):
            zoom = int(one.attributes["href"].rstrip("/").rpartition("/")[2])
            units[zoom] = float(one.attributes["units-per-pixel"])
        finest = units[base]
        levels = []
        for zoom in sorted(z for z in units if z <= base):
            high = units[zoom] * pixels[1]
            # As many rows as reach over the highest tile; how many more there are does not matter.
            rows = int(np.ceil((last_row + 1) * finest * pixels[1] / high - 1e-9))
            columns = int(np.ceil(2 ** (base + 2) * finest / units[zoom]))
            north = south + rows * high
            levels.append(Level(zoom, units[zoom], west, north, *pixels, columns, rows))
        return TileGrid(crs, tuple(levels))
    except (KeyError, ValueError, OverflowError) as error:
        raise ImageryError(
            f"{RESOURCE_FILE} does not say where its tiles lie ({error})",
            path,
            "Use a GeoTIFF of the same imagery, or tiles of the mercator profile",
        ) from error


def _srs(text: str) -> CRS:
    return WEB_MERCATOR if text.upper() == "OSGEO:41001" else parse_crs(text)
