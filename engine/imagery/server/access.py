"""Asking a server over HTTP: only hosts that were allowed, no redirects elsewhere, nothing told but the request.

Sizes and times are bounded. No cookies are kept, no credentials sent, no proxy used.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from engine import __version__
from engine.errors import ImageryError, printable
from engine.imagery.server.certificates import trusting_context
from engine.imagery.server.description import host_of

_MOST_REDIRECTS = 3
_CHUNK = 1 << 16
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class NotAllowed(ImageryError):  # noqa: N818 - nothing went wrong: it was not asked
    """A host that the user has not allowed; ``host`` is its name."""

    def __init__(self, host: str, why: str = "") -> None:
        self.host = host
        super().__init__(
            f"{printable(host)} was not allowed{why}, so it was not asked",
            None,
            f"Allow it with --allow {printable(host)}",
        )


class NoAnswer(Exception):  # noqa: N818 - may be tried again
    """A server that could not be reached, broke off, or took too long; the text says which."""


class BadAnswer(Exception):  # noqa: N818 - will not get better
    """An answer that is too large, or leads elsewhere."""


@dataclass(frozen=True)
class Limits:
    """How long to wait, and how much to take.

    Args:
        connect_s: for a connection, and for every piece of an answer.
        whole_s: for a whole answer.
        most_bytes: of an answer, unpacked.
    """

    connect_s: float = 20.0
    whole_s: float = 90.0
    most_bytes: int = 16 << 20


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass
class AllowedHosts:
    """The hosts a user has allowed: ``HOST`` at any port, ``HOST:PORT``, or ``*.DOMAIN`` for all below it."""

    names: Iterable[str]
    _exact: frozenset[str] = field(init=False)
    _below: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [name.strip().lower().rstrip(".") for name in self.names]
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._below = tuple(
            name[1:] for name in names if name.startswith("*.") and name.count(".") > 1
        )

    def __contains__(self, host: str) -> bool:
        bare = urlsplit(f"//{host}").hostname or ""
        bare = f"[{bare}]" if ":" in bare else bare
        return host in self._exact or bare in self._exact or bare.endswith(self._below or ("\0",))

    def check(self, url: str, why: str = "") -> None:
        """Raise :class:`NotAllowed` unless the host of an address is allowed."""
        host = host_of(url)
        if not host or host not in self:
            raise NotAllowed(host or "this address", why)


class Door:
    """Connections to allowed hosts, kept open between requests. For one thread; ``close`` may come from another."""

    def __init__(self, allowed: AllowedHosts, limits: Limits | None = None) -> None:
        self._allowed = allowed
        self._limits = limits or Limits()
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self._closed = False

    def get(self, url: str, most_bytes: int | None = None) -> Answer:
        """Ask for an address.

        Raises:
            NotAllowed: its host is not allowed; nothing was sent.
            NoAnswer: there was none, or only half of one.
            BadAnswer: it is too large, or leads to another host.
        """
        most = self._limits.most_bytes if most_bytes is None else most_bytes
        for _ in range(_MOST_REDIRECTS + 1):
            self._allowed.check(url)
            answer = self._once(url, most)
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            following = urljoin(url, target)
            before, after = urlsplit(url), urlsplit(following)
            if after.hostname != before.hostname or after.username is not None:
                host = printable(after.hostname or "nowhere")[:100]
                raise BadAnswer(f"it leads on to {host}, another host")
            if after.scheme != before.scheme and after.scheme != "https":
                raise BadAnswer("it leads on to an address without encryption")
            url = following
        raise BadAnswer("it leads on and on")

    def _once(self, url: str, most: int) -> Answer:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        fresh = key not in self._open
        try:
            return self._send(key, parts, most)
        except (OSError, http.client.HTTPException) as error:
            self._drop(key)
            if fresh or isinstance(error, TimeoutError | http.client.IncompleteRead):
                raise NoAnswer(_reason(error)) from error
        # A connection that was kept may have been closed by the server meanwhile.
        try:
            return self._send(key, parts, most)
        except (OSError, http.client.HTTPException) as error:
            self._drop(key)
            raise NoAnswer(_reason(error)) from error

    def _send(self, key: tuple[str, str], parts: Any, most: int) -> Answer:
        if self._closed:
            raise ConnectionAbortedError("it is not asked any more")
        connection = self._open.get(key)
        if connection is None:
            connection = self._open[key] = self._connect(parts)
        target = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            target += "?" + quote(parts.query, safe=_SAFE)
        # Sockets wait for every piece; only a clock of its own ends an answer that drips.
        clock = threading.Timer(self._limits.whole_s, self._break, (connection,))
        clock.daemon = True
        clock.start()
        started = time.monotonic()
        try:
            connection.request(
                "GET",
                target,
                headers={
                    "User-Agent": f"Nadir/{__version__}",
                    "Accept": "*/*",
                    "Accept-Encoding": "identity",
                },
            )
            response = connection.getresponse()
            body = _read(response, most)
        except BadAnswer:
            self._drop(key)
            raise
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if time.monotonic() - started >= self._limits.whole_s:
                raise TimeoutError("it took too long") from error
            # (A certificate that is not trusted is an OSError and a ValueError.)
            if not isinstance(error, OSError | http.client.HTTPException):
                raise http.client.HTTPException(str(error)) from error
            raise
        finally:
            clock.cancel()
        if response.will_close:
            self._drop(key)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body)

    def _connect(self, parts: Any) -> http.client.HTTPConnection:
        wait = self._limits.connect_s
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=wait, context=trusting_context()
            )
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=wait)

    def _break(self, connection: http.client.HTTPConnection) -> None:
        held = connection.sock
        if held is not None:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def _drop(self, key: tuple[str, str]) -> None:
        connection = self._open.pop(key, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Ask no more: a request under way ends with :class:`NoAnswer`, and so does every further one."""
        self._closed = True
        for connection in list(self._open.values()):
            self._break(connection)

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._open):
            self._drop(key)


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    said = response.getheader("Content-Length")
    if said is not None and said.isdecimal() and int(said) > most:
        raise BadAnswer(f"it is larger than {most >> 20} MB")
    packed = (response.getheader("Content-Encoding") or "identity").lower()
    unpack = None
    if packed in ("gzip", "x-gzip", "deflate"):
        unpack = zlib.decompressobj(wbits=47)
    elif packed != "identity":
        raise BadAnswer("it is packed in a way that was not asked for")
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        for part in (chunk,) if unpack is None else _unpacked(unpack, chunk):
            size += len(part)
            if size > most:
                raise BadAnswer(f"it is larger than {most >> 20} MB")
            parts.append(part)
    if response.length not in (None, 0):
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # only then does the connection take the next request
    return b"".join(parts)


def _unpacked(unpack: Any, chunk: bytes) -> Iterator[bytes]:
    """What a piece unpacks to, in pieces: a few bytes may become gigabytes."""
    while True:
        try:
            part = unpack.decompress(chunk, _CHUNK)
        except zlib.error as error:
            raise BadAnswer("it is packed wrongly") from error
        if not part:
            return
        yield part
        chunk = unpack.unconsumed_tail


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return "its certificate or encryption cannot be trusted"
    if isinstance(error, socket.gaierror):
        return "there is no such host, or no network"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, http.client.IncompleteRead):
        return "it broke off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(str(error))[:100] or "it broke off"
