"""Results as files: text, JSON and GeoJSON here, the others gathered from their modules."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from engine.errors import printable
from engine.geo import distance_m
from engine.localize.documents import to_csv, to_gpx, to_kml
from engine.localize.footprint import Ring, footprint
from engine.localize.report import to_html
from engine.localize.result import Candidate, Result
from engine.localize.words import headline, order_note, position, ranked_otherwise

Writer = Callable[[Sequence[Result]], str]


def to_text(results: Sequence[Result]) -> str:
    """For people, one paragraph and one table a photo."""
    return "\n".join(_text(result) for result in results)


def to_json(results: Sequence[Result]) -> str:
    """One object for one photo, a list for several."""
    values = [result.to_dict() for result in results]
    return (
        json.dumps(
            values[0] if len(values) == 1 else values, indent=2, ensure_ascii=False, allow_nan=False
        )
        + "\n"
    )


def to_geojson(results: Sequence[Result]) -> str:
    """A FeatureCollection (RFC 7946): a point for every candidate and the footprint of its tile; photos have none.

    ``kind`` tells them apart ("place", "tile"); every feature carries the photo, rank, score, heading, probability,
    and the hashes that made it.
    """
    features = [feature for result in results for feature in _features(result)]
    collection = {
        "type": "FeatureCollection",
        "features": features,
        "nadir": [
            {key: value for key, value in result.to_dict().items() if key != "candidates"}
            for result in results
        ],
    }
    return json.dumps(collection, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


WRITERS: dict[str, Writer] = {
    "text": to_text,
    "json": to_json,
    "geojson": to_geojson,
    "kml": to_kml,
    "gpx": to_gpx,
    "csv": to_csv,
    "html": to_html,
}

ENDINGS = {".txt": "text", **{f".{form}": form for form in WRITERS if form != "text"}}
"""Which writer a file's ending asks for."""


def _text(result: Result) -> str:
    plan = result.plan
    what = "panorama" if plan.kind == "panorama" else "photo"
    heading = (
        "heading to be found" if plan.heading_deg is None else f"heading {plan.heading_deg:.0f}°"
    )
    headings = f"{plan.turns} headings" if plan.turns != 1 else "1 heading"
    if not plan.knows_heading:
        heading, headings = "no heading answered", "no headings"
    lines = [f"{result.photo_name}  ({what}, {plan.fov_deg:.0f}°, {heading})", headline(result), ""]
    if result.candidates:
        chances = any(c.probability is not None for c in result.candidates)
        otherwise = ranked_otherwise(result)
        more = ("support  " if otherwise else "") + ("chance  " if chances else "")
        lines.append(
            f"  rank  {'position':<22}  heading  score  {more}from first  "
            + ("photo" if result.of_photos else "  tile")
        )
        for candidate in result.candidates:
            lines.append(_row(candidate, chances, otherwise, result.of_photos))
        lines.append("")
    facts = result.facts
    if result.best is not None and facts.latitude is not None and facts.longitude is not None:
        away = float(distance_m(result.best.lat, result.best.lon, facts.latitude, facts.longitude))
        lines.append(
            f"The file's own GPS position, {position(facts.latitude, facts.longitude)}, lies {_length(away)} "
            "from the first place."
        )
    times, searched = result.timings, "photos" if result.of_photos else "tiles"
    lines.append(
        f"{plan.tiles:,} {searched}, {headings}, {times.total:.2f} s on {result.encoder.about.get('device', '?')}"
        f"  (encoding {times.encode:.3f}, search {times.search:.3f}, the rest "
        f"{times.project + times.refine:.3f})"
    )
    lines.append(f"encoder {result.encoder.name} {result.encoder.hash[:12]}, index {result.index.name} "
                 f"{result.index.hash[:12]}, nadir {result.version}")  # fmt: skip
    if result.index.about.get("attribution"):
        what = "photos" if result.of_photos else "imagery"
        lines.append(f"{what}: {result.index.about['attribution']}")
    notes = [note for note in (order_note(result),) if note]
    lines += [f"note: {notice}" for notice in (*notes, *result.notices)]
    return "\n".join(printable(line) for line in lines) + "\n"


def _row(candidate: Candidate, chances: bool, otherwise: bool, of_photos: bool) -> str:
    heading = (
        "      -" if candidate.heading_deg is None else f"{round(candidate.heading_deg) % 360:6d}°"
    )
    away = "" if candidate.rank == 1 else _length(candidate.distance_from_first_m)
    chance = ""
    if chances:
        chance = f"{'' if candidate.probability is None else _percent(candidate.probability):>6}  "
    place = position(candidate.lat, candidate.lon)
    start = f"  {candidate.rank:>4}  {place:<22}  {heading}  {candidate.score:5.3f}"
    if otherwise:
        start += f"  {candidate.support:7.3f}"
    if not of_photos:
        return f"{start}  {chance}{away:>10}  {candidate.tile_id:>6}"
    taken = candidate.picture_heading_deg
    looks = "" if taken is None else f", taken towards {round(taken) % 360}°"
    return f"{start}  {chance}{away:>10}  {candidate.picture or candidate.tile_id}{looks}"


def _length(metres: float) -> str:
    return f"{metres:,.0f} m" if metres < 10_000 else f"{metres / 1000:,.0f} km"


def _percent(probability: float) -> str:
    percent = 100 * probability
    if percent > 99:
        return ">99 %"
    return "<1 %" if percent < 1 else f"{percent:.0f} %"


def _features(result: Result) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = []
    for candidate, values in zip(result.candidates, result.to_dict()["candidates"], strict=True):
        shared = {
            "photo": result.photo_name,
            **values,
            "encoder_hash": result.encoder.hash,
            "index_hash": result.index.hash,
        }
        point = {"type": "Point", "coordinates": [values["lon"], values["lat"]]}
        features.append(
            {"type": "Feature", "geometry": point, "properties": {"kind": "place", **shared}}
        )
        if rings := footprint(candidate, result):
            tile = {"kind": "tile", **shared}
            features.append({"type": "Feature", "geometry": _shape(rings), "properties": tile})
    return features


def _shape(rings: list[Ring]) -> dict[str, Any]:
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    # RFC 7946: what crosses the 180° meridian is cut there.
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
