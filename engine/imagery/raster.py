"""A raster file as an aerial source: GeoTIFF, COG and VRT in any CRS, through rasterio."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from engine.errors import ImageryError
from engine.geo import Bounds
from engine.imagery.bands import BandRule, band_rule
from engine.imagery.cutting import Cuts
from engine.imagery.facts import DAMAGED, RasterFacts, open_dataset, read_facts, reason
from engine.imagery.footprint import box_of, resolution_of, ring_of, window_of
from engine.imagery.geotiff import copy_pixels
from engine.imagery.handles import Handles, environment
from engine.imagery.projection import crs_name, world_width
from engine.imagery.rendered import Rendered
from engine.progress import Report, silent

_SAMPLED_BYTES, _SAMPLES = 1 << 16, 256  # a fingerprint reads no more than 16 MB of a file
_GEOTIFF = "GTiff"  # other drivers can reach other files, or the network

FloatArray = NDArray[np.float64]


class RasterSource(Cuts):
    """One raster file; see :class:`engine.imagery.AerialSource`.

    Args:
        path: the file.
        sidecars: whether files beside it (``.ovr``, ``.msk``, ``.aux.xml``) may say something about it.
        vrt: the checked description where the file is a VRT; see :mod:`engine.imagery.vrt`.

    Raises:
        ImageryError: it is no raster of that kind, is damaged, or does not say where on the Earth it lies.
    """

    kind = "GeoTIFF"

    def __init__(self, path: Path | str, *, sidecars: bool = True, vrt: str | None = None) -> None:
        self.path = Path(path).absolute()
        self._sidecars = sidecars
        self._vrt = vrt
        self._fingerprint = ""
        self._handles = Handles()
        with environment(sidecars):
            dataset = self._open()
            try:
                self._look(dataset)
            except BaseException:
                dataset.close()
                raise
        self._handles.give(self.path, dataset)

    def _open(self) -> DatasetReader:
        if self._vrt is not None:
            return open_dataset(self.path, self._vrt, "VRT")
        return open_dataset(self.path, str(self.path), _GEOTIFF, sidecars=self._sidecars)

    def _look(self, dataset: DatasetReader) -> None:
        """Read all facts; called once with the file open."""
        facts = self.facts = read_facts(self.path, dataset)
        self.raster_crs: CRS = facts.crs
        self.transform: Affine = facts.transform
        self.shape: tuple[int, int] = facts.shape
        try:
            self.period = world_width(facts.crs)
            box = box_of(self)
            self.resolution_m = np.nan if box is None else resolution_of(self, box.centre)
            rule = self._rule = band_rule(dataset)
        except CRSError as error:
            raise nowhere(self.path) from error
        except (RasterioError, OSError, ValueError) as error:
            raise ImageryError(
                f"part of the imagery cannot be read ({reason(error)})", self.path, DAMAGED
            ) from error
        if box is None:
            raise nowhere(self.path)
        if not np.isfinite(self.resolution_m):
            raise ImageryError("its pixels have no size on the ground", self.path)
        self.bounds: Bounds = box
        self.crs = crs_name(facts.crs)
        self.attribution, self.licence = facts.attribution, facts.licence
        self.name = self.path.stem
        self.gaps = has_gaps(facts, rule)
        self.notes: tuple[str, ...] = rule.notes

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pixels of a window, averaged down to ``columns`` by ``rows``; see ``PixelReader``."""
        with environment(self._sidecars), self._handles.borrow(self.path, self._open) as dataset:
            return read_window(
                dataset, self.facts, self._rule, (left, top, right, bottom), columns, rows
            )

    def outline(self) -> list[FloatArray]:
        """The rectangle, turned as it lies: one ring [n, 2] of longitude and latitude."""
        return [ring_of(self)]

    def fingerprint(self) -> str:
        """See :meth:`AerialSource.fingerprint`: of the file's size and of parts spread all over it."""
        if not self._fingerprint:
            self._fingerprint = file_fingerprint(self.path)
        return self._fingerprint

    def write_copy(self, path: Path, bounds: Bounds, report: Report = silent) -> None:
        """See :meth:`AerialSource.write_copy`. A file that is compact already is copied as it is: nothing is lost."""
        window = window_of(self, bounds)
        if window is None:  # it lies on both ends of the raster
            copied = Rendered.around(self, bounds, self.resolution_m)
            window = (0, 0, copied.shape[1], copied.shape[0])
        else:
            copied = self
        left, top, right, bottom = window
        if right <= left:
            raise ImageryError("it does not cover the area asked for", self.path)
        rows, columns = self.shape
        share = (right - left) * (bottom - top) / (rows * columns)
        plain = set(self.facts.dtypes[:3]) == {"uint8"} and self._rule.bands == (1, 2, 3)
        compact = self.facts.compression is not None and self._small() and copied is self
        if share > 0.6 and plain and compact and self.facts.alone and self._vrt is None:
            report(0, 1, "copying the imagery")
            shutil.copyfile(self.path, path)
            report(1, 1, "copying the imagery")
            return
        copy_pixels(
            copied,
            path,
            window,
            attribution=self.attribution,
            licence=self.licence,
            report=report,
        )

    def _small(self) -> bool:
        """Whether the file spends no more on a pixel than a good JPEG would."""
        rows, columns = self.shape
        return self.path.stat().st_size <= 1.0 * rows * columns

    def close(self) -> None:
        """Close the file."""
        self._handles.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def has_gaps(facts: RasterFacts, rule: BandRule) -> bool:
    """Whether some pixels may be nothing."""
    return facts.masked or any("float" in facts.dtypes[band - 1] for band in rule.bands)


def read_window(
    dataset: DatasetReader,
    facts: RasterFacts,
    rule: BandRule,
    box: tuple[int, int, int, int],
    columns: int,
    rows: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Read a window (left, top, right, bottom) of an open raster as colours; see ``PixelReader.read``.

    Raises:
        ImageryError: it cannot be read.
    """
    left, top, right, bottom = box
    window = Window(left, top, right - left, bottom - top)  # pyright: ignore[reportCallIssue]
    same = (columns, rows) == (right - left, bottom - top)
    how = Resampling.nearest if same or rule.palette is not None else Resampling.average
    one = rule.bands[0] if len(set(rule.bands)) == 1 else None
    mask: NDArray[np.uint8] | None = None
    try:
        wanted = [one] if one else list(rule.bands)
        values = dataset.read(
            wanted, window=window, out_shape=(len(wanted), rows, columns), resampling=how
        )
        if facts.masked:
            nearest: Literal[Resampling.nearest] = Resampling.nearest
            mask = dataset.dataset_mask(
                window=window, out_shape=(rows, columns), resampling=nearest
            )
    except (RasterioError, OSError, ValueError, MemoryError) as error:
        raise ImageryError(
            f"part of the imagery cannot be read ({reason(error)})", facts.path, DAMAGED
        ) from error
    if mask is not None:
        mask = np.where(mask >= 128, np.uint8(255), np.uint8(0))
    if values.dtype.kind == "f":
        good = np.isfinite(values).all(axis=0)
        if not good.all():
            mask = np.where(good, 255 if mask is None else mask, 0).astype(np.uint8)
    if one:
        values = np.broadcast_to(values, (3, rows, columns))
    if mask is not None and mask.all():
        mask = None
    return rule.to_rgb(values), mask


def nowhere(path: Path) -> ImageryError:
    """The error for coordinates that lie nowhere."""
    return ImageryError(
        "its coordinates do not lie on the Earth in its coordinate system",
        path,
        "Check that its coordinate system is the right one",
    )


def file_fingerprint(path: Path, samples: int = _SAMPLES) -> str:
    """Tells a file from any other: by its size and ``samples`` parts of it, from the first to the last bytes.

    Raises:
        ImageryError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(f"nadir imagery 1, {size} bytes\n".encode())
        starts: Any = range(0, size, _SAMPLED_BYTES)
        if len(starts) > samples:
            starts = np.linspace(0, size - _SAMPLED_BYTES, samples).astype(np.int64).tolist()
        with open(path, "rb") as file:
            for start in starts:
                file.seek(start)
                digest.update(file.read(_SAMPLED_BYTES))
    except OSError as error:
        raise ImageryError(f"it can no longer be read ({error.strerror})", path) from error
    return digest.hexdigest()
