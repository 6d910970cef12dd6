"""Pixels to a graph's input by the card: every rule against the obvious way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.encoder import Branch, canvas_to_input, project_photo, shape_tiles, tiles_to_input
from engine.encoder.preprocess import normalise, placement
from engine.photo.polar import safa_warp
from engine.photo.projections import FULL_PANORAMA, View
from tests.engine.photo.pictures import PHOTOS, coarse_photo

PLAIN = Branch("g.onnx", (48, 64), (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), "plain", tile_pixels=40)
BAND = Branch(
    "g.onnx",
    (24, 96),
    (0.5, 0.5, 0.5),
    (0.25, 0.25, 0.25),
    "equirectangular",
    top_deg=30.0,
    bottom_deg=-30.0,
)
PHOTO = View("perspective", 70.0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_channels_are_normalised_in_the_graphs_order():
    pixels = noise(1, 4, 5)
    rgb = normalise(pixels, PLAIN)[0]
    bgr = normalise(pixels, replace(PLAIN, channels="BGR"))[0]
    for channel in range(3):
        mean, std = PLAIN.mean[channel], PLAIN.std[channel]
        assert np.allclose(rgb[channel], (pixels[0, ..., channel] / 255 - mean) / std, atol=1e-5)
        assert np.allclose(
            bgr[channel], (pixels[0, ..., 2 - channel] / 255 - mean) / std, atol=1e-5
        )


def test_caffes_colours_are_bytes_less_their_mean():
    means = np.array([103.939, 116.779, 123.6])
    branch = replace(PLAIN, channels="BGR", mean=tuple(means / 255), std=(1 / 255,) * 3)
    pixels = noise(1, 4, 5)
    expected = pixels[0, ..., ::-1] - means
    assert np.allclose(normalise(pixels, branch)[0].transpose(1, 2, 0), expected, atol=1e-3)


@pytest.mark.parametrize(("name", "seed", "height", "width"), PHOTOS)
def test_statewides_photos_lie_where_its_authors_put_them(
    golden: Path, name: str, seed: int, height: int, width: int
):
    held = np.load(golden / "statewide" / "statewide_photo_preprocess.npz")
    branch = replace(PLAIN, input_size=(480, 640), fit="pad", resize="gaussian")
    canvas, mask = project_photo(coarse_photo(seed, height, width), PHOTO, branch)
    first_row, last_row, first_column, last_column = held[f"{name}__pad_rows_cols"]
    shown = np.zeros((480, 640), bool)
    shown[first_row : last_row + 1, first_column : last_column + 1] = True
    assert np.array_equal(np.ones((480, 640), bool) if mask is None else mask, shown)
    assert not canvas[~shown].any()
    inner = canvas[first_row : last_row + 1, first_column : last_column + 1]
    assert np.array_equal(inner.reshape(-1)[::97], held[f"{name}__resized_every"])


def test_the_margin_of_a_padded_photo_is_black_and_not_zero():
    branch = replace(PLAIN, fit="pad")
    canvas, mask = project_photo(np.full((48, 30, 3), 200, np.uint8), PHOTO, branch)
    assert mask is not None and mask[:, 17:47].all() and mask.sum() == 48 * 30
    given = canvas_to_input(canvas, mask, branch)[0]
    for channel in range(3):
        black = -branch.mean[channel] / branch.std[channel]
        assert np.allclose(given[channel][~mask], black)


@pytest.mark.parametrize(
    ("height", "width"), [(100, 300), (300, 100), (48, 64), (30, 41), (77, 50)]
)
def test_crop_is_the_shorter_side_resized_and_the_middle_kept(height: int, width: int):
    branch = replace(PLAIN, fit="crop", resize="bilinear")
    picture = noise(height, width)
    canvas, mask = project_photo(picture, PHOTO, branch)
    at = placement(height, width, branch)
    assert mask is None and canvas.shape == (48, 64, 3)
    assert at.top <= 0 and at.left <= 0 and at.height >= 48 and at.width >= 64
    assert at.height == 48 or at.width == 64
    whole = np.asarray(
        Image.fromarray(picture).resize((at.width, at.height), Image.Resampling.BILINEAR)
    )
    assert np.array_equal(canvas, whole[-at.top : 48 - at.top, -at.left : 64 - at.left])


def test_a_panorama_that_is_the_canvas_is_resized_by_the_rule():
    """CVUSA's are the canvas; of CVACT's whole spheres some rows are; one that is tilted is drawn as ever."""
    branch = replace(BAND, resize="bilinear")
    band, sphere = noise(60, 360), noise(180, 360)
    level = View("panorama", 360.0, top_deg=30.0, bottom_deg=-30.0)
    wanted = np.asarray(Image.fromarray(band).resize((96, 24), Image.Resampling.BILINEAR))
    canvas, mask = project_photo(band, level, branch)
    assert mask is None and np.array_equal(canvas, wanted)
    wanted = np.asarray(Image.fromarray(sphere[60:120]).resize((96, 24), Image.Resampling.BILINEAR))
    canvas, mask = project_photo(sphere, FULL_PANORAMA, branch)
    assert mask is None and np.array_equal(canvas, wanted)
    for other in (
        replace(FULL_PANORAMA, pitch_deg=3.0),
        replace(FULL_PANORAMA, top_deg=80.3),
        replace(level, top_deg=20.0, bottom_deg=-20.0),
        View("panorama", 180.0),
        PHOTO,
    ):
        drawn, mask = project_photo(sphere, other, branch)
        assert mask is not None and not np.array_equal(drawn, wanted)


def test_south_up_tiles_are_turned_before_all_else():
    tiles = noise(2, 40, 40)
    turned = tiles[:, ::-1, ::-1]
    assert np.array_equal(shape_tiles(tiles, PLAIN, "south"), shape_tiles(turned, PLAIN))
    polar = replace(PLAIN, projection="polar", polar="safa")
    assert np.array_equal(shape_tiles(tiles, polar, "south"), shape_tiles(turned, polar))
    assert np.array_equal(shape_tiles(tiles, polar), safa_warp(tiles, height=48, width=64))
    # Turned by half a circle about the tile's middle, a polar image starts at the other side.
    even = replace(PLAIN, projection="polar")
    north, south = shape_tiles(tiles, even), shape_tiles(tiles, even, "south")
    assert np.abs(np.roll(north, 32, axis=2).astype(int) - south).max() <= 1


def test_several_extents_keep_their_order():
    tiles = noise(2, 3, 40, 40)
    together = tiles_to_input(tiles, PLAIN, "south")
    assert together.shape == (2, 3, 3, 48, 64)
    for place in range(2):
        for extent in range(3):
            alone = tiles_to_input(tiles[place, extent][None], PLAIN, "south")[0]
            assert np.array_equal(together[place, extent], alone)
