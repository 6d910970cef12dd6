"""What a build will take: tiles, bytes, time; of a server also requests. The work of jobs; no Qt here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.library.imagery import area_of
from engine.progress import Report


@dataclass(frozen=True)
class Wanted:
    """What is to be reckoned; see :class:`app.library.builds.Plan`.

    Args:
        kind: of pictures, as the user said; their extents are then those of ``extents_m``.
        allow: hosts that may be asked what they have.
        root: where it is built.
    """

    imagery: Path
    server: bool
    encoder: Path
    geometry: dict[str, Any] | None
    extents_m: tuple[float, ...]
    stride_m: float | None
    layout: str
    zoom: int | None
    root: Path
    allow: tuple[str, ...] = ()
    kind: Literal["aerial", "street"] | None = None


@dataclass(frozen=True)
class Outlook:
    """What it will take.

    Args:
        bytes: on the disk; ``seconds``: on this machine, None where that was not measured.
        needed: bytes while it is built, ``free``: those that the disk has; ``writable``: whether the folder takes any.
        requests, fetched_bytes, fetch_s: to and from a server; ``resolution_m``: of what it gives.
        street: they are photos, not tiles.
        hosts: which are asked; zooms, attribution, licence, terms: what the server says of itself.
    """

    tiles: int
    bytes: int
    seconds: float | None
    notes: tuple[str, ...] = ()
    needed: int = 0
    free: int = 0
    writable: bool = True
    requests: int = 0
    fetched_bytes: int = 0
    fetch_s: float = 0.0
    resolution_m: float = 0.0
    hosts: tuple[str, ...] = ()
    zooms: tuple[int, int] | None = None
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    street: bool = False


def reckon(wanted: Wanted, report: Report) -> Outlook:
    """Count the tiles, measure a few, and reckon.

    Raises:
        NadirError: it cannot be built so.
    """
    return _reckon_server(wanted) if wanted.server else _reckon_imagery(wanted, report)


def _reckon_imagery(wanted: Wanted, report: Report) -> Outlook:
    from engine.encoder import open_encoder
    from engine.imagery import open_source
    from engine.imagery.pictures import PictureSource
    from engine.index.estimate import estimate_build
    from engine.index.job import Settings

    encoder = open_encoder(wanted.encoder)
    extents = wanted.extents_m or None
    one = extents[0] if extents is not None and len(extents) == 1 else None
    with open_source(wanted.imagery, kind=wanted.kind, extent_m=one, report=report) as source:
        settings = Settings(
            extents_m=None if isinstance(source, PictureSource) else extents,
            stride_m=wanted.stride_m,
            area=area_of(wanted.geometry),
            layout=wanted.layout,
        )
        told = estimate_build(source, encoder, settings, report=report)
        street = isinstance(source, PictureSource) and source.kind == "street"
    return Outlook(
        told.places,
        told.bytes,
        told.seconds,
        tuple(told.notes),
        free=_free(wanted.root),
        writable=_writable(wanted.root),
        needed=told.bytes + told.working_bytes,
        street=street,
    )


def _free(folder: Path) -> int:
    return shutil.disk_usage(_standing(folder)).free


def _writable(folder: Path) -> bool:
    return os.access(_standing(folder), os.W_OK)


def _standing(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


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
        needed=2 * told.bytes + 4 * tiles * card.descriptor_dim,
        free=_free(wanted.root),
        writable=_writable(wanted.root),
    )
