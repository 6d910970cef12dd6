"""Asking a server what it has: capabilities, whose XML is not trusted, and words for what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import rasterio
from rasterio.errors import CRSError

from engine.errors import ImageryError, printable
from engine.imagery.safe_xml import MOST_BYTES, Node, XmlError, parse_xml
from engine.imagery.server.access import AllowedHosts, BadAnswer, Door, Limits, NoAnswer
from engine.imagery.server.description import Server, host_of
from engine.imagery.server.service import Service, xyz_service
from engine.imagery.tile_rows import line


class ServerRefusal(ImageryError):  # noqa: N818 - it is not the program that erred
    """A server that refuses, does not answer, or has nothing: nothing was made of it."""


def connect(server: Server, allowed_hosts: Iterable[str], limits: Limits | None = None) -> Service:
    """Make a description into a service. WMTS and WMS are asked for their capabilities; an xyz server is not asked.

    Raises:
        NotAllowed: a host was not allowed; nothing was sent to it.
        ServerRefusal: it does not answer, or not with capabilities.
        ImageryError: it has no such layer, or nothing that Nadir reads.
    """
    if server.kind == "xyz":
        return xyz_service(server)
    allowed = AllowedHosts(tuple(allowed_hosts))
    with Door(allowed, limits) as door:
        root = _capabilities(server, door)
    make = _maker(server)
    try:
        with (
            rasterio.Env()
        ):  # so that GDAL writes nothing of coordinate systems that it does not know
            return make(server, root)
    except (ValueError, ArithmeticError, LookupError, CRSError) as error:
        host = printable(server.hosts[0])
        raise ServerRefusal(f"{host} gave capabilities that mean nothing", None) from error


def _maker(server: Server) -> Callable[[Server, Node], Service]:
    if server.kind == "wmts":
        from engine.imagery.server.wmts import wmts_service

        return wmts_service
    from engine.imagery.server.wms import wms_service

    return wms_service


def with_query(url: str, values: dict[str, str]) -> str:
    """An address with these parameters in place of its own of the same names."""
    parts = urlsplit(url)
    names = {key.lower() for key in values}
    kept = [
        (key, value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
        if key.lower() not in names
    ]
    query = urlencode([*kept, *values.items()], safe=":/,;")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _capabilities(server: Server, door: Door) -> Node:
    values = {"SERVICE": server.kind.upper(), "REQUEST": "GetCapabilities"}
    if server.version:
        values["VERSION"] = server.version
    elif server.kind == "wmts":
        values["VERSION"] = "1.0.0"
    address = server.url
    # A document has an address of its own where a server is reached by paths.
    if not urlsplit(address).path.lower().endswith(".xml"):
        address = with_query(address, values)
    host = printable(host_of(address))
    try:
        answer = door.get(address, MOST_BYTES)
    except (NoAnswer, BadAnswer) as error:
        raise ServerRefusal(
            f"{host} gave no capabilities: {error}", None, "Try again later"
        ) from error
    if answer.status != 200:
        raise ServerRefusal(f"{host} gave no capabilities: {status_words(answer.status)}", None)
    try:
        root = parse_xml(answer.body)
    except XmlError as error:
        raise ServerRefusal(
            f"{host} gave no capabilities: its XML cannot be read ({error})", None
        ) from error
    problem = exception_text(root)
    if problem is not None:
        raise ServerRefusal(f"{host} gave no capabilities: {problem}", None)
    return root


def exception_text(root: Node) -> str | None:
    """What a service's exception says (OWS, WMS 1.1.1 and 1.3.0); None where a document is none."""
    if root.name not in ("ExceptionReport", "ServiceExceptionReport"):
        return None
    said = []
    for node in root.walk():
        code = node.attributes.get("exceptionCode") or node.attributes.get("code")
        if node.name in ("Exception", "ServiceException") and code:
            said.append(code)
        if node.name in ("ExceptionText", "ServiceException") and node.text.strip():
            said.append(node.text)
    return line(": ".join(said))[:200] or "an exception without words"


def status_words(status: int) -> str:
    """An HTTP status for people."""
    known = {
        401: "it wants a name and password (401)",
        403: "it refuses (403)",
        404: "it has no such thing (404)",
        407: "a proxy refuses (407)",
        410: "it has that no more (410)",
        429: "it was asked too often (429)",
        451: "it refuses for legal reasons (451)",
        500: "it failed inside (500)",
        502: "it cannot reach what it passes on (502)",
        503: "it is not available (503)",
        504: "it cannot reach what it passes on (504)",
    }
    return known.get(status, f"it answered with status {status}")
