"""What of Qt, of the libraries and of the system does not go into the frozen program.

PyInstaller collects whatever might be needed; what really is, is known here. Everything is decided by the name a file
would have inside, ``PySide6/Qt/lib/libQt6Qml.so.6``, so that the rules can be tried without a build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

Entry = tuple[str, str, str]  # name inside, file it comes from, PyInstaller's kind

QT_BINDINGS = frozenset(
    ("QtCore", "QtGui", "QtWidgets", "QtSvg", "QtNetwork", "QtPrintSupport", "QtWebChannel")
    + ("QtWebEngineCore", "QtWebEngineWidgets", "QtOpenGLWidgets", "QtOpenGL")
)
"""Modules of PySide6 that Nadir, or one of these, imports."""

QT_PLUGINS = frozenset(
    ("iconengines/qsvgicon", "imageformats/qsvg", "imageformats/qjpeg", "imageformats/qico")
    + ("imageformats/qwebp", "imageformats/qgif")
    + ("platforms/qxcb", "platforms/qoffscreen", "platforms/qwayland", "platforms/qwindows")
    + ("platforms/qcocoa", "styles/qmodernwindowsstyle", "styles/qmacstyle")
    + ("xcbglintegrations/qxcb-egl-integration", "xcbglintegrations/qxcb-glx-integration")
    + ("platforminputcontexts/compose", "platforminputcontexts/ibus")
    + ("platformthemes/qxdgdesktopportal", "platformthemes/qgtk3")
    + ("wayland-decoration-client/bradient", "wayland-decoration-client/adwaita")
    + ("wayland-graphics-integration-client/qt-plugin-wayland-egl",)
    + ("wayland-shell-integration/xdg-shell",)
)
"""Plugins of Qt by folder and name, without ``lib``, ``plugin`` and endings."""

SYSTEM_KEPT = re.compile(
    r"lib(python3|ssl|crypto|sqlite3|ffi|lzma|bz2|expat|mpdec|uuid|xxhash"
    r"|xcb-(cursor|icccm|image|keysyms|render-util|util|xkb|xinerama)|xkbcommon(-x11)?)\b.*\.so"
)
"""Libraries of the building system that go with the program: Python's own, and those of X that a desktop may lack.

All others (glib, NSS, X11, fontconfig, the C++ library ...) belong to the desktop: it has them, mends their holes, and
its graphics drivers need the same ones."""

PYTHON_LEFT_OUT = (
    *("torch", "onnx", "onnxscript", "scipy", "matplotlib", "pandas", "IPython", "sympy", "numba"),
    *("cupy", "h5py", "OpenGL", "colorcet", "boto3", "geopandas", "shapely", "networkx", "psutil"),
    *("tkinter", "_tkinter", "turtle", "idlelib", "lib2to3", "ensurepip", "pip", "setuptools"),
    *("pkg_resources", "wheel", "distutils", "test", "pydoc_data", "curses", "_curses"),
    # GNU readline and gdbm are GPL alone: nothing of theirs may go with the program.
    *("_curses_panel", "readline", "_gdbm", "dbm.gnu", "_dbm", "nis", "ossaudiodev", "spwd"),
    "_uuid",  # of util-linux, whose terms are mixed; Python does without
    *("PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtQuickWidgets"),
    *("PySide6.QtDBus", "PySide6.QtTest", "PySide6.QtPositioning", "PySide6.scripts"),
    *("pyqtgraph.examples", "pyqtgraph.opengl", "numpy.f2py", "numpy.distutils"),
    *("faiss.contrib", "onnxruntime.quantization", "onnxruntime.transformers"),
    *("onnxruntime.tools", "onnxruntime.training", "onnxruntime.datasets", "PIL.ImageTk"),
)
"""Modules that PyInstaller may not follow."""


def prune(entries: Iterable[Entry], languages: frozenset[str] = frozenset()) -> list[Entry]:
    """The entries that go into the program.

    Args:
        languages: what Nadir itself is translated to; Qt's own words come in no others.
    """
    kept = [entry for entry in entries if wanted(entry[0], entry[1], languages)]
    return without_unneeded_qt(kept)


def wanted(name: str, source: str = "", languages: frozenset[str] = frozenset()) -> bool:
    """Whether a file goes into the program, by its name inside and the file it comes from."""
    path = PurePosixPath(name.replace("\\", "/"))
    top = path.parts[0] if path.parts else ""
    if top == "PySide6":
        return _qt_wanted(path, languages)
    if path.suffix in (".pyi", ".pxd", ".pyx", ".h", ".hpp", ".c", ".lib", ".a", ".cmake"):
        return False
    if any(part in ("tests", "test", "testing", "__pycache__", "include") for part in path.parts):
        return False
    if top == "resources":
        return "screenshots" not in path.parts and path.suffix != ".md"
    if "libpython" not in path.name and _of_the_system(source):
        return len(path.parts) > 1 or SYSTEM_KEPT.match(path.name) is not None
    return not path.name.startswith(("_multiarray_tests", "_umath_tests", "_rational_tests"))


def _of_the_system(source: str) -> bool:
    return source.startswith(("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"))


def _qt_wanted(path: PurePosixPath, languages: frozenset[str]) -> bool:
    parts = path.parts
    lowered = path.name.lower()
    if "qml" in parts or "include" in parts or "doc" in parts or "metatypes" in parts:
        return False
    if len(parts) == 2 and parts[1].startswith("Qt"):
        return parts[1].partition(".")[0] in QT_BINDINGS
    if "plugins" in parts:
        stem = lowered.partition(".")[0].removeprefix("lib")
        stem = stem.removesuffix("plugin") if "platforminputcontexts" in parts else stem
        key = f"{parts[parts.index('plugins') + 1]}/{stem}"
        return key in QT_PLUGINS or key.startswith("platforms/qwayland")
    if "translations" in parts:
        if "qtwebengine_locales" in parts:
            return path.name == "en-US.pak"
        return path.stem.removeprefix("qtbase_") in languages
    if "qtwebengine_locales" in parts:
        return path.name == "en-US.pak"
    if "devtools" in lowered or lowered.endswith((".debug.pak", ".debug.bin")):
        return False
    return not lowered.startswith(("avcodec", "avformat", "avutil", "opengl32sw", "d3dcompiler"))


def without_unneeded_qt(entries: list[Entry]) -> list[Entry]:
    """Leave out the libraries of Qt that nothing which is left is linked with."""
    libraries = {Path(name).name: (name, source) for name, source, _ in entries if _is_qt(name)}
    reached: set[str] = set()
    todo = [s for n, s, kind in entries if kind != "SYMLINK" and _is_program(n) and not _is_qt(n)]
    while todo:
        for needed in needed_by(todo.pop()):
            if needed in libraries and needed not in reached:
                reached.add(needed)
                todo.append(libraries[needed][1])
    if not reached:  # nothing could be read here (not ELF): keep what PyInstaller found
        return entries
    gone = set(libraries) - reached
    return [entry for entry in entries if Path(entry[0]).name not in gone]


def _is_qt(name: str) -> bool:
    return re.match(r"PySide6/Qt/lib/lib.*\.so", name) is not None


def _is_program(name: str) -> bool:
    return ".so" in name or name.endswith("/QtWebEngineProcess")


def needed_by(path: str | Path) -> list[str]:
    """The shared libraries an ELF file is linked with; none where it is no ELF file."""
    from freeze.elf import ElfFile

    try:
        return ElfFile.read(Path(path)).needed
    except (OSError, ValueError):
        return []
