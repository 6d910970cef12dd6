"""What is known about an imagery server before anything is asked of it, and the file ``NAME.server.json``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from engine.errors import ImageryError
from engine.files import write_json
from engine.imagery.tile_grid import DEEPEST_ZOOM
from engine.imagery.tile_rows import bounds_of, line

Kind = Literal["xyz", "wmts", "wms"]
KINDS: tuple[Kind, ...] = ("xyz", "wmts", "wms")
FORMAT = "nadir-server/1"
SUFFIX = ".server.json"
DEFAULT_RATE, HIGHEST_RATE = 5.0, 100.0  # requests a second
DEFAULT_PARALLEL, MOST_PARALLEL = 2, 8
_MOST_BYTES = 1 << 20
_SUBDOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}")
_HELP = (
    "See `nadir imagery fetch --help`, or write it from a web map's address with {z}, {x} and {y}"
)


@dataclass(frozen=True)
class Server:
    """An imagery server.

    Args:
        kind: ``xyz`` (an address with ``{z}``, ``{x}`` and ``{y}`` or ``{-y}``, or ``{q}``), ``wmts`` or ``wms``
            (the address of their capabilities, or of the service).
        url: the address; http or https.
        name: for people.
        subdomains: what ``{s}`` stands for.
        tile_pixels: the side of a tile; for WMS, of what is asked for at once.
        zooms: the first and the last, xyz and WMS only.
        bounds: west, south, east, north; empty where it is not known.
        layer, style, matrix_set, crs, version, format, dimensions: which of them to ask for, WMTS and WMS only;
            where empty, what the server has is chosen from.
        attribution, licence, terms: kept in everything that is made of its tiles.
        rate: requests a second.
        parallel: connections at once.
    """

    kind: Kind
    url: str
    name: str = ""
    subdomains: tuple[str, ...] = ()
    tile_pixels: int = 256
    zooms: tuple[int, int] = (0, 22)
    bounds: tuple[float, ...] = ()
    layer: str = ""
    style: str = ""
    matrix_set: str = ""
    crs: str = ""
    version: str = ""
    format: str = ""
    dimensions: tuple[tuple[str, str], ...] = ()
    attribution: str = ""
    licence: str = ""
    terms: str = ""
    rate: float = DEFAULT_RATE
    parallel: int = DEFAULT_PARALLEL

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ImageryError(f"this is no server that can be asked: {problem}", None, _HELP)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that its address names, ``HOST`` or ``HOST:PORT``."""
        names = self.subdomains if "{s}" in self.url else ("",)
        return tuple(dict.fromkeys(host_of(self.url.replace("{s}", name)) for name in names))

    @property
    def identity(self) -> str:
        """What makes its tiles these tiles, as text."""
        asked = asdict(self)
        for key in (
            "name",
            "attribution",
            "licence",
            "terms",
            "rate",
            "parallel",
            "bounds",
            "zooms",
        ):
            del asked[key]
        return json.dumps(asked, sort_keys=True)


def host_of(url: str) -> str:
    """``HOST``, or ``HOST:PORT`` where the port is not the scheme's own; lower case."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    own = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, own) else f"{host}:{parts.port}"


def _problem(server: Server) -> str:
    """What is wrong with a description; empty where nothing is."""
    if server.kind not in KINDS:
        return f"its kind is none of {', '.join(KINDS)}"
    if len(server.url) > 4000 or not server.url.isprintable() or " " in server.url:
        return "its address is too long, or has spaces or signs that no address has"
    try:
        parts = urlsplit(server.url.replace("{s}", "a"))
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "its address is none"
    if parts.scheme not in ("http", "https") or not host or not host.isascii():
        return "its address must begin with https:// or http:// and a host"
    if parts.username is not None or parts.password is not None:
        return "its address holds a name and password, which would be stored and shown"
    if "{" in parts.netloc.replace("{s}", ""):
        return "only {s} may stand in the name of its host"
    if server.kind == "xyz":
        rows = "{y}" in server.url or "{-y}" in server.url
        if "{q}" not in server.url and not ("{z}" in server.url and "{x}" in server.url and rows):
            return "its address lacks {z}, {x} or {y}"
        unknown = set(re.findall(r"\{[^{}]*\}", server.url)) - {
            "{z}", "{x}", "{y}", "{-y}", "{s}", "{q}", "{r}",
        }  # fmt: skip
        if unknown:
            return f"it is not known what {sorted(unknown)[0]} in its address stands for"
    if "{s}" in server.url and not server.subdomains:
        return "its address has {s}, and no subdomains are given"
    if not all(_SUBDOMAIN.fullmatch(name) for name in server.subdomains):
        return "a subdomain has signs that no host's name has"
    if server.tile_pixels not in (128, 256, 512, 1024, 2048):
        return "tiles have 128, 256, 512, 1024 or 2048 pixels a side"
    if not 0 <= server.zooms[0] <= server.zooms[1] <= DEEPEST_ZOOM:
        return f"zooms are two numbers from 0 to {DEEPEST_ZOOM}"
    if server.bounds and bounds_of(list(server.bounds)) is None:
        return "bounds are west, south, east and north in degrees"
    if not 0 < server.rate <= HIGHEST_RATE or not math.isfinite(server.rate):
        return f"rate is a number of requests a second, {HIGHEST_RATE:g} at most"
    if not 1 <= server.parallel <= MOST_PARALLEL:
        return f"parallel is a number of connections, {MOST_PARALLEL} at most"
    return ""


def read_server(path: Path | str) -> Server:
    """Read ``NAME.server.json``.

    Raises:
        ImageryError: it is missing, no such file, or describes no server.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ImageryError("it is too large to describe a server", path)
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise ImageryError(f"it cannot be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:
        raise ImageryError("it is no JSON", path, "Write it anew") from error
    try:
        return server_from_json(raw, path.name.removesuffix(SUFFIX))
    except ImageryError as error:
        raise ImageryError(error.problem, path, error.remedy) from None


def server_from_json(raw: Any, name: str = "") -> Server:
    """A server out of JSON's values, every one checked.

    Raises:
        ImageryError: they describe none.
    """
    if not isinstance(raw, Mapping) or raw.get("format_version", FORMAT) != FORMAT:
        raise ImageryError(f"it does not say that it is of the format {FORMAT}", None)
    known = {field.name: field for field in fields(Server)}
    unknown = sorted(str(key) for key in raw if key not in known and key != "format_version")
    if unknown:
        raise ImageryError(
            f"{line(unknown[0])[:40]!r} means nothing in a server's description", None
        )
    values: dict[str, Any] = {"name": name}
    for key, value in raw.items():
        if key == "format_version":
            continue
        values[key] = _value(key, value)
    if "kind" not in values or "url" not in values:
        raise ImageryError("it lacks the server's kind or url", None)
    return Server(**values)


def _value(key: str, value: Any) -> Any:
    wrong = ImageryError(f"its {key} is not of the kind that it should be", None)
    if key in ("tile_pixels", "parallel"):
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong
        return value
    if key == "rate":
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong
        return float(value)
    if key in ("zooms", "bounds"):
        number = int if key == "zooms" else (int, float)
        count = 2 if key == "zooms" else 4
        if not isinstance(value, list) or (value and len(value) != count):
            raise wrong
        if not all(isinstance(v, number) and not isinstance(v, bool) for v in value):
            raise wrong
        return tuple(value)
    if key == "subdomains":
        if (
            not isinstance(value, list)
            or len(value) > 26
            or not all(isinstance(v, str) for v in value)
        ):
            raise wrong
        return tuple(value)
    if key == "dimensions":
        if not isinstance(value, dict) or len(value) > 20:
            raise wrong
        return tuple((line(k), line(v)) for k, v in value.items())
    if not isinstance(value, str):
        raise wrong
    return value if key == "url" else line(value)


def server_to_json(server: Server) -> dict[str, Any]:
    """What :func:`server_from_json` reads; values that are the default are left out."""
    default = Server(server.kind, server.url)
    values: dict[str, Any] = {"format_version": FORMAT, "kind": server.kind, "url": server.url}
    for field in fields(Server):
        value = getattr(server, field.name)
        if field.name not in values and value != getattr(default, field.name):
            plain = dict(value) if field.name == "dimensions" else value
            values[field.name] = list(plain) if isinstance(plain, tuple) else plain
    return values


def write_server(path: Path | str, server: Server) -> None:
    """Write ``NAME.server.json``."""
    write_json(Path(path), server_to_json(server))


def server_of(text: str) -> Server:
    """A server from an address: a template with ``{z}``, or what a WMTS or WMS is reached by.

    Raises:
        ImageryError: it is none.
    """
    if "{z}" in text or "{q}" in text:
        names = ("a", "b", "c") if "{s}" in text else ()
        return Server("xyz", text, name=_short(text), subdomains=names)
    parts = urlsplit(text)
    asked = {key.lower(): value for key, value in parse_qsl(parts.query)}
    service = asked.get("service", "").lower()
    if service not in ("wmts", "wms"):
        path = parts.path.lower()
        service = "wmts" if "wmts" in path else "wms" if "wms" in path else ""
    if not service:
        raise ImageryError(
            "this address says neither {z}/{x}/{y} nor WMTS nor WMS",
            None,
            "Add SERVICE=WMS or WMTS to it",
        )
    layer = asked.get("layers", "") or asked.get("layer", "")
    version = asked.get("version", "")
    kept = [
        (key, value)
        for key, value in parse_qsl(parts.query)
        if key.lower() not in ("service", "request", "version", "layers", "layer")
    ]
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(kept), ""))
    return Server(
        cast(Kind, service), url, name=layer or _short(text), layer=layer, version=version
    )


def _short(url: str) -> str:
    return (urlsplit(url.replace("{s}.", "").replace("{s}", "")).hostname or "server")[:100]


def is_address(text: str) -> bool:
    """Whether a text is an address rather than a path."""
    return text.lower().startswith(("http://", "https://"))
