"""What ships with the program: the demo encoder, the demo index, sample photos."""

from __future__ import annotations

import sys
from pathlib import Path

TRAINING_NEEDS = ("torch", "onnx", "onnxscript", "safetensors", "scipy")
"""Packages that training and importing need beyond what locating does."""


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


def training_packages() -> str:
    """What to give pip so that one can train and import.

    A checkout is named by its folder, a frozen program's needs one by one. Never by the name ``nadir``: at the public
    index of packages that is another project.
    """
    root = Path(__file__).resolve().parents[1]
    if not getattr(sys, "frozen", False) and (root / "pyproject.toml").is_file():
        return f'"{root}[train]"'
    return " ".join(TRAINING_NEEDS)


def install_for_training() -> str:
    """What to type so that this interpreter can train and import."""
    python = (not getattr(sys, "frozen", False) and sys.executable) or "python3"
    return f"{_quoted(python)} -m pip install {training_packages()}"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


def _first(pattern: str, holds: str) -> Path | None:
    return next(
        (path for path in sorted(resources().glob(pattern)) if (path / holds).is_file()), None
    )
