"""A server that can be asked for tiles: its grid, which tiles it says it has, and the address of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.geo import Bounds
from engine.imagery.server.description import Server, host_of
from engine.imagery.tile_grid import Level, TileGrid, web_mercator_grid
from engine.imagery.tile_rows import bounds_of

Span = tuple[int, int, int, int]
"""First column, first row, last column, last row."""


@dataclass(frozen=True)
class Service:
    """What is asked for tiles.

    Args:
        server: its description.
        grid: the tiles that it has, or that are made of what it draws.
        address: of a tile: level, column, row from the north.
        bounds: where it says that it has imagery; None where it does not say.
        limits: tiles that a zoom has, where fewer than the level's.
        exact_size: whether an answer must have the level's tile size to the pixel; else any square will do.
        attribution, licence, terms: the description's, else the server's own words.
        kind: the picture format that is asked for: jpg, png or webp; empty where that is not known.
        notes: what was chosen, for people.
    """

    server: Server
    grid: TileGrid
    address: Callable[[Level, int, int], str]
    bounds: Bounds | None = None
    limits: dict[int, Span] = field(default_factory=dict)
    exact_size: bool = False
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    kind: str = ""
    notes: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that its tiles are asked of."""
        level = self.grid.levels[-1]
        count = max(len(self.server.subdomains), 1)
        found = (host_of(self.address(level, column, 0)) for column in range(count))
        return tuple(dict.fromkeys(found))


def xyz_service(server: Server) -> Service:
    """A service for addresses with ``{z}``, ``{x}`` and ``{y}``; asks nothing."""
    grid = web_mercator_grid(server.tile_pixels, server.zooms)

    def address(level: Level, column: int, row: int) -> str:
        z = level.zoom
        url = server.url.replace("{z}", str(z)).replace("{x}", str(column))
        url = url.replace("{y}", str(row)).replace("{-y}", str(2**z - 1 - row))
        url = url.replace("{q}", quadkey(z, column, row))
        url = url.replace("{r}", "@2x" if server.tile_pixels > 256 else "")
        if server.subdomains:
            url = url.replace("{s}", server.subdomains[(column + row) % len(server.subdomains)])
        return url

    ending = server.url.partition("?")[0].rpartition(".")[2].lower()
    kind = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "webp": "webp"}.get(ending, "")
    return Service(
        server,
        grid,
        address,
        bounds=bounds_of(list(server.bounds)) if server.bounds else None,
        attribution=server.attribution,
        licence=server.licence,
        terms=server.terms,
        kind=kind,
    )


def quadkey(zoom: int, column: int, row: int) -> str:
    """A tile's name in quarters of quarters, as Bing's tile system has it."""
    return "".join(
        str((column >> bit & 1) + 2 * (row >> bit & 1)) for bit in range(zoom - 1, -1, -1)
    )
