"""Filters as Milvus' expressions: lists of whole numbers only, so that nothing foreign is ever parsed, and exact.

The inside of a region goes as the numbers of cells (:mod:`engine.index.milvus_cells`). The tiles in the cells at its
edge are fetched once with their positions, tested here as every other index tests them, and those that pass go by
their ids. So the server searches among exactly the tiles that may answer, and ten results mean ten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine import geo
from engine.index.milvus_cells import AreaRegion, BoxRegion, CircleRegion, Region, cover
from engine.index.milvus_client import MilvusError

if TYPE_CHECKING:
    from engine.geo import Bounds
    from engine.index.filters import Filter

ID, VECTOR, LAT, LON = "id", "vector", "lat", "lon"
EXTENT, SOURCE, SOURCE_KEY, SOURCE_NUMBER = "extent_m", "source", "source_key", "source_number"
PICTURE, HEADING, NAME = "picture", "heading_deg", "name"
UNKNOWN = -1
"""The picture and the heading of a tile that has none."""

NOTHING = f"{ID} < 0"
EVERYTHING = f"{ID} >= 0"
MAX_NUMBERS = 2_000_000
"""Numbers in one expression; with some ten characters each this stays below the 64 MB a server takes at once."""

Positions = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
_RUN = 24  # consecutive ids from here on are shorter as a range


def cell_field(level: int) -> str:
    """The field with the numbers of the cells of a level."""
    return f"cell_{level}"


def source_key(source: str) -> int:
    """The number that stands for the name of an imagery."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def expression_of(
    filter: Filter, coverage: Bounds, positions: Callable[[str], Iterable[Positions]]
) -> str:
    """The expression that lets exactly the tiles of a filter answer; empty: all.

    Args:
        coverage: the box that all tiles lie in.
        positions: gives ids, latitudes and longitudes, some at a time, of the tiles that an expression holds for.

    Raises:
        MilvusError: the outline is too long to be sent.
    """
    tests: list[str] = []
    if filter.extents_m:
        tests.append(f"{EXTENT} in [{', '.join(repr(float(v)) for v in filter.extents_m)}]")
    if filter.sources:
        tests.append(among(SOURCE_KEY, np.array([source_key(s) for s in filter.sources])))
    regions: list[Region] = []
    if filter.near is not None:
        lat, lon, radius_m = filter.near
        regions.append(CircleRegion(lat, float(geo.wrap_longitude(lon)), radius_m))
    if filter.area is not None:
        regions.append(AreaRegion(filter.area))
    if regions:
        regions.append(BoxRegion(coverage))
        tests.append(_region(filter, regions, tests, positions))
    return " and ".join(f"({test})" for test in tests)


def _region(
    filter: Filter,
    regions: list[Region],
    tests: list[str],
    positions: Callable[[str], Iterable[Positions]],
) -> str:
    cells = cover(regions)
    terms = [among(cell_field(level), numbers) for level, numbers in sorted(cells.inside.items())]
    sent = sum(map(len, cells.inside.values()))
    kept: list[NDArray[np.int64]] = []
    if len(cells.edge):
        asked = [*tests, among(cell_field(cells.level), cells.edge)]
        for ids, lats, lons in positions(" and ".join(f"({test})" for test in asked)):
            good = np.ones(len(ids), np.bool_)
            if filter.area is not None:
                good &= filter.area.contains(lats, lons)
            if filter.near is not None:
                lat, lon, radius_m = filter.near
                good &= geo.distance_m(lat, lon, lats, lons) <= radius_m
            kept.append(ids[good])
            sent += int(np.count_nonzero(good))
            if sent > MAX_NUMBERS:
                raise MilvusError(
                    "the outline of the area is too long to be sent to a server",
                    None,
                    "Simplify it, or search its parts one after the other",
                )
    if kept and len(ids := np.sort(np.concatenate(kept))):
        terms.append(of_ids(ids))
    return " or ".join(terms) or NOTHING


def around_positions(lats: NDArray[np.float64], lons: NDArray[np.float64], radius_m: float) -> str:
    """The expression that holds for all tiles within a radius of one of some positions, and for some beyond."""
    numbers: dict[int, list[NDArray[np.int64]]] = {}
    for lat, lon in zip(lats.tolist(), geo.wrap_longitude(lons).tolist(), strict=True):
        cells = cover([CircleRegion(lat, lon, radius_m)])
        for level, some in (*cells.inside.items(), (cells.level, cells.edge)):
            numbers.setdefault(level, []).append(some)
    terms = [
        among(cell_field(level), np.unique(np.concatenate(some)))
        for level, some in sorted(numbers.items())
    ]
    return " or ".join(terms) or NOTHING


def of_ids(ids: NDArray[np.int64]) -> str:
    """The expression that holds for these ids; they are given rising.

    Raises:
        MilvusError: there are too many to be sent.
    """
    if not len(ids):
        return NOTHING
    breaks = np.flatnonzero(np.diff(ids) != 1) + 1
    firsts, lasts = ids[np.concatenate([[0], breaks])], ids[np.concatenate([breaks - 1, [-1]])]
    long = lasts - firsts >= _RUN
    ranges = [
        f"({ID} >= {first} and {ID} <= {last})"
        for first, last in zip(firsts[long].tolist(), lasts[long].tolist(), strict=True)
    ]
    single = ids[~np.repeat(long, lasts - firsts + 1)]
    if 2 * len(ranges) + len(single) > MAX_NUMBERS:
        raise MilvusError(f"{len(ids):,} scattered tiles are too many to be sent to a server")
    return _either([*ranges, *([among(ID, single)] if len(single) else [])])


def among(field: str, numbers: NDArray[np.int64]) -> str:
    """The expression that holds where a field is one of some numbers; of ids a server looks up nothing quicker."""
    return f"{field} in [{', '.join(map(str, numbers.tolist()))}]"


def _either(terms: list[str]) -> str:
    """Terms joined by "or", nested evenly: a parser goes as deep as a chain is long."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_either(terms[:half])} or {_either(terms[half:])})"
