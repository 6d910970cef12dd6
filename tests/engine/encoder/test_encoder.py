"""Encoding: shapes, the contract of blocks and features, rolls, and what photos see."""

from __future__ import annotations

import numpy as np
import pytest

from engine.encoder import open_encoder
from engine.encoder.blocks import aligned_queries, block_scores
from engine.errors import EncoderError
from engine.photo.projections import FULL_PANORAMA, View, perspective_from_panorama
from tests.flat_world import make_flat_world
from tests.linear_encoder import TILE_PIXELS, WIDTH, save_linear_encoder

BLOCKS, DEPTH = 16, 24


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "linear.encoder"
    save_linear_encoder(folder, blocks=BLOCKS, depth=DEPTH)
    return open_encoder(folder, threads=1)


@pytest.fixture(scope="module")
def panorama():
    return make_flat_world(200).panorama(100, 100, heading_deg=0)


@pytest.fixture(scope="module")
def tiles():
    coarse = np.random.default_rng(0).integers(
        0, 255, (5, TILE_PIXELS // 8, TILE_PIXELS // 8, 3), np.uint8
    )
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def test_tiles(encoder, tiles):
    descriptors = encoder.encode_tiles(tiles)
    assert descriptors.shape == (5, BLOCKS * DEPTH)
    assert descriptors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    blocks = descriptors.reshape(5, BLOCKS, DEPTH)
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=2), 1 / np.sqrt(BLOCKS), atol=1e-5)
    assert encoder.encode_tiles(tiles[:0]).shape == (0, BLOCKS * DEPTH)


def test_batches_do_not_matter(encoder, tiles):
    many = np.concatenate([tiles] * 15)
    np.testing.assert_allclose(
        encoder.encode_tiles(many)[70:], encoder.encode_tiles(tiles), atol=1e-5
    )


def test_tiles_of_another_size_are_refused(encoder):
    with pytest.raises(EncoderError, match="64, 64"):
        encoder.encode_tiles(np.zeros((1, 64, 64, 3), np.uint8))


def test_features_add_up_to_the_blocks(encoder, tiles, panorama):
    code = encoder.encode_photo(panorama, FULL_PANORAMA, with_features=True)
    for descriptor, features in ((code.descriptor, code.features), encoder.tile_features(tiles)):
        depth, rows, columns = features.shape[1:]
        parts = features.reshape(-1, depth, rows, BLOCKS, columns // BLOCKS).sum(axis=(2, 4))
        np.testing.assert_allclose(
            parts.transpose(0, 2, 1).reshape(len(descriptor), -1), descriptor, atol=1e-5
        )


def test_a_quarter_turn_is_a_shift_of_blocks(encoder, panorama):
    turned = np.roll(panorama, panorama.shape[1] // 4, axis=1)
    straight = (
        encoder.encode_photo(panorama, FULL_PANORAMA, (0,)).descriptor[0].reshape(BLOCKS, DEPTH)
    )
    shifted = encoder.encode_photo(turned, FULL_PANORAMA, (0,)).descriptor[0].reshape(BLOCKS, DEPTH)
    np.testing.assert_allclose(np.roll(straight, BLOCKS // 4, axis=0), shifted, atol=1e-3)


def test_rolls(encoder, panorama):
    code = encoder.encode_photo(panorama, FULL_PANORAMA)
    step = WIDTH // (BLOCKS * 2)
    assert code.rolls == (0, step)
    rolled = np.roll(panorama, step * panorama.shape[1] // WIDTH, axis=1)
    alone = encoder.encode_photo(rolled, FULL_PANORAMA, (0,)).descriptor[0]
    np.testing.assert_allclose(code.descriptor[1], alone, atol=5e-3)


def test_a_photo_sees_its_field_of_view(encoder, panorama):
    photo = perspective_from_panorama(
        panorama, heading_offset_deg=0, fov_deg=90, pitch_deg=-15, width=320, height=240
    )
    code = encoder.encode_photo(photo, View("perspective", 90.0, pitch_deg=-15.0))
    assert code.seen.shape == (2, BLOCKS)
    assert code.seen[0].mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_array_equal(code.seen[0][:5], 0)  # behind the camera
    assert code.seen[0][7] == 1  # ahead of it
    whole = encoder.encode_photo(panorama, FULL_PANORAMA)
    ahead = slice(7 * DEPTH, 9 * DEPTH)
    assert code.descriptor[0][ahead] @ whole.descriptor[0][ahead] * BLOCKS / 2 > 0.9


def test_aligned_queries_are_weighted_cosines():
    rng = np.random.default_rng(1)

    def unit_blocks(count):
        values = rng.standard_normal((count, BLOCKS, DEPTH)).astype(np.float32)
        return (values / np.linalg.norm(values, axis=2, keepdims=True) / np.sqrt(BLOCKS)).reshape(
            count, -1
        )

    photo, tile = unit_blocks(2), unit_blocks(1)[0]
    seen = rng.random((2, BLOCKS)).astype(np.float32)
    queries = aligned_queries(photo, seen, np.array([0, 1, 1]), np.array([0, 3, BLOCKS - 1]))
    for query, roll, shift in zip(queries, (0, 1, 1), (0, 3, BLOCKS - 1), strict=True):
        total = 0.0
        for block in range(BLOCKS):
            target = (block + shift) % BLOCKS
            a = photo[roll].reshape(BLOCKS, DEPTH)[block]
            b = tile.reshape(BLOCKS, DEPTH)[target]
            total += seen[roll, block] * (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
        assert query @ tile == pytest.approx(total / seen[roll].sum(), abs=1e-5)
        assert block_scores(query, tile, BLOCKS).sum() == pytest.approx(query @ tile, abs=1e-5)
    # The photo itself, turned, scores 1 against the turned tile.
    turned = np.roll(photo[0].reshape(BLOCKS, DEPTH), 5, axis=0).ravel()
    exact = aligned_queries(
        photo[:1], np.ones((1, BLOCKS), np.float32), np.array([0]), np.array([5])
    )[0]
    assert exact @ turned == pytest.approx(1, abs=1e-5)
