"""VRTs and other files from strangers: what is harmless is read as it should be, everything else is refused."""

from __future__ import annotations

import contextlib
import http.server
import multiprocessing
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import psutil
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import Resampling

from engine.errors import ImageryError
from engine.imagery import open_imagery
from engine.imagery.vrt import open_vrt
from tests.engine.imagery.rasters import raster_transform, write_raster

LAT, LON, SIZE = 45.0, 9.0, 64
UTM = CRS.from_epsg(32632)
PLACED = raster_transform(UTM, LAT, LON, 1.0, SIZE)
COLOURS = ("Red", "Green", "Blue")


def _source(
    name: str, band: int, box: tuple[float, ...], more: str = "", kind: str = "Simple"
) -> str:
    left, top, right, bottom = box
    return (
        f'<{kind}Source><SourceFilename relativeToVRT="1">{escape(name)}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{SIZE}" ySize="{SIZE}"/>'
        f'<DstRect xOff="{left}" yOff="{top}" xSize="{right - left}" ySize="{bottom - top}"/>'
        f"{more}</{kind}Source>"
    )


def _vrt(
    sources: Callable[[int], str],
    *,
    columns: int = SIZE,
    rows: int = SIZE,
    band_more: str = "",
    more: str = "",
    top: str = "",
) -> str:
    t = PLACED
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{b}"{band_more}><ColorInterp>{COLOURS[b - 1]}</ColorInterp>'
        f"{sources(b)}</VRTRasterBand>"
        for b in (1, 2, 3)
    )
    return (
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}"{top}><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>{t.c}, {t.a}, {t.b}, {t.f}, {t.d}, {t.e}</GeoTransform>{more}{bands}</VRTDataset>"
    )


@pytest.fixture
def tif(tmp_path: Path) -> Path:
    bands = np.random.default_rng(1).integers(1, 255, (3, SIZE, SIZE), dtype=np.uint8)
    return write_raster(tmp_path / "a & b.tif", bands, UTM, PLACED, photometric="RGB")


def _write(folder: Path, text: str, name: str = "a.vrt") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_vrt_is_read_as_its_files(tif: Path) -> None:
    path = _write(tif.parent, _vrt(lambda b: _source(tif.name, b, (0, 0, SIZE, SIZE))))
    with open_imagery(path) as vrt, open_imagery(tif) as plain:
        assert (vrt.crs, vrt.name, vrt.bounds) == ("EPSG:32632", "a", plain.bounds)
        expected = plain.cut(LAT, LON, 40.0, 57)
        found = vrt.cut(LAT, LON, 40.0, 57)
        assert (found[0] == expected[0]).all() and found[1] == expected[1] == 1
        vrt.write_copy(tif.parent / "copy.tif", vrt.bounds)
    with rasterio.open(tif.parent / "copy.tif") as copy:
        assert copy.driver == "GTiff" and copy.transform.almost_equals(PLACED)


def test_what_gdal_itself_writes_is_read(tmp_path: Path, realdata: Path) -> None:
    """Translated and warped by rasterio's own means, with scales and nodata."""
    from rasterio.shutil import copy

    name = "201404_13SED190110_201404_0x1500m_CL_1_nodata.tif"
    data = tmp_path / "sub" / name
    data.parent.mkdir()
    data.write_bytes((realdata / "geotiff" / name).read_bytes())
    copy(data, tmp_path / "by_gdal.vrt", driver="VRT")
    with open_imagery(tmp_path / "by_gdal.vrt") as vrt, open_imagery(data) as plain:
        lat, lon = plain.bounds.centre
        for extent, pixels in ((30.0, 100), (57.0, 60)):
            expected, found = plain.cut(lat, lon, extent, pixels), vrt.cut(lat, lon, extent, pixels)
            assert found[1] == pytest.approx(expected[1], abs=0.002)
            assert np.abs(found[0].astype(int) - expected[0]).mean() < 1


def test_placing_scaling_nodata_and_gaps(tif: Path) -> None:
    """One file in the left half, scaled to half its size; the rest is empty."""

    def sources(band: int) -> str:
        more = "<NODATA>0</NODATA><ScaleOffset>10</ScaleOffset><ScaleRatio>0.5</ScaleRatio>"
        return "<NoDataValue>0</NoDataValue>" + _source(
            tif.name, band, (0, 16, SIZE / 2, 16 + SIZE / 2), more, "Complex"
        )

    with open_imagery(_write(tif.parent, _vrt(sources))) as vrt:
        tile, share = vrt.cut(LAT, LON, 60.0, 60)
    assert share == pytest.approx(30 * 32 / 60**2, abs=0.02)
    assert not tile[:, 32:].any()
    assert 10 <= tile[20:40, 5:25].min() and tile[20:40, 5:25].max() <= 138


def test_masks_of_a_vrt(tif: Path) -> None:
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:20] = 0
    masked = write_raster(
        tif.parent / "m.tif", np.full((3, SIZE, SIZE), 99, np.uint8), UTM, PLACED, mask=mask
    )
    band = _source(masked.name, 1, (0, 0, SIZE, SIZE)).replace(
        "<SourceBand>1", "<SourceBand>mask,1"
    )
    inner = f'<MaskBand><VRTRasterBand dataType="Byte">{band}</VRTRasterBand></MaskBand>'
    text = _vrt(lambda b: _source(masked.name, b, (0, 0, SIZE, SIZE)), more=inner)
    with open_imagery(_write(tif.parent, text)) as vrt:
        _, share = vrt.cut(LAT, LON, 64.0, 64)
    assert share == pytest.approx(44 / 64, abs=0.02)


def test_fingerprint_of_a_vrt_is_of_its_files(tif: Path) -> None:
    path = _write(tif.parent, _vrt(lambda b: _source(tif.name, b, (0, 0, SIZE, SIZE))))
    first = open_vrt(path).fingerprint()
    assert open_vrt(path).fingerprint() == first
    bands = np.full((3, SIZE, SIZE), 9, np.uint8)
    write_raster(tif, bands, UTM, PLACED, photometric="RGB")
    assert open_vrt(path).fingerprint() != first


def test_many_threads_may_read_a_vrt(tif: Path) -> None:
    path = _write(tif.parent, _vrt(lambda b: _source(tif.name, b, (0, 0, SIZE, SIZE))))
    wrong: list[object] = []
    with open_imagery(path) as vrt:
        expected = vrt.cut(LAT, LON, 40.0, 57)[0]

        def work() -> None:
            for _ in range(20):
                if not (vrt.cut(LAT, LON, 40.0, 57)[0] == expected).all():
                    wrong.append("pixels")

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def _plain(name: str) -> Callable[[int], str]:
    return lambda b: _source(name, b, (0, 0, SIZE, SIZE))


HOSTILE = {
    "a file outside its folder": (_vrt(_plain("../a.tif")), "lies outside its folder"),
    "an absolute path": (_vrt(_plain("/etc/hostname")), "outside its folder"),
    "an address": (_vrt(_plain("https://example.com/a.tif")), "no file in its folder"),
    "a file system of GDAL": (_vrt(_plain("/vsicurl/http://a/b.tif")), "no file in its folder"),
    "a description in place of a file": (
        _vrt(_plain('<VRTDataset rasterXSize="9" rasterYSize="9"/>')),
        "no file in its folder",
    ),
    "a service": (_vrt(_plain("WMS:http://a/")), "no file in its folder"),
    "itself": (_vrt(_plain("a.vrt")), "is a VRT itself"),
    "no raster": (_vrt(_plain("notes.txt")), "is no GeoTIFF"),
    "a missing file": (_vrt(_plain("c.tif")), "is missing"),
    "a folder": (_vrt(_plain(".")), "is missing"),
    "a link that leads out": (_vrt(_plain("link.tif")), "outside its folder"),
    "no name": (_vrt(_plain("")), "names nothing"),
    "code": (
        _vrt(
            lambda b: (
                "<PixelFunctionType>f</PixelFunctionType>"
                "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
            ),
            band_more=' subClass="VRTDerivedRasterBand"',
        ),
        "VRTDerivedRasterBand",
    ),
    "code without saying so": (
        _vrt(lambda b: "<PixelFunctionCode>import os</PixelFunctionCode>"),
        "PixelFunctionCode",
    ),
    "raw bytes of any file": (
        _vrt(
            lambda b: "<SourceFilename>/etc/passwd</SourceFilename>",
            band_more=' subClass="VRTRawRasterBand"',
        ),
        "VRTRawRasterBand",
    ),
    "a warp": (_vrt(_plain("a.tif"), top=' subClass="VRTWarpedDataset"'), "VRTWarpedDataset"),
    "open options": (
        _vrt(lambda b: _source("a & b.tif", b, (0, 0, 9, 9), "<OpenOptions/>")),
        "OpenOptions",
    ),
    "entities": (
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]>' + _vrt(_plain("a & b.tif")),
        "entities",
    ),
    "a size that is none": (_vrt(_plain("a & b.tif"), columns=-5), "rasterXSize"),
    "a size beyond counting": (_vrt(_plain("a & b.tif"), columns=10**12), "rasterXSize"),
    "places that are no numbers": (
        _vrt(lambda b: _source("a & b.tif", b, (0, 0, float("nan"), 9))),
        "where a number belongs",
    ),
    "no bands": ('<VRTDataset rasterXSize="9" rasterYSize="9"/>', "no bands"),
    "another kind of file": ("<GDAL_WMS/>", "describes none"),
    "no XML": ("hello", "cannot be read as a VRT"),
    "an empty file": ("", "cannot be read as a VRT"),
    "half a file": (_vrt(_plain("a & b.tif"))[:300], "cannot be read as a VRT"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_strangers_vrt_must_not_do(tif: Path, what: str) -> None:
    text, message = HOSTILE[what]
    folder = tif.parent
    (folder / "notes.txt").write_text("a letter")
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "b.tif").write_bytes(tif.read_bytes())
    (folder.parent / "a.tif").write_bytes(tif.read_bytes())
    os.symlink(outside / "b.tif", folder / "link.tif")
    with pytest.raises(ImageryError, match=message) as caught:
        open_imagery(_write(folder, text))
    assert str(caught.value).startswith("a.vrt: ") and "\n" not in str(caught.value)


def test_a_vrt_without_a_place(tif: Path) -> None:
    text = _vrt(_plain(tif.name))
    for tag, message in (("SRS", "no coordinate system"), ("GeoTransform", "no transform")):
        start, end = text.index(f"<{tag}>"), text.index(f"</{tag}>") + len(tag) + 3
        with pytest.raises(ImageryError, match=message):
            open_imagery(_write(tif.parent, text[:start] + text[end:]))
    gcps = text[:start] + "<GCPList><GCP/></GCPList>" + text[end:]
    with pytest.raises(ImageryError, match=r"ground control points.*Georeference it"):
        open_imagery(_write(tif.parent, gcps))


def test_a_vrt_that_claims_to_be_huge_costs_nothing(tif: Path) -> None:
    text = _vrt(_plain(tif.name), columns=2_000_000, rows=2_000_000)
    before = psutil.Process().memory_info().rss
    with open_imagery(_write(tif.parent, text)) as vrt:
        _, share = vrt.cut(LAT, LON, 64.0, 64)
        assert share == pytest.approx(1, abs=0.01)
        vrt.cut(*vrt.bounds.centre, 50_000.0, 64)
    assert psutil.Process().memory_info().rss - before < 300e6


def test_a_damaged_file_of_a_vrt_is_told(tif: Path) -> None:
    path = _write(tif.parent, _vrt(_plain(tif.name)))
    tif.write_bytes(tif.read_bytes()[:200])
    with pytest.raises(ImageryError, match="damaged"):
        open_imagery(path).cut(LAT, LON, 40.0, 40)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_vrts_with_anything_changed_in_them_are_read_or_refused(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("vrt")
    bands = np.full((3, SIZE, SIZE), 9, np.uint8)
    write_raster(folder / "a.tif", bands, UTM, PLACED, photometric="RGB")
    text = _vrt(_plain("a.tif"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 12))
        put = data.draw(st.text(max_size=6) | st.sampled_from(["-1", "9e99", "/", "<a/>", "\0"]))
        text = text[:at] + put + text[at + length :]
    path = folder / "a.vrt"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        with open_imagery(path) as source:
            tile, share = source.cut(LAT, LON, 30.0, 16)
        assert tile.shape == (16, 16, 3) and 0 <= share <= 1
    except ImageryError as error:
        assert error.path is not None


# --- GeoTIFFs that would reach the network -------------------------------------------------------------------------


def _listen(address: multiprocessing.Queue, asked: multiprocessing.Queue) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.put(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    address.put(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, multiprocessing.Queue]]:
    """The address of a web server in a process of its own (GDAL may hold this one's lock), and what was asked of it."""
    context = multiprocessing.get_context("spawn")
    address, asked = context.Queue(), context.Queue()
    process = context.Process(target=_listen, args=(address, asked), daemon=True)
    process.start()
    try:
        yield address.get(timeout=60), asked
    finally:
        process.terminate()
        process.join()


def _service(address: str) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/${{z}}/${{x}}/${{y}}</ServerUrl></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>32</UpperLeftY><LowerRightX>32</LowerRightX>"
        "<LowerRightY>0</LowerRightY><SizeX>32</SizeX><SizeY>32</SizeY><TileLevel>0</TileLevel></DataWindow>"
        "<BandsCount>3</BandsCount><BlockSizeX>32</BlockSizeX><BlockSizeY>32</BlockSizeY></GDAL_WMS>"
    )


@pytest.mark.parametrize("how", ["address", "service", "aux", ".ovr", ".msk", "in a folder", "vrt"])
@pytest.mark.parametrize("checked", [True, False])
def test_no_raster_reaches_the_network(
    tif: Path, server, how: str, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused; and were it not, GDAL would not be able to."""
    address, asked = server
    beside = {".ovr": tif.with_name(tif.name + ".ovr"), ".msk": tif.with_name(tif.name + ".msk")}
    folder = tif.parent / "folder"
    opened = tif
    if how in beside:
        beside[how].write_text(_service(address))
    elif how == "aux":
        named = f'<MDI key="OVERVIEW_FILE">/vsicurl/{address}/a.tif</MDI>'
        text = f'<PAMDataset><Metadata domain="OVERVIEWS">{named}</Metadata></PAMDataset>'
        tif.with_name(tif.name + ".aux.xml").write_text(text)
    else:
        with rasterio.open(tif, "r+") as file:
            where = f"/vsicurl/{address}/a.tif" if how != "service" else _service(address)
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=where)
        if how == "in a folder":
            folder.mkdir()
            for name in ("1.tif", "2.tif"):
                (folder / name).write_bytes(tif.read_bytes())
            opened = folder
        elif how == "vrt":
            opened = _write(tif.parent, _vrt(_plain(tif.name)))
    if not checked:
        monkeypatch.setattr("engine.imagery.facts.check_beside", lambda path: None)
        monkeypatch.setattr("engine.imagery.facts.check_dataset", lambda path, dataset: None)
    try:
        with open_imagery(opened) as source:
            source.cut(LAT, LON, 60.0, 16)
        refused = False
    except ImageryError:
        refused = True
    assert refused or not checked
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}/the-test-itself", timeout=30)
    assert asked.get(timeout=30) == "/the-test-itself"


def test_overviews_and_masks_beside_a_file_are_used(tmp_path: Path) -> None:
    bands = np.full((3, 512, 512), 100, np.uint8)
    placed = raster_transform(UTM, LAT, LON, 1.0, 512)
    path = write_raster(tmp_path / "a.tif", bands, UTM, placed, photometric="RGB")
    mask = np.full((512, 512), 255, np.uint8)
    mask[:256] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False, TIFF_USE_OVR=True):
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
            file.build_overviews([2, 4, 8], Resampling.average)
    assert (tmp_path / "a.tif.msk").exists() and (tmp_path / "a.tif.ovr").exists()
    with rasterio.open(tmp_path / "a.tif.ovr", "r+") as overview:  # to be seen in what is read
        overview.write(np.full((3, 256, 256), 180, np.uint8))
    with open_imagery(path) as source:
        for pixels, value in ((256, 180), (512, 100)):
            tile, share = source.cut(LAT, LON, 512.0, pixels)
            assert share == pytest.approx(0.5, abs=0.01)
            lower = tile[pixels * 5 // 8 : pixels * 7 // 8, pixels // 4 : pixels * 3 // 4]
            assert np.abs(lower.astype(int) - value).max() <= 1
