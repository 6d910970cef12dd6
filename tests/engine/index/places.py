"""A small place to index, and a real if humble encoder: random projections of a tile's colours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.imagery import AerialSource, open_imagery
from engine.imagery.geotiff import write_orthophoto
from engine.index import Index, build_index

LAT, LON = -48.87, -123.39
EXTENT, STRIDE, PIXELS, DIMENSION = 40.0, 8.0, 32, 48


@dataclass(frozen=True)
class Reference:
    tile_pixels: int = PIXELS
    missing_value: int = 0


@dataclass(frozen=True)
class Branches:
    reference: Reference = field(default_factory=Reference)


@dataclass(frozen=True)
class Card:
    name: str = "projections"
    descriptor_dim: int = DIMENSION
    tile_extents_m: tuple[float, ...] = (EXTENT,)
    stride_m: float = STRIDE
    branches: Branches = field(default_factory=Branches)


class ProjectionEncoder:
    """Descriptors are random projections of the colours of 8 by 8 cells, less their mean."""

    def __init__(self, name: str = "projections", seed: int = 0) -> None:
        self.card = Card(name)
        self.hash = hashlib.sha256(f"{name} {seed}".encode()).hexdigest()
        self._matrix = np.random.default_rng(seed).standard_normal((8 * 8 * 3, DIMENSION))

    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        cells = tiles.reshape(-1, 8, PIXELS // 8, 8, PIXELS // 8, 3).mean(axis=(2, 4))
        flat = cells.reshape(len(tiles), -1)
        vectors = (flat - flat.mean(axis=1, keepdims=True) + 1e-3) @ self._matrix
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_place(path: Path, *, size: int = 320, resolution_m: float = 0.5, seed: int = 0) -> Path:
    """A GeoTIFF of coloured blotches, 160 m a side."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse, fine = (
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
                (size, size), Image.Resampling.BICUBIC
            )
        )
        for n in (size // 24, size // 6)
    )
    pixels = ((coarse.astype(int) + fine) // 2).astype(np.uint8)
    return write_orthophoto(path, pixels, LAT, LON, resolution_m, "Test survey", "CC0")


def build_place(folder: Path, **more) -> tuple[AerialSource, ProjectionEncoder, Index]:
    """Imagery, encoder and a finished index of the place in ``folder``."""
    source = open_imagery(write_place(folder / "place.tif"))
    encoder = ProjectionEncoder()
    return source, encoder, build_index(folder / "place.index", source, encoder, **more)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
