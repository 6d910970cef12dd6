"""What an index needs of an encoder."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ReferenceBranch(Protocol):
    """The card's side for tiles."""

    @property
    def tile_pixels(self) -> int | None:
        """Side of the square tile that is cut from the imagery."""
        ...

    @property
    def missing_value(self) -> int:
        """What stands in a tile where the imagery has nothing, 0..255."""
        ...


class Branches(Protocol):
    @property
    def reference(self) -> ReferenceBranch: ...


class TileCard(Protocol):
    """The part of an encoder's card that decides how tiles are cut."""

    @property
    def name(self) -> str: ...

    @property
    def descriptor_dim(self) -> int: ...

    @property
    def tile_extents_m(self) -> tuple[float, ...]: ...

    @property
    def stride_m(self) -> float: ...

    @property
    def branches(self) -> Branches: ...


class TileEncoder(Protocol):
    """Tiles in, descriptors out; :class:`engine.encoder.Encoder` is one."""

    hash: str

    @property
    def card(self) -> TileCard: ...

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """L2-normalised descriptors [N, D] of north-up tiles [N, P, P, 3]; of [N, S, P, P, 3] for S extents."""
        ...
