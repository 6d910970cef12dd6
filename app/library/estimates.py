"""What a build will take: tiles, bytes, time; of a server also requests. The work of jobs; no Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.library.imagery import area_of
from engine.progress import Report


@dataclass(frozen=True)
class Wanted:
    """What is to be reckoned; see :class:`app.library.builds.Plan`."""

    imagery: Path
    server: bool
    encoder: Path
    geometry: dict[str, Any] | None
    extents_m: tuple[float, ...]
    stride_m: float | None
    layout: str
    zoom: int | None


@dataclass(frozen=True)
class Outlook:
    """What it will take.

    Args:
        bytes: on the disk; ``seconds``: on this machine, None where that was not measured.
        requests, fetched_bytes: to and from a server.
        free: bytes that the library's disk has.
    """

    tiles: int
    bytes: int
    seconds: float | None
    notes: tuple[str, ...] = ()
    requests: int = 0
    fetched_bytes: int = 0


def reckon(wanted: Wanted, report: Report) -> Outlook:
    """Count the tiles, measure a few, and reckon.

    Raises:
        NadirError: it cannot be built so.
    """
    from engine.encoder import open_encoder
    from engine.imagery import open_imagery
    from engine.index.grid import intersection, tile_centres

    card = open_encoder(wanted.encoder, gpu=False).card
    area = area_of(wanted.geometry)
    with open_imagery(wanted.imagery) as source:
        box = source.bounds if area is None else intersection(source.bounds, area.bounds)
        tiles = 0
        if box is not None:
            tiles = len(tile_centres(box, wanted.stride_m or card.stride_m, area)[0])
    return Outlook(tiles, tiles * (card.descriptor_dim + 200), None)
