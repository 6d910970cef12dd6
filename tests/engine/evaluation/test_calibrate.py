"""A calibration keeps its word on queries that it was not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.encoder import open_encoder, rewrite_card
from engine.errors import DatasetError, EncoderError
from engine.evaluation import calibrate, fit_calibration, read_world, reliability
from engine.evaluation.calibrate import Sample
from engine.localize import Calibration, Query, localize, to_text, verdict
from engine.localize.posterior import credible_radius, make_posterior
from tests.engine.flat import make_town, places, present, write_dataset


def simulated(count: int, seed: int, outside: bool = False, lead: float = 0.45) -> list[Sample]:
    """Scores of a made-up encoder: noise of a size that depends on what is seen, one true place that stands out."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        seen = rng.choice([1.0, 0.25])
        unknown = bool(rng.random() < 0.5)
        noise = 0.06 / seen**0.5
        scores = 0.3 + noise * rng.gumbel(size=400 * (4 if unknown else 1))
        distances = rng.uniform(30, 1000, len(scores))
        if not outside:
            scores[0] += rng.normal(lead, 0.1)
            distances[0] = 0.0
        order = np.argsort(-scores)[:50]
        error = float(rng.rayleigh(2 / seen))
        right = -1 if outside or not (order == 0).any() else int(np.flatnonzero(order == 0)[0])
        away = distances[order]
        samples.append(
            Sample(
                scores=scores[order],
                distances_m=np.concatenate([[0.0], np.maximum(np.abs(away[1:] - away[0]), 30.0)]),
                right=right,
                error_m=np.nan if outside else (error if right == 0 else 400.0),
                right_error_m=np.nan if right < 0 else error,
                seen_share=float(seen),
                unknown=unknown,
                outside=outside,
            )
        )
    return samples


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit_calibration(simulated(800, 1) + simulated(400, 2, outside=True), "made-up scores")


def test_it_is_calibrated_on_others(calibration):
    said = reliability(simulated(2000, 3) + simulated(1000, 4, outside=True), calibration)
    assert said["coverage"] == pytest.approx(0.9, abs=0.05)
    assert said["first_expected"] == pytest.approx(said["first_observed"], abs=0.03)
    assert said["calibration_error"] < 0.05
    assert said["radius_given"] > 0.4
    assert said["outside_false"] < 0.05


def test_photos_from_elsewhere_are_told_where_places_stand_out():
    fitted = fit_calibration(
        simulated(500, 6, lead=0.9) + simulated(500, 7, outside=True), "clear scores"
    )
    said = reliability(simulated(500, 8, lead=0.9) + simulated(500, 9, outside=True), fitted)
    assert said["outside_found"] > 0.4
    assert said["outside_false"] < 0.05


@pytest.mark.parametrize("seen", [1.0, 0.25])
@pytest.mark.parametrize("unknown", [True, False])
def test_it_is_calibrated_for_each_kind_of_photo(calibration, seen, unknown):
    some = [s for s in simulated(3000, 5) if s.seen_share == seen and s.unknown == unknown]
    said = reliability(some, calibration)
    assert said["first_expected"] == pytest.approx(said["first_observed"], abs=0.06)


def test_it_survives_the_card(calibration):
    import json

    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": [1, 2]},
        {"temperature": None},
        {"rest": "x"},
        {"error_levels": [0.5, 0.1], "error_quantiles": [1, 2]},
        {"error_levels": [0.5], "error_quantiles": [1, 2]},
        {"places": 0},
        {"rest": float("nan")},
    ],
)
def test_a_malformed_calibration_is_refused(calibration, change):
    with pytest.raises(EncoderError):
        Calibration.from_dict(calibration.to_dict() | change)
    missing = calibration.to_dict()
    del missing[next(iter(change))]
    with pytest.raises(EncoderError):
        Calibration.from_dict(missing)


def test_the_radius_grows_with_doubt(calibration):
    distances = np.array([0.0, 200.0, 500.0])

    def radius(*probabilities):
        return credible_radius(np.array(probabilities), distances, calibration, 1.0, False)

    def given(*probabilities):
        return present(radius(*probabilities))

    assert given(0.99, 0.005, 0.005) < given(0.92, 0.04, 0.04) < 50
    assert 200 <= given(0.8, 0.15, 0.05) < 260
    assert radius(0.3, 0.1, 0.1) is None


def test_probabilities_add_up(calibration):
    scores = np.sort(np.random.default_rng(0).random(50))[::-1]
    posterior = make_posterior(scores, np.linspace(0, 4900, 50), calibration, 0.3, True)
    assert sum(posterior.probabilities) + posterior.elsewhere_inside == pytest.approx(1)
    assert all(
        a >= b for a, b in zip(posterior.probabilities, posterior.probabilities[1:], strict=False)
    )
    assert 0 <= present(posterior.outside) <= 1


def test_too_few_queries_are_refused():
    with pytest.raises(DatasetError, match="too few"):
        fit_calibration(simulated(20, 0), "few")


def test_without_photos_from_outside_nothing_is_said_about_it():
    calibration = fit_calibration(simulated(200, 0), "inside only")
    assert calibration.outside is None
    posterior = make_posterior(
        np.array([0.9, 0.1]), np.array([0.0, 100.0]), calibration, 1.0, False
    )
    assert posterior.outside is None


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """Two flat worlds with pictures."""
    made = [make_town(tmp_path_factory.mktemp(f"flat{seed}"), seed) for seed in (0, 9)]
    for town in made:
        write_dataset(town, panoramas=26, photos=26, seed=town.world.ground[0, 0, 0].item())
    return made


def test_from_photos_to_a_confidence(towns):
    """The whole way: collect, fit, store in the card, locate with it."""
    here, elsewhere = towns
    inside, strangers = read_world(here.folder), read_world(elsewhere.folder)
    calibration, said = calibrate(
        here.encoder, here.index, inside, strangers, data="flat worlds", fovs_deg=(360.0, 80.0)
    )
    assert calibration.queries == 2 * 2 * 26
    assert said["queries"] == 2 * 26
    assert said["first_expected"] == pytest.approx(said["first_observed"], abs=0.12)
    folder = here.folder / "linear.encoder"
    rewrite_card(folder, here.encoder.card.with_calibration(calibration.to_dict()))
    encoder = open_encoder(folder, threads=1)
    assert encoder.hash == here.encoder.hash  # the index still fits

    place = places(1, seed=77)[0]
    result = localize(Query(here.panorama(*place), place[2]), encoder, here.index)
    assert result.posterior is not None and result.posterior.data == "flat worlds"
    assert verdict(result) == "located"
    assert "9 in 10 such answers are within" in to_text([result])
    assert present(result.candidates[0].probability) > 0.8
    assert any("flat worlds" in notice for notice in result.notices)
    stranger = localize(Query(elsewhere.panorama(*place), place[2]), encoder, here.index)
    assert present(present(stranger.posterior).outside) > present(result.posterior.outside)
    # The same encoder on other imagery: nobody measured there, so nothing is promised.
    assert encoder.card.calibration is not None
    foreign = {**encoder.card.calibration, "attribution": "somebody else's"}
    rewrite_card(folder, encoder.card.with_calibration(foreign))
    bare = localize(
        Query(here.panorama(*place), place[2]), open_encoder(folder, threads=1), here.index
    )
    assert bare.posterior is None and verdict(bare) == "ranked"
    assert any("this index shows other imagery" in notice for notice in bare.notices)
    doubt = replace(result, posterior=replace(result.posterior, outside=0.9))
    assert "Probably not in this area" in to_text([doubt])
