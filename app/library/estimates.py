"""What a build will take: tiles, bytes, time; of a server also requests. The work of jobs; no Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.library.imagery import area_of
from engine.progress import Report


@dataclass(frozen=True)
class Wanted:
    """What is to be reckoned; see :class:`app.library.builds.Plan`.

    Args:
        allow: hosts that may be asked what they have.
    """

    imagery: Path
    server: bool
    encoder: Path
    geometry: dict[str, Any] | None
    extents_m: tuple[float, ...]
    stride_m: float | None
    layout: str
    zoom: int | None
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outlook:
    """What it will take.

    Args:
        bytes: on the disk; ``seconds``: on this machine, None where that was not measured.
        requests, fetched_bytes, fetch_s: to and from a server; ``resolution_m``: of what it gives.
        hosts: which are asked; zooms, attribution, licence, terms: what the server says of itself.
    """

    tiles: int
    bytes: int
    seconds: float | None
    notes: tuple[str, ...] = ()
    requests: int = 0
    fetched_bytes: int = 0
    fetch_s: float = 0.0
    resolution_m: float = 0.0
    hosts: tuple[str, ...] = ()
    zooms: tuple[int, int] | None = None
    attribution: str = ""
    licence: str = ""
    terms: str = ""


def reckon(wanted: Wanted, report: Report) -> Outlook:
    """Count the tiles, measure a few, and reckon.

    Raises:
        NadirError: it cannot be built so.
    """
    return _reckon_server(wanted) if wanted.server else _reckon_imagery(wanted, report)


def _reckon_imagery(wanted: Wanted, report: Report) -> Outlook:
    from engine.encoder import open_encoder
    from engine.imagery import open_imagery
    from engine.index.grid import Grid, intersection

    card = open_encoder(wanted.encoder, gpu=False).card
    area = area_of(wanted.geometry)
    with open_imagery(wanted.imagery) as source:
        box = source.bounds if area is None else intersection(source.bounds, area.bounds)
        tiles = 0
        if box is not None:
            tiles = Grid(box, wanted.stride_m or card.stride_m, area).count
    return Outlook(tiles, tiles * (card.descriptor_dim + 200), None)


def _reckon_server(wanted: Wanted) -> Outlook:
    """What the fetch takes; the tiles are counted, how long they take is only known once there is imagery."""
    from engine.encoder.package import read_facts
    from engine.imagery.server import connect, estimate, read_server
    from engine.index.grid import Grid

    area = area_of(wanted.geometry)
    assert area is not None and wanted.zoom is not None
    card, _ = read_facts(wanted.encoder)
    service = connect(read_server(wanted.imagery), wanted.allow)
    zooms = service.grid.zooms
    extents = wanted.extents_m or card.tile_extents_m
    told = estimate(service, area, wanted.zoom, margin_m=max(extents) / 2)
    tiles = Grid(area.bounds, wanted.stride_m or card.stride_m, area).count * max(
        1, len(wanted.extents_m)
    )
    return Outlook(
        tiles=tiles,
        bytes=tiles * (card.descriptor_dim + 200) + told.bytes,
        seconds=None,
        requests=told.tiles,
        fetched_bytes=told.bytes,
        fetch_s=told.seconds,
        resolution_m=told.resolution_m,
        hosts=tuple(dict.fromkeys((*service.server.hosts, *told.hosts))),
        zooms=(zooms[0], zooms[-1]),
        attribution=service.attribution,
        licence=service.licence,
        terms=service.terms,
        notes=tuple(service.notes),
    )
