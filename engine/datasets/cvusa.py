"""CVUSA: American panoramas, aligned to north, each with its tile (Workman et al. 2015, Zhai et al. 2017).

The layout of the release that papers since CVM-Net use::

    splits/train-19zl.csv, splits/val-19zl.csv    35,532 and 8,884 lines: tile,panorama[,annotation]
    bingmap/19/0000001.jpg ...                    tiles, 750 x 750 pixels, Bing's zoom 19
    streetview/panos/0000001.jpg ...              panoramas, 1232 x 224 pixels

The lists' paths are relative to the folder, so repacked copies with other names work too. A panorama covers the full
turn with its centre column looking north, and, its pixels being square in angle, 360° * 224 / 1232 = 65.45° of
elevation, taken as centred on the horizon (SAFA, DSM and their successors use it so). The lists say no positions, so
metres cannot be measured.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from engine.datasets.layout import bad_line, check_split, need_file, need_folder, read_lines
from engine.datasets.reading import FilesAsTiles, FilesWithView
from engine.datasets.records import Dataset, make_records
from engine.photo.projections import View

SPLITS = ("train", "val")
HALF_HEIGHT_DEG = 180.0 * 224 / 1232
VIEW = View("panorama", 360.0, top_deg=HALF_HEIGHT_DEG, bottom_deg=-HALF_HEIGHT_DEG)
PICTURES = (".jpg", ".jpeg", ".png")


def open_cvusa(folder: Path, split: str | None = None) -> Dataset:
    """One split of CVUSA; query i shows the place of reference i.

    Args:
        split: "train" or "val" (the default: what papers report).

    Raises:
        DatasetError: the list is missing or a line of it is wrong.
    """
    split = check_split(split, SPLITS, "val", folder)
    need_folder(folder, "CVUSA's root, which holds splits/, bingmap/ and streetview/")
    name = f"{split}-19zl.csv"
    table = need_file(
        [folder / "splits" / name, folder / name], f"CVUSA's list of the split {split!r}"
    )
    tiles: list[Path] = []
    panoramas: list[Path] = []
    for number, line in enumerate(read_lines(table), start=1):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) not in (2, 3) or not all(map(_is_picture, cells[:2])):
            raise bad_line(
                table, number, f"expected tile,panorama[,annotation], found {line[:100]!r}"
            )
        tiles.append(folder / cells[0])
        panoramas.append(folder / cells[1])
    return Dataset(
        format="cvusa",
        folder=folder,
        split=split,
        queries=make_records(panoramas, heading_deg=0.0, split=split, fov_deg=360.0),
        references=make_records(tiles, heading_deg=0.0, split=split),
        positives=tuple(np.arange(len(tiles), dtype=np.int64)[:, None]),
        query_reader=FilesWithView(VIEW),
        reference_reader=FilesAsTiles(),
        rule="safa",
    )


def _is_picture(cell: str) -> bool:
    path = PurePosixPath(cell)
    return path.suffix.lower() in PICTURES and not path.is_absolute() and ".." not in path.parts
