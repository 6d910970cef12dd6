"""A raster file as an aerial source: GeoTIFF and COG in any CRS, through rasterio."""

from __future__ import annotations

import hashlib
import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from engine.errors import ImageryError
from engine.geo import Bounds, LocalFrame, wrap_longitude
from engine.imagery.bands import BandRule, band_rule
from engine.imagery.geotiff import copy_pixels, read_tags
from engine.imagery.resample import (
    WGS84,
    Grid,
    cut_tiles,
    epsg_code,
    project,
    render,
    to_raster,
    world_width,
)
from engine.progress import Report, silent

_BLOCK_MAX_BYTES = 1 << 29  # of one block, decoded; larger ones could not be read in bounded memory
_SAMPLED_BYTES, _SAMPLES = 1 << 16, 256  # a fingerprint reads no more than 16 MB of a file
_DRIVER = "GTiff"  # other drivers can reach other files, or the network
_DAMAGED = "It may be damaged or incomplete: copy or download it again"


class RasterSource:
    """One GeoTIFF; see :class:`engine.imagery.AerialSource`.

    Args:
        path: the file.
        sidecars: whether files beside it (``.ovr``, ``.msk``, ``.aux.xml``) may say something about it.

    Raises:
        ImageryError: it is no GeoTIFF, is damaged, or does not say where on the Earth it lies.
    """

    def __init__(self, path: Path | str, *, sidecars: bool = True) -> None:
        self.path = Path(path).absolute()
        self._lock = threading.Lock()
        self._sidecars = sidecars
        self._fingerprint = ""
        try:
            with self._environment():
                with warnings.catch_warnings():  # _look says it better
                    warnings.simplefilter("ignore", NotGeoreferencedWarning)
                    self._dataset = rasterio.open(self.path, driver=_DRIVER)
                try:
                    self._look()
                except BaseException:
                    self._dataset.close()
                    raise
        except CRSError as error:
            raise ImageryError(
                "its coordinate system is not one that can be placed on the Earth", self.path
            ) from error
        except (RasterioError, OSError, ValueError) as error:
            raise ImageryError(
                f"this file cannot be read as a GeoTIFF ({_reason(error)})", self.path, _DAMAGED
            ) from error

    def _environment(self) -> rasterio.Env:
        return rasterio.Env(
            GDAL_DISABLE_READDIR_ON_OPEN="FALSE" if self._sidecars else "EMPTY_DIR",
            GDAL_PAM_ENABLED=self._sidecars,
        )

    def _look(self) -> None:
        """Read all facts; called once with the file open."""
        dataset = self._dataset
        if dataset.crs is None or dataset.transform.is_identity:
            what = "ground control points" if dataset.gcps[0] else "no coordinates"
            raise ImageryError(
                f"it has {what} where a georeferenced image has a coordinate system and a transform",
                self.path,
                "Georeference it first, for example with gdalwarp or QGIS",
            )
        if dataset.transform.determinant == 0:
            raise ImageryError("its pixels have no size on the ground", self.path)
        heaviest = max(
            height * width * np.dtype(kind).itemsize
            for (height, width), kind in zip(dataset.block_shapes, dataset.dtypes, strict=True)
        )
        if heaviest * dataset.count > _BLOCK_MAX_BYTES and dataset.compression is not None:
            raise ImageryError(
                "it is compressed in one huge piece, which cannot be read part by part",
                self.path,
                "Write it again in tiles: gdal_translate -co TILED=YES",
            )
        self.raster_crs: CRS = dataset.crs
        self.period = world_width(self.raster_crs)
        self.transform: Affine = dataset.transform
        self.shape: tuple[int, int] = (dataset.height, dataset.width)
        self.bounds = self._bounds()
        self.resolution_m = self._resolution()
        code = epsg_code(self.raster_crs)
        self.crs = f"EPSG:{code}" if code else _crs_name(self.raster_crs)
        tags = read_tags(dataset)
        self.attribution = tags.attribution
        self.licence = tags.licence
        self.name = self.path.stem
        self._rule: BandRule = band_rule(dataset)
        flags = {flag for band in dataset.mask_flag_enums for flag in band}
        self._masked = flags != {MaskFlags.all_valid}
        self._floats = any("float" in dataset.dtypes[b - 1] for b in self._rule.bands)
        self.gaps = self._masked or self._floats
        self.notes = self._rule.notes

    def cut(
        self, lat: float, lon: float, extent_m: float, pixels: int, *, missing: int = 0
    ) -> tuple[NDArray[np.uint8], float]:
        """See :meth:`AerialSource.cut`."""
        tiles, shares = self.cut_many([lat], [lon], extent_m, pixels, missing=missing)
        return tiles[0], float(shares[0])

    def cut_many(
        self,
        lats: ArrayLike,
        lons: ArrayLike,
        extent_m: float,
        pixels: int,
        *,
        missing: int = 0,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """See :meth:`AerialSource.cut_many`."""
        return cut_tiles(self, lats, lons, extent_m, pixels, missing)

    def render(self, grid: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The imagery on any grid of local metres: pixels [height, width, 3] and which of them are valid."""
        return render(self, grid)

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pixels of a window, averaged down to ``columns`` by ``rows``; see ``PixelReader``."""
        window = Window(left, top, right - left, bottom - top)  # pyright: ignore[reportCallIssue]
        same = (columns, rows) == (right - left, bottom - top)
        how = Resampling.nearest if same or self._rule.palette is not None else Resampling.average
        bands = self._rule.bands
        one = bands[0] if len(set(bands)) == 1 else None
        mask: NDArray[np.uint8] | None = None
        try:
            with self._lock, self._environment():
                wanted = [one] if one else list(bands)
                values = self._dataset.read(
                    wanted, window=window, out_shape=(len(wanted), rows, columns), resampling=how
                )
                if self._masked:
                    mask = self._dataset.dataset_mask(
                        window=window, out_shape=(rows, columns), resampling=Resampling.nearest
                    )
        except (RasterioError, OSError, ValueError) as error:
            raise ImageryError(
                f"part of the imagery cannot be read ({_reason(error)})", self.path, _DAMAGED
            ) from error
        if self._floats:
            good = np.isfinite(values).all(axis=0)
            if not good.all():
                mask = np.where(good, 255 if mask is None else mask, 0).astype(np.uint8)
        if one:
            values = np.broadcast_to(values, (3, rows, columns))
        if mask is not None and mask.all():
            mask = None
        return self._rule.to_rgb(values), mask

    def fingerprint(self) -> str:
        """See :meth:`AerialSource.fingerprint`: of the file's size and of parts spread all over it."""
        if not self._fingerprint:
            try:
                self._fingerprint = _fingerprint(self.path)
            except OSError as error:
                raise ImageryError(
                    f"it can no longer be read ({error.strerror})", self.path
                ) from error
        return self._fingerprint

    def write_copy(self, path: Path, bounds: Bounds, report: Report = silent) -> None:
        """See :meth:`AerialSource.write_copy`. A file that is compact already is copied as it is: nothing is lost."""
        left, top, right, bottom = self._window(bounds)
        rows, columns = self.shape
        share = (right - left) * (bottom - top) / (rows * columns)
        dataset = self._dataset
        plain = set(dataset.dtypes[:3]) == {"uint8"} and self._rule.bands == (1, 2, 3)
        compact = dataset.compression is not None and self._small()
        if share > 0.6 and plain and compact and len(dataset.files) == 1:
            report(0, 1, "copying the imagery")
            shutil.copyfile(self.path, path)
            report(1, 1, "copying the imagery")
            return
        copy_pixels(
            self,
            path,
            (left, top, right, bottom),
            attribution=self.attribution,
            licence=self.licence,
            report=report,
        )

    def _small(self) -> bool:
        """Whether the file spends no more on a pixel than a good JPEG would."""
        rows, columns = self.shape
        return self.path.stat().st_size <= 1.0 * rows * columns

    def _window(self, bounds: Bounds) -> tuple[int, int, int, int]:
        """The window (left, top, right, bottom) of pixels that holds all of a box."""
        rows, columns = self.shape
        width = bounds.width_deg
        lons = bounds.west + np.linspace(0, width, 17)
        lats = np.linspace(bounds.south, bounds.north, 17)
        grid = np.meshgrid(lats, lons)
        column, row = to_raster(self, grid[0].ravel(), grid[1].ravel())
        good = np.isfinite(column) & np.isfinite(row)
        if not good.any():
            return 0, 0, columns, rows
        left = max(0, int(np.floor(column[good].min())) - 2)
        top = max(0, int(np.floor(row[good].min())) - 2)
        right = min(columns, int(np.ceil(column[good].max())) + 2)
        bottom = min(rows, int(np.ceil(row[good].max())) + 2)
        if right <= left or bottom <= top:
            raise ImageryError("it does not cover the area asked for", self.path)
        return left, top, right, bottom

    def _bounds(self) -> Bounds:
        rows, columns = self.shape
        # The rim is enough: no pole lies inside what Nadir reads.
        t = np.linspace(0, 1, 33)
        edge_x = np.concatenate([t, np.ones(33), t, np.zeros(33)]) * columns
        edge_y = np.concatenate([np.zeros(33), t, np.ones(33), t]) * rows
        affine = self.transform
        xs = affine.a * edge_x + affine.b * edge_y + affine.c
        ys = affine.d * edge_x + affine.e * edge_y + affine.f
        middle_x, middle_y = affine @ (columns / 2, rows / 2)
        lons, lats = project(self.raster_crs, WGS84, [*xs, middle_x], [*ys, middle_y])
        good = np.isfinite(lons) & np.isfinite(lats)
        if not good[-1] or good.sum() < 4 or np.abs(lats[good]).max() > 90.001:
            raise ImageryError(
                "its coordinates do not lie on the Earth in its coordinate system",
                self.path,
                "Check that its coordinate system is the right one",
            )
        if self.period and np.ptp(xs) >= self.period * 0.999:
            return Bounds(float(lats[good].min()), -180.0, float(lats[good].max()), 180.0)
        around = (lons[good] - lons[-1] + 180.0) % 360.0 - 180.0
        return Bounds(
            float(lats[good].min()),
            float(wrap_longitude(lons[-1] + around.min())),
            float(lats[good].max()),
            float(wrap_longitude(lons[-1] + around.max())),
        )

    def _resolution(self) -> float:
        """From the ground covered by one square metre at the middle, whatever the CRS calls a metre."""
        frame = LocalFrame(*self.bounds.centre)
        per_side = 1.0
        lats, lons = frame.to_wgs84(np.array([0.0, per_side, 0.0]), np.array([0.0, 0.0, per_side]))
        column, row = to_raster(self, lats, lons)
        area = (column[1] - column[0]) * (row[2] - row[0]) - (column[2] - column[0]) * (
            row[1] - row[0]
        )
        if not np.isfinite(area) or area == 0:
            raise ImageryError("its pixels have no size on the ground", self.path)
        return float(per_side / np.sqrt(abs(area)))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._dataset.close()

    def __enter__(self) -> RasterSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(f"nadir imagery 1, {size} bytes\n".encode())
    starts: Any = range(0, size, _SAMPLED_BYTES)
    if len(starts) > _SAMPLES:
        starts = np.linspace(0, size - _SAMPLED_BYTES, _SAMPLES).astype(np.int64).tolist()
    with open(path, "rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def _crs_name(crs: CRS) -> str:
    name = crs.to_wkt().split('"')
    return name[1] if len(name) > 1 else "unnamed"


def _reason(error: BaseException) -> str:
    text = str(error).split("\n")[0].strip().rstrip(".")
    return text[:120] or type(error).__name__
