"""What the program tells the map page: results turned into the small messages that ``resources/web/map.js`` lists.

Plain functions from the engine's values to dictionaries of JSON types. Texts pass through ``tr``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QFont, QFontInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.theme import Tokens
    from engine.geo import Bounds
    from engine.imagery.web_tiles import Cuttable
    from engine.index import Index
    from engine.localize.posterior import Posterior
    from engine.localize.result import Candidate, Result

Message = dict[str, Any]
Translate = Callable[[str], str]

MOST_PLACES = 5000  # photos drawn as dots
PHOTOS_MARGIN_M = 60.0  # shown around them
PHOTOS_RESOLUTION_M = 0.3  # how near one may look at places that have no imagery
# A place less likely than this is not shaded.
LEAST_PROBABILITY = 0.005


def theme(tokens: Tokens, font: QFont, ramp: list[list[int]], *, motion: bool) -> Message:
    """Colours by their names, the font, the ramp's 256 entries, and whether things may move."""
    info = QFontInfo(font)
    return {
        "type": "theme",
        "dark": tokens.dark,
        "colours": {f.name: getattr(tokens, f.name) for f in fields(tokens) if f.name != "dark"},
        "font": f"'{info.family()}', system-ui, sans-serif",
        "size": max(11, round(info.pixelSize() * 0.9)),
        "ramp": ramp,
        "motion": motion,
    }


@dataclass(frozen=True)
class Area:
    """Ground to be shown, and the imagery it is shown with.

    Attributes:
        name: for people.
        bounds: the part that is searched; the view fits it.
        resolution_m: of the imagery.
        attribution, licence: of the imagery; always shown.
        imagery: gives the imagery, from any thread; it must bear several threads. None: there is none to be shown.
        places: latitudes and longitudes where photos were taken, which are drawn as dots.
    """

    name: str
    bounds: Bounds
    resolution_m: float
    attribution: str
    licence: str
    imagery: Callable[[], Cuttable] | None
    places: tuple[tuple[float, float], ...] = ()


def area_of(index: Index) -> Area:
    """The ground an index covers, or the photos it is made of."""
    manifest = index.manifest
    if manifest.kind == "street":
        return Area(
            name=manifest.name,
            bounds=widened(manifest.coverage, PHOTOS_MARGIN_M),
            resolution_m=PHOTOS_RESOLUTION_M,
            attribution=manifest.attribution,
            licence=manifest.licence,
            imagery=None,
            places=drawn_places(*index.centres),
        )
    return Area(
        name=manifest.name,
        bounds=manifest.coverage,
        resolution_m=max(min(facts.resolution_m for facts in manifest.imagery), 0.01),
        attribution=manifest.attribution,
        licence=manifest.licence,
        imagery=lambda: _ground(index),
    )


def _ground(index: Index) -> Cuttable:
    from engine.index.ground import ground_of

    ground = ground_of(index)
    assert ground is not None, "asked for where there is some"
    return ground


def drawn_places(lats: NDArray[Any], lons: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    """The places of photos that are drawn: all, or so many spread evenly over them."""
    import numpy as np

    count = len(lats)
    kept = np.unique(np.linspace(0, count - 1, min(count, MOST_PLACES)).round().astype(np.int64))
    return tuple(zip(lats[kept].tolist(), lons[kept].tolist(), strict=True))


def widened(bounds: Bounds, metres: float) -> Bounds:
    """A box with a margin, so that what lies on its edge is not at the edge of the view."""
    from engine.geo import Bounds, metres_per_degree, wrap_longitude

    per_lat, per_lon = (float(v) for v in metres_per_degree(bounds.centre[0]))
    tall, wide = metres / per_lat, metres / max(per_lon, 1.0)
    if bounds.width_deg + 2 * wide >= 360.0:
        west, east = -180.0, 180.0
    else:
        west, east = (
            float(wrap_longitude(bounds.west - wide)),
            float(wrap_longitude(bounds.east + wide)),
        )
    return Bounds(max(bounds.south - tall, -90.0), west, min(bounds.north + tall, 90.0), east)


def area(shown: Area | None, token: str, tr: Translate = str) -> Message:
    """What the page shows as ground; its tiles are served under ``token``."""
    if shown is None:
        return {"type": "area", "area": None}
    from engine.imagery.web_tiles import native_zoom

    return {
        "type": "area",
        "area": {
            "name": shown.name,
            "token": token if shown.imagery is not None else None,
            "bounds": corners(shown.bounds),
            "native_zoom": native_zoom(shown.resolution_m, shown.bounds.centre[0]),
            "attribution": attribution(shown.attribution, shown.licence),
            "places": [[lat, lon] for lat, lon in shown.places],
            "places_label": tr("Photos of this index"),
        },
    }


def attribution(who: str, licence: str) -> str:
    """Who made the imagery and under which licence, in one line."""
    return " · ".join(part for part in (who.strip(), licence.strip()) if part)


def result(found: Result | None, tr: Translate) -> Message:
    """An answer: candidates, the photo's own position, the circle that holds most such answers, the posterior."""
    if found is None:
        return {"type": "result", "result": None}
    return {
        "type": "result",
        "result": {
            "candidates": [candidate(c, found, tr) for c in found.candidates],
            "own": own_position(found, tr),
            "circle": credible_circle(found, tr),
            "posterior": posterior(found, tr),
        },
    }


def candidate(one: Candidate, found: Result, tr: Translate) -> Message:
    """One candidate: where it is, its tile's footprint, what it sees."""
    words = [tr("Candidate {0}").format(one.rank), tr("score {0}").format(f"{one.score:.3f}")]
    if one.heading_deg is not None:
        words.append(tr("heading {0}°").format(f"{one.heading_deg % 360:.0f}"))
    if one.rank > 1:
        words.append(tr("{0} from the first").format(metres(one.distance_from_first_m)))
    extent_m = found.extent_of(one)
    if one.picture:
        words.append(one.picture)
    return {
        "rank": one.rank,
        "at": [one.lat, one.lon],
        "square": square(one.tile_lat, one.tile_lon, extent_m) if extent_m else None,
        "towards": one.picture_heading_deg,
        "heading": one.heading_deg,
        "fov": found.plan.fov_deg,
        "label": "\n".join(words),
    }


def own_position(found: Result, tr: Translate) -> Message | None:
    """The position the photo itself gives, if it gives one."""
    lat, lon = found.facts.latitude, found.facts.longitude
    if lat is None or lon is None:
        return None
    label = tr("Photo's own GPS")
    if found.best is not None:
        from engine.geo import distance_m

        off = float(distance_m(lat, lon, found.best.lat, found.best.lon))
        label = tr("Photo's own GPS ({0} off)").format(metres(off))
    return {"at": [lat, lon], "label": label}


def credible_circle(found: Result, tr: Translate) -> Message | None:
    """The circle about the first candidate that holds the truth in most such answers; only where it is calibrated."""
    weighed = found.posterior
    if weighed is None or weighed.radius_m is None or found.best is None:
        return None
    from engine.geo import LocalFrame
    from engine.localize.words import rounded_radius

    frame = LocalFrame(found.best.lat, found.best.lon)
    turns = [2 * math.pi * i / 72 for i in range(72)]
    spots = [
        frame.to_wgs84(weighed.radius_m * math.sin(t), weighed.radius_m * math.cos(t))
        for t in turns
    ]
    label = tr("{0} in 10 such answers: within {1}\N{NO-BREAK SPACE}m")
    return {
        "outline": [[float(lat), float(lon)] for lat, lon in spots],
        "label": label.format(f"{10 * weighed.level:.3g}", rounded_radius(weighed.radius_m)),
    }


def posterior(found: Result, tr: Translate) -> Message | None:
    """The probability of each place, as dots; only where it is calibrated. Dots are coloured by its square root."""
    weighed: Posterior | None = found.posterior
    if weighed is None:
        return None
    dots = [
        [c.lat, c.lon, math.sqrt(c.probability)]
        for c in found.candidates
        if c.probability is not None and c.probability >= LEAST_PROBABILITY
    ]
    return {"dots": dots, "label": tr("Probability of a place"), "ends": ["0", "25 %", "100 %"]}


def heat(
    path: str, one: Candidate, found: Result, tr: Translate, *, attention: bool = False
) -> Message:
    """A picture over a candidate's tile; ``attention``: of where the encoder looked, whatever speaks for the match."""
    from engine.geo import tile_bounds

    bounds = tile_bounds(one.tile_lat, one.tile_lon, found.extent_of(one))
    return {
        "type": "heat",
        "url": path,
        "bounds": corners(bounds),
        "label": tr("Where the encoder looked") if attention else tr("Where this match comes from"),
        "ends": [tr("nothing"), tr("most")],
    }


def no_heat() -> Message:
    """No picture over any tile."""
    return {"type": "heat", "url": None}


def outlines(rings: Iterable[Iterable[Iterable[float]]], label: str) -> Message:
    """Ground that is covered, by the even-odd rule: rings of (longitude, latitude), as GeoJSON has them."""
    return {"type": "outlines", "rings": _turned(rings), "label": label}


def areas(rings: Iterable[Iterable[Iterable[float]]], label: str, tool: str | None) -> Message:
    """The area that is chosen, rings of (longitude, latitude), and the tool in hand: "box", "polygon" or none."""
    return {"type": "areas", "polygons": _turned(rings), "label": label, "tool": tool}


def _turned(rings: Iterable[Iterable[Iterable[float]]]) -> list[list[list[float]]]:
    return [[[float(lat), float(lon)] for lon, lat in ring] for ring in rings]


def corners(bounds: Bounds) -> list[list[float]]:
    """South-west and north-east corner; the eastern longitude passes 180 where the box crosses that meridian."""
    east = bounds.west + (bounds.east - bounds.west) % 360.0
    return [[bounds.south, bounds.west], [bounds.north, east]]


def square(lat: float, lon: float, extent_m: float) -> list[list[float]]:
    """The four corners of a tile's footprint, from the north-west one clockwise."""
    from engine.geo import tile_bounds

    (south, west), (north, east) = corners(tile_bounds(lat, lon, extent_m))
    return [[north, west], [north, east], [south, east], [south, west]]


def metres(distance: float) -> str:
    """A distance in words: "12 m", "3.2 km"."""
    number, unit = (f"{distance:.0f}", "m") if distance < 1000 else (f"{distance / 1000:.1f}", "km")
    return f"{number}\N{NO-BREAK SPACE}{unit}"
