"""The imagery as a base map: z/x/y tiles cut on demand by one worker thread, kept in memory."""

from __future__ import annotations

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.map.pictures import NOTHING, Picture

if TYPE_CHECKING:
    from engine.imagery.web_tiles import Cuttable, WebTile

log = logging.getLogger(__name__)

CACHE_BYTES = 96 * 2**20
JPEG_QUALITY = 88


@dataclass(frozen=True)
class TileKey:
    """One map tile of one base map."""

    token: str
    zoom: int
    x: int
    y: int
    pixels: int


def encode(tile: WebTile) -> Picture:
    """A map tile as JPEG, or as WebP where part of it lies outside the imagery and is clear."""
    import numpy as np
    from PIL import Image

    out = io.BytesIO()
    if tile.valid is None:
        Image.fromarray(tile.pixels).save(out, "JPEG", quality=JPEG_QUALITY)
        return Picture("image/jpeg", out.getvalue())
    rgba = np.dstack([tile.pixels, np.where(tile.valid, 255, 0).astype(np.uint8)])
    Image.fromarray(rgba).save(out, "WEBP", quality=JPEG_QUALITY, method=0)
    return Picture("image/webp", out.getvalue())


class _Cutter:
    """The worker: takes keys, cuts tiles, hands them to ``cut`` until it is stopped."""

    def __init__(self, cut: Callable[[TileKey, Picture], None]) -> None:
        self._deliver = cut
        self._token = ""
        self._opened: Callable[[], Cuttable] | None = None
        self._wanted: dict[TileKey, None] = {}
        self._zoom = 0
        self._condition = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def show(self, token: str, opened: Callable[[], Cuttable] | None) -> list[TileKey]:
        """Change the source; returns what was wanted of the old one."""
        with self._condition:
            self._token, self._opened = token, opened
            given_up = list(self._wanted)
            self._wanted.clear()
        return given_up

    def want(self, key: TileKey) -> bool:
        """Cut this tile; returns whether there is something to cut it from."""
        with self._condition:
            if key.token != self._token or self._opened is None or self._stopped:
                return False
            self._wanted[key] = None
            self._zoom = key.zoom
            self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="map-tiles", daemon=True)
            self._thread.start()
        return True

    def forget(self, key: TileKey) -> None:
        with self._condition:
            self._wanted.pop(key, None)

    def stop(self) -> None:
        """End the thread; nothing is delivered any more."""
        with self._condition:
            self._stopped = True
            self._wanted.clear()
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _work(self) -> None:
        token, source = "", None
        while True:
            with self._condition:
                while not self._wanted and not self._stopped:
                    self._condition.wait()
                if self._stopped:
                    return
                at_this_zoom = (key for key in self._wanted if key.zoom == self._zoom)
                key = next(at_this_zoom, next(iter(self._wanted)))
                del self._wanted[key]
                opened = self._opened if key.token == self._token else None
            if opened is not None and key.token != token:
                token, source = key.token, _open(opened)
            picture = NOTHING
            if source is not None and key.token == token:
                picture = _cut_picture(source, key)
            with self._condition:
                if self._stopped:
                    return
                self._deliver(key, picture)


class BaseMap(QObject):
    """Answers requests for map tiles. Everything but the cutting happens on the thread that made it."""

    ready = Signal(object, object)  # TileKey, Picture
    _cut = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._token = ""
        self._cache: OrderedDict[TileKey, Picture] = OrderedDict()
        self._cached_bytes = 0
        self.tiles_cut = 0
        self._cut.connect(self._keep)
        self._cutter = _Cutter(self._cut.emit)
        self.destroyed.connect(self._cutter.stop)

    def show(self, token: str, opened: Callable[[], Cuttable] | None) -> None:
        """Serve tiles under ``token``, and of nothing else; what was kept of others is let go.

        Args:
            token: the name of this base map in the tiles' addresses.
            opened: gives the source, which must bear several threads; called on the worker's thread.
        """
        self._token = token
        self._cache.clear()
        self._cached_bytes = 0
        for key in self._cutter.show(token, opened):
            self.ready.emit(key, NOTHING)

    def request(self, key: TileKey) -> Picture | None:
        """The tile if it is at hand; else None, and ``ready`` tells when it is.

        Tiles of the zoom asked for last are cut first, in the order they were asked for.
        """
        picture = self._cache.get(key)
        if picture is not None:
            self._cache.move_to_end(key)
            return picture
        return None if self._cutter.want(key) else NOTHING

    def forget(self, key: TileKey) -> None:
        """Nobody waits for this tile any more."""
        self._cutter.forget(key)

    def close(self) -> None:
        """Stop the worker and wait for it."""
        self._cutter.stop()

    def _keep(self, key: TileKey, picture: Picture) -> None:
        if key.token == self._token and key not in self._cache:
            self.tiles_cut += 1
            self._cache[key] = picture
            self._cached_bytes += len(picture.data)
            while self._cached_bytes > CACHE_BYTES:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= len(oldest.data)
        self.ready.emit(key, picture)


def _open(opened: Callable[[], Cuttable]) -> Cuttable | None:
    try:
        return opened()
    except Exception:
        log.exception("the imagery of the map could not be opened")
        return None


def _cut_picture(source: Cuttable, key: TileKey) -> Picture:
    from engine.errors import NadirError
    from engine.imagery.web_tiles import web_tile

    try:
        tile = web_tile(source, key.zoom, key.x, key.y, key.pixels)
        return encode(tile) if tile is not None else NOTHING
    except NadirError as error:
        log.info(
            "map tile %s: %s", key, error
        )  # the index was closed, or part of its imagery is damaged
        return NOTHING
    except Exception:
        # A tile that cannot be cut leaves a gap in the picture; the program goes on, and the log says why.
        log.exception("map tile %s could not be cut", key)
        return NOTHING
