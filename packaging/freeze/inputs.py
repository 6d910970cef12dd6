"""What the frozen program depends on beside app and engine, as one number: has it been proved as it stands here?

Git's history would tell what a commit changed, but not what was last built: a clone may be shallow, a change
many commits old. So the full proof writes down the digest of what it has proved, in ``packaging/proven.json``, which is
committed. Where it is missing, or speaks of something else, the proof is due: to forget it costs time, never trust.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

PROVEN = Path("packaging") / "proven.json"
_FOLDERS = ("packaging", "resources")
_FILES = ("pyproject.toml", "run.py", "LICENSE")


def inputs(root: Path) -> list[Path]:
    """Packaging, dependencies and resources: every file that counts, by name."""
    found = [root / name for name in _FILES]
    for folder in _FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.is_file()]
    return sorted(path for path in found if path.is_file() and _counts(path.relative_to(root)))


def _counts(name: Path) -> bool:
    if "__pycache__" in name.parts or name.suffix in (".pyc", ".md") or name == PROVEN:
        return False
    return name.parts[:2] != ("resources", "screenshots")


def digest(root: Path) -> str:
    """SHA-256 over names and contents of :func:`inputs`."""
    total = hashlib.sha256()
    for path in inputs(root):
        one = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()}\0{one}\n".encode())
    return total.hexdigest()


def is_proven(root: Path) -> bool:
    """Whether the full proof has passed with just these inputs."""
    try:
        told = json.loads((root / PROVEN).read_text("utf-8"))
        return told["digest"] == digest(root)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def record(root: Path) -> None:
    """Write down that the full proof has passed."""
    (root / PROVEN).write_text(json.dumps({"digest": digest(root)}, indent=1) + "\n", "utf-8")
