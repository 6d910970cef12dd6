"""What lies somewhere: an encoder or an index, read as far as its card or manifest, whole, unfinished or broken."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.encoder import Card
from engine.encoder.card import CARD_FILE
from engine.encoder.package import read_facts
from engine.errors import NadirError
from engine.index.manifest import MANIFEST_FILE, Manifest, read_manifest
from engine.index.store import BUILDING, check_file, index_folder

Kind = Literal["encoder", "index"]

ENCODER, INDEX = ".encoder", ".index"
ZIP = ".zip"


@dataclass(frozen=True)
class Item:
    """An encoder or an index as it lies on the disk.

    Args:
        name: its own name, else its folder's.
        bytes: of the files that belong to it; 0 where that is not known.
        card, manifest: what it says of itself; None where that cannot be read.
        error: what is wrong with it, and what to do.
        unfinished: an index whose build has not come to its end.
    """

    kind: Kind
    path: Path
    name: str
    bytes: int = 0
    card: Card | None = None
    manifest: Manifest | None = None
    error: NadirError | None = None
    unfinished: bool = False

    @property
    def hash(self) -> str:
        """Of the card or the manifest; "" where it cannot be read."""
        told = self.card or self.manifest
        return told.hash if told is not None else ""


def kind_of(path: Path) -> Kind | None:
    """What a file or folder is by its name and by what lies in it; None: neither an encoder nor an index."""
    name = path.name.lower().removesuffix(ZIP)
    if name.endswith(INDEX):
        return "index"
    if name.endswith(ENCODER):
        return "encoder"
    try:
        if path.is_dir():
            if (path / MANIFEST_FILE).is_file() or (path / BUILDING).is_dir():
                return "index"
            return "encoder" if (path / CARD_FILE).is_file() else None
        if path.is_file() and path.suffix.lower() == ZIP:
            return _kind_of_zip(path)
    except OSError:
        return None
    return None


def _kind_of_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/") for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return None
    shallow = {parts[-1] for parts in names if len(parts) <= 2}
    if MANIFEST_FILE in shallow:
        return "index"
    return "encoder" if CARD_FILE in shallow else None


def look(path: Path) -> Item:
    """Read what an encoder or an index says of itself, and whether its files are there; nothing else is read.

    What is wrong is kept in the item: a broken one is shown as broken.
    """
    kind = kind_of(path) or "index"
    name = path.name.removesuffix(ZIP).removesuffix(ENCODER).removesuffix(INDEX)
    try:
        if kind == "encoder":
            card, size = read_facts(path)
            return Item(kind, path, card.name, size, card=card)
        return _look_at_index(path, name)
    except NadirError as error:
        return Item(kind, path, name, error=error)
    except OSError as error:
        problem = NadirError(f"it cannot be read ({error.strerror})", path, "Check the disk")
        return Item(kind, path, name, error=problem)


def _look_at_index(path: Path, name: str) -> Item:
    if (path / BUILDING).is_dir() and not (path / MANIFEST_FILE).exists():
        return Item("index", path, name, unfinished=True)
    folder = index_folder(path)
    manifest = read_manifest(folder)
    size = sum(facts.bytes for facts in manifest.files.values())
    try:
        for file, facts in manifest.files.items():
            check_file(folder / manifest.folder, file, facts.bytes)
    except NadirError as error:
        return Item("index", path, manifest.name or name, size, manifest=manifest, error=error)
    return Item("index", path, manifest.name or name, size, manifest=manifest)


def scan(folder: Path) -> list[Path]:
    """Encoders and indexes that lie in a folder, by name; empty where there is no such folder."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name.lower())
    except OSError:
        return []
    endings = (ENCODER, INDEX, ENCODER + ZIP)
    return [
        path
        for path in entries
        if path.name.lower().endswith(endings) and not path.name.startswith(".")
    ]
