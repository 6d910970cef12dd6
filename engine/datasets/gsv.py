"""GSV-Cities: places of forty towns, each photographed over years (Ali-bey et al., Neurocomputing 2022).

The layout::

    Dataframes/CITY.csv      place_id,year,month,northdeg,city_id,lat,lon,panoid
    Images/CITY/CITY_PLACE_YEAR_MONTH_NORTHDEG_LAT_LON_PANOID.jpg

(PLACE seven digits, YEAR four, MONTH two, NORTHDEG three.) It is a set to train on: every photo is a query and a
reference, and the other photos of its place are its positives. Benchmarks are evaluated in the layout of
:mod:`engine.datasets.streets`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engine.datasets.layout import bad_line, check_split, contents, need_folder
from engine.datasets.places import positives_of_places
from engine.datasets.reading import FilesAsTiles, FilesWithFov
from engine.datasets.records import Dataset, make_records
from engine.errors import DatasetError
from engine.photo.read import ASSUMED_FOV_DEG

COLUMNS = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")
LEAST_PHOTOS = 4


def open_gsv_cities(
    folder: Path,
    split: str | None = None,
    *,
    cities: Sequence[str] | str | None = None,
    least_photos: int = LEAST_PHOTOS,
) -> Dataset:
    """The photos of some towns, in the order of the tables.

    Args:
        split: "train", all there is.
        cities: names of tables; None: all, by name.
        least_photos: places with fewer are left out, as in the authors' training (4).

    Raises:
        DatasetError: a table is missing or wrong, or nothing is left.
    """
    split = check_split(split, ("train",), "train", folder)
    need_folder(folder, "GSV-Cities' root, which holds Dataframes/ and Images/")
    tables = need_folder(folder / "Dataframes", "GSV-Cities' tables")
    if isinstance(cities, str):
        cities = (cities,)
    wanted = list(cities) if cities is not None else sorted(p.stem for p in tables.glob("*.csv"))
    if not wanted:
        raise DatasetError(f"holds no tables (CITY.csv); it holds {contents(tables)}", tables)
    files: list[Path] = []
    places: list[str] = []
    numbers: list[tuple[float, float, float]] = []
    for city in wanted:
        table = tables / f"{city}.csv"
        if not table.is_file():
            raise DatasetError(
                f"the table {city}.csv is missing; there is {contents(tables)}", tables
            )
        rows = _rows(table)
        sizes = Counter(place for place, *_ in rows)
        for place, name, lat, lon, north in rows:
            if sizes[place] >= least_photos:
                files.append(folder / "Images" / name)
                places.append(f"{city}/{place:07d}")
                numbers.append((lat, lon, north))
    if not files:
        raise DatasetError(f"has no place with {least_photos} photos or more", folder)
    lats, lons, norths = zip(*numbers, strict=True)
    records = make_records(
        files, lat=lats, lon=lons, heading_deg=norths, split=split, labels=places
    )
    return Dataset(
        format="gsv-cities",
        folder=folder,
        split=split,
        queries=records,
        references=records,
        positives=positives_of_places(places, places, same=True),
        query_reader=FilesWithFov(ASSUMED_FOV_DEG),
        reference_reader=FilesAsTiles(),
        rule="vg",
    )


def _rows(table: Path) -> list[tuple[int, str, float, float, float]]:
    """Place, picture (below Images/), latitude, longitude and heading of every row."""
    rows: list[tuple[int, str, float, float, float]] = []
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"has no column {', '.join(missing)} (its first line: {', '.join(reader.fieldnames or ())[:200]})",
                    table,
                    f"It should have: {','.join(COLUMNS)}",
                )
            for line, row in enumerate(reader, start=2):
                try:
                    rows.append(_row(row))
                except (TypeError, ValueError, AttributeError) as error:
                    raise bad_line(table, line, f"a value is wrong ({error})") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot be read ({error})", table) from error
    return rows


def _row(row: dict[str, str]) -> tuple[int, str, float, float, float]:
    city, panoid = row["city_id"].strip(), row["panoid"].strip()
    if not city or not panoid or set("/\\") & set(city + panoid):
        raise ValueError("city_id and panoid must be plain names")
    place, year, month = (int(row[key]) for key in ("place_id", "year", "month"))
    north, lat, lon = int(row["northdeg"]), float(row["lat"]), float(row["lon"])
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError("a position is no latitude and longitude")
    # The authors' names hold numbers as Python prints them.
    name = f"{city}_{place % 10**5:07d}_{year:04d}_{month:02d}_{north:03d}_{lat}_{lon}_{panoid}.jpg"
    return place, f"{city}/{name}", lat, lon, float(north % 360)
