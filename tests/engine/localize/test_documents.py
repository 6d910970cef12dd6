"""Results as CSV, KML, GPX and HTML."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as Xml

import pytest

from engine.localize import ENDINGS, WRITERS, Result
from engine.localize.documents import COLUMNS
from engine.localize.posterior import Posterior
from engine.localize.result import Candidate, PlanSummary, Source, Timings
from engine.photo.facts import PhotoFacts

KML, GPX = "{http://www.opengis.net/kml/2.2}", "{http://www.topografix.com/GPX/1/1}"


def candidate(rank: int, lat: float, lon: float, **said: float | None) -> Candidate:
    values = {
        "score": 0.5,
        "support": 0.6,
        "heading_deg": 12.5 * rank,
        "distance_from_first_m": 40.0 * (rank - 1),
        "probability": 0.9 if rank == 1 else 0.00001,
        **said,
    }
    return Candidate(
        rank=rank, tile_id=rank, lat=lat, lon=lon, tile_lat=lat, tile_lon=lon, turn=0, **values
    )  # pyright: ignore[reportArgumentType]


def answer(name: str = "photo.jpg", *, lon: float = 24.9) -> Result:
    places = (candidate(1, 60.17, lon), candidate(2, 60.1701, lon), candidate(3, 60.172, lon))
    return Result(
        photo_name=name,
        photo_sha256="a" * 64,
        facts=PhotoFacts(640, 480, "perspective", 70.0, "exif"),
        plan=PlanSummary(None, "perspective", 70.0, 0.0, 0.0, 32, 1, 0.2, 1000),
        candidates=places,
        posterior=Posterior((0.9, 0.00001, 0.00001), 0.1, 11.2, 0.9, 0.01, "towns"),
        extent_m=100.0,
        timings=Timings(total=0.1),
        encoder=Source("e", "b" * 64, {"device": "CPU"}),
        index=Source("i", "c" * 64, {"attribution": "Somebody & sons"}),
        notices=("A notice.",),
    )


HOSTILE = "=cmd|'/C calc'!A0 <script>alert(1)</script> & \x1b[2J \"\udcff.jpg"


def test_a_row_a_candidate_in_the_table() -> None:
    text = WRITERS["csv"]([answer("a.jpg"), answer("b.jpg")])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS
    assert [row["photo"] for row in rows] == ["a.jpg"] * 3 + ["b.jpg"] * 3
    assert float(rows[0]["lat"]) == 60.17 and float(rows[0]["radius_90_m"]) == 11.2
    assert rows[1]["radius_90_m"] == "" and float(rows[1]["distance_from_first_m"]) == 40
    assert rows[0]["attribution"] == "Somebody & sons"
    assert text.count("\r\n") == 7


def test_what_is_not_known_is_empty_in_the_table() -> None:
    plain = replace(
        answer(),
        posterior=None,
        candidates=(candidate(1, 1.0, 2.0, heading_deg=None, probability=None),),
    )
    (row,) = csv.DictReader(io.StringIO(WRITERS["csv"]([plain])))
    assert row["heading_deg"] == row["probability"] == row["radius_90_m"] == ""


def test_kml_has_a_place_and_an_outline_for_every_candidate() -> None:
    root = Xml.fromstring(WRITERS["kml"]([answer()]))
    marks = list(root.iter(f"{KML}Placemark"))
    assert [mark.findtext(f"{KML}name") for mark in marks] == ["1", "2", "3"]
    assert marks[0].findtext(f".//{KML}Point/{KML}coordinates") == "24.90000000,60.17000000"
    assert float(marks[1].findtext(f"{KML}LookAt/{KML}heading") or 0) == 25.0
    ring = (marks[0].findtext(f".//{KML}LineString/{KML}coordinates") or "").split()
    assert len(ring) == 5 and ring[0] == ring[-1]
    assert "Somebody & sons" in (root.findtext(f".//{KML}Folder/{KML}description") or "")
    cut = Xml.fromstring(WRITERS["kml"]([answer(lon=180.0)]))
    assert len(cut.findall(f".//{KML}Placemark[1]//{KML}LineString")) == 2


def test_gpx_has_a_waypoint_for_every_candidate() -> None:
    root = Xml.fromstring(WRITERS["gpx"]([answer()]))
    assert root.tag == f"{GPX}gpx" and root.get("version") == "1.1" and root.get("creator")
    points = root.findall(f"{GPX}wpt")
    assert [float(point.get("lat", "0")) for point in points] == [60.17, 60.1701, 60.172]
    # The schema is a sequence: name before desc before src.
    assert [child.tag.removeprefix(GPX) for child in points[0]] == ["name", "desc", "src"]
    assert points[1].findtext(f"{GPX}name") == "photo.jpg 2"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


def test_the_page_says_what_the_answer_says_and_fetches_nothing() -> None:
    text = WRITERS["html"]([answer("a.jpg"), answer("b.jpg")])
    page = read_page(text)
    assert page.text.count("Most likely here. 9 in 10 such answers are within 12 m.") == 2
    assert "60.170000, 24.900000" in page.text and "<0.1 %" in page.text
    assert page.tags.count("svg") == 2 and page.tags.count("tr") == 8
    assert not {"script", "img", "link", "iframe", "a"} & set(page.tags)
    assert "default-src 'none'" in text and not re.search(
        r"(src|href|url\()", text.split("<body>")[1]
    )


def test_the_plan_is_to_scale_and_north_up() -> None:
    text = WRITERS["html"]([answer()])
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="9"', text)
    (third, second, first) = [(float(x), float(y)) for x, y in found]
    assert first[0] == pytest.approx(third[0], abs=0.2) and first[1] > second[1] > third[1]
    assert (first[1] - third[1]) / (first[1] - second[1]) == pytest.approx(20, rel=0.03)


def test_an_answer_without_candidates_is_a_page_too() -> None:
    nothing = replace(answer(), candidates=(), posterior=None)
    for form in WRITERS:
        assert WRITERS[form]([nothing])
    assert "No tile lies in the area" in WRITERS["html"]([nothing])


def test_a_hostile_name_does_nothing_anywhere() -> None:
    result = answer(HOSTILE)
    for form, write in WRITERS.items():
        text = write([result])
        assert "\x1b" not in text, form
        if form not in ("json", "geojson"):
            text.encode()
    for form in ("kml", "gpx"):
        Xml.fromstring(WRITERS[form]([result]))
    row = next(csv.DictReader(io.StringIO(WRITERS["csv"]([result]))))
    assert row["photo"].startswith("'=")
    page = read_page(WRITERS["html"]([result]))
    assert "script" not in page.tags and "<script>alert(1)</script>" in page.text


def test_every_format_has_an_ending() -> None:
    assert set(ENDINGS.values()) == set(WRITERS)
