"""A ``world`` as pairs: every picture with the tile cut at its place, or with a regular grid of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engine.datasets.reading import Photos
from engine.datasets.records import Dataset, FloatArray, Indices, Pixels, make_records
from engine.datasets.world import Truth, read_world
from engine.errors import DatasetError
from engine.geo import distance_m
from engine.imagery import AerialSource, open_imagery
from engine.index.grid import tile_centres

TILE_EXTENT_M = 60.0
TILE_PIXELS = 256

Which = Literal["all", "panoramas", "photos"]


class TileCutter:
    """Cuts references from imagery: [P, P, 3], or [S, P, P, 3] for S extents about one centre.

    The imagery is opened when the first tile is wanted, in the process that wants it.
    """

    def __init__(
        self, lat: FloatArray, lon: FloatArray, extents_m: tuple[float, ...], pixels: int
    ) -> None:
        self._lat, self._lon = lat, lon
        self._extents, self._pixels = extents_m, pixels
        self._source: AerialSource | None = None

    def __call__(self, path: Path, index: int) -> Pixels:
        if self._source is None:
            if not path.exists():
                raise DatasetError(
                    f"the imagery that tiles are cut from is missing (looked for {path})", path
                )
            self._source = open_imagery(path)
        lat, lon = float(self._lat[index]), float(self._lon[index])
        cuts = [self._source.cut(lat, lon, extent, self._pixels)[0] for extent in self._extents]
        return cuts[0] if len(cuts) == 1 else np.stack(cuts)

    def __repr__(self) -> str:
        return f"TileCutter(extents_m={self._extents}, pixels={self._pixels})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None}


def open_world(
    folder: Path,
    split: str | None = None,
    *,
    extents_m: Sequence[float] | float = TILE_EXTENT_M,
    tile_pixels: int = TILE_PIXELS,
    stride_m: float | None = None,
    which: Which = "panoramas",
) -> Dataset:
    """A world's pictures and tiles of its imagery.

    Args:
        split: of the queries; None: all.
        extents_m: ground side of the tiles; several are cut about one centre and read together.
        tile_pixels: their side in pixels.
        stride_m: None: one tile a picture, centred where it was taken, as CVUSA and CVACT pair them. Else tiles stand
            on a grid over the imagery, as an index has them; the true one is the nearest, and the others whose
            middle half covers the place are positives too (VIGOR's rule).
        which: panoramas, perspective photos, or both.

    Raises:
        DatasetError: the folder is no world, or has no such pictures.
    """
    world = read_world(folder)
    truths = [
        t
        for t in world.truths
        if split in (None, t.split) and (which == "all" or t.is_panorama == (which == "panoramas"))
    ]
    if not truths:
        known = ", ".join(sorted({t.split for t in world.truths if t.split})) or "none"
        wanted = "pictures" if which == "all" else which
        of = f" of the split {split!r}" if split is not None else ""
        raise DatasetError(f"holds no {wanted}{of}", folder, f"Its splits: {known}")
    extents = (float(extents_m),) if isinstance(extents_m, int | float) else tuple(extents_m)
    lat, lon = np.array([t.lat for t in truths]), np.array([t.lon for t in truths])
    if stride_m is None:
        tile_lat, tile_lon = lat, lon
        positives = tuple(np.array([i], np.int64) for i in range(len(truths)))
        splits: Sequence[str] | str = [t.split for t in truths]
    else:
        with open_imagery(world.imagery) as source:
            tile_lat, tile_lon = tile_centres(source.bounds, stride_m)
        positives = tuple(_covering(t, tile_lat, tile_lon, extents[0]) for t in truths)
        splits = ""
    fov = np.array([t.fov_deg for t in truths])
    return Dataset(
        format="world",
        folder=folder,
        split=split or "",
        queries=make_records(
            (t.file for t in truths),
            lat=lat,
            lon=lon,
            heading_deg=(t.heading_deg for t in truths),
            split=[t.split for t in truths],
            fov_deg=fov,
        ),
        references=make_records(
            [world.imagery] * len(tile_lat),
            lat=tile_lat,
            lon=tile_lon,
            heading_deg=0.0,
            extent_m=extents[0],
            split=splits,
        ),
        positives=positives,
        query_reader=Photos(fov, ["panorama" if t.is_panorama else "perspective" for t in truths]),
        reference_reader=TileCutter(tile_lat, tile_lon, extents, tile_pixels),
    )


def _covering(truth: Truth, lat: FloatArray, lon: FloatArray, extent_m: float) -> Indices:
    """The nearest tile, then those that the place lies in the middle half of, nearest first."""
    away = np.asarray(distance_m(truth.lat, truth.lon, lat, lon))
    near = np.flatnonzero(away <= extent_m * 0.5)
    per_lat = distance_m(truth.lat, truth.lon, lat[near], truth.lon)
    per_lon = distance_m(truth.lat, truth.lon, truth.lat, lon[near])
    inside = near[np.maximum(per_lat, per_lon) <= extent_m / 4]
    nearest = int(np.argmin(away))
    others = inside[inside != nearest]
    return np.concatenate([[nearest], others[np.argsort(away[others], kind="stable")]]).astype(
        np.int64
    )
