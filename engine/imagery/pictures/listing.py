"""What lies in a folder: pictures, tables, and what is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import ImageryError
from engine.imagery.pictures.tables import ENDINGS as TABLE_ENDINGS
from engine.progress import Report

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""Of the files that are taken for pictures."""

MAX_PICTURES = 20_000_000
MAX_DEPTH = 16
MAX_TABLES = 200
MAX_PICTURE_BYTES = 128 << 20
"""Of one picture's file; what is larger is no tile and no photo, and would be read whole."""


@dataclass(eq=False)
class Listing:
    """The files below a folder, by path.

    Attributes:
        files: pictures, relative to the folder, with ``/``.
        sizes: of each, bytes.
        tables: files that may say where pictures lie.
        links: pictures that are links out of the folder.
        huge: pictures of more than :data:`MAX_PICTURE_BYTES`.
    """

    files: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    huge: list[str] = field(default_factory=list)


def list_folder(root: Path, report: Report) -> Listing:
    """All pictures and tables below a folder; hidden ones are passed over, links to folders are not followed.

    Args:
        root: all links resolved.

    Raises:
        ImageryError: it cannot be looked into, or holds too many pictures.
    """
    listing = Listing()
    for entry, relative in _walk(root, "", 0):
        ending = os.path.splitext(entry.name)[1].lower()
        if ending in TABLE_ENDINGS:
            if len(listing.tables) < MAX_TABLES and not _leads_out(entry, root):
                listing.tables.append(Path(entry.path))
        elif ending in ENDINGS:
            _add(listing, entry, relative, root)
            if len(listing.files) % 1000 == 0:
                report(0, 0, f"Looking through the folder: {len(listing.files):,} pictures")
    return listing


def _add(listing: Listing, entry: os.DirEntry[str], relative: str, root: Path) -> None:
    if _leads_out(entry, root):
        listing.links.append(relative)
        return
    try:
        if not entry.is_file():
            return
        size = entry.stat().st_size
    except OSError:
        return
    if size > MAX_PICTURE_BYTES:
        listing.huge.append(relative)
        return
    if len(listing.files) >= MAX_PICTURES:
        raise ImageryError(
            f"holds more than {MAX_PICTURES:,} pictures", root, "Build indexes of parts of it"
        )
    listing.files.append(relative)
    listing.sizes.append(size)


def _walk(folder: Path | str, relative: str, depth: int) -> Iterator[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if depth == 0:
            raise ImageryError(f"cannot be looked into ({error.strerror})", folder) from error
        return
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        name = f"{relative}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if depth < MAX_DEPTH:
                yield from _walk(entry.path, f"{name}/", depth + 1)
        elif not (entry.is_symlink() and os.path.isdir(entry.path)):
            yield entry, name


def _leads_out(entry: os.DirEntry[str], root: Path) -> bool:
    return entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root)
