"""The terms and versions of what lies inside the frozen program: texts, copies of one library, the browser engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from freeze import licences, sbom, vendored

_FILES = (
    *("curl", "icudata", "sqlite3", "bz2", "freetype", "png16", "tiff", "lzma", "z", "pcre2-8", "openjp2", "gdal"),
    *("jpeg62", "webp", "lcms2", "harfbuzz", "avif", "brotlidec", "xcb", "openblas", "gfortran", "expat", "geotiff"),
    *("spatialite", "freexl", "iconv", "pq", "xml2", "minizip", "qhull_r", "omp", "ffi", "mpdec", "proj", "geos"),
    *("hdf5", "netcdf", "ssl", "nghttp2", "zstd", "blosc", "Lerc", "json-c", "gif", "aec", "deflate"),
)  # fmt: skip


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with nothing of the building system in it."""
    monkeypatch.setattr(licences, "package_of", lambda _: None)
    folder = tmp_path / "_internal"
    for library, words in {
        "pillow.libs/libtiff-20b7e810.so.6.3.0": "LIBTIFF, Version 4.7.2",
        "rasterio.libs/libtiff-fb65e6fb.so.6.2.0": "LIBTIFF, Version 4.7.1",
        "rasterio.libs/libcrypto-b2553312.so.3": "OpenSSL 3.6.0 1 Oct 2025",
        "rasterio.libs/libssl-c190842d.so.3": "",
        "rasterio.libs/libgdal-c8c9c467.so.36.3.10.3": "",
        "rasterio.libs/libaec-d4978cbd.so.0.1.3": "",
        "rasterio.libs/libsz-582805cb.so.2.0.1": "",
        "libcrypto.so.3": "OpenSSL 3.0.19 27 Jan 2026",
        "PySide6/Qt/lib/libQt6Core.so.6": "",
        "PySide6/Qt/lib/libQt6WebEngineCore.so.6": "Mozilla/5.0 Chrome/140.0.7339.264 Safari",
    }.items():
        (folder / library).parent.mkdir(parents=True, exist_ok=True)
        (folder / library).write_text(words)
    return folder


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("libjpeg-799ada35.so.9.6.0", "libjpeg"),
        ("libjpeg.9.dylib", "libjpeg"),
        ("libjpeg-6dc8d115.so.62.4.0", "libjpeg-turbo"),
        ("libjpeg.so.8", "libjpeg-turbo"),
        ("libjpeg.62.4.0.dylib", "libjpeg-turbo"),
        ("jpeg62.dll", "libjpeg-turbo"),
    ],
)
def test_the_two_libjpegs_are_told_apart(file: str, title: str) -> None:
    found = vendored.vendored(file)
    assert found is not None and found.title == title


@pytest.mark.parametrize("name", _FILES)
def test_every_library_has_its_terms_whole(name: str, tmp_path: Path) -> None:
    library = tmp_path / "a.libs" / f"lib{name}.so.1"
    library.parent.mkdir()
    library.write_bytes(b"")
    (part,), unknown = licences.libraries(tmp_path)
    assert not unknown and len(part.text) > 250
    assert any(word in part.text for word in ("WARRANT", "warranty", "blessing", "MERCHANTABILITY"))


def test_no_text_is_kept_for_nothing() -> None:
    kept = {path.stem for path in (licences.TEXTS / "parts").iterdir()}
    used = {path.stem for known in vendored.all_known() if (path := known.file).is_file()}
    assert kept == used


def test_copies_of_one_library_are_told_with_their_versions(program: Path) -> None:
    parts, unknown = licences.libraries(program)
    assert not unknown
    told = sorted((p.name, p.version) for p in parts)
    assert [version for name, version in told if name == "libtiff"] == ["4.7.1", "4.7.2"]
    assert [version for name, version in told if name == "OpenSSL"] == ["3.0.19", "3.6.0"]
    assert ("GDAL", "3.10.3") in told and ("libaec", "so 0.1.3") in told
    made = sbom.bill(parts, "1.0", program)["components"]
    refs = [component["bom-ref"] for component in made]
    assert len(refs) == len(set(refs))
    versions = {c["name"]: c.get("version") for c in made}
    assert versions["Chromium (in Qt WebEngine)"] == "140.0.7339.264"


def test_the_browser_engine_brings_all_its_terms(program: Path) -> None:
    parts = {p.name: p.text for p in licences.libraries(program)[0]}
    text = parts["Chromium (in Qt WebEngine)"]
    assert "contains Chromium 140.0.7339.264" in text
    for words in (
        "The Chromium Authors",
        "third_party/ffmpeg",
        "GNU LESSER GENERAL PUBLIC LICENSE",
    ):
        assert words in text
    assert "Files: *" in parts["Code of others in Qt"]


def test_a_program_without_the_browser_engine_tells_nothing_of_it(tmp_path: Path) -> None:
    assert licences.libraries(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("words", "valid"),
    [
        ("MIT", True),
        ("IJG AND BSD-3-Clause", True),
        ("Apache-2.0 OR (BSD-2-Clause AND MIT)", True),
        ("GPL-3.0-or-later WITH GCC-exception-3.1 AND LGPL-2.1-or-later", True),
        ("LicenseRef-Microsoft-Visual-Cpp-Runtime", True),
        ("BSD", False),
        ("Expat", False),
        ("MIT License", False),
        ("MIT WITH kindness", False),
        ("(MIT", False),
        ("", False),
    ],
)
def test_licences_in_the_words_of_spdx(words: str, valid: bool) -> None:
    assert sbom.is_expression(words) is valid


def test_other_words_go_into_the_bill_as_a_name(tmp_path: Path) -> None:
    parts = [
        licences.Part("cligj", "0.7.2", "BSD", "python"),
        licences.Part("folium", "0.20.0", "MIT License", "python"),
    ]
    told = [c["licenses"] for c in sbom.bill(parts, "1.0", tmp_path)["components"]]
    assert told == [[{"license": {"name": "BSD"}}], [{"expression": "MIT"}]]


def test_every_licence_of_the_table_is_one_of_spdx() -> None:
    wrong = {
        known.licence for known in vendored.all_known() if not sbom.is_expression(known.licence)
    }
    assert not wrong
