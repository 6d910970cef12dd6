"""Towns rendered for training, as folders of arrays.

``DATA/town-SEED/`` holds ``meta.json`` (seed, resolution_m, pairs, split, panorama_top_deg, panorama_bottom_deg,
width_m, height_m; newer ones have area_km2 and the seconds it took), ``ortho.npy`` uint8 [H, W, 3] (north up),
``panoramas.npy`` uint8 [N, h, w, 3] (equirectangular over the full turn, centre column looking north) and
``positions.npy`` float32 [N, 2], metres east of the left and south of the top edge of the orthophoto. Arrays are
memory-mapped; ``meta.json`` is written last, so a folder without it is not finished and is passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import DatasetError

META = "meta.json"


@dataclass(frozen=True, eq=False)
class CachedTown:
    """One town; arrays as described in the module."""

    folder: Path
    split: Literal["train", "validation"]
    resolution_m: float
    top_deg: float
    bottom_deg: float
    ortho: NDArray[np.uint8]
    panoramas: NDArray[np.uint8]
    positions: NDArray[np.float32]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def __len__(self) -> int:
        return len(self.positions)

    def tile(
        self, east_m: float, south_m: float, extent_m: float, pixels: int
    ) -> NDArray[np.uint8]:
        """Cut the tile [pixels, pixels, 3] whose centre is nearest to a position, to half a pixel of the orthophoto.

        The orthophoto must have the tile's resolution, or a whole multiple of it, which is then averaged.
        """
        step = extent_m / pixels / self.resolution_m
        factor = round(step)
        if factor < 1 or abs(step - factor) > 1e-6:
            raise DatasetError(
                f"tiles of {extent_m / pixels:g} m a pixel cannot be cut from {self.resolution_m:g} m",
                self.folder,
            )
        side = pixels * factor
        left = round(float(east_m) / self.resolution_m - side / 2)
        top = round(float(south_m) / self.resolution_m - side / 2)
        height, width = self.ortho.shape[:2]
        if left < 0 or top < 0 or left + side > width or top + side > height:
            raise DatasetError(
                f"a tile at {east_m:.1f}, {south_m:.1f} m reaches over the edge", self.folder
            )
        cut = np.asarray(self.ortho[top : top + side, left : left + side])
        if factor == 1:
            return cut
        blocks = cut.reshape(pixels, factor, pixels, factor, 3).mean(axis=(1, 3))
        return np.rint(blocks).astype(np.uint8)


def open_town(folder: Path) -> CachedTown:
    """Open one town.

    Raises:
        DatasetError: naming the file that is missing or wrong.
    """
    try:
        meta = json.loads((folder / META).read_text("utf-8"))
        arrays = [
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("ortho", "panoramas", "positions")
        ]
        town = CachedTown(
            folder,
            meta["split"],
            float(meta["resolution_m"]),
            float(meta["panorama_top_deg"]),
            float(meta["panorama_bottom_deg"]),
            arrays[0],
            arrays[1],
            np.asarray(arrays[2], np.float32),
        )
    except FileNotFoundError as error:
        raise DatasetError(f"{Path(error.filename).name} is missing", folder) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"cannot be read as a training town ({error})", folder) from error
    whole = (
        town.ortho.ndim == 3
        and town.panoramas.ndim == 4
        and town.ortho.shape[-1] == town.panoramas.shape[-1] == 3
        and town.positions.shape == (len(town.panoramas), 2)
        and town.split in ("train", "validation")
        and town.ortho.dtype == town.panoramas.dtype == np.uint8
    )
    if not whole:
        raise DatasetError("its arrays do not fit together", folder)
    numbers = (
        0 < town.resolution_m < np.inf
        and -90 <= town.bottom_deg < town.top_deg <= 90
        and bool(np.isfinite(town.positions).all())
    )
    if not numbers:
        raise DatasetError("its positions, resolution or angles are no such numbers", folder)
    return town


def find_towns(data: Path) -> list[Path]:
    """The folders of finished towns under ``data``, by name."""
    if not data.is_dir():
        raise DatasetError("there is no such folder", data)
    return sorted(path.parent for path in data.glob("town-*/" + META))


def find_training_towns(data: Path, split: Literal["train", "validation"]) -> list[CachedTown]:
    """All finished towns of one split; there may be none."""
    return [town for town in map(open_town, find_towns(data)) if town.split == split and len(town)]


def open_towns(data: Path, split: Literal["train", "validation"]) -> list[CachedTown]:
    """All finished towns of one split.

    Raises:
        DatasetError: when there are none.
    """
    towns = find_training_towns(data, split)
    if not towns:
        raise DatasetError(f"holds no {split} towns", data, "Make some with: nadir world --help")
    return towns
