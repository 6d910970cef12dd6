"""Writing GeoTIFFs: 8-bit colour, tiled, compressed, with overviews, georeferenced, saying whose they are."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from engine.errors import ImageryError
from engine.progress import Report, silent

ATTRIBUTION_TAG, LICENCE_TAG = "NADIR_ATTRIBUTION", "NADIR_LICENCE"
_BLOCK = 256
_STRIPE = 4 * _BLOCK  # rows that are held at a time, and
_WIDEST = 32 * _BLOCK  # columns
_SMALLEST_OVERVIEW = 512

Compression = Literal["jpeg", "webp", "deflate"]
ReadPart = Callable[
    [int, int, int, int], tuple[NDArray[np.uint8], "NDArray[np.uint8] | None"]
]  # left, top, right, bottom -> pixels [3, rows, columns], validity


@dataclass(frozen=True)
class Tags:
    """Whose the pixels are and what may be done with them; empty where the file does not say."""

    attribution: str
    licence: str


class Copyable(Protocol):
    """A raster that pixels can be copied from."""

    @property
    def raster_crs(self) -> CRS: ...

    @property
    def transform(self) -> Affine: ...

    @property
    def gaps(self) -> bool:
        """Whether some pixels may be nothing."""
        ...

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]: ...


def local_crs(lat: float, lon: float) -> str:
    """A transverse Mercator centred on a position, as WKT: its metres are metres on the ground there.

    At 10 km from the centre they are still right to one part in 800,000, and north is up to
    0.1° x sin(latitude). Any GIS reads it.
    """
    return (
        f'PROJCS["Local transverse Mercator {lat:.6f} {lon:.6f}",GEOGCS["WGS 84",DATUM["WGS_1984",'
        'SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]],'
        'PROJECTION["Transverse_Mercator"],'
        f'PARAMETER["latitude_of_origin",{lat!r}],PARAMETER["central_meridian",{lon!r}],'
        'PARAMETER["scale_factor",1],PARAMETER["false_easting",0],PARAMETER["false_northing",0],'
        'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    )


def write_orthophoto(
    path: Path | str,
    pixels: NDArray[np.uint8],
    lat: float,
    lon: float,
    resolution_m: float,
    attribution: str = "",
    licence: str = "",
    *,
    compress: Compression = "jpeg",
    quality: int = 90,
) -> Path:
    """Write north-up pixels of a place as a GeoTIFF in a transverse Mercator of its own (:func:`local_crs`).

    Args:
        pixels: uint8 [H, W, 3], row 0 in the north.
        lat, lon: where the middle of the image lies (W/2, H/2 pixels from its corners).
        resolution_m: metres on the ground that one pixel spans.
    """
    rows, columns = pixels.shape[:2]
    transform = Affine.translation(-columns / 2 * resolution_m, rows / 2 * resolution_m)
    return write_geotiff(
        path,
        pixels,
        crs=local_crs(float(lat), float(lon)),
        transform=transform @ Affine.scale(resolution_m, -resolution_m),
        attribution=attribution,
        licence=licence,
        compress=compress,
        quality=quality,
    )


def write_geotiff(
    path: Path | str,
    pixels: NDArray[np.uint8],
    *,
    crs: str,
    transform: Affine | tuple[float, float, float, float, float, float],
    attribution: str = "",
    licence: str = "",
    valid: NDArray[np.bool_] | None = None,
    compress: Compression = "jpeg",
    quality: int = 90,
) -> Path:
    """Write an image as a tiled, compressed GeoTIFF with overviews; a reader sees all of it or nothing.

    Args:
        pixels: uint8 [H, W, 3].
        crs: ``EPSG:...`` or WKT.
        transform: from column and row to the CRS; six numbers in rasterio's order or an ``Affine``.
        valid: [H, W], False where the image has nothing; kept as the file's mask.
        compress: ``jpeg`` and ``webp`` lose a little (see ``quality``), ``deflate`` nothing.
        quality: 1..100.

    Raises:
        ImageryError: it cannot be written (no room, no permission).
    """
    path = Path(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 [H, W, 3], not {pixels.dtype} {pixels.shape}")

    def read(
        left: int, top: int, right: int, bottom: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        part = (slice(top, bottom), slice(left, right))
        mask = None if valid is None else valid[part].astype(np.uint8) * np.uint8(255)
        return np.moveaxis(pixels[part], -1, 0), mask

    with _whole_file(path) as disk:
        _write(
            disk,
            read,
            size=pixels.shape[:2],
            crs=CRS.from_user_input(crs),
            transform=transform if isinstance(transform, Affine) else Affine(*transform),
            tags=Tags(attribution, licence),
            gaps=valid is not None,
            compress=compress,
            quality=quality,
            report=silent,
        )
    return path


def copy_pixels(
    source: Copyable,
    path: Path,
    window: tuple[int, int, int, int],
    *,
    attribution: str,
    licence: str,
    quality: int = 90,
    report: Report = silent,
) -> None:
    """Write a window (left, top, right, bottom) of a raster as a GeoTIFF, part by part, no pixel moved."""
    left, top, right, bottom = window

    def read(
        x0: int, y0: int, x1: int, y1: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        return source.read(left + x0, top + y0, left + x1, top + y1, x1 - x0, y1 - y0)

    with _whole_file(path) as disk:
        _write(
            disk,
            read,
            size=(bottom - top, right - left),
            crs=source.raster_crs,
            transform=source.transform @ Affine.translation(left, top),
            tags=Tags(attribution, licence),
            gaps=source.gaps,
            compress="jpeg",
            quality=quality,
            report=report,
        )


def read_tags(dataset: Any) -> Tags:
    """What an open file says about whose it is."""
    tags = dataset.tags()
    attribution = tags.get(ATTRIBUTION_TAG) or tags.get("TIFFTAG_COPYRIGHT") or ""
    return Tags(_line(attribution), _line(tags.get(LICENCE_TAG, "")))


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())


def _write(
    disk: _Disk,
    read: ReadPart,
    *,
    size: tuple[int, int],
    crs: CRS,
    transform: Affine,
    tags: Tags,
    gaps: bool,
    compress: Compression,
    quality: int,
    report: Report,
) -> None:
    rows, columns = size
    options: dict[str, Any] = {"compress": compress.upper()}
    if compress == "jpeg":
        options |= {"photometric": "YCBCR", "jpeg_quality": quality}
    elif compress == "webp":
        options |= {"webp_level": quality}
    else:
        options |= {"predictor": 2}
    environment = {
        "GDAL_TIFF_INTERNAL_MASK": True,
        "GDAL_PAM_ENABLED": False,
        "JPEG_QUALITY_OVERVIEW": quality,
        "WEBP_LEVEL_OVERVIEW": quality,
        "GDAL_TIFF_OVR_BLOCKSIZE": _BLOCK,
    }
    with rasterio.Env(**environment):
        with rasterio.open(
            disk.path,
            "w",
            opener=disk,
            driver="GTiff",
            width=columns,
            height=rows,
            count=3,
            dtype="uint8",
            crs=crs,
            transform=transform,
            tiled=True,
            blockxsize=_BLOCK,
            blockysize=_BLOCK,
            interleave="pixel",
            bigtiff="IF_SAFER",
            **options,
        ) as target:
            named = {ATTRIBUTION_TAG: tags.attribution, LICENCE_TAG: tags.licence}
            target.update_tags(**{key: value for key, value in named.items() if value})
            if tags.attribution:
                target.update_tags(TIFFTAG_COPYRIGHT=tags.attribution)
            parts = [
                (left, top, min(left + _WIDEST, columns), min(top + _STRIPE, rows))
                for top in range(0, rows, _STRIPE)
                for left in range(0, columns, _WIDEST)
            ]
            for done, (left, top, right, bottom) in enumerate(parts):
                report(done, len(parts), "writing the imagery")
                pixels, mask = read(left, top, right, bottom)
                size = (bottom - top, right - left)
                window = Window(left, top, size[1], size[0])  # pyright: ignore[reportCallIssue]
                target.write(pixels, window=window)
                if gaps:
                    target.write_mask(
                        np.full(size, 255, np.uint8) if mask is None else mask, window=window
                    )
        levels = [2**k for k in range(1, 12) if max(size) / 2**k >= _SMALLEST_OVERVIEW / 2]
        if levels and max(size) > _SMALLEST_OVERVIEW:
            with rasterio.open(disk.path, "r+", opener=disk) as target:
                target.build_overviews(levels, Resampling.average)
    report(rows, rows, "writing the imagery")


class _Disk:
    """Opens the one file that GDAL writes, and remembers the first error: GDAL goes on when the disk is full, and
    leaves a file with holes that reads as black."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None

    def __call__(self, path: str, mode: str = "rb", **_: object) -> _DiskFile:
        if Path(path) != self.path:  # it asks for files beside it as well
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return _DiskFile(self, mode)


class _DiskFile:
    """A file for GDAL whose failures are kept for later."""

    def __init__(self, disk: _Disk, mode: str) -> None:
        self._disk = disk
        # Unbuffered, so that nothing fails later than it is written. GDAL closes it.
        self._file: Any = open(disk.path, mode, buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:])
        except OSError as error:
            self._disk.error = self._disk.error or error
        return done

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._disk.error = self._disk.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _DiskFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _whole_file(path: Path) -> Iterator[_Disk]:
    """A temporary file beside ``path`` that takes its place, synced, when all is written."""
    disk = _Disk(path.with_name(f".nadir-{os.getpid()}-{threading.get_ident()}.part"))
    try:
        yield disk
        if disk.error is not None:
            raise disk.error
        with open(disk.path, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(disk.path, path)
    except (RasterioError, OSError) as error:
        disk.path.unlink(missing_ok=True)
        cause = disk.error or error
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            raise ImageryError("the disk is full", path, "Make room on it and try again") from cause
        raise ImageryError(
            f"the image cannot be written ({_first_line(cause)})",
            path,
            "Check the permissions of the folder, or choose another one",
        ) from cause
    except BaseException:
        disk.path.unlink(missing_ok=True)
        raise


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n")[0].strip().rstrip(".")[:120] or type(error).__name__
