"""How large the program is, by what it is made of."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_COMPONENTS: tuple[tuple[str, str], ...] = (
    (
        r"PySide6/Qt/(lib/(lib)?Qt6?WebEngine|resources|translations/qtwebengine|libexec)"
        r"|PySide6/(Qt6WebEngine|QtWebEngineProcess|resources|translations/qtwebengine)",
        "Qt WebEngine",
    ),
    (r"PySide6/Qt/lib/libicu", "Qt: ICU"),
    (
        r"(PySide6/|shiboken6/|[^/]*\.libs/)?(msvcp140|vcruntime140|concrt140|vcomp140|vccorlib140)",
        "Microsoft's runtime for C++",
    ),
    (r"PySide6/(Qt/|Qt6|translations|plugins)|opengl32sw", "Qt: libraries and plugins"),
    (r"PySide6|shiboken6", "Qt for Python"),
    (r"onnxruntime", "onnxruntime"),
    (r"faiss", "faiss and its BLAS"),
    (r"numpy", "NumPy and its BLAS"),
    (r"rasterio", "rasterio, GDAL, PROJ"),
    (r"PIL|pillow", "Pillow"),
    (r"resources", "Nadir: demo and resources"),
    (r"source", "Nadir: engine as source, for training"),
    (
        r"libpython|python3|Python|base_library|(lib)?(ssl|crypto|sqlite3|ffi|lzma|bz2)|[^/]+\.pyd",
        "Python",
    ),
    (r"lib[^/]*\.(so|dylib)", "libraries of the system"),
)


def component_of(inside: str) -> str:
    """What a file belongs to, by its name inside ``_internal``."""
    for pattern, name in _COMPONENTS:
        if re.match(pattern, inside, re.IGNORECASE):
            return name
    return "other Python libraries"


def sizes(program: Path) -> Counter[str]:
    """Bytes by component of the program's folder, or of an application of macOS; links count nothing."""
    found: Counter[str] = Counter()
    # macOS has data and libraries in two folders, of which each has links to the other.
    inner = [program / name for name in ("_internal", "Contents/Frameworks", "Contents/Resources")]
    for path in program.rglob("*"):
        if path.is_file() and not path.is_symlink():
            folder = next((folder for folder in inner if path.is_relative_to(folder)), None)
            if folder is not None:
                name = component_of(path.relative_to(folder).as_posix())
            else:
                name = "Nadir: program and Python modules"
            found[name] += path.stat().st_size
    return found


def table(found: Counter[str]) -> str:
    """The sizes as people read them, largest first; megabytes are millions of bytes."""
    lines = [f"{count / 1e6:8.1f} MB  {name}" for name, count in found.most_common()]
    return "\n".join([*lines, f"{found.total() / 1e6:8.1f} MB  together"])
