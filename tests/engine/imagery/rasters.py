"""Small rasters whose pixels say where they lie, made without any of the code under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

WGS84 = CRS.from_epsg(4326)
LEVELS_PER_M = 8.0
MIDDLE = 128.0


def plane_about(lat: float, lon: float) -> CRS:
    """Geodesic metres east and north of a position, by PROJ alone."""
    lon = (lon + 180.0) % 360.0 - 180.0
    return CRS.from_string(f"+proj=aeqd +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84 +units=m")


def raster_transform(
    crs: CRS, lat: float, lon: float, pixel_m: float, size: int, turn_deg: float = 0.0
) -> Affine:
    """A transform that puts the middle of ``size`` by ``size`` pixels of about ``pixel_m`` at a position."""
    xs, ys = transform(
        plane_about(lat, lon), crs, [0.0, 1.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0, -1.0]
    )[:2]
    if crs.is_geographic:  # the same meridian has several longitudes
        xs = [x + 360.0 * round((lon - x) / 360.0) for x in xs]
    step_x = np.hypot(xs[1] - xs[3], ys[1] - ys[3]) / 2 * pixel_m
    step_y = np.hypot(xs[2] - xs[4], ys[2] - ys[4]) / 2 * pixel_m
    return (
        Affine.translation(xs[0], ys[0])
        @ Affine.rotation(turn_deg)
        @ Affine.scale(step_x, -step_y)
        @ Affine.translation(-size / 2, -size / 2)
    )


def pixel_metres(
    crs: CRS, placed: Affine, size: int, lat: float, lon: float
) -> tuple[np.ndarray, np.ndarray]:
    """East and north [size, size] of every pixel's centre from a position, metres."""
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    x = placed.a * column + placed.b * row + placed.c
    y = placed.d * column + placed.e * row + placed.f
    east, north = transform(crs, plane_about(lat, lon), x.ravel().tolist(), y.ravel().tolist())[:2]
    return np.reshape(east, (size, size)), np.reshape(north, (size, size))


def write_raster(path: Path, bands: np.ndarray, crs: CRS, placed: Affine, **more: Any) -> Path:
    """Bands [B, H, W] as a plain GeoTIFF."""
    count, height, width = bands.shape
    masks = more.pop("mask", None)
    colours = more.pop("colormap", None)
    kinds = more.pop("colorinterp", None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype=bands.dtype,
            crs=crs,
            transform=placed,
            **more,
        ) as file,
    ):
        if kinds is not None:
            file.colorinterp = kinds
        file.write(bands)
        if masks is not None:
            file.write_mask(masks)
        if colours is not None:
            file.write_colormap(1, colours)
    return path


def ramp_raster(
    path: Path,
    crs: CRS,
    lat: float,
    lon: float,
    *,
    pixel_m: float = 0.25,
    size: int = 160,
    turn_deg: float = 0.0,
    flipped: bool = False,
    about: tuple[float, float] | None = None,
    levels: float = LEVELS_PER_M,
    **more: Any,
) -> Path:
    """Red says how far east of a position a pixel lies, green how far north, so many levels a metre.

    The raster's middle lies at ``lat``, ``lon``; distances are from there too, or from ``about``.
    """
    placed = raster_transform(crs, lat, lon, pixel_m, size, turn_deg)
    if flipped:
        placed = placed @ Affine(1, 0, 0, 0, -1, size)
    east, north = pixel_metres(crs, placed, size, *(about or (lat, lon)))
    ramps = [MIDDLE + levels * east, MIDDLE + levels * north, np.full_like(east, 77)]
    bands = np.clip(np.round(np.stack(ramps)), 0, 255).astype(np.uint8)
    return write_raster(path, bands, crs, placed, photometric="RGB", **more)


def told_metres(pixels: np.ndarray, levels: float = LEVELS_PER_M) -> tuple[np.ndarray, np.ndarray]:
    """East and north that the pixels of a ramp raster say."""
    return (pixels[..., 0] - MIDDLE) / levels, (pixels[..., 1] - MIDDLE) / levels


def expected_metres(extent_m: float, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """East and north of the pixel centres of a north-up tile from its centre."""
    along = ((np.arange(pixels) + 0.5) / pixels - 0.5) * extent_m
    return np.broadcast_to(along, (pixels, pixels)), np.broadcast_to(
        -along[:, None], (pixels, pixels)
    )
