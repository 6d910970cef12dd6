"""CVACT: panoramas of Canberra, aligned to north, each with the tile about its place (Liu and Li, CVPR 2019).

The authors' layout::

    ACT_data.mat                                              panoIds, utm, trainSet, valSet, valSetAll
    ANU_data_small/streetview/ID_grdView.jpg                  35,532 training and 8,884 validation pairs
    ANU_data_small/satview_polish/ID_satView_polish.jpg
    ANU_data_test/streetview, ANU_data_test/satview_polish    92,802 test pairs

Panoramas have 1664 x 832 pixels and show the whole sphere, centre column north; most papers read their middle half
(rows 208 to 624, 45° up and down), which is the encoder's card to say. Tiles have 1200 x 1200 pixels of Google's zoom
20, about 146 m a side at 35.3° S. In the test set the authors count any tile within 5 m of the panorama as right
(their ``RecallGeo.m``; the rule "cvact", which is that split's own); the true one stands first here, and rules that
count the true one alone, as some later papers do, can be asked for.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from engine.datasets.layout import check_split, need_file, need_folder
from engine.datasets.matfile import read_mat
from engine.datasets.nearby import positives_within
from engine.datasets.reading import FilesAsTiles, FilesWithView
from engine.datasets.records import Dataset, FloatArray, Indices, make_records
from engine.errors import DatasetError

LIST = "ACT_data.mat"
SPLITS = ("train", "val", "test")
RADIUS_M = 5.0
CANBERRA_LAT = -35.28
EXTENT_M = 1200 * 156543.03392804097 * math.cos(math.radians(CANBERRA_LAT)) / 2**20
"""Ground side of a tile: 1200 pixels of web mercator's zoom 20 at the town's latitude."""

_WHERE = {
    "train": ("trainSet", "trainInd", "ANU_data_small"),
    "val": ("valSet", "valInd", "ANU_data_small"),
    "test": ("valSetAll", "valInd", "ANU_data_test"),
}


def open_cvact(folder: Path, split: str | None = None) -> Dataset:
    """One split of CVACT; the true reference of query i is reference i.

    Args:
        split: "train", "val" (the default) or "test".

    Raises:
        DatasetError: the list or the folders are missing, or the list does not hold what it should.
    """
    split = check_split(split, SPLITS, "val", folder)
    need_folder(
        folder, "CVACT's root, which holds ACT_data.mat, ANU_data_small/ and ANU_data_test/"
    )
    structure, field, part = _WHERE[split]
    table = need_file([folder / LIST], "CVACT's list of ids, positions and splits")
    values = read_mat(table)
    ids = _ids(values, table)
    chosen = _indices(values, structure, field, len(ids), table)
    utm = _utm(values, len(ids), table)[chosen]
    names = [ids[i] for i in chosen]
    true = np.arange(len(names), dtype=np.int64)[:, None]
    positives = tuple(true)
    if split == "test":
        positives = tuple(
            np.concatenate([[i], near[near != i]]).astype(np.int64)
            for i, near in enumerate(positives_within(utm, utm, RADIUS_M))
        )
    root = folder / part
    return Dataset(
        format="cvact",
        folder=folder,
        split=split,
        queries=make_records(
            (root / "streetview" / f"{name}_grdView.jpg" for name in names),
            heading_deg=0.0,
            split=split,
            utm=utm,
            fov_deg=360.0,
            labels=names,
        ),
        references=make_records(
            (root / "satview_polish" / f"{name}_satView_polish.jpg" for name in names),
            heading_deg=0.0,
            extent_m=EXTENT_M,
            split=split,
            utm=utm,
            labels=names,
        ),
        positives=positives,
        query_reader=FilesWithView(),
        reference_reader=FilesAsTiles(),
        rule="cvact" if split == "test" else "safa",
        radius_m=RADIUS_M if split == "test" else None,
    )


def _ids(values: dict[str, Any], table: Path) -> list[str]:
    ids = values.get("panoIds")
    if isinstance(ids, list) and len(ids) and all(isinstance(item, list) for item in ids):
        ids = [
            item[0] if item else "" for item in ids
        ]  # a cell of texts instead of a character array
    if not isinstance(ids, list) or not ids or not all(isinstance(i, str) and i for i in ids):
        raise _wrong(table, "panoIds, a list of texts", values)
    if any("/" in name or "\\" in name or name.startswith(".") for name in ids):
        raise DatasetError("an id in panoIds is no plain name", table)
    return ids


def _indices(
    values: dict[str, Any], structure: str, field: str, count: int, table: Path
) -> Indices:
    part = values.get(structure)
    raw = part.get(field) if isinstance(part, dict) else None
    if not isinstance(raw, np.ndarray) or not raw.size:
        raise _wrong(table, f"{structure}.{field}, numbers of pairs from 1", values)
    result = raw.astype(np.int64).ravel() - 1
    if result.min() < 0 or result.max() >= count:
        raise DatasetError(
            f"{structure}.{field} names pair {int(result.max()) + 1:,} of {count:,}", table
        )
    return result


def _utm(values: dict[str, Any], count: int, table: Path) -> FloatArray:
    utm = values.get("utm")
    if not isinstance(utm, np.ndarray) or utm.shape != (count, 2):
        raise _wrong(table, f"utm, {count:,} by 2 metres", values)
    return utm.astype(np.float64)


def _wrong(table: Path, what: str, values: dict[str, Any]) -> DatasetError:
    return DatasetError(
        f"holds no {what}; it holds {', '.join(sorted(values)) or 'nothing'}",
        table,
        "Get this file of the dataset again",
    )
