"""The polar image of a tile, against a slow and obvious version."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.photo.polar import (
    column_bearings,
    even_radii,
    polar_to_tile,
    polar_warp,
    safa_values,
    safa_warp,
)


def slow_polar(
    tile: NDArray[np.uint8], height: int, width: int, fraction: float
) -> NDArray[np.float64]:
    """One pixel at a time, from the words of the convention."""
    size = len(tile)
    out = np.empty((height, width, 3))
    for row in range(height):
        radius = (height - 0.5 - row) / height * fraction * size / 2
        for column in range(width):
            bearing = np.radians(-180 + (column + 0.5) * 360 / width)
            x = np.clip(size / 2 + radius * np.sin(bearing) - 0.5, 0, size - 1)
            y = np.clip(size / 2 - radius * np.cos(bearing) - 0.5, 0, size - 1)
            left, top = int(x), int(y)
            right, low = min(left + 1, size - 1), min(top + 1, size - 1)
            across, down = x - left, y - top
            upper = (1 - across) * tile[top, left] + across * tile[top, right].astype(float)
            lower = (1 - across) * tile[low, left] + across * tile[low, right].astype(float)
            out[row, column] = (1 - down) * upper + down * lower
    return out


def random_tiles(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "height", "width", "fraction"),
    [(40, 12, 32, 1.0), (41, 8, 20, 1.0), (33, 16, 16, 0.6), (24, 8, 32, 1.4)],
)
def test_it_is_the_slow_version_to_rounding(size: int, height: int, width: int, fraction: float):
    tiles = random_tiles(2, size)
    polar = polar_warp(tiles, height=height, width=width, radius_fraction=fraction)
    assert polar.shape == (2, height, width, 3) and polar.dtype == np.uint8
    for tile, warped in zip(tiles, polar, strict=True):
        assert np.abs(warped - slow_polar(tile, height, width, fraction)).max() < 0.53


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_flat_colours_stay_exactly_as_they_are(seed: int):
    colour = np.random.default_rng(seed).integers(0, 256, 3, dtype=np.uint8)
    tile = np.broadcast_to(colour, (1, 50, 50, 3))
    assert (polar_warp(tile, height=16, width=64) == colour).all()


@pytest.mark.parametrize("size", [64, 65])
def test_a_quarter_turn_of_the_tile_is_a_quarter_roll_of_the_polar_image(size: int):
    # Holds only when the sampling centre is exactly the tile's middle.
    tiles = random_tiles(1, size)
    clockwise = np.rot90(tiles, -1, axes=(1, 2))
    polar = polar_warp(tiles, height=16, width=64).astype(int)
    turned = polar_warp(np.ascontiguousarray(clockwise), height=16, width=64).astype(int)
    assert np.abs(turned - np.roll(polar, 16, axis=2)).max() <= 1


def test_columns_run_south_west_north_east_south_and_far_is_on_top():
    tile = np.zeros((1, 80, 80, 3), np.uint8)
    tile[0, :8, 36:44, 0] = 255  # far in the north
    tile[0, 36:44, -8:, 1] = 255  # far in the east
    tile[0, 36:44, :8, 2] = 255  # far in the west
    tile[0, 36:44, 36:44] = 255  # near
    polar = polar_warp(tile, height=20, width=80)[0]
    north, east, west = (polar[:3, :, channel].sum(0) for channel in range(3))
    assert (north * np.arange(80)).sum() / north.sum() == pytest.approx(39.5, abs=0.2)
    assert (east * np.arange(80)).sum() / east.sum() == pytest.approx(59.5, abs=0.2)
    assert (west * np.arange(80)).sum() / west.sum() == pytest.approx(19.5, abs=0.2)
    assert (polar[-1] == 255).all() and polar[:3].mean() < 60


@given(st.floats(-179, 179), st.floats(0.2, 0.85))
@settings(max_examples=40, deadline=None)
def test_a_landmark_lands_on_its_bearing_and_distance(bearing: float, distance: float):
    size, height, width = 200, 64, 256
    east, north = distance * np.sin(np.radians(bearing)), distance * np.cos(np.radians(bearing))
    place = (np.arange(size) + 0.5) / size * 2 - 1
    blob = np.exp(-((place[None, :] - east) ** 2 + (-place[:, None] - north) ** 2) / 0.03**2)
    tile = np.repeat(np.rint(255 * blob).astype(np.uint8)[None, :, :, None], 3, axis=3)
    polar = polar_warp(tile, height=height, width=width)[0, :, :, 0].astype(float)
    row, column = np.unravel_index(polar.argmax(), polar.shape)
    wanted_row = height * (1 - distance) - 0.5
    assert abs(row - wanted_row) <= 1.5
    gap = (column_bearings(width)[column] - bearing + 180) % 360 - 180
    assert abs(gap) <= 1.5 * 360 / width + np.degrees(0.5 / size / distance)


def test_rows_can_be_placed_one_by_one():
    tiles = random_tiles(1, 60)
    even = polar_warp(tiles, height=10, width=40, radius_fraction=0.8)
    same = polar_warp(tiles, height=10, width=40, radii=even_radii(10, 0.8))
    assert (even == same).all()
    near = polar_warp(tiles, height=3, width=40, radii=[0.8, 0.1, 0.05])
    far = polar_warp(tiles, height=1, width=40, radii=[0.8])
    assert (near[0, 0] == far[0, 0]).all()


def test_what_is_no_square_tile_or_no_list_of_radii_is_refused():
    with pytest.raises(ValueError, match=r"\[N, S, S, 3\]"):
        polar_warp(np.zeros((1, 10, 20, 3), np.uint8), height=4, width=8)
    with pytest.raises(ValueError, match="4 radii"):
        polar_warp(random_tiles(1, 10), height=4, width=8, radii=[1, 0.5])


def test_no_tiles_give_no_polar_images():
    assert polar_warp(np.zeros((0, 20, 20, 3), np.uint8), height=4, width=8).shape == (0, 4, 8, 3)


def test_a_map_on_the_polar_image_is_drawn_back_where_it_belongs():
    height, width, size = 32, 128, 100
    bearings = np.radians(column_bearings(width))[None, :]
    radii = np.array(even_radii(height))[:, None]
    east, north = radii * np.sin(bearings), radii * np.cos(bearings)
    drawn = polar_to_tile((3 + east + 2 * north).astype(np.float32), size=size)
    place = (np.arange(size) + 0.5) / size * 2 - 1
    wanted = 3 + place[None, :] - 2 * place[:, None]
    radius = np.hypot(place[None, :], place[:, None])
    seen = (radius > 0.03) & (radius < 0.98)
    assert np.abs(drawn - wanted)[seen].max() < 0.03
    assert (drawn[radius > 1.001] == 0).all()


def test_it_is_fast_enough_to_index_a_town():
    tiles = random_tiles(16, 200)
    polar_warp(tiles, height=64, width=256)
    best = np.inf
    for _ in range(5):
        start = time.thread_time()
        polar_warp(tiles, height=64, width=256)
        best = min(best, time.thread_time() - start)
    assert best / len(tiles) < 0.002  # 0.16 ms measured on a quiet core; the target is 1 ms


GRIDS = [
    ("safa_cvusa_750_to_112x616", 10001, 750, 112, 616),
    ("safa_cvact_1200_to_112x616", 10002, 1200, 112, 616),
    ("dsm_cvusa_750_to_128x512", 10001, 750, 128, 512),
    ("dsm_cvact_1200_to_128x512", 10002, 1200, 128, 512),
]


@pytest.mark.parametrize(("name", "seed", "size", "height", "width"), GRIDS)
def test_the_authors_grid_gives_what_their_code_printed(
    golden: Path, name: str, seed: int, size: int, height: int, width: int
):
    file = golden / "polar" / f"{name}.npz"
    if not file.exists():
        pytest.skip(f"{file.name} is not among the numbers at hand")
    held = np.load(file)
    generator = np.random.Generator(np.random.PCG64(seed))
    noise = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
    exact = safa_values(noise, height=height, width=width)
    assert np.abs(exact[::7, ::4] - held["out_rows_every7"]).max() < 1e-4
    assert abs(exact.sum() - held["out_sum"]) < 1e-4
    assert np.abs(exact[0] - held["row0"]).max() < 1e-4
    y, x = np.mgrid[0:size, 0:size]
    wave = 127.5 + 127.5 * np.sin(x / 40) * np.cos(y / 55)
    smooth = np.stack([x * 255 / (size - 1), y * 255 / (size - 1), wave], -1).astype(np.uint8)
    smooth_exact = safa_values(smooth, height=height, width=width)
    assert np.abs(smooth_exact[::7, ::4] - held["smooth_rows_every7"]).max() < 1e-4
    warped = safa_warp(np.stack([smooth, noise]), height=height, width=width)
    assert np.abs(warped[0] - smooth_exact).max() < 1
    assert np.abs(warped[1] - exact).max() < 1.5
    assert np.abs(warped[1].astype(int) - np.rint(exact)).max() <= 1


@pytest.mark.parametrize(("size", "height", "width"), [(40, 12, 32), (33, 40, 20), (11, 16, 24)])
def test_the_fast_way_reads_any_tile_to_its_edges(size: int, height: int, width: int):
    """Small and odd tiles, in a batch whose tiles begin anywhere in memory, with samples that reach beyond."""
    tiles = random_tiles(3, size)[1:]
    warped = safa_warp(tiles, height=height, width=width)
    for tile, polar in zip(tiles, warped, strict=True):
        assert np.abs(polar - safa_values(tile, height=height, width=width)).max() < 1.5


def test_the_authors_first_column_looks_south_and_a_quarter_on_west():
    tile = np.zeros((1, 200, 200, 3), np.uint8)
    tile[0, 100:, 95:106] = 255  # south of the middle
    tile[0, 95:106, :100, 1] = 200  # west
    polar = safa_warp(tile, height=20, width=80)[0]
    assert (polar[:18, 0] == 255).all() and (polar[:18, 20] == (0, 200, 0)).all()
    assert (polar[:15, 40] == 0).all() and (polar[:15, 60] == 0).all()
