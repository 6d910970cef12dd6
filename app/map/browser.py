"""The one place that touches Qt WebEngine's widgets: a browser that shows our page and nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

from PySide6.QtCore import QObject, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWebChannel import QWebChannel
from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineSettings
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QWidget

from app.map.basemap import BaseMap
from app.map.pictures import Pictures
from app.map.scheme import PAGE_URL, SCHEME
from app.map.server import OnlyOurs, PageServer

log = logging.getLogger(__name__)


class Bridge(QObject):
    """What the page sees of the program: one signal to listen to, one slot to call, JSON both ways."""

    message = Signal(str)
    received = Signal(dict)

    @Slot(str)
    def post(self, text: str) -> None:
        """A message from the page."""
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            self.received.emit(value)


class _Page(QWebEnginePage):
    """Goes nowhere but to our page; what its scripts complain of goes to the log."""

    def acceptNavigationRequest(self, url: QUrl | str, type: Any, isMainFrame: bool) -> bool:
        return isMainFrame and QUrl(url).toString() == PAGE_URL

    def createWindow(self, type: Any) -> QWebEnginePage | None:  # type: ignore[override]
        return None

    def javaScriptConsoleMessage(
        self, level: Any, message: str, lineNumber: int, sourceID: str
    ) -> None:
        write = (
            log.warning
            if level != self.JavaScriptConsoleMessageLevel.InfoMessageLevel
            else log.info
        )
        write("map page: %s (%s:%d)", message, sourceID, lineNumber)


class Browser(QObject):
    """The view and what stands behind it: an off-the-record profile, the page server, the bridge."""

    received = Signal(dict)
    died = Signal(str)

    def __init__(
        self, parent: QWidget, basemap: BaseMap, pictures: Pictures, background: QColor
    ) -> None:
        super().__init__(parent)
        self.server = PageServer(basemap, pictures, self)
        self.interceptor = OnlyOurs(self)
        self.profile = QWebEngineProfile(self)  # without a name: nothing is written to disk
        self.profile.setHttpCacheType(QWebEngineProfile.HttpCacheType.NoCache)
        self.profile.setUrlRequestInterceptor(self.interceptor)
        self.profile.installUrlSchemeHandler(SCHEME.encode(), self.server)
        self.profile.downloadRequested.connect(lambda download: download.cancel())
        self.page = _Page(self.profile, self)
        # Children end in the order they came; the profile must outlive its page.
        self.profile.setParent(None)
        self.profile.setParent(self)
        _restrict(self.page.settings())
        self.page.setBackgroundColor(background)
        self.page.renderProcessTerminated.connect(
            lambda status, code: self.died.emit(f"{status.name}, {code}")
        )
        self.bridge = Bridge(self)
        self.bridge.received.connect(self.received)
        self._channel = QWebChannel(self)
        self._channel.registerObject("nadir", self.bridge)
        self.page.setWebChannel(self._channel)
        self.view = QWebEngineView(parent)
        self.view.setPage(self.page)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.view.setAcceptDrops(False)  # photos dropped on the map belong to the window

    def load(self, page: bytes, files: dict[str, bytes]) -> None:
        """Show the page; it says ``ready`` when it listens."""
        self.server.set_page(page, files)
        self.page.load(QUrl(PAGE_URL))

    def send(self, messages: list[dict[str, Any]]) -> None:
        """Tell the page."""
        self.bridge.message.emit(json.dumps(messages, ensure_ascii=False, allow_nan=False))

    def close(self) -> None:
        """End the page and then the profile: in this order, or Qt WebEngine complains."""
        self.profile.removeAllUrlSchemeHandlers()
        self.view.setPage(None)  # type: ignore[arg-type]
        self.view.deleteLater()
        self.page.deleteLater()
        self.page.destroyed.connect(self.profile.deleteLater)


def _restrict(settings: QWebEngineSettings) -> None:
    attribute = QWebEngineSettings.WebAttribute
    for name in (
        attribute.LocalContentCanAccessRemoteUrls,
        attribute.LocalContentCanAccessFileUrls,
        attribute.LocalStorageEnabled,
        attribute.PluginsEnabled,
        attribute.PdfViewerEnabled,
        attribute.FullScreenSupportEnabled,
        attribute.ScreenCaptureEnabled,
        attribute.WebGLEnabled,
        attribute.DnsPrefetchEnabled,
        attribute.HyperlinkAuditingEnabled,
        attribute.JavascriptCanOpenWindows,
        attribute.JavascriptCanAccessClipboard,
        attribute.NavigateOnDropEnabled,
        attribute.ErrorPageEnabled,
        attribute.AutoLoadIconsForPage,
        attribute.AllowRunningInsecureContent,
    ):
        settings.setAttribute(name, False)
    settings.setAttribute(attribute.WebRTCPublicInterfacesOnly, True)
    settings.setAttribute(attribute.ShowScrollBars, False)
    settings.setUnknownUrlSchemePolicy(
        QWebEngineSettings.UnknownUrlSchemePolicy.DisallowUnknownUrlSchemes
    )
