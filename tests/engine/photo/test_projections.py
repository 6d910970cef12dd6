"""Projections against a world that is a formula, and against the conventions in words."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.photo.facts import PhotoFacts
from engine.photo.projections import (
    FULL_PANORAMA,
    View,
    area_reduce,
    canvas_to_picture,
    crop_to_fov,
    perspective_from_panorama,
    seen_blocks,
    to_canvas,
    view_of,
)
from engine.photo.views import camera_axes, turned_pose
from tests.engine.photo import sphere

WIDE = {"height": 64, "width": 256, "top_deg": 45.0, "bottom_deg": -45.0}
TRUE_WIDE = sphere.equirectangular(256, 64, top=45, bottom=-45)
FINE = sphere.as_pixels(sphere.equirectangular(4096, 512))
PANORAMA = sphere.as_pixels(sphere.equirectangular(1024, 512))

fovs = st.floats(30, 110)
pitches = st.floats(-30, 30)
rolls = st.floats(-25, 25)


def worst(found: NDArray[np.uint8], wanted: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    return float(np.abs(found - wanted)[mask].max(initial=0))


def inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the rim, where a pixel averages only the part that is seen."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


@given(fovs, pitches, rolls, st.sampled_from([(320, 240), (240, 320), (321, 199)]))
@settings(max_examples=40, deadline=None)
def test_a_photo_lands_on_the_canvas_where_the_world_is(
    fov: float, pitch: float, roll: float, size: tuple[int, int]
):
    photo = sphere.as_pixels(sphere.perspective(*size, fov, 0, pitch, roll))
    canvas, mask = to_canvas(photo, View("perspective", fov, pitch, roll), **WIDE)
    assert mask.any()
    assert worst(canvas, TRUE_WIDE, inner(mask)) < 4
    assert (canvas[~mask] == 0).all()


@given(pitches, rolls)
@settings(max_examples=25, deadline=None)
def test_a_tilted_panorama_lands_on_the_canvas_where_the_world_is(pitch: float, roll: float):
    panorama = sphere.as_pixels(sphere.tilted_panorama(512, 256, pitch, roll))
    canvas, mask = to_canvas(panorama, View("panorama", 360.0, pitch, roll), **WIDE)
    assert mask.all()
    assert worst(canvas, TRUE_WIDE, mask) < 5


@given(st.floats(-180, 180), fovs, pitches, rolls)
@settings(max_examples=40, deadline=None)
def test_a_camera_in_a_panorama_sees_what_a_camera_in_the_world_sees(
    heading: float, fov: float, pitch: float, roll: float
):
    found = perspective_from_panorama(
        PANORAMA,
        heading_offset_deg=heading,
        fov_deg=fov,
        pitch_deg=pitch,
        roll_deg=roll,
        width=96,
        height=72,
    )
    wanted = sphere.perspective(96, 72, fov, heading, pitch, roll)
    assert worst(found, wanted, np.ones((72, 96), bool)) < 3


@given(st.floats(-180, 180), st.floats(50, 100), st.floats(-15, 15), rolls)
@settings(max_examples=25, deadline=None)
def test_panorama_to_photo_to_canvas_is_panorama_to_canvas(
    heading: float, fov: float, pitch: float, roll: float
):
    photo = perspective_from_panorama(
        PANORAMA,
        heading_offset_deg=heading,
        fov_deg=fov,
        pitch_deg=pitch,
        roll_deg=roll,
        width=400,
        height=300,
    )
    seen, mask = to_canvas(photo, View("perspective", fov, pitch, roll), **WIDE)
    turned = np.roll(FINE, -round(heading / 360 * 4096), axis=1)
    whole, _ = to_canvas(turned, FULL_PANORAMA, **WIDE)
    assert worst(seen, whole.astype(float), inner(mask)) < 5


@given(st.floats(-180, 180), st.floats(-40, 40))
@settings(max_examples=50, deadline=None)
def test_a_landmark_of_a_panorama_lands_on_its_bearing_and_elevation(
    bearing: float, elevation: float
):
    width, height = 720, 360
    azimuth = -180 + (np.arange(width) + 0.5) * 360 / width
    up = 90 - (np.arange(height) + 0.5) * 180 / height
    across = (azimuth[None, :] - bearing + 180) % 360 - 180
    spot = np.rint(255 * np.exp(-(across**2 + (up[:, None] - elevation) ** 2) / 3**2))
    panorama = np.repeat(spot.astype(np.uint8)[:, :, None], 3, axis=2)
    canvas, _ = to_canvas(panorama, FULL_PANORAMA, **WIDE)
    weight = canvas[:, :, 0].astype(float)
    columns = -180 + (np.arange(256) + 0.5) * 360 / 256
    rows = 45 - (np.arange(64) + 0.5) * 90 / 64
    gap = (columns - bearing + 180) % 360 - 180
    assert (weight.sum(0) * gap).sum() / weight.sum() == pytest.approx(0, abs=0.05)
    if abs(elevation) < 35:
        assert (weight.sum(1) * rows).sum() / weight.sum() == pytest.approx(elevation, abs=0.05)


def horizon_rows(pitch: float, roll: float) -> tuple[int, int]:
    """The first row of ground at the left and right edge of a camera's picture."""
    ground = np.zeros((256, 512, 3), np.uint8)
    ground[128:] = 255
    picture = perspective_from_panorama(
        ground,
        heading_offset_deg=0,
        fov_deg=70,
        pitch_deg=pitch,
        roll_deg=roll,
        width=200,
        height=150,
    )
    return int(np.argmax(picture[:, 0, 0] > 127)), int(np.argmax(picture[:, -1, 0] > 127))


def test_looking_up_moves_the_horizon_down():
    assert horizon_rows(0, 0) == (75, 75)
    left, right = horizon_rows(10, 0)
    assert left == right > 95
    assert horizon_rows(-10, 0)[0] < 55


def test_turning_clockwise_lowers_the_horizon_on_the_left():
    left, right = horizon_rows(0, 15)
    # 100 pixels from the middle at 15 degrees.
    assert left == pytest.approx(75 + 100 * np.tan(np.radians(15)), abs=1.5)
    assert right == pytest.approx(75 - 100 * np.tan(np.radians(15)), abs=1.5)


@given(pitches, rolls, st.floats(-90, 90))
@settings(max_examples=50, deadline=None)
def test_the_pose_of_another_column_is_the_same_camera_turned(
    pitch: float, roll: float, angle: float
):
    heading, pitch2, roll2 = turned_pose(pitch, roll, angle)
    about_own_up = sphere.turn(angle, 0, 0)
    wanted = sphere.turn(0, pitch, roll) @ about_own_up
    assert np.allclose(sphere.turn(heading, pitch2, roll2), wanted, atol=1e-9)
    right, forward, up = camera_axes(pitch, roll)
    assert np.allclose(np.stack([right, forward, up], axis=1), sphere.turn(0, pitch, roll))


def test_a_cropped_panorama_covers_its_part_and_no_more():
    part = sphere.as_pixels(sphere.equirectangular(500, 200, fov=200, top=40, bottom=-40))
    view = View("panorama", 200.0, top_deg=40.0, bottom_deg=-40.0)
    canvas, mask = to_canvas(part, view, **WIDE)
    assert worst(canvas, TRUE_WIDE, inner(mask)) < 3
    columns = np.abs(-180 + (np.arange(256) + 0.5) * 360 / 256) < 100
    rows = np.abs(45 - (np.arange(64) + 0.5) * 90 / 64) < 40
    assert (mask == (rows[:, None] & columns[None, :])).all()


def test_the_two_edges_of_a_panorama_are_neighbours():
    # South is half on the left edge and half on the right one.
    panorama = np.full((64, 128, 3), 100, np.uint8)
    panorama[:, :2] = 200
    panorama[:, -2:] = 200
    canvas, _ = to_canvas(panorama, FULL_PANORAMA, height=32, width=64, top_deg=90, bottom_deg=-90)
    assert (canvas[:, [0, -1]] == 200).all()
    assert (canvas[:, 2:-2] == 100).all()


@pytest.mark.parametrize("size", [(1999, 1001), (1024, 512), (1501, 750), (257, 129)])
def test_shrinking_keeps_angles_whatever_the_size(size: tuple[int, int]):
    width, height = size
    panorama = sphere.as_pixels(sphere.equirectangular(width, height))
    canvas, _ = to_canvas(panorama, FULL_PANORAMA, **WIDE)
    assert worst(canvas, TRUE_WIDE, np.ones((64, 256), bool)) < 2
    difference = canvas.astype(float) - TRUE_WIDE
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5


def test_shrinking_averages_fine_detail_instead_of_picking_from_it():
    noise = np.random.default_rng(3).integers(0, 2, (2048, 4096, 1), dtype=np.uint8) * 255
    panorama = np.repeat(noise, 3, axis=2)
    canvas, _ = to_canvas(panorama, FULL_PANORAMA, **WIDE)
    # 16 by 16 black or white pixels average to 127.5 with a deviation of 8.
    assert canvas.std() < 9
    photo = panorama[:1500, :2000]
    canvas, mask = to_canvas(photo, View("perspective", 65.0), **WIDE)
    assert canvas[inner(mask)].std() < 6


@given(st.integers(1, 9), st.integers(1, 9), st.integers(9, 40), st.integers(9, 40))
@settings(max_examples=30, deadline=None)
def test_reducing_is_the_mean_of_blocks(factor_x: int, factor_y: int, width: int, height: int):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = area_reduce(pixels, factor_x, factor_y)
    assert found.shape == (-(-height // factor_y), -(-width // factor_x), 3)
    block = pixels[:factor_y, :factor_x].reshape(-1, 3).mean(0)
    assert np.abs(found[0, 0] - block).max() < 1.3
    last = pixels[(found.shape[0] - 1) * factor_y :, (found.shape[1] - 1) * factor_x :].reshape(
        -1, 3
    )
    assert np.abs(found[-1, -1] - last.mean(0)).max() < 1.3


def test_a_level_quarter_sees_exactly_a_quarter_of_the_blocks():
    photo = np.full((300, 400, 3), 9, np.uint8)
    canvas = {"height": 64, "width": 256, "top_deg": 40.0, "bottom_deg": -40.0}
    _, mask = to_canvas(photo, View("perspective", 90.0), **canvas)
    assert seen_blocks(mask, 16).tolist() == [0] * 6 + [1] * 4 + [0] * 6
    _, mask = to_canvas(photo, View("perspective", 67.5), **canvas)
    assert seen_blocks(mask, 16).tolist() == [0] * 6 + [0.5, 1, 1, 0.5] + [0] * 6
    _, mask = to_canvas(PANORAMA, FULL_PANORAMA, **canvas)
    assert (seen_blocks(mask, 16) == 1).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 8]))
def test_seen_blocks_counts_columns_with_a_quarter_of_their_rows(seed: int, blocks: int):
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 32)) < rng.random((1, 32)) * 0.6
    found = seen_blocks(mask, blocks)
    assert found.dtype == np.float32
    for block, share in enumerate(found):
        columns = mask[:, block * 32 // blocks : (block + 1) * 32 // blocks]
        wanted = sum(int(c.sum()) * 4 >= 12 for c in columns.T) / columns.shape[1]
        assert share == np.float32(wanted)
    with pytest.raises(ValueError, match="equal blocks"):
        seen_blocks(mask, 5)


@given(st.floats(20, 120), st.floats(10, 130), st.sampled_from([400, 401]))
@settings(max_examples=40, deadline=None)
def test_cropping_keeps_the_centre_and_says_the_view_it_kept(fov: float, wanted: float, width: int):
    photo = sphere.as_pixels(sphere.perspective(width, 100, fov))
    view = View("perspective", fov)
    cropped, narrower = crop_to_fov(photo, view, wanted)
    assert (width - cropped.shape[1]) % 2 == 0
    middle = (cropped.shape[1] - 1) // 2
    assert (cropped[:, middle] == photo[:, (width - 1) // 2]).all()
    if wanted >= fov:
        assert narrower == view and cropped.shape == photo.shape
        return
    step = fov / width * 3
    assert narrower.fov_deg == pytest.approx(wanted, abs=max(step, 1.0))
    canvas, mask = to_canvas(cropped, narrower, **WIDE)
    assert worst(canvas, TRUE_WIDE, inner(mask)) < 4


def test_cropping_a_panorama():
    cropped, view = crop_to_fov(PANORAMA, FULL_PANORAMA, 90.0)
    assert cropped.shape == (512, 256, 3) and view == replace(FULL_PANORAMA, fov_deg=90.0)
    canvas, mask = to_canvas(cropped, view, **WIDE)
    assert mask[:, 96:160].all() and not mask[:, :96].any() and not mask[:, 160:].any()
    assert worst(canvas, TRUE_WIDE, inner(mask)) < 2


def test_the_unreadable_part_of_a_photo_is_unseen():
    photo = np.full((300, 400, 3), 200, np.uint8)
    photo[150:] = 0
    view = View("perspective", 80.0, usable=(0.0, 0.0, 1.0, 0.5))
    canvas, mask = to_canvas(photo, view, **WIDE)
    assert mask[:31].any() and not mask[32:].any()
    # The row that touches the damage is a blend; above it nothing black comes in.
    assert (canvas[:31][mask[:31]] == 200).all()
    left = replace(view, usable=(0.0, 0.0, 0.5, 1.0))
    _, mask = to_canvas(photo, left, **WIDE)
    assert mask[:, :128].any() and not mask[:, 128:].any()
    _, narrower = crop_to_fov(photo, left, 40.0)
    assert narrower.usable[2] == pytest.approx(0.5, abs=0.01)


def test_a_photo_of_nothing_on_the_canvas_sees_nothing():
    photo = np.full((60, 80, 3), 9, np.uint8)
    for view in (
        View("perspective", 40.0, pitch_deg=80.0),
        View("perspective", 100.0, usable=(0.5, 0.5, 0.5, 0.5)),
    ):
        canvas, mask = to_canvas(photo, view, **WIDE)
        assert not mask.any() and not canvas.any()
        assert (seen_blocks(mask, 16) == 0).all()


@pytest.mark.parametrize(
    ("view", "size"),
    [
        (View("perspective", 80.0, 8.0, -6.0), (120, 90)),
        (View("panorama", 360.0), (200, 100)),
        (View("panorama", 360.0, 10.0, 5.0), (200, 100)),
    ],
)
def test_a_map_on_the_canvas_is_drawn_back_onto_the_photo(view: View, size: tuple[int, int]):
    width, height = size
    canvas = sphere.equirectangular(512, 256)[:, :, 0].astype(np.float32)
    drawn = canvas_to_picture(canvas, view, width=width, height=height, top_deg=90, bottom_deg=-90)
    if view.kind == "perspective":
        wanted = sphere.perspective(width, height, view.fov_deg, 0, view.pitch_deg, view.roll_deg)
    else:
        wanted = sphere.tilted_panorama(width, height, view.pitch_deg, view.roll_deg)
    assert np.abs(drawn - wanted[:, :, 0]).max() < 1.5


def test_a_map_is_zero_where_the_canvas_does_not_reach():
    canvas = np.ones((16, 64), np.float32)
    view = View("perspective", 60.0, pitch_deg=20.0)
    drawn = canvas_to_picture(canvas, view, width=60, height=60, top_deg=20, bottom_deg=-20)
    assert (drawn[:29, 30] == 0).all() and (drawn[31:40, 30] > 0.99).all()


def test_a_view_is_what_the_facts_say():
    facts = PhotoFacts(
        100,
        50,
        "panorama",
        200.0,
        "xmp",
        pitch_deg=3.0,
        roll_deg=-2.0,
        top_deg=40.0,
        bottom_deg=-30.0,
    )
    assert view_of(facts) == View("panorama", 200.0, 3.0, -2.0, 40.0, -30.0)


def test_a_phone_photo_is_on_the_canvas_in_no_time():
    photo = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    best = np.inf
    for _ in range(8):
        start = time.thread_time()
        to_canvas(photo, View("perspective", 65.0, pitch_deg=float(np.random.rand())), **WIDE)
        best = min(best, time.thread_time() - start)
    assert best < 0.06  # 13-20 ms measured
