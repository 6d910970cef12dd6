"""The pictures of a dataset, what is known of each, and which belong together.

A dataset has *queries* (photos) and *references* (tiles, or photos of a database) and says, for every query, which
references show its place. Everything here is a value that can be pickled, so that worker processes can read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.photo.projections import View

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]
FloatArray = NDArray[np.float64]

NONE: Indices = np.zeros(0, np.int64)
"""No positives."""


@dataclass(frozen=True, eq=False)
class Records:
    """N pictures of one side. What is not known is NaN (numbers), "" (texts) or None (UTM).

    Attributes:
        files: the pictures; for tiles that are cut from imagery, the imagery, once for every tile.
        lat, lon: [N] WGS84 degrees of the camera or of the tile's centre.
        heading_deg: [N] clockwise from north, of the picture's centre column; of a tile 0 (north up).
        extent_m: [N] ground side of a tile, metres.
        splits: the split every picture belongs to.
        labels: the name of its place where the dataset has places (pictures of one place share it).
        utm: [N, 2] metres east and north in the dataset's UTM zone.
        fov_deg: [N] horizontal field of view, 360 for a full turn.
    """

    files: tuple[Path, ...]
    lat: FloatArray
    lon: FloatArray
    heading_deg: FloatArray
    extent_m: FloatArray
    splits: tuple[str, ...]
    labels: tuple[str, ...]
    utm: FloatArray | None = None
    fov_deg: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def located(self) -> bool:
        """Whether every picture has a latitude and a longitude."""
        return len(self) > 0 and bool(np.isfinite(self.lat).all() and np.isfinite(self.lon).all())


def make_records(
    files: Iterable[Path],
    *,
    lat: Iterable[float] | None = None,
    lon: Iterable[float] | None = None,
    heading_deg: Iterable[float] | float | None = None,
    extent_m: Iterable[float] | float | None = None,
    split: Sequence[str] | str = "",
    labels: Iterable[str] | None = None,
    utm: FloatArray | None = None,
    fov_deg: Iterable[float] | float | None = None,
) -> Records:
    """Records with what is known; a single value stands for all pictures."""
    kept = tuple(files)
    count = len(kept)

    def column(values: Iterable[float] | float | None) -> FloatArray:
        if values is None:
            values = float("nan")
        if isinstance(values, int | float):
            return np.full(count, float(values))
        result = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
        if result.shape != (count,):
            raise ValueError(f"{count} pictures cannot have {result.shape} values")
        return result

    return Records(
        files=kept,
        lat=column(lat),
        lon=column(lon),
        heading_deg=column(heading_deg),
        extent_m=column(extent_m),
        splits=(split,) * count if isinstance(split, str) else tuple(split),
        labels=("",) * count if labels is None else tuple(labels),
        utm=utm,
        fov_deg=column(fov_deg),
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Queries, references and the truth between them, in one layout or another.

    Attributes:
        format: the layout's name, as :func:`engine.datasets.open_dataset` knows it.
        split: what was asked for; "" for all.
        positives: for every query the references that show its place, the true one first; empty where there is none.
        semi_positives: for every query references that show its place at their edge, neither right nor wrong.
        rule: the name of the recall rule that the dataset's papers count by (:mod:`engine.evaluation.rules`).
        radius_m: references within this are positives, where positives come from positions.
        notes: what was left out or assumed, plain sentences.
        offsets_px: [queries, 1 + semi, 2] where VIGOR's labels give them (see :mod:`engine.datasets.vigor`).
    """

    format: str
    folder: Path
    split: str
    queries: Records
    references: Records
    positives: Sequence[Indices]
    query_reader: Callable[[Path, int], tuple[Pixels, View]]
    reference_reader: Callable[[Path, int], Pixels]
    semi_positives: Sequence[Indices] = ()
    rule: str = "strict"
    radius_m: float | None = None
    notes: tuple[str, ...] = ()
    offsets_px: FloatArray | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def true_references(self) -> Indices:
        """[queries] the true reference of each, -1 where there is none."""
        return np.array([p[0] if len(p) else -1 for p in self.positives], np.int64)

    def read_query(self, index: int) -> tuple[Pixels, View]:
        """A photo, uint8 [H, W, 3], and how it sees the world.

        Raises:
            DatasetError: naming the file that is missing or cannot be read.
        """
        return self.query_reader(self.queries.files[index], index)

    def read_reference(self, index: int) -> Pixels:
        """A tile or a database's photo, uint8 [H, W, 3]; [S, P, P, 3] where S extents are cut from imagery.

        Raises:
            DatasetError: naming the file that is missing or cannot be read.
        """
        return self.reference_reader(self.references.files[index], index)

    def pairs(self, split: str | None = None) -> Indices:
        """[P, 2] query and its true reference, for the queries (of a split) that have one, in order."""
        true = self.true_references
        kept = [
            i
            for i, name in enumerate(self.queries.splits)
            if true[i] >= 0 and split in (None, name)
        ]
        chosen = np.asarray(kept, np.int64)
        return np.stack([chosen, true[chosen]], axis=1)
