"""What an aerial source is, and how a file or folder becomes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.progress import Report, silent

if TYPE_CHECKING:
    from engine.imagery.pictures import PictureSource


class AerialSource(Protocol):
    """Aerial pixels that know where they are. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """For people: usually the file's name without its ending."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The box of latitudes and longitudes that the pixels lie in, WGS84."""
        ...

    @property
    def resolution_m(self) -> float:
        """Metres on the ground that one pixel spans, at the middle of the imagery."""
        ...

    @property
    def crs(self) -> str:
        """The coordinate reference system: ``EPSG:28992`` where it has such a name, else its own."""
        ...

    @property
    def attribution(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while reading, for people: bands, stretching, nodata."""
        ...

    def cut(
        self, lat: float, lon: float, extent_m: float, pixels: int, *, missing: int = 0
    ) -> tuple[NDArray[np.uint8], float]:
        """Cut one reference tile: north up, square in metres at its own latitude.

        Args:
            lat, lon: the centre, WGS84; it lies between the middle pixels.
            extent_m: metres along one side.
            pixels: P, pixels along one side.
            missing: the value of pixels where the imagery has nothing, 0 (black) to 255 (white).

        Returns:
            uint8 [P, P, 3], and the share of pixels where it has something.
        """
        ...

    def cut_many(
        self,
        lats: ArrayLike,
        lons: ArrayLike,
        extent_m: float,
        pixels: int,
        *,
        missing: int = 0,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """:meth:`cut` for many centres, uint8 [N, P, P, 3] and float32 [N].

        What tiles share is read and warped once. It is fastest when the centres stand on a regular grid whose
        step is a whole number of tile pixels; others may be moved by an eighth of a pixel at most.
        """
        ...

    def fingerprint(self) -> str:
        """Tells this imagery from any other, wherever the file lies: hexadecimal."""
        ...

    def write_copy(self, path: Path, bounds: Bounds, report: Report = silent) -> None:
        """Write what lies inside ``bounds`` as one GeoTIFF that stands alone, in its own CRS and resolution."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class SourceKind:
    """A kind of imagery: how to recognise it by its path, and how to open it."""

    name: str
    matches: Callable[[Path], bool]
    open: Callable[[Path], AerialSource]


def _open_geotiff(path: Path) -> AerialSource:
    from engine.imagery.raster import RasterSource

    return RasterSource(path)


def _open_mbtiles(path: Path) -> AerialSource:
    from engine.imagery.mbtiles import open_mbtiles

    return open_mbtiles(path)


def _is_tile_folder(path: Path) -> bool:
    from engine.imagery.tile_folder import is_tile_folder

    return is_tile_folder(path)


def _open_tile_folder(path: Path) -> AerialSource:
    from engine.imagery.tile_folder import open_tile_folder

    return open_tile_folder(path)


def _is_raster_folder(path: Path) -> bool:
    from engine.imagery.folder import holds_rasters

    return path.is_dir() and holds_rasters(path)


def _open_raster_folder(path: Path) -> AerialSource:
    from engine.imagery.folder import open_folder

    return open_folder(path)


def _open_vrt(path: Path) -> AerialSource:
    from engine.imagery.vrt import open_vrt

    return open_vrt(path)


KINDS: tuple[SourceKind, ...] = (
    SourceKind(
        "GeoTIFF",
        lambda path: path.is_file() and path.suffix.lower() in (".tif", ".tiff", ".gtiff"),
        _open_geotiff,
    ),
    SourceKind(
        "MBTiles",
        lambda path: path.is_file() and path.suffix.lower() in (".mbtiles", ".tiles"),
        _open_mbtiles,
    ),
    SourceKind("VRT", lambda path: path.is_file() and path.suffix.lower() == ".vrt", _open_vrt),
    SourceKind("z/x/y folder", _is_tile_folder, _open_tile_folder),
    SourceKind("folder of GeoTIFFs", _is_raster_folder, _open_raster_folder),
)


def open_imagery(path: Path | str, kinds: tuple[SourceKind, ...] = KINDS) -> AerialSource:
    """Open aerial imagery of any known kind.

    Raises:
        ImageryError: nothing is there, the kind is not known, or it cannot be read or placed on the Earth.
    """
    path = Path(path)
    if not path.exists():
        raise ImageryError("there is no such imagery", path, "Check the path")
    for kind in kinds:
        if kind.matches(path):
            return kind.open(path)
    known = ", ".join(kind.name for kind in kinds)
    what = "folder" if path.is_dir() else "file"
    raise ImageryError(f"this {what} is no imagery that Nadir reads", path, f"It reads: {known}")


def open_source(
    path: Path | str,
    *,
    kind: Literal["aerial", "street"] | None = None,
    extent_m: float | None = None,
    report: Report = silent,
) -> AerialSource | PictureSource:
    """Open whatever an index can be built from: imagery that tiles are cut from, or pictures with places of their own.

    Args:
        kind: the path is a folder or table of pictures, of this kind; None: found out.
        extent_m: metres along the side of pictures that are tiles.

    Raises:
        ImageryError: see :func:`open_imagery` and :func:`engine.imagery.pictures.open_pictures`.
    """
    from engine.imagery.pictures import open_pictures
    from engine.imagery.pictures.tables import ENDINGS as TABLES

    path = Path(path)
    table = path.is_file() and path.suffix.lower() in TABLES
    if kind is not None or table:
        return open_pictures(path, kind=kind, extent_m=extent_m, report=report)
    if path.is_dir() and not any(one.matches(path) for one in KINDS):
        return open_pictures(path, extent_m=extent_m, report=report)
    return open_imagery(path)
