"""What PyInstaller would collect on Windows or macOS from wheels that are unpacked here, by the names it would give.

PyInstaller asks the running system and imports the libraries, which cannot be done for another system. What it does
with what it learns so is done again here: the bindings of Qt by what they are linked with, plugins by the tables of
PyInstaller itself, libraries by the links of all that is collected. Where it takes less than all (extension modules
that nothing imports), all is taken.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from freeze.macho import MachFile
from freeze.plan import WINDOWS_RUNTIME
from freeze.prune import PYTHON_LEFT_OUT, Entry, linked_name, needed_by

DATA_OF = ("branca", "certifi", "folium", "pyqtgraph", "xyzservices")
"""Packages whose data PyInstaller's hooks collect."""

_WHOLE = ("onnxruntime",)  # packages of which a hook takes every library


@dataclass
class Layout:
    """What is collected so far.

    Attributes:
        entries: PyInstaller's entries by the name inside.
        bindings: modules of PySide6 that are collected.
    """

    site: Path
    windows: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    bindings: list[str] = field(default_factory=list)

    def add(self, path: Path, kind: str, name: str = "") -> None:
        inside = name or path.relative_to(self.site).as_posix()
        self.entries.setdefault(inside, (inside, str(path), kind))

    @property
    def qt(self) -> Path:
        """The folder under which Qt's plugins and translations lie."""
        return self.site / "PySide6" / ("" if self.windows else "Qt")


def collect(site: Path, windows: bool, distributions: tuple[str, ...], root: Path) -> Layout:
    """The entries that PyInstaller would hand to :func:`freeze.prune.prune`.

    Args:
        distributions: those whose metadata goes along.
        root: the checkout.
    """
    layout = Layout(site, windows)
    for path in files_below(root / "resources"):
        layout.add(path, "DATA", path.relative_to(root).as_posix())
    for package in sorted(site.iterdir()):
        if package.name not in ("PySide6", "bin") and package.is_dir():
            _package(layout, package, distributions)
    _qt(layout, _imported_bindings(root))
    if windows:
        for name in WINDOWS_RUNTIME:
            layout.add(site / "shiboken6" / name, "BINARY", name)
    _linked(layout)
    if not windows:
        _frameworks(layout)
    return layout


def bytes_of(source: str, processor: str) -> int:
    """How long a file is in the program: of one for several processors PyInstaller keeps what is for one."""
    path = Path(source)
    with contextlib.suppress(OSError, ValueError):
        parts = MachFile.read(path)
        if processor in parts:
            return parts[processor].size
    return path.stat().st_size


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder, in order."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def is_extension(path: PurePosixPath | Path) -> bool:
    """Whether a file is a module that Python imports."""
    return path.suffix in (".pyd", ".so")


def left_out(module: str) -> bool:
    """Whether PyInstaller may not follow a module."""
    return any(module == name or module.startswith(f"{name}.") for name in PYTHON_LEFT_OUT)


def _package(layout: Layout, folder: Path, distributions: tuple[str, ...]) -> None:
    if folder.suffix == ".dist-info":
        names = {name.lower().replace("-", "_") for name in distributions}
        if folder.name.partition("-")[0].lower() in names:
            for path in files_below(folder):
                layout.add(path, "DATA")
        return
    for path in files_below(folder):
        inside = path.relative_to(layout.site)
        module = ".".join([*inside.parts[:-1], inside.name.partition(".")[0]])
        if left_out(module):
            continue
        if is_extension(path):
            layout.add(path, "EXTENSION")
        elif path.suffix in (".dll", ".dylib"):
            if folder.name in _WHOLE:
                layout.add(path, "BINARY")
        elif _is_data(inside):
            layout.add(path, "DATA")


def _is_data(inside: Path) -> bool:
    if inside.parts[0] == "rasterio":
        return inside.parts[1] in ("gdal_data", "proj_data")
    return inside.parts[0] in DATA_OF and inside.suffix not in (".py", ".pyi", ".pyc")


def _imported_bindings(root: Path) -> set[str]:
    """Modules of PySide6 that Nadir imports, and those that pyqtgraph tries."""
    found = {"QtOpenGL", "QtOpenGLWidgets", "QtSvg", "QtTest", "QtPrintSupport"}
    for folder in ("app", "engine", "packaging"):
        for path in (root / folder).rglob("*.py"):
            found |= set(re.findall(r"\bPySide6\.(Qt\w+)\b", path.read_text("utf-8")))
    return found


def _qt(layout: Layout, imported: set[str]) -> None:
    table = importlib.import_module("PyInstaller.utils.hooks.qt._modules_info").QT_MODULES_INFO
    bindings = [d for d in table if not d.bindings or _is_for_pyside(d)]
    by_module = {d.module: d for d in bindings if d.module}
    by_library = {d.shared_lib.lower(): d for d in bindings if d.shared_lib}
    folder = layout.site / "PySide6"
    plugins: set[str] = set()
    words: set[str] = set()
    todo, seen = sorted(imported), set()
    while todo:
        module = todo.pop()
        path = folder / (f"{module}.pyd" if layout.windows else f"{module}.abi3.so")
        if module in seen or left_out(f"PySide6.{module}") or not path.is_file():
            continue
        seen.add(module)
        layout.add(path, "EXTENSION")
        reached = [by_module[module]] if module in by_module else []
        reached += _libraries_of(path, layout, by_library)
        for definition in reached:
            if definition.module not in (None, module):
                todo.append(definition.module)
                continue
            plugins |= set(definition.plugins)
            words |= set(definition.translations)
    layout.bindings = sorted(seen)
    for kind in sorted(plugins):
        for path in sorted((layout.qt / "plugins" / kind).glob("*")):
            if path.is_file():
                layout.add(path, "BINARY")
    # PySide6 on Windows keeps translations and resources beside its modules.
    for word in sorted(words):
        for path in sorted((layout.qt / "translations").glob(f"{word}_*.qm")):
            layout.add(path, "DATA")
    _web_engine(layout)


def _is_for_pyside(definition: object) -> bool:
    told: set[str] = getattr(definition, "bindings", set())
    if any(name.startswith("!") for name in told):
        return "!PySide6" not in told
    return bool(told & {"PySide6", "PySide*"})


def _libraries_of(path: Path, layout: Layout, by_library: dict[str, object]) -> list:
    """Qt's modules that a binding is linked with; of those without a binding also what these are linked with."""
    found, todo, seen = [], [path], set()
    while todo:
        for need in needed_by(todo.pop()):
            plain = re.sub(r"^qt6?|\.dll$", "", linked_name(need).lower())
            definition = by_library.get(plain)
            if definition is None or need in seen or plain == "qml":
                continue
            seen.add(need)
            found.append(definition)
            source = resolve(need, path, layout.site)
            if getattr(definition, "module", None) is None and source is not None:
                todo.append(source)
    return found


def _web_engine(layout: Layout) -> None:
    if layout.windows:
        for path in files_below(layout.qt / "resources"):
            layout.add(path, "DATA")
        for path in files_below(layout.qt / "translations" / "qtwebengine_locales"):
            layout.add(path, "DATA")
        for path in layout.qt.glob("QtWebEngineProcess*"):
            layout.add(path, "BINARY")
        for path in layout.qt.glob("opengl32sw.dll"):
            layout.add(path, "BINARY")
        return
    core = layout.qt / "lib" / "QtWebEngineCore.framework" / "Versions" / "A"
    for part in ("Helpers", "Resources"):
        for path in files_below(core / part):
            layout.add(path, "BINARY" if path.name == "QtWebEngineProcess" else "DATA")


def resolve(need: str, importer: Path, site: Path) -> Path | None:
    """The file in the wheels that a link means: beside the importer, in its package's folder of libraries, or Qt's."""
    name = linked_name(need)
    if need.startswith("@loader_path/"):
        beside = Path(os.path.normpath(importer.parent / need.removeprefix("@loader_path/")))
        if beside.is_file():
            return beside
    framework = re.search(r"\w+\.framework/.*", need)
    top = importer.relative_to(site).parts[0]
    folders = [importer.parent, *sorted(site.glob(f"{top}*.libs")), site / top / ".dylibs"]
    if top in ("PySide6", "shiboken6"):
        folders += [site / "PySide6", site / "PySide6" / "Qt" / "lib", site / "shiboken6"]
    for folder in folders:
        if framework is not None and (folder / framework[0]).is_file():
            return folder / framework[0]
        for path in (folder / name, folder / name.lower()):
            if path.is_file():
                return path
    if importer.suffix in (".dll", ".pyd", ".exe"):  # names that delvewheel made are unique
        return next((p for p in site.glob(f"*.libs/{name}")), None)
    return None


def _linked(layout: Layout) -> None:
    """Add what the collected programs are linked with, and for macOS PyInstaller's links to it at the top."""
    todo = [Path(s) for _, s, kind in layout.entries.values() if kind != "DATA"]
    seen = set(todo)
    while todo:
        importer = todo.pop()
        for need in needed_by(importer):
            source = resolve(need, importer, layout.site)
            if source is None:
                continue
            layout.add(source, "BINARY")
            inside = source.relative_to(layout.site).as_posix()
            if not layout.windows:
                layout.entries.setdefault(source.name, (source.name, inside, "SYMLINK"))
            if source not in seen:
                seen.add(source)
                todo.append(source)


def _frameworks(layout: Layout) -> None:
    """What PyInstaller adds to a framework: what it says of itself, and the links that wheels cannot hold."""
    for inside, source, kind in list(layout.entries.values()):
        found = re.fullmatch(r"(.*/(\w+)\.framework)/Versions/A/\2", inside)
        if found is None or kind == "SYMLINK":
            continue
        folder, name = found[1], found[2]
        told = Path(source).parent / "Resources" / "Info.plist"
        if not told.is_file():
            told = Path(source).parents[2] / "Resources" / "Info.plist"
        layout.add(told, "DATA", f"{folder}/Versions/A/Resources/Info.plist")
        for link, target in (
            (f"{folder}/Versions/Current", "A"),
            (f"{folder}/{name}", f"Versions/Current/{name}"),
            (f"{folder}/Resources", "Versions/Current/Resources"),
        ):
            layout.entries.setdefault(link, (link, target, "SYMLINK"))
    helpers = "PySide6/Qt/lib/QtWebEngineCore.framework/Helpers"
    layout.entries.setdefault(helpers, (helpers, "Versions/Current/Helpers", "SYMLINK"))
