"""What is no photo, or is one no longer: a short message with the name, the problem and what to do."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import PhotoError
from engine.photo import read_photo, view_of
from engine.photo.facts import WHOLE
from engine.photo.projections import to_canvas
from tests.engine.photo.pictures import encoded, exif_block, jpeg_claiming, png_claiming, scene

# The reader silences Pillow's warnings of damaged metadata; pytest turns them on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SCENE = scene()


def message(source: Path | bytes, name: str | None = None) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(source, name)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 160
    return text


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


class TestNotAPhoto:
    def test_nothing_there(self, tmp_path: Path):
        text = message(tmp_path / "gone.jpg")
        assert text == "gone.jpg: there is no such file. Check the name, or whether it was moved."

    def test_a_folder(self, tmp_path: Path):
        (tmp_path / "Holidays 2024").mkdir()
        text = message(tmp_path / "Holidays 2024")
        assert text == "Holidays 2024: this is a folder, not a photo. Open the photos inside it."

    def test_an_empty_file(self, tmp_path: Path):
        assert message(written(tmp_path / "a.jpg", b"")).startswith("a.jpg: the file is empty.")

    def test_nothing_but_zeros(self):
        assert message(bytes(5000), "a.jpg").startswith("a.jpg: the file holds nothing but zeros.")

    @pytest.mark.parametrize(
        "data", [b"just a note\n", "Grüße, мир\n".encode() * 400, b'{"type": "FeatureCollection"}']
    )
    def test_text_named_as_a_photo(self, tmp_path: Path, data: bytes):
        text = message(written(tmp_path / "notes.jpg", data))
        assert text.startswith("notes.jpg: this is text, not a picture, whatever its name says.")
        assert "JPEG" in text

    def test_a_web_page_saved_as_a_photo(self):
        text = message(b"\n<!DOCTYPE html><html><body>404</body></html>", "photo.jpg")
        assert "web page" in text and "Download the picture itself" in text

    def test_a_drawing(self):
        assert "SVG" in message(b'<?xml version="1.0"?><svg xmlns="http://x"/>', "a.svg")

    def test_random_bytes(self):
        data = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
        assert "not a picture" in message(data, "a.jpg")

    @pytest.mark.parametrize("kind", ["torch", "npz", "safetensors"])
    def test_weights(self, tmp_path: Path, kind: str):
        path = tmp_path / "a.jpg"
        if kind == "safetensors":
            header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
            path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl" if kind == "torch" else "w.npy", b"x")
        assert "weights" in message(path) and "nadir import" in message(path)

    def test_an_archive(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "a.jpg", "w") as archive:
            archive.writestr("a", "b")
        assert "archive" in message(tmp_path / "a.jpg")

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(50), "HEIC"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(50), "video"),
            (b"\0\0\0\x14ftypcrx \0\0\0\0crx " + bytes(50), "raw file"),
            (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "raw file"),
            (b"%PDF-1.7\n" + bytes(50), "PDF"),
            (b"8BPS\0\x01" + bytes(50), "Photoshop"),
            (b"\xff\x0a" + bytes(50), "JPEG XL"),
        ],
    )
    def test_kinds_that_are_named_with_a_way_out(self, data: bytes, what: str):
        text = message(data, "IMG_1.jpg")
        assert what in text and ("JPEG and open that" in text or "open that" in text)

    def test_a_raw_file_that_looks_like_tiff_is_not_read_by_its_thumbnail(self):
        thumbnail = encoded(SCENE, "TIFF", tiffinfo={0xC612: b"\x01\x04\x00\x00"})
        assert "raw file" in message(thumbnail, "a.dng")

    def test_a_device_is_not_read_for_ever(self):
        assert "not an ordinary file" in message(Path("/dev/zero"))

    @pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
    def test_a_file_one_may_not_read(self, tmp_path: Path):
        path = written(tmp_path / "a.jpg", encoded(SCENE, "JPEG"))
        path.chmod(0)
        root = os.geteuid() == 0
        if root:  # nothing is forbidden to root
            for folder in (tmp_path, *tmp_path.parents[:2]):
                folder.chmod(0o755)
            os.seteuid(65534)
        try:
            text = message(path)
        finally:
            if root:
                os.seteuid(0)
        assert text.startswith("a.jpg: you may not read this file.")


class TestDamaged:
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF"])
    @pytest.mark.parametrize("share", [0.35, 0.7])
    def test_the_readable_part_is_used_and_the_row_is_said(self, format_name: str, share: float):
        noisy = (SCENE // 2 + np.random.default_rng(0).integers(0, 99, SCENE.shape)).astype(
            np.uint8
        )
        data = encoded(noisy, format_name)
        photo = read_photo(data[: int(len(data) * share)], "cut.jpg")
        (note,) = photo.notes
        row = int(note.split()[3].rstrip("."))
        assert note == f"Damaged after row {row}. The readable part was used; try the original."
        assert row / 240 == pytest.approx(share, abs=0.1)
        assert photo.facts.usable == (0.0, 0.0, 1.0, row / 240)
        assert photo.pixels.shape == SCENE.shape
        assert np.abs(photo.pixels[:row].astype(int) - noisy[:row]).mean() < 25
        assert (photo.pixels[row + 1 :] == 0).all()

    def test_what_could_not_be_read_is_not_taken_for_something_seen(self):
        data = encoded(SCENE, "JPEG", quality=95)
        photo = read_photo(data[: len(data) // 2])
        canvas = {"height": 64, "width": 256, "top_deg": 45.0, "bottom_deg": -45.0}
        pixels, mask = to_canvas(photo.pixels, view_of(photo.facts), **canvas)
        whole, whole_mask = to_canvas(SCENE, replace(view_of(photo.facts), usable=WHOLE), **canvas)
        assert 0.3 < mask.sum() / whole_mask.sum() < 0.7
        assert not (mask & ~whole_mask).any()
        assert np.abs(pixels.astype(int) - whole)[mask].mean() < 4

    @pytest.mark.parametrize(
        ("orientation", "usable"),
        [
            (1, lambda s: (0, 0, 1, s)),
            (3, lambda s: (0, 1 - s, 1, 1)),
            (6, lambda s: (1 - s, 0, 1, 1)),
            (8, lambda s: (0, 0, s, 1)),
        ],
    )
    def test_the_readable_part_turns_with_the_picture(self, orientation: int, usable):
        block = exif_block(main={0x0112: orientation})
        data = encoded(SCENE, "JPEG", exif=block, quality=95)
        photo = read_photo(data[: len(data) * 6 // 10])
        row = int(photo.notes[0].split()[3].rstrip("."))
        assert photo.facts.usable == pytest.approx(usable(row / 240))
        height, width = photo.pixels.shape[:2]
        left, top, right, bottom = photo.facts.usable
        inside = photo.pixels[
            round(top * height) : round(bottom * height), round(left * width) : round(right * width)
        ]
        assert inside.min(axis=2).mean() > 40
        assert inside.astype(int).sum() == photo.pixels.astype(int).sum()

    def test_a_progressive_jpeg_keeps_its_coarse_picture(self):
        data = encoded(SCENE, "JPEG", progressive=True, quality=95)
        photo = read_photo(data[: len(data) // 2])
        assert "some detail is lost" in photo.notes[0]
        assert np.abs(photo.pixels.astype(int) - SCENE).mean() < 12

    def test_a_huge_damaged_jpeg_says_the_row_of_the_file(self):
        data = encoded(scene(1600, 1200), "JPEG", quality=95)
        photo = read_photo(data[: len(data) // 2], max_pixels=500_000)
        row = int(photo.notes[0].split()[3].rstrip("."))
        assert row / 1200 == pytest.approx(0.5, abs=0.1)

    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
    def test_too_little_left_is_refused(self, format_name: str):
        data = encoded(SCENE, format_name)
        text = message(data[: max(30, len(data) // 50)], "cut.jpg")
        assert text.startswith("cut.jpg: ") and "Try the original" in text

    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
    @given(data=st.data())
    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_any_damage_gives_a_photo_or_a_message(self, format_name: str, data: st.DataObject):
        file = bytearray(FILES[format_name])
        for _ in range(data.draw(st.integers(0, 6))):
            file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(1, len(file)))
        try:
            photo = read_photo(bytes(file[:cut]), "a.jpg")
        except PhotoError as error:
            assert str(error).startswith("a.jpg: ")
        else:
            assert photo.pixels.ndim == 3 and photo.pixels.dtype == np.uint8


FILES = {
    name: encoded(scene(48, 40), name)
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
}


class TestAbsurdSizes:
    @pytest.mark.parametrize(
        "data", [jpeg_claiming(65500, 65500), png_claiming(100_000, 100_000)], ids=["jpeg", "png"]
    )
    def test_they_are_refused_before_a_pixel_is_decoded(self, data: bytes):
        start = time.perf_counter()
        text = message(data, "bomb.jpg")
        assert time.perf_counter() - start < 0.5
        assert "more than Nadir opens" in text and "million pixels" in text

    def test_a_png_that_claims_more_than_it_has(self):
        # Within the limits, so it is tried; hardly a row of it is there.
        assert "Try the original" in message(png_claiming(3000, 3000), "a.png")

    def test_a_picture_of_a_few_pixels(self):
        assert "only 4 × 300 pixels" in message(encoded(Image.new("RGB", (4, 300)), "PNG"), "a.png")


def test_the_first_two_bytes_of_a_jpeg_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(PhotoError) as caught:
        read_photo(tmp_path / "cut.jpg")
    assert "text" not in caught.value.problem
