"""What a raster file says about itself, read once; files that cannot be used are refused here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from engine.errors import ImageryError
from engine.imagery.geotiff import read_tags
from engine.imagery.guard import check_beside, check_dataset

_BLOCK_MAX_BYTES = 1 << 29  # of one block, decoded; larger ones could not be read in bounded memory
_MOST_BANDS = 1024
DAMAGED = "It may be damaged or incomplete: copy or download it again"
_GEOREFERENCE = "Georeference it first, for example with gdalwarp or QGIS"


@dataclass(frozen=True)
class RasterFacts:
    """Facts of one raster file.

    Args:
        crs, transform: from column and row to the coordinate system.
        shape: rows and columns.
        dtypes, colours: of every band.
        masked: whether some pixels may be nothing (nodata, alpha, a mask).
        compression: its name, or None.
        alone: whether the file stands for itself, without others beside it.
    """

    path: Path
    crs: CRS
    transform: Affine
    shape: tuple[int, int]
    dtypes: tuple[str, ...]
    colours: tuple[ColorInterp, ...]
    masked: bool
    compression: str | None
    alone: bool
    attribution: str
    licence: str


def open_dataset(path: Path, name: str, driver: str, *, sidecars: bool = True) -> DatasetReader:
    """Open a raster by ``name`` (a path, or a description) with one driver; inside :func:`handles.environment`.

    Args:
        sidecars: whether files beside it are opened with it, and so have to be checked.

    Raises:
        ImageryError: it cannot be read as what it claims to be, or would open what it must not.
    """
    if sidecars:
        check_beside(path)
    dataset = _open(path, name, driver)
    try:
        check_dataset(path, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset


def _open(path: Path, name: str, driver: str) -> DatasetReader:
    try:
        with warnings.catch_warnings():  # read_facts says it better
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(name, driver=driver)
    except (RasterioError, OSError, ValueError) as error:
        what = "a GeoTIFF" if driver == "GTiff" else f"a {driver}"
        raise ImageryError(
            f"this file cannot be read as {what} ({reason(error)})", path, DAMAGED
        ) from error


def read_facts(path: Path, dataset: DatasetReader) -> RasterFacts:
    """Read what an open raster says.

    Raises:
        ImageryError: it cannot be placed on the Earth, or not be read part by part.
    """
    try:
        return _read_facts(path, dataset)
    except CRSError as error:
        raise ImageryError(
            "its coordinate system is not one that can be placed on the Earth", path
        ) from error
    except (RasterioError, OSError, ValueError) as error:
        raise ImageryError(
            f"this file cannot be read as a GeoTIFF ({reason(error)})", path, DAMAGED
        ) from error


def _read_facts(path: Path, dataset: DatasetReader) -> RasterFacts:
    crs, transform = dataset.crs, dataset.transform
    placed = not transform.is_identity
    if crs is None or not placed:
        if dataset.gcps[0] and not placed:
            what = "it has ground control points"
        elif placed:
            what = "it has a transform but no coordinate system"
        else:
            what = "it has no coordinates" if crs is None else "it has no transform"
        raise ImageryError(
            f"{what} where a georeferenced image has a coordinate system and a transform",
            path,
            _GEOREFERENCE,
        )
    if not (np.isfinite(transform[:6]).all() and transform.determinant != 0):
        raise ImageryError("its pixels have no size on the ground", path)
    if not 1 <= dataset.count <= _MOST_BANDS:
        raise ImageryError(
            f"it has {dataset.count:,} bands", path, "Write out those for red, green, blue"
        )
    if any("complex" in kind for kind in dataset.dtypes):
        raise ImageryError("its values are complex numbers, not colours", path)
    heaviest = max(
        height * width * np.dtype(kind).itemsize
        for (height, width), kind in zip(dataset.block_shapes, dataset.dtypes, strict=True)
    )
    compression = dataset.compression
    if heaviest * dataset.count > _BLOCK_MAX_BYTES and compression is not None:
        raise ImageryError(
            "it is compressed in one huge piece, which cannot be read part by part",
            path,
            "Write it again in tiles: gdal_translate -co TILED=YES",
        )
    tags = read_tags(dataset)
    return RasterFacts(
        path=path,
        crs=crs,
        transform=transform,
        shape=(dataset.height, dataset.width),
        dtypes=tuple(dataset.dtypes),
        colours=tuple(dataset.colorinterp),
        masked={flag for band in dataset.mask_flag_enums for flag in band} != {MaskFlags.all_valid},
        compression=None if compression is None else compression.name,
        alone=len(dataset.files) <= 1,
        attribution=tags.attribution,
        licence=tags.licence,
    )


def reason(error: BaseException) -> str:
    """The first line of an error, short enough for a message."""
    text = str(error).split("\n")[0].strip().rstrip(".")
    return text[:120] or type(error).__name__
