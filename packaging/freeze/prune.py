"""What of Qt, of the libraries and of the system does not go into the frozen program.

PyInstaller collects whatever might be needed; what really is, is known here. Everything is decided by the name a file
would have inside, ``PySide6/Qt/lib/libQt6Qml.so.6``, so that the rules can be tried without a build.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

Entry = tuple[str, str, str]  # name inside, file it comes from, PyInstaller's kind

QT_BINDINGS = frozenset(
    ("QtCore", "QtGui", "QtWidgets", "QtSvg", "QtNetwork", "QtPrintSupport", "QtWebChannel")
    + ("QtWebEngineCore", "QtWebEngineWidgets", "QtOpenGLWidgets")
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

BESIDE_QT = re.compile(r"lib(xkbcommon|xcb-)[^/]*\.so[^/]*")
"""Those of them that Qt uses, as they lie at the top of the program. They go beside Qt's own libraries: the browser
engine's helper is a process apart, which knows no search path but the places its libraries name."""

PYTHON_LEFT_OUT = (
    *("torch", "onnx", "onnxscript", "scipy", "matplotlib", "pandas", "IPython", "sympy", "numba"),
    *("cupy", "h5py", "OpenGL", "colorcet", "boto3", "geopandas", "shapely", "networkx", "psutil"),
    *("tkinter", "_tkinter", "turtle", "idlelib", "lib2to3", "ensurepip", "pip", "setuptools"),
    *("pkg_resources", "wheel", "distutils", "test", "pydoc_data", "curses", "_curses"),
    # GNU readline and gdbm are GPL alone: nothing of theirs may go with the program.
    *("_curses_panel", "readline", "_gdbm", "dbm.gnu", "_dbm", "nis", "ossaudiodev", "spwd"),
    "_uuid",  # of util-linux, whose terms are mixed; Python does without
    *("PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtQuickWidgets", "PySide6.QtOpenGL"),
    *("PySide6.QtDBus", "PySide6.QtTest", "PySide6.QtPositioning", "PySide6.scripts"),
    *("pyqtgraph.examples", "pyqtgraph.opengl", "numpy.f2py", "numpy.distutils"),
    *("faiss.contrib", "onnxruntime.quantization", "onnxruntime.transformers"),
    *("onnxruntime.tools", "onnxruntime.training", "onnxruntime.datasets", "PIL.ImageTk"),
)
"""Modules that PyInstaller may not follow."""


C_LIBRARY = re.compile(r"(lib)?onnxruntime(\.\d[\d.]*)?\.(dll|dylib|so)\b.*")
"""onnxruntime for programs in C: its Python module has all of it inside, and neither links with it nor opens it."""


def prune(
    entries: Iterable[Entry], languages: frozenset[str] = frozenset(), processor: str = ""
) -> list[Entry]:
    """The entries that go into the program.

    Args:
        languages: what Nadir itself is translated to; Qt's own words come in no others.
        processor: what it is built for, as macOS calls it; this system's own where not told.
    """
    processor = processor or platform.machine()
    kept = [entry for entry in entries if wanted(entry[0], entry[1], languages, processor)]
    return without_dangling(beside_qt(without_unneeded_qt(kept)))


def wanted(
    name: str, source: str = "", languages: frozenset[str] = frozenset(), processor: str = ""
) -> bool:
    """Whether a file goes into the program, by its name inside and the file it comes from."""
    path = PurePosixPath(name.replace("\\", "/"))
    top = path.parts[0] if path.parts else ""
    if top == "PySide6":
        return _qt_wanted(path, languages, processor)
    if path.suffix in (".pyi", ".pxd", ".pyx", ".h", ".hpp", ".c", ".lib", ".a", ".cmake"):
        return False
    if any(part in ("tests", "test", "testing", "__pycache__", "include") for part in path.parts):
        return False
    if top == "onnxruntime" and C_LIBRARY.fullmatch(path.name):
        return False
    if top == "resources":
        return "screenshots" not in path.parts and (path.suffix != ".md" or "guide" in path.parts)
    if "libpython" not in path.name and _of_the_system(source):
        return len(path.parts) > 1 or SYSTEM_KEPT.match(path.name) is not None
    return not path.name.startswith(("_multiarray_tests", "_umath_tests", "_rational_tests"))


def _of_the_system(source: str) -> bool:
    return source.startswith(("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"))


def _qt_wanted(path: PurePosixPath, languages: frozenset[str], processor: str) -> bool:
    parts = path.parts
    lowered = path.name.lower()
    if "qml" in parts or "include" in parts or "doc" in parts or "metatypes" in parts:
        return False
    if len(parts) == 2 and re.search(r"^Qt.*\.(abi3\.so|pyd)$", path.name):
        return parts[1].partition(".")[0] in QT_BINDINGS
    if path.suffix == ".pyi":
        return False
    if lowered.endswith(".exe"):
        return lowered == "qtwebengineprocess.exe"
    if "plugins" in parts:
        stem = lowered.partition(".")[0].removeprefix("lib")
        stem = stem.removesuffix("plugin") if "platforminputcontexts" in parts else stem
        key = f"{parts[parts.index('plugins') + 1]}/{stem}"
        return key in QT_PLUGINS or key.startswith("platforms/qwayland")
    if "qtwebengine_locales" in parts:
        return path.name == "en-US.pak"
    if "translations" in parts:
        return path.stem.removeprefix("qtbase_") in languages
    snapshot = re.fullmatch(r"v8_context_snapshot\.(arm64|x86_64)\.bin", lowered)
    if snapshot is not None and processor in ("arm64", "x86_64"):
        return snapshot[1] == processor
    if "devtools" in lowered or lowered.endswith((".debug.pak", ".debug.bin")):
        return False
    return not lowered.removeprefix("lib").startswith(
        ("avcodec", "avformat", "avutil", "swresample", "swscale", "opengl32sw", "d3dcompiler")
    )


def without_unneeded_qt(entries: list[Entry]) -> list[Entry]:
    """Leave out the libraries of Qt that nothing which is left is linked with."""
    libraries = {_key(n): source for n, source, kind in entries if kind != "SYMLINK" and _is_qt(n)}
    reached: set[str] = set()
    todo = [s for n, s, kind in entries if kind != "SYMLINK" and _is_program(n) and not _is_qt(n)]
    while todo:
        for needed in map(_key, needed_by(todo.pop())):
            if needed in libraries and needed not in reached:
                reached.add(needed)
                todo.append(libraries[needed])
    if not reached:  # nothing could be read here: keep what PyInstaller found
        return entries
    gone = set(libraries) - reached
    return [entry for entry in entries if not _belongs_to(entry[0], gone)]


def _belongs_to(name: str, gone: set[str]) -> bool:
    framework = re.search(r"/(\w+)\.framework/", name)
    return _key(name) in gone or (framework is not None and framework[1] in gone)


def beside_qt(entries: list[Entry]) -> list[Entry]:
    """Put the libraries of X that go with the program beside Qt's, with links to them where they were."""
    found = []
    for name, source, kind in entries:
        if BESIDE_QT.fullmatch(name) and kind == "BINARY":
            place = f"PySide6/Qt/lib/{name}"
            found += [(place, source, kind), (name, place, "SYMLINK")]
        else:
            found.append((name, source, kind))
    return found


def without_dangling(entries: list[Entry]) -> list[Entry]:
    """Leave out the links at the top of the program that PyInstaller has made to what is left out."""
    kept = {name for name, _, _ in entries}
    return [
        (name, source, kind)
        for name, source, kind in entries
        if kind != "SYMLINK" or "/" in name or "/" not in source or source in kept
    ]


def _is_qt(name: str) -> bool:
    """Whether a file is a library of Qt's on Linux, Windows or macOS, or of what Qt brings along."""
    name = name.replace("\\", "/")
    return (
        re.match(
            r"PySide6/(Qt/lib/lib.*\.(so|dylib)|[^/]+\.dll$|Qt/lib/(\w+)\.framework/Versions/\w+/\3$)",
            name,
        )
        is not None
    )


def _is_program(name: str) -> bool:
    return ".so" in name or name.endswith((".dylib", ".dll", ".pyd", ".exe", "/QtWebEngineProcess"))


def linked_name(link: str) -> str:
    """The file's name in a link, which on macOS is a path."""
    return link.replace("\\", "/").rpartition("/")[2]


def _key(link: str) -> str:
    name = linked_name(link)
    return name.lower() if name.lower().endswith(".dll") else name  # Windows knows no capitals


def needed_by(path: str | Path) -> list[str]:
    """What a program or library of Linux, Windows or macOS is linked with; none where it is neither."""
    from freeze.elf import ElfFile
    from freeze.macho import MachFile
    from freeze.pe import PeFile

    path = Path(path)
    with contextlib.suppress(OSError, ValueError):
        return ElfFile.read(path).needed
    with contextlib.suppress(OSError, ValueError):
        windows = PeFile.read(path)
        return [*windows.needed, *windows.delayed]
    with contextlib.suppress(OSError, ValueError):
        parts = MachFile.read(path).values()
        return list(dict.fromkeys(need for part in parts for need in (*part.needed, *part.weak)))
    return []
