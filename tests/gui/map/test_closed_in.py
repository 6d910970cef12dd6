"""The page reaches nothing but the program; it recovers when it dies; without a browser the widget says so."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QUrl

from app.map.page import build_page
from tests.conftest import ROOT
from tests.gui.map.conftest import Driver, Ground, make_result

pytestmark = pytest.mark.gui

NewMap = Callable[..., Driver]


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port, of TCP and of UDP, that counts who calls."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", port))
    callers: list[object] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            readable, _, _ = select.select([server, datagrams], [], [], 0.1)
            if server in readable:
                connection, address = server.accept()
                callers.append(("tcp", address))
                connection.close()
            if datagrams in readable:
                callers.append(("udp", datagrams.recvfrom(2048)[1]))

    thread = threading.Thread(target=listen)
    thread.start()
    yield port, callers
    stop.set()
    thread.join()
    server.close()
    datagrams.close()


ATTEMPTS = """
(() => {
  const http = "http://127.0.0.1:%PORT%/", ws = "ws://127.0.0.1:%PORT%/", file = "%FILE%";
  window.got = [];
  const add = (tag, attribute, url) => {
    const element = document.createElement(tag);
    element.onload = () => { if (tag !== "iframe") got.push(tag + " " + url); };
    element[attribute] = url;
    if (tag === "link") element.rel = "stylesheet";
    document.body.appendChild(element);
  };
  for (const url of [http, file]) {
    for (const [tag, attribute] of [["img", "src"], ["script", "src"], ["link", "href"], ["iframe", "src"],
                                    ["video", "src"], ["embed", "src"], ["object", "data"]]) add(tag, attribute, url);
    fetch(url, {mode: "no-cors"}).then(() => got.push("fetch " + url), () => 0);
    const request = new XMLHttpRequest();
    try { request.open("GET", url); request.onload = () => got.push("xhr " + url); request.send(); } catch (e) {}
    try { navigator.sendBeacon(url, "x"); } catch (e) {}
    try { new Worker(url); } catch (e) {}
    try { new EventSource(url); } catch (e) {}
    try { window.open(url); } catch (e) {}
    const prefetch = document.createElement("link");
    prefetch.rel = "prefetch"; prefetch.href = url; document.head.appendChild(prefetch);
    const preconnect = document.createElement("link");
    preconnect.rel = "preconnect"; preconnect.href = url; document.head.appendChild(preconnect);
    const form = document.createElement("form");
    form.action = url; document.body.appendChild(form); form.submit();
  }
  try {
    const peer = new RTCPeerConnection({iceServers: [{urls: "stun:127.0.0.1:%PORT%"}]});
    peer.createDataChannel("x");
    peer.createOffer().then(offer => peer.setLocalDescription(offer));
  } catch (e) {}
  try { const socket = new WebSocket(ws); socket.onopen = () => got.push("ws"); } catch (e) {}
  setTimeout(() => { location.href = http; }, 300);
  setTimeout(() => { location.href = file; }, 600);
  return 0;
})()
"""


@pytest.mark.parametrize("with_policy", [True, False])
def test_nothing_leaves(
    new_map: NewMap,
    ground: Ground,
    tmp_path: Path,
    qtbot,
    listener: tuple[int, list[object]],
    with_policy: bool,
) -> None:
    """With the page's own policy, and with the program's walls alone."""
    port, callers = listener
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    driver = new_map()
    driver.view.set_area(ground.area())
    browser = driver.view._browser
    assert browser is not None
    if not with_policy:
        html = build_page().replace(b"Content-Security-Policy", b"X-Nothing")
        with qtbot.waitSignal(driver.view.ready, timeout=20_000):
            browser.load(html, browser.server._files)
    driver.settled()
    assert browser.interceptor.blocked == []
    script = ATTEMPTS.replace("%PORT%", str(port)).replace("%FILE%", secret.as_uri())
    driver.ask(script)
    driver.rest(1500)
    assert callers == [], "somebody connected"
    assert driver.ask("window.got") == [], "something was loaded"
    assert driver.ask("location.href") == "nadir://app/map.html", "the page went away"
    if not with_policy:
        assert any(url.startswith("http://127.0.0.1") for url in browser.interceptor.blocked)
    assert driver.ask("document.querySelectorAll('img.leaflet-tile').length") > 0, (
        "the map is still there"
    )


def test_the_program_itself_cannot_send_the_page_away(new_map: NewMap, ground: Ground) -> None:
    driver = new_map()
    browser = driver.view._browser
    assert browser is not None
    browser.page.load(QUrl("https://example.org/"))
    browser.page.setHtml("<h1>other</h1>", QUrl("https://example.org/"))
    driver.rest(400)
    assert driver.ask("location.href") == "nadir://app/map.html"


@pytest.mark.parametrize(
    "path",
    [
        "web/../../run.py",
        "web/%2e%2e/%2e%2e/run.py",
        "etc/passwd",
        "memory/999",
        "imagery/area-1/99/0/0",
    ],
)
def test_addresses_that_are_none_of_ours_get_nothing(
    new_map: NewMap, ground: Ground, path: str
) -> None:
    driver = new_map()
    driver.view.set_area(ground.area())
    driver.settled()
    driver.ask(
        f"(i => {{ window.end = ''; i.onload = () => end = 'load ' + i.naturalWidth; i.onerror = () => end = 'error';"
        f" i.src = 'nadir://app/{path}'; return 0; }})(new Image())"
    )
    driver.until(lambda: driver.ask("window.end"))
    assert driver.ask("window.end") in ("error", "load 1")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are ended by a signal here")
def test_a_page_that_dies_comes_back_with_all_it_showed(
    new_map: NewMap, ground: Ground, qtbot
) -> None:
    driver = new_map()
    driver.view.set_area(ground.area())
    driver.view.set_result(make_result(ground, [(0, 0), (40, 20)]))
    driver.drawn(driver.view.select(2))
    browser = driver.view._browser
    assert browser is not None
    with qtbot.waitSignal(driver.view.ready, timeout=20_000):
        os.kill(browser.page.renderProcessPid(), signal.SIGKILL)
    driver.settled()
    assert driver.ask("document.querySelector('.rank.selected').textContent") == "2"
    with qtbot.waitSignal(driver.view.failed, timeout=20_000):
        os.kill(browser.page.renderProcessPid(), signal.SIGKILL)
    assert driver.view._card.isVisible(), "dying twice in a row is said, not hidden"
    driver.view.set_result(None)
    driver.view.select(1)


WITHOUT = """
import os, sys
{prepare}
from PySide6.QtWidgets import QApplication
{register}
app = QApplication([])
from PySide6.QtCore import QTimer
from app.map.view import MapView
view = MapView()
said = []
view.failed.connect(said.append)
view.set_index(None); view.set_result(None); view.select(1); view.set_tile_heat(None)
view.set_heat_opacity(0.3); view.set_theme(True); view.show_area()
view.show()
QTimer.singleShot(400, app.quit)
app.exec()
view.set_result(None)
view.shut_down()
print("SAID", said[0] if said else "nothing", flush=True)
"""
NO_LIBRARY = """
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("PySide6.QtWebEngine"):
            raise ImportError("libnss3.so: cannot open shared object file: No such file or directory")
sys.meta_path.insert(0, Missing())
"""


def run(prepare: str, register: str, **environment: str) -> str:
    code = WITHOUT.format(prepare=prepare, register=register)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


REGISTER = "from app.map.scheme import register_scheme; register_scheme()"


def test_without_the_library_the_widget_says_which() -> None:
    assert "libnss3.so" in run(NO_LIBRARY, REGISTER)


def test_without_the_scheme_the_widget_says_so() -> None:
    assert "URL scheme was not registered" in run("", "import PySide6.QtWebEngineWidgets")


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root meets this"
)
def test_as_root_the_widget_says_what_to_do() -> None:
    said = run("", REGISTER, QTWEBENGINE_CHROMIUM_FLAGS="", QTWEBENGINE_DISABLE_SANDBOX="")
    assert "root" in said and "QTWEBENGINE_DISABLE_SANDBOX=1" in said
