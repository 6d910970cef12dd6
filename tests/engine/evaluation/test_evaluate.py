"""Evaluating on a flat world: the numbers, their keys, and that nothing is used that a user does not know."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.errors import DatasetError
from engine.evaluation import evaluate, read_world
from engine.evaluation.evaluate import nearest_tile_ranks, query_of
from engine.geo import distance_m
from tests.engine.flat import make_town, present, write_dataset

KEYS = {
    "queries", "R@1", "R@5", "R@10", "R@1%", "hit_rate", "R@1<25m", "R@5<25m", "R@1<50m", "R@5<50m", "R@10<25m",
    "median_error_m", "median_heading_error_deg", "dataset", "encoder", "index", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    town = make_town(tmp_path_factory.mktemp("flat"))
    write_dataset(town, panoramas=8, photos=8)
    return town


@pytest.fixture(scope="module")
def world(town):
    return read_world(town.folder)


def test_panoramas(town, world):
    for known in (True, False):
        values = evaluate(world, town.encoder, town.index, heading_known=known).to_dict()
        assert set(values) >= KEYS
        json.dumps(values, allow_nan=False)
        assert values["queries"] == 8
        assert values["R@1<25m"] == values["R@5<25m"] == values["hit_rate"] == 1
        assert values["R@1"] <= values["R@5"] <= values["R@10"]
        assert values["median_error_m"] < 5
        assert (values["median_heading_error_deg"] is None) == known
        assert values["radius_held"] is None
    assert values["median_heading_error_deg"] < 6


def test_photos(town, world):
    values = evaluate(world, town.encoder, town.index, heading_known=True, fov_deg=80).to_dict()
    assert values["queries"] == 8 and values["fov_deg"] == 80
    assert values["R@10<25m"] > 0.5
    with pytest.raises(DatasetError, match="no photos of 120° or more"):
        evaluate(world, town.encoder, town.index, heading_known=True, fov_deg=120)


def test_photos_are_brought_to_the_field_of_view(world):
    truth = world.queries(90)[0]
    query = present(query_of(truth, heading_known=False, fov_deg=70))
    assert query.heading_deg is None
    assert query.seen_as.kind == "perspective"
    assert query.seen_as.fov_deg == pytest.approx(70, abs=0.5)
    assert query.photo.pixels.shape[1] < 400
    assert present(query_of(truth, heading_known=True, fov_deg=90)).heading_deg == truth.heading_deg


def test_limit_and_split(town, world):
    values = evaluate(
        world, town.encoder, town.index, heading_known=True, limit=3, split="test", with_ranks=False
    ).to_dict()
    assert values["queries"] == 3 and values["R@1"] is None
    with pytest.raises(DatasetError):
        evaluate(world, town.encoder, town.index, heading_known=True, split="none")


def test_ranks_are_counted_over_all_tiles(town):
    rng = np.random.default_rng(0)
    stacks = [
        rng.standard_normal((3, town.index.manifest.dimension)).astype(np.float32) for _ in range(2)
    ]
    lat, lon = town.index.centres
    positions = np.array([(lat[700], lon[700]), (lat[3] + 1e-6, lon[3])])
    ranks = nearest_tile_ranks(stacks, positions, town.index)
    vectors = town.index.vectors(np.arange(len(lat)))
    for position, stack, rank in zip(positions, stacks, ranks, strict=True):
        nearest = int(np.argmin(distance_m(position[0], position[1], lat, lon)))
        scores = (vectors @ stack.T).max(axis=1)
        assert rank == 1 + (scores > scores[nearest]).sum()


def test_a_missing_picture_is_named(town, world):
    from engine.errors import PhotoError

    (town.folder / "panoramas" / "0007.jpg").rename(town.folder / "away.jpg")
    try:
        with pytest.raises(PhotoError, match=r"0007\.jpg"):
            evaluate(world, town.encoder, town.index, heading_known=True)
    finally:
        (town.folder / "away.jpg").rename(town.folder / "panoramas" / "0007.jpg")
