"""Reading a photo safely, what its metadata says, and the projections between photo, canvas and tile."""

from engine.photo.facts import Photo, PhotoFacts
from engine.photo.read import read_photo
from engine.photo.views import View, view_of

__all__ = ["Photo", "PhotoFacts", "View", "read_photo", "view_of"]
