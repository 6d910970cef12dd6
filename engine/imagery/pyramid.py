"""A pyramid of map tiles as an aerial source: MBTiles, z/x/y folders, what was fetched from a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.imagery.cutting import Cuts
from engine.imagery.footprint import box_of, boxes, resolution_of, window_of
from engine.imagery.geotiff import copy_pixels
from engine.imagery.projection import WGS84, crs_name, project, world_width
from engine.imagery.rendered import Rendered
from engine.imagery.tile_cover import Cover
from engine.imagery.tile_levels import MEMORY_BYTES, TileLevels, TileStore
from engine.progress import Report, silent


@dataclass(frozen=True)
class PyramidFacts:
    """What a store says of its tiles besides the tiles.

    Args:
        kind: in words, such as "MBTiles".
        name, attribution, licence, terms: as the file has them, for people; empty where it does not say.
        notes: what was decided on opening.
        fingerprint: tells these tiles from any others, hexadecimal.
        bytes, files: on disk; 0 where counting would take long.
    """

    kind: str
    name: str
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    bytes: int = 0
    files: int = 0


class TilePyramid(Cuts):
    """Map tiles of any grid; see :class:`engine.imagery.AerialSource`.

    Its pixels are those of one zoom, the deepest that has tiles unless another is asked for. What that zoom lacks is
    missing; coarser zooms serve where it is averaged down.

    Args:
        store: the tiles; closed with the source.
        facts: what is known about them.
        zoom: the zoom to use.
        memory_bytes: what decoded tiles may take.

    Raises:
        ImageryError: there are no tiles, not of that zoom, or they lie nowhere on the Earth.
    """

    def __init__(
        self,
        store: TileStore,
        facts: PyramidFacts,
        *,
        zoom: int | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.path = store.path
        self._store, self._facts = store, facts
        grid = store.grid
        with_tiles = store.zooms
        if not with_tiles:
            raise ImageryError("it holds no tiles", self.path)
        if zoom is not None and zoom not in with_tiles:
            has = ", ".join(map(str, with_tiles))
            raise ImageryError(f"it has no tiles of zoom {zoom}", self.path, f"It has zoom {has}")
        self.zoom = with_tiles[-1] if zoom is None else zoom
        self.zooms: tuple[int, int] = (with_tiles[0], self.zoom)
        level = grid.level(self.zoom)
        cover = store.cover(self.zoom)
        if cover is None:
            raise ImageryError(f"its tiles of zoom {self.zoom} have no place", self.path)
        left, top, right, bottom = cover.box(level.columns if grid.turns(level) else None)
        self._origin = (left * level.tile_width, top * level.tile_height)
        self._levels = TileLevels(store, self.zoom, (right - left) * level.tile_width, memory_bytes)
        self.raster_crs: CRS = grid.crs
        self.period = world_width(grid.crs)
        self.transform = Affine.translation(
            level.west + self._origin[0] * level.resolution,
            level.north - self._origin[1] * level.resolution,
        ) @ Affine.scale(level.resolution, -level.resolution)
        self.shape: tuple[int, int] = (
            (bottom - top) * level.tile_height,
            (right - left) * level.tile_width,
        )
        self.gaps = True
        self.kind, self.name = facts.kind, facts.name
        self.attribution, self.licence, self.terms = facts.attribution, facts.licence, facts.terms
        self.crs = crs_name(grid.crs)
        box = box_of(self)
        if box is None:
            raise ImageryError(
                "its tiles do not lie on the Earth in their coordinate system", self.path
            )
        self.bounds = box
        self.resolution_m = resolution_of(self, box.centre)
        if not np.isfinite(self.resolution_m):
            raise ImageryError("its pixels have no size on the ground", self.path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while reading, and how many tiles turned out damaged so far."""
        count = len(self._levels.damaged)
        if not count:
            return self._facts.notes
        (zoom, column, row), why = next(iter(self._levels.damaged.items()))
        said = f"{count:,} damaged tiles count as missing (the first: {zoom}/{column}/{row}, {why})"
        return (*self._facts.notes, said)

    @property
    def bytes(self) -> int:
        return self._facts.bytes

    @property
    def files(self) -> int:
        return self._facts.files

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pixels of a window, averaged down to ``columns`` by ``rows``; see ``PixelReader``."""
        x, y = self._origin
        tile = self._levels.read(left + x, top + y, right + x, bottom + y, columns, rows)
        return np.moveaxis(tile.colours, -1, 0), tile.mask

    def outline(self) -> list[NDArray[np.float64]]:
        """Rings [n, 2] of longitudes and latitudes around what has tiles: boxes of the grid, a few hundred at most."""
        level = self._store.grid.level(self.zoom)
        rings = []
        for left, top, right, bottom in self._cover.boxes:
            west, _, _, north = level.box(left, top)
            _, south, east, _ = level.box(right - 1, bottom - 1)
            t = np.linspace(0, 1, 2 if self.period else 9)
            on = np.ones(t.size)
            xs = np.concatenate(
                [west + t * (east - west), east * on, east + t * (west - east), west * on]
            )
            ys = np.concatenate(
                [north * on, north + t * (south - north), south * on, south + t * (north - south)]
            )
            lons, lats = project(self.raster_crs, WGS84, xs, ys)
            rings.append(np.column_stack([lons, lats]))
        return rings

    def boxes(self) -> list[Bounds]:
        """See :func:`engine.imagery.mosaic.boxes_of`."""
        if not self._cover.exact:  # columns that were not looked at would seem to be gaps
            return [self.bounds]
        level = self._store.grid.level(self.zoom)
        wide, high = level.tile_span
        held = np.array(self._cover.boxes, np.int64).reshape(-1, 4)
        transforms = np.zeros((len(held), 6))
        transforms[:, 0], transforms[:, 4] = level.resolution, -level.resolution
        transforms[:, 2] = level.west + held[:, 0] * wide
        transforms[:, 5] = level.north - held[:, 1] * high
        pixels = (held[:, [3, 2]] - held[:, [1, 0]]) * (level.tile_height, level.tile_width)
        found = boxes(self.raster_crs, transforms, pixels)
        return [self.bounds if box is None else box for box in found]

    @property
    def _cover(self) -> Cover:
        return self._levels.cover

    def fingerprint(self) -> str:
        """See :meth:`AerialSource.fingerprint`."""
        return self._facts.fingerprint

    def write_copy(self, path: Path, bounds: Bounds, report: Report = silent) -> None:
        """See :meth:`AerialSource.write_copy`."""
        window, copied = window_of(self, bounds), self
        if window is None:  # it lies on both ends of the pyramid
            copied = Rendered.around(self, bounds, self.resolution_m)
            window = (0, 0, copied.shape[1], copied.shape[0])
        if window[2] <= window[0]:
            raise ImageryError("it does not cover the area asked for", self.path)
        copy_pixels(
            copied,
            path,
            window,
            attribution=self.attribution,
            licence=self.licence,
            report=report,
        )

    def close(self) -> None:
        """Let go of the tiles."""
        self._store.close()

    def __enter__(self) -> TilePyramid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
