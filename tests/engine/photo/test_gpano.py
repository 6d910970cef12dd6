"""Photo Sphere metadata: whole, cropped, tilted, stale and broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.photo import read_photo, view_of
from engine.photo.gpano import full_sphere, read_gpano, sphere_of, xmp_packet
from engine.photo.projections import FULL_PANORAMA, perspective_from_panorama, to_canvas
from tests.engine.photo import sphere
from tests.engine.photo.pictures import encoded, exif_block, scene

CROPPED = {
    "ProjectionType": "equirectangular",
    "FullPanoWidthPixels": "1600",
    "FullPanoHeightPixels": "800",
    "CroppedAreaImageWidthPixels": "400",
    "CroppedAreaImageHeightPixels": "200",
    "CroppedAreaLeftPixels": "800",
    "CroppedAreaTopPixels": "300",
    "PoseHeadingDegrees": "10",
}

LEVEL = sphere.equirectangular(3600, 45, top=45, bottom=-45)


def facts_with(gpano: dict[str, str], width: int, height: int, **options: Any):
    return read_photo(encoded(scene(width, height), "JPEG", xmp=xmp_packet(gpano), **options)).facts


def test_a_full_panorama():
    facts = facts_with(full_sphere(640, 320, heading_deg=123.25), 640, 320)
    assert (facts.kind, facts.fov_deg, facts.fov_source) == ("panorama", 360.0, "xmp")
    assert (facts.heading_deg, facts.heading_source) == (123.25, "xmp")
    assert (facts.top_deg, facts.bottom_deg, facts.pitch_deg, facts.roll_deg) == (90, -90, 0, 0)


def test_the_heading_of_the_sphere_goes_before_the_cameras():
    facts = facts_with(
        full_sphere(640, 320, heading_deg=10), 640, 320, exif=exif_block(gps={16: "T", 17: 99.0})
    )
    assert (facts.heading_deg, facts.heading_source) == (10.0, "xmp")
    gpano = full_sphere(640, 320, heading_deg=10)
    del gpano["PoseHeadingDegrees"]
    facts = facts_with(gpano, 640, 320, exif=exif_block(gps={16: "T", 17: 99.0}))
    assert (facts.heading_deg, facts.heading_source) == (99.0, "exif")


def test_a_cropped_panorama_is_about_its_own_centre():
    facts = facts_with(CROPPED, 400, 200)
    # Columns 800..1200 of 1600: from the full one's centre to 90 degrees right of it.
    assert facts.fov_deg == 90.0
    assert facts.heading_deg == pytest.approx(55.0)
    assert (facts.top_deg, facts.bottom_deg) == (22.5, -22.5)


def test_a_cropped_panorama_that_was_made_smaller():
    facts = facts_with(CROPPED, 200, 100)
    assert (facts.fov_deg, facts.top_deg, facts.bottom_deg) == (90.0, 22.5, -22.5)


@given(st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 600))
@settings(max_examples=10, deadline=None)
def test_a_crop_of_a_tilted_panorama_shows_the_same_world(pitch: float, roll: float, left: int):
    whole = sphere.as_pixels(sphere.tilted_panorama(800, 400, pitch, roll))
    part = np.ascontiguousarray(whole[150:250, left : left + 200])
    gpano = CROPPED | {
        "CroppedAreaLeftPixels": str(2 * left),  # the numbers of a panorama twice as large
        "PosePitchDegrees": repr(pitch),
        "PoseRollDegrees": repr(roll),
        "PoseHeadingDegrees": "0",
    }
    photo = read_photo(encoded(part, "PNG", pnginfo=_png_xmp(xmp_packet(gpano))))
    assert photo.facts.heading_deg is not None
    seen, mask = to_canvas(
        photo.pixels, view_of(photo.facts), height=45, width=180, top_deg=45.0, bottom_deg=-45.0
    )
    level = np.roll(LEVEL, -round(photo.facts.heading_deg * 10), axis=1)
    wanted = level.reshape(45, 180, 20, 3).mean(axis=2)
    inner = mask.copy()
    for axis in (0, 1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    assert inner.any() and np.abs(seen - wanted)[inner].max() < 6


def test_properties_as_elements_under_another_prefix():
    packet = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description
      xmlns:sph="http://ns.google.com/photos/1.0/panorama/">
      <sph:ProjectionType>equirectangular</sph:ProjectionType>
      <sph:PoseHeadingDegrees> 271.5 </sph:PoseHeadingDegrees>
      <sph:InitialViewHeadingDegrees>90</sph:InitialViewHeadingDegrees>
      </rdf:Description></rdf:RDF></x:xmpmeta>"""
    assert read_gpano(packet)["PoseHeadingDegrees"] == "271.5"
    found, _ = sphere_of(read_gpano(packet.encode()), 800, 400)
    assert found is not None
    assert (found.fov_deg, found.heading_deg) == (360.0, 271.5)
    assert found.initial_view_deg == (90.0, 0.0, 0.0)


def test_a_wide_strip_without_numbers_is_a_full_turn_about_the_horizon():
    found, _ = sphere_of({"ProjectionType": "equirectangular"}, 1000, 250)
    assert found is not None
    assert (found.fov_deg, found.top_deg, found.bottom_deg) == (360.0, 45.0, -45.0)


def test_stale_metadata_of_an_edited_picture_is_not_used():
    photo = read_photo(
        encoded(scene(400, 300), "JPEG", xmp=xmp_packet(full_sphere(4000, 2000, heading_deg=5)))
    )
    assert (photo.facts.kind, photo.facts.fov_source) == ("perspective", "assumed")
    assert photo.facts.heading_deg is None
    assert "does not fit its shape" in photo.notes[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"CroppedAreaLeftPixels": "1500"},
        {"CroppedAreaTopPixels": "-400"},
        {"FullPanoWidthPixels": "100"},
    ],
)
def test_metadata_that_contradicts_itself_is_not_used(wrong: dict[str, str]):
    found, note = sphere_of(CROPPED | wrong, 400, 200)
    assert found is None and note is not None and "contradicts" in note


@pytest.mark.parametrize("value", ["", "nan", "1e999", "north", "12,5"])
def test_numbers_that_are_none_count_as_absent(value: str):
    found, _ = sphere_of(
        CROPPED | {"PoseHeadingDegrees": value, "PosePitchDegrees": value}, 400, 200
    )
    assert found is not None
    assert found.heading_deg is None and found.pitch_deg == 0


def test_other_projections_are_said_and_left():
    found, note = sphere_of({"ProjectionType": "cylindrical"}, 400, 200)
    assert found is None and note is not None and "cylindrical" in note


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_packet_makes_the_reader_fail(packet: bytes | str):
    prefix = 'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" GPano:'
    for head in ("", prefix):
        text = head.encode() + packet if isinstance(packet, bytes) else head + packet
        sphere_of(read_gpano(text), 400, 200)


def test_a_hostile_packet_takes_no_time():
    prefix = 'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
    assert read_gpano(prefix + "GPano:A=" * 100_000) == {}
    assert read_gpano(prefix + "<GPano:A" * 100_000) == {}
    assert read_gpano(prefix + "<GPano:A>" * 100_000) == {}


def test_the_pose_a_file_states_is_the_pose_the_projection_uses():
    panorama = sphere.as_pixels(sphere.tilted_panorama(800, 400, 12, -7))
    gpano = full_sphere(800, 400, heading_deg=0, pitch_deg=12, roll_deg=-7)
    photo = read_photo(encoded(panorama, "PNG", pnginfo=_png_xmp(xmp_packet(gpano))))
    assert (photo.facts.pitch_deg, photo.facts.roll_deg) == (12.0, -7.0)
    level = perspective_from_panorama(
        photo.pixels,
        heading_offset_deg=0,
        fov_deg=80,
        width=80,
        height=60,
        view=view_of(photo.facts),
    )
    assert np.abs(level - sphere.perspective(80, 60, 80)).max() < 4
    assert view_of(photo.facts) != FULL_PANORAMA


def _png_xmp(packet: bytes) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return info
