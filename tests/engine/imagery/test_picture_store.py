"""Pictures in one file: their bytes as they were, and files that come from strangers."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import ImageryError
from engine.imagery.pictures import (
    Kept,
    PictureFolder,
    PictureSource,
    PictureStore,
    letterboxed,
    open_pictures,
    write_store,
)
from engine.imagery.pictures.pixels import _one_large, pixels_of
from engine.photo.write import save_jpeg
from tests.engine.photo.pictures import encoded, exif_block, jpeg_claiming, png_claiming, scene
from tests.full_disk import full_disk

LAT, LON = 60.2, 24.9


@pytest.fixture
def folder(tmp_path: Path) -> PictureFolder:
    """Four photos, the second turned by its EXIF, the third cut short, the fourth with a heading."""
    at = tmp_path / "photos"
    at.mkdir()
    for number in range(4):
        save_jpeg(at / f"{number}.jpg", scene(80 + number, 60), latitude=LAT + number / 1000, longitude=LON,
                  heading_deg=45.0 if number == 3 else None)  # fmt: skip
    exif = exif_block({0x0112: 6}, gps={1: "N", 2: (60.0, 12.0, 3.6), 3: "E", 4: (24.0, 54.0, 0.0)})
    Image.fromarray(scene(80, 60)).save(at / "1.jpg", exif=exif)
    data = (at / "2.jpg").read_bytes()
    (at / "2.jpg").write_bytes(data[: len(data) * 2 // 3])
    return open_pictures(at)


def test_a_copy_gives_what_the_folder_gives(folder: PictureFolder, tmp_path: Path) -> None:
    numbers = np.array([0, 1, 3])
    folder.write_copy(tmp_path / "pictures.sqlite", numbers)
    folder.write_copy(tmp_path / "again.sqlite", numbers)
    assert (tmp_path / "pictures.sqlite").read_bytes() == (tmp_path / "again.sqlite").read_bytes()
    with PictureStore(tmp_path / "pictures.sqlite") as store:
        assert isinstance(store, PictureSource) and store.kind == "street" and store.problem() == ""
        assert store.numbers.tolist() == [0, 1, 3]
        for number in numbers.tolist():
            assert store.data(number) == (folder.path / folder.file_name(number)).read_bytes()
            assert (store.read(number) == folder.read(number)).all()
            assert store.file_name(number) == folder.file_name(number)
        assert store.read(1).shape == (80, 60, 3)  # upright
        for ours, theirs in zip(store.places(), folder.places(), strict=True):
            assert (ours == theirs[numbers]).all()
        assert np.isnan(store.headings()[:2]).all() and store.headings()[2] == pytest.approx(
            45, abs=0.01
        )
        assert store.extents_m() is None
        with pytest.raises(ImageryError, match="picture 2 is missing"):
            store.read(2)
        # Any part of it is written anew the same way, as when indexes are merged.
        store.write_copy(tmp_path / "part.sqlite", np.array([3, 0]))
    with PictureStore(tmp_path / "part.sqlite") as part:
        assert part.numbers.tolist() == [0, 3]


def test_a_picture_of_which_a_part_is_missing_is_refused(folder: PictureFolder) -> None:
    with pytest.raises(ImageryError, match=r"2\.jpg"):
        folder.read(2)


def test_pictures_that_change_or_go_while_they_are_copied(
    folder: PictureFolder, tmp_path: Path
) -> None:
    (folder.path / "0.jpg").write_bytes(b"shorter")
    with pytest.raises(ImageryError, match=r"0\.jpg: it has changed"):
        folder.write_copy(tmp_path / "p.sqlite", np.array([0]))
    (folder.path / "0.jpg").unlink()
    with pytest.raises(ImageryError, match=r"0\.jpg: it can no longer be read"):
        folder.write_copy(tmp_path / "p.sqlite", np.array([0]))


def test_a_fingerprint_knows_names_places_and_contents(
    folder: PictureFolder, tmp_path: Path
) -> None:
    before = folder.fingerprint()
    assert open_pictures(folder.path).fingerprint() == before
    moved = folder.path.rename(tmp_path / "elsewhere")
    assert open_pictures(moved).fingerprint() == before
    data = bytearray((moved / "0.jpg").read_bytes())
    data[-40] ^= 1
    (moved / "0.jpg").write_bytes(data)
    changed = open_pictures(moved).fingerprint()
    assert changed != before
    (moved / "0.jpg").rename(moved / "00.jpg")
    assert open_pictures(moved).fingerprint() not in (before, changed)


def test_several_threads_read_at_once(folder: PictureFolder, tmp_path: Path) -> None:
    folder.write_copy(tmp_path / "p.sqlite", np.array([0, 1, 3]))
    expected = {n: folder.read(n).tobytes() for n in (0, 1, 3)}
    wrong: list[int] = []
    with PictureStore(tmp_path / "p.sqlite") as store:

        def work() -> None:
            for number in (0, 1, 3) * 5:
                if store.read(number).tobytes() != expected[number]:
                    wrong.append(number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def small_store(path: Path, data: bytes = b"") -> Path:
    write_store(path, "aerial", [Kept(0, "a.png", LAT, LON, 0.0, 50.0, data)], 1)
    return path


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE files",
        "DROP TABLE pictures; CREATE VIEW pictures AS SELECT 0 AS id",
        "DELETE FROM about",
        "UPDATE about SET value='moon'",
    ],
)
def test_files_that_hold_no_pictures_are_refused(tmp_path: Path, change: str) -> None:
    path = small_store(tmp_path / "p.sqlite")
    connection = sqlite3.connect(path)
    connection.executescript(change)
    connection.close()
    with pytest.raises(ImageryError, match="these pictures cannot be used"):
        PictureStore(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pictures SET lat=91",
        "UPDATE pictures SET lon='east'",
        "UPDATE pictures SET lat=9e999",
        "DELETE FROM pictures",
    ],
)
def test_places_off_the_earth_are_refused(tmp_path: Path, change: str) -> None:
    path = small_store(tmp_path / "p.sqlite")
    connection = sqlite3.connect(path)
    connection.executescript(change)
    connection.close()
    with PictureStore(path) as store, pytest.raises(ImageryError):
        store.places()


def test_pictures_that_are_none_or_too_long(tmp_path: Path) -> None:
    for data in (b"", b"no picture", jpeg_claiming(60000, 60000)):
        with (
            PictureStore(small_store(tmp_path / "p.sqlite", data)) as store,
            pytest.raises(ImageryError),
        ):
            store.read(0)
    path = small_store(tmp_path / "long.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE files SET data=zeroblob(?)", ((128 << 20) + 1,))
    connection.commit()
    connection.close()
    with PictureStore(path) as store, pytest.raises(ImageryError):
        store.read(0)


def test_damaged_pages_and_other_files(folder: PictureFolder, tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    folder.write_copy(path, np.array([0, 1, 3]))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 30):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            with PictureStore(path) as store:
                for number in store.numbers.tolist():
                    store.read(number)
        except ImageryError:
            pass
    for data in (b"", whole[:1000], b"text"):
        path.write_bytes(data)
        with pytest.raises(ImageryError):
            PictureStore(path)


def test_a_full_disk_is_an_error_of_the_disk(folder: PictureFolder) -> None:
    with full_disk(0.03) as disk, pytest.raises((OSError, sqlite3.Error)):
        folder.write_copy(disk / "p.sqlite", np.array([0, 1, 3]))


def test_letterboxing_keeps_the_shape() -> None:
    wide = np.full((50, 100, 3), 200, np.uint8)
    square = letterboxed(wide, 64, missing=7)
    assert square.shape == (64, 64, 3)
    assert (square[16:48] == 200).all() and (square[:16] == 7).all() and (square[48:] == 7).all()
    assert letterboxed(np.zeros((3000, 1, 3), np.uint8), 16).shape == (16, 16, 3)


def test_pictures_that_claim_to_be_huge_are_never_decoded(tmp_path: Path) -> None:
    for number, data in enumerate((jpeg_claiming(20_000, 20_000), png_claiming(12_000, 12_000))):
        with pytest.raises(ImageryError, match="more than any tile or photo"):
            pixels_of(data, f"{number}")


def test_large_pictures_are_decoded_one_at_a_time() -> None:
    """Their peak is that of one, not of four."""
    data = encoded(np.zeros((4010, 4010), np.uint8), "PNG", compress_level=1)
    assert pixels_of(data, "large").nbytes <= 3 * 16_000_000
    assert _one_large.acquire(timeout=1)
    done: list[int] = []
    waiting = threading.Thread(target=lambda: done.append(len(pixels_of(data, "large"))))
    waiting.start()
    small = pixels_of(encoded(scene(64, 64), "PNG"), "small")  # others are not held up
    assert small.shape == (64, 64, 3) and not done
    _one_large.release()
    waiting.join(30)
    assert done
