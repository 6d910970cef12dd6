"""What ``nadir.spec`` collects and says of the program, on each system."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IDENTIFIER = "org.nadir.Nadir"
SOURCE = "source"  # folder inside the program: the engine as another Python reads it
NEEDS = "training-requirements.txt"
PURE_PYTHON_KEPT = ("engine.networks", "engine.training")  # torch's: these run elsewhere
MACOS = "15.0"  # what PySide6's modules are built for, the newest of all that is inside
WINDOWS_RUNTIME = ("msvcp140.dll", "msvcp140_1.dll")
_WINDOW_ONLY = {"pyside6", "pyqtgraph", "folium"}


@dataclass(frozen=True)
class Facts:
    """What the program is called and made of."""

    version: str
    distributions: tuple[str, ...]
    identifier: str = IDENTIFIER
    name: str = "Nadir"
    summary: str = "Find where a photo was taken, offline, from aerial imagery"
    copyright: str = "The Nadir authors. MIT licence"

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """The version as Windows wants it."""
        found = [int(n) for n in re.findall(r"\d+", self.version)[:4]]
        return tuple([*found, 0, 0, 0, 0][:4])  # type: ignore[return-value]


def facts(root: Path) -> Facts:
    """Read version and direct needs from a checkout."""
    text = (root / "engine" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise ValueError("engine/__init__.py tells no version")
    return Facts(found[1], tuple(map(_name, _project(root)["dependencies"])))


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0]


def frozen_modules(root: Path) -> list[str]:
    """Every module of app and engine but those that need torch: many are imported late, where nobody sees it."""
    found = []
    for top in ("app", "engine"):
        for path in sorted((root / top).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            if not any(name == torch or name.startswith(f"{torch}.") for torch in PURE_PYTHON_KEPT):
                found.append(name)
    return found


def languages(root: Path) -> frozenset[str]:
    """The languages Nadir is translated to, by its files ``nadir_LANGUAGE.qm``."""
    found = (root / "resources" / "translations").glob("nadir_*.qm")
    return frozenset(path.stem.removeprefix("nadir_") for path in found)


def training_requirements(root: Path) -> str:
    """What the Python that trains is given: the engine's needs and training's, in the versions that are tested."""
    project = _project(root)
    wanted = [n for n in map(_name, project["dependencies"]) if n.lower() not in _WINDOW_ONLY]
    wanted += map(_name, project["optional-dependencies"]["train"])
    pinned = {}
    for line in (root / "packaging" / "lock.txt").read_text("utf-8").splitlines():
        name, equal, version = line.partition("==")
        if equal:
            pinned[name.lower()] = f"{name}=={version}"
    return "".join(f"{pinned.get(name.lower(), name)}\n" for name in wanted)


def engine_source(root: Path, work: Path) -> list[tuple[str, str]]:
    """The engine as source, for the Python that trains, and what that Python has to have."""
    work.mkdir(parents=True, exist_ok=True)
    (work / NEEDS).write_text(training_requirements(root), "utf-8")
    found = [(str(work / NEEDS), SOURCE)]
    for path in sorted((root / "engine").rglob("*")):
        if path.suffix == ".py" or path.name == "py.typed":
            found.append((str(path), str(Path(SOURCE) / path.parent.relative_to(root))))
    return found


def windows_runtime() -> list[tuple[str, str]]:
    """Microsoft's runtime for C++ at the top of the program, where onnxruntime looks for it.

    PyInstaller would take it from the building Windows, which need not have it, or have an older one than the wheels
    are built with. The one that comes with PySide6 is taken.
    """
    found = importlib.util.find_spec("shiboken6")
    if found is None or not found.submodule_search_locations:
        raise ValueError("shiboken6 is not installed")
    folder = Path(found.submodule_search_locations[0])
    return [(str(folder / name), ".") for name in WINDOWS_RUNTIME]


def version_resource(about: Facts, name: str) -> Any:
    """The version resource of a Windows program."""
    v = importlib.import_module("PyInstaller.utils.win32.versioninfo")
    strings = {
        "CompanyName": about.name,
        "FileDescription": about.summary,
        "FileVersion": about.version,
        "InternalName": name,
        "LegalCopyright": about.copyright,
        "OriginalFilename": f"{name}.exe",
        "ProductName": about.name,
        "ProductVersion": about.version,
    }
    table = v.StringTable("040904B0", [v.StringStruct(k, text) for k, text in strings.items()])
    return v.VSVersionInfo(
        ffi=v.FixedFileInfo(filevers=about.numbers, prodvers=about.numbers),
        kids=[
            v.StringFileInfo([table]),
            v.VarFileInfo([v.VarStruct("Translation", [0x409, 1200])]),
        ],
    )


def info_plist(about: Facts) -> dict[str, Any]:
    """What macOS is told of the program: the folders that are one thing to the Finder, and who opens them."""
    kinds = (
        ("encoder", "Nadir encoder", "org.nadir.encoder"),
        ("index", "Nadir index", "org.nadir.index"),
    )
    types = [
        {
            "UTTypeIdentifier": identifier,
            "UTTypeDescription": words,
            "UTTypeConformsTo": ["com.apple.package"],
            "UTTypeTagSpecification": {"public.filename-extension": [ending]},
        }
        for ending, words, identifier in kinds
    ]
    documents = [
        {
            "CFBundleTypeName": words,
            "CFBundleTypeRole": "Viewer",
            "LSHandlerRank": "Owner",
            "LSItemContentTypes": [identifier],
            "LSTypeIsPackage": True,
        }
        for _, words, identifier in kinds
    ]
    documents.append(
        {
            "CFBundleTypeName": "Photo",
            "CFBundleTypeRole": "Viewer",
            "LSHandlerRank": "Alternate",
            "LSItemContentTypes": ["public.jpeg", "public.png", "public.tiff", "public.heic"],
        }
    )
    return {
        "CFBundleDisplayName": about.name,
        "CFBundleShortVersionString": about.version,
        "CFBundleVersion": ".".join(map(str, about.numbers[:3])),
        "NSHumanReadableCopyright": about.copyright,
        "NSHighResolutionCapable": True,
        "NSSupportsAutomaticGraphicsSwitching": True,
        "LSApplicationCategoryType": "public.app-category.graphics-design",
        "LSMinimumSystemVersion": MACOS,
        "UTExportedTypeDeclarations": types,
        "CFBundleDocumentTypes": documents,
    }
