"""What a raster's values become, what is said about it, and what happens to files that are no imagery."""

from __future__ import annotations

import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from engine.errors import ImageryError
from engine.imagery import open_imagery
from tests.engine.imagery.rasters import raster_transform, write_raster

LAT, LON, SIZE = 45.0, 9.0, 64
UTM = CRS.from_epsg(32632)  # its meridian is 9° E: no rotation
PLACED = raster_transform(UTM, LAT, LON, 1.0, SIZE)


def _cut(path: Path) -> tuple[np.ndarray, float, tuple[str, ...]]:
    with open_imagery(path) as source:
        pixels, share = source.cut(LAT, LON, 32.0, 32)
        return pixels, share, source.notes


def _ramp(low: float, high: float, kind: str) -> np.ndarray:
    """[SIZE, SIZE] rising to the east."""
    return np.broadcast_to(np.linspace(low, high, SIZE), (SIZE, SIZE)).astype(kind)


def test_eight_bit_colours_are_taken_as_they_are(tmp_path: Path) -> None:
    bands = np.stack([np.full((SIZE, SIZE), v, np.uint8) for v in (10, 20, 30)])
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED, photometric="RGB")
    pixels, share, notes = _cut(path)
    assert (pixels == (10, 20, 30)).all()
    assert share == 1
    assert notes == ()


def test_named_colours_are_found_in_any_order(tmp_path: Path) -> None:
    bands = np.stack([np.full((SIZE, SIZE), v, np.uint8) for v in (30, 99, 20, 10)])
    kinds = (ColorInterp.blue, ColorInterp.undefined, ColorInterp.green, ColorInterp.red)
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED, colorinterp=kinds)
    pixels, _, notes = _cut(path)
    assert (pixels == (10, 20, 30)).all()
    assert notes == ()


def test_one_band_is_grey(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((1, SIZE, SIZE), 55, np.uint8), UTM, PLACED)
    pixels, _, notes = _cut(path)
    assert (pixels == 55).all()
    assert notes == ("one band of grey",)


def test_alpha_is_validity_not_colour(tmp_path: Path) -> None:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, SIZE // 2 :] = 255
    bands = np.stack([np.full((SIZE, SIZE), 200, np.uint8)] * 3 + [alpha])
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED, photometric="RGB", alpha="YES")
    pixels, share, _ = _cut(path)
    assert share == pytest.approx(0.5, abs=0.02)
    assert (pixels[:, :15] == 0).all()
    assert (pixels[:, 17:] == 200).all()  # nothing darkens towards the edge


@pytest.mark.parametrize("how", ["nodata", "mask"])
def test_nodata_and_masks(tmp_path: Path, how: str) -> None:
    bands = np.full((3, SIZE, SIZE), 120, np.uint8)
    more = {}
    if how == "nodata":
        bands[:, : SIZE // 2] = 7
        more["nodata"] = 7
    else:
        mask = np.full((SIZE, SIZE), 255, np.uint8)
        mask[: SIZE // 2] = 0
        more["mask"] = mask
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED, photometric="RGB", **more)
    pixels, share, _ = _cut(path)
    assert share == pytest.approx(0.5, abs=0.02)
    assert (pixels[:15] == 0).all()
    assert (pixels[17:] == 120).all()


def test_floats_without_a_number_are_gaps(tmp_path: Path) -> None:
    bands = np.stack([_ramp(0.2, 0.8, "float32")] * 3)
    bands[1, :, : SIZE // 2] = np.nan
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED)
    pixels, share, notes = _cut(path)
    assert share == pytest.approx(0.5, abs=0.02)
    assert (pixels[:, :15] == 0).all()
    expected = _ramp(0.2, 0.8, "float64")[0, 34:48] * 255
    assert np.abs(pixels[10, 18:, 0] - expected).max() <= 1.5
    assert any("0 to 1" in note for note in notes)


@pytest.mark.parametrize("kind", ["uint16", "int16", "float32", "float64", "uint32"])
def test_wider_values_are_stretched_and_that_is_said(tmp_path: Path, kind: str) -> None:
    bands = np.stack([_ramp(300, 3000, kind), _ramp(100, 900, kind), _ramp(5000, 5001, kind)])
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED)
    pixels, _, notes = _cut(path)
    row = pixels[16].astype(int)
    assert (np.diff(row[:, 0]) >= 0).all()
    assert row[0, 0] == pytest.approx(62, abs=4)  # a quarter of the way
    assert row[-1, 1] == pytest.approx(192, abs=4)
    assert any(kind in note and "percentile" in note for note in notes)


def test_wider_values_that_are_eight_bit_stay(tmp_path: Path) -> None:
    bands = np.stack([_ramp(0, 255, "uint16").astype(int)] * 3).astype(np.uint16)
    path = write_raster(tmp_path / "a.tif", bands, UTM, PLACED)
    pixels, _, notes = _cut(path)
    assert np.abs(pixels[16, :, 0].astype(int) - bands[0, 0, 16:48]).max() <= 2
    assert any("8-bit" in note for note in notes)


def test_colour_tables(tmp_path: Path) -> None:
    classes = np.zeros((1, SIZE, SIZE), np.uint8)
    classes[:, :, SIZE // 2 :] = 3
    colours = {0: (1, 2, 3, 255), 3: (200, 100, 50, 255)}
    path = write_raster(
        tmp_path / "a.tif", classes, UTM, PLACED, photometric="PALETTE", colormap=colours
    )
    pixels, _, notes = _cut(path)
    assert (pixels[:, :15] == (1, 2, 3)).all()
    assert (pixels[:, 17:] == (200, 100, 50)).all()
    assert notes == ("colours from the file's colour table",)


def test_facts_of_the_real_files(realdata: Path) -> None:
    expected = {
        "201404_13SED190110_201404_0x1500m_CL_1_alpha.tif": ("EPSG:26913", 38.9536, -104.7750),
        "drone_32632_006m.tif": ("EPSG:32632", 0.33854, 6.72761),
        "netherlands_28992_025m.tif": ("EPSG:28992", 51.84103, 4.98816),
        "rotterdam_4band_float64_1m.tif": ("EPSG:32631", 51.87052, 4.35693),
    }
    for name, (crs, lat, lon) in expected.items():
        with open_imagery(realdata / "geotiff" / name) as source:
            assert source.crs == crs
            assert source.bounds.centre == pytest.approx((lat, lon), abs=2e-4)
            assert source.name == Path(name).stem


def test_the_three_colorado_files_show_the_same_ground(realdata: Path) -> None:
    tiles = []
    for ending in ("", "_alpha", "_nodata"):
        name = f"201404_13SED190110_201404_0x1500m_CL_1{ending}.tif"
        with open_imagery(realdata / "geotiff" / name) as source:
            lat, lon = source.bounds.centre
            tiles.append(source.cut(lat, lon, 16.0, 64)[0].astype(int))
    assert np.abs(tiles[0] - tiles[1]).mean() < 1
    assert np.abs(tiles[0] - tiles[2]).mean() < 3  # lossy, and black pixels are gaps there


def test_a_path_with_spaces_and_other_letters(tmp_path: Path) -> None:
    folder = tmp_path / "Luftbild Größe 東京 ортофото"
    folder.mkdir()
    path = write_raster(folder / "ein Bild !@#%.tif", np.full((3, 8, 8), 9, "u1"), UTM, PLACED)
    with open_imagery(path) as source:
        assert source.name == "ein Bild !@#%"


def test_fingerprints_tell_files_apart_wherever_they_lie(tmp_path: Path) -> None:
    one = write_raster(tmp_path / "a.tif", np.full((3, SIZE, SIZE), 9, "u1"), UTM, PLACED)
    two = write_raster(tmp_path / "b.tif", np.full((3, SIZE, SIZE), 8, "u1"), UTM, PLACED)
    copy = Path(shutil.copy(one, tmp_path / "c.tif"))
    prints = [open_imagery(path).fingerprint() for path in (one, two, copy)]
    assert prints[0] == prints[2] != prints[1]
    assert len(prints[0]) == 64


def test_many_threads_may_cut_at_once(realdata: Path) -> None:
    with open_imagery(realdata / "geotiff" / "netherlands_28992_025m.tif") as source:
        lat, lon = source.bounds.centre
        expected = source.cut(lat, lon, 40.0, 80)[0]
        wrong: list[object] = []

        def work() -> None:
            for _ in range(5):
                try:
                    if not (source.cut(lat, lon, 40.0, 80)[0] == expected).all():
                        wrong.append("pixels")
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def _refused(path: Path) -> str:
    with pytest.raises(ImageryError) as caught:
        open_imagery(path).cut(LAT, LON, 32.0, 32)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_files_that_are_no_imagery(tmp_path: Path) -> None:
    text = tmp_path / "text.tif"
    text.write_text("this is a letter, not a picture")
    assert "cannot be read as a GeoTIFF" in _refused(text)
    empty = tmp_path / "empty.tif"
    empty.touch()
    assert "cannot be read as a GeoTIFF" in _refused(empty)
    assert "no such imagery" in _refused(tmp_path / "missing.tif")
    other = tmp_path / "notes.txt"
    other.write_text("x")
    assert "no imagery that Nadir reads" in _refused(other)
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    assert "folder is no imagery" in _refused(folder)


def test_other_formats_under_the_name_of_a_tiff(tmp_path: Path) -> None:
    """A VRT could name any file or address; it is not opened as one."""
    real = write_raster(tmp_path / "a.tif", np.full((3, SIZE, SIZE), 9, "u1"), UTM, PLACED)
    vrt = tmp_path / "b.tif"
    vrt.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>0,1,0,0,0,-1</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{real}</SourceFilename><SourceBand>1</SourceBand>"
        f"</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    assert "cannot be read as a GeoTIFF" in _refused(vrt)


def test_a_truncated_file(tmp_path: Path, realdata: Path) -> None:
    whole = (realdata / "geotiff" / "netherlands_28992_025m.tif").read_bytes()
    path = tmp_path / "half.tif"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageryError, match=r"half\.tif: .*damaged or incomplete"):
        source = open_imagery(path)
        for step in np.linspace(-100, 100, 9):
            source.cut(51.84103 + step / 111_000, 4.98816, 50.0, 50)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_without_a_place(tmp_path: Path) -> None:
    bands = np.full((3, SIZE, SIZE), 9, np.uint8)
    with rasterio.open(
        tmp_path / "plain.tif", "w", driver="GTiff", width=SIZE, height=SIZE, count=3, dtype="uint8"
    ) as file:
        file.write(bands)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "no coordinates" in _refused(tmp_path / "plain.tif")
    nowhere = write_raster(
        tmp_path / "nowhere.tif", bands, CRS.from_epsg(4326), Affine(1, 0, 5000, 0, -1, 9000)
    )
    assert "do not lie on the Earth" in _refused(nowhere)


def test_a_local_plane_is_nowhere_on_the_earth(tmp_path: Path) -> None:
    plane = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    path = write_raster(tmp_path / "site.tif", np.full((3, 8, 8), 9, "u1"), plane, PLACED)
    assert "site.tif" in _refused(path)


def test_one_huge_compressed_piece_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=30_000,
        height=30_000,
        count=1,
        dtype="uint8",
        crs=UTM,
        transform=PLACED,
        compress="deflate",
        tiled=True,
        blockxsize=30_000,
        blockysize=30_000,
        sparse_ok=True,
    ):
        pass
    assert path.stat().st_size < 10_000
    assert "cannot be read part by part" in _refused(path)


def test_ground_control_points_alone_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "points.tif"
    points = [
        GroundControlPoint(row, column, 9.0 + column / 1e4, 45.0 - row / 1e4)
        for row, column in ((0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE))
    ]
    with rasterio.open(
        path, "w", driver="GTiff", width=SIZE, height=SIZE, count=3, dtype="uint8", crs=None
    ) as file:
        file.write(np.full((3, SIZE, SIZE), 9, np.uint8))
        file.gcps = (points, CRS.from_epsg(4326))
    assert "ground control points" in _refused(path)
    assert "gdalwarp" in _refused(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_half_a_place_is_said_which_half(tmp_path: Path) -> None:
    bands = np.full((3, SIZE, SIZE), 9, np.uint8)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=SIZE,
        height=SIZE,
        count=3,
        dtype="uint8",
        transform=PLACED,
    ) as file:
        file.write(bands)
    assert "no coordinate system" in _refused(tmp_path / "a.tif")
    with rasterio.open(
        tmp_path / "b.tif",
        "w",
        driver="GTiff",
        width=SIZE,
        height=SIZE,
        count=3,
        dtype="uint8",
        crs=UTM,
    ) as file:
        file.write(bands)
    assert "no transform" in _refused(tmp_path / "b.tif")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_world_file_places_a_picture(tmp_path: Path) -> None:
    plain = tmp_path / "a.tif"
    shape = {"width": SIZE, "height": SIZE, "count": 3, "dtype": "uint8"}
    with rasterio.open(plain, "w", driver="GTiff", crs=UTM, **shape) as file:
        file.write(np.full((3, SIZE, SIZE), 9, np.uint8))
    t = PLACED
    corner = t @ (0.5, 0.5)
    plain.with_suffix(".tfw").write_text(
        "\n".join(map(repr, (t.a, t.d, t.b, t.e, corner[0], corner[1])))
    )
    with open_imagery(plain) as source:
        assert source.bounds.centre == pytest.approx((LAT, LON), abs=1e-6)


def test_values_that_are_no_colours(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((1, 8, 8), np.complex64), UTM, PLACED)
    assert "complex numbers" in _refused(path)


@pytest.mark.parametrize("kind", ["int8", "int32", "uint32", "float32", "uint16"])
def test_one_band_of_any_kind_and_five_of_them(tmp_path: Path, kind: str) -> None:
    for count in (1, 2, 5):
        bands = np.stack([_ramp(1, 100, kind)] * count)
        pixels, share, _ = _cut(write_raster(tmp_path / f"{count}.tif", bands, UTM, PLACED))
        assert share == 1
        assert (np.diff(pixels[16, :, 0].astype(int)) >= 0).all() and np.ptp(pixels) > 20


def test_grey_with_alpha(tmp_path: Path) -> None:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, SIZE // 2 :] = 255
    bands = np.stack([np.full((SIZE, SIZE), 77, np.uint8), alpha])
    path = write_raster(
        tmp_path / "a.tif", bands, UTM, PLACED, photometric="MINISBLACK", alpha="YES"
    )
    pixels, share, _ = _cut(path)
    assert share == pytest.approx(0.5, abs=0.02)
    assert (pixels[:, 17:] == 77).all()


def test_a_claim_of_a_huge_raster_costs_nothing(tmp_path: Path) -> None:
    """Sparse, a million pixels a side: what is asked for is read, and no more."""
    path = tmp_path / "claim.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=1_000_000,
        height=1_000_000,
        count=3,
        dtype="uint8",
        crs=UTM,
        transform=raster_transform(UTM, LAT, LON, 0.3, 1_000_000),
        tiled=True,
        compress="deflate",
        sparse_ok=True,
        bigtiff="YES",
        blockxsize=4096,
        blockysize=4096,
    ):
        pass
    before = psutil.Process().memory_info().rss
    with open_imagery(path) as source:
        for extent in (50.0, 5_000.0):
            _, share = source.cut(LAT, LON, extent, 64)
            assert share == 1
    assert psutil.Process().memory_info().rss - before < 900e6


def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((3, SIZE, SIZE), 9, "u1"), UTM, PLACED)
    source = open_imagery(path)
    path.unlink()
    source.close()
    with pytest.raises(ImageryError, match=r"a\.tif: it can no longer be read"):
        source.fingerprint()
    with pytest.raises(ImageryError):
        source.cut(LAT, LON, 8.0, 8)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_files_with_anything_changed_in_them_are_read_or_refused(tmp_path_factory, data) -> None:
    """No crash, no endless work, no other error; a file and a folder that has it."""
    folder = tmp_path_factory.mktemp("bent")
    bands = np.random.default_rng(0).integers(0, 255, (3, 40, 40), dtype=np.uint8)
    compress = data.draw(st.sampled_from(["none", "deflate", "lzw", "jpeg", "packbits"]))
    good = write_raster(
        folder / "good.tif", bands, UTM, raster_transform(UTM, LAT, LON, 1.0, 40), compress=compress
    )
    raw = bytearray(good.read_bytes())
    head = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(raw), 700 if head else len(raw)) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    (folder / "bent.tif").write_bytes(bytes(raw))
    for path in (folder / "bent.tif", folder):
        try:
            with open_imagery(path) as source:
                tile, share = source.cut(LAT, LON, 30.0, 16)
                source.cut(LAT, LON, 600.0, 16)
            assert tile.shape == (16, 16, 3) and 0 <= share <= 1
        except ImageryError as error:
            assert error.path is not None and "\n" not in str(error)
