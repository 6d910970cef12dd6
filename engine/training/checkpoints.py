"""Everything a training needs to go on exactly where it stood, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from engine.errors import TrainingError
from engine.files import atomic_write

FORMAT = "nadir-checkpoint"
VERSION = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; whatever stood there stays until the new one is whole."""
    try:
        with atomic_write(path) as file:
            torch.save({"format": FORMAT, "version": VERSION, **state}, file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise TrainingError(f"the checkpoint cannot be written ({reason})", path) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Nothing in it is ever executed.

    Raises:
        TrainingError: when it is missing, damaged or something else.
    """
    if not path.is_file():
        raise TrainingError("there is no such checkpoint", path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError("cannot be read as a checkpoint", path) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(
            "is not a checkpoint of this program",
            path,
            "For another project's weights: nadir import",
        )
    if state.get("version") != VERSION:
        raise TrainingError(
            f"has version {state.get('version')}; this program reads {VERSION}", path
        )
    return state
