"""Checking an index to the last byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import NadirError
from engine.index.manifest import (
    MANIFEST_FILE,
    TILES_FILE,
    VECTORS_FILE,
    Manifest,
    read_manifest,
)
from engine.index.store import BUILDING, Index, check_file, index_folder
from engine.index.tiles import TileTable
from engine.progress import Report, silent

_CHUNK = 1 << 22
_HAIR_DEG = 1e-9
_AGAIN = "Get the index again from its source, or build it again"
_SAMPLE = 256


@dataclass(frozen=True)
class Problem:
    """Something wrong with an index.

    Args:
        file: the file concerned.
        problem: what is wrong with it, one clause.
        remedy: what to do.
    """

    file: str
    problem: str
    remedy: str = _AGAIN

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. {self.remedy}."


def verify_index(path: Path | str, report: Report = silent) -> list[Problem]:
    """Check an index: the manifest, every file's length and checksum, what is in them. Empty: all is well.

    Files that nothing is known of are named too; they do no harm.
    """
    try:
        folder = index_folder(path)
        manifest = read_manifest(folder)
    except NadirError as error:
        return [Problem(MANIFEST_FILE, error.problem, error.remedy or _AGAIN)]
    problems = _check_files(folder, manifest, report)
    wrong = {problem.file for problem in problems}
    if TILES_FILE not in wrong:
        problems += _check_tiles(folder, manifest)
    if not problems:
        problems += _check_content(folder)
    known = {MANIFEST_FILE, BUILDING, *manifest.files}
    for stray in sorted(entry.name for entry in folder.iterdir() if entry.name not in known):
        problems.append(Problem(stray, "it does not belong to the index", "It can be deleted"))
    return problems


def _check_files(folder: Path, manifest: Manifest, report: Report) -> list[Problem]:
    problems: list[Problem] = []
    total = sum(facts.bytes for facts in manifest.files.values())
    done = 0
    for name, facts in manifest.files.items():
        try:
            check_file(folder, name, facts.bytes)
            digest = hashlib.sha256()
            with open(folder / name, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    done += len(chunk)
                    report(done, total, f"Checking {name}")
            if digest.hexdigest() != facts.sha256:
                problems.append(
                    Problem(name, "it was altered or damaged: its SHA-256 is not the manifest's")
                )
        except NadirError as error:
            problems.append(Problem(name, error.problem, error.remedy or _AGAIN))
        except OSError as error:
            problems.append(Problem(name, f"it cannot be read ({error.strerror})"))
    return problems


def _check_tiles(folder: Path, manifest: Manifest) -> list[Problem]:
    try:
        table = TileTable(folder / TILES_FILE, manifest.count)
        try:
            problem = table.problem()
            lats, lons = table.centres()
        finally:
            table.close()
    except NadirError as error:
        return [Problem(TILES_FILE, error.problem)]
    if problem:
        return [Problem(TILES_FILE, problem)]
    box = manifest.coverage
    # Photos lie on the edge of the box itself, whose longitudes were wrapped: a tenth of a millimetre is no error.
    inside = (lats >= box.south - _HAIR_DEG) & (lats <= box.north + _HAIR_DEG)
    inside &= (lons - box.west + _HAIR_DEG) % 360.0 <= box.width_deg + 2 * _HAIR_DEG
    if not inside.all():
        return [Problem(TILES_FILE, "tiles lie outside the coverage of the manifest")]
    return []


def _check_content(folder: Path) -> list[Problem]:
    """Whether vectors are descriptors and the imagery opens; only once the checksums are right."""
    problems: list[Problem] = []
    try:
        with Index.open(folder) as index:
            ids = np.unique(np.linspace(0, index.manifest.count - 1, _SAMPLE).astype(np.int64))
            lengths = np.linalg.norm(index.vectors(ids), axis=1)
            if np.abs(lengths - 1).max() > 0.1:
                problems.append(Problem(VECTORS_FILE, "it holds vectors that are no descriptors"))
            if index.manifest.imagery[0].file is not None:
                try:
                    index.crop(0, 16)
                except NadirError as error:
                    problems.append(Problem(index.manifest.imagery[0].file, error.problem))
    except NadirError as error:
        problems.append(Problem(VECTORS_FILE, error.problem))
    return problems
