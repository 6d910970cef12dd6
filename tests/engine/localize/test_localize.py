"""From photos to places in a world whose truth is exact."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pytest

from engine.errors import Cancelled, PhotoError
from engine.geo import distance_m, heading_difference
from engine.index import area_from_geojson
from engine.index.filters import Filter
from engine.localize import Query, localize, to_geojson, to_json, to_text
from engine.localize.search import distinct, search_tiles, separation_m
from engine.photo.projections import View
from tests.engine.flat import STRIDE_M, as_photo, places


def errors(town, result, place):
    east, south, heading = place
    lat, lon = town.world.to_wgs84(east, south)
    best = result.best
    return (
        float(distance_m(lat, lon, best.lat, best.lon)),
        float(distance_m(lat, lon, best.tile_lat, best.tile_lon)),
        float(heading_difference(best.heading_deg, heading)),
    )


@pytest.fixture(scope="module")
def unknown(town):
    """Panoramas located without their heading: place and result."""
    return [
        (place, localize(Query(town.panorama(*place)), town.encoder, town.index))
        for place in places(12)
    ]


def test_panoramas_of_unknown_heading(town, unknown):
    found = np.array([errors(town, result, place) for place, result in unknown])
    assert np.median(found[:, 0]) < 0.6 * STRIDE_M
    assert (found[:, 0] < 2 * STRIDE_M).mean() >= 0.9
    assert np.median(found[:, 0]) < np.median(found[:, 1])  # better than the tile's centre
    assert np.median(found[:, 2]) < 4


def test_panoramas_of_known_heading(town):
    found = []
    for place in places(12):
        result = localize(
            Query(town.panorama(*place), heading_deg=place[2]), town.encoder, town.index
        )
        assert result.plan.heading_deg == place[2]
        found.append(errors(town, result, place))
    found = np.array(found)
    assert np.median(found[:, 0]) < 0.6 * STRIDE_M
    assert found[:, 0].max() < 2 * STRIDE_M
    assert found[:, 2].max() < 18


def test_a_heading_ten_degrees_wrong_is_repaired(town):
    place = places(1)[0]
    result = localize(
        Query(town.panorama(*place), heading_deg=place[2] + 10), town.encoder, town.index
    )
    error, _, turn = errors(town, result, place)
    assert error < 2 * STRIDE_M and turn < 8


def test_photos(town):
    found = []
    for place in places(12):
        photo = town.perspective(*place, fov=100, pitch=-15)
        result = localize(Query(photo, heading_deg=place[2]), town.encoder, town.index)
        assert 0.2 < result.plan.seen_share < 0.4
        found.append(errors(town, result, place))
    assert np.median(np.array(found)[:, 0]) < STRIDE_M


def test_the_view_corrected_by_hand_is_used(town):
    place = places(1)[0]
    photo = town.perspective(*place, fov=100, pitch=-15)
    wrong = View("perspective", 60.0)
    right = localize(Query(photo, place[2]), town.encoder, town.index)
    worse = localize(Query(photo, place[2], wrong), town.encoder, town.index)
    assert worse.candidates[0].score < right.candidates[0].score


def test_candidates_are_distinct_places_in_order(town, unknown):
    for _, result in unknown:
        supports = [candidate.support for candidate in result.candidates]
        assert supports == sorted(supports, reverse=True)
        assert [candidate.rank for candidate in result.candidates] == list(range(1, 11))
        apart = separation_m(result.extent_m, STRIDE_M)
        for a in result.candidates:
            for b in result.candidates:
                if a.rank < b.rank:
                    assert (
                        distance_m(a.tile_lat, a.tile_lon, b.tile_lat, b.tile_lon) >= apart * 0.999
                    )
        assert result.candidates[0].distance_from_first_m == 0


def test_scores_are_those_of_all_tiles(town, unknown):
    place, result = unknown[0]
    everything = town.index.vectors(np.arange(town.index.manifest.count))
    query = Query(town.panorama(*place))
    from engine.localize.plan import make_plan
    from engine.localize.run import queries_of

    plan = make_plan(town.encoder.card, None)
    code = town.encoder.encode_photo(query.photo.pixels, query.seen_as, plan.rolls)
    scores = everything @ queries_of(code, plan, query.photo).T
    assert result.best.tile_id == int(scores.max(axis=1).argmax())
    assert result.best.score == pytest.approx(scores.max(), abs=1e-4)
    assert result.best.turn == int(scores[result.best.tile_id].argmax())


def test_only_the_area_answers(town):
    place = places(1)[0]
    lat, lon = town.world.to_wgs84(place[0], place[1])
    box = [[lon + x, lat + y] for x, y in ((3e-4, -1), (1, -1), (1, 1), (3e-4, 1), (3e-4, -1))]
    area = area_from_geojson({"type": "Polygon", "coordinates": [box]})
    ids = town.index.within(area)
    assert 0 < len(ids) < town.index.manifest.count
    result = localize(Query(town.panorama(*place), filter=Filter(area)), town.encoder, town.index)
    assert all(candidate.tile_lon > lon + 3e-4 for candidate in result.candidates)
    assert result.plan.tiles == len(ids)
    nearby = Filter(near=(lat, lon, 60.0))
    result = localize(Query(town.panorama(*place), filter=nearby), town.encoder, town.index)
    assert result.plan.tiles == len(town.index.near(lat, lon, 60.0)) > 0
    assert all(distance_m(lat, lon, c.tile_lat, c.tile_lon) <= 60 for c in result.candidates)
    far = Filter(area, near=(lat, lon, 1.0))
    nowhere = localize(Query(town.panorama(*place), filter=far), town.encoder, town.index)
    assert nowhere.candidates == () and nowhere.best is None
    assert "No tile" in to_text([nowhere])
    json.loads(to_json([nowhere]))


def test_a_photo_of_the_sky_is_refused_in_words(town):
    photo = as_photo(np.full((300, 400, 3), 200, np.uint8), "perspective", 50.0, pitch_deg=80.0)
    with pytest.raises(PhotoError, match="nothing near the horizon"):
        localize(Query(photo), town.encoder, town.index)


def test_it_can_be_stopped(town):
    def stop(done, total, text):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        localize(Query(town.panorama(*places(1)[0])), town.encoder, town.index, stop)


def test_the_same_again(town, unknown):
    place, result = unknown[0]
    again = localize(Query(town.panorama(*place)), town.encoder, town.index)
    assert again.candidates == result.candidates


def test_without_a_calibration_there_are_no_probabilities(unknown):
    _, result = unknown[0]
    assert result.posterior is None
    assert all(candidate.probability is None for candidate in result.candidates)
    assert any("Scores are not probabilities" in notice for notice in result.notices)
    assert any("not trained" in notice for notice in result.notices)
    assert "9 in 10" not in to_text([result])


def test_json(unknown):
    _, result = unknown[0]
    values = json.loads(to_json([result]))
    assert values["format"] == "nadir-result" and values["version"] == 1
    assert len(values["candidates"]) == 10
    assert values["encoder"]["hash"] == result.encoder.hash
    assert values["index"]["hash"] == result.index.hash
    assert values["photo"]["sha256"] == "0" * 64
    assert values["plan"]["heading_deg"] is None
    assert values["timings_s"]["total"] > 0
    assert len(json.loads(to_json([result, result]))) == 2


def test_geojson(unknown):
    _, result = unknown[0]
    values = json.loads(to_geojson([result]))
    assert values["type"] == "FeatureCollection"
    kinds = [feature["properties"]["kind"] for feature in values["features"]]
    assert kinds == ["place", "tile"] * 10
    point, polygon = values["features"][:2]
    assert point["geometry"]["coordinates"] == pytest.approx(
        [result.best.lon, result.best.lat], abs=1e-7
    )
    ring = polygon["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] and len(ring) == 5
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring))
    assert area > 0  # counter-clockwise
    width = distance_m(ring[0][1], ring[0][0], ring[1][1], ring[1][0])
    assert width == pytest.approx(result.extent_m, rel=1e-3)


def test_text_reads_well(unknown):
    text = to_text([unknown[0][1]])
    assert text.startswith("panorama.jpg  (panorama, 360°, heading to be found)\nBest match here.")
    assert re.search(r"  -48\.\d{6}, -123\.\d{6}  ", text)


def test_distinct():
    east, north = np.array([0.0, 5, 11, 0, 40]), np.array([0.0, 0, 0, 11, 0])
    np.testing.assert_array_equal(distinct(east, north, 10.0, 10), [0, 2, 3, 4])
    np.testing.assert_array_equal(distinct(east, north, 10.0, 2), [0, 2])
    assert len(distinct(east[:0], north[:0], 10.0, 2)) == 0


def test_search_gives_every_tile_once(town):
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((7, town.index.manifest.dimension)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = search_tiles(queries, town.index, count=30)
    assert len(set(found.ids.tolist())) == len(found.ids) > 30
    assert (np.diff(found.scores) <= 0).all()
    # The first as many as were asked for every turn are the best of all tiles, with their best turn.
    exact = town.index.vectors(np.arange(town.index.manifest.count)) @ queries.T
    best = np.argsort(-exact.max(axis=1))[:30]
    np.testing.assert_array_equal(found.ids[:30], best)
    np.testing.assert_allclose(found.scores[:30], exact[best].max(axis=1), atol=1e-4)
    np.testing.assert_array_equal(found.turns[:30], exact[best].argmax(axis=1))


def test_neighbours_of_many_are_those_of_each(town):
    lat, lon = town.index.centres
    picks = np.array([0, 5, len(lat) // 2, len(lat) - 1])
    for radius in (STRIDE_M * 1.6, 30.0):
        around = town.index.around(lat[picks] + 1e-6, lon[picks], radius)
        for pick, found in zip(picks, around, strict=True):
            each = town.index.near(float(lat[pick]) + 1e-6, float(lon[pick]), radius)
            np.testing.assert_array_equal(found, np.sort(each))


def test_a_gpu_that_fails_while_locating_becomes_a_notice(town):
    """The first provider's session raises in the middle of a run; the answer comes from the CPU and says so."""
    from engine.encoder import open_encoder
    from engine.encoder.session import CPU, CUDA, GraphSession, make_runner

    class Failing:
        def __init__(self, graph):
            self.inner = make_runner(graph, CPU, 1)

        def run(self, output_names, input_feed):
            raise RuntimeError("CUDA error: device lost")

        def get_providers(self):
            return [CUDA]

        def get_inputs(self):
            return self.inner.get_inputs()

        def get_outputs(self):
            return self.inner.get_outputs()

    encoder = open_encoder(town.folder / "linear.encoder", threads=1)
    graph = (town.folder / "linear.encoder" / "both.onnx").read_bytes()
    encoder._query = GraphSession(
        graph,
        providers=(CUDA, CPU),
        factory=lambda content, provider, threads: (
            Failing(content) if provider == CUDA else make_runner(content, provider, threads)
        ),
    )
    place = places(1)[0]
    result = localize(Query(town.panorama(*place)), encoder, town.index)
    assert (
        "CUDA failed while encoding (CUDA error: device lost); continued on CPU." in result.notices
    )
    assert result.encoder.about["device"] == "CPU"
    expected = localize(Query(town.panorama(*place)), town.encoder, town.index)
    assert [c.tile_id for c in result.candidates] == [c.tile_id for c in expected.candidates]


def test_overhead_is_reported(unknown):
    _, result = unknown[0]
    times = result.timings
    parts = times.project + times.encode + times.search + times.refine
    assert parts == pytest.approx(times.total, rel=0.02)
    assert 0 <= times.own_share <= 1 and not math.isnan(times.own_share)
