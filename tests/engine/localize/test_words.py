"""What an answer says, state by state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.commands.common import near
from engine.localize import Candidate, Posterior, Result, headline, to_text, verdict
from engine.localize.report import to_html
from engine.localize.result import PlanSummary, Source, Timings
from engine.localize.words import order_note, position, right_in_ten, rounded_radius
from engine.photo import PhotoFacts


def answer(
    *chances: float | None, radius: float | None = None, outside: float | None = None
) -> Result:
    """A result whose candidates have these probabilities, 100 m apart."""
    candidates = tuple(
        Candidate(
            rank=number + 1,
            tile_id=number,
            lat=-48.87 + number / 1113.2,
            lon=-123.39,
            tile_lat=-48.87 + number / 1113.2,
            tile_lon=-123.39,
            score=0.6 - number / 10,
            support=0.7 - number / 10,
            heading_deg=359.7,
            distance_from_first_m=100.0 * number,
            probability=chance,
            turn=0,
        )
        for number, chance in enumerate(chances)
    )
    posterior = None
    if chances and chances[0] is not None:
        known = tuple(chance for chance in chances if chance is not None)
        posterior = Posterior(known, 1 - sum(known), radius, 0.9, outside, "made-up towns")
    return Result(
        photo_name="a.jpg",
        photo_sha256="0" * 64,
        facts=PhotoFacts(100, 50, "panorama", 360.0, "shape"),
        plan=PlanSummary(None, "panorama", 360.0, 0.0, 0.0, 64, 2, 1.0, 8000),
        candidates=candidates,
        posterior=posterior,
        extent_m=100.0,
        timings=Timings(total=0.1),
        encoder=Source("e", "a" * 64),
        index=Source("i", "b" * 64),
        notices=(),
    )


@pytest.mark.parametrize(
    ("result", "state", "words"),
    [
        (answer(), "nothing", "No tile lies in the area"),
        (answer(None, None), "ranked", "How sure that is cannot be said."),
        (
            answer(0.97, 0.01, radius=11.2),
            "located",
            "Most likely here. 9 in 10 such answers are within 12 m.",
        ),
        (answer(0.97, 0.01, radius=11.2, outside=0.3), "located", "within 12 m"),
        (
            answer(0.97, 0.01, radius=11.2, outside=0.85),
            "outside",
            "Probably not in this area: nothing here matches",
        ),
        (answer(0.45, 0.4, 0.01, radius=None), "several", "Two places fit about equally."),
        (answer(0.3, 0.3, 0.2, radius=900.0), "several", "Three places fit about equally."),
        (
            answer(0.66, 0.1, radius=None),
            "unsure",
            "Probably here: 6 in 10 such answers are right.",
        ),
        (
            answer(0.66, 0.1, outside=0.6),
            "unsure",
            "Perhaps not in this area. If it is, 6 in 10 such answers are right.",
        ),
        (
            answer(0.97, 0.01, radius=11.2, outside=0.6),
            "unsure",
            "Perhaps not in this area. If it is, 9 in 10",
        ),
        (answer(0.27, 0.1, 0.09, radius=210.0), "unsure", "No place stands out."),
        (answer(0.27, 0.24, radius=210.0), "several", "Two places"),
        (answer(0.2, 0.09, radius=None), "unsure", "No place stands out."),
        (answer(0.66, 0.1, radius=400.0), "unsure", "Probably here: 6 in 10"),
        (answer(*[0.05] * 15, radius=None), "unsure", "No place stands out."),
    ],
)
def test_states(result, state, words):
    assert verdict(result) == state
    assert words in headline(result)
    assert headline(result) in to_text([result])


def test_nothing_is_promised_that_was_not_measured():
    for result in (answer(None), answer(0.2, 0.19), answer(0.97, radius=5.0, outside=0.9)):
        assert "within" not in headline(result)
    assert "%" not in to_text([answer(None, None)])
    assert ">99 %" in to_text([answer(0.999, 0.0001, radius=3.0)])
    assert "100 %" not in to_text([answer(0.999, 0.0001, radius=3.0)])


def test_numbers_are_rounded_to_the_careful_side():
    assert [rounded_radius(r) for r in (0.2, 3.0, 3.1, 11.2, 99.5, 101, 234)] == [
        1,
        3,
        4,
        12,
        100,
        110,
        240,
    ]
    assert [right_in_ten(answer(c)) for c in (0.59, 0.6, 0.999, None)] == [5, 6, 9, 0]


def test_positions():
    assert position(-48.8701234, -123.3904567) == "-48.870123, -123.390457"
    assert position(0.0, 12.5) == "0.000000, 12.500000"


def test_ranks_that_do_not_follow_the_scores_are_explained():
    plain = answer(0.5, 0.3, 0.1)
    assert order_note(plain) == "" and "support" not in to_text([plain]) + to_html([plain])
    first, second, third = plain.candidates
    turned = replace(plain, candidates=(first, second, replace(third, score=0.557)))
    text, page = to_text([turned]), to_html([turned])
    assert f"note: {order_note(turned)}" in text
    table = text.splitlines()[3:7]
    assert table[0].split()[3:5] == ["score", "support"]
    assert [row.split()[4:6] for row in table[1:]] == [
        ["0.600", "0.700"],
        ["0.500", "0.600"],
        ["0.557", "0.500"],
    ]
    assert "<th>support</th>" in page and "<td>0.557</td><td>0.500</td>" in page
    assert "Ranked by support:" in page


def test_a_printed_position_can_be_given_back():
    for lat, lon in ((-48.8701234, -123.3904567), (48.0, 9.0)):
        given = near(f"{position(lat, lon)},150")
        assert given == (pytest.approx(lat, abs=1e-6), pytest.approx(lon, abs=1e-6), 150.0)


def test_a_heading_is_never_360():
    row = to_text([answer(0.97, radius=5.0)]).splitlines()[4]
    assert " 0°" in row and "360°" not in row


def test_the_files_own_position_is_compared():
    facts = PhotoFacts(100, 50, "panorama", 360.0, "shape", latitude=-48.87, longitude=-123.391)
    text = to_text([replace(answer(0.97, radius=5.0), facts=facts)])
    assert (
        "The file's own GPS position, -48.870000, -123.391000, lies 73 m from the first place."
        in text
    )
