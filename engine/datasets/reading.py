"""Reading a dataset's pictures, and how they see the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from engine.datasets.records import FloatArray, Pixels
from engine.errors import DatasetError
from engine.photo import read_photo, view_of
from engine.photo.projections import FULL_PANORAMA, View

MAX_PIXELS = 100_000_000
"""No published dataset holds a larger picture; a file that says so is damaged or means harm."""

_ALLOWED = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM")


def read_picture(path: Path) -> Pixels:
    """The pixels [H, W, 3] as they stand in the file: no colour management and no turning, as dataset code reads them.

    Raises:
        DatasetError: when there is no such file, or it is no whole picture.
    """
    try:
        with Image.open(path, formats=_ALLOWED) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DatasetError(
                    f"says it has {image.width} × {image.height} pixels, more than any dataset's picture",
                    path,
                )
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"this picture of the dataset is missing (looked for {path})",
            path,
            "Complete the dataset, or take its line out of the list",
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"cannot be read as a picture ({error})", path, "Get this file of the dataset again"
        ) from error


@dataclass(frozen=True)
class FilesAsTiles:
    """Reads references as they are."""

    def __call__(self, path: Path, index: int) -> Pixels:
        return read_picture(path)


@dataclass(frozen=True)
class FilesWithView:
    """Reads queries that all see the world the same way, as they are."""

    view: View = FULL_PANORAMA

    def __call__(self, path: Path, index: int) -> tuple[Pixels, View]:
        return read_picture(path), self.view


@dataclass(frozen=True)
class FilesWithFov:
    """Reads photos of an ordinary camera whose field of view (along the width) is known or taken to be this."""

    fov_deg: float

    def __call__(self, path: Path, index: int) -> tuple[Pixels, View]:
        return read_picture(path), View("perspective", self.fov_deg)


@dataclass(frozen=True, eq=False)
class Photos:
    """Reads photos as the application does: upright, in sRGB, with what the file says of its view.

    ``fov_deg`` [N] and ``kinds`` overrule the file where they are known (not NaN, not "").
    """

    fov_deg: FloatArray
    kinds: Sequence[Literal["panorama", "perspective", ""]]

    def __repr__(self) -> str:
        return f"Photos(kinds={list(self.kinds)})"

    def __call__(self, path: Path, index: int) -> tuple[Pixels, View]:
        if not path.is_file():
            raise DatasetError(
                f"this picture of the dataset is missing (looked for {path})",
                path,
                "Complete the dataset, or take its line out of the list",
            )
        photo = read_photo(path)
        view = view_of(photo.facts)
        fov, kind = float(self.fov_deg[index]), self.kinds[index]
        if np.isfinite(fov):
            view = replace(view, fov_deg=fov)
            kind = kind or ("panorama" if fov >= 360 else view.kind)
        if kind:
            view = replace(view, kind=kind)
        return photo.pixels, view
