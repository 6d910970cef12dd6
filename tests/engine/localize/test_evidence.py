"""Evidence adds up, lies where it should, and is what the score is made of."""

from __future__ import annotations

import numpy as np
import pytest

from engine.encoder.blocks import block_scores
from engine.evaluation.faithfulness import drops
from engine.localize import Query, explain, localize
from engine.localize.evidence import cell_parts
from engine.localize.spreading import on_canvas, on_tile
from engine.photo.polar import polar_warp
from tests.engine.flat import places, present


def cases(town, count):
    """Queries of all kinds with their results."""
    for number, place in enumerate(places(count)):
        kind = number % 4
        photo = town.panorama(*place) if kind < 2 else town.perspective(*place, fov=110, pitch=-12)
        query = Query(photo, heading_deg=place[2] if kind % 2 else None)
        yield query, localize(query, town.encoder, town.index)


def test_the_parts_add_up_to_the_score(town):
    for query, result in cases(town, 8):
        for candidate in (result.candidates[0], result.candidates[7]):
            evidence = explain(query, candidate, town.encoder, town.index)
            assert evidence.kind == "contributions"
            assert evidence.photo_map.sum() == pytest.approx(evidence.score, abs=1e-4)
            assert present(evidence.tile_map).sum() == pytest.approx(evidence.score, abs=1e-4)
            assert present(evidence.bearings).sum() == pytest.approx(evidence.score, abs=1e-4)
            # The index keeps vectors in 8 bits; but for that it is the candidate's own score.
            assert evidence.score == pytest.approx(candidate.score, abs=5e-3)


def test_shapes_and_pictures(town):
    query, result = next(cases(town, 1))
    evidence = explain(query, present(result.best), town.encoder, town.index)
    height, width = town.encoder.card.branches.query.input_size
    assert evidence.photo_map.shape == (height, width)
    assert evidence.photo_overlay.shape == (256, 512)
    side = town.encoder.card.branches.reference.tile_pixels
    assert present(evidence.tile_map).shape == (side, side)
    assert present(evidence.tile_pixels).shape == (side, side, 3)
    assert present(evidence.bearings).shape == present(evidence.seen).shape == (16,)


def test_bearings_of_a_photo_lie_where_it_looked(town):
    place = places(1)[0]
    heading = 135.0
    photo = town.perspective(place[0], place[1], heading, fov=80, pitch=-12)
    query = Query(photo, heading_deg=heading)
    result = localize(query, town.encoder, town.index)
    evidence = explain(query, present(result.best), town.encoder, town.index)
    directions = -180 + (np.arange(16) + 0.5) * 360 / 16
    away = np.abs((directions - heading + 180) % 360 - 180)
    seen, bearings = present(evidence.seen), present(evidence.bearings)
    assert (seen[away > 65] == 0).all() and (bearings[away > 65] == 0).all()
    assert seen[away < 25].min() > 0.9
    # Behind the camera nothing of the tile counts either.
    tile_map = present(evidence.tile_map)
    side = len(tile_map)
    middle = side // 2
    y, x = np.mgrid[0:side, 0:side]
    bearing = np.degrees(np.arctan2(x - middle + 0.5, middle - y - 0.5))
    behind = np.abs((bearing - heading + 180) % 360 - 180) > 100
    assert np.abs(tile_map[behind]).sum() < 0.02 * np.abs(tile_map).sum()


def test_without_imagery_the_photo_is_explained_all_the_same(town, tmp_path):
    from engine.imagery import open_imagery
    from engine.index import Index, build_index

    copy = tmp_path / "copy.tif"
    copy.write_bytes((town.folder / "imagery.tif").read_bytes())
    built = build_index(
        tmp_path / "bare.index",
        open_imagery(copy),
        town.encoder,
        stride_m=20.0,
        embed_imagery=False,
    )
    built.close()
    copy.unlink()
    with Index.open(tmp_path / "bare.index", town.encoder) as index:
        query = Query(town.panorama(*places(1)[0]))
        result = localize(query, town.encoder, index)
        evidence = explain(query, present(result.best), town.encoder, index)
    assert evidence.tile_map is None and evidence.tile_pixels is None
    assert "not beside it" in " ".join(evidence.notices)
    assert evidence.score == pytest.approx(present(result.best).score, abs=1e-3)
    assert evidence.photo_map.sum() == pytest.approx(evidence.score, abs=1e-4)


def test_cell_parts_are_the_slow_sum(town):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3, 2, 8)).astype(np.float32)
    against = rng.standard_normal((4, 3)).astype(np.float32)
    slow = np.array(
        [
            [sum(features[d, h, w] * against[w // 2, d] for d in range(3)) for w in range(8)]
            for h in range(2)
        ]
    )
    np.testing.assert_allclose(cell_parts(features, against, "contributions"), slow, atol=1e-5)
    blocks = features.sum(axis=1).reshape(3, 4, 2).sum(axis=2).T
    assert cell_parts(features, against, "contributions").sum() == pytest.approx(
        block_scores(blocks.ravel(), against.ravel(), 4).sum(), abs=1e-5
    )


def test_attention_is_shown_as_weights():
    weights = np.array([[[0.2, 0.8]], [[0.4, -0.2]]], np.float32)
    np.testing.assert_allclose(
        cell_parts(weights, np.zeros((1, 2), np.float32), "attention"), [[0.3, 0.3]]
    )


def test_cells_lie_on_the_canvas_where_they_were_computed():
    cells = np.zeros((4, 32), np.float32)
    cells[1, 20] = 1.0
    drawn = on_canvas(cells, (32, 128), roll=0)
    assert drawn.sum() == pytest.approx(1)
    row, column = np.unravel_index(np.argmax(drawn), drawn.shape)
    assert 8 <= row < 16 and 80 <= column < 84
    rolled = on_canvas(cells, (32, 128), roll=4)
    np.testing.assert_array_equal(rolled, np.roll(drawn, -4, axis=1))


def test_cells_lie_on_the_tile_where_the_warp_read_them(town):
    branch = town.encoder.card.branches.reference
    side = branch.tile_pixels
    for row, column in ((0, 3), (1, 17), (2, 30), (3, 10)):
        cells = np.zeros((4, 32), np.float32)
        cells[row, column] = 1.0
        drawn = on_tile(cells, branch)
        assert drawn.sum() == pytest.approx(1, abs=1e-5)
        # Paint the tile where the cell was drawn, warp it as the encoder does: it lights up in that cell.
        tile = np.where(drawn > 0.3 * drawn.max(), 255, 0).astype(np.uint8)
        polar = polar_warp(
            tile[None, :, :, None].repeat(3, axis=3), height=32, width=128, radii=branch.radii
        )
        lit = polar[0, :, :, 0].reshape(4, 8, 32, 4).mean(axis=(1, 3))
        assert np.unravel_index(np.argmax(lit), lit.shape) == (row, column)
    assert on_tile(np.ones((4, 32), np.float32), branch).shape == (side, side)


def test_evidence_is_faithful(town):
    rng = np.random.default_rng(0)
    photos, tiles = [], []
    for query, result in cases(town, 50):
        photo, tile = drops(query, result.candidates[0], town.encoder, town.index, rng)
        photos.append((photo.marked, photo.random))
        tiles.append((tile.marked, tile.random))
    for kind in (photos, tiles):
        marked, random = np.mean(kind, axis=0)
        assert marked > random
