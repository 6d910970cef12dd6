"""Servers of aerial imagery: z/x/y templates, WMTS and WMS. Nothing is asked of a host that was not allowed.

A :class:`Server` describes one (``NAME.server.json``); :func:`estimate` says what an area would take, :func:`fetch`
brings it into a file that opens as imagery.
"""

from engine.imagery.server.access import AllowedHosts, Limits, NotAllowed
from engine.imagery.server.ask import ServerRefusal, connect
from engine.imagery.server.description import (
    Server,
    is_address,
    read_server,
    server_of,
    write_server,
)
from engine.imagery.server.fetch import estimate, fetch
from engine.imagery.server.job import Fetched
from engine.imagery.server.pace import Patience
from engine.imagery.server.plan import BoxArea, Estimate
from engine.imagery.server.service import Service
from engine.imagery.server.use import is_server, open_server, server_imagery

__all__ = [
    "AllowedHosts",
    "BoxArea",
    "Estimate",
    "Fetched",
    "Limits",
    "NotAllowed",
    "Patience",
    "Server",
    "ServerRefusal",
    "Service",
    "connect",
    "estimate",
    "fetch",
    "is_address",
    "is_server",
    "open_server",
    "read_server",
    "server_imagery",
    "server_of",
    "write_server",
]
