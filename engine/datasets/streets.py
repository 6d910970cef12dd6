"""Street-view retrieval: the layout of the visual geo-localization benchmark, and SF-XL's.

Photos say in their names where they were taken (Berton et al., CVPR 2022, "datasets_vg")::

    @UTM_EAST@UTM_NORTH@ZONE@LETTER@LAT@LON@PANO@TILE@HEADING@PITCH@ROLL@HEIGHT@TIMESTAMP@NOTE@.jpg

The first two are needed, the others may be empty. The folders::

    images/SPLIT/database/**/*.jpg, images/SPLIT/queries/**/*.jpg      (Pitts30k, MSLS, Tokyo 24/7, ...)

or the same without ``images/``, or without ``images/SPLIT/``. SF-XL (Berton et al., CVPR 2022, CosPlace) has
``train/**/*.jpg`` without queries, ``val/{database,queries}`` and ``test/database`` with ``test/queries_v1`` and
``test/queries_v2``. A photo of the database at most 25 m from a query is right, the nearest first; a query with none
within 25 m still counts. For training the benchmark takes those within 10 m.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.datasets.layout import check_split, contents, need_folder
from engine.datasets.nearby import positives_within
from engine.datasets.pairs import pictures_under
from engine.datasets.reading import FilesAsTiles, FilesWithFov
from engine.datasets.records import NONE, Dataset, Records, make_records
from engine.errors import DatasetError
from engine.imagery.pictures.names import at_name
from engine.photo.read import ASSUMED_FOV_DEG

SPLITS = ("train", "val", "test")
RADIUS_M = 25.0
_NAME = "@UTM_EAST@UTM_NORTH@...@.jpg"


def open_streets(
    folder: Path,
    split: str | None = None,
    *,
    radius_m: float = RADIUS_M,
    database: str = "database",
    queries: str = "queries",
) -> Dataset:
    """One split of a dataset in the benchmark's layout.

    Args:
        split: "train", "val" or "test" (the default).
        radius_m: photos of the database this near are right.
        database, queries: the two folders' names (SF-XL has ``queries_v1`` and ``queries_v2``).

    Raises:
        DatasetError: a folder is missing or empty, or a photo's name does not say its place.
    """
    split = check_split(split, SPLITS, "test", folder)
    need_folder(folder, "the root of a dataset in the benchmark's layout")
    root = _root(folder, split, database, queries)
    references = _photos(root / database, split)
    asked = _photos(root / queries, split)
    assert references.utm is not None and asked.utm is not None
    return Dataset(
        format="vg",
        folder=folder,
        split=split,
        queries=asked,
        references=references,
        positives=tuple(positives_within(references.utm, asked.utm, radius_m)),
        query_reader=FilesWithFov(ASSUMED_FOV_DEG),
        reference_reader=FilesAsTiles(),
        rule="vg",
        radius_m=radius_m,
    )


def open_sfxl(
    folder: Path,
    split: str | None = None,
    *,
    radius_m: float = RADIUS_M,
    queries: str | None = None,
) -> Dataset:
    """One split of SF-XL.

    ``train`` has photos and no queries: every photo is a query and a reference, with no positives; its classes come
    from positions and headings (CosPlace). ``test`` asks ``queries_v1`` unless ``queries`` names another folder.

    Raises:
        DatasetError: as :func:`open_streets`.
    """
    split = check_split(split, SPLITS, "test", folder)
    if split != "train":
        found = open_streets(
            folder,
            split,
            radius_m=radius_m,
            queries=queries or ("queries_v1" if split == "test" else "queries"),
        )
        return replace(found, format="sfxl")
    need_folder(folder, "SF-XL's root, which holds train/, val/ and test/")
    photos = _photos(need_folder(folder / "train", "SF-XL's photos to train on"), split)
    return Dataset(
        format="sfxl",
        folder=folder,
        split=split,
        queries=photos,
        references=photos,
        positives=(NONE,) * len(photos),
        query_reader=FilesWithFov(ASSUMED_FOV_DEG),
        reference_reader=FilesAsTiles(),
        rule="vg",
        radius_m=radius_m,
    )


def _root(folder: Path, split: str, database: str, queries: str) -> Path:
    choices = (folder / "images" / split, folder / split, folder)
    for root in choices:
        if (root / database).is_dir() and (root / queries).is_dir():
            return root
    near = next((root for root in choices if root.is_dir()), folder)
    raise DatasetError(
        f"the folders {database}/ and {queries}/ of the split {split!r} are missing: looked in images/{split}/, "
        f"{split}/ and the folder itself; {near} holds {contents(near)}",
        folder,
        "Complete the dataset, or check --dataset, --format and --split",
    )


def _photos(folder: Path, split: str) -> Records:
    """All photos under a folder in the order of their paths, which is the benchmark's."""
    files = [p for p in pictures_under(folder) if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    files.sort(key=str)
    if not files:
        raise DatasetError(f"holds no photos; it holds {contents(folder)}", folder)
    utm = np.empty((len(files), 2))
    others = np.full((3, len(files)), np.nan)
    for i, path in enumerate(files):
        said = at_name(path.name)
        if said is None:
            raise DatasetError(
                f"its name does not say where it was taken: expected {_NAME}",
                path,
                "Check --format; photos without positions can be given as pairs",
            )
        utm[i] = said.east, said.north
        others[:, i] = said.lat, said.lon, said.heading_deg
    return make_records(
        files, lat=others[0], lon=others[1], heading_deg=others[2], split=split, utm=utm
    )
