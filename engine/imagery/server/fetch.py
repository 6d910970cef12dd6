"""Fetching the tiles of an area into a file that stands alone: paced, bounded, to be stopped and gone on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import ImageryError
from engine.imagery.mbtiles import FETCH_KEY
from engine.imagery.server.access import AllowedHosts, Limits, NotAllowed
from engine.imagery.server.ask import connect
from engine.imagery.server.description import MOST_PARALLEL, Server
from engine.imagery.server.job import Fetched, Job
from engine.imagery.server.pace import Patience
from engine.imagery.server.plan import AreaLike, Estimate, TilePlan, estimate_plan, plan_tiles
from engine.imagery.server.service import Service
from engine.imagery.server.writer import check_name
from engine.progress import Report, silent

MOST_TILES = 1_000_000


def estimate(
    server: Server | Service,
    area: AreaLike,
    zoom: int,
    *,
    margin_m: float = 0.0,
    rate: float | None = None,
    allowed_hosts: Iterable[str] = (),
) -> Estimate:
    """What fetching an area would take. An xyz server is not asked; of WMTS and WMS, capabilities are.

    Raises:
        NotAllowed, ServerRefusal, ImageryError: see :func:`connect` and ``plan_tiles``.
    """
    service = server if isinstance(server, Service) else connect(server, allowed_hosts)
    plan = plan_tiles(service, area, zoom, margin_m)
    return estimate_plan(service, plan, area.bounds.centre[0], rate or service.server.rate)


def fetch(
    server: Server | Service,
    area: AreaLike,
    zoom: int,
    out: Path | str,
    *,
    allowed_hosts: Iterable[str],
    report: Report = silent,
    margin_m: float = 0.0,
    rate: float | None = None,
    parallel: int | None = None,
    most_tiles: int = MOST_TILES,
    cache: Path | None = None,
    limits: Limits | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """Fetch the tiles that an area touches into ``out``.

    What was fetched is kept in ``.OUT.fetch`` beside it until all is there; running the same again goes on from it
    and asks only for what is missing, and a file that is complete is not fetched again. Tiles that failed at the end
    are missing from the file, which says so.

    Args:
        out: ``NAME.mbtiles``; ``NAME.tiles`` where the server's grid is not that of web maps.
        allowed_hosts: which hosts may be asked; see :class:`AllowedHosts`.
        margin_m: how far beyond the area.
        rate: requests a second; the description's where it is not given.
        parallel: connections at once, likewise.
        most_tiles: refuse to ask for more.
        cache: a file of the server's tiles to take from and to add to, instead of ``.OUT.fetch``; it stays, for other
            areas and zooms.

    Raises:
        NotAllowed: a host was not allowed; nothing was sent to it.
        ServerRefusal: the server refuses, does not answer any more, or has no imagery there. There is no new file;
            what came is kept beside it.
        ImageryError: the area means nothing there, or the file cannot be written.
        Cancelled: ``report`` raised it; what came is kept.
    """
    out = Path(out).absolute()
    allowed_hosts = tuple(allowed_hosts)
    service = server if isinstance(server, Service) else connect(server, allowed_hosts, limits)
    check_name(out, service.grid)
    plan = plan_tiles(service, area, zoom, margin_m)
    if plan.count > most_tiles:
        raise ImageryError(
            f"this area has {plan.count:,} tiles at zoom {zoom}, more than {most_tiles:,}",
            None,
            "Choose a smaller area or a lower zoom, or allow more with --max-tiles",
        )
    allowed = AllowedHosts(allowed_hosts)
    for host in service.hosts:
        if host not in allowed:
            raise NotAllowed(host)
    mark = _mark(service, plan)
    done = _already(out, mark)
    if done is not None:
        return done
    job = Job(
        service,
        plan,
        allowed,
        limits or Limits(),
        patience or Patience(),
        rate or service.server.rate,
        min(parallel or service.server.parallel, MOST_PARALLEL),
    )
    return job.run(
        out, cache or out.with_name(f".{out.name}.fetch"), cache is not None, mark, report
    )


def _mark(service: Service, plan: TilePlan) -> str:
    digest = hashlib.sha256(f"{service.server.identity}\n{plan.level}\n".encode())
    digest.update(plan.spans.astype("<i8").tobytes())
    return digest.hexdigest()


def _already(out: Path, mark: str) -> Fetched | None:
    """What a file says that was fetched before, where it is of the same tiles and none of them is missing.

    Raises:
        ImageryError: another file has that name.
    """
    if not out.exists():
        return None
    said = _said(out)
    if said.get("mark") != mark:
        raise ImageryError(
            "another file has this name", out, "Choose another name, or move that file away"
        )
    return complete_fetch(out)


def complete_fetch(path: Path) -> Fetched | None:
    """What came of the fetch that made a file; None where there is no such file, or it lacks tiles that failed."""
    said = _said(path) if path.exists() else {}
    try:
        if int(said["failed"]):
            return None
        asked, stored, absent, blank = (
            int(said[k]) for k in ("asked", "stored", "absent", "blank")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return Fetched(path, asked, stored, absent, blank, (), 0, 0, ("it was fetched before",))


def _said(path: Path) -> dict[str, Any]:
    """What a file's metadata says of a fetch; nothing where it is no such file."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
            row = db.execute("SELECT value FROM metadata WHERE name = ?", (FETCH_KEY,)).fetchone()
        said = json.loads(row[0]) if row else {}
    except (sqlite3.Error, ValueError, TypeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
