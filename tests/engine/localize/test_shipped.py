"""The encoder, the index and the photos that ship: they work together, and their evidence is faithful."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.encoder import open_encoder
from engine.evaluation.faithfulness import drops
from engine.index import Index
from engine.localize import Query, explain, localize, verdict
from engine.photo import View, read_photo, view_of
from engine.photo.projections import crop_to_fov
from engine.shipped import sample_photos, shipped_encoder, shipped_index

PAIRS = 50


@pytest.fixture(scope="module")
def encoder():
    path = shipped_encoder()
    if path is None:
        pytest.skip("no encoder in resources: make the demo first (packaging/make_demo.py)")
    return open_encoder(path, threads=1)


@pytest.fixture(scope="module")
def index(encoder):
    path = shipped_index()
    if path is None:
        pytest.skip("no index in resources: make the demo first (packaging/make_demo.py)")
    with Index.open(path, encoder) as opened:
        yield opened


@pytest.fixture(scope="module")
def samples():
    return [read_photo(path) for path in sample_photos()]


def variants(samples, count):
    """Views of the sample photos, each another one: turned and narrowed panoramas, narrowed photos."""
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = samples[number % len(samples)]
        view = view_of(photo.facts)
        pixels = photo.pixels
        if view.full_turn:
            pixels = np.roll(pixels, int(rng.integers(pixels.shape[1])), axis=1)
            if number % 2:
                view = replace(view, pitch_deg=0.0, roll_deg=0.0)
                pixels, view = crop_to_fov(pixels, view, float(rng.uniform(90, 200)))
        else:
            pixels, view = crop_to_fov(pixels, view, view.fov_deg * float(rng.uniform(0.75, 1.0)))
        yield Query(replace(photo, pixels=pixels), None, View(**vars(view)))


def test_every_sample_is_located_with_a_confidence(encoder, index, samples):
    assert samples
    for photo in samples:
        result = localize(Query(photo), encoder, index)
        assert result.posterior is not None
        assert verdict(result) not in ("ranked", "nothing")
        if photo.facts.fov_deg >= 360:
            assert verdict(result) == "located"


def test_the_parts_add_up(encoder, index, samples):
    for query in variants(samples, 8):
        for candidate in localize(query, encoder, index).candidates[:2]:
            evidence = explain(query, candidate, encoder, index)
            assert evidence.photo_map.sum() == pytest.approx(evidence.score, abs=1e-4)
            assert evidence.tile_map is not None
            assert evidence.tile_map.sum() == pytest.approx(evidence.score, abs=1e-4)
            assert evidence.bearings is not None
            assert evidence.bearings.sum() == pytest.approx(evidence.score, abs=1e-4)
            assert evidence.score == pytest.approx(candidate.score, abs=5e-3)


def test_the_evidence_is_faithful(encoder, index, samples):
    """Blanking the most marked tenth lowers the score more than blanking random tenths, on average over 50 pairs."""
    rng = np.random.default_rng(1)
    photos, tiles = [], []
    for query in variants(samples, PAIRS):
        best = localize(query, encoder, index).candidates[0]
        photo, tile = drops(query, best, encoder, index, rng)
        photos.append((photo.marked, photo.random))
        tiles.append((tile.marked, tile.random))
    assert len(photos) == PAIRS
    for kind in (photos, tiles):
        marked, random = np.mean(kind, axis=0)
        print(
            f"marked {marked:.3f}, random {random:.3f}, in {np.mean([m > r for m, r in kind]):.0%} of pairs"
        )
        assert marked > random
