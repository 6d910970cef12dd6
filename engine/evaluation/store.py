"""Descriptors kept on disk, so that a metric can be computed again without the model.

A file is found by a key made of everything its numbers depend on: the encoder's hash, this program's version, which
side, the pictures (path below the dataset, size and time of change) with what is known of them, and how they are
shown. When a picture or the encoder changes the key does too, and the old file is not found any more; it can be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import __version__
from engine.datasets import Dataset, Records
from engine.files import atomic_write

Arrays = Mapping[str, NDArray[np.float32]]

VERSION = 1
"""Raised when the same key would mean other numbers, as after a change of the preprocessing between releases."""

_LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def default_store() -> Path:
    """Where descriptors are kept unless one says otherwise: the user's folder for caches."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "nadir" / "descriptors"


def key_of(dataset: Dataset, side: str, encoder_hash: str, how: Mapping[str, Any]) -> str:
    """What the descriptors of one side of a dataset depend on, as 64 hexadecimal digits.

    Args:
        side: "query" or "reference".
        how: how the pictures are shown (field of view, rolls of the canvas, variant): JSON values.
    """
    records = dataset.queries if side == "query" else dataset.references
    reader = dataset.query_reader if side == "query" else dataset.reference_reader
    digest = hashlib.sha256()
    about = {
        "version": (VERSION, __version__),
        "encoder": encoder_hash,
        "side": side,
        "format": dataset.format,
        "reader": repr(reader),
        "how": dict(how),
    }
    digest.update(json.dumps(about, sort_keys=True).encode())
    for path, size, changed in _states(records, dataset.folder):
        digest.update(f"{path}\0{size}\0{changed}\n".encode(errors="surrogateescape"))
    for column in (
        records.lat,
        records.lon,
        records.heading_deg,
        records.extent_m,
        records.fov_deg,
    ):
        digest.update(b"" if column is None else np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _states(records: Records, folder: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of change of every picture; a folder's pictures are looked up in one go."""
    known: dict[Path, dict[str, tuple[int, int]]] = {}
    states: list[tuple[str, int, int]] = []
    for path in records.files:
        if path.parent not in known:
            known[path.parent] = _listed(path.parent)
        size, changed = known[path.parent].get(path.name, (-1, -1))
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        states.append((shown.as_posix(), size, changed))
    return states


def _listed(folder: Path) -> dict[str, tuple[int, int]]:
    if not folder.is_dir():
        return {}
    found: dict[str, tuple[int, int]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            state = entry.stat()
            found[entry.name] = (state.st_size, state.st_mtime_ns)
    return found


class Store:
    """A folder of descriptors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, name: str, key: str) -> Path:
        plain = "".join(c if c in _LETTERS else "-" for c in name)[:40] or "dataset"
        return self.folder / f"{plain}-{key[:32]}.npz"

    def load(self, name: str, key: str, count: int) -> dict[str, NDArray[np.float32]] | None:
        """The arrays kept under a key; None where there are none, or they are damaged or not ``count`` long."""
        path = self._file(name, key)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        whole = arrays and all(a.dtype == np.float32 and len(a) == count for a in arrays.values())
        return arrays if whole else None

    def save(self, name: str, key: str, arrays: Arrays) -> Path:
        """Keep arrays under a key; returns the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._file(name, key)
        with atomic_write(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
        return path
