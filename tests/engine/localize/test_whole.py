"""Encoders whose descriptor is one whole, from index to evidence: with and without headings, one extent and several."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.evaluation.faithfulness import drops
from engine.geo import distance_m
from engine.localize import Evidence, Query, localize, to_json, to_text
from engine.localize.run import FLATTENED
from engine.photo import Photo, View
from tests.engine.flat import as_photo, places, present
from tests.engine.whole import Place, make_place
from tests.whole_encoder import DIM, panorama_card, plain_card

EXTENTS = (80.0, 160.0, 40.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("plain"), plain_card(), 8.0)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("several"), plain_card(extents=EXTENTS), 16.0)


@pytest.fixture(scope="module")
def attending(tmp_path_factory: pytest.TempPathFactory) -> Place:
    card = plain_card(extents=EXTENTS, kind="attention")
    return make_place(tmp_path_factory.mktemp("attending"), card, 25.0)


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("turning"), panorama_card(), 5.0, 65.0)


def test_photos_are_found_and_no_heading_is_answered(plain: Place):
    for east, south, _ in places(4):
        result = plain.located(plain.from_above(east, south))
        assert plain.error_m(result, east, south) < 5.0
        assert result.posterior is None and not result.plan.knows_heading
        assert all(c.heading_deg is None and c.probability is None for c in result.candidates)
        assert result.plan.turns == result.plan.encodings == 1


def test_what_is_said_of_headings(plain: Place):
    photo = plain.from_above(100, 100)
    result = plain.located(photo, heading=40.0)
    text = to_text([result])
    assert "no heading answered" in text and "heading 40" not in text and "no headings" in text
    assert "answers no heading" in text and "was not used" in text
    assert json.loads(to_json([result]))["candidates"][0]["heading_deg"] is None
    quiet = to_text([plain.located(photo)])
    assert "answers no heading" in quiet and "was not used" not in quiet


def test_fields_of_view_mean_nothing_to_plain_encoders(plain: Place, turning: Place):
    photo = plain.from_above(100, 100)
    unknown = replace(photo, facts=replace(photo.facts, fov_source="assumed"))
    for place, asked in ((plain, False), (turning, True)):
        notices = localize(Query(unknown), place.encoder, place.index).notices
        assert any("Correct it if you know better" in each for each in notices) == asked
    around = localize(Query(photo, view=View("panorama", 360.0)), plain.encoder, plain.index)
    assert FLATTENED in around.notices
    assert FLATTENED not in localize(Query(photo), plain.encoder, plain.index).notices


def test_panoramas_are_turned_to_find_their_heading(turning: Place):
    for east, south, heading in ((91.0, 107.0, 200.0), (124.0, 98.5, 33.0)):
        photo = turning.panorama(east, south, heading)
        for given in (None, heading):
            result = turning.located(photo, given)
            found = present(present(result.best).heading_deg)
            assert turning.error_m(result, east, south) < 5.0
            assert abs((found - heading + 180) % 360 - 180) < 10.0
            assert result.plan.encodings == (32 if given is None else 1)


def test_parts_of_the_circle_are_turned_too(turning: Place):
    """Not turning a photo would compare it as if it looked north."""
    photo = turning.panorama(110, 110, 90.0)
    part = as_photo(photo.pixels[:, 40:600], "panorama", 315.0)
    result = turning.located(part)
    assert result.plan.knows_heading and result.plan.encodings == 32
    assert turning.error_m(result, 110, 110) < 6.0
    assert abs(present(present(result.best).heading_deg) - 90.0) < 8.0


def test_coarse_cells_are_places_of_their_own(attending: Place):
    """A third of a tile apart, tiles are no samples of one surface: an answer is a tile's centre, with its score."""
    result = attending.located(attending.from_above(95, 105))
    for candidate in result.candidates:
        tile = candidate.tile_lat, candidate.tile_lon
        assert (candidate.lat, candidate.lon) == pytest.approx(tile, abs=1e-9)
        assert candidate.support == pytest.approx(candidate.score, abs=1e-5)
    scores = [candidate.score for candidate in result.candidates]
    assert scores == sorted(scores, reverse=True)
    first, *others = [(c.lat, c.lon) for c in result.candidates]
    assert min(float(distance_m(*first, *other)) for other in others) >= 37.5 - 1e-3


def check_sums(place: Place, photo: Photo) -> Evidence:
    result = place.located(photo)
    evidence = place.explained(photo, result)
    assert evidence.score == pytest.approx(present(result.best).score, abs=5e-3)
    assert evidence.bearings is None and evidence.seen is None
    assert evidence.photo_map.sum() == pytest.approx(evidence.score, abs=1e-4)
    return evidence


def test_contributions_of_whole_descriptors_add_up(plain: Place, turning: Place):
    evidence = check_sums(plain, plain.from_above(100, 90))
    assert present(evidence.tile_map).sum() == pytest.approx(evidence.score, abs=1e-4)
    assert evidence.extents == () and present(evidence.tiles).shape == (60, 60, 3)
    assert evidence.photo_overlay.shape == (112, 120)
    evidence = check_sums(turning, turning.panorama(100, 90, 77.0))
    assert present(evidence.tile_map).sum() == pytest.approx(evidence.score, abs=1e-4)


def test_several_extents_share_the_score(several: Place):
    evidence = check_sums(several, several.from_above(120, 100))
    assert [each.extent_m for each in evidence.extents] == list(EXTENTS)
    parts = [each.part for each in evidence.extents]
    assert sum(parts) == pytest.approx(evidence.score, abs=1e-4)
    # The nearest is the last of the card's; it is what is drawn, and its map adds up to its part.
    assert present(evidence.tile_map).sum() == pytest.approx(parts[2], abs=1e-4)
    assert present(evidence.tiles).shape == (3, 60, 60, 3)
    assert np.array_equal(present(evidence.tile_pixels), present(evidence.tiles)[2])
    said = " ".join(evidence.notices)
    assert "40 m across" in said and f"{parts[0]:.3f} on 80 m" in said and "160 m" in said


def test_attention_is_shares_of_what_was_looked_at(attending: Place):
    photo = attending.from_above(100, 120)
    evidence = attending.explained(photo, attending.located(photo))
    assert evidence.kind == "attention"
    assert evidence.photo_map.min() >= 0 and present(evidence.tile_map).min() >= 0
    assert sum(each.part for each in evidence.extents) == pytest.approx(1.0)
    assert "of what it looked at" in " ".join(evidence.notices)


def test_index_building_asks_for_descriptors_alone(plain: Place, monkeypatch: pytest.MonkeyPatch):
    """Contributions of a large network are a megabyte and more a tile."""
    asked: list[list[str]] = []
    session = plain.encoder._reference
    run = session.run

    def watched(batch, names):
        asked.append(names)
        return run(batch, names)

    monkeypatch.setattr(session, "run", watched)
    vectors = plain.encoder.encode_tiles(np.full((3, 60, 60, 3), 7, np.uint8))
    assert vectors.shape == (3, DIM) and asked == [["descriptor"]]


def test_marks_of_whole_encoders_are_faithful(plain: Place, several: Place):
    rng = np.random.default_rng(0)
    for place in (plain, several):
        found = []
        for east, south, _ in places(8, seed=2):
            query = Query(place.from_above(east, south))
            best = present(localize(query, place.encoder, place.index).best)
            photo, tile = drops(query, best, place.encoder, place.index, rng)
            found.append((photo.marked, photo.random, tile.marked, tile.random))
        photo_marked, photo_random, tile_marked, tile_random = np.mean(found, axis=0)
        assert photo_marked > photo_random and tile_marked > tile_random
