"""Reading a ``world`` dataset: ``imagery.tif`` and ``queries.csv`` with what its rows name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import DatasetError

IMAGERY = "imagery.tif"
QUERIES = "queries.csv"
COLUMNS = ("file", "lat", "lon", "heading_deg", "fov_deg", "split")
PANORAMA_FOV_DEG = 360.0


@dataclass(frozen=True)
class Truth:
    """One picture of a dataset and where it was really taken.

    ``heading_deg`` is of its centre column, ``fov_deg`` its horizontal field of view (360 for a panorama).
    """

    file: Path
    lat: float
    lon: float
    heading_deg: float
    fov_deg: float
    split: str

    @property
    def is_panorama(self) -> bool:
        """Whether it shows the full turn."""
        return self.fov_deg >= PANORAMA_FOV_DEG


@dataclass(frozen=True)
class World:
    """A dataset on disk."""

    folder: Path
    imagery: Path
    truths: tuple[Truth, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    def queries(self, fov_deg: float = PANORAMA_FOV_DEG, split: str | None = None) -> list[Truth]:
        """The panoramas for 360, else the perspective photos; of one split or of all."""
        panoramas = fov_deg >= PANORAMA_FOV_DEG
        return [t for t in self.truths if t.is_panorama == panoramas and split in (None, t.split)]


def read_world(folder: Path | str) -> World:
    """Read and check a dataset folder.

    Raises:
        DatasetError: naming the file, and the row where there is one.
    """
    folder = Path(folder)
    table = folder / QUERIES
    if not folder.is_dir():
        raise DatasetError("there is no such dataset folder", folder, "Make one with: nadir world")
    if not table.is_file():
        raise DatasetError(
            f"holds no {QUERIES}, so it is no world dataset", folder, "Make one with: nadir world"
        )
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"has no column {', '.join(missing)}",
                    table,
                    f"Its first line should be: {','.join(COLUMNS)}",
                )
            truths = tuple(_truth(folder, row, line) for line, row in enumerate(reader, start=2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"cannot be read ({error})", table, "It should be a CSV file in UTF-8"
        ) from error
    return World(folder, folder / IMAGERY, truths)


def _truth(folder: Path, row: dict[str, str | None], line: int) -> Truth:
    name = PurePosixPath(row["file"] or "")
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise DatasetError(
            f"line {line}: {row['file']!r} is no file inside the dataset",
            folder / QUERIES,
            "Correct that line",
        )
    numbers: list[float] = []
    for key, low, high in (
        ("lat", -90, 90),
        ("lon", -180, 180),
        ("heading_deg", -360, 720),
        ("fov_deg", 1, 360),
    ):
        try:
            value = float(row[key] or "")
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise DatasetError(
                f"line {line}: {key} {row[key]!r} is no number from {low} to {high}",
                folder / QUERIES,
                "Correct that line",
            )
        numbers.append(value)
    lat, lon, heading, fov = numbers
    return Truth(folder / name, lat, lon, heading % 360.0, fov, row["split"] or "")
