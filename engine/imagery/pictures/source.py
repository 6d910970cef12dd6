"""Pictures that know where they lie, each a reference of its own: a dataset's tiles, or photos of the street."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError, PhotoError
from engine.geo import Bounds, metres_per_degree
from engine.imagery.pictures.kinds import Kind
from engine.imagery.pictures.pixels import read_pixels
from engine.imagery.pictures.scan import Scan, scan
from engine.photo.glance import glance
from engine.progress import Report, silent

FloatArray = NDArray[np.float64]

_MOST_RINGS = 2000
_HEADS, _HEAD_BYTES = 64, 1 << 16  # of so many files a fingerprint reads so much


@runtime_checkable
class PictureSource(Protocol):
    """Pictures numbered 0 .. N - 1, each with its place. Safe to use from several threads."""

    @property
    def kind(self) -> Kind:
        """``aerial``: north-up tiles seen from above; ``street``: photos from the ground."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def bounds(self) -> Bounds:
        """The box of the places (tiles reach half their extent beyond it)."""
        ...

    @property
    def crs(self) -> str: ...

    @property
    def resolution_m(self) -> float:
        """Metres on the ground that a tile's pixel spans, of the median tile; 0 for photos."""
        ...

    @property
    def attribution(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided, and what was left out, for people."""
        ...

    def places(self) -> tuple[FloatArray, FloatArray]:
        """Latitudes [N] and longitudes [N] of the tiles' centres, or of the cameras, WGS84."""
        ...

    def headings(self) -> FloatArray:
        """[N] degrees clockwise from north of the centre columns; NaN where not known. Of tiles 0."""
        ...

    def extents_m(self) -> FloatArray | None:
        """[N] metres along the tiles' sides; None for photos, which have none."""
        ...

    def read(self, number: int) -> NDArray[np.uint8]:
        """The pixels of a picture, uint8 [H, W, 3], upright.

        Raises:
            ImageryError: it is gone, or no whole picture.
        """
        ...

    def file_name(self, number: int) -> str:
        """Of a picture's file, with the folders below the source's own."""
        ...

    def fingerprint(self) -> str:
        """Tells these pictures from any others, wherever they lie: hexadecimal."""
        ...

    def write_copy(self, path: Path, numbers: NDArray[np.int64], report: Report = silent) -> None:
        """Write pictures into one file that stands alone, their bytes as they are; see
        :mod:`engine.imagery.pictures.store`. They keep their numbers.

        Raises:
            ImageryError: a picture is gone or has changed.
            OSError: the file cannot be written.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_pictures(
    path: Path | str,
    *,
    kind: Kind | None = None,
    extent_m: float | None = None,
    report: Report = silent,
) -> PictureFolder:
    """Open a folder of pictures, or a table of pictures that lie beside it.

    Args:
        kind: which are meant where there are tiles and photos, and what they are where nothing says.
        extent_m: metres along a tile's side; None: as the dataset says.

    Raises:
        ImageryError: see :func:`engine.imagery.pictures.scan.scan`.
    """
    path = Path(path)
    if not path.exists():
        raise ImageryError("there is no such imagery", path, "Check the path")
    return PictureFolder(path, scan(path, kind, extent_m, report))


class PictureFolder:
    """Pictures where they lie; see :class:`PictureSource`.

    Attributes:
        path: the folder or table that was opened.
    """

    crs = "EPSG:4326"
    attribution = ""
    licence = ""

    def __init__(self, path: Path, found: Scan) -> None:
        self.path = path.absolute()
        self._found = found
        self.kind: Kind = found.kind
        self.name = path.stem if path.is_file() else path.resolve().name
        self.bounds = bounds_of(found.lat, found.lon)
        self.resolution_m = self._resolution()
        self.notes = found.notes

    def __len__(self) -> int:
        return len(self._found.files)

    @property
    def bytes(self) -> int:
        """Of all its pictures' files."""
        return int(self._found.sizes.sum())

    @property
    def files(self) -> int:
        """How many pictures there are."""
        return len(self._found.files)

    def outline(self) -> list[FloatArray]:
        """The tiles' footprints, rings [4, 2] of longitude and latitude; none of photos, and none of very many."""
        if self.kind == "street" or len(self) > _MOST_RINGS:
            return []
        per_lat, per_lon = metres_per_degree(self._found.lat)
        tall, wide = self._found.extent_m / 2 / per_lat, self._found.extent_m / 2 / per_lon
        lat, lon = self._found.lat, self._found.lon
        corners = [(-1, 1), (1, 1), (1, -1), (-1, -1)]
        rings = np.stack([np.stack([lon + x * wide, lat + y * tall], 1) for x, y in corners], 1)
        return list(rings)

    def places(self) -> tuple[FloatArray, FloatArray]:
        """See :meth:`PictureSource.places`."""
        return self._found.lat, self._found.lon

    def headings(self) -> FloatArray:
        """See :meth:`PictureSource.headings`."""
        return self._found.heading_deg

    def extents_m(self) -> FloatArray | None:
        """See :meth:`PictureSource.extents_m`."""
        return self._found.extent_m if self.kind == "aerial" else None

    def read(self, number: int) -> NDArray[np.uint8]:
        """See :meth:`PictureSource.read`."""
        file = self._found.root / self._found.files[number]
        try:
            with open(file, "rb") as stream:
                return read_pixels(stream, str(file))
        except OSError as error:
            raise ImageryError(f"it cannot be read ({error.strerror})", file) from error

    def file_name(self, number: int) -> str:
        """See :meth:`PictureSource.file_name`."""
        return self._found.files[number]

    def fingerprint(self) -> str:
        """See :meth:`PictureSource.fingerprint`: of names, sizes, places, what the dataset says of
        extents, and the heads of some files."""
        found = self._found
        digest = hashlib.sha256(f"nadir-pictures {found.kind} {len(found.files)}\n".encode())
        for file in found.files:
            digest.update(file.encode("utf-8", "surrogateescape") + b"\n")
        for column in (found.lat, found.lon, found.heading_deg, found.said_extent_m, found.sizes):
            digest.update(np.ascontiguousarray(column).tobytes())
        for number in np.unique(
            np.linspace(0, len(found.files) - 1, _HEADS).round().astype(int)
        ).tolist():
            file = found.root / found.files[number]
            try:
                with open(file, "rb") as stream:
                    digest.update(stream.read(_HEAD_BYTES))
            except OSError:
                digest.update(b"unreadable")
        return digest.hexdigest()

    def write_copy(self, path: Path, numbers: NDArray[np.int64], report: Report = silent) -> None:
        """See :meth:`PictureSource.write_copy`."""
        from engine.imagery.pictures.store import Kept, write_store

        found = self._found

        def rows() -> Iterator[Kept]:
            for number in numbers.tolist():
                yield Kept(
                    number,
                    found.files[number],
                    float(found.lat[number]),
                    float(found.lon[number]),
                    float(found.heading_deg[number]),
                    float(found.extent_m[number]),
                    self._bytes(number),
                )

        write_store(path, found.kind, rows(), len(numbers), report)

    def _bytes(self, number: int) -> bytes:
        file = self._found.root / self._found.files[number]
        size = int(self._found.sizes[number])
        try:
            with open(file, "rb") as stream:
                data = stream.read(size + 1)
        except OSError as error:
            raise ImageryError(f"it can no longer be read ({error.strerror})", file) from error
        if len(data) != size:
            raise ImageryError("it has changed since the folder was opened", file, "Begin again")
        return data

    def _resolution(self) -> float:
        if self.kind == "street":
            return 0.0
        extents = self._found.extent_m
        middle = int(np.argsort(extents, kind="stable")[len(extents) // 2])
        try:
            facts = glance(self._found.root / self._found.files[middle]).facts
        except PhotoError:
            return 0.0
        return float(extents[middle]) / max(facts.width, 1)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bounds_of(lats: FloatArray, lons: FloatArray) -> Bounds:
    """The smallest box of latitudes and longitudes around places, also across the 180° meridian."""
    turned = np.sort(np.where(lons >= 180, lons - 360, lons))
    gaps = np.diff(np.append(turned, turned[0] + 360.0))
    widest = int(np.argmax(gaps))
    west, east = turned[(widest + 1) % len(turned)], turned[widest]
    return Bounds(float(lats.min()), float(west), float(lats.max()), float(east))


def spacing_m(lats: FloatArray, lons: FloatArray, most: int = 2000) -> float:
    """The median distance to the nearest other place, metres, of at most ``most`` places; 0 where there is one."""
    per_lat, per_lon = metres_per_degree(float(np.median(lats)))
    places = np.unique(np.stack([lats * per_lat, lons * per_lon], axis=1), axis=0)
    if len(places) < 2:
        return 0.0
    nearest: list[float] = []
    for number in np.unique(np.linspace(0, len(places) - 1, most).round().astype(int)).tolist():
        away = np.hypot(*(places - places[number]).T)
        away[number] = np.inf
        nearest.append(float(away.min()))
    return float(np.median(nearest))
