"""Pictures with places of their own: dataset folders of tiles, geo-tagged street photos, and files that hold both."""

from engine.imagery.pictures.kinds import Kind, PicturesUnclearError
from engine.imagery.pictures.pixels import letterboxed
from engine.imagery.pictures.source import PictureFolder, PictureSource, open_pictures, spacing_m
from engine.imagery.pictures.store import Kept, PictureStore, write_store

__all__ = [
    "Kept",
    "Kind",
    "PictureFolder",
    "PictureSource",
    "PictureStore",
    "PicturesUnclearError",
    "letterboxed",
    "open_pictures",
    "spacing_m",
    "write_store",
]
