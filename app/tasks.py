"""What the jobs do: plain functions that call the engine and bring its answers into a form that Qt can draw.

They run in worker threads, take values and return values, and import the engine when they are first called, so that
the window stands before NumPy and onnxruntime are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QByteArray, QCoreApplication, QIODevice, Qt
from PySide6.QtGui import QImage, QPainter

from app.photos import ComparePictures, EvidencePictures
from engine.errors import EncoderError, NadirError, PhotoError
from engine.files import atomic_write
from engine.progress import Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.encoder import Encoder
    from engine.index import Index
    from engine.localize import Candidate, Evidence, Result
    from engine.photo import Photo, View

PICTURE_MAX = 4096  # pixels a side of a photo as displayed
THUMBNAIL = (176, 112)
CROP = 224  # pixels of a tile in the film strip, sharp on a screen of twice the density
TILE = 512  # of the tile that is looked at
UNROLLED = (1440, 320)  # width and height of the pictures that are compared
BAND = (45.0, -45.0)  # elevations compared for encoders that know no band of their own
WIDE = 270.0  # degrees of view from which on north is in the middle of the comparison
AROUND_MAX = 2048  # pixels a panorama is looked around in


@dataclass(frozen=True)
class ReadPhoto:
    """A photo that was read, with its picture and thumbnail."""

    photo: Photo
    picture: QImage
    thumbnail: QImage


def read(source: Path | bytes | QImage, name: str, report: Report) -> ReadPhoto:
    """Read a photo from a file, from encoded bytes, or from a picture of the clipboard."""
    from app.ramp import image_from_array
    from engine.photo import read_photo

    report(0, 3, "")
    encoded = _encode(source, name) if isinstance(source, QImage) else source
    photo = read_photo(encoded, name)
    report(1, 3, "")
    picture = _at_most(image_from_array(photo.pixels), PICTURE_MAX)
    report(2, 3, "")
    return ReadPhoto(photo, picture, thumbnail(picture))


def thumbnail(picture: QImage) -> QImage:
    """The middle of a picture, filled to the tray's size (twice, for sharp screens)."""
    width, height = (2 * side for side in THUMBNAIL)
    scaled = picture.scaled(
        width,
        height,
        Qt.AspectRatioMode.KeepAspectRatioByExpanding,
        Qt.TransformationMode.SmoothTransformation,
    )
    left, top = (scaled.width() - width) // 2, (scaled.height() - height) // 2
    return scaled.copy(left, top, width, height)


def _at_most(picture: QImage, side: int) -> QImage:
    if max(picture.width(), picture.height()) <= side:
        return picture
    return picture.scaled(
        side, side, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    )


def _encode(image: QImage, name: str) -> bytes:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if image.isNull() or not image.save(buffer, "PNG"):  # type: ignore[call-overload]
        raise PhotoError(
            QCoreApplication.translate("Photo", "this picture cannot be read"),
            name,
            QCoreApplication.translate("Photo", "Save it as a file and open that"),
        )
    return bytes(data.data())


def locate(
    photo: Photo,
    view: View,
    heading: float | None,
    encoder: Encoder,
    index: Index,
    top: int,
    report: Report,
) -> Result:
    """Search for a photo."""
    from engine.localize import Query, localize

    return localize(Query(photo, heading, view, top), encoder, index, report)


def warm_up(encoder: Encoder, index: Index, report: Report) -> None:
    """Do once what is slow the first time: imports, opening the imagery, the graphs' first run, the search's."""
    import numpy as np

    from engine.localize import Query, localize
    from engine.photo.facts import Photo, PhotoFacts

    report(0, 2, "")
    pixels = np.zeros((64, 128, 3), np.uint8)
    facts = PhotoFacts(128, 64, "panorama", 360.0, "shape")
    localize(Query(Photo(pixels, facts, "", None, "", ())), encoder, index, report)
    report(1, 2, "")
    index.crop(0, 16)


def crops(result: Result, index: Index, report: Report) -> dict[int, QImage]:
    """The tiles or photos of all candidates, by rank; those that cannot be had are left out."""
    from app.ramp import image_from_array

    found = {}
    for done, candidate in enumerate(result.candidates):
        report(done, len(result.candidates), "")
        try:
            if result.of_photos:
                found[candidate.rank] = _at_most(_picture(candidate, index), 2 * CROP)
            else:
                found[candidate.rank] = image_from_array(index.crop(candidate.tile_id, CROP))
        except NadirError:
            continue  # the evidence says why
    return found


def _picture(candidate: Candidate, index: Index) -> QImage:
    """The whole photo that a candidate is, of an index of photos."""
    from app.ramp import image_from_array

    return image_from_array(index.picture(candidate.tile_id))


def evidence(
    photo: Photo,
    view: View,
    heading: float | None,
    candidate: Candidate,
    encoder: Encoder,
    index: Index,
    report: Report,
) -> EvidencePictures:
    """Take a candidate apart, and colour what comes out."""
    from app.ramp import heat_image, image_from_array
    from engine.localize import Query, explain

    tile, why = None, ""
    try:
        if index.manifest.kind == "street":
            tile = _at_most(_picture(candidate, index), UNROLLED[0])
        else:
            tile = image_from_array(index.crop(candidate.tile_id, TILE))
    except NadirError as error:
        why = str(error)
    report(1, 3, "")
    try:
        parts = explain(Query(photo, heading, view), candidate, encoder, index)
    except EncoderError as error:
        return EvidencePictures(candidate.rank, tile, why_none=str(error))
    report(2, 3, "")
    return EvidencePictures(
        rank=candidate.rank,
        tile=tile,
        photo_heat=heat_image(parts.photo_overlay),
        tile_heat=heat_image(parts.tile_map) if parts.tile_map is not None else None,
        kind=parts.kind,
        why_none=" ".join([*_attention_said(parts.kind), *parts.notices]) or why,
        raw=parts,
    )


def _attention_said(kind: str) -> list[str]:
    """What heat maps of attention are, which the others need not have said."""
    if kind != "attention":
        return []
    words = QCoreApplication.translate(
        "Evidence", "The heat maps show where the encoder looked, not what speaks for this match."
    )
    return [words]


def compare(
    photo: Photo,
    view: View,
    candidate: Candidate,
    heading: float | None,
    parts: Evidence | None,
    encoder: Encoder,
    index: Index,
    report: Report,
) -> ComparePictures:
    """Photo and tile on the same bearings, see :class:`ComparePictures`."""
    import numpy as np

    from app.ramp import colourize, image_from_array
    from engine.photo.polar import even_radii, polar_warp
    from engine.photo.projections import to_canvas

    if encoder.card.branches.query.projection == "plain":
        return _side_by_side(photo, candidate, parts, index)
    width, height = UNROLLED
    query, reference = encoder.card.branches.query, encoder.card.branches.reference
    top = query.top_deg if query.top_deg is not None else BAND[0]
    bottom = query.bottom_deg if query.bottom_deg is not None else BAND[1]
    canvas, mask = to_canvas(
        photo.pixels, view, height=height, width=width, top_deg=top, bottom_deg=bottom
    )
    turn = candidate.heading_deg if candidate.heading_deg is not None else (heading or 0.0)
    # A photo that sees a part of the circle stands in the middle, so that it is never cut in two.
    centre = 0.0 if view.fov_deg > WIDE else turn
    shown = np.dstack([canvas, np.where(mask, 255, 0).astype(np.uint8)])
    report(1, 3, "")
    tile = index.crop(candidate.tile_id, TILE)
    rows = even_radii(height)
    if reference.radii is not None:
        given = np.asarray(reference.radii)
        at = (np.arange(height) + 0.5) * len(given) / height - 0.5
        rows = tuple(np.interp(at, np.arange(len(given)), given).tolist())
    unrolled = polar_warp(tile[None], height=height, width=width, radii=rows)[0]
    report(2, 3, "")
    photo_heat = tile_heat = None
    if parts is not None:
        photo_heat = image_from_array(_turned(colourize(parts.photo_map), turn - centre))
        if parts.tile_map is not None:
            polar_heat = colourize(_unrolled(parts.tile_map, rows[::4], width // 4))
            tile_heat = image_from_array(_turned(polar_heat, -centre))
    return ComparePictures(
        rank=candidate.rank,
        photo=image_from_array(_turned(shown, turn - centre)),
        tile=image_from_array(_turned(unrolled, -centre)),
        photo_heat=photo_heat,
        tile_heat=tile_heat,
        elevation_deg=(top, bottom),
        radii_m=tuple(row * (candidate.extent_m or index.manifest.extent_m) / 2 for row in rows),
        parts=_numbers(parts.bearings) if parts is not None else (),
        seen=_numbers(parts.seen) if parts is not None else (),
        centre_deg=centre,
    )


def _numbers(values: NDArray[np.float32] | None) -> tuple[float, ...]:
    return () if values is None else tuple(float(value) for value in values)


def _side_by_side(
    photo: Photo, candidate: Candidate, parts: Evidence | None, index: Index
) -> ComparePictures:
    """For an encoder that answers no heading: nothing says which bearing of the tile the photo shows."""
    from app.ramp import heat_image, image_from_array

    words = QCoreApplication.translate(
        "Compare", "This encoder answers no heading: the tile is north up, the photo as it is."
    )
    if index.manifest.kind == "street":
        tile = _at_most(_picture(candidate, index), UNROLLED[0])
        words = _matched_said(candidate)
    else:
        tile = image_from_array(index.crop(candidate.tile_id, TILE))
    tile_map = parts.tile_map if parts is not None else None
    return ComparePictures(
        rank=candidate.rank,
        photo=_at_most(image_from_array(photo.pixels), UNROLLED[0]),
        tile=tile,
        photo_heat=heat_image(parts.photo_overlay) if parts is not None else None,
        tile_heat=heat_image(tile_map) if tile_map is not None else None,
        elevation_deg=(0.0, 0.0),
        radii_m=(),
        parts=(),
        seen=(),
        centre_deg=0.0,
        aligned=False,
        caption=words,
    )


def _matched_said(candidate: Candidate) -> str:
    """Which photo of the index stands beside one's own, and where it was taken towards."""
    words = QCoreApplication.translate("Compare", "Left your photo, right the index's: {0}")
    said = words.format(candidate.picture)
    if candidate.picture_heading_deg is not None:
        towards = QCoreApplication.translate("Compare", ", taken towards {0}°")
        said += towards.format(round(candidate.picture_heading_deg) % 360)
    return said


def _turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """A picture of the whole circle [H, W, C], its content moved clockwise (to the right)."""
    import numpy as np

    return np.roll(pixels, round(degrees * pixels.shape[1] / 360.0), axis=1)


def _unrolled(
    values: NDArray[np.float32], radii: Sequence[float], width: int
) -> NDArray[np.float32]:
    """A map over a tile [P, P], unrolled about its centre [len(radii), width].

    The map is a density, so much a pixel of the tile; unrolled, a pixel far out stands for more ground than one near
    by, in proportion to its distance.
    """
    import numpy as np

    bearing = np.radians(-180.0 + (np.arange(width) + 0.5) * 360.0 / width)[None, :]
    radius = np.asarray(radii)[:, None]
    half = len(values) / 2
    columns = np.clip(half + half * radius * np.sin(bearing), 0, len(values) - 1).astype(int)
    lines = np.clip(half - half * radius * np.cos(bearing), 0, len(values) - 1).astype(int)
    return (values[lines, columns] * radius).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """A panorama to look around in, with the heat map over it."""

    picture: QImage
    view: View | None
    heat: QImage | None
    opacity: float


def look_around(
    scene: Scene, azimuth: float, pitch: float, fov: float, width: int, height: int
) -> QImage:
    """What one sees in a panorama, ``azimuth`` degrees from its centre column."""
    import numpy as np

    from app.ramp import array_from_image, image_from_array
    from engine.photo.projections import FULL_PANORAMA, perspective_from_panorama

    picture = _at_most(scene.picture, AROUND_MAX)
    if scene.heat is not None and scene.opacity > 0:
        picture = picture.convertToFormat(QImage.Format.Format_RGB32)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setOpacity(scene.opacity)
        painter.drawImage(picture.rect(), scene.heat)
        painter.end()
    pixels = array_from_image(picture)
    # Turning a full panorama is rolling its columns: the plan of the projection can then be used again.
    columns = round(azimuth * pixels.shape[1] / 360.0)
    seen = perspective_from_panorama(
        np.roll(pixels, -columns, axis=1),
        heading_offset_deg=0.0,
        fov_deg=fov,
        pitch_deg=pitch,
        width=width,
        height=height,
        view=FULL_PANORAMA,
    )
    return image_from_array(seen)


def export(result: Result, path: Path) -> None:
    """Write a result in the format that the ending of the name says, else as JSON."""
    from engine.localize import ENDINGS, WRITERS

    kind = ENDINGS.get(path.suffix.lower(), "json")
    try:
        with atomic_write(path) as file:
            file.write(WRITERS[kind]([result]).encode())
    except OSError as error:
        raise NadirError(
            QCoreApplication.translate("Export", "could not be written ({0})").format(
                error.strerror
            ),
            path,
            QCoreApplication.translate("Export", "Choose another folder, or make room there"),
        ) from error
