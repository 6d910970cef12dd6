"""What a build encodes, whatever it is made of: rows with a place each, loaded in worker threads, then encoded.

A row of the references becomes a row of the index unless it is left out: because the imagery has next to nothing
there, or because a picture cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.imagery import AerialSource
from engine.index.seam import TileEncoder

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Loaded:
    """Rows ``first .. last`` as :meth:`References.load` read them.

    Args:
        good: [n] which of them can be encoded, counted from ``first``, rising; the others are left out.
        data: what :meth:`References.encode` needs of the good ones; nobody else looks at it.
    """

    good: NDArray[np.int64]
    data: Any


@dataclass(frozen=True)
class PictureRows:
    """What the tile table says of rows that are pictures.

    Args:
        numbers: [n] the picture of each row, as its source counts them.
        headings_deg: [n] where it was taken towards, clockwise from north; nan: not known.
        names: of their files.
    """

    numbers: NDArray[np.int64]
    headings_deg: NDArray[np.float64]
    names: Sequence[str]


class References(Protocol):
    """Rows to be encoded. Everything but :meth:`encode` may be called from several threads at once."""

    @property
    def kind(self) -> str:
        """``aerial`` or ``street``."""
        ...

    @property
    def count(self) -> int:
        """Rows, before any is left out."""
        ...

    @property
    def extents_m(self) -> tuple[float, ...]:
        """All extents that occur, rising; the least and the largest where there are more than 16."""
        ...

    @property
    def stride_m(self) -> float:
        """Metres between neighbours; 0 where the rows stand on no grid."""
        ...

    @property
    def row_bytes(self) -> int:
        """About how much memory the loaded data of one row takes."""
        ...

    @property
    def left_out(self) -> str:
        """Why rows are left out, as a clause: ``less than 25% imagery``."""
        ...

    def centres(self, first: int, last: int) -> Positions:
        """Latitudes and longitudes of rows ``first .. last`` (without ``last``), [n] each."""
        ...

    def extents(self, first: int, last: int) -> NDArray[np.float32]:
        """Metres along the side of each row's tile, [n]."""
        ...

    def pictures(self, rows: NDArray[np.int64]) -> PictureRows | None:
        """More about rows that are pictures; None where they are tiles of imagery."""
        ...

    def load(self, first: int, last: int) -> Loaded:
        """Decode and cut rows ``first .. last``.

        Raises:
            ImageryError: the imagery cannot be read any more.
        """
        ...

    def encode(self, encoder: TileEncoder, loaded: Loaded, part: slice) -> NDArray[np.float32]:
        """Descriptors [n, D] of the good rows ``loaded.good[part]``."""
        ...


class Places(Protocol):
    """A lattice that can be asked for any of its places without making the others."""

    @property
    def count(self) -> int: ...

    @property
    def stride_m(self) -> float: ...

    def centres(self, first: int, last: int) -> Positions: ...


class GridReferences:
    """Tiles of imagery on a grid: at every place one row for each extent, in the order of ``extents_m``.

    Args:
        imagery: what they are cut from.
        places: where they stand.
        extents_m: metres along a tile, one row a place each.
        pixels: along a tile's side.
        cuts: of all the cuts that an encoder reads together for one tile, the size in proportion to the tile's
            extent; ``(1.0,)`` where it reads one.
        missing: what stands where the imagery has nothing, 0..255.
        minimum_valid: leave out rows whose nearest cut has a smaller share of imagery than this, 0..1.
    """

    kind = "aerial"

    def __init__(
        self,
        imagery: AerialSource,
        places: Places,
        extents_m: Sequence[float],
        *,
        pixels: int,
        cuts: Sequence[float] = (1.0,),
        missing: int = 0,
        minimum_valid: float = 0.25,
    ) -> None:
        self.imagery = imagery
        self.places = places
        self.pixels = pixels
        self.cuts = tuple(cuts)
        self.missing = missing
        self.minimum_valid = minimum_valid
        self.extents_m = tuple(sorted(set(extents_m)))
        self.stride_m = places.stride_m
        self.count = places.count * len(self.extents_m)
        self.row_bytes = 3 * pixels * pixels * len(self.cuts)
        self.left_out = f"less than {minimum_valid:.0%} imagery"

    def centres(self, first: int, last: int) -> Positions:
        """See :meth:`References.centres`."""
        several = len(self.extents_m)
        begin = first // several
        lats, lons = self.places.centres(begin, -(-last // several))
        at = np.arange(first, last) // several - begin
        return lats[at], lons[at]

    def extents(self, first: int, last: int) -> NDArray[np.float32]:
        """See :meth:`References.extents`."""
        every = np.asarray(self.extents_m, np.float32)
        return every[np.arange(first, last) % len(every)]

    def pictures(self, rows: NDArray[np.int64]) -> PictureRows | None:
        """See :meth:`References.pictures`."""
        return None

    def load(self, first: int, last: int) -> Loaded:
        """See :meth:`References.load`. The data are tiles uint8 [n, P, P, 3], or [n, S, P, P, 3] of S cuts."""
        several = len(self.extents_m)
        lats, lons = self.centres(first, last)
        if several == len(self.cuts) == 1:
            extent = self.extents_m[0] * self.cuts[0]
            tiles, valid = self.imagery.cut_many(
                lats, lons, extent, self.pixels, missing=self.missing
            )
            good = np.flatnonzero(valid >= self.minimum_valid)
            return Loaded(good, tiles if len(good) == len(tiles) else tiles[good])
        shape = (last - first, len(self.cuts), self.pixels, self.pixels, 3)
        tiles = np.empty(shape, np.uint8)
        valid = np.zeros(last - first, np.float32)
        # A wide cut may well reach beyond the imagery; what lies close about the place must be there.
        nearest = int(np.argmin(self.cuts))
        for number, extent in enumerate(self.extents_m):
            rows = slice((number - first) % several, None, several)
            for position, cut in enumerate(self.cuts):
                tiles[rows, position], shares = self.imagery.cut_many(
                    lats[rows], lons[rows], extent * cut, self.pixels, missing=self.missing
                )
                if position == nearest:
                    valid[rows] = shares
        good = np.flatnonzero(valid >= self.minimum_valid)
        if len(good) < len(tiles):
            tiles = tiles[good]
        return Loaded(good, tiles if len(self.cuts) > 1 else tiles[:, 0])

    def encode(self, encoder: TileEncoder, loaded: Loaded, part: slice) -> NDArray[np.float32]:
        """See :meth:`References.encode`."""
        return encoder.encode_tiles(loaded.data[part])
