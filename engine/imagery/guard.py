"""What a stranger's raster could make GDAL do, and what is done so that it does not.

A GeoTIFF may say that its overviews lie elsewhere, at an address on the network too; a file beside it that is called
its overview or its mask is opened as whatever it is, a description of a web service for one. The network is never
used unless the user asked for it, so such files are refused, and GDAL is kept from the network besides.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from rasterio.io import DatasetReader

from engine.errors import ImageryError

_NETWORK_DRIVERS = "HTTP,WMS,WMTS,WCS,EEDA,EEDAI,DAAS,PLMOSAIC,STACIT,STACTA,OGCAPI,NGW,MRF,ESRIC"
NO_ADDRESS = "none"  # the one "address" that GDAL's file systems may read from
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BESIDE = (".ovr", ".OVR", ".msk", ".MSK", ".msk.ovr", ".msk.OVR", ".MSK.ovr", ".MSK.OVR")


def forget_network_drivers() -> None:
    """Ask GDAL not to load the drivers that reach the network; has an effect before it is first used.

    Which of them this GDAL has it tells only once it has loaded them all, so all are named; what it then says of those
    that it has not is of no use to anybody.
    """
    log = logging.getLogger("rasterio._env")
    if _not_about_skipping not in log.filters:
        log.addFilter(_not_about_skipping)
    known = os.environ.get("GDAL_SKIP", "")
    if _NETWORK_DRIVERS not in known:
        os.environ["GDAL_SKIP"] = f"{known},{_NETWORK_DRIVERS}".lstrip(",")


def _not_about_skipping(record: logging.LogRecord) -> bool:
    return "to unload from GDAL_SKIP" not in record.getMessage()


def check_beside(path: Path) -> None:
    """Check the files beside a raster that would be opened with it.

    Raises:
        ImageryError: one of them is not what its name says.
    """
    for ending in _BESIDE:
        beside = path.with_name(path.name + ending)
        try:
            with open(beside, "rb") as file:
                start = file.read(4)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ImageryError(f"it cannot be read ({error.strerror})", beside) from error
        if start not in TIFF_STARTS:
            raise ImageryError(
                f"the file {beside.name} beside it is no GeoTIFF, as overviews and masks are",
                path,
                "Delete that file, or move it elsewhere",
            )


def check_dataset(path: Path, dataset: DatasetReader) -> None:
    """Check what an open raster would open in its turn; before anything else is asked of it.

    Raises:
        ImageryError: it says that its overviews are in another file.
    """
    said = {key.upper() for key in dataset.tags(ns="OVERVIEWS")}
    if said & {"OVERVIEW_FILE", "MASK_OVERVIEW_FILE"}:
        raise ImageryError(
            "it says that its overviews are in another file, which Nadir does not open",
            path,
            "Delete its .aux.xml file if it has one, or write it again: gdal_translate IN.tif OUT.tif",
        )
