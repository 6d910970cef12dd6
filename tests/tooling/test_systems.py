"""The rules for Windows and macOS, tried on small made-up files; packaging/check_systems.py tries them on the real."""

from __future__ import annotations

import io
import plistlib
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from freeze import plan, prune, sizes
from freeze.macho import MachFile
from freeze.macho_names import separate, with_names
from freeze.pe import PeFile
from freeze.vendored import vendored
from freeze.zipped import zip_folder
from systems.checks import entitlement_trouble, kinds_trouble, lacking, plist_trouble
from systems.links import is_of_the_system, walk
from systems.wheels import SYSTEMS, applies, pins

ROOT = Path(__file__).resolve().parents[2]
WEB = "PySide6/Qt/lib/QtWebEngineCore.framework/Versions/A"


def a_dll(needed: tuple[str, ...] = (), delayed: tuple[str, ...] = ()) -> bytes:
    """A library of Windows without code: one section, which holds what it is linked with."""
    first, start = 0x1000, 0x200
    tables = bytearray(20 * (len(needed) + 1) + 32 * (len(delayed) + 1))
    names = b""
    for n, name in enumerate((*needed, *delayed)):
        place = first + len(tables) + len(names)
        if n < len(needed):
            struct.pack_into("<I", tables, 20 * n + 12, place)
        else:
            later = 20 * (len(needed) + 1) + 32 * (n - len(needed))
            struct.pack_into("<II", tables, later, 1, place)
        names += name.encode() + b"\0"
    section = bytes(tables) + names
    head = bytearray(start)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x40)
    struct.pack_into("<4sHH12xHH", head, 0x40, b"PE\0\0", 0x8664, 1, 240, 0x2022)
    optional = 0x58
    struct.pack_into("<H", head, optional, 0x20B)
    struct.pack_into("<I", head, optional + 108, 16)
    struct.pack_into("<II", head, optional + 112 + 8, first, 20 * (len(needed) + 1))
    delays = first + 20 * (len(needed) + 1)
    struct.pack_into("<II", head, optional + 112 + 8 * 13, delays, 32 * (len(delayed) + 1))
    struct.pack_into("<8s4I", head, optional + 240, b".rdata", len(section), first, 0x200, start)
    return bytes(head) + section


def a_dylib(
    name: str,
    needed: tuple[str, ...] = (),
    weak: tuple[str, ...] = (),
    processor: int = 0x0100000C,
    minimum: tuple[int, int] = (14, 0),
) -> bytes:
    """A library of macOS without code."""
    made = []
    for kind, paths in ((0xD, (name,)), (0xC, needed), (0x80000018, weak)):
        for path in paths:
            text = path.encode() + b"\0"
            text += bytes(-len(text) % 8)
            made.append(struct.pack("<6I", kind, 24 + len(text), 24, 0, 0, 0) + text)
    made.append(struct.pack("<6I", 0x32, 24, 1, minimum[0] << 16 | minimum[1] << 8, 0, 0))
    content = b"".join(made)
    return struct.pack("<8I", 0xFEEDFACF, processor, 0, 6, len(made), len(content), 0, 0) + content


def for_both(arm: bytes, intel: bytes) -> bytes:
    """A file with a library for each processor."""
    head = struct.pack(">II", 0xCAFEBABE, 2)
    head += struct.pack(">5I", 0x01000007, 3, 64, len(intel), 0)
    head += struct.pack(">5I", 0x0100000C, 0, 64 + len(intel), len(arm), 0)
    return head.ljust(64, b"\0") + intel + arm


def put(folder: Path, files: dict[str, bytes]) -> list[prune.Entry]:
    """Files in a folder, as PyInstaller's entries."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [(name, str(folder / name), "BINARY") for name in files]


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("PySide6/QtWidgets.pyd", True),
        ("PySide6/QtCharts.pyd", False),
        ("PySide6/Qt6Core.dll", True),
        ("PySide6/Qt6WebEngineCore.dll", True),
        ("PySide6/QtWebEngineProcess.exe", True),
        ("PySide6/designer.exe", False),
        ("PySide6\\Qt6Gui.dll", True),
        ("PySide6/qt.conf", True),
        ("PySide6/pyside6.abi3.dll", True),
        ("PySide6/msvcp140.dll", True),
        ("PySide6/opengl32sw.dll", False),
        ("PySide6/avcodec-61.dll", False),
        ("PySide6/plugins/platforms/qwindows.dll", True),
        ("PySide6/plugins/platforms/qdirect2d.dll", False),
        ("PySide6/plugins/styles/qmodernwindowsstyle.dll", True),
        ("PySide6/plugins/imageformats/qjpeg.dll", True),
        ("PySide6/plugins/imageformats/qpdf.dll", False),
        ("PySide6/plugins/tls/qschannelbackend.dll", False),
        ("PySide6/resources/icudtl.dat", True),
        ("PySide6/resources/v8_context_snapshot.bin", True),
        ("PySide6/resources/v8_context_snapshot.debug.bin", False),
        ("PySide6/resources/qtwebengine_resources_200p.pak", True),
        ("PySide6/resources/qtwebengine_resources_200p.debug.pak", False),
        ("PySide6/translations/qtwebengine_locales/en-US.pak", True),
        ("PySide6/translations/qtwebengine_locales/fr.pak", False),
        ("PySide6/qml/QtQuick/qtquick2plugin.dll", False),
        ("onnxruntime/capi/onnxruntime.dll", False),
        ("onnxruntime/capi/onnxruntime_providers_shared.dll", True),
        ("onnxruntime/capi/onnxruntime_pybind11_state.pyd", True),
        ("faiss_cpu.libs/libopenblas.dll", True),
        ("rasterio/gdal_data/GDALConfig.cmake", False),
        ("PySide6/QtCore.abi3.so", True),
        ("PySide6/QtPdf.abi3.so", False),
        ("PySide6/libpyside6.abi3.6.11.dylib", True),
        ("PySide6/Qt/lib/QtCore.framework/Versions/A/QtCore", True),
        ("PySide6/Qt/lib/QtCore.framework/Versions/A/Resources/Info.plist", True),
        ("PySide6/Qt/lib/libavcodec.61.dylib", False),
        ("PySide6/Qt/plugins/platforms/libqcocoa.dylib", True),
        ("PySide6/Qt/plugins/platforms/libqminimal.dylib", False),
        ("PySide6/Qt/plugins/styles/libqmacstyle.dylib", True),
        (f"{WEB}/Helpers/QtWebEngineProcess.app/Contents/MacOS/QtWebEngineProcess", True),
        (f"{WEB}/Helpers/QtWebEngineProcess.app/Contents/Info.plist", True),
        (f"{WEB}/Resources/icudtl.dat", True),
        (f"{WEB}/Resources/qtwebengine_locales/en-US.pak", True),
        (f"{WEB}/Resources/qtwebengine_locales/de.pak", False),
        (f"{WEB}/Resources/qtwebengine_devtools_resources.pak", False),
        (f"{WEB}/Resources/v8_context_snapshot.arm64.bin", True),
        (f"{WEB}/Resources/v8_context_snapshot.x86_64.bin", False),
        ("onnxruntime/capi/libonnxruntime.1.31.1.dylib", False),
        ("rasterio/.dylibs/libgdal.36.3.10.3.dylib", True),
        ("QtCore", True),
    ],
)
def test_what_goes_into_the_program(name: str, goes: bool) -> None:
    assert prune.wanted(name, processor="arm64") is goes


def test_a_library_of_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.dll"
    path.write_bytes(a_dll(("KERNEL32.dll", "Qt6Core.dll"), ("mf.dll",)))
    assert PeFile.read(path) == PeFile("x86_64", ("KERNEL32.dll", "Qt6Core.dll"), ("mf.dll",))
    path.write_bytes(a_dll())
    assert PeFile.read(path) == PeFile("x86_64")


def test_a_library_of_macos_is_read(tmp_path: Path) -> None:
    links = ("/usr/lib/libSystem.B.dylib", "@rpath/QtGui.framework/Versions/A/QtGui")
    arm = a_dylib("@rpath/a.dylib", links, ("/opt/b.dylib",), minimum=(15, 1))
    path = tmp_path / "a.dylib"
    path.write_bytes(for_both(arm, a_dylib("@rpath/a.dylib", processor=0x01000007)))
    read = MachFile.read(path)
    assert read["arm64"] == MachFile("arm64", len(arm), links, ("/opt/b.dylib",), minimum=(15, 1))
    assert read["x86_64"].needed == ()


@pytest.mark.parametrize("content", [b"", b"MZ", a_dll()[:0x50], a_dylib("a")[:40], b"\x7fELF no"])
def test_damaged_files_are_told_of(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    for reader in (PeFile.read, MachFile.read):
        with pytest.raises(ValueError, match="damaged is no"):
            reader(path)
    assert prune.needed_by(path) == []


def test_qts_libraries_go_where_nothing_is_linked_with_them_on_windows(tmp_path: Path) -> None:
    entries = put(
        tmp_path,
        {
            "PySide6/QtGui.pyd": a_dll(("qt6gui.DLL", "pyside6.abi3.dll")),
            "PySide6/Qt6Gui.dll": a_dll(("KERNEL32.dll",), ("Qt6Core.dll",)),
            "PySide6/Qt6Core.dll": a_dll(),
            "PySide6/Qt6Pdf.dll": a_dll(("Qt6Core.dll",)),
            "PySide6/pyside6.abi3.dll": a_dll(),
            "PySide6/plugins/imageformats/qpdf.dll": a_dll(("Qt6Pdf.dll",)),
        },
    )
    kept = {Path(name).name for name, _, _ in prune.prune(entries)}
    assert kept == {"QtGui.pyd", "Qt6Gui.dll", "Qt6Core.dll", "pyside6.abi3.dll"}


def test_qts_frameworks_go_with_their_links_on_macos(tmp_path: Path) -> None:
    lib = "PySide6/Qt/lib"
    core = "@rpath/QtCore.framework/Versions/A/QtCore"
    entries = put(
        tmp_path,
        {
            "PySide6/QtCore.abi3.so": for_both(a_dylib("a", (core,)), a_dylib("a")),
            f"{lib}/QtCore.framework/Versions/A/QtCore": a_dylib(core),
            f"{lib}/QtPdf.framework/Versions/A/QtPdf": a_dylib("QtPdf", (core,)),
            f"{lib}/QtPdf.framework/Versions/A/Resources/Info.plist": b"",
        },
    )
    for name in ("QtCore", "QtPdf"):
        entries += [
            (name, f"{lib}/{name}.framework/Versions/A/{name}", "SYMLINK"),
            (f"{lib}/{name}.framework/Versions/Current", "A", "SYMLINK"),
        ]
    entries.append(("libavutil.59.dylib", f"{lib}/libavutil.59.dylib", "SYMLINK"))
    kept = [name for name, _, _ in prune.prune(entries)]
    assert kept == [
        "PySide6/QtCore.abi3.so",
        f"{lib}/QtCore.framework/Versions/A/QtCore",
        "QtCore",
        f"{lib}/QtCore.framework/Versions/Current",
    ]


def test_what_is_linked_with_something_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    everything = put(
        tmp_path,
        {
            "faiss/a.pyd": a_dll(
                ("KERNEL32.dll", "python312.dll", "b.dll", "c.dll", "msvcp140.dll")
            ),
            "faiss/b.dll": a_dll(("api-ms-win-crt-heap-l1-1-0.dll",), ("VCRUNTIME140.dll",)),
        },
    )
    found = walk(everything[:1], everything, tmp_path, "x86_64")
    assert found.trouble == [
        "faiss/a.pyd needs faiss/b.dll, which the rules have thrown away",
        "faiss/a.pyd needs c.dll, which nothing brings",
    ]
    assert found.runtime == {"msvcp140.dll": "faiss/a.pyd"}
    assert "is not for arm64" in walk(everything, everything, tmp_path, "arm64").trouble[0]


def test_the_newest_macos_that_a_file_asks_for_counts(tmp_path: Path) -> None:
    entries = put(
        tmp_path,
        {
            "x/a.so": a_dylib(
                "a", ("/usr/lib/libc++.1.dylib",), ("/opt/no.dylib",), minimum=(13, 3)
            ),
            "x/b.so": a_dylib("b", ("@loader_path/../y/c.dylib",), minimum=(11, 0)),
            "y/c.dylib": a_dylib("c"),
        },
    )
    found = walk(entries, entries, tmp_path, "arm64")
    assert found.trouble == [] and found.minimum == ((14, 0), "y/c.dylib")
    about = plan.facts(ROOT)
    assert plist_trouble(about, (13, 0), "x asks for") == []
    assert "99.0" in plist_trouble(about, (99, 0), "x asks for")[0]


@pytest.mark.parametrize(
    ("link", "brought"),
    [("KERNEL32.dll", True), ("api-ms-win-core-path-l1-1-0.dll", True), ("WINSPOOL.DRV", True)]
    + [("libpq.dll", False), ("/usr/lib/libz.1.dylib", True), ("/opt/homebrew/lib/a.dylib", False)]
    + [("/System/Library/Frameworks/AppKit.framework/Versions/C/AppKit", True)]
    + [("@rpath/QtCore.framework/Versions/A/QtCore", False)],
)
def test_what_the_systems_bring(link: str, brought: bool) -> None:
    assert is_of_the_system(link) is brought


def test_libraries_of_one_name_get_names_of_their_packages_on_macos(tmp_path: Path) -> None:
    tiff, png = "libtiff.6.dylib", "libpng16.16.dylib"
    entries = put(
        tmp_path / "site",
        {
            "PIL/_imaging.so": a_dylib("i", (f"@loader_path/.dylibs/{tiff}",)),
            "PIL/_other.so": a_dylib("o"),
            f"PIL/.dylibs/{tiff}": a_dylib(f"/x/{tiff}", (f"@loader_path/{png}",)),
            f"PIL/.dylibs/{png}": a_dylib(png),
            "rasterio/_io.so": a_dylib("r", (f"@loader_path/.dylibs/{tiff}",)),
            f"rasterio/.dylibs/{tiff}": a_dylib(tiff, ("@loader_path/libssl.3.dylib",)),
            "rasterio/.dylibs/libssl.3.dylib": a_dylib("libssl.3.dylib"),
            "libssl.3.dylib": a_dylib("libssl.3.dylib"),
        },
    )
    entries += [(tiff, f"PIL/.dylibs/{tiff}", "SYMLINK"), (png, f"PIL/.dylibs/{png}", "SYMLINK")]
    made = {name: (source, kind) for name, source, kind in separate(entries, tmp_path / "own")}
    assert len(made) == len(entries) + 2
    assert made[tiff] == (f"rasterio/.dylibs/{tiff}", "SYMLINK")
    assert made["piltiff.6.dylib"] == ("PIL/.dylibs/piltiff.6.dylib", "SYMLINK")
    assert made["rasssl.3.dylib"] == ("rasterio/.dylibs/rasssl.3.dylib", "SYMLINK")
    assert made[png] == (f"PIL/.dylibs/{png}", "SYMLINK")

    def links(name: str) -> list[str]:
        return prune.needed_by(made[name][0])

    assert links("PIL/_imaging.so") == ["@loader_path/.dylibs/piltiff.6.dylib"]
    assert links("PIL/.dylibs/piltiff.6.dylib") == [f"@loader_path/{png}"]
    assert b"/x/piltiff.6.dylib" in Path(made["PIL/.dylibs/piltiff.6.dylib"][0]).read_bytes()
    assert links("rasterio/_io.so") == [f"@loader_path/.dylibs/{tiff}"]
    assert links(f"rasterio/.dylibs/{tiff}") == ["@loader_path/rasssl.3.dylib"]
    assert made["PIL/_other.so"][0] == str(tmp_path / "site/PIL/_other.so")
    with pytest.raises(ValueError, match="not as long"):
        with_names(a_dylib("a.dylib"), {"a.dylib": "longer.dylib"})


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("tiff-64fb61019077ff395ffc6b457e78ad1a.dll", "libtiff"),
        ("libcrypto-3-x64-b41a9ee5911a26d694ac012f549c6e18.dll", "OpenSSL"),
        ("libscipy_openblas64_-63c857e738469261263c764a36be9436.dll", "OpenBLAS"),
        ("proj_9-ca80ab05fc4bd797757ac1e7be7bbe64.dll", "PROJ"),
        ("zlib1-fba5cd74fc7e185691361abdfc2c3984.dll", "zlib"),
        ("jpeg62-607a6fbae8bd0ffe37687a6a7090d6d4.dll", "libjpeg-turbo"),
        ("libjpeg.9.dylib", "libjpeg"),
        ("libjpeg.62.4.0.dylib", "libjpeg-turbo"),
        ("libz.1.3.1.zlib-ng.dylib", "zlib"),
        ("libgdal.36.3.10.3.dylib", "GDAL"),
        ("piltiff.6.dylib", "libtiff"),
        ("rasssl.3.dylib", "OpenSSL"),
        ("libffi-8.dll", "libffi"),
        ("sqlite3.dll", "SQLite"),
        ("readline.8.dylib", None),
        ("unknown-64fb61019077ff395ffc6b457e78ad1a.dll", None),
    ],
)
def test_libraries_inside_wheels_are_known(file: str, title: str | None) -> None:
    found = vendored(file)
    assert (found.title if found else None) == title


def test_microsofts_runtime_is_known() -> None:
    for name in ("MSVCP140.dll", "msvcp140-a4c2229bdc2a2a630acdc095b4d86008.dll", "vcomp140.dll"):
        found = vendored(name)
        assert found is not None and found.holders == "Microsoft Corporation"


def test_sizes_are_told_by_component() -> None:
    assert sizes.component_of("PySide6/Qt6WebEngineCore.dll") == "Qt WebEngine"
    assert sizes.component_of(f"{WEB}/QtWebEngineCore") == "Qt WebEngine"
    assert sizes.component_of("PySide6/Qt6Core.dll") == "Qt: libraries and plugins"
    assert sizes.component_of("PySide6/QtCore.pyd") == "Qt for Python"
    assert sizes.component_of("VCRUNTIME140.dll") == "Microsoft's runtime for C++"
    assert sizes.component_of("_ssl.pyd") == "Python"


def test_the_sizes_of_an_application_of_macos(tmp_path: Path) -> None:
    put(tmp_path, {"Contents/Frameworks/numpy/a.so": b"12", "Contents/Resources/PIL/b": b"345"})
    (tmp_path / "Contents/Resources/numpy").symlink_to("../Frameworks/numpy")
    found = sizes.sizes(tmp_path)
    assert found["NumPy and its BLAS"] == 2 and found["Pillow"] == 3 and found.total() == 5


def test_what_is_needed_on_a_system_is_read_from_its_conditions() -> None:
    need = Requirement('colorama; platform_system == "Windows"')
    assert applies(need, SYSTEMS["windows"]) and not applies(need, SYSTEMS["macos"])
    assert not applies(Requirement('tox; extra == "dev"'), SYSTEMS["windows"])
    assert pins("# a==1\nFaiss_CPU==1.2\n\n") == {"faiss-cpu": "Faiss_CPU==1.2"}


def test_all_three_systems_know_the_same_kinds_of_files() -> None:
    assert kinds_trouble(ROOT, plan.facts(ROOT)) == []
    assert (ROOT / "packaging/windows/install.ps1").read_bytes().isascii()


def test_the_hardened_runtime_is_asked_for_what_qt_asks_for(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", ROOT / "packaging/macos/entitlements.plist"
    keys = ("allow-jit", "allow-unsigned-executable-memory", "disable-library-validation")
    wanted = {
        f"com.apple.security.cs.{n}": True for n in (*keys, "disable-executable-page-protection")
    }
    theirs.write_bytes(plistlib.dumps(wanted))
    assert entitlement_trouble(ours, theirs) == []
    theirs.write_bytes(plistlib.dumps({**wanted, "com.apple.security.cs.other": True}))
    assert entitlement_trouble(ours, theirs) == [
        "entitlements.plist lacks com.apple.security.cs.other"
    ]


def test_what_the_program_cannot_do_without_is_asked_for() -> None:
    found = lacking({"PySide6/QtCore.pyd"}, "windows", ["QtCore", "QtGui"])
    assert "PySide6/QtWebEngineProcess.exe is not there" in found
    assert "PySide6.QtGui is one of QT_BINDINGS and is not there" in found
    assert not any("PySide6.QtCore " in line for line in found)


def test_an_archive_keeps_links(tmp_path: Path) -> None:
    app = tmp_path / "Nadir.app"
    put(app, {"Contents/Frameworks/A/lib": b"library", "Contents/MacOS/nadir": b"program"})
    (app / "Contents/MacOS/nadir").chmod(0o755)
    (app / "Contents/Resources").symlink_to("Frameworks")
    made = zip_folder(app, tmp_path / "a.zip", 0).read_bytes()
    assert made == zip_folder(app, tmp_path / "b.zip", 0).read_bytes()
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        about = {item.filename: item for item in archive.infolist()}
        link = about["Nadir.app/Contents/Resources"]
        assert link.external_attr >> 16 == 0o120777 and archive.read(link) == b"Frameworks"
        assert about["Nadir.app/Contents/MacOS/nadir"].external_attr >> 16 == 0o100755
    assert len(about) == 3


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("system", ["windows", "macos"])
def test_the_real_wheels(system: str, request: pytest.FixtureRequest) -> None:
    if "network" not in str(request.config.getoption("markexpr")):
        pytest.skip("downloads 800 MB: pytest -m network")
    command = [sys.executable, str(ROOT / "packaging/check_systems.py"), system]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
