"""The answer to "where was this photo taken?", as values and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine import __version__
from engine.localize.posterior import Posterior
from engine.photo.facts import PhotoFacts

FORMAT = "nadir-result"
VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """One place proposed for a photo.

    Attributes:
        rank: from 1.
        tile_id: the tile that fits best there.
        lat, lon: where the photo fits best, between the tiles.
        tile_lat, tile_lon: the tile's centre.
        score: similarity of photo and tile at the best turn, at most 1: what the evidence adds up to. It is no
            probability.
        support: what places are ranked by: the score between the tiles, all turns together (see
            :mod:`engine.localize.refine`).
        heading_deg: of the photo's centre column, if it was taken here; None when the encoder cannot tell.
        distance_from_first_m: from the first candidate.
        probability: calibrated, given that the photo was taken in the area; None without a calibration.
        turn: which hypothesis of the plan gave the score.
        extent_m: metres along the tile's side; 0 of a photo; None: as the result says for all.
        picture: where the reference is a picture of its own, a photo or a dataset's tile: its file's name.
        picture_heading_deg: of such a photo: where it was taken towards, if that is known. It says nothing of the
            photo that was asked about.
    """

    rank: int
    tile_id: int
    lat: float
    lon: float
    tile_lat: float
    tile_lon: float
    score: float
    support: float
    heading_deg: float | None
    distance_from_first_m: float
    probability: float | None
    turn: int
    extent_m: float | None = None
    picture: str = ""
    picture_heading_deg: float | None = None


@dataclass(frozen=True)
class PlanSummary:
    """What was compared, for the record.

    Attributes:
        heading_deg: the heading that was given, None when it was to be found. Of no use where ``knows_heading`` is not.
        kind, fov_deg, pitch_deg, roll_deg: the view the photo was given, with the user's corrections.
        turns: headings compared.
        encodings: times the photo was encoded.
        seen_share: share of the circle's blocks that the photo sees.
        tiles: tiles that could answer.
        knows_heading: whether the encoder says anything about headings; else candidates have none.
    """

    heading_deg: float | None
    kind: str
    fov_deg: float
    pitch_deg: float
    roll_deg: float
    turns: int
    encodings: int
    seen_share: float
    tiles: int
    knows_heading: bool = True


@dataclass(frozen=True)
class Timings:
    """Seconds. ``encode_run`` is onnxruntime's own share of ``encode``, ``search_run`` the index's of ``search``."""

    project: float = 0.0
    encode: float = 0.0
    encode_run: float = 0.0
    search: float = 0.0
    search_run: float = 0.0
    refine: float = 0.0
    total: float = 0.0

    @property
    def own_share(self) -> float:
        """What is neither onnxruntime's nor the search's own time, as a share of the total."""
        return 1.0 - (self.encode_run + self.search_run) / self.total if self.total else 0.0


@dataclass(frozen=True)
class Source:
    """Which encoder or index made a result."""

    name: str
    hash: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Everything that is known after a search; ``to_dict`` is the file format.

    Attributes:
        extent_m: metres along the tiles' sides, the least of several; 0 where the references are photos.
        references: what candidates are: ``aerial`` tiles, or photos of the ``street``.
    """

    photo_name: str
    photo_sha256: str
    facts: PhotoFacts
    plan: PlanSummary
    candidates: tuple[Candidate, ...]
    posterior: Posterior | None
    extent_m: float
    timings: Timings
    encoder: Source
    index: Source
    notices: tuple[str, ...]
    version: str = __version__
    references: str = "aerial"

    @property
    def of_photos(self) -> bool:
        """Whether the photo was compared with photos of the street, whose places then are where those were taken."""
        return self.references == "street"

    def extent_of(self, candidate: Candidate) -> float:
        """Metres along the side of a candidate's tile; 0 where it is a photo, which covers no ground that is known."""
        if self.of_photos:
            return 0.0
        return self.extent_m if candidate.extent_m is None else candidate.extent_m

    @property
    def best(self) -> Candidate | None:
        """The first candidate."""
        return self.candidates[0] if self.candidates else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values. Places only the photo's name, not its folder: a result may be handed on."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "nadir": self.version,
            "photo": {
                "name": self.photo_name,
                "sha256": self.photo_sha256,
                **{
                    k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.facts).items()
                },
            },
            "plan": asdict(self.plan),
            "references": self.references,
            "candidates": [_candidate(c, self) for c in self.candidates],
            "posterior": _posterior(self.posterior),
            "tile_extent_m": self.extent_m or None,
            "timings_s": {k: round(v, 6) for k, v in asdict(self.timings).items()},
            "encoder": {"name": self.encoder.name, "hash": self.encoder.hash, **self.encoder.about},
            "index": {"name": self.index.name, "hash": self.index.hash, **self.index.about},
            "notices": list(self.notices),
        }


def _candidate(candidate: Candidate, result: Result) -> dict[str, Any]:
    values = asdict(candidate)
    values["extent_m"] = result.extent_of(candidate) or None
    for key in ("lat", "lon", "tile_lat", "tile_lon"):
        values[key] = round(values[key], 8)  # a millimetre
    for key, digits in (
        ("score", 6),
        ("support", 6),
        ("distance_from_first_m", 2),
        ("heading_deg", 2),
        ("picture_heading_deg", 2),
        ("extent_m", 3),
        ("probability", 6),
    ):
        values[key] = None if values[key] is None else round(values[key], digits)
    for key in ("heading_deg", "picture_heading_deg"):
        if values[key] is not None:
            values[key] %= 360.0  # 359.999 was rounded up
    return values


def _posterior(posterior: Posterior | None) -> dict[str, Any] | None:
    if posterior is None:
        return None
    values = asdict(posterior)
    values["probabilities"] = [round(p, 6) for p in posterior.probabilities]
    return values
