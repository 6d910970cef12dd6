"""Bearings and horizon on the picture agree with the engine's projections."""

from __future__ import annotations

import numpy as np
import pytest

from app.photo.geometry import Pose, bearing_name, degrees_text
from engine.photo import View
from engine.photo.projections import canvas_to_picture


def test_columns_and_azimuths_are_inverse() -> None:
    for panorama, fov in ((True, 360.0), (True, 120.0), (False, 90.0), (False, 65.0)):
        pose = Pose(panorama, fov)
        for azimuth in np.linspace(-fov / 2, fov / 2, 9):
            x = pose.x_of(float(azimuth))
            assert x is not None
            assert pose.azimuth_of(x) == pytest.approx(azimuth, abs=1e-9)
        assert pose.x_of(fov / 2 + 1) is None


def test_ticks_name_true_bearings_once_the_heading_is_known() -> None:
    unknown = Pose(False, 60.0).ticks(15)
    assert [bearing for _, bearing in unknown] == [-30, -15, 0, 15, 30]
    known = Pose(True, 360.0, heading_deg=350.0).ticks(90)
    assert [bearing for _, bearing in known] == [180, 270, 0, 90]


@pytest.mark.parametrize(
    ("panorama", "fov", "pitch", "roll"),
    [
        (False, 70.0, 0.0, 0.0),
        (False, 70.0, 12.0, 0.0),
        (False, 70.0, -8.0, 10.0),
        (False, 90.0, 5.0, -20.0),
        (True, 360.0, 10.0, 0.0),
        (True, 360.0, -6.0, 8.0),
    ],
)
def test_the_horizon_is_where_the_engine_sees_it(panorama, fov, pitch, roll) -> None:
    width, height = (720, 360) if panorama else (480, 320)
    view = View("panorama" if panorama else "perspective", fov, pitch, roll)
    # A canvas that holds elevation: its zero on the picture is the horizon.
    elevation = np.repeat(np.linspace(89.5, -89.5, 180, dtype=np.float32)[:, None], 360, axis=1)
    drawn = canvas_to_picture(
        elevation, view, width=width, height=height, top_deg=90.0, bottom_deg=-90.0
    )
    points = Pose(panorama, fov, pitch_deg=pitch, roll_deg=roll, aspect=width / height).horizon()
    xs, ys = (np.array(part) for part in zip(*points, strict=True))
    for column in range(width // 8, width, width // 8):
        expected = float(np.interp((column + 0.5) / width, xs, ys)) * height
        row = int(np.argmin(np.abs(drawn[:, column])))
        if 0 < row < height - 1:
            assert abs(row + 0.5 - expected) <= 1.5


def test_names_of_bearings() -> None:
    assert [bearing_name(b) for b in (0, 44, 180, 359, -90)] == ["N", "NE", "S", "N", "W"]
    assert degrees_text(7.4) == "007°" and degrees_text(359.7) == "000°"
