"""From what was fetched to the file that is kept: MBTiles 1.3, the same bytes whatever the order things came in."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import ImageryError
from engine.imagery.mbtiles import FETCH_KEY, GRID_KEY, LICENCE_KEY, TERMS_KEY
from engine.imagery.projection import WGS84, project
from engine.imagery.server.plan import TilePlan
from engine.imagery.server.service import Service
from engine.imagery.server.store import is_full, store_error
from engine.imagery.tile_grid import TileGrid, grid_to_json
from engine.imagery.tile_image import kind_of
from engine.progress import Report, silent

WEB_SUFFIX, OTHER_SUFFIX = ".mbtiles", ".tiles"


def check_name(out: Path, grid: TileGrid) -> None:
    """Refuse a name that would make other programs take tiles of another grid for those of web maps.

    Raises:
        ImageryError: ``out`` does not end as it should.
    """
    wanted = WEB_SUFFIX if grid.is_web_mercator else OTHER_SUFFIX
    if out.suffix.lower() == wanted:
        return
    why = "" if grid.is_web_mercator else ": these tiles are not on the grid that MBTiles have"
    raise ImageryError(
        f"the name of this file must end in {wanted}{why}", out, f"Name it {out.stem}{wanted}"
    )


def write_tiles(
    out: Path,
    work: Path,
    service: Service,
    plan: TilePlan,
    fetched: Mapping[str, Any],
    picture: bytes,
    report: Report = silent,
) -> None:
    """Write the plan's tiles out of a working file, in order; a reader sees all of it or nothing.

    Args:
        work: the working file, not open elsewhere.
        fetched: what is said of the fetch in the metadata.
        picture: one of the tiles, for its kind.

    Raises:
        ImageryError: it cannot be written.
    """
    level = plan.level
    temporary = out.with_name(f".{out.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as db:
            for pragma in (
                "page_size=4096",
                "journal_mode=OFF",
                "synchronous=OFF",
                "cache_size=-8192",
            ):
                db.execute(f"PRAGMA {pragma}")
            db.execute("ATTACH ? AS work", (str(work),))
            db.execute("BEGIN")
            db.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
            db.execute(
                "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)"
            )
            db.executemany(
                "INSERT INTO metadata VALUES (?, ?)", _metadata(service, plan, fetched, picture)
            )
            for i, (row, first, last) in enumerate(plan.spans.tolist()):
                report(i, len(plan.spans), "writing the tiles")
                db.execute(
                    "INSERT INTO tiles SELECT zoom, column, ?, data FROM work.tiles"
                    " WHERE zoom = ? AND row = ? AND column BETWEEN ? AND ? AND state = 'stored' ORDER BY column",
                    (level.rows - 1 - row, level.zoom, row, first, last),
                )
            db.execute(
                "CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row)"
            )
            db.execute("COMMIT")
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, out)
    except sqlite3.Error as error:
        raise store_error(error, out) from error
    except OSError as error:
        problem = (
            "the disk is full" if is_full(error) else f"it cannot be written ({error.strerror})"
        )
        raise ImageryError(problem, out, "What was fetched is kept: run this again") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _metadata(
    service: Service, plan: TilePlan, fetched: Mapping[str, Any], picture: bytes
) -> list[tuple[str, str]]:
    server, level = service.server, plan.level
    west, south, east, north = _bounds(service.grid, plan)
    values = {
        "name": server.name or service.hosts[0],
        "type": "baselayer",
        "version": "1",
        "description": f"fetched from {', '.join(service.hosts)}",
        "format": kind_of(picture),
        "bounds": f"{west:.6f},{south:.6f},{east:.6f},{north:.6f}",
        "minzoom": str(level.zoom),
        "maxzoom": str(level.zoom),
        "attribution": service.attribution,
        LICENCE_KEY: service.licence,
        TERMS_KEY: service.terms,
        FETCH_KEY: json.dumps(dict(fetched), sort_keys=True, ensure_ascii=False),
    }
    if not service.grid.is_web_mercator:
        own = TileGrid(service.grid.crs, (level,))
        values[GRID_KEY] = json.dumps(grid_to_json(own), sort_keys=True)
        values["crs"] = "nadir"
    return [(name, value) for name, value in values.items() if value]


def _bounds(grid: TileGrid, plan: TilePlan) -> tuple[float, float, float, float]:
    """West, south, east and north of the plan's tiles, degrees."""
    rows, firsts, lasts = plan.spans.T
    west, _, _, north = plan.level.box(int(firsts.min()), int(rows.min()))
    _, south, east, _ = plan.level.box(int(lasts.max()), int(rows.max()))
    t = np.linspace(0, 1, 9)
    x, y = np.meshgrid(west + t * (east - west), south + t * (north - south))
    lons, lats = project(grid.crs, WGS84, x.ravel(), y.ravel())
    good = np.isfinite(lons) & np.isfinite(lats)
    # The last edge of the world is its first one too.
    at_edge = np.isclose(lons, -180.0) & (x.ravel() > (west + east) / 2)
    lons = np.where(at_edge, 180.0, lons)
    lons, lats = lons[good], lats[good]
    return float(lons.min()), float(lats.min()), float(lons.max()), float(lats.max())
