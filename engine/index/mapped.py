"""Where the rows of an index lie, from files that are mapped: any number of rows opens at once and takes no memory.

Rows that follow each other are neighbours on the ground, so a box around every few hundred of them says where to look.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import geo
from engine.errors import IndexFolderError
from engine.index.area import Area
from engine.index.area_edges import AreaEdges
from engine.index.manifest import (
    CENTRES_FILE,
    EXTENTS_FILE,
    MAX_EXTENTS,
    SOURCES_FILE,
    TILES_FILE,
    Manifest,
)
from engine.index.runs import Runs, on_earth
from engine.index.tiles import Tile, TileTable

_VERIFY = "Check it with: nadir index verify"

Ids = NDArray[np.int64]


class MappedTiles:
    """See :class:`engine.index.store.Table`. Safe in several threads.

    Args:
        files: the folder of the index's files, whose lengths were checked.
    """

    def __init__(self, files: Path, manifest: Manifest) -> None:
        self.count = manifest.count
        self._files = files
        self._manifest = manifest
        self._names = [Path(facts.name).stem or facts.name for facts in manifest.imagery]
        self._lock = threading.Lock()
        self._runs: Runs | None = None
        self._table: TileTable | None = None
        try:
            self._centres = np.memmap(files / CENTRES_FILE, "<f8", "r", shape=(self.count, 2))
            self._extents: NDArray[np.float32] | None = None
            self._sources: NDArray[np.uint16] | None = None
            if len(manifest.extents_m) > 1:
                self._extents = np.memmap(files / EXTENTS_FILE, "<f4", "r", shape=(self.count,))
            if len(manifest.imagery) > 1:
                self._sources = np.memmap(files / SOURCES_FILE, "<u2", "r", shape=(self.count,))
        except (OSError, ValueError) as error:
            raise self._damaged(CENTRES_FILE, error) from error

    @property
    def extents(self) -> NDArray[np.float32]:
        """Metres along each tile's side [N]; 0 of photos."""
        if self._extents is not None:
            return self._extents
        return np.broadcast_to(np.float32(self._manifest.extent_m), (self.count,))

    @property
    def sources(self) -> NDArray[np.uint16]:
        """Which of the manifest's imageries each row is from [N]."""
        if self._sources is not None:
            return self._sources
        return np.broadcast_to(np.uint16(0), (self.count,))

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [N] and longitudes [N], mapped."""
        return self._centres[:, 0], self._centres[:, 1]

    def positions(self, ids: Ids) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes and longitudes of some rows, [n] each."""
        found = np.asarray(self._centres[np.asarray(ids, np.int64)])
        if not on_earth(found):
            raise self._damaged(CENTRES_FILE, "a position is not on the Earth")
        return found[..., 0], found[..., 1]

    def tiles(self, ids: ArrayLike) -> list[Tile]:
        """Tiles by id, in the order asked for. Raises ``IndexError`` for ids that do not exist."""
        wanted = np.atleast_1d(np.asarray(ids, np.int64))
        if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < self.count:
            raise IndexError(f"tile ids run from 0 to {self.count - 1}")
        lats, lons = self.positions(wanted)
        extents = self._exact(self.extents[wanted])
        sources = self.sources[wanted]
        if len(sources) and int(sources.max()) >= len(self._names):
            raise self._damaged(SOURCES_FILE, "a row's imagery is not in the manifest")
        pictures = self._pictures(wanted)
        return [
            Tile(
                int(row),
                float(lats[i]),
                float(lons[i]),
                float(extents[i]),
                self._names[sources[i]],
                pictures[i].picture if pictures else None,
                pictures[i].heading_deg if pictures else None,
                pictures[i].name if pictures else "",
                int(sources[i]),
            )
            for i, row in enumerate(wanted)
        ]

    def near(self, lat: float, lon: float, radius_m: float) -> Ids:
        """Ids of the rows within ``radius_m`` of a position, nearest first."""
        # A degree of latitude is never shorter than 110.5 km, nor one of longitude than at the circle's pole side.
        reach_lat = radius_m / 110_500.0
        edge = min(abs(lat) + reach_lat, 90.0)
        per_lon = max(float(geo.metres_per_degree(edge)[1]), 1e-6)
        rows = self._rows(lat, lon, reach_lat, min(1.001 * radius_m / per_lon, 180.0))
        distance = geo.distance_m(lat, lon, self._centres[rows, 0], self._centres[rows, 1])
        order = np.lexsort((rows, distance))
        return rows[order[distance[order] <= radius_m]]

    def around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> list[Ids]:
        """Ids within ``radius_m`` (a few tiles' distances) of each of several positions, rising."""
        found: list[Ids] = []
        for here_lat, here_lon in zip(lats.tolist(), lons.tolist(), strict=True):
            per_lat, per_lon = (float(v) for v in geo.metres_per_degree(here_lat))
            rows = self._rows(here_lat, here_lon, radius_m / per_lat, radius_m / max(per_lon, 1.0))
            places = self._centres[rows]
            east = ((places[:, 1] - here_lon + 180.0) % 360.0 - 180.0) * per_lon
            north = (places[:, 0] - here_lat) * per_lat
            found.append(rows[east * east + north * north <= radius_m * radius_m])
        return found

    def within(self, area: Area) -> Ids:
        """Ids of the rows whose centres lie in an area, rising."""
        edges, runs = AreaEdges(area), self._located()
        found: list[Ids] = []
        for rows, south, north, sides in runs.boxes():
            inside, mixed = edges.boxes(south, north, sides[:1], sides[1:])
            if inside[0]:
                found.append(np.arange(rows.start, rows.stop))
            elif mixed[0]:
                places = self._centres[rows]
                found.append(rows.start + np.flatnonzero(edges.contains(*places.T)))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def having(self, extents_m: tuple[float, ...], sources: tuple[str, ...]) -> Ids:
        """Ids of the rows of one of these extents (none given: of any) and one of these sources (likewise)."""
        kept = np.ones(self.count, np.bool_)
        if extents_m:
            kept &= np.isin(self.extents, np.asarray(extents_m, np.float32))
        if sources:
            known = [n for n, name in enumerate(self._names) if name in sources]
            kept &= np.isin(self.sources, np.asarray(known, np.uint16))
        return np.flatnonzero(kept).astype(np.int64)

    def problem(self) -> str:
        """What is wrong with the mapped files, empty where nothing is; reads all of them."""
        try:
            self._located()
        except IndexFolderError as error:
            return error.problem
        if self._sources is not None and int(self._sources.max()) >= len(self._names):
            return "a row's imagery is not in the manifest"
        if self._extents is not None:
            low, high = self._manifest.extents_m[0], self._manifest.extents_m[-1]
            kept = self._exact(np.asarray(self._extents))
            if not (np.isfinite(kept).all() and kept.min() >= low and kept.max() <= high):
                return "a row's extent is not one of the manifest's"
        return ""

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            if self._table is not None:
                self._table.close()
                self._table = None

    def _exact(self, extents: NDArray[np.float32]) -> NDArray[np.float64]:
        """Extents as the manifest writes them: 32 bits of 70.7 are 70.69999694824219."""
        listed = np.asarray(self._manifest.extents_m, np.float64)
        if len(listed) == 1:
            return np.full(extents.shape, listed[0])
        wide = extents.astype(np.float64)
        if not 1 < len(listed) < MAX_EXTENTS:
            return np.round(wide, 4)
        at = np.searchsorted((listed[1:] + listed[:-1]) / 2, wide)
        near = np.abs(listed[at] - wide) <= 1e-6 * wide
        return np.where(near, listed[at], wide)

    def _pictures(self, ids: Ids) -> list[Tile]:
        """What the table says of rows that are pictures; nothing where they are tiles."""
        if not self._manifest.pictures:
            return []
        with self._lock:
            if self._table is None:
                self._table = TileTable(self._files / TILES_FILE, self.count)
        return self._table.tiles(ids)

    def _rows(self, lat: float, lon: float, reach_lat: float, reach_lon: float) -> Ids:
        return self._located().rows(lat, lon, reach_lat, reach_lon)

    def _located(self) -> Runs:
        with self._lock:
            if self._runs is None:
                try:
                    self._runs = Runs(self._centres)
                except ValueError as error:
                    raise self._damaged(CENTRES_FILE, error) from error
            return self._runs

    def _damaged(self, file: str, reason: object) -> IndexFolderError:
        return IndexFolderError(f"{file} cannot be used: {str(reason)[:120]}", self._files, _VERIFY)
