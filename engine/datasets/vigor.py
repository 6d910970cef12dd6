"""VIGOR: panoramas of four American towns among overlapping tiles (Zhu et al., CVPR 2021).

The layout::

    splits/CITY/satellite_list.txt                     the tiles of a town
    splits/CITY/same_area_balanced_{train,test}.txt    panoramas of the same-area protocol
    splits/CITY/pano_label_balanced.txt                panoramas of the cross-area protocol
    CITY/panorama/ID,LAT,LON,.jpg                      2048 x 1024, the whole sphere, centre column north
    CITY/satellite/satellite_LAT_LON.png               640 x 640, web mercator's zoom 20

``splits__corrected/`` (Lentsch et al., SliceMatch, CVPR 2023) has the same lists, their names ending in
``__corrected``, with offsets put right; it is preferred where it is there. Sample4Geo's order of folders
(``ground/CITY``, ``satellite/CITY``) is read too.

A line is a panorama and four times ``tile dy dx``: the first tile is the true one (the panorama lies in its middle
quarter), the other three are semi-positives, which show the place near their edge. ``dy`` and ``dx`` are pixels of the
640 pixel tile from the panorama to the tile's centre, north and east positive: the place is ``dy`` rows below and
``dx`` columns left of the centre. The sides of the tiles were measured on the labels: 0.1008 m a pixel in Seattle and
0.1114 m in Chicago, which is zoom 20 at those latitudes (the authors use 0.114 m throughout).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from engine.datasets.layout import (
    bad_line,
    check_split,
    contents,
    need_file,
    need_folder,
    read_lines,
)
from engine.datasets.reading import FilesAsTiles, FilesWithView
from engine.datasets.records import Dataset, FloatArray, make_records
from engine.errors import DatasetError
from engine.imagery.pictures.names import (
    VIGOR_PIXEL_M,
    VIGOR_PIXELS,
    panorama_place,
    tile_place,
)

SPLITS = ("train", "test")
SAME_AREA = ("NewYork", "Seattle", "SanFrancisco", "Chicago")
CROSS_AREA = {"train": ("NewYork", "Seattle"), "test": ("SanFrancisco", "Chicago")}
CORRECTED = "__corrected"
TILES = 4

Area = Literal["same", "cross"]
Labels = Literal["best", "corrected", "original"]


def open_vigor(
    folder: Path,
    split: str | None = None,
    *,
    area: Area = "same",
    labels: Labels = "best",
    cities: Sequence[str] | str | None = None,
) -> Dataset:
    """One split of VIGOR. References are all tiles of its towns, town by town as the authors list them.

    Args:
        split: "train" or "test" (the default).
        area: "same": half of the panoramas of all four towns; "cross": trained on New York and Seattle, tested on
            San Francisco and Chicago.
        labels: "corrected" or "original" lists; "best": corrected ones where they are.
        cities: fewer towns than the protocol has (numbers are then not the papers').

    Raises:
        DatasetError: a list is missing, a line is wrong, or names a tile that is not in the list of tiles.
    """
    split = check_split(split, SPLITS, "test", folder)
    for value, known in ((area, ("same", "cross")), (labels, ("best", "corrected", "original"))):
        if value not in known:
            raise DatasetError(f"{value!r} is none of {', '.join(known)}", folder)
    need_folder(folder, "VIGOR's root, which holds splits/ and a folder a town")
    protocol = SAME_AREA if area == "same" else CROSS_AREA[split]
    if isinstance(cities, str):
        cities = (cities,)
    towns = tuple(cities) if cities is not None else protocol
    stem = f"same_area_balanced_{split}" if area == "same" else "pano_label_balanced"
    reader = _Lists(folder, stem, labels)
    for town in towns:
        reader.add(town)
    notes = []
    if set(towns) != set(protocol):
        notes.append(f"Only {', '.join(towns)} of {', '.join(protocol)}: not the papers' protocol.")
    tile_lat, tile_lon = np.array(reader.tile_places).T
    extents = VIGOR_PIXELS * VIGOR_PIXEL_M * np.cos(np.radians(tile_lat))
    lat, lon = np.array(reader.places).T
    numbers = np.array(reader.tiles_of, np.int64)
    return Dataset(
        format="vigor",
        folder=folder,
        split=split,
        queries=make_records(
            reader.panoramas, lat=lat, lon=lon, heading_deg=0.0, split=split, fov_deg=360.0
        ),
        references=make_records(
            reader.tiles, lat=tile_lat, lon=tile_lon, heading_deg=0.0, extent_m=extents, split=split
        ),
        positives=tuple(numbers[:, :1]),
        semi_positives=tuple(numbers[:, 1:]),
        query_reader=FilesWithView(),
        reference_reader=FilesAsTiles(),
        rule="vigor",
        notes=tuple(notes),
        offsets_px=np.array(reader.offsets, np.float64).reshape(-1, TILES, 2),
    )


def place_from_offset(
    tile_lat: FloatArray, tile_lon: FloatArray, offset_px: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where a panorama stands, by a tile's centre and its offset [..., (dy, dx)] in pixels of the tile.

    In web mercator a pixel is the same step of longitude everywhere and a step of latitude that shrinks with the
    cosine of the latitude.
    """
    per_pixel = 360.0 / (256 * 2**20)
    lat = tile_lat - offset_px[..., 0] * per_pixel * np.cos(np.radians(tile_lat))
    return lat, tile_lon - offset_px[..., 1] * per_pixel


class _Lists:
    """The lists of some towns, gathered; tiles are numbered through."""

    def __init__(self, folder: Path, stem: str, labels: Labels) -> None:
        self._folder, self._stem, self._labels = folder, stem, labels
        self.tiles: list[Path] = []
        self.tile_places: list[tuple[float, float]] = []
        self.panoramas: list[Path] = []
        self.places: list[tuple[float, float]] = []
        self.tiles_of: list[list[int]] = []
        self.offsets: list[list[float]] = []

    def add(self, town: str) -> None:
        table = self._label_file(town)
        tile_list = need_file(
            [
                table.parent / "satellite_list.txt",
                self._folder / "splits" / town / "satellite_list.txt",
            ],
            f"VIGOR's list of the tiles of {town}",
        )
        tile_folder = _either(self._folder / town / "satellite", self._folder / "satellite" / town)
        numbers: dict[str, int] = {}
        for line, name in enumerate(read_lines(tile_list), start=1):
            name = name.strip()
            place = tile_place(name)
            if place is None:
                raise bad_line(
                    tile_list, line, f"expected satellite_LAT_LON.png, found {name[:100]!r}"
                )
            numbers[name] = len(self.tiles)
            self.tiles.append(tile_folder / name)
            self.tile_places.append(place)
        panorama_folder = _either(self._folder / town / "panorama", self._folder / "ground" / town)
        for line, text in enumerate(read_lines(table), start=1):
            self._add_line(text, table, line, panorama_folder, numbers)

    def _label_file(self, town: str) -> Path:
        corrected = [
            self._folder / f"splits{CORRECTED}" / town / f"{self._stem}{CORRECTED}.txt",
            self._folder / "splits" / town / f"{self._stem}{CORRECTED}.txt",
            self._folder / town / f"{self._stem}{CORRECTED}.txt",
        ]
        original = [
            self._folder / "splits" / town / f"{self._stem}.txt",
            self._folder / town / f"{self._stem}.txt",
        ]
        places = {"best": corrected + original, "corrected": corrected, "original": original}
        found = next((path for path in places[self._labels] if path.is_file()), None)
        if found is not None:
            return found
        expected = (
            f"splits{CORRECTED}/{town}/{corrected[0].name} or splits/{town}/{original[0].name}"
        )
        if self._labels != "best":
            expected = " or ".join(
                path.relative_to(self._folder).as_posix() for path in places[self._labels][:2]
            )
        here = next(
            (
                p
                for p in (
                    places[self._labels][0].parent,
                    self._folder / "splits" / town,
                    self._folder / town,
                )
                if p.is_dir()
            ),
            self._folder,
        )
        raise DatasetError(
            f"the labels of {town} are missing: looked for {expected}; {here} holds {contents(here)}",
            self._folder,
            "Complete the dataset, or name the towns that are there with the option cities",
        )

    def _add_line(
        self, text: str, table: Path, line: int, folder: Path, numbers: dict[str, int]
    ) -> None:
        cells = text.split()
        if len(cells) != 1 + 3 * TILES:
            raise bad_line(
                table,
                line,
                f"expected a panorama and four times tile dy dx, found {len(cells)} words",
            )
        place = panorama_place(cells[0])
        if place is None:
            raise bad_line(table, line, f"expected ID,LAT,LON,.jpg, found {cells[0][:100]!r}")
        try:
            tiles = [numbers[name] for name in cells[1::3]]
        except KeyError as error:
            raise bad_line(
                table, line, f"the tile {error.args[0][:100]} is not in satellite_list.txt"
            ) from None
        try:
            offsets = [
                float(cells[1 + 3 * tile + axis]) for tile in range(TILES) for axis in (1, 2)
            ]
        except ValueError:
            offsets = [math.nan]
        if not all(map(math.isfinite, offsets)):
            raise bad_line(table, line, "an offset is no number")
        self.panoramas.append(folder / cells[0])
        self.places.append(place)
        self.tiles_of.append(tiles)
        self.offsets.append(offsets)


def _either(first: Path, second: Path) -> Path:
    return second if second.is_dir() and not first.is_dir() else first
