"""What the frozen program is made by: rules and files. That it works is proved by packaging/smoke_test.py."""

from __future__ import annotations

import configparser
import ctypes
import json
import os
import plistlib
import re
import shutil
import struct
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import entry
from freeze import icu, inputs, licences, plan, prune, sbom, sizes, slim
from freeze.archives import Release, checksums, desktop_files, fill
from freeze.elf import ElfFile, forget_search_path
from freeze.icons import SIZES
from freeze.vendored import vendored

ROOT = Path(__file__).resolve().parents[2]
LINUX = sys.platform == "linux"


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("PySide6/QtWidgets.abi3.so", True),
        ("PySide6/QtCharts.abi3.so", False),
        ("PySide6/Qt/qml/QtQuick/libqtquick2plugin.so", False),
        ("PySide6/Qt/plugins/platforms/libqxcb.so", True),
        ("PySide6/Qt/plugins/platforms/libqvnc.so", False),
        ("PySide6/plugins/platforms/qwindows.dll", True),
        ("PySide6/Qt/plugins/sqldrivers/libqsqlite.so", False),
        ("PySide6/Qt/resources/qtwebengine_resources.pak", True),
        ("PySide6/Qt/resources/qtwebengine_devtools_resources.pak", False),
        ("PySide6/Qt/translations/qtwebengine_locales/en-US.pak", True),
        ("PySide6/Qt/translations/qtwebengine_locales/de.pak", False),
        ("PySide6/Qt/translations/qtbase_de.qm", False),
        ("resources/samples/3 photo.jpg", True),
        ("resources/screenshots/located.png", False),
        ("resources/guide/locate.md", True),
        ("numpy/tests/data/a.csv", False),
        ("rasterio/proj_data/proj.db", True),
        ("rasterio/_base.pxd", False),
    ],
)
def test_what_goes_into_the_program(name: str, goes: bool) -> None:
    assert prune.wanted(name) is goes


def test_qts_own_words_go_along_in_nadirs_languages() -> None:
    name = "PySide6/Qt/translations/qtbase_de.qm"
    assert prune.wanted(name, languages=frozenset({"de"}))


@pytest.mark.parametrize(
    ("name", "goes"),
    [("libxcb-cursor.so.0", True), ("libsqlite3.so.0", True), ("libreadline.so.8", False)]
    + [("libglib-2.0.so.0", False), ("libX11.so.6", False), ("libnss3.so", False)],
)
def test_libraries_of_the_building_system(name: str, goes: bool) -> None:
    assert prune.wanted(name, f"/usr/lib/x86_64-linux-gnu/{name}") is goes


def test_libraries_of_x_go_beside_qt() -> None:
    """The browser engine's helper looks beside itself alone."""
    xkb = ("libxkbcommon.so.0", "/usr/lib/x86_64-linux-gnu/libxkbcommon.so.0", "BINARY")
    python = ("libssl.so.3", "/usr/lib/x86_64-linux-gnu/libssl.so.3", "BINARY")
    assert prune.prune([xkb, python]) == [
        ("PySide6/Qt/lib/libxkbcommon.so.0", xkb[1], "BINARY"),
        ("libxkbcommon.so.0", "PySide6/Qt/lib/libxkbcommon.so.0", "SYMLINK"),
        python,
    ]


@pytest.mark.skipif(not LINUX, reason="ELF files")
def test_elf_files_are_read(tmp_path: Path) -> None:
    import faiss

    path = next(Path(faiss.__file__).parent.glob("_swigfaiss*.so"))
    facts = ElfFile.read(path)
    assert "libc.so.6" in facts.needed and any(v.startswith("GLIBC_") for v in facts.versions)
    assert slim.same_library(path, path)
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(path.read_bytes()[:3000])
    assert not slim.same_library(path, damaged)
    (tmp_path / "text").write_text("no program at all")
    with pytest.raises(ValueError, match="no ELF file"):
        ElfFile.read(tmp_path / "text")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler makes the library")
def test_where_the_building_machine_keeps_libraries_is_forgotten(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("int answer(void) { return 42; }\n")
    library = tmp_path / "liba.so"
    for given, left in (
        ("/home/builder/lib", None),
        ("/home/builder/lib:/opt/lib", None),
        ("$ORIGIN/../x.libs", "$ORIGIN/../x.libs"),
    ):
        for tags in ("--enable-new-dtags", "--disable-new-dtags"):
            command = ["gcc", "-shared", "-o", library, source, f"-Wl,-rpath,{given},{tags}"]
            subprocess.run([*command, "-lm", "-Wl,--no-as-needed"], check=True)
            before = ElfFile.read(library)
            assert forget_search_path(library) is (left is None)
            assert ElfFile.read(library) == before
            assert (given.encode() in library.read_bytes()) is (left is not None)
            assert ctypes.CDLL(str(library)).answer() == 42
            assert forget_search_path(library) is False
    with pytest.raises(ValueError, match="no ELF file"):
        forget_search_path(source)


@pytest.mark.skipif(shutil.which("strip") is None, reason="strip is not here")
def test_stripping_gives_a_library_that_loads(tmp_path: Path) -> None:
    import _decimal

    if getattr(_decimal, "__file__", None) is None:
        pytest.skip("this Python has its modules inside")
    path = Path(shutil.copy2(_decimal.__file__, tmp_path))
    before = path.stat().st_size
    won = slim.strip_symbols(path)
    assert path.stat().st_size == before - won and won >= 0
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import _decimal; print(_decimal.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert Path(done.stdout.strip()) == path, done.stderr


def test_the_data_of_icu_is_shortened_and_stays_whole() -> None:
    items = {
        "icudt73l/coll/root.res": b"collation",
        "icudt73l/en.res": b"english",
        "icudt73l/lang/zu.res": b"names of languages",
        "icudt73l/translit/root.res": b"scripts",
        "icudt73l/zoneinfo64.res": struct.pack("<HBBH", 24, 0xDA, 0x27, 20) + b"\0" * 18,
    }
    last = list(items)[-1]
    items[last] += struct.pack("<5I", 0, 5, 0, 0, 10) + b"the resource's rest."
    header = struct.pack(
        "<HBBHH4B4s4B4B", 32, 0xDA, 0x27, 20, 0, 0, 0, 2, 0, b"CmnD", 1, 0, 0, 0, 0, 0, 0, 0
    )
    header = header.ljust(32, b"\0")
    names, contents = b"", b""
    start = 4 + 8 * len(items)
    offset = start + sum(len(name) + 1 for name in items)
    table = b""
    for name, item in items.items():
        table += struct.pack("<II", start + len(names), offset + len(contents))
        names += name.encode() + b"\0"
        contents += item
    package = header + struct.pack("<I", len(items)) + table + names + contents
    found = icu.icu_package(b"\x7fELF..." + package)
    assert found == (package, "icudt73_dat")
    smaller = icu.filter_icu_package(package)
    count = struct.unpack_from("<I", smaller, 32)[0]
    kept = {}
    for name, data in struct.iter_unpack("<II", smaller[36 : 36 + 8 * count]):
        assert data % 16 == 0
        kept[smaller[32 + name : smaller.index(b"\0", 32 + name)].decode()] = smaller[32 + data :]
    assert list(kept) == ["icudt73l/coll/root.res", "icudt73l/en.res", last]
    assert all(kept[name].startswith(items[name][:40]) for name in kept)


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only", True),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("GPL-3.0-only", False),
        ("GPL-2+", False),
        ("AGPL-3.0-only OR GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("", False),
    ],
)
def test_nothing_on_gpl_terms_alone(licence: str, allowed: bool) -> None:
    assert licences.is_allowed(licence) is allowed


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("libtiff-fb65e6fb.so.6.2.0", "libtiff"),
        ("libgdal-c8c9c467.so.36.3.10.3", "GDAL"),
        ("libscipy_openblas64_-32a4b2a6.so", "OpenBLAS"),
        ("libquadmath-96973f99-934c22de.so.0.0.0", "GCC's runtime libraries"),
        ("libXau-154567c4.so.6.0.0", "libXau, libxcb"),
        ("libicudata.so.73", "ICU"),
        ("libreadline.so.8", None),
    ],
)
def test_libraries_inside_wheels_are_known(file: str, title: str | None) -> None:
    found = vendored(file)
    assert (found.title if found else None) == title


def test_the_bill_of_materials_is_cyclonedx(tmp_path: Path) -> None:
    (tmp_path / "nadir").write_text("program")
    parts = [
        licences.Part("Nadir", "1.0", "MIT", "program"),
        licences.Part("Jinja2", "3.1", "BSD License", "python", "https://jinja.example"),
    ]
    made = sbom.bill(parts, "1.0", tmp_path)
    assert made["bomFormat"] == "CycloneDX" and made["specVersion"] == "1.6"
    (part,) = made["components"]
    assert part["purl"] == "pkg:pypi/jinja2@3.1"
    assert part["licenses"] == [{"license": {"name": "BSD License"}}]
    assert made == sbom.bill(parts, "1.0", tmp_path)
    (tmp_path / "nadir").write_text("another")
    assert made["serialNumber"] != sbom.bill(parts, "1.0", tmp_path)["serialNumber"]


def test_sizes_are_told_by_component() -> None:
    assert sizes.component_of("PySide6/Qt/lib/libQt6WebEngineCore.so.6") == "Qt WebEngine"
    assert sizes.component_of("PySide6/QtCore.abi3.so") == "Qt for Python"
    assert sizes.component_of("faiss_cpu.libs/libopenblaso.so") == "faiss and its BLAS"


def test_the_program_collects_what_is_imported_late_and_nothing_of_torch() -> None:
    found = plan.frozen_modules(ROOT)
    assert {"engine.cli", "engine.commands.index", "app.training.workspace"} <= set(found)
    assert not any(
        f"{name}.".startswith(("engine.training.", "engine.networks.")) for name in found
    )


def test_the_python_that_trains_gets_what_is_tested() -> None:
    lines = plan.training_requirements(ROOT).split()
    assert all("==" in line for line in lines)
    names = {line.partition("==")[0].lower() for line in lines}
    assert {"torch", "numpy", "onnxruntime", "rasterio", "faiss-cpu"} <= names
    assert not names & {"pyside6", "pyqtgraph", "folium"}


def test_what_is_built_with_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = (ROOT / "packaging" / "lock.txt").read_text("utf-8").lower()
    for need in project["optional-dependencies"]["build"]:
        assert f"\n{need.partition('>')[0]}==" in locked


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], False),
        (["localize", "a.jpg"], True),
        (["--help"], True),
        (["index", "build", "x"], True),
        (["photo.jpg"], False),
        (["/home/me/town.index"], False),
        (["--demo"], False),
    ],
)
def test_one_program_is_window_and_command_line(
    words: list[str], command: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry.is_command(words) is command


def test_a_file_named_like_a_verb_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo").write_bytes(b"")
    assert not entry.is_command(["photo"])
    (tmp_path / "train").mkdir()  # a verb is a verb; ./train is the folder
    assert entry.is_command(["train", "--help"]) and not entry.is_command(["./train"])


def test_the_verbs_are_known_before_the_command_line_is_loaded() -> None:
    from engine.cli import make_parser

    usage = make_parser().format_help()
    assert all(f"\n    {verb} " in usage for verb in entry.VERBS)
    assert len(re.findall(r"^    [a-z]+ ", usage, re.MULTILINE)) == len(entry.VERBS)


def test_children_get_the_users_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/nadir/_internal")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/my/libraries")
    entry.give_children_the_users_environment()
    assert os.environ["LD_LIBRARY_PATH"] == "/my/libraries"
    entry.give_children_the_users_environment()
    assert "LD_LIBRARY_PATH" not in os.environ


def gpu(place: Path, code: str) -> str:
    """What a process says that begins as the program does, in ``place``."""
    begin = f"import os, sys; sys.executable = {str(place / 'nadir')!r}; import entry; "
    begin += "used = entry.use_gpu_folder(); trouble = os.environ.get(entry.GPU_TROUBLE, ''); "
    path = os.pathsep.join([str(ROOT), str(ROOT / "packaging")])
    environ = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "XDG_DATA_HOME": str(place / "data")}
    done = subprocess.run(
        [sys.executable, "-c", begin + code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_onnxruntime_beside_the_program_comes_first(tmp_path: Path) -> None:
    assert gpu(tmp_path, "print(used, trouble)") == "None"
    folder = tmp_path / entry.GPU_FOLDER
    for package in ("onnxruntime", "numpy"):
        (folder / package / "capi").mkdir(parents=True)
        (folder / package / "__init__.py").write_text("class InferenceSession: pass")
    told = gpu(
        tmp_path,
        "import numpy, onnxruntime; "
        "print(used, trouble, onnxruntime.__file__, 'nadir-gpu' in numpy.__file__)",
    )
    assert told == f"{folder}  {folder}/onnxruntime/__init__.py False"


@pytest.mark.parametrize(
    "content", [None, "import no_such_module", "this is no Python", "1 / 0", "x = 1"]
)
def test_an_onnxruntime_beside_that_cannot_be_loaded_is_left_alone(
    content: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / "data/nadir" / entry.GPU_FOLDER
    (folder / "onnxruntime/capi").mkdir(parents=True)
    if content is not None:
        (folder / "onnxruntime/__init__.py").write_text(content)
    told = gpu(tmp_path, "import onnxruntime; print(used, trouble, onnxruntime.__file__)")
    assert told.startswith(f"None {folder} is not used: it cannot be loaded")
    assert str(folder) not in told.split()[-1]
    code = "from engine.encoder import open_encoder; from engine.shipped import shipped_encoder; "
    told = gpu(tmp_path, code + "print(open_encoder(shipped_encoder()).notices)")
    assert told.count("is not used") == 1


@pytest.mark.skipif(not LINUX, reason="who owns a file is told there")
def test_an_onnxruntime_that_others_may_write_to_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / entry.GPU_FOLDER
    (folder / "onnxruntime/capi").mkdir(parents=True)
    (folder / "onnxruntime/__init__.py").write_text("class InferenceSession: pass")
    folder.chmod(0o777)
    assert "somebody else may write there" in gpu(tmp_path, "print(trouble)")
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder / "onnxruntime", 61184, 61184)
        assert "somebody else may write there" in gpu(tmp_path, "print(trouble)")


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_without_a_screen_it_says_so(monkeypatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert "nadir localize PHOTO" in entry.no_screen()
    monkeypatch.setenv("DISPLAY", ":4711")
    assert "no display answers" in entry.no_screen()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert entry.no_screen() == ""


def test_beside_an_appimage_is_beside_its_file(tmp_path: Path, monkeypatch) -> None:
    program = tmp_path / "mount/nadir/nadir"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("APPIMAGE", str(tmp_path / "downloads/Nadir.AppImage"))
    monkeypatch.setenv("APPDIR", str(tmp_path / "mount"))
    assert entry.gpu_folders()[0] == tmp_path / "downloads" / entry.GPU_FOLDER
    # Started from another AppImage, a terminal say, it is still a program of its own.
    monkeypatch.setenv("APPDIR", str(tmp_path / "another"))
    assert entry.gpu_folders()[0] == program.parent / entry.GPU_FOLDER


def test_what_macos_and_windows_are_told() -> None:
    about = plan.facts(ROOT)
    told = plistlib.loads(plistlib.dumps(plan.info_plist(about)))
    kinds = {kind["UTTypeIdentifier"] for kind in told["UTExportedTypeDeclarations"]}
    opened = {name for kind in told["CFBundleDocumentTypes"] for name in kind["LSItemContentTypes"]}
    assert kinds == {"org.nadir.encoder", "org.nadir.index"} and kinds <= opened
    rights = plistlib.loads((ROOT / "packaging/macos/entitlements.plist").read_bytes())
    assert rights["com.apple.security.cs.allow-jit"] is True
    assert len(about.numbers) == 4 and all(isinstance(n, int) for n in about.numbers)


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """What the archive holds, with a program that only says hello."""
    folder = tmp_path / "nadir-1.0"
    program = folder / "nadir"
    (program / "_internal").mkdir(parents=True)
    (program / "nadir").write_text("#!/bin/sh\necho hello from nadir\n")
    (program / "nadir").chmod(0o755)
    icons = tmp_path / "icons"
    icons.mkdir()
    for size in SIZES:
        (icons / f"{size}x{size}.png").write_bytes(b"png")
    words = {"VERSION": "1.0", "DATE": "2026-01-01"}
    svg = ROOT / "resources/icons/nadir.svg"
    release = Release(program, icons, svg, tmp_path, tmp_path, words, ROOT / "LICENSE", 0, False)
    desktop_files(release, folder / "share")
    shutil.copy2(ROOT / "packaging/linux/install.sh", folder)
    return folder


def test_what_the_desktop_is_told(unpacked: Path) -> None:
    share = unpacked / "share"
    desktop = configparser.ConfigParser(interpolation=None)
    desktop.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    desktop.read(share / "applications/nadir.desktop")
    entry_ = desktop["Desktop Entry"]
    kinds = {kind.get("type") for kind in ET.parse(share / "mime/packages/nadir.xml").getroot()}
    assert kinds == {"application/x-nadir-encoder", "application/x-nadir-index"}
    assert kinds <= set(entry_["MimeType"].split(";"))
    # Folders are opened by a second entry, whose name comes last: Nadir must not become what folders open in.
    assert "inode/directory" not in entry_["MimeType"]
    assert "MimeType=inode/directory;" in (
        share / "applications/zz-nadir-folder.desktop"
    ).read_text("utf-8")
    about = ET.parse(share / "metainfo/org.nadir.Nadir.metainfo.xml")
    assert about.findtext("launchable") == "nadir.desktop"
    assert "@" not in (share / "metainfo/org.nadir.Nadir.metainfo.xml").read_text()
    for size in SIZES:
        assert (share / f"icons/hicolor/{size}x{size}/apps/nadir.png").is_file()


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_installing_twice_and_uninstalling(unpacked: Path, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    (home / ".local/share/applications").mkdir(parents=True)
    (home / ".local/share/applications/other.desktop").write_text("another's")
    (home / ".config/nadir").mkdir(parents=True)
    (home / ".config/nadir/preferences.json").write_text("{}")
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)

    def files() -> set[str]:
        # The other program's entry has the desktop keep its list of entries.
        found = [path for path in home.rglob("*") if path.is_file()]
        return {p.relative_to(home).as_posix() for p in found if p.name != "mimeinfo.cache"}

    before = files()
    for _ in range(2):
        done = run(str(unpacked / "install.sh"))
        assert done.returncode == 0, done.stderr
        (home / ".local/lib/nadir/nadir-gpu").mkdir(exist_ok=True)
        (home / ".local/lib/nadir/nadir-gpu/mine").write_text("kept when Nadir is renewed")
    assert (home / ".local/lib/nadir/nadir-gpu/mine").is_file()
    assert run(str(home / ".local/bin/nadir")).stdout == "hello from nadir\n"
    shown = (home / ".local/share/applications/nadir.desktop").read_text()
    assert f'Exec="{home}/.local/lib/nadir/nadir" %F' in shown
    done = run(str(home / ".local/lib/nadir/uninstall.sh"))
    assert done.returncode == 0, done.stderr
    assert files() == before
    assert not (home / ".local/bin/nadir").is_symlink()
    assert not (home / ".local/lib").exists()
    again = run(str(unpacked / "install.sh"), "--uninstall")
    assert again.returncode == 1 and "not installed" in again.stderr


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_a_program_that_runs_is_neither_renewed_nor_taken_away(
    unpacked: Path, tmp_path: Path
) -> None:
    shutil.copy2(shutil.which("sleep") or "/bin/sleep", unpacked / "nadir" / "nadir")
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    installed = tmp_path / ".local/lib/nadir"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)

    assert run(str(unpacked / "install.sh")).returncode == 0
    running = subprocess.Popen([str(installed / "nadir"), "60"])
    try:
        for words in ([str(unpacked / "install.sh")], [str(installed / "uninstall.sh")]):
            done = run(*words)
            assert done.returncode == 1 and "quit it first" in done.stderr
        assert (installed / "nadir").is_file()
    finally:
        running.kill()
        running.wait()
    assert run(str(installed / "uninstall.sh")).returncode == 0
    assert not installed.exists()


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_what_another_installer_put_there_stays(unpacked: Path, tmp_path: Path) -> None:
    there = tmp_path / ".local/lib/nadir/nadir"
    there.parent.mkdir(parents=True)
    there.write_text("another's")
    done = subprocess.run(
        [str(unpacked / "install.sh")],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "not made by this script" in done.stderr
    assert there.read_text() == "another's"


def install(
    unpacked: Path, home: Path, *words: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(unpacked / "install.sh"), *words],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not LINUX, reason="for Linux")
@pytest.mark.parametrize("name", [".local/bin/nadir", ".local/share/applications/nadir.desktop"])
def test_files_of_other_programs_stay_what_they_are(
    name: str, unpacked: Path, tmp_path: Path
) -> None:
    """PyPI has another nadir, whose installers make such a link."""
    home = tmp_path / "home"
    other = home / name
    other.parent.mkdir(parents=True)
    if "bin" in name:
        other.symlink_to("/opt/another/nadir")
    else:
        other.write_text("another's")
    before = sorted(path.relative_to(home) for path in home.rglob("*"))
    done = install(unpacked, home)
    assert done.returncode == 1 and f"{other} is another program's" in done.stderr
    assert sorted(path.relative_to(home) for path in home.rglob("*")) == before
    assert os.readlink(other) == "/opt/another/nadir" if "bin" in name else other.read_text()


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_folders_that_were_there_stay_and_those_that_were_made_go(
    unpacked: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in (".local/bin", ".local/share/man"):
        (home / name).mkdir(parents=True)
    for _ in range(2):
        assert install(unpacked, home).returncode == 0
    assert (home / ".local/share/man/man1/nadir.1.gz").is_file()
    assert install(unpacked, home, "--uninstall").returncode == 0
    left = {path.relative_to(home).as_posix() for path in home.rglob("*")}
    assert left == {".local", ".local/bin", ".local/share", ".local/share/man"}


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_homes_with_unusual_names(unpacked: Path, tmp_path: Path) -> None:
    home = tmp_path / "R&D 100% ü"
    home.mkdir()
    done = install(unpacked, home, XDG_DATA_HOME="relative")
    assert done.returncode == 0, done.stderr
    shown = (home / ".local/share/applications/nadir.desktop").read_text("utf-8")
    place = str(home).replace("%", "%%")
    assert f'Exec="{place}/.local/lib/nadir/nadir" %F' in shown
    assert install(unpacked, home, "--uninstall").returncode == 0
    assert not list(home.iterdir())


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_a_strict_umask_closes_nothing(unpacked: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = f'umask 077; exec "{unpacked}/install.sh"'
    done = subprocess.run(
        ["sh", "-c", command], env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.returncode == 0
    assert all(
        path.stat().st_mode & 0o005 for path in (home / ".local").rglob("*") if path.is_dir()
    )


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_folders_do_not_open_in_nadir_from_now_on(unpacked: Path, tmp_path: Path) -> None:
    """With a stand-in for the desktop's tool, which tells what folders open in."""
    tool = tmp_path / "bin/xdg-mime"
    tool.parent.mkdir()
    entries = tmp_path / ".local/share/applications"
    environ = {"HOME": str(tmp_path), "PATH": f"{tool.parent}:/usr/bin:/bin"}
    for before, after, kept in (
        ("files.desktop", "files.desktop", True),
        ("files.desktop", "zz-nadir-folder.desktop", False),
        ("", "zz-nadir-folder.desktop", False),
    ):
        there = f'[ -f "{entries}/zz-nadir-folder.desktop" ]'
        tool.write_text(f"#!/bin/sh\nif {there}; then echo {after}; else echo {before}; fi\n")
        tool.chmod(0o755)
        for words in ([], ["--uninstall"]):
            done = subprocess.run(
                [str(unpacked / "install.sh"), *words], env=environ, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            found = (entries / "zz-nadir-folder.desktop").is_file()
            assert found is (kept and not words), (before, after, words)


@pytest.mark.skipif(not LINUX, reason="for Linux")
def test_an_installer_without_its_program_does_nothing(unpacked: Path, tmp_path: Path) -> None:
    shutil.rmtree(unpacked / "nadir")
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [str(unpacked / "install.sh")],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "unpack the whole archive" in done.stderr
    assert not list(home.iterdir())


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    checksums([tmp_path / "a"], tmp_path / "SHA256SUMS")
    assert (tmp_path / "SHA256SUMS").read_text() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
    )


def test_words_are_filled_in() -> None:
    assert fill("@A@ @B@", {"A": "1"}) == "1 @B@"


def test_the_proof_is_due_until_it_was_done_for_just_these_files(tmp_path: Path) -> None:
    for name in ("packaging/build.py", "resources/web/map.js", "resources/screenshots/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    (tmp_path / "pyproject.toml").write_text("")
    assert not inputs.is_proven(tmp_path)
    inputs.record(tmp_path)
    assert inputs.is_proven(tmp_path)
    (tmp_path / "resources/screenshots/a.png").write_text("two")
    assert inputs.is_proven(tmp_path)
    (tmp_path / "resources/web/map.js").write_text("two")
    assert not inputs.is_proven(tmp_path)
    (tmp_path / inputs.PROVEN).write_text(json.dumps(["damaged"]))
    assert not inputs.is_proven(tmp_path)
