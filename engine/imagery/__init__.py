"""Aerial imagery: opening it, and cutting reference tiles that are north up and square on the ground."""

from engine.imagery.guard import forget_network_drivers

forget_network_drivers()  # before anything asks GDAL for anything

from engine.imagery.source import (  # noqa: E402 - after the line above
    KINDS,
    AerialSource,
    SourceKind,
    open_imagery,
    open_source,
)

__all__ = ["KINDS", "AerialSource", "SourceKind", "open_imagery", "open_source"]
