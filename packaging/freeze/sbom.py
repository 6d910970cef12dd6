"""The bill of materials: CycloneDX 1.6, JSON (ECMA-424)."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path
from typing import Any

from freeze.licences import Part

_SPDX = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")


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
        "bom-ref": f"{part.kind}/{part.name}",
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
    if _SPDX.fullmatch(words) and not words.startswith("GPL-2.0-or-later WITH"):
        return {"expression": words}
    return {"license": {"name": words}}


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
