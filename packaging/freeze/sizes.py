"""How large the program is, by what it is made of."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_COMPONENTS: tuple[tuple[str, str], ...] = (
    (
        r"PySide6/Qt/(lib/libQt6WebEngine|resources|translations/qtwebengine|libexec)",
        "Qt WebEngine",
    ),
    (r"PySide6/Qt/lib/libicu", "Qt: ICU"),
    (r"PySide6/(Qt/|translations|plugins)", "Qt: libraries and plugins"),
    (r"PySide6|shiboken6", "Qt for Python"),
    (r"onnxruntime", "onnxruntime"),
    (r"faiss", "faiss and its BLAS"),
    (r"numpy", "NumPy and its BLAS"),
    (r"rasterio", "rasterio, GDAL, PROJ"),
    (r"PIL|pillow", "Pillow"),
    (r"resources", "Nadir: demo and resources"),
    (r"source", "Nadir: engine as source, for training"),
    (r"libpython|python3|base_library|lib(ssl|crypto|sqlite3|ffi|lzma|bz2)", "Python"),
    (r"lib[^/]*\.so", "libraries of the system"),
)


def component_of(inside: str) -> str:
    """What a file belongs to, by its name inside ``_internal``."""
    for pattern, name in _COMPONENTS:
        if re.match(pattern, inside):
            return name
    return "other Python libraries"


def sizes(program: Path) -> Counter[str]:
    """Bytes by component of the program's folder; links count nothing."""
    found: Counter[str] = Counter()
    inner = program / "_internal"
    for path in program.rglob("*"):
        if path.is_file() and not path.is_symlink():
            if path.is_relative_to(inner):
                name = component_of(path.relative_to(inner).as_posix())
            else:
                name = "Nadir: program and Python modules"
            found[name] += path.stat().st_size
    return found


def table(found: Counter[str]) -> str:
    """The sizes as people read them, largest first; megabytes are millions of bytes."""
    lines = [f"{count / 1e6:8.1f} MB  {name}" for name, count in found.most_common()]
    return "\n".join([*lines, f"{found.total() / 1e6:8.1f} MB  together"])
