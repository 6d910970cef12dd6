"""Augmentations on a world whose colour is a function of the bearing, so that a broken pair shows."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from engine.photo.polar import polar_warp
from engine.training.augment import (
    ColourJitter,
    blur,
    crop_fov,
    flip_pair,
    jitter_colour,
    occlude,
    roll_heading,
    turn_pair,
    turn_polar_pair,
)

N, WIDTH, HEIGHT, SIDE = 4, 64, 8, 129


def colour(bearing_deg: np.ndarray) -> np.ndarray:
    """Smooth, not symmetric in anything."""
    turn = np.radians(bearing_deg)
    waves = [np.sin(turn) + 0.3 * np.sin(2 * turn), np.cos(turn), np.cos(2 * turn - 1.0)]
    return np.stack(waves, axis=-1)


def world(heading_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Panoramas looking to their headings, and the tiles about them."""
    column = (np.arange(WIDTH) + 0.5) / WIDTH * 360.0 - 180.0
    rows = colour(heading_deg[:, None] + column[None])
    panoramas = np.repeat(rows[:, None], HEIGHT, axis=1)
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    east, south = np.meshgrid(axis, axis)
    tile = colour(np.degrees(np.arctan2(east, -south)))
    return panoramas, np.repeat(tile[None], len(heading_deg), axis=0)


def on_the_ground(tile: np.ndarray, bearing_deg: np.ndarray) -> np.ndarray:
    """The tile's colours in directions from its centre."""
    middle, radius = (SIDE - 1) / 2, 50.0
    turn = np.radians(bearing_deg)
    column = np.rint(middle + radius * np.sin(turn)).astype(int)
    row = np.rint(middle - radius * np.cos(turn)).astype(int)
    return tile[row, column]


def assert_a_pair(panoramas: np.ndarray, tiles: np.ndarray, heading_deg: np.ndarray) -> None:
    column = (np.arange(WIDTH) + 0.5) / WIDTH * 360.0 - 180.0
    for panorama, tile, heading in zip(panoramas, tiles, heading_deg, strict=True):
        np.testing.assert_allclose(panorama[3], on_the_ground(tile, heading + column), atol=0.06)


HEADING = np.array([0.0, 33.75, 135.0, 281.25])


def test_the_world_itself_is_a_pair() -> None:
    assert_a_pair(*world(HEADING), HEADING)
    with pytest.raises(AssertionError):
        assert_a_pair(*world(HEADING), HEADING + 15)


def test_a_mirrored_pair_is_a_pair() -> None:
    panoramas, tiles = world(HEADING)
    flip = np.array([True, False, True, True])
    new_panoramas, new_tiles, heading = flip_pair(panoramas, tiles, HEADING, flip)
    assert_a_pair(new_panoramas, new_tiles, heading)
    np.testing.assert_array_equal(new_panoramas[1], panoramas[1])
    assert not np.allclose(new_tiles[0], tiles[0])
    with pytest.raises(AssertionError):
        assert_a_pair(new_panoramas, tiles, heading)


def test_a_pair_turned_by_quarters_is_a_pair() -> None:
    panoramas, tiles = world(HEADING)
    quarters = np.array([1, 2, -1, 0])
    new_panoramas, new_tiles = turn_pair(panoramas, tiles, quarters)
    assert_a_pair(new_panoramas, new_tiles, HEADING)
    # What was north of the tile is east of it now.
    np.testing.assert_allclose(
        on_the_ground(new_tiles[0], np.array([90.0]))[0], colour(np.zeros(1))[0], atol=0.06
    )
    with pytest.raises(ValueError, match="four"):
        turn_pair(panoramas[:, :, :63], tiles, quarters)


def test_a_polar_pair_turned_by_columns_is_a_pair() -> None:
    panoramas, tiles = world(np.zeros(N))
    as_bytes = np.rint((tiles + 2) * 60).astype(np.uint8)
    polar = polar_warp(as_bytes, height=HEIGHT, width=WIDTH).astype(float) / 60 - 2
    shift = np.array([0, 5, 40, 63])
    new_panoramas, new_polar = turn_polar_pair(panoramas, polar, shift)
    for panorama, image in zip(new_panoramas, new_polar, strict=True):
        np.testing.assert_allclose(panorama[0], image[2], atol=0.06)
    np.testing.assert_array_equal(new_polar[2], np.roll(polar[2], 40, axis=1))
    with pytest.raises(ValueError, match="width"):
        turn_polar_pair(panoramas, polar[:, :, :32], shift)


def test_looking_elsewhere_keeps_the_pair_and_says_where() -> None:
    panoramas, tiles = world(HEADING)
    by = np.array([10.0, 180.0, -77.0, 400.0])
    rolled, heading = roll_heading(panoramas, HEADING, by)
    assert_a_pair(rolled, tiles, heading)
    apart = (heading - HEADING - by + 180.0) % 360.0 - 180.0
    assert np.abs(apart).max() <= 180.0 / WIDTH
    assert ((heading >= 0) & (heading < 360)).all()


def test_a_narrower_view_is_the_middle_of_a_wide_one() -> None:
    panoramas, _ = world(HEADING)
    narrow = crop_fov(panoramas, 90.0)
    assert narrow.shape == (N, HEIGHT, 16, 3)
    column = (np.arange(16) + 0.5) / 16 * 90.0 - 45.0
    np.testing.assert_allclose(narrow[2, 0], colour(HEADING[2] + column))
    assert crop_fov(np.zeros((1, 2, 512, 3)), 70.0).shape[2] == 99
    assert crop_fov(panoramas, 360.0).shape == panoramas.shape
    with pytest.raises(ValueError, match="field of view"):
        crop_fov(panoramas, 0.0)


def test_masks_are_moved_like_pictures() -> None:
    rng = np.random.default_rng(1)
    masks = rng.random((N, HEIGHT, WIDTH)) < 0.5
    stacked = np.repeat(masks[..., None], 3, axis=3)
    tiles = np.zeros((N, SIDE, SIDE))
    turned, _ = turn_pair(masks, tiles, np.arange(N))
    coloured, _ = turn_pair(stacked, tiles, np.arange(N))
    np.testing.assert_array_equal(turned, coloured[..., 0])


def test_hue_is_that_of_hsv() -> None:
    rng = np.random.default_rng(1)
    pictures = torch.from_numpy(rng.random((5, 3, 4, 4)))
    changed = jitter_colour(pictures, ColourJitter(hue=0.5), np.random.default_rng(7))
    turns = np.random.default_rng(7)
    for reach in (0.0, 0.0, 0.0):
        turns.uniform(1 - reach, 1 + reach, 5)
    turn = turns.uniform(-0.5, 0.5, 5)
    for i in range(5):
        hue, saturation, value = colorsys.rgb_to_hsv(*pictures[i, :, 1, 2].tolist())
        wanted = colorsys.hsv_to_rgb((hue + turn[i]) % 1.0, saturation, value)
        assert changed[i, :, 1, 2].tolist() == pytest.approx(wanted, abs=1e-9)


def test_colours_change_as_far_as_asked() -> None:
    pictures = torch.full((200, 3, 2, 2), 0.5, dtype=torch.float64)
    pictures[:, 0] = 0.6
    same = jitter_colour(pictures, ColourJitter(), np.random.default_rng(1))
    torch.testing.assert_close(same, pictures)
    brighter = jitter_colour(pictures, ColourJitter(brightness=0.4), np.random.default_rng(1))
    factor = (brighter / pictures)[:, 0, 0, 0]
    assert 0.6 <= factor.min() < 0.62 and 1.38 < factor.max() <= 1.4
    grey = jitter_colour(pictures, ColourJitter(saturation=1.0), np.random.default_rng(1))
    spread = (grey[:, 0] - grey[:, 1])[:, 0, 0]
    assert 0 <= spread.min() < 0.005 and 0.19 < spread.max() <= 0.2
    with pytest.raises(ValueError, match="hue"):
        jitter_colour(pictures, ColourJitter(hue=0.6), np.random.default_rng(1))


def test_blur_spreads_a_point_as_far_as_asked_and_over_the_seam() -> None:
    pictures = torch.zeros(3, 1, 31, 41, dtype=torch.float64)
    pictures[:, :, 15, 20] = 1.0
    spread = blur(pictures, np.array([0.0, 1.0, 2.5]))
    torch.testing.assert_close(spread[0], pictures[0])
    for i, sigma in ((1, 1.0), (2, 2.5)):
        assert float(spread[i].sum()) == pytest.approx(1.0)
        offset = torch.arange(41.0) - 20
        variance = float((spread[i, 0].sum(0) * offset**2).sum())
        assert variance == pytest.approx(sigma**2, rel=0.03)
    panorama = torch.rand(1, 3, 8, 32, generator=torch.Generator().manual_seed(1))
    rolled = torch.roll(panorama, 13, dims=3)
    sigma = np.array([1.5])
    torch.testing.assert_close(
        torch.roll(blur(panorama, sigma, wrap=True), 13, dims=3), blur(rolled, sigma, wrap=True)
    )


def test_occlusion_covers_what_it_says() -> None:
    pictures = torch.ones(300, 3, 20, 30)
    covered, seen = occlude(pictures, np.random.default_rng(1), share=0.5, area=(0.1, 0.2))
    torch.testing.assert_close(covered[:, 0], torch.from_numpy(seen).float())
    share = 1 - seen.mean(axis=(1, 2))
    assert 120 < (share > 0).sum() < 180
    # Rounding to whole pixels, and rectangles that are cut to the picture's height, take or add a little.
    assert share[share > 0].min() > 0.05 and share.max() < 0.23
    again, _ = occlude(pictures, np.random.default_rng(1), share=0.5, area=(0.1, 0.2))
    torch.testing.assert_close(covered, again)
    _, over = occlude(
        pictures, np.random.default_rng(2), share=1.0, aspect=(0.5, 1.0), area=(0.1, 0.1), wrap=True
    )
    hidden: np.ndarray = np.max(~over, axis=1)
    assert bool((hidden[:, 0] & hidden[:, -1] & ~hidden[:, 15]).any())  # over the seam
