"""What is written is what is read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.photo import read_photo
from engine.photo.gpano import full_sphere
from engine.photo.write import save_jpeg
from tests.engine.photo.pictures import scene

quiet = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(
    fov=st.floats(5, 130),
    lat=st.floats(-89.9, 89.9).filter(lambda v: abs(v) > 1e-6),
    lon=st.floats(-180, 180),
    heading=st.floats(0, 359.999),
    size=st.sampled_from([(64, 48), (48, 64), (64, 64), (90, 50), (96, 48)]),
)
@quiet
def test_a_photo_comes_back_with_the_same_facts(
    tmp_path: Path, fov: float, lat: float, lon: float, heading: float, size: tuple[int, int]
):
    path = tmp_path / "photo.jpg"
    save_jpeg(
        path,
        scene(*size),
        90,
        fov_deg=fov,
        latitude=lat,
        longitude=lon,
        heading_deg=heading,
        camera="Nadir rendered camera",
        taken="2024-05-06 07:08:09",
    )
    facts = read_photo(path).facts
    if facts.kind == "panorama":  # a 2:1 picture wider than a lens sees
        assert size == (96, 48) and fov > 119
        return
    assert facts.fov_source == "exif" and facts.fov_deg == pytest.approx(fov, abs=1e-4)
    assert facts.latitude == pytest.approx(lat, abs=1e-9)
    assert facts.longitude == pytest.approx(lon, abs=1e-9)
    assert facts.heading_deg == pytest.approx(heading, abs=1e-6)
    assert (facts.camera, facts.taken) == ("Nadir rendered camera", "2024-05-06 07:08:09")
    assert (facts.width, facts.height) == size


@given(st.floats(-720, 720), st.floats(-89, 89), st.floats(-179, 179))
@quiet
def test_a_panorama_comes_back_with_the_same_pose(
    tmp_path: Path, heading: float, pitch: float, roll: float
):
    path = tmp_path / "panorama.jpg"
    gpano = full_sphere(96, 48, heading_deg=heading, pitch_deg=pitch, roll_deg=roll)
    save_jpeg(path, scene(96, 48), gpano=gpano, latitude=-48.87, longitude=-123.39)
    facts = read_photo(path).facts
    assert (facts.kind, facts.fov_deg, facts.fov_source) == ("panorama", 360.0, "xmp")
    assert facts.heading_deg == heading % 360.0 % 360.0
    assert (facts.pitch_deg, facts.roll_deg) == (pitch, roll)
    assert (facts.latitude, facts.longitude) == pytest.approx((-48.87, -123.39), abs=1e-9)


def test_what_was_not_given_is_not_invented(tmp_path: Path):
    path = tmp_path / "plain.jpg"
    save_jpeg(path, scene(), 95)
    photo = read_photo(path)
    assert photo.facts.latitude is None and photo.facts.heading_deg is None
    assert photo.facts.fov_source == "assumed" and photo.facts.camera == ""
    assert np.abs(photo.pixels.astype(int) - scene()).mean() < 2


def test_other_programs_see_the_same(tmp_path: Path):
    path = tmp_path / "photo.jpg"
    save_jpeg(path, scene(), fov_deg=73.7398, latitude=-48.87, longitude=-123.39, heading_deg=10)
    exif = Image.open(path).getexif()
    details, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    # 73.7 degrees across a 4:3 picture is 28.8 mm over 36 mm of width, 27.7 by the picture's diagonal.
    assert float(details[0x920A]) == pytest.approx(24.0, abs=0.01)
    assert details[0xA405] == 23
    assert gps[1] == "S" and gps[3] == "W" and float(gps[17]) == 10
    degrees, minutes, seconds = map(float, gps[2])
    assert degrees + minutes / 60 + seconds / 3600 == pytest.approx(48.87)


def test_the_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "a.jpg"
    save_jpeg(path, scene(), 90)
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        save_jpeg(path, np.zeros((4, 4, 7), np.uint8))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.jpg"]
