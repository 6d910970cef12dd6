"""Results for other programs: CSV for a spreadsheet, KML 2.2 (OGC 07-147r2) for a globe, GPX 1.1 for a receiver."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from engine.errors import printable
from engine.localize.footprint import footprint
from engine.localize.result import Candidate, Result
from engine.localize.words import headline

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_KML, _GPX = "http://www.opengis.net/kml/2.2", "http://www.topografix.com/GPX/1/1"
_EYE_M = 300  # how high a globe's camera is put above a place

COLUMNS: tuple[str, ...] = (
    "photo", "rank", "lat", "lon", "heading_deg", "score", "support", "probability",
    "distance_from_first_m", "radius_90_m", "tile_id", "tile_lat", "tile_lon", "tile_extent_m",
    "picture", "picture_heading_deg", "photo_sha256", "encoder", "encoder_hash", "index", "index_hash",
    "attribution", "nadir",
)  # fmt: skip


def to_csv(results: Sequence[Result]) -> str:
    """One row a candidate under :data:`COLUMNS`; what is not known is empty (RFC 4180).

    ``radius_90_m`` is the credible radius of the answer, in its first row. A name that a spreadsheet would run as a
    formula is led by an apostrophe.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for result in results:
        radius = result.posterior.radius_m if result.posterior is not None else None
        shared = {
            "photo": result.photo_name,
            "photo_sha256": result.photo_sha256,
            "encoder": result.encoder.name,
            "encoder_hash": result.encoder.hash,
            "index": result.index.name,
            "index_hash": result.index.hash,
            "attribution": result.index.about.get("attribution", ""),
            "nadir": result.version,
        }
        for values in result.to_dict()["candidates"]:
            first = radius is not None and values["rank"] == 1
            row = shared | {k: v for k, v in values.items() if k in COLUMNS}
            row["tile_extent_m"] = values["extent_m"]
            row["radius_90_m"] = round(radius, 2) if radius is not None and first else None
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def to_kml(results: Sequence[Result]) -> str:
    """A folder a photo; in it a place for every candidate, looked at along its heading, with its tile's outline.

    Candidates that are photos of the street have no outline.
    """
    root = Xml.Element("kml", xmlns=_KML)
    document = Xml.SubElement(root, "Document")
    _text(document, "name", "Nadir")
    for result in results:
        folder = Xml.SubElement(document, "Folder")
        _text(folder, "name", result.photo_name)
        _text(folder, "description", "\n".join([headline(result), *_sources(result)]))
        for candidate in result.candidates:
            _placemark(folder, candidate, result)
    return _document(root)


def _placemark(folder: Xml.Element, candidate: Candidate, result: Result) -> None:
    mark = Xml.SubElement(folder, "Placemark")
    _text(mark, "name", str(candidate.rank))
    _text(mark, "description", "\n".join(_facts(candidate)))
    look = Xml.SubElement(mark, "LookAt")
    for key, value in (
        ("longitude", f"{candidate.lon:.8f}"),
        ("latitude", f"{candidate.lat:.8f}"),
        ("altitude", "0"),
        ("heading", f"{candidate.heading_deg or 0.0:.2f}"),
        ("tilt", "0"),
        ("range", str(_EYE_M)),
    ):
        _text(look, key, value)
    shape = Xml.SubElement(mark, "MultiGeometry")
    point = Xml.SubElement(shape, "Point")
    _text(point, "coordinates", f"{candidate.lon:.8f},{candidate.lat:.8f}")
    for ring in footprint(candidate, result):
        line = Xml.SubElement(shape, "LineString")
        _text(line, "coordinates", " ".join(f"{lon:.8f},{lat:.8f}" for lon, lat in ring))


def to_gpx(results: Sequence[Result]) -> str:
    """A waypoint for every candidate, named by photo and rank."""
    root = Xml.Element("gpx", xmlns=_GPX, version="1.1", creator="Nadir")
    for result in results:
        for candidate in result.candidates:
            point = Xml.SubElement(
                root, "wpt", lat=f"{candidate.lat:.8f}", lon=f"{candidate.lon:.8f}"
            )
            _text(point, "name", f"{result.photo_name} {candidate.rank}")
            _text(point, "desc", ", ".join(_facts(candidate)))
            _text(point, "src", "; ".join(_sources(result)))
    return _document(root)


def _facts(candidate: Candidate) -> list[str]:
    facts = [f"score {candidate.score:.3f}"]
    if candidate.heading_deg is not None:
        facts.append(f"heading {round(candidate.heading_deg) % 360}°")
    if candidate.probability is not None:
        facts.append(f"probability {candidate.probability:.3f}")
    if candidate.picture:
        facts.append(f"like {candidate.picture}")
    if candidate.rank > 1:
        facts.append(f"{candidate.distance_from_first_m:,.0f} m from the first")
    return facts


def _sources(result: Result) -> list[str]:
    lines = [
        f"encoder {result.encoder.name} {result.encoder.hash[:12]}",
        f"index {result.index.name} {result.index.hash[:12]}",
        f"Nadir {result.version}",
    ]
    if attribution := result.index.about.get("attribution"):
        lines.append(f"imagery: {attribution}")
    return lines


def _text(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = "\n".join(map(printable, text.split("\n")))


def _document(root: Xml.Element) -> str:
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'
