"""A town for tests: a plain of coloured patches with coloured posts, its panoramas a ray cast of exactly that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TOP, BOTTOM, EYE_M = 50.0, -50.0, 2.5
HEIGHT, WIDTH = 144, 512
RESOLUTION = 0.5


def write_town(
    data: Path, seed: int, *, pairs: int = 24, side_m: float = 200.0, split: str = "train"
) -> Path:
    """Write ``town-SEED`` in the format of :mod:`engine.training.cache`."""
    folder = data / f"town-{seed}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    size = round(side_m / RESOLUTION)
    ortho = patches(rng, size)
    positions = rng.uniform(72.0, side_m - 72.0, (pairs, 2)).astype(np.float32)
    np.save(folder / "ortho.npy", ortho)
    np.save(folder / "positions.npy", positions)
    np.save(folder / "panoramas.npy", np.stack([panorama(ortho, *p) for p in positions]))
    meta = {
        "seed": seed, "split": split, "pairs": pairs, "resolution_m": RESOLUTION, "width_m": side_m, "height_m": side_m,
        "panorama_top_deg": TOP, "panorama_bottom_deg": BOTTOM,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def patches(rng: np.random.Generator, size: int) -> np.ndarray:
    """Blobs of colour, a few metres across."""
    coarse = rng.integers(0, 256, (size // 12 + 2, size // 12 + 2, 3))
    return np.kron(coarse, np.ones((12, 12, 1)))[:size, :size].astype(np.uint8)


def panorama(ortho: np.ndarray, east_m: float, south_m: float) -> np.ndarray:
    """What stands at a place sees of the plain; above the horizon, at the bearing, the colour 40 m away."""
    bearing = np.radians(-180.0 + (np.arange(WIDTH) + 0.5) * 360.0 / WIDTH)[None, :]
    elevation = TOP - (np.arange(HEIGHT) + 0.5) * (TOP - BOTTOM) / HEIGHT
    ground = EYE_M / np.tan(np.radians(np.clip(-elevation, 3.0, 89.0)))
    distance = np.where(elevation < -3.0, ground, 40.0)[:, None]
    x = (east_m + distance * np.sin(bearing)) / RESOLUTION
    y = (south_m - distance * np.cos(bearing)) / RESOLUTION
    last = len(ortho) - 1
    return ortho[np.clip(y, 0, last).astype(int), np.clip(x, 0, last).astype(int)]
