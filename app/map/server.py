"""Answering the map page's requests, and blocking every request that leaves the program."""

from __future__ import annotations

import logging
import mimetypes
import re
from itertools import count

import shiboken6
from PySide6.QtCore import QBuffer, QFile, QIODevice, QObject
from PySide6.QtWebEngineCore import (
    QWebEngineUrlRequestInfo,
    QWebEngineUrlRequestInterceptor,
    QWebEngineUrlRequestJob,
    QWebEngineUrlSchemeHandler,
)

from app.map.basemap import BaseMap, TileKey
from app.map.pictures import Picture, Pictures
from app.map.scheme import HOST, SCHEME

log = logging.getLogger(__name__)

TILE_PIXELS = 256  # of a map tile on an ordinary screen
_TILE_PATH = re.compile(r"imagery/([0-9a-zA-Z_-]{1,64})/(\d{1,2})/(\d{1,8})/(\d{1,8})(@2x)?")
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".png": "image/png"}


class OnlyOurs(QWebEngineUrlRequestInterceptor):
    """Blocks every URL that is not the program's own; images written into the page itself (``data:``) may pass."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.blocked: list[str] = []

    def interceptRequest(self, info: QWebEngineUrlRequestInfo) -> None:
        url = info.requestUrl()
        if url.scheme() == SCHEME and url.host() == HOST:
            return
        image = QWebEngineUrlRequestInfo.ResourceType.ResourceTypeImage
        if url.scheme() == "data" and info.resourceType() == image:
            return
        info.block(True)
        self.blocked.append(url.toString())
        log.warning("the map page asked for %s: blocked", url.toDisplayString())


class PageServer(QWebEngineUrlSchemeHandler):
    """Serves ``nadir://app/``: the page, its scripts and styles, the base map's tiles, and pictures held in memory."""

    def __init__(self, basemap: BaseMap, pictures: Pictures, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._basemap = basemap
        self._pictures = pictures
        self._files: dict[str, bytes] = {}
        self._page: bytes | None = None
        self._waiting: dict[TileKey, dict[int, QWebEngineUrlRequestJob]] = {}
        self._numbers = count()
        basemap.ready.connect(self._answer_tile)

    def set_page(self, page: bytes, files: dict[str, bytes]) -> None:
        """Give the page and the files it loads, by path."""
        self._page = page
        self._files = files

    def requestStarted(self, job: QWebEngineUrlRequestJob) -> None:
        url = job.requestUrl()
        path = url.path().lstrip("/")
        if url.host() != HOST or bytes(job.requestMethod().data()) != b"GET":
            job.fail(QWebEngineUrlRequestJob.Error.RequestDenied)
        elif path == "qwebchannel.js":
            _reply(job, Picture("text/javascript", _channel_script()))
        elif path == "map.html" and self._page is not None:
            _reply(job, Picture("text/html", self._page))
        elif path in self._files:
            _reply(job, Picture(_type_of(path), self._files[path]))
        elif picture := self._pictures.get(path):
            _reply(job, picture)
        elif tile := _TILE_PATH.fullmatch(path):
            self._ask_tile(job, tile)
        else:
            job.fail(QWebEngineUrlRequestJob.Error.UrlNotFound)

    def _ask_tile(self, job: QWebEngineUrlRequestJob, match: re.Match[str]) -> None:
        token, zoom, x, y, double = match.groups()
        key = TileKey(token, int(zoom), int(x), int(y), TILE_PIXELS * (2 if double else 1))
        picture = self._basemap.request(key)
        if picture is not None:
            _reply(job, picture)
            return
        number = next(self._numbers)
        self._waiting.setdefault(key, {})[number] = job
        job.destroyed.connect(lambda _=None: self._give_up(key, number))

    def _give_up(self, key: TileKey, number: int) -> None:
        """The page no longer wants a tile: leave it uncut unless another request waits for it."""
        jobs = self._waiting.get(key)
        if jobs is None or jobs.pop(number, None) is None or jobs:
            return
        del self._waiting[key]
        self._basemap.forget(key)

    def _answer_tile(self, key: TileKey, picture: Picture) -> None:
        for job in self._waiting.pop(key, {}).values():
            if shiboken6.isValid(job):
                _reply(job, picture)


def _reply(job: QWebEngineUrlRequestJob, content: Picture) -> None:
    buffer = QBuffer(job)  # lives as long as the job that reads it
    buffer.setData(content.data)
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    job.reply(content.mime.encode(), buffer)


def _type_of(path: str) -> str:
    suffix = "." + path.rsplit(".", 1)[-1]
    return _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _channel_script() -> bytes:
    """Qt's own side of QWebChannel, from its resources: it comes with the library it must fit."""
    file = QFile(":/qtwebchannel/qwebchannel.js")
    if not file.open(QIODevice.OpenModeFlag.ReadOnly):
        log.error("Qt's qwebchannel.js is missing from its resources")
        return b""
    return bytes(file.readAll().data())
