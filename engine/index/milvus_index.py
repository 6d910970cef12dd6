"""An index whose tiles are in Milvus: to the rest of the program it is an index like any other.

Where tiles lie is asked of the server, a few at a time; only what truly needs all tiles fetches all of them. Pictures
of tiles come from the imagery, which stays on this machine.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import geo
from engine.errors import ImageryError, IndexFolderError
from engine.index.filters import Allowed, Filter, IdArray, Mask
from engine.index.held import HeldImagery
from engine.index.manifest import MANIFEST_FILE
from engine.index.milvus import MilvusStore
from engine.index.milvus_client import MilvusError
from engine.index.milvus_filter import (
    EVERYTHING,
    EXTENT,
    HEADING,
    LAT,
    LON,
    NAME,
    PICTURE,
    SOURCE,
    SOURCE_NUMBER,
    UNKNOWN,
    Positions,
    around_positions,
    of_ids,
)
from engine.index.store import Index, NamedEncoder, check_encoder
from engine.index.tiles import Tile

if TYPE_CHECKING:
    from engine.imagery import AerialSource

Centres = tuple[NDArray[np.float64], NDArray[np.float64]]


class MilvusIndex(Index):
    """See :class:`engine.index.Index`. Made by :meth:`connect`."""

    _vectors: MilvusStore
    _original: Index | None = None

    @staticmethod
    def connect(
        address: str,
        collection: str,
        encoder: NamedEncoder | None = None,
        *,
        imagery: Path | None = None,
        token: str = "",
    ) -> MilvusIndex:
        """Open what :func:`engine.index.milvus_upload.upload` put into a collection.

        Args:
            encoder: refuse the collection unless it was built with this one.
            imagery: the original imagery, or the folder of the index that was uploaded; None: pictures of tiles cannot
                be shown.

        Raises:
            MilvusError: see :meth:`MilvusStore.open`.
            IndexFolderError: it is another encoder's.
        """
        store = MilvusStore.open(address, collection, token)
        try:
            if encoder is not None:
                check_encoder(Path(collection), store.manifest, encoder)
            index = MilvusIndex(
                Path(collection), store.manifest, store, MilvusTable(store), imagery
            )
            index._original = _uploaded(imagery, index.hash)
            # Files of the index itself are not here: only what the user has given may be opened.
            here = tuple(replace(facts, file=None) for facts in store.manifest.imagery)
            index._held = HeldImagery(
                index.path, index.path, replace(store.manifest, imagery=here), imagery
            )
        except BaseException:
            store.close()
            raise
        return index

    def select(self, filter: Filter) -> Allowed:
        return MilvusAllowed(self._vectors, filter)

    @property
    def extents(self) -> NDArray[np.float32]:
        """Metres along each tile's side [N]; fetches those of all tiles where there are several extents."""
        if len(self.manifest.extents_m) < 2:
            return super().extents
        extents = np.zeros(self.manifest.count, np.float32)
        for extent_m in self.manifest.extents_m:
            extents[self._table.having((extent_m,), ())] = extent_m
        return extents

    @property
    def sources(self) -> NDArray[np.uint16]:
        """Which of the manifest's imageries each tile is from [N]; fetches those of all tiles."""
        return np.array(
            [t.source_number for t in self.tiles(np.arange(self.manifest.count))], np.uint16
        )

    @property
    def imagery(self) -> AerialSource:
        return super().imagery if self._original is None else self._original.imagery

    def crop(
        self, tile_id: int, pixels: int, *, extent_m: float | None = None, missing: int = 0
    ) -> NDArray[np.uint8]:
        if self._original is not None:
            return self._original.crop(tile_id, pixels, extent_m=extent_m, missing=missing)
        self._need_imagery()
        return super().crop(tile_id, pixels, extent_m=extent_m, missing=missing)

    def picture(self, tile_id: int) -> NDArray[np.uint8]:
        if self._original is not None:
            return self._original.picture(tile_id)
        self._need_imagery()
        return super().picture(tile_id)

    def close(self) -> None:
        super().close()
        if self._original is not None:
            self._original.close()

    def _open_imagery(self) -> AerialSource:
        self._need_imagery()
        return self._held.whole()

    def _need_imagery(self) -> None:
        if self._imagery_path is None:
            raise ImageryError(
                "pictures of tiles are not kept in Milvus",
                self.path,
                "Give the imagery, or the index that was uploaded, with --imagery",
            )


def _uploaded(folder: Path | None, wanted: str) -> Index | None:
    """The index in a folder; None where the folder is none, but imagery.

    Raises:
        IndexFolderError: it is another index than the one with the hash ``wanted``.
    """
    if folder is None or not (folder / MANIFEST_FILE).is_file():
        return None
    index = Index.open(folder)
    if index.hash != wanted:
        index.close()
        raise IndexFolderError(
            "this is not the index that was uploaded", folder, "Give the one that was"
        )
    return index


class MilvusAllowed(Allowed):
    """The tiles that a filter lets answer, on the server; what is asked of some tiles is answered for those alone."""

    def __init__(self, store: MilvusStore, filter: Filter) -> None:
        super().__init__(store.count, self._all, filter)
        self._store = store

    def _all(self) -> Mask:
        mask = np.zeros(self.total, np.bool_)
        for ids, _, _ in self._store.positions(self._store.expression(self) or EVERYTHING):
            mask[ids] = True
        return mask

    @property
    def count(self) -> int:
        return self._store.count_of(self._store.expression(self))

    def contains(self, ids: ArrayLike) -> Mask:
        wanted = np.asarray(ids, np.int64)
        expression = self._store.expression(self)
        if not expression or not wanted.size:
            return np.ones(wanted.shape, np.bool_)
        asked = f"({expression}) and ({of_ids(np.unique(wanted))})"
        held = [good for good, _, _ in self._store.positions(asked)]
        return np.isin(wanted, np.concatenate(held)) if held else np.zeros(wanted.shape, np.bool_)


class MilvusTable:
    """Where tiles lie, as the server says it (:class:`engine.index.store.Table`)."""

    def __init__(self, store: MilvusStore) -> None:
        self.count = store.count
        self._store = store
        self._centres: Centres | None = None

    def centres(self) -> Centres:
        """Positions of all tiles: everything is fetched, once. :meth:`positions` asks for some."""
        if self._centres is None:
            lats, lons = np.full(self.count, np.nan), np.full(self.count, np.nan)
            for ids, some_lats, some_lons in self._store.positions(EVERYTHING):
                lats[ids], lons[ids] = some_lats, some_lons
            if not ((np.abs(lats) <= 90) & (np.abs(lons) <= 180)).all():
                raise self._damaged("a tile's position is not on the Earth")
            self._centres = (lats, lons)
        return self._centres

    def positions(self, ids: IdArray) -> Centres:
        """Latitudes [n] and longitudes [n] of tiles."""
        rows = self._store.fields(ids, [LAT, LON])
        lats, lons = (np.array([row[name] for row in rows], np.float64) for name in (LAT, LON))
        return lats, lons

    def tiles(self, ids: ArrayLike) -> list[Tile]:
        """Tiles by id, in the order asked for. Raises ``IndexError`` for ids that do not exist."""
        wanted = np.atleast_1d(np.asarray(ids, np.int64))
        rows = self._store.fields(
            wanted, [LAT, LON, EXTENT, SOURCE, SOURCE_NUMBER, PICTURE, HEADING, NAME]
        )
        return [
            self._tile(tile_id, row) for tile_id, row in zip(wanted.tolist(), rows, strict=True)
        ]

    def near(self, lat: float, lon: float, radius_m: float) -> IdArray:
        """Ids of the tiles whose centres lie within ``radius_m`` of a position, nearest first."""
        ids, lats, lons = self._around(np.array([lat]), np.array([lon]), radius_m)
        distance = geo.distance_m(lat, lon, lats, lons)
        order = np.lexsort((ids, distance))
        return ids[order[distance[order] <= radius_m]]

    def around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> list[IdArray]:
        """Ids within ``radius_m`` (a few tiles' distances) of each of several positions, rising."""
        ids, own_lats, own_lons = self._around(lats, lons, 1.05 * radius_m + 1)
        found: list[IdArray] = []
        for lat, lon in zip(lats.tolist(), lons.tolist(), strict=True):
            per_lat, per_lon = (float(v) for v in geo.metres_per_degree(lat))
            east = ((own_lons - lon + 180.0) % 360.0 - 180.0) * per_lon
            north = (own_lats - lat) * per_lat
            found.append(np.sort(ids[east * east + north * north <= radius_m * radius_m]))
        return found

    def having(self, extents_m: tuple[float, ...], sources: tuple[str, ...]) -> IdArray:
        """Ids of the tiles of one of these extents (none given: of any) and one of these sources (likewise)."""
        return MilvusAllowed(self._store, Filter(extents_m=extents_m, sources=sources)).ids

    def close(self) -> None:
        """Nothing is held; the store is closed by itself."""

    def _around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> Positions:
        """Ids and positions of all tiles within a radius of one of some positions, and of some beyond."""
        found = list(self._store.positions(around_positions(lats, lons, radius_m)))
        none = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        ids, lats, lons = (np.concatenate(part) for part in zip(none, *found, strict=True))
        return ids, lats, lons

    def _tile(self, tile_id: int, row: dict[str, Any]) -> Tile:
        picture, heading = row[PICTURE], row[HEADING]
        tile = Tile(
            tile_id,
            row[LAT],
            row[LON],
            row[EXTENT],
            str(row[SOURCE])[:1000],
            None if picture == UNKNOWN else picture,
            None if heading == UNKNOWN else heading,
            str(row[NAME])[:1000],
            row[SOURCE_NUMBER],
        )
        good = abs(tile.lat) <= 90 and abs(tile.lon) <= 180 and 0 <= tile.extent_m < 1e6
        good &= heading == UNKNOWN or 0 <= heading <= 360
        if not good or not 0 <= tile.source_number < len(self._store.manifest.imagery):
            raise self._damaged(f"tile {tile.id} does not lie on the Earth")
        return tile

    def _damaged(self, reason: str) -> MilvusError:
        return MilvusError(f"the collection {self._store.collection} cannot be used: {reason}")
