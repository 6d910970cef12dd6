"""Making the program smaller where PyInstaller has laid it out: debugging symbols, the
languages of ICU, the second of two libraries for linear algebra.

Only on Linux. Whatever cannot be done safely is left as it was: a larger program is better than one that fails.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from freeze import icu, one_blas
from freeze.elf import ElfFile, forget_search_path, is_elf, load_segments

PAGE = 4096


@dataclass
class Saved:
    """Bytes that are gone, by what was done."""

    symbols: int = 0
    icu: int = 0
    blas: int = 0
    files: int = 0


def slim(folder: Path) -> Saved:
    """Make the files of ``_internal`` smaller, in place."""
    saved = Saved()
    strip = shutil.which("strip")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or ".so" not in path.name or not is_elf(path):
            continue
        forget_search_path(path)
        if strip is not None:
            won = strip_symbols(path, strip)
            saved.symbols += won
            saved.files += won > 0
    for path in folder.rglob("libicudata.so.*"):
        if not path.is_symlink():
            saved.icu += icu.shorten_library(path)
    for path in folder.rglob("icudtl.dat"):
        saved.icu += icu.shorten_file(path)
    saved.blas = one_blas.unite(folder)
    return saved


def strip_symbols(path: Path, strip: str = "strip") -> int:
    """Take a library's symbols for debuggers away; returns the bytes won.

    Libraries of Python wheels were edited after linking (their names and search paths), and ``strip`` moves the parts
    of some of those so that they cannot be loaded any more. Such a result is thrown away.
    """
    before = path.stat().st_size
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        smaller = Path(work) / path.name
        shutil.copy2(path, smaller)
        done = subprocess.run(
            [strip, "--strip-unneeded", str(smaller)], capture_output=True, check=False
        )
        if done.returncode or not same_library(path, smaller):
            return 0
        won = before - smaller.stat().st_size
        if won <= 0:
            return 0
        smaller.replace(path)
    return won


def same_library(one: Path, other: Path) -> bool:
    """Whether the second can be loaded in place of the first: the same name and needs, all parts on whole pages."""
    try:
        facts, others = ElfFile.read(one), ElfFile.read(other)
        segments = load_segments(other)
    except ValueError:
        return False
    whole = all(offset % PAGE == address % PAGE for offset, address in segments)
    return whole and bool(segments) and facts == others
