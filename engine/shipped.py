"""What ships with the program: the demo encoder, the demo index, sample photos."""

from __future__ import annotations

import sys
from pathlib import Path


def resources() -> Path:
    """The folder ``resources``: beside the packages, or inside the frozen program."""
    frozen = getattr(sys, "_MEIPASS", None)
    return (Path(frozen) if frozen else Path(__file__).resolve().parents[1]) / "resources"


def shipped_encoder() -> Path | None:
    """The demo encoder, None where this copy has none."""
    return _first("*.encoder", "card.json")


def shipped_index() -> Path | None:
    """The demo index, None where this copy has none."""
    return _first("*.index", "manifest.json")


def sample_photos() -> list[Path]:
    """The sample photos, by name."""
    return sorted((resources() / "samples").glob("*.jpg"))


def _first(pattern: str, holds: str) -> Path | None:
    return next(
        (path for path in sorted(resources().glob(pattern)) if (path / holds).is_file()), None
    )
