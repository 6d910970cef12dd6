"""What can be said here of a program for Windows or macOS besides its files: what the systems are told of it.

Every function returns the trouble it finds, in words.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import plistlib
import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from freeze import licences
from freeze.plan import Facts, info_plist, version_resource
from freeze.prune import QT_BINDINGS
from freeze.vendored import vendored

_WEB = "PySide6/Qt/lib/QtWebEngineCore.framework/Versions/A"
_HELPER = f"{_WEB}/Helpers/QtWebEngineProcess.app/Contents"
_COMMON = (
    *("rasterio/gdal_data/gdalvrt.xsd", "rasterio/proj_data/proj.db"),
    *("resources/web/leaflet/leaflet.js", "certifi/cacert.pem"),
)
MUST_HAVE: dict[str, tuple[str, ...]] = {
    "windows": (
        *_COMMON,
        *("PySide6/QtWebEngineProcess.exe", "PySide6/Qt6WebEngineCore.dll", "PySide6/Qt6Core.dll"),
        *("PySide6/resources/icudtl.dat", "PySide6/resources/v8_context_snapshot.bin"),
        *(f"PySide6/resources/qtwebengine_resources{n}.pak" for n in ("", "_100p", "_200p")),
        "PySide6/translations/qtwebengine_locales/en-US.pak",
        *("PySide6/plugins/platforms/qwindows.dll", "PySide6/plugins/platforms/qoffscreen.dll"),
        *(f"PySide6/plugins/imageformats/q{n}.dll" for n in ("jpeg", "svg", "ico", "gif", "webp")),
        *(
            "PySide6/plugins/styles/qmodernwindowsstyle.dll",
            "PySide6/plugins/iconengines/qsvgicon.dll",
        ),
        *("PySide6/pyside6.abi3.dll", "shiboken6/shiboken6.abi3.dll", "shiboken6/Shiboken.pyd"),
        *("faiss/_swigfaiss.pyd", "faiss/faiss.dll", "faiss_cpu.libs/libopenblas.dll"),
        "onnxruntime/capi/onnxruntime_pybind11_state.pyd",
        "onnxruntime/capi/onnxruntime_providers_shared.dll",
        *("msvcp140.dll", "msvcp140_1.dll"),
    ),
    "macos": (
        *_COMMON,
        *(f"{_HELPER}/MacOS/QtWebEngineProcess", f"{_HELPER}/Info.plist"),
        *(f"{_WEB}/QtWebEngineCore", f"{_WEB}/Resources/Info.plist"),
        "PySide6/Qt/lib/QtWebEngineCore.framework/Helpers",
        *(f"{_WEB}/Resources/icudtl.dat", f"{_WEB}/Resources/v8_context_snapshot.arm64.bin"),
        *(f"{_WEB}/Resources/qtwebengine_resources{n}.pak" for n in ("", "_100p", "_200p")),
        f"{_WEB}/Resources/qtwebengine_locales/en-US.pak",
        *(f"PySide6/Qt/plugins/platforms/libq{name}.dylib" for name in ("cocoa", "offscreen")),
        *(
            f"PySide6/Qt/plugins/imageformats/libq{n}.dylib"
            for n in ("jpeg", "svg", "ico", "gif", "webp")
        ),
        "PySide6/Qt/plugins/styles/libqmacstyle.dylib",
        "PySide6/Qt/plugins/iconengines/libqsvgicon.dylib",
        *("faiss/_swigfaiss.abi3.so", "faiss/libfaiss.dylib", "faiss/.dylibs/libomp.dylib"),
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
    ),
}
"""What the program cannot do without, by its name inside."""

PYTHONS_LIBRARIES = {
    "windows": ("libcrypto-3.dll", "libssl-3.dll", "libffi-8.dll", "sqlite3.dll", "ucrtbase.dll")
    + ("VCRUNTIME140.dll", "VCRUNTIME140_1.dll"),
    "macos": ("libcrypto.3.dylib", "libssl.3.dylib", "libffi.8.dylib", "libsqlite3.0.dylib")
    + ("liblzma.5.dylib", "libmpdec.4.0.1.dylib", "libexpat.1.dylib", "libz.1.dylib")
    + ("libbz2.1.0.8.dylib",),
}
"""Libraries that come with Python there, or with that of Homebrew."""


def lacking(kept: set[str], system: str, collected_bindings: list[str]) -> list[str]:
    """What the program cannot do without and is not there.

    Args:
        collected_bindings: the modules of PySide6 that PyInstaller takes.
    """
    found = [f"{name} is not there" for name in MUST_HAVE[system] if name not in kept]
    ending = "pyd" if system == "windows" else "abi3.so"
    modules = {name for name in QT_BINDINGS if f"PySide6/{name}.{ending}" not in kept}
    found += [
        f"PySide6.{name} is one of QT_BINDINGS and is not there"
        for name in sorted(modules & set(collected_bindings))
    ]
    return found


def bindings_that_are_not(site: Path, system: str) -> list[str]:
    """Names in ``QT_BINDINGS`` that PySide6 does not have on a system."""
    ending = "pyd" if system == "windows" else "abi3.so"
    missing = [n for n in sorted(QT_BINDINGS) if not (site / "PySide6" / f"{n}.{ending}").is_file()]
    return [f"PySide6 has no {name} there" for name in missing]


class _AsOnWindows:
    """The module ``struct``, with which ``L`` has four bytes: PyInstaller counts on that, and Linux has eight."""

    @staticmethod
    def pack(form: str, *values: Any) -> bytes:
        return struct.pack(form.replace("L", "I"), *values)

    @staticmethod
    def unpack(form: str, data: bytes) -> tuple[Any, ...]:
        return struct.unpack(form.replace("L", "I"), data)


def version_trouble(about: Facts, name: str) -> list[str]:
    """Build the version resource with PyInstaller's classes and read its bytes back."""
    compat = importlib.import_module("PyInstaller.compat")
    if not hasattr(compat, "win32api"):  # only asked for where a program's resource is read
        vars(compat)["win32api"] = None
    theirs = importlib.import_module("PyInstaller.utils.win32.versioninfo")
    vars(theirs)["struct"] = _AsOnWindows
    raw = version_resource(about, name).toRaw()
    again = theirs.VSVersionInfo()
    again.fromRaw(raw)
    strings = {s.name: s.val for s in again.kids[0].kids[0].kids}
    found = []
    if struct.unpack_from("<H", raw)[0] != len(raw):
        found.append(f"{name}.exe: the version resource is {len(raw)} bytes and says otherwise")
    for key, wanted in (("ProductVersion", about.version), ("OriginalFilename", f"{name}.exe")):
        if strings.get(key) != wanted:
            found.append(f"{name}.exe: {key} is {strings.get(key)!r}, not {wanted!r}")
    high, low = again.ffi.fileVersionMS, again.ffi.fileVersionLS
    numbers = (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
    if numbers != about.numbers:
        found.append(f"{name}.exe: its version is {numbers}, not {about.numbers}")
    return found


def icon_trouble(folder: Path) -> list[str]:
    """Whether both icons are read and hold the sizes that the systems show."""
    from PIL import Image

    found = []
    with Image.open(folder / "nadir.ico") as icon:
        sizes = icon.info["sizes"]
    found += [f"nadir.ico lacks {n}" for n in (16, 24, 32, 48, 64, 256) if (n, n) not in sizes]
    with Image.open(folder / "nadir.icns") as icon:
        sizes = {(width * scale, height * scale) for width, height, scale in icon.info["sizes"]}
        icon.load()
        if icon.size[0] < 512 or icon.getbbox() is None:
            found.append(f"nadir.icns shows {icon.size}")
    return found + [f"nadir.icns lacks {n}" for n in (128, 256, 512, 1024) if (n, n) not in sizes]


def plist_trouble(about: Facts, minimum: tuple[int, int], asks: str) -> list[str]:
    """Whether ``Info.plist`` is written and read alike, and asks for a macOS that all files run on."""
    told = info_plist(about)
    found = []
    if plistlib.loads(plistlib.dumps(told)) != told:
        found.append("Info.plist is read otherwise than it was written")
    oldest = tuple(int(n) for n in told["LSMinimumSystemVersion"].split("."))
    if oldest < minimum:
        wanted = ".".join(map(str, minimum))
        found.append(f"Info.plist promises macOS {told['LSMinimumSystemVersion']}, {asks} {wanted}")
    if not re.fullmatch(r"\d+(\.\d+){0,2}", told.get("CFBundleVersion", "")):
        found.append("CFBundleVersion is not one to three numbers")
    exported = {kind["UTTypeIdentifier"] for kind in told["UTExportedTypeDeclarations"]}
    for kind in told["CFBundleDocumentTypes"]:
        for identifier in kind["LSItemContentTypes"]:
            if not identifier.startswith("public.") and identifier not in exported:
                found.append(f"Info.plist opens {identifier} and does not declare it")
    return found


def entitlement_trouble(ours: Path, theirs: Path) -> list[str]:
    """Whether we ask of the hardened runtime for all that Qt asks for its helper."""
    text = ours.read_bytes()
    asked, wanted = plistlib.loads(text), plistlib.loads(theirs.read_bytes())
    found = [f"entitlements.plist lacks {key}" for key in wanted if asked.get(key) is not True]
    found += [f"{key} is not for the hardened runtime" for key in asked if ".cs." not in key]
    # codesign's reader knows no other encodings, and takes two hyphens in a comment for an error.
    if any(b"--" in comment for comment in re.findall(rb"<!--(.*?)-->", text, re.DOTALL)):
        found.append("entitlements.plist has two hyphens in a comment")
    if not text.isascii():
        found.append("entitlements.plist is not plain ASCII")
    return found


def kinds_trouble(root: Path, about: Facts) -> list[str]:
    """Whether Windows, macOS and Linux are told of the same kinds of files."""
    script = (root / "packaging" / "windows" / "install.ps1").read_text("utf-8")
    windows = set(re.findall(r'"(\.\w+)" = "Nadir\.\w+"', script))
    macos = {
        f".{ending}"
        for kind in info_plist(about)["UTExportedTypeDeclarations"]
        for ending in kind["UTTypeTagSpecification"]["public.filename-extension"]
    }
    globs = ET.parse(root / "packaging" / "linux" / "nadir.xml").iter()
    patterns = {str(g.get("pattern")).removeprefix("*") for g in globs if g.tag.endswith("}glob")}
    linux = {pattern.removesuffix(".zip") for pattern in patterns}
    if not windows == macos == linux == {".encoder", ".index"}:
        return [f"endings: Windows {windows}, macOS {macos}, Linux {linux}"]
    return []


def script_trouble(script: Path) -> list[str] | None:
    """Whether a script of PowerShell is well-formed; None where no grammar is installed."""
    content = script.read_bytes()
    if (
        not content.isascii()
    ):  # Windows PowerShell reads a file without a mark in the local code page
        return [f"{script.name} is not plain ASCII"]
    try:
        grammar: Any = importlib.import_module("tree_sitter_powershell")
        tree_sitter: Any = importlib.import_module("tree_sitter")
    except ImportError:
        return None
    tree = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(content)
    todo, found = [tree.root_node], []
    while todo:
        node = todo.pop()
        todo += node.children
        if node.is_error or node.is_missing:
            found.append(f"{script.name}, line {node.start_point[0] + 1}: not understood")
    return found


def terms_trouble(kept: set[str], site: Path, system: str) -> list[str]:
    """Libraries and distributions without terms that allow them in the program: they would stop the build."""
    found = []
    names = [n for n in kept if re.search(r"\.(so|dylib|dll)\b", n) and licences._is_apart(Path(n))]
    for name in (*sorted(names), *PYTHONS_LIBRARIES[system]):
        known = vendored(Path(name).name)
        if known is None:
            found.append(f"no terms are known for {name}")
        elif not licences.is_allowed(known.licence):
            found.append(f"{name} is on terms that do not allow it: {known.licence}")
    for part in metadata.distributions(path=[str(site)]):
        name = part.metadata["Name"]
        terms = licences._licence_of(part)
        if not licences.is_allowed(terms):
            found.append(f"{name} is on terms that do not allow it: {terms or 'none told'}")
    return found
