"""The photos on the tray and what is known of each: values without behaviour, changed by the session alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QImage

from engine.errors import NadirError

if TYPE_CHECKING:
    from engine.localize import Evidence, Result
    from engine.photo import Photo, PhotoFacts
    from engine.photo.projections import View


ASSUMED_FOV = 65.0  # degrees; of a camera that nothing is known of


class Stage(Enum):
    """How far a photo, or an answer, has come."""

    WAITING = "waiting"
    WORKING = "working"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Corrections:
    """What the user says about a photo; ``None`` leaves what the file says.

    Attributes:
        heading_known: whether the heading is to be used; ``False`` lets it be found.
        heading_deg: the heading to use when it is known.
        panorama: whether the photo is a full equirectangular panorama.
    """

    heading_known: bool | None = None
    heading_deg: float | None = None
    fov_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    panorama: bool | None = None


@dataclass(frozen=True, eq=False)
class EvidencePictures:
    """What a candidate's evidence looks like, ready to be drawn.

    Attributes:
        tile: the candidate's tile, north up, or the photo that it is; ``None`` where it cannot be had.
        photo_heat: over the photo as displayed; ``None`` where the encoder gives no evidence.
        tile_heat: over the tile.
        kind: "contributions", which add up to the score, or "attention".
        why_none: what could not be shown, and why.
    """

    rank: int
    tile: QImage | None
    photo_heat: QImage | None = None
    tile_heat: QImage | None = None
    kind: str = ""
    why_none: str = ""
    raw: Evidence | None = None


@dataclass(frozen=True, eq=False)
class ComparePictures:
    """Photo and tile on the same bearings, both 360° wide; as they are where no heading is answered.

    Attributes:
        aligned: whether they lie on the same bearings. Else ``photo`` and ``tile`` are the whole pictures, and all
            that is told by bearing, elevation and distance is empty.
        centre_deg: the bearing in the middle: north for panoramas, the heading for photos that see less.
        elevation_deg: of the photo's upper and lower edge.
        radii_m: the tile rows' distance from its centre, metres, far to near.
        parts: what each of K bearings adds to the score, from south clockwise; empty where it has no such parts.
        seen: the share of each bearing that the photo sees.
        caption: what stands under pictures that are not aligned.
    """

    rank: int
    photo: QImage
    tile: QImage
    photo_heat: QImage | None
    tile_heat: QImage | None
    elevation_deg: tuple[float, float]
    radii_m: tuple[float, ...]
    parts: tuple[float, ...]
    seen: tuple[float, ...]
    centre_deg: float
    aligned: bool = True
    caption: str = ""


@dataclass(eq=False)
class Answer:
    """What the engine said about a photo, and what was made of it for display."""

    stage: Stage = Stage.WAITING
    text: str = ""  # what is being done
    result: Result | None = None
    error: NadirError | None = None
    rank: int = 1
    crops: dict[int, QImage] = field(default_factory=dict)
    evidence: dict[int, EvidencePictures] = field(default_factory=dict)
    compare: dict[int, ComparePictures] = field(default_factory=dict)


@dataclass(eq=False)
class PhotoItem:
    """One photo on the tray.

    Attributes:
        source: the file, or the encoded bytes of a picture that was pasted or dragged from a browser.
        picture: for display, at most a few thousand pixels wide; kept for the latest photos only.
        photo: the engine's photo; kept for the latest photos only.
    """

    number: int
    name: str
    source: Path | bytes | QImage
    stage: Stage = Stage.WAITING
    thumbnail: QImage | None = None
    picture: QImage | None = None
    photo: Photo | None = None
    facts: PhotoFacts | None = None
    notes: tuple[str, ...] = ()
    error: NadirError | None = None
    corrections: Corrections = Corrections()
    answer: Answer = field(default_factory=Answer)

    @property
    def panorama(self) -> bool:
        """Whether it is taken for a full 360° panorama."""
        if self.corrections.panorama is not None:
            return self.corrections.panorama
        return self.facts is not None and self.facts.kind == "panorama"

    @property
    def heading_deg(self) -> float | None:
        """The heading to search with; ``None``: it is to be found."""
        said = self.corrections
        filed = self.facts.heading_deg if self.facts is not None else None
        known = said.heading_known if said.heading_known is not None else filed is not None
        if not known:
            return None
        return said.heading_deg if said.heading_deg is not None else (filed or 0.0)

    @property
    def heading_shown_deg(self) -> float | None:
        """The heading used, or else the one found for the candidate that is selected."""
        if self.heading_deg is not None:
            return self.heading_deg
        result = self.answer.result
        if result is None or not result.candidates:
            return None
        place = min(max(self.answer.rank, 1), len(result.candidates)) - 1
        return result.candidates[place].heading_deg

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view, degrees."""
        if self.panorama and self.corrections.fov_deg is None:
            told = self.facts is not None and self.facts.kind == "panorama"
            return self.facts.fov_deg if told and self.facts is not None else 360.0
        said = self.corrections.fov_deg
        if said is not None:
            return said
        if self.facts is None or self.facts.kind == "panorama":
            return ASSUMED_FOV
        return self.facts.fov_deg

    @property
    def pitch_deg(self) -> float:
        """Elevation of the image's centre, degrees."""
        said = self.corrections.pitch_deg
        return (
            said if said is not None else (self.facts.pitch_deg if self.facts is not None else 0.0)
        )

    @property
    def roll_deg(self) -> float:
        """How far the camera was turned clockwise, degrees."""
        said = self.corrections.roll_deg
        return (
            said if said is not None else (self.facts.roll_deg if self.facts is not None else 0.0)
        )

    @property
    def view(self) -> View:
        """How the photo looks at the world, corrections included."""
        from dataclasses import replace

        from engine.photo.projections import view_of

        assert self.facts is not None, "only a photo that was read has a view"
        kind = "panorama" if self.panorama else "perspective"
        return replace(
            view_of(self.facts),
            kind=kind,
            fov_deg=self.fov_deg,
            pitch_deg=self.pitch_deg,
            roll_deg=self.roll_deg,
        )
