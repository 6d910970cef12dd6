"""University-1652: buildings of universities from drones, satellites and streets (Zheng et al., ACM MM 2020).

The layout; a folder a building, of the same name everywhere::

    train/{satellite,drone,street,google}/0001/*.jpg
    test/query_{drone,satellite,street}/0001/*.jpg
    test/gallery_{satellite,drone,street}/0001/*.jpg

Queries and references of one building belong together; buildings of the gallery that no query shows stay to choose
from. The pictures say neither place nor heading. A drone's field of view is not published; 65° is assumed, which
matters only to encoders that project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.datasets.layout import check_split, contents, need_folder
from engine.datasets.pairs import pictures_under
from engine.datasets.places import positives_of_places
from engine.datasets.reading import FilesAsTiles, FilesWithFov
from engine.datasets.records import Dataset, make_records
from engine.errors import DatasetError
from engine.photo.read import ASSUMED_FOV_DEG

SPLITS = ("train", "test")
Task = Literal[
    "drone-satellite", "satellite-drone", "street-satellite", "satellite-street", "street-drone"
]
TASKS = (
    "drone-satellite",
    "satellite-drone",
    "street-satellite",
    "satellite-street",
    "street-drone",
)


def open_university(
    folder: Path, split: str | None = None, *, task: Task = "drone-satellite"
) -> Dataset:
    """One task of University-1652.

    Args:
        split: "train" or "test" (the default).
        task: whose pictures ask, and whose answer.

    Raises:
        DatasetError: a folder is missing, or holds no buildings.
    """
    split = check_split(split, SPLITS, "test", folder)
    if task not in TASKS:
        raise DatasetError(f"there is no task {task!r}", folder, f"Known: {', '.join(TASKS)}")
    asking, answering = task.split("-")
    names = (asking, answering) if split == "train" else (f"query_{asking}", f"gallery_{answering}")
    need_folder(folder, "University-1652's root, which holds train/ and test/")
    root = need_folder(folder / split, f"University-1652's split {split!r}")
    sides = [
        _buildings(need_folder(root / name, f"the pictures of {split}/{name}/BUILDING/"))
        for name in names
    ]
    queries, references = sides
    labels = [path.parent.name for path in references]
    return Dataset(
        format="university",
        folder=folder,
        split=split,
        queries=make_records(queries, split=split, labels=[p.parent.name for p in queries]),
        references=make_records(references, split=split, labels=labels),
        positives=positives_of_places([p.parent.name for p in queries], labels),
        query_reader=FilesWithFov(ASSUMED_FOV_DEG),
        reference_reader=FilesAsTiles(),
        rule="university",
    )


def _buildings(folder: Path) -> list[Path]:
    files = [path for path in pictures_under(folder) if path.parent != folder]
    if not files:
        raise DatasetError(
            f"holds no BUILDING/*.jpg; it holds {contents(folder)}",
            folder,
            "Get this folder of the dataset again",
        )
    return files
