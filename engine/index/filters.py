"""Which tiles may answer: by area, by distance, by extent and by source; decided before a search and used inside it.

A filter says it in the user's terms; :func:`select` turns it into the set of tiles of one index. Stores search among
exactly these, so that ten results mean ten wherever there are ten. A store that lives elsewhere reads the filter
itself and never asks for the set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import geo
from engine.index.area import Area

IdArray = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Filter:
    """What a tile must be to answer; all that is given must hold, what is left out is not asked.

    Args:
        area: its centre lies in these polygons.
        near: (latitude, longitude, metres): its centre lies within this distance.
        extents_m: its extent is one of these, in metres.
        sources: the name of its imagery is one of these.
    """

    area: Area | None = None
    near: tuple[float, float, float] | None = None
    extents_m: tuple[float, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.near is not None:
            lat, lon, radius_m = self.near
            good = abs(lat) <= 90 and abs(lon) <= 360 and 0 <= radius_m < 1e9
            if not good:
                raise ValueError(f"near is latitude, longitude and metres, not {self.near}")

    @property
    def empty(self) -> bool:
        """Whether nothing is asked, so that every tile may answer."""
        return self.area is None and self.near is None and not self.extents_m and not self.sources


class Allowed:
    """The tiles of one index that may answer, as a set of ids in [0, total).

    Args:
        total: tiles in the index.
        resolve: gives the set as bool [total]; asked at most once, and only when it is needed.
        filter: what it was made from; None where only ids are known.
    """

    def __init__(
        self, total: int, resolve: Callable[[], Mask], filter: Filter | None = None
    ) -> None:
        self.total = total
        self.filter = filter
        self._resolve = resolve
        self._mask: Mask | None = None
        self._ids: IdArray | None = None
        self._lock = threading.Lock()

    @staticmethod
    def of_ids(ids: ArrayLike, total: int) -> Allowed:
        """The set of these ids.

        Raises:
            IndexError: one of them is no tile's.
        """
        wanted = np.atleast_1d(np.asarray(ids, np.int64))
        if wanted.size and not 0 <= int(wanted.min()) <= int(wanted.max()) < total:
            raise IndexError(f"tile ids run from 0 to {total - 1}")
        mask = np.zeros(total, np.bool_)
        mask[wanted] = True
        return Allowed.of_mask(mask)

    @staticmethod
    def of_mask(mask: Mask, filter: Filter | None = None) -> Allowed:
        """The set that a bool [total] marks."""
        return Allowed(len(mask), lambda: mask, filter)

    @property
    def mask(self) -> Mask:
        """bool [total]: which tiles may answer."""
        with self._lock:
            if self._mask is None:
                mask = self._resolve()
                if mask.shape != (self.total,) or mask.dtype != np.bool_:
                    raise ValueError(f"a set of tiles is bool [{self.total}]")
                self._mask = mask
            return self._mask

    @property
    def ids(self) -> IdArray:
        """Ids of the tiles that may answer, rising."""
        mask = self.mask
        if self._ids is None:
            self._ids = np.flatnonzero(mask).astype(np.int64)
        return self._ids

    @property
    def count(self) -> int:
        """How many may answer."""
        return len(self.ids)

    @property
    def bitmap(self) -> NDArray[np.uint8]:
        """The set with a bit for every tile, lowest first."""
        return np.packbits(self.mask, bitorder="little")

    def contains(self, ids: ArrayLike) -> Mask:
        """Which of some tiles may answer."""
        return self.mask[np.asarray(ids, np.int64)]


def allowed_of(allowed: Allowed, total: int) -> Allowed:
    """A set, once it is known to be of an index with so many tiles.

    Raises:
        ValueError: it is another index's.
    """
    if allowed.total != total:
        raise ValueError(f"this is a set of {allowed.total} tiles, not of {total}")
    return allowed


class Places(Protocol):
    """As much of a table of tiles as filters need."""

    @property
    def count(self) -> int: ...

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitudes [N] and longitudes [N] by id."""
        ...

    def having(self, extents_m: tuple[float, ...], sources: tuple[str, ...]) -> IdArray:
        """Ids of the tiles of one of these extents (none given: of any) and one of these sources (likewise)."""
        ...


def select(filter: Filter, places: Places) -> Allowed:
    """The tiles that a filter lets answer; they are looked up when they are first needed."""
    return Allowed(places.count, lambda: _mask(filter, places), filter)


def _mask(filter: Filter, places: Places) -> Mask:
    mask = np.ones(places.count, np.bool_)
    if filter.near is not None:
        mask &= within_radius(places.centres(), *filter.near)
    within = getattr(places, "within", None)
    if filter.area is not None and within is not None and filter.near is None:
        mask = np.zeros(places.count, np.bool_)
        mask[within(filter.area)] = True
    elif filter.area is not None:
        some = np.flatnonzero(mask) if filter.near is not None else slice(None)
        lats, lons = places.centres()
        inside = np.zeros(places.count, np.bool_)
        inside[some] = filter.area.contains(lats[some], lons[some])
        mask = inside
    if filter.extents_m or filter.sources:
        wanted = np.zeros(places.count, np.bool_)
        wanted[places.having(filter.extents_m, filter.sources)] = True
        mask &= wanted
    return mask


def within_radius(
    centres: tuple[NDArray[np.float64], NDArray[np.float64]],
    lat: float,
    lon: float,
    radius_m: float,
) -> Mask:
    """Which positions lie within ``radius_m`` of one; also across the 180th meridian and about a pole."""
    lats, lons = centres
    mask = np.zeros(len(lats), np.bool_)
    # A degree of latitude is never shorter than 110.5 km; the band is only to leave most positions out.
    reach = radius_m / 110_500.0
    band = np.flatnonzero(np.abs(lats - lat) <= reach + 1e-9)
    distance = geo.distance_m(lat, lon, lats[band], lons[band])
    mask[band[distance <= radius_m]] = True
    return mask
