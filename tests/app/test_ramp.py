"""The ramp: clear at nothing, even steps in lightness, and images that carry what they are given."""

from __future__ import annotations

import numpy as np

from app.ramp import array_from_image, colourize, heat_image, image_from_array, table


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB bytes."""
    linear = rgb / 255.0
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_lightness_rises_evenly() -> None:
    steps = np.diff(lightness(table()[::16, :3].astype(float)))
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()


def test_nothing_is_clear_and_the_most_is_opaque() -> None:
    assert table()[0, 3] == 0 and table()[255, 3] == 255
    assert (np.diff(table()[:, 3].astype(int)) >= 0).all()


def test_negative_and_empty_maps_are_clear() -> None:
    assert not colourize(np.full((4, 4), -1.0, np.float32))[..., 3].any()
    assert not colourize(np.zeros((4, 4), np.float32))[..., 3].any()
    odd = np.array([[np.nan, np.inf], [0.0, 1.0]], np.float32)
    assert colourize(odd)[1, 1, 3] == 255


def test_images_own_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = image_from_array(pixels)
    kept = pixels.copy()
    pixels[:] = 0
    assert np.array_equal(array_from_image(image), kept)
    assert heat_image(np.eye(3, dtype=np.float32)).size().width() == 3
