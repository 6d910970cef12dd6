"""A server as imagery for an index: fetched first, then opened as the file it became."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from engine.errors import ImageryError
from engine.imagery.mbtiles import open_mbtiles
from engine.imagery.pyramid import TilePyramid
from engine.imagery.server.ask import connect
from engine.imagery.server.description import (
    SUFFIX,
    Server,
    is_address,
    read_server,
    server_of,
)
from engine.imagery.server.fetch import MOST_TILES, Fetched, complete_fetch, estimate, fetch
from engine.imagery.server.plan import AreaLike, Estimate
from engine.imagery.server.service import Service
from engine.imagery.server.writer import OTHER_SUFFIX, WEB_SUFFIX
from engine.progress import Report, silent


def is_server(source: Path | str) -> bool:
    """Whether ``--imagery SOURCE`` names a server: an address, or a ``NAME.server.json``."""
    text = str(source)
    return is_address(text) or text.lower().endswith(SUFFIX)


def open_server(source: Path | str) -> Server:
    """The server that an address or a ``NAME.server.json`` describes. Asks nothing of it.

    Raises:
        ImageryError: it describes none.
    """
    return server_of(str(source)) if is_address(str(source)) else read_server(source)


def server_imagery(
    source: Path | str,
    area: AreaLike,
    zoom: int | None,
    folder: Path,
    *,
    allowed_hosts: Iterable[str],
    margin_m: float = 0.0,
    most_tiles: int = MOST_TILES,
    rate: float | None = None,
    announce: Callable[[Service, Estimate], None] | None = None,
    report: Report = silent,
) -> tuple[TilePyramid, Fetched]:
    """Fetch what an index of an area needs into ``folder`` and open it. What is there already is not fetched again.

    Args:
        source: see :func:`open_server`.
        area: where tiles of the index will be centred.
        zoom: which zoom; it must be given.
        folder: where the file is kept, and a cache of the server's tiles for other areas; made where there is none.
        margin_m: half a tile's extent, so that those at the rim are whole.
        announce: told what it will take, whose it is and on which terms, before any tile is asked for.

    Returns:
        The imagery, and what came of the fetch: tiles that failed are missing and counted in it.

    Raises:
        NotAllowed, ServerRefusal, ImageryError, Cancelled: see :func:`fetch`.
    """
    server = open_server(source)
    allowed_hosts = tuple(allowed_hosts)
    if zoom is None:
        raise ImageryError("a server needs a zoom", None, "Choose one with --zoom")
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{_plain(server.name or server.hosts[0])}-{_key(server, area, zoom, margin_m)}"
    for ending in (WEB_SUFFIX, OTHER_SUFFIX):
        # A build that goes on needs no network for what it has.
        done = complete_fetch(folder / f"{stem}{ending}")
        if done is not None:
            return open_mbtiles(done.path), done
    service = connect(server, allowed_hosts)
    if announce is not None:
        announce(service, estimate(service, area, zoom, margin_m=margin_m, rate=rate))
    ending = WEB_SUFFIX if service.grid.is_web_mercator else OTHER_SUFFIX
    fetched = fetch(
        service,
        area,
        zoom,
        folder / f"{stem}{ending}",
        allowed_hosts=allowed_hosts,
        margin_m=margin_m,
        most_tiles=most_tiles,
        rate=rate,
        cache=folder
        / f"{_plain(server.name or server.hosts[0])}-{_digest(server.identity)}.tiles-cache",
        report=report,
    )
    return open_mbtiles(fetched.path), fetched


def _plain(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:60].strip(".-")
    return kept or "imagery"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _key(server: Server, area: AreaLike, zoom: int, margin_m: float) -> str:
    """Tells what is fetched from anything else that could be."""
    rings = [[ring.tolist() for ring in polygon] for polygon in area.polygons]
    return f"{zoom}-{_digest(json.dumps([server.identity, rings, zoom, margin_m]))}"
