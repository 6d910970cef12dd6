"""Pixels of any window of a tile pyramid, from the level that fits: decoded tiles are kept, in bounded memory.

The finest level is the truth about what is there. A coarser one is read only where pixels are averaged down at least
that far, so nothing is ever enlarged. A tile that a coarser level lacks is made of the finer ones.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.imagery.tile_cover import Cover
from engine.imagery.tile_grid import Level, TileGrid
from engine.imagery.tile_image import TileError, TilePixels, decode_tile, scale_masked

MEMORY_BYTES = 96 << 20
_ABSENT_BYTES = 200  # what remembering that there is no tile costs
_MOST_DAMAGED = 10_000  # damaged tiles that are remembered
_MARGIN = 3  # pixels that a filter may want beyond a window


class TileStore(Protocol):
    """Where a pyramid's tiles lie. Safe to use from several threads.

    ``grid`` has the levels that may hold tiles; rows count from the north.
    """

    path: Path
    grid: TileGrid
    zooms: tuple[int, ...]
    """Those that have tiles, ascending."""

    def cover(self, zoom: int) -> Cover | None:
        """Which tiles a zoom has; None where it has none."""
        ...

    def read(self, zoom: int, column: int, row: int) -> bytes | None:
        """A tile's bytes as they are stored; None where there is none."""
        ...

    def close(self) -> None: ...


class TileLevels:
    """Windows of the level ``base`` of a store, averaged down; see the module.

    Args:
        store: the tiles.
        base: the zoom whose pixels count.
        across: how many columns of its pixels are in use, to know how far to go on averaging.
        memory_bytes: what decoded tiles may take.
    """

    def __init__(
        self, store: TileStore, base: int, across: int, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._store = store
        self.base = store.grid.level(base)
        self._levels = _chain(store.grid, self.base, across)  # fine to coarse
        self._stored = frozenset(store.zooms)
        cover = store.cover(base)
        if cover is None:
            raise ValueError(f"zoom {base} has no tiles")
        self.cover = cover
        self._turns = [store.grid.turns(level) for level in self._levels]
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, int], TilePixels | None] = OrderedDict()
        self._kept_bytes, self._most_bytes = 0, memory_bytes
        self.damaged: dict[tuple[int, int, int], str] = {}

    @property
    def kept_bytes(self) -> int:
        """Memory that decoded tiles take now."""
        return self._kept_bytes

    def read(
        self, left: int, top: int, right: int, bottom: int, columns: int, rows: int
    ) -> TilePixels:
        """A window in pixels of the base level (from its first tile's corner), averaged to ``columns`` by ``rows``."""
        step = min((right - left) / columns, (bottom - top) / rows) * (1 + 1e-6)
        depth = max(
            i
            for i, level in enumerate(self._levels)
            if i == 0 or level.resolution <= self.base.resolution * step
        )
        return self._window(depth, self._moved(0, depth, (left, top, right, bottom)), columns, rows)

    def _moved(
        self, source: int, target: int, box: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float]:
        """A box in pixels of one level as pixels of another."""
        a, b = self._levels[source], self._levels[target]
        scale = a.resolution / b.resolution
        x, y = (a.west - b.west) / b.resolution, (b.north - a.north) / b.resolution
        moved = (
            box[0] * scale + x,
            box[1] * scale + y,
            box[2] * scale + x,
            box[3] * scale + y,
        )
        whole = tuple(float(round(value)) for value in moved)
        close = all(abs(m - w) < 1e-3 for m, w in zip(moved, whole, strict=True))
        return (whole[0], whole[1], whole[2], whole[3]) if close else moved

    def _window(
        self, depth: int, box: tuple[float, float, float, float], columns: int, rows: int
    ) -> TilePixels:
        x0, y0 = math.floor(box[0]), math.floor(box[1])
        x1, y1 = math.ceil(box[2]), math.ceil(box[3])
        across, down = (box[2] - box[0]) / columns, (box[3] - box[1]) / rows
        if (x0, y0, x1, y1) != box or not (across.is_integer() and down.is_integer()):
            more_x, more_y = math.ceil(across) + _MARGIN, math.ceil(down) + _MARGIN
            x0, y0, x1, y1 = x0 - more_x, y0 - more_y, x1 + more_x, y1 + more_y
        colours, mask = self._assemble(depth, x0, y0, x1, y1)
        inner = (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
        return scale_masked(colours, mask, inner, columns, rows)

    def _assemble(
        self, depth: int, x0: int, y0: int, x1: int, y1: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pixels of a window of one level, as they are, and their validity."""
        level = self._levels[depth]
        wide, high = level.tile_width, level.tile_height
        colours = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for row in range(y0 // high, (y1 - 1) // high + 1):
            for column in range(x0 // wide, (x1 - 1) // wide + 1):
                tile = self._tile(depth, column, row)
                if tile is None:
                    continue
                left, top = column * wide, row * high
                ax, ay, bx, by = (
                    max(left, x0),
                    max(top, y0),
                    min(left + wide, x1),
                    min(top + high, y1),
                )
                target = (slice(ay - y0, by - y0), slice(ax - x0, bx - x0))
                part = (slice(ay - top, by - top), slice(ax - left, bx - left))
                colours[target] = tile.colours[part]
                mask[target] = 255 if tile.mask is None else tile.mask[part]
        return colours, mask

    def _tile(self, depth: int, column: int, row: int) -> TilePixels | None:
        level = self._levels[depth]
        if self._turns[depth]:
            column %= level.columns
        if not (0 <= column < level.columns and 0 <= row < level.rows):
            return None
        key = (depth, column, row)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        tile = self._decoded(level, column, row)
        if tile is None and depth > 0 and self._may_hold(depth, column, row):
            box = (
                column * level.tile_width,
                row * level.tile_height,
                (column + 1) * level.tile_width,
                (row + 1) * level.tile_height,
            )
            finer = self._moved(depth, depth - 1, box)
            tile = self._window(depth - 1, finer, level.tile_width, level.tile_height)
            if tile.mask is not None and not tile.mask.any():
                tile = None
        self._keep(key, tile)
        return tile

    def _decoded(self, level: Level, column: int, row: int) -> TilePixels | None:
        if level.zoom not in self._stored:
            return None
        data = self._store.read(level.zoom, column, row)
        if data is None:
            return None
        try:
            return decode_tile(data, level.tile_width, level.tile_height)
        except TileError as error:
            with self._lock:
                if len(self.damaged) < _MOST_DAMAGED:
                    self.damaged[level.zoom, column, row] = str(error)
            return None

    def _may_hold(self, depth: int, column: int, row: int) -> bool:
        """Whether the finest level has anything inside a tile of a coarser one."""
        level = self._levels[depth]
        wide, high = level.tile_width, level.tile_height
        box = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
        left, top, right, bottom = self._moved(depth, 0, box)
        base = self.base
        left, right = left / base.tile_width, right / base.tile_width
        top, bottom = top / base.tile_height, bottom / base.tile_height
        turns = (-base.columns, 0, base.columns) if self._turns[0] else (0,)
        return any(self.cover.meets(left + turn, top, right + turn, bottom) for turn in turns)

    def _keep(self, key: tuple[int, int, int], tile: TilePixels | None) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = tile
            self._kept_bytes += _cost(tile)
            while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._kept_bytes -= _cost(old)


def _cost(tile: TilePixels | None) -> int:
    return _ABSENT_BYTES + (0 if tile is None else tile.nbytes)


def _chain(grid: TileGrid, base: Level, across: int) -> list[Level]:
    """Levels from the base to one in which the whole coverage is a tile or two: the grid's own, then halves."""
    chain = [base, *(level for level in reversed(grid.levels) if level.zoom < base.zoom)]
    while across * base.resolution > chain[-1].tile_span[0]:
        last = chain[-1]
        if last.columns == last.rows == 1:
            break
        chain.append(
            Level(
                last.zoom - 1,
                last.resolution * 2,
                last.west,
                last.north,
                last.tile_width,
                last.tile_height,
                -(-last.columns // 2),
                -(-last.rows // 2),
            )
        )
    return chain
