"""What is known about a photo, and the photo itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["panorama", "perspective"]
FovSource = Literal["xmp", "exif", "shape", "assumed", "user"]
HeadingSource = Literal["xmp", "exif", "user"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in fractions of the picture."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class PhotoFacts:
    """What the file says about the photo, and what had to be assumed. Unknown is None, except for the tilt.

    Attributes:
        width, height: size of the picture in the file, upright, in pixels. The pixels read may be fewer.
        kind: a 360° (or cropped) equirectangular picture, or an ordinary camera's.
        fov_deg: horizontal field of view of the whole width; 360 for a full panorama.
        fov_source: where the field of view comes from: the panorama's XMP, the camera's EXIF, the picture's shape,
            an assumption, or the user.
        heading_deg: degrees clockwise from true north of the centre column.
        heading_source: where the heading comes from; None when there is none.
        pitch_deg: how far the camera looked up, 0 when unknown.
        roll_deg: how far the camera was turned clockwise, as its holder sees it, 0 when unknown.
        latitude, longitude: WGS84 degrees, from EXIF GPS.
        camera: maker and model, may be empty.
        taken: local date and time ``YYYY-MM-DD HH:MM:SS``, may be empty.
        top_deg, bottom_deg: elevation of the upper and lower edge of a panorama; 90 and -90 for a full one and, where
            they mean nothing, for a perspective photo.
        usable: the part of the picture that could be read, the whole unless the file is damaged.
        initial_view_deg: heading, pitch and roll of the first look a panorama viewer should take.
    """

    width: int
    height: int
    kind: Kind
    fov_deg: float
    fov_source: FovSource
    heading_deg: float | None = None
    heading_source: HeadingSource | None = None
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    latitude: float | None = None
    longitude: float | None = None
    camera: str = ""
    taken: str = ""
    top_deg: float = 90.0
    bottom_deg: float = -90.0
    usable: Box = WHOLE
    initial_view_deg: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo in memory.

    Attributes:
        pixels: uint8 [H, W, 3], sRGB, upright, read-only. Smaller than the file's picture when that is huge.
        facts: what is known about it.
        name: the name to show.
        path: the file, None when it came as bytes.
        sha256: of the file's bytes, hexadecimal.
        notes: what the reader had to do to it, one plain sentence each.
    """

    pixels: NDArray[np.uint8]
    facts: PhotoFacts
    name: str
    path: Path | None
    sha256: str
    notes: tuple[str, ...] = ()
