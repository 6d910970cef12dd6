"""EXIF as cameras, phones and accidents write it."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from engine.photo import read_photo
from engine.photo.exif import Exif, position, read_exif
from tests.engine.photo.pictures import encoded, exif_block, scene


def facts_with(size: tuple[int, int] = (320, 240), **tags: dict[int, Any]):
    return read_photo(encoded(scene(*size), "JPEG", exif=exif_block(**tags))).facts


def fov_of_35mm(focal: float, width: float, height: float) -> float:
    """From the words of the standard: equal angles over the diagonal."""
    diagonal_angle = math.atan(math.hypot(36, 24) / 2 / focal)
    pixels = math.hypot(width, height) / 2 / math.tan(diagonal_angle)
    return math.degrees(2 * math.atan(width / 2 / pixels))


def test_focal_length_in_35mm_film_gives_the_field_of_view():
    facts = facts_with(camera={0xA405: 28})
    assert facts.fov_source == "exif" and facts.kind == "perspective"
    assert facts.fov_deg == pytest.approx(fov_of_35mm(28, 4, 3), abs=1e-6)
    assert facts.fov_deg == pytest.approx(63.4, abs=0.1)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_the_field_of_view_is_that_of_the_upright_picture(orientation: int):
    facts = facts_with(main={0x0112: orientation}, camera={0xA405: 28, 0xA002: 4000, 0xA003: 3000})
    upright = (240, 320) if orientation >= 5 else (320, 240)
    assert (facts.width, facts.height) == upright
    assert facts.fov_deg == pytest.approx(fov_of_35mm(28, *upright), abs=1e-6)


def test_the_sensor_density_is_used_without_and_refines_the_film_equivalent():
    plane = {
        0x920A: IFDRational(50, 1),
        0xA20E: IFDRational(3200 * 10, 36),
        0xA210: 3,
        0xA002: 3200,
    }
    wanted = math.degrees(2 * math.atan(18 / 50))
    assert facts_with(camera=plane).fov_deg == pytest.approx(wanted, abs=1e-4)
    agreeing = facts_with(size=(360, 240), camera=plane | {0xA003: 2133, 0xA405: 51})
    assert agreeing.fov_deg == pytest.approx(wanted, abs=0.05)
    contradicting = facts_with(camera=plane | {0xA405: 28, 0xA003: 2400})
    assert contradicting.fov_deg == pytest.approx(fov_of_35mm(28, 4, 3), abs=1e-6)


def test_a_picture_cropped_after_it_was_taken_sees_less():
    # A 4:3 camera, its pictures cropped to 16:9 at full width, and to a square at full height.
    camera = {0xA405: 28, 0xA002: 4000, 0xA003: 3000}
    whole = fov_of_35mm(28, 4, 3)
    assert facts_with(size=(320, 180), camera=camera).fov_deg == pytest.approx(whole, abs=1e-6)
    square = math.degrees(2 * math.atan(math.tan(math.radians(whole / 2)) * 3 / 4))
    assert facts_with(size=(240, 240), camera=camera).fov_deg == pytest.approx(square, abs=1e-6)


@pytest.mark.parametrize("value", [0, 1, 60000])
def test_an_absurd_focal_length_is_no_focal_length(value: int):
    facts = facts_with(camera={0xA405: value})
    assert facts.fov_source == "assumed" and facts.fov_deg == 65.0


def test_a_portrait_photo_assumes_the_angle_of_its_long_side():
    facts = facts_with(size=(180, 320))
    assert facts.fov_source == "assumed"
    wanted = math.degrees(2 * math.atan(math.tan(math.radians(32.5)) * 180 / 320))
    assert facts.fov_deg == pytest.approx(wanted)


def test_position_heading_camera_and_time():
    gps = {1: "S", 2: (48.0, 52.0, 12.0), 3: "W", 4: (123.0, 23.0, 24.0), 16: "T", 17: 271.5}
    facts = facts_with(
        main={0x010F: "NIKON", 0x0110: "NIKON Z 6"},
        camera={0x9003: "2024:05:06 07:08:09"},
        gps=gps,
    )
    assert (facts.latitude, facts.longitude) == pytest.approx((-48.87, -123.39))
    assert (facts.heading_deg, facts.heading_source) == (271.5, "exif")
    assert (facts.camera, facts.taken) == ("NIKON Z 6", "2024-05-06 07:08:09")


def test_a_magnetic_heading_says_so():
    data = encoded(scene(), "JPEG", exif=exif_block(gps={16: "M", 17: 90.0}))
    photo = read_photo(data)
    assert photo.facts.heading_deg == 90 and "magnetic" in photo.notes[0]


@pytest.mark.parametrize(
    "gps",
    [
        {2: (48.0, 52.0, 12.0), 4: (123.0, 23.0, 24.0)},
        {1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
        {1: "N", 2: (48.0, 75.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {1: "N", 2: (IFDRational(0, 0),) * 3, 3: "E", 4: (13.0, 0.0, 0.0)},
        {1: "X", 2: (48.0, 0.0, 0.0), 3: "E", 4: (13.0, 0.0, 0.0)},
    ],
)
def test_a_position_that_cannot_be_is_unknown(gps: dict[int, Any]):
    facts = facts_with(gps=gps)
    assert facts.latitude is None and facts.longitude is None


@pytest.mark.parametrize("value", [400.0, IFDRational(0, 0)])
def test_a_heading_that_cannot_be_is_unknown(value: Any):
    facts = facts_with(gps={16: "T", 17: value})
    assert facts.heading_deg is None and facts.heading_source is None


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_the_reader_fail(data: bytes):
    for head in (b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"Exif\0\0MM\0*\0\0\0\x08"):
        assert isinstance(read_exif(io.BytesIO(head + data)), Exif)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_in_the_block_never_fails_nor_invents_places_off_the_earth(data: Any):
    block = bytearray(
        exif_block(
            main={0x0112: 6, 0x0110: "Phone"},
            camera={0xA405: 26, 0x920A: 4.2},
            gps={1: "N", 2: (48.0, 4.0, 51.8), 3: "W", 4: (1.0, 40.0, 4.2), 17: 147.9},
        ).tobytes()
    )
    for _ in range(data.draw(st.integers(1, 12))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(block)))
    place = position(read_exif(io.BytesIO(bytes(block[:cut]))))
    assert place is None or (abs(place[0]) <= 90 and abs(place[1]) <= 180)


def test_one_damaged_entry_spoils_no_other():
    # The second entry points far outside, the third is of a type that does not exist.
    entries = [
        struct.pack("<HHI4s", 0x0110, 2, 3, b"ab\0\0"),
        struct.pack("<HHII", 0x010F, 2, 60, 999_999),
        struct.pack("<HHII", 0x0111, 77, 1, 5),
        struct.pack("<HHII", 0x0112, 3, 1, 6),
    ]
    block = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    assert read_exif(io.BytesIO(block)).main == {0x0110: "ab", 0x0112: (6.0,)}


class TestRealFiles:
    def test_berlin_and_portland(self, realdata: Path):
        berlin = read_photo(realdata / "photos" / "berlin_gps.jpg").facts
        assert (berlin.latitude, berlin.longitude) == pytest.approx(
            (52.518917, 13.400294), abs=1e-6
        )
        assert berlin.fov_deg == pytest.approx(fov_of_35mm(35, 3264, 2448), abs=1e-6)
        portland = read_photo(realdata / "photos" / "portland_gps.jpg").facts
        assert (portland.latitude, portland.longitude) == pytest.approx(
            (45.516903, -122.572765), abs=1e-6
        )
        # Its GPS track is where it drove, not where the camera looked.
        assert portland.heading_deg is None and portland.camera == "SONY HDR-AS300"

    def test_damaged_exif_gives_what_it_still_has(self, realdata: Path):
        for name in ("corrupt_exif", "fixed_exif", "fixed_exif_2"):
            facts = read_photo(realdata / "photos" / f"{name}.jpg").facts
            assert (facts.latitude, facts.longitude) == pytest.approx(
                (48.081045, -1.667841), abs=1e-6
            )
            assert facts.heading_deg == pytest.approx(147.96, abs=0.01)
            assert facts.camera == "ONEPLUS A3003"
        for name in ("corrupt_exif_large_thumbnail", "corrupt_exif_wrong_type", "empty_exif"):
            facts = read_photo(realdata / "photos" / f"{name}.jpg").facts
            assert facts.latitude is None and facts.fov_source == "assumed"

    def test_nothing_is_written_to_standard_error(
        self, realdata: Path, capfd: pytest.CaptureFixture[str]
    ):
        for path in sorted((realdata / "photos").iterdir()):
            read_photo(path)
        assert capfd.readouterr().err == ""
