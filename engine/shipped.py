"""What ships with the program: the demo encoder, the demo index, sample photos."""

from __future__ import annotations

import os
import sys
from pathlib import Path

GPU_FOLDER = "nadir-gpu"
GPU_TROUBLE = "NADIR_GPU_TROUBLE"
"""Variable of the environment: why an onnxruntime for the GPU that stands beside the program is not used."""
TRAINING_NEEDS = ("torch", "onnx", "onnxscript", "safetensors", "scipy")
"""Packages that training and importing need beyond what locating does."""


def resources() -> Path:
    """The folder ``resources``: beside the packages, or inside the frozen program."""
    inside = frozen_folder()
    if inside is not None:
        return inside / "resources"
    root = Path(__file__).resolve().parents[1]
    # The frozen program carries the engine as source too, in a folder of its own, for the Python that trains.
    return next(
        (place for place in (root / "resources", root.parent / "resources") if place.is_dir()),
        root / "resources",
    )


def frozen_folder() -> Path | None:
    """Where the frozen program keeps its files; None in a checkout."""
    inside = getattr(sys, "_MEIPASS", None) if getattr(sys, "frozen", False) else None
    return Path(inside) if inside else None


def engine_source() -> Path:
    """The folder in which another Python finds the package ``engine``."""
    inside = frozen_folder()
    return inside / "source" if inside is not None else Path(__file__).resolve().parents[1]


def own_command() -> list[str]:
    """How Nadir's command line is started as another process: by this Python, or by the frozen program itself."""
    if frozen_folder() is None:
        return [sys.executable, "-m", "engine"]
    # On Windows a program with a window has no terminal; its twin beside it has.
    twin = Path(sys.executable).with_name("nadir-cli.exe")
    return [str(twin) if sys.platform == "win32" and twin.is_file() else sys.executable]


def own_gpu_folder() -> Path:
    """Where the user may put an onnxruntime for the GPU, which the installed program then takes for its own."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "nadir" / GPU_FOLDER
    data = os.environ.get("XDG_DATA_HOME", "")
    place = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return place / "nadir" / GPU_FOLDER


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

    A checkout is named by its folder, a frozen program's needs by the list it carries. Never by the name ``nadir``: at
    the public index of packages that is another project.
    """
    root = Path(__file__).resolve().parents[1]
    needs = training_requirements()
    if needs is not None:
        return f"-r {_quoted(str(needs))}"
    if not getattr(sys, "frozen", False) and (root / "pyproject.toml").is_file():
        return f'"{root}[train]"'
    return " ".join(TRAINING_NEEDS)


def training_requirements() -> Path | None:
    """The frozen program's list of what a Python needs to train with it; None in a checkout."""
    if frozen_folder() is None:
        return None
    needs = engine_source() / "training-requirements.txt"
    return needs if needs.is_file() else None


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
