"""Photos of every kind that should be read, and what is said about them."""

from __future__ import annotations

import hashlib
import io
import resource
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from engine.errors import PhotoError
from engine.photo import read_photo, view_of
from engine.photo.projections import to_canvas
from tests.engine.photo.pictures import encoded, exif_block, scene

SCENE = scene()


def off(photo_pixels: np.ndarray, wanted: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(photo_pixels.astype(float) - wanted).mean())


@pytest.mark.parametrize(
    ("format_name", "options", "limit"),
    [
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg"}, 3),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("JPEG2000", {}, 1),
        ("AVIF", {"quality": 95}, 3),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_every_format_is_read_whatever_the_name_says(
    tmp_path: Path, format_name: str, options: dict[str, Any], limit: float, as_file: bool
):
    data = encoded(SCENE, format_name, **options)
    if as_file:
        path = tmp_path / "photo.txt"
        path.write_bytes(data)
        photo = read_photo(path)
        assert photo.path == path and photo.name == "photo.txt"
    else:
        photo = read_photo(data, "pasted")
        assert photo.path is None and photo.name == "pasted"
    assert photo.pixels.dtype == np.uint8 and photo.pixels.shape == SCENE.shape
    assert off(photo.pixels, SCENE) <= limit
    assert photo.notes == ()
    assert photo.sha256 == hashlib.sha256(data).hexdigest()


def test_paths_with_spaces_and_other_alphabets(tmp_path: Path):
    folder = tmp_path / "Фото с дачи" / "东京 2024"
    folder.mkdir(parents=True)
    path = folder / "Straße Nr. 5 – été 🌲.jpg"
    path.write_bytes(encoded(SCENE, "JPEG"))
    assert read_photo(path).name == path.name
    assert read_photo(str(path)).name == path.name


def test_a_georeferenced_picture_is_read_and_said_to_be_one():
    """An orthophoto dropped where photos go is no photo; a geotag, which photos carry, is another thing."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    stream, plain = io.BytesIO(), io.BytesIO()
    tags[33550] = (0.25, 0.25, 0.0)
    tags[33922] = (0.0, 0.0, 0.0, 500000.0, 4400000.0, 0.0)
    tags[34735] = (1, 1, 0, 1, 1024, 0, 1, 1)
    for number, kind in ((33550, 12), (33922, 12), (34735, 3)):
        tags.tagtype[number] = kind
    picture = Image.fromarray(scene(90, 60))
    picture.save(stream, "TIFF", tiffinfo=tags)
    picture.save(plain, "TIFF")
    (note,) = read_photo(stream.getvalue()).notes
    assert note.startswith("It is georeferenced") and "Library" in note
    assert not read_photo(plain.getvalue()).notes


def test_the_pixels_cannot_be_changed_by_accident():
    photo = read_photo(encoded(SCENE, "JPEG"))
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 0


def linear_profile() -> bytes:
    """A colour profile with sRGB's primaries and no gamma, so that it is seen whether it was used."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))

    xyz = b"XYZ " + bytes(4)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": xyz + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz + fixed(0.43607, 0.22250, 0.01393),
        b"gXYZ": xyz + fixed(0.38506, 0.71688, 0.09710),
        b"bXYZ": xyz + fixed(0.14308, 0.06062, 0.71417),
        **{name: b"curv" + bytes(8) for name in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, data = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(value))
        data += value
    head = struct.pack(">I4xI12s", 128 + len(table) + len(data), 0x02400000, b"mntrRGB XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + data


class TestColours:
    def test_grey(self):
        photo = read_photo(encoded(SCENE[:, :, 0], "JPEG", quality=95))
        assert off(photo.pixels, SCENE[:, :, :1]) < 2

    def test_black_and_white(self):
        image = Image.fromarray(SCENE).convert("1")
        assert set(np.unique(read_photo(encoded(image, "PNG")).pixels)) == {0, 255}

    def test_sixteen_bits_keep_their_scale(self):
        grey = (SCENE[:, :, 0].astype(np.uint16) * 257).astype(np.uint16)
        for name in ("PNG", "TIFF"):
            photo = read_photo(encoded(Image.fromarray(grey), name))
            assert off(photo.pixels, SCENE[:, :, :1]) == 0
            assert photo.notes == ()

    def test_twelve_bits_in_sixteen_are_stretched_and_said(self):
        grey = (SCENE[:, :, 0].astype(np.uint16) * 16).astype(np.uint16)
        photo = read_photo(encoded(Image.fromarray(grey), "PNG"))
        assert off(photo.pixels, SCENE[:, :, :1]) < 1.5
        assert "stretched" in photo.notes[0]

    def test_floating_point_is_stretched_and_said(self):
        values = SCENE[:, :, 0].astype(np.float32) / 1000 - 3
        values[0, 0] = np.nan
        photo = read_photo(encoded(Image.fromarray(values), "TIFF"))
        assert photo.pixels.std() > 40 and "floating" in photo.notes[0]

    def test_cmyk(self):
        image = Image.fromarray(SCENE).convert("CMYK")
        photo = read_photo(encoded(image, "JPEG", quality=95))
        assert off(photo.pixels, SCENE) < 3
        assert off(read_photo(encoded(image, "TIFF")).pixels, SCENE) < 1

    def test_palette(self):
        image = Image.fromarray(SCENE).quantize(64)
        wanted = np.asarray(image.convert("RGB"))
        for name in ("PNG", "GIF", "BMP"):
            assert off(read_photo(encoded(image, name)).pixels, wanted) == 0

    def test_transparency_is_filled_with_grey_and_said(self):
        alpha = np.full((*SCENE.shape[:2], 1), 255, np.uint8)
        opaque = read_photo(encoded(np.concatenate([SCENE, alpha], axis=2), "PNG"))
        assert off(opaque.pixels, SCENE) == 0 and opaque.notes == ()
        alpha[:100] = 0
        for name, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
            photo = read_photo(encoded(np.concatenate([SCENE, alpha], axis=2), name, **options))
            assert (photo.pixels[:100] == 128).all() and off(photo.pixels[100:], SCENE[100:]) == 0
            assert "transparent" in photo.notes[0]

    def test_palette_with_transparency(self):
        image = Image.fromarray(SCENE).quantize(64)
        corner = image.getpixel((0, 0))
        photo = read_photo(encoded(image, "PNG", transparency=corner))
        assert (photo.pixels[0, 0] == 128).all() and "transparent" in photo.notes[0]

    def test_a_colour_profile_is_applied(self):
        light = np.where(SCENE > 10.3, ((SCENE / 255 + 0.055) / 1.055) ** 2.4, SCENE / 255 / 12.92)
        stored = np.rint(255 * light).astype(np.uint8)
        for name, options in (("PNG", {}), ("JPEG", {"quality": 98, "subsampling": 0})):
            photo = read_photo(encoded(stored, name, icc_profile=linear_profile(), **options))
            assert off(photo.pixels, SCENE) < 2 and photo.notes == ()

    def test_a_profile_of_what_every_screen_shows_changes_nothing(self):
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        tagged = read_photo(encoded(SCENE, "PNG", icc_profile=srgb))
        assert off(tagged.pixels, SCENE) == 0 and tagged.notes == ()

    def test_lab(self):
        lab = ImageCms.profileToProfile(
            Image.fromarray(SCENE),
            ImageCms.createProfile("sRGB"),
            ImageCms.createProfile("LAB"),
            outputMode="LAB",
        )
        assert lab is not None
        assert off(read_photo(encoded(lab, "TIFF")).pixels, SCENE) < 2

    def test_a_broken_colour_profile_is_left_and_said(self):
        photo = read_photo(encoded(SCENE, "PNG", icc_profile=b"not a profile at all"))
        assert off(photo.pixels, SCENE) == 0 and "profile" in photo.notes[0]


class TestShapes:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_turned_photos_stand_upright(self, orientation: int, format_name: str):
        upright = SCENE
        stored = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.transpose(1, 0, 2),
            6: np.rot90(upright, 1),
            7: upright[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(upright, -1),
        }[orientation]
        data = encoded(
            np.ascontiguousarray(stored),
            format_name,
            exif=exif_block(main={0x0112: orientation}),
            **{"quality": 95} if format_name in ("JPEG", "WEBP") else {},
        )
        photo = read_photo(data)
        assert photo.pixels.shape == upright.shape
        assert (photo.facts.width, photo.facts.height) == (320, 240)
        assert off(photo.pixels, upright) < 3

    def test_two_to_one_without_metadata_is_a_panorama(self):
        facts = read_photo(encoded(scene(400, 200), "JPEG")).facts
        assert (facts.kind, facts.fov_deg, facts.fov_source) == ("panorama", 360.0, "shape")
        facts = read_photo(encoded(scene(400, 220), "JPEG")).facts
        assert (facts.kind, facts.fov_deg, facts.fov_source) == ("perspective", 65.0, "assumed")

    def test_a_phones_two_to_one_photo_is_no_panorama(self):
        data = encoded(scene(400, 200), "JPEG", exif=exif_block(camera={0xA405: 26}))
        facts = read_photo(data).facts
        assert (facts.kind, facts.fov_source) == ("perspective", "exif")
        # A 360° camera writes the focal length of its tiny lenses.
        data = encoded(scene(400, 200), "JPEG", exif=exif_block(camera={0xA405: 7}))
        assert read_photo(data).facts.kind == "panorama"

    @pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "AVIF"])
    def test_of_an_animation_the_first_frame_is_used_and_said(self, format_name: str):
        first, second = (Image.new("RGB", (64, 48), c) for c in ((200, 40, 40), (40, 40, 200)))
        data = encoded(first, format_name, save_all=True, append_images=[second], duration=100)
        photo = read_photo(data)
        assert photo.pixels[..., 0].mean() > 190 and photo.pixels[..., 2].mean() < 60
        assert photo.notes == ("It is animated; the first of its 2 frames was used.",)

    def test_of_a_tiff_of_many_pages_the_first_is_used(self):
        pages = [Image.fromarray(SCENE), Image.new("RGB", (64, 64))]
        photo = read_photo(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
        assert off(photo.pixels, SCENE) == 0
        assert photo.notes == ("The file holds 2 pictures; the first was used.",)

    def test_of_a_phones_jpeg_with_a_second_picture_the_first_is_used(self, realdata: Path):
        photo = read_photo(realdata / "photos" / "portland_gps.jpg")
        assert photo.pixels.shape == (2160, 3840, 3) and photo.notes == ()


class TestSizes:
    def test_what_is_larger_than_asked_is_shrunk_and_said(self):
        big = scene(1200, 900)
        for name, factor in (("JPEG", 4), ("PNG", 3), ("JPEG2000", 3)):
            photo = read_photo(encoded(big, name), max_pixels=120_000)
            height, width = photo.pixels.shape[:2]
            assert (width, height) == (-(-1200 // factor), -(-900 // factor))
            assert (photo.facts.width, photo.facts.height) == (1200, 900)
            assert photo.notes == (
                f"It has 1200 × 900 pixels and was read at 1/{factor} of its size.",
            )
            small = np.asarray(Image.fromarray(big).resize((width, height), Image.Resampling.BOX))
            assert off(photo.pixels, small) < 2.5

    def test_the_answer_does_not_depend_on_the_size_it_was_read_at(self):
        data = encoded(scene(1600, 1200), "JPEG", quality=95)
        canvas = {"height": 64, "width": 256, "top_deg": 45.0, "bottom_deg": -45.0}
        full, small = read_photo(data), read_photo(data, max_pixels=500_000)
        a, mask_a = to_canvas(full.pixels, view_of(full.facts), **canvas)
        b, mask_b = to_canvas(small.pixels, view_of(small.facts), **canvas)
        assert (mask_a == mask_b).all()
        assert np.abs(a.astype(int) - b)[mask_a].mean() < 1.5

    def test_two_hundred_megapixels_need_little_memory(self, tmp_path: Path):
        path = tmp_path / "huge.jpg"
        small = Image.fromarray(SCENE[:, :, 0])
        small.resize((16384, 12288), Image.Resampling.NEAREST).save(path, "JPEG", quality=80)
        program = (
            "import sys, resource; from engine.photo import read_photo\n"
            "rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "photo = read_photo(sys.argv[1])\n"
            "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "print(peak - rest, *photo.pixels.shape, photo.facts.width, photo.notes[0])"
        )
        root = Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            cwd=root,
            check=True,
        )
        kilobytes, height, width, _, full, *note = done.stdout.split()
        assert (int(width), int(height), int(full)) == (4096, 3072, 16384)
        assert "1/4" in " ".join(note)
        if sys.platform == "linux":
            assert int(kilobytes) < 250_000  # the whole picture would take 800 MB

    def test_reading_is_quick(self):
        large = Image.fromarray(SCENE).resize((4000, 3000), Image.Resampling.NEAREST)
        data = encoded(large, "JPEG")
        best = np.inf
        for _ in range(3):
            start = time.thread_time()
            read_photo(data)
            best = min(best, time.thread_time() - start)
        assert best < 0.6


def test_photos_are_read_in_several_threads_at_once():
    files = [encoded(scene(320 + 8 * i, 240), "JPEG") for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(read_photo, files))
    assert [p.facts.width for p in photos] == [320 + 8 * i for i in range(16)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


def test_every_real_photo_is_read(realdata: Path):
    paths = [*realdata.glob("helsinki_pairs/*/*.jpg"), *realdata.glob("street_toy/*/*.jpg")]
    assert len(paths) > 20
    for path in paths:
        photo = read_photo(path)
        assert photo.notes == () and photo.facts.fov_source == "assumed"
        assert off(photo.pixels, np.asarray(Image.open(path).convert("RGB"))) == 0


def test_bytes_and_file_give_the_same_photo(tmp_path: Path):
    data = encoded(SCENE, "JPEG", exif=exif_block(camera={0xA405: 26}))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    first, second = read_photo(path), read_photo(data)
    assert first.facts == second.facts and first.sha256 == second.sha256
    assert (first.pixels == second.pixels).all()
    with pytest.raises(PhotoError):
        read_photo(io.BytesIO(data).read()[:50])
