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
_MADE_SHARE = 0.3  # of it, for tiles that are made of others: those cost much to make again
_JUMP = 3  # levels that are skipped where nothing is stored between: a tile is then read at an eighth of its size
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
        self._read_tiles = _Kept(round(memory_bytes * (1 - _MADE_SHARE)))
        self._made_tiles = _Kept(round(memory_bytes * _MADE_SHARE))
        self.damaged: dict[tuple[int, int, int], str] = {}

    @property
    def kept_bytes(self) -> int:
        """Memory that decoded tiles take now."""
        return self._read_tiles.bytes + self._made_tiles.bytes

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
            for kept in (self._read_tiles, self._made_tiles):
                if key in kept.tiles:
                    return kept.get(key)
        tile = self._decoded(level, column, row, level.tile_width, level.tile_height)
        made = tile is None and depth > 0 and self._may_hold(depth, column, row)
        if made:
            tile = self._made(depth, column, row)
        with self._lock:
            (self._made_tiles if made else self._read_tiles).put(key, tile)
        return tile

    def _made(self, depth: int, column: int, row: int) -> TilePixels | None:
        """A tile that is not stored, of the finer ones; None where they have nothing either."""
        level = self._levels[depth]
        wide, high = level.tile_width, level.tile_height
        box = (column * wide, row * high, (column + 1) * wide, (row + 1) * high)
        tile = self._of_eighths(depth, box)
        if tile is None:
            finer = self._moved(depth, depth - 1, box)
            tile = self._window(depth - 1, finer, wide, high)
        return None if tile.mask is not None and not tile.mask.any() else tile

    def _of_eighths(self, depth: int, box: tuple[int, int, int, int]) -> TilePixels | None:
        """A tile of eight by eight stored ones three levels below; None where the levels do not stand so."""
        if depth < _JUMP or self._levels[depth - _JUMP].zoom not in self._stored:
            return None
        if any(self._levels[depth - i].zoom in self._stored for i in range(1, _JUMP)):
            return None
        finer, many = self._levels[depth - _JUMP], 1 << _JUMP
        wide, high = finer.tile_width, finer.tile_height
        left, top, right, bottom = self._moved(depth, depth - _JUMP, box)
        if (right - left, bottom - top) != (many * wide, many * high) or left % wide or top % high:
            return None
        if wide % many or high % many or (wide, high) != (box[2] - box[0], box[3] - box[1]):
            return None
        small = (wide // many, high // many)
        colours, mask = np.zeros((high, wide, 3), np.uint8), np.zeros((high, wide), np.uint8)
        for i in range(many):
            for j in range(many):
                column, row = int(left) // wide + j, int(top) // high + i
                if not self._may_hold(depth - _JUMP, column, row):
                    continue
                tile = self._decoded(finer, column, row, *small)
                if tile is not None:
                    part = (
                        slice(i * small[1], (i + 1) * small[1]),
                        slice(j * small[0], (j + 1) * small[0]),
                    )
                    colours[part] = tile.colours
                    mask[part] = 255 if tile.mask is None else tile.mask
        return TilePixels(colours, None if mask.all() else mask)

    def _decoded(
        self, level: Level, column: int, row: int, width: int, height: int
    ) -> TilePixels | None:
        if level.zoom not in self._stored:
            return None
        data = self._store.read(level.zoom, column, row)
        if data is None:
            return None
        try:
            return decode_tile(data, width, height)
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


class _Kept:
    """Tiles used last, as many as fit into so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.tiles: OrderedDict[tuple[int, int, int], TilePixels | None] = OrderedDict()
        self.bytes, self._most = 0, most_bytes

    def get(self, key: tuple[int, int, int]) -> TilePixels | None:
        self.tiles.move_to_end(key)
        return self.tiles[key]

    def put(self, key: tuple[int, int, int], tile: TilePixels | None) -> None:
        if key in self.tiles:
            return
        self.tiles[key] = tile
        self.bytes += _cost(tile)
        while self.bytes > self._most and len(self.tiles) > 1:
            _, old = self.tiles.popitem(last=False)
            self.bytes -= _cost(old)


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
