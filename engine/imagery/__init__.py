"""Aerial imagery: opening it, and cutting reference tiles that are north up and square on the ground."""

from engine.imagery.source import KINDS, AerialSource, SourceKind, open_imagery, open_source

__all__ = ["KINDS", "AerialSource", "SourceKind", "open_imagery", "open_source"]
