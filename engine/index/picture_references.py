"""Pictures as the rows of an index: a dataset's tiles, or photos of the street."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import EncoderError, ImageryError
from engine.imagery.pictures import PictureSource
from engine.index.area import Area
from engine.index.references import Loaded, PictureRows, Positions
from engine.index.seam import TileEncoder

MAX_EXTENTS = 16


class PictureEncoder(TileEncoder, Protocol):
    """What is needed of an encoder here; :class:`engine.encoder.Encoder` is one."""

    @property
    def card(self) -> Any: ...

    def shape_picture(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of any size as the reference branch sees it, [H, W, 3]."""
        ...

    def encode_shaped(self, shaped: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptors [n, D] of such pictures [n, H, W, 3]."""
        ...


def check_pictures_encoder(encoder: PictureEncoder, kind: str) -> None:
    """Refuse an encoder that would read these pictures without ever having learned to.

    Photos of the street need one network for both sides that takes photos as they are, which is what the networks of
    place recognition (NetVLAD, GeM, CosPlace, MixVPR and their like) are.

    Raises:
        EncoderError: it compares photos with tiles seen from above, or reads several extents of a place together.
    """
    card = encoder.card
    if len(card.tile_extents_m) > 1:
        raise EncoderError(
            f"{card.name} reads {len(card.tile_extents_m)} extents of a place together, and a picture shows one",
            getattr(encoder, "path", None),
            "Build from imagery that they can be cut from, or use another encoder",
        )
    if kind == "street" and not card.compares_photos:
        raise EncoderError(
            f"{card.name} compares photos with tiles seen from above, and these pictures are photos of the street",
            getattr(encoder, "path", None),
            "Use a street-view encoder, with one network for both sides (nadir import reads MixVPR, CosPlace, GeM …)",
        )


class PictureReferences:
    """Every picture a row; see :class:`engine.index.references.References`.

    A picture is decoded and brought to the encoder's input in the thread that loads it. One that cannot be read, or a
    tile that is no square, is left out.

    Args:
        area: only pictures that lie in it.

    Raises:
        EncoderError: see :func:`check_pictures_encoder`.
        ImageryError: no picture lies in the area.
    """

    stride_m = 0.0

    def __init__(
        self, source: PictureSource, encoder: PictureEncoder, area: Area | None = None
    ) -> None:
        check_pictures_encoder(encoder, source.kind)
        self.source = source
        self.kind = source.kind
        self._encoder = encoder
        lats, lons = source.places()
        inside = np.ones(len(lats), np.bool_) if area is None else area.contains(lats, lons)
        self._numbers = np.flatnonzero(inside).astype(np.int64)
        if not len(self._numbers):
            raise ImageryError(
                f"none of the {len(lats):,} pictures of {source.name} lies in the area",
                None,
                "Choose an area that they lie in",
            )
        self._lats, self._lons = lats[self._numbers], lons[self._numbers]
        extents = source.extents_m()
        self._extents = (
            np.zeros(len(self._numbers), np.float32)
            if extents is None
            else extents[self._numbers].astype(np.float32)
        )
        self.count = len(self._numbers)
        self.extents_m = _different(self._extents) if extents is not None else ()
        height, width = encoder.card.branches.reference.input_size
        self.row_bytes = 3 * height * width
        self.left_out = "they could not be read"

    def centres(self, first: int, last: int) -> Positions:
        """Where rows ``first .. last`` lie."""
        return self._lats[first:last], self._lons[first:last]

    def extents(self, first: int, last: int) -> NDArray[np.float32]:
        """Metres along each tile's side; 0 of photos."""
        return self._extents[first:last]

    def pictures(self, rows: NDArray[np.int64]) -> PictureRows:
        """The pictures that rows are."""
        numbers = self._numbers[rows]
        names = [self.source.file_name(number) for number in numbers.tolist()]
        return PictureRows(numbers, self.source.headings()[numbers], names)

    def load(self, first: int, last: int) -> Loaded:
        """Rows as the reference branch sees them, uint8 [n, H, W, 3]."""
        good: list[int] = []
        shaped: list[NDArray[np.uint8]] = []
        for row in range(first, last):
            picture = self._read(int(self._numbers[row]))
            if picture is not None:
                good.append(row - first)
                shaped.append(self._encoder.shape_picture(picture))
        height, width = self._encoder.card.branches.reference.input_size
        data = np.stack(shaped) if shaped else np.zeros((0, height, width, 3), np.uint8)
        return Loaded(np.asarray(good, np.int64), data)

    def _read(self, number: int) -> NDArray[np.uint8] | None:
        try:
            picture = self.source.read(number)
        except ImageryError:
            return None
        if self.kind == "aerial" and picture.shape[0] != picture.shape[1]:
            return None  # its extent is said of one side
        return picture

    def names_but(self, numbers: NDArray[np.int64], most: int = 3) -> str:
        """The files that were left out, given the numbers of the pictures that were not: the first of them, and how
        many more there are; empty where there are none."""
        gone = np.setdiff1d(self._numbers, numbers)
        names = [self.source.file_name(number) for number in gone[:most].tolist()]
        more = f" and {len(gone) - most:,} more" if len(gone) > most else ""
        return ", ".join(names) + more

    def encode(self, encoder: PictureEncoder, loaded: Loaded, part: slice) -> NDArray[np.float32]:
        """Descriptors [n, D] of the good rows ``loaded.good[part]``."""
        return encoder.encode_shaped(loaded.data[part])


def _different(extents: NDArray[np.float32]) -> tuple[float, ...]:
    """All extents that occur, rising; the least and the largest where there are many."""
    found = np.unique(extents)
    if len(found) > MAX_EXTENTS:
        found = found[[0, -1]]
    return tuple(float(extent) for extent in found)
