"""The bill of materials: CycloneDX 1.6, JSON (ECMA-424)."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path
from typing import Any

from freeze.licences import Part

# Of SPDX's list what occurs; a name that is not here goes in as words.
_NAMES = """
0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause CC0-1.0 FTL GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND
IJG ISC LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MIT-CMU MPL-2.0
OFL-1.1 PSF-2.0 PostgreSQL Python-2.0 Qhull Unicode-3.0 Unlicense X11 Zlib blessing bzip2-1.0.6 curl libpng-2.0 libtiff
"""
_IDS = frozenset(_NAMES.split())
_EXCEPTIONS = frozenset({"Bootloader-exception", "GCC-exception-3.1", "LLVM-exception"})
_SAME = {"MIT License": "MIT", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0"}


def bill(parts: list[Part], version: str, folder: Path) -> dict[str, Any]:
    """The bill of the program in ``folder``; the same program gives the same bill."""
    digest = tree_digest(folder)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(digest[:32])}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "nadir",
                "name": "nadir",
                "version": version,
                "licenses": [{"expression": "MIT"}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
        },
        "components": [_component(part) for part in parts if part.name != "Nadir"],
    }


def _component(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": "/".join(filter(None, (part.kind, part.name, part.version))),
        "name": part.name,
        "licenses": [_licence(part.licence)],
    }
    if part.version:
        found["version"] = part.version
    if part.kind == "python":
        name = re.sub(r"[-_.]+", "-", part.name).lower()
        found["purl"] = f"pkg:pypi/{name}@{part.version}"
    elif part.kind == "system":
        found["purl"] = f"pkg:deb/debian/{part.name}@{part.version}".replace("+", "%2B")
    elif part.kind == "web":
        found["purl"] = f"pkg:npm/{part.name.lower()}@{part.version}"
    if part.home.startswith("http"):
        found["externalReferences"] = [{"type": "website", "url": part.home}]
    return found


def _licence(words: str) -> dict[str, Any]:
    words = _SAME.get(words, words)
    return {"expression": words} if is_expression(words) else {"license": {"name": words}}


def is_expression(words: str) -> bool:
    """Whether a licence is told as SPDX wants it, with names of SPDX's list."""
    for part in re.split(r" (?:AND|OR) ", words.replace("(", "").replace(")", "")):
        name, given, exception = part.partition(" WITH ")
        if name not in _IDS and not re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", name):
            return False
        if given and exception not in _EXCEPTIONS:
            return False
    return words.count("(") == words.count(")")


def tree_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                one = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder).as_posix()}\0{one}\n".encode())
    return total.hexdigest()


def write(parts: list[Part], version: str, folder: Path, target: Path) -> None:
    """Write the bill of the program in ``folder``."""
    target.write_text(json.dumps(bill(parts, version, folder), indent=1), "utf-8")
