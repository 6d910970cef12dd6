"""Reading one photo, whatever it is: pixels, facts, and what had to be done or assumed."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import replace
from pathlib import Path

from engine.errors import PhotoError, printable
from engine.photo import exif as exif_reader
from engine.photo.decode import Decoded, decode
from engine.photo.facts import Photo, PhotoFacts
from engine.photo.formats import HEAD_BYTES, Unreadable, identify
from engine.photo.gpano import Sphere, read_gpano, sphere_of

MAX_PIXELS = 16_000_000
"""Photos with more are shrunk while they are read; a query canvas needs a hundredth of it."""

ASSUMED_FOV_DEG = 65.0
"""Of the long side, when nothing says better: a phone's main camera."""

_WIDEST_PERSPECTIVE_DEG = 120.0

GEOREFERENCED = (
    "It is georeferenced, as aerial imagery is, and was taken for a photo all the same. To locate photos in it, make "
    "an index of it: drop it onto the Library, or use `nadir index build`."
)


def read_photo(
    source: Path | str | bytes, name: str | None = None, *, max_pixels: int = MAX_PIXELS
) -> Photo:
    """Read a photo.

    Args:
        source: a file, or a file's bytes (pasted, or dragged from a browser).
        name: the name to show; the file's own by default.
        max_pixels: larger pictures are shrunk to at most so many pixels while they are read.

    Raises:
        PhotoError: naming the file, what is wrong with it and what to do.
    """
    path = None if isinstance(source, bytes) else Path(source)
    shown = printable(name or (path.name if path else "")) or "picture"
    try:
        with _opened(source) as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            kind = identify(stream.read(HEAD_BYTES))
            if isinstance(kind, Unreadable):
                raise PhotoError(kind.problem, remedy=kind.remedy)
            decoded = decode(stream, kind, max_pixels)
    except PhotoError as error:
        raise PhotoError(error.problem, path or shown, error.remedy) from error
    except MemoryError as error:
        raise PhotoError(
            "there is not enough memory to open it", path or shown, "Save it smaller and open that"
        ) from error
    except OSError as error:
        raise _unopened(error, path or Path(shown)) from error
    facts, notes = facts_of(decoded)
    return Photo(decoded.pixels, facts, shown, path, sha256, (*decoded.notes, *notes))


def facts_of(decoded: Decoded) -> tuple[PhotoFacts, list[str]]:
    """What the metadata and the shape of a picture say about it, and notes on what they do not."""
    width, height = decoded.size
    exif = decoded.exif
    notes: list[str] = []
    sphere, note = sphere_of(read_gpano(decoded.xmp), width, height)
    if note:
        notes.append(note)
    if exif_reader.is_georeferenced(exif):
        notes.append(GEOREFERENCED)
    camera_fov = _camera_fov(decoded)
    facts = PhotoFacts(
        width=width,
        height=height,
        kind="perspective",
        fov_deg=assumed_fov(width, height),
        fov_source="assumed",
        camera=exif_reader.camera_name(exif),
        taken=exif_reader.time_taken(exif),
        usable=decoded.usable,
    )
    position = exif_reader.position(exif)
    if position is not None:
        facts = replace(facts, latitude=position[0], longitude=position[1])
    direction = exif_reader.image_direction(exif)
    if direction is not None:
        facts = replace(facts, heading_deg=direction[0], heading_source="exif")
        if direction[1]:
            notes.append("Its heading is from magnetic north and was not corrected to true north.")
    if sphere is not None:
        return _with_sphere(facts, sphere), notes
    if camera_fov is not None and camera_fov <= _WIDEST_PERSPECTIVE_DEG:
        return replace(facts, fov_deg=camera_fov, fov_source="exif"), notes
    if abs(width - 2 * height) <= 0.01 * width:
        return replace(facts, kind="panorama", fov_deg=360.0, fov_source="shape"), notes
    if camera_fov is not None:
        return replace(facts, fov_deg=camera_fov, fov_source="exif"), notes
    return facts, notes


def assumed_fov(width: int, height: int) -> float:
    """Horizontal field of view when the long side spans ``ASSUMED_FOV_DEG``."""
    half = math.tan(math.radians(ASSUMED_FOV_DEG) / 2)
    return math.degrees(2 * math.atan(half * width / max(width, height)))


def _with_sphere(facts: PhotoFacts, sphere: Sphere) -> PhotoFacts:
    facts = replace(
        facts,
        kind="panorama",
        fov_deg=sphere.fov_deg,
        fov_source="xmp",
        pitch_deg=sphere.pitch_deg,
        roll_deg=sphere.roll_deg,
        top_deg=sphere.top_deg,
        bottom_deg=sphere.bottom_deg,
        initial_view_deg=sphere.initial_view_deg,
    )
    if sphere.heading_deg is None:
        return facts
    return replace(facts, heading_deg=sphere.heading_deg, heading_source="xmp")


def _camera_fov(decoded: Decoded) -> float | None:
    """Horizontal field of view from EXIF, of the upright picture."""
    width, height = decoded.size
    stored = (height, width) if decoded.turned else (width, height)
    focal = exif_reader.focal_pixels(decoded.exif, *stored)
    if focal is None:
        return None
    fov = math.degrees(2 * math.atan(width / 2 / focal))
    return fov if 0.5 <= fov <= 170.0 else None


def _opened(source: Path | str | bytes) -> io.BufferedReader | io.BytesIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    if path.is_dir():
        raise PhotoError("this is a folder, not a photo", remedy="Open the photos inside it")
    if path.exists() and not path.is_file():
        raise PhotoError("this is not an ordinary file", remedy="Open a photo's file")
    return open(path, "rb")


def _unopened(error: OSError, path: Path) -> PhotoError:
    if isinstance(error, FileNotFoundError):
        return PhotoError("there is no such file", path, "Check the name, or whether it was moved")
    if isinstance(error, PermissionError):
        return PhotoError(
            "you may not read this file", path, "Change its permissions, or open a copy"
        )
    reason = (error.strerror or str(error) or "unknown error").lower()
    return PhotoError(f"the file could not be read ({reason})", path, "Copy it elsewhere and retry")
