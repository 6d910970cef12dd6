"""A flat, textured world: an aerial GeoTIFF and panoramas of its ground, exact to the sampling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform

from tests.linear_encoder import CAMERA_M

RESOLUTION_M = 0.5
UTM = CRS.from_epsg(32710)  # 123° W, south: around 48.87° S 123.39° W


@dataclass(frozen=True)
class FlatWorld:
    """Ground pixels [H, W, 3] with their upper left corner in UTM metres."""

    ground: np.ndarray
    west: float
    north: float

    def to_wgs84(self, east: float, south: float) -> tuple[float, float]:
        """Latitude and longitude of a point given in metres from the upper left corner."""
        placed = transform(UTM, CRS.from_epsg(4326), [self.west + east], [self.north - south])
        return float(placed[1][0]), float(placed[0][0])

    def write(self, path: Path) -> Path:
        """The aerial image as a GeoTIFF."""
        height, width = self.ground.shape[:2]
        placed = Affine(RESOLUTION_M, 0.0, self.west, 0.0, -RESOLUTION_M, self.north)
        shape = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", crs=UTM, transform=placed, tiled=True, **shape) as file:
            file.write(self.ground.transpose(2, 0, 1))
        return path

    def panorama(
        self, east: float, south: float, heading_deg: float, width: int = 1024
    ) -> np.ndarray:
        """A panorama [width/2, width, 3] taken at a point in metres from the upper left corner; blue sky above."""
        height = width // 2
        bearing = np.radians(heading_deg - 180 + (np.arange(width) + 0.5) * 360 / width)
        # Grid north of UTM is not true north: the panorama's heading is true, so turn by the convergence.
        lat, lon = self.to_wgs84(east, south)
        bearing = bearing - np.arctan(np.tan(np.radians(lon + 123.0)) * np.sin(np.radians(lat)))
        elevation = 90 - (np.arange(height) + 0.5) * 180 / height
        image = np.full((height, width, 3), (120, 160, 230), np.uint8)
        below = elevation < -1
        distance = CAMERA_M / np.tan(np.radians(-elevation[below]))
        x = (east + distance[:, None] * np.sin(bearing)) / RESOLUTION_M - 0.5
        y = (south - distance[:, None] * np.cos(bearing)) / RESOLUTION_M - 0.5
        image[below] = bilinear(self.ground, x, y)
        return image


def bilinear(pixels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pixels at fractional indices, the border repeated."""
    height, width = pixels.shape[:2]
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    x0, y0 = x.astype(int), y.astype(int)
    u, v = (x - x0)[..., None], (y - y0)[..., None]
    top = pixels[y0, x0] * (1 - u) + pixels[y0, x0 + 1] * u
    bottom = pixels[y0 + 1, x0] * (1 - u) + pixels[y0 + 1, x0 + 1] * u
    return np.rint(top * (1 - v) + bottom * v).astype(np.uint8)


def make_flat_world(size_m: float = 300.0, seed: int = 0) -> FlatWorld:
    """Ground of coloured blotches from 4 to 40 metres."""
    rng = np.random.default_rng(seed)
    side = round(size_m / RESOLUTION_M)
    ground = np.zeros((side, side, 3))
    for blotch_m, strength in ((40.0, 1.0), (16.0, 1.0), (8.0, 0.8), (4.0, 0.5)):
        cells = max(2, round(size_m / blotch_m)) + 2
        coarse = rng.standard_normal((cells, cells, 3))
        y, x = np.mgrid[0:side, 0:side] * ((cells - 2) / side) + 0.5
        x0, y0 = x.astype(int), y.astype(int)
        u, v = (np.clip(f, 0, 1) for f in (x - x0, y - y0))
        u, v = (u * u * (3 - 2 * u))[..., None], (v * v * (3 - 2 * v))[..., None]
        top = coarse[y0, x0] * (1 - u) + coarse[y0, x0 + 1] * u
        bottom = coarse[y0 + 1, x0] * (1 - u) + coarse[y0 + 1, x0 + 1] * u
        ground += strength * (top * (1 - v) + bottom * v)
    ground = 128 + 45 * ground
    return FlatWorld(np.clip(ground, 0, 255).astype(np.uint8), west=471_000.0, north=4_587_000.0)
