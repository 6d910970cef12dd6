"""Servers of map tiles on this machine, with real sockets: as good, slow, broken or hostile as a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Reply:
    """What is answered. ``drip`` sends the body a byte at a time with such a pause; ``short`` breaks off before its
    end; ``wait`` comes first."""

    status: int = 200
    body: bytes = b""
    kind: str = "image/png"
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    drip: float = 0.0
    short: bool = False


@dataclass
class Asked:
    """A request: its path, its parameters in upper case, its headers in lower case, when it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    when: float


@dataclass
class Site:
    """A running server."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Site]:
    """Serve until the block ends; ``answer`` runs in many threads."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {k.upper(): v for k, v in parse_qsl(parts.query, keep_blank_values=True)}
            headers = {k.lower(): v for k, v in self.headers.items()}
            asked = Asked(parts.path, query, headers, time.monotonic())
            with site.lock:
                site.asked.append(asked)
                site.at_once += 1
                site.most_at_once = max(site.most_at_once, site.at_once)
            try:
                self._send(answer(asked))
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with site.lock:
                    site.at_once -= 1

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.wait)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            length = len(reply.body) * (2 if reply.short else 1)
            for name, value in {"Content-Length": str(length), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.drip:
                for i in range(len(reply.body)):
                    self.wfile.write(reply.body[i : i + 1])
                    self.wfile.flush()
                    time.sleep(reply.drip)
            else:
                self.wfile.write(reply.body)
            if reply.short:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Who hangs up does so on purpose here; anything else shows in what is answered."""

    server = Server(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
