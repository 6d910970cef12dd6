"""An index that is open: searching it, and asking where its tiles lie and what they look like."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import ImageryError, IndexFolderError
from engine.geo import Bounds
from engine.index.area import Area
from engine.index.begun import resume_command
from engine.index.filters import Allowed, Filter, select
from engine.index.held import HeldImagery
from engine.index.manifest import (
    MANIFEST_FILE,
    TILES_FILE,
    Manifest,
    read_manifest,
)
from engine.index.mapped import MappedTiles
from engine.index.tiles import Tile, TileTable
from engine.index.vector_store import VectorStore, open_store
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.imagery import AerialSource

BUILDING = "building"  # the folder inside an index where it is made
SHARD_FILE = "shard.json"  # in that folder: it makes a share of an index
_AGAIN = "Get the index again from its source, or build it again"


class NamedEncoder(Protocol):
    """As much of an encoder as is needed to tell whether it fits."""

    hash: str

    @property
    def card(self) -> Any: ...


class Table(Protocol):
    """Where the tiles of an index lie; :class:`engine.index.tiles.TileTable` is one."""

    @property
    def count(self) -> int: ...

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def positions(
        self, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def tiles(self, ids: ArrayLike) -> list[Tile]: ...

    def near(self, lat: float, lon: float, radius_m: float) -> NDArray[np.int64]: ...

    def around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> list[NDArray[np.int64]]: ...

    def having(
        self, extents_m: tuple[float, ...], sources: tuple[str, ...]
    ) -> NDArray[np.int64]: ...

    def close(self) -> None: ...


class Index:
    """An open index. Made by :meth:`open`; use as a context manager or call :meth:`close`. Safe in several threads.

    Attributes:
        path: its folder.
        manifest: all facts about it.
        hash: of the manifest, and through its checksums of the whole index.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        vectors: VectorStore,
        table: Table,
        imagery: Path | None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.hash = manifest.hash
        self._vectors = vectors
        self._table = table
        self._imagery_path = imagery
        self._imagery: AerialSource | None = None
        self._held = HeldImagery(path, path / manifest.folder, manifest, imagery)
        self._lock = threading.Lock()

    @staticmethod
    def open(
        path: Path | str,
        encoder: NamedEncoder | None = None,
        *,
        imagery: Path | None = None,
    ) -> Index:
        """Open an index; its vectors are mapped, not read.

        Args:
            path: the folder ``NAME.index``, or its ``manifest.json``.
            encoder: refuse the index unless it was built with this one.
            imagery: the original imagery, for an index that does not hold its own; else a file of the same name
                beside the index is taken.

        Raises:
            IndexFolderError: it is no index, half built, damaged, unsafe, or another encoder's.
        """
        folder = index_folder(path)
        manifest = read_manifest(folder)
        if encoder is not None:
            check_encoder(folder, manifest, encoder)
        files = files_folder(folder, manifest)
        for name, facts in manifest.files.items():
            check_file(files, name, facts.bytes)
        for stray in files.glob("vectors.*"):
            if stray.name not in manifest.files:
                raise IndexFolderError(f"the manifest does not list {stray.name}", folder, _AGAIN)
        vectors = open_store(files, manifest)
        try:
            if manifest.version == 1:
                table: Table = TileTable(files / TILES_FILE, manifest.count)
            else:
                table = MappedTiles(files, manifest)
        except BaseException:
            vectors.close()
            raise
        return Index(folder, manifest, vectors, table, imagery)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        allowed: Allowed | None = None,
        report: Report = silent,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The best ``k`` tiles for every query, by inner product.

        Args:
            queries: [Q, D].
            allowed: the tiles that may answer (see :meth:`select`); None: all. The filter acts inside the search: ten
                results mean ten.
            report: raising :class:`engine.errors.Cancelled` from it ends the search.

        Returns:
            Scores [Q, k] and tile ids [Q, k], best first, equal scores by id; fewer columns where fewer tiles may
            answer.
        """
        return self._vectors.search(queries, k, allowed, report)

    def select(self, filter: Filter) -> Allowed:
        """The tiles that a filter lets answer."""
        return select(filter, self._table)

    def vectors(self, ids: ArrayLike) -> NDArray[np.float32]:
        """The descriptors of tiles [n, D], as they are kept (rounded to 8 or 16 bits)."""
        return self._vectors.vectors(ids)

    def tiles(self, ids: ArrayLike) -> list[Tile]:
        """Tiles by id, in the order asked for."""
        return self._table.tiles(ids)

    @property
    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [N] and longitudes [N] of all tiles, by id; read when first asked for."""
        return self._table.centres()

    def positions(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [n] and longitudes [n] of tiles."""
        return self._table.positions(ids)

    def near(self, lat: float, lon: float, radius_m: float) -> NDArray[np.int64]:
        """Ids of the tiles whose centres lie within ``radius_m`` of a position, nearest first."""
        return self._table.near(lat, lon, radius_m)

    def around(
        self, lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float
    ) -> list[NDArray[np.int64]]:
        """Ids of the tiles within ``radius_m`` (a few tiles' distances) of each of several positions."""
        return self._table.around(lats, lons, radius_m)

    def within(self, area: Area) -> NDArray[np.int64]:
        """Ids of the tiles whose centres lie in an area."""
        if isinstance(self._table, MappedTiles):
            return self._table.within(area)
        return np.flatnonzero(area.contains(*self.centres)).astype(np.int64)

    @property
    def extents(self) -> NDArray[np.float32]:
        """Metres along each tile's side [N], by id; 0 of photos."""
        if isinstance(self._table, MappedTiles):
            return self._table.extents
        return np.broadcast_to(np.float32(self.manifest.extent_m), (self.manifest.count,))

    @property
    def sources(self) -> NDArray[np.uint16]:
        """Which of the manifest's imageries each tile is from [N], by id."""
        if isinstance(self._table, MappedTiles):
            return self._table.sources
        return np.broadcast_to(np.uint16(0), (self.manifest.count,))

    @property
    def coverage(self) -> Bounds:
        """The box that all tiles lie in."""
        return self.manifest.coverage

    @property
    def imagery(self) -> AerialSource:
        """The imagery the tiles were cut from, all of it as one; opened when first asked for.

        Raises:
            ImageryError: the index does not hold it and it was not found, it is not the same, or the rows are
                pictures.
        """
        with self._lock:
            if self._imagery is None:
                self._imagery = self._open_imagery()
            return self._imagery

    def crop(
        self, tile_id: int, pixels: int, *, extent_m: float | None = None, missing: int = 0
    ) -> NDArray[np.uint8]:
        """What a tile looks like: uint8 [P, P, 3], north up. A photo is seen whole, with a margin.

        Args:
            extent_m: metres along a side, about the tile's centre; None: the tile's own.
            missing: the value of pixels where the imagery has nothing.

        Raises:
            ImageryError: see :attr:`imagery`.
        """
        (tile,) = self.tiles([tile_id])
        if tile.picture is not None:
            from engine.imagery.pictures import letterboxed

            return letterboxed(self.picture(tile_id), pixels, missing)
        extent = tile.extent_m if extent_m is None else extent_m
        several = len(self.manifest.imagery) > 1
        imagery = self._held.aerial(tile.source_number) if several else self.imagery
        return imagery.cut(tile.lat, tile.lon, extent, pixels, missing=missing)[0]

    def picture(self, tile_id: int) -> NDArray[np.uint8]:
        """The whole picture [H, W, 3], upright, of a reference that is one: a photo, or a dataset's tile.

        Raises:
            ImageryError: it is none, or the index does not hold it and it was not found where it lay.
        """
        (tile,) = self.tiles([tile_id])
        if tile.picture is None:
            raise ImageryError("its tiles are cut from imagery; they are no pictures", self.path)
        return self._held.picture(tile.source_number, tile.picture)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            if self._imagery is not None:
                self._imagery.close()
                self._imagery = None
            self._held.close()
        self._table.close()
        self._vectors.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_imagery(self) -> AerialSource:
        return self._held.whole()


def index_folder(path: Path | str) -> Path:
    """The folder of a whole index.

    Raises:
        IndexFolderError: nothing is there, or it is still being built.
    """
    folder = Path(path)
    if folder.name == MANIFEST_FILE:
        folder = folder.parent
    if not folder.exists():
        raise IndexFolderError("there is no such index", folder, "Check the path")
    if not folder.is_dir():
        raise IndexFolderError("this file is no index", folder, "Choose a folder NAME.index")
    if (folder / BUILDING / SHARD_FILE).is_file():
        raise IndexFolderError(
            "this is a share of an index", folder, "Put all shares together with: nadir index merge"
        )
    if (folder / BUILDING).is_dir() and not (folder / MANIFEST_FILE).exists():
        raise IndexFolderError(
            "this index is not finished", folder, f"Continue with: {resume_command(folder)}"
        )
    return folder


def files_folder(folder: Path, manifest: Manifest) -> Path:
    """Where the files of an index lie.

    Raises:
        IndexFolderError: the manifest names a folder inside the index that is not there, or a link.
    """
    if not manifest.folder:
        return folder
    files = folder / manifest.folder
    if files.is_symlink() or not files.is_dir():
        raise IndexFolderError(f"its folder {manifest.folder} is missing", folder, _AGAIN)
    return files


def check_encoder(folder: Path, manifest: Manifest, encoder: NamedEncoder) -> None:
    """Refuse an encoder whose descriptors are not the index's.

    Raises:
        IndexFolderError: naming both.
    """
    if encoder.hash == manifest.encoder_hash:
        return
    ours, theirs = encoder.card.name, manifest.encoder_name
    if ours == theirs:
        ours = f"{ours} ({encoder.hash[:8]})"
        theirs = f"{theirs} ({manifest.encoder_hash[:8]})"
    raise IndexFolderError(
        f"this index was built with the encoder {theirs}, not with {ours}",
        folder,
        f"Use the encoder {theirs}, or build the index again with {ours}",
    )


def check_file(folder: Path, name: str, size: int) -> None:
    """Check that a file of the index is there and as long as the manifest says.

    Raises:
        IndexFolderError: naming the file.
    """
    file = folder / name
    try:
        if file.is_symlink():
            raise IndexFolderError(
                f"{name} is missing: there is only a link of that name",
                folder,
                "Copy the file there",
            )
        if not file.is_file():
            raise IndexFolderError(f"{name} is missing", folder, _AGAIN)
        found = file.stat().st_size
    except OSError as error:
        raise IndexFolderError(f"{name} cannot be read ({error.strerror})", folder) from error
    if found != size:
        raise IndexFolderError(
            f"{name} has {found:,} bytes where the manifest says {size:,}", folder, _AGAIN
        )
