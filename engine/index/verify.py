"""Checking an index to the last byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import NadirError
from engine.index.manifest import (
    CENTRES_FILE,
    EXTENTS_FILE,
    MANIFEST_FILE,
    SOURCES_FILE,
    TILES_FILE,
    Manifest,
    read_manifest,
)
from engine.index.mapped import MappedTiles
from engine.index.store import BUILDING, Index, check_file, files_folder, index_folder
from engine.index.tiles import TileTable
from engine.progress import Report, part, silent

_CHUNK = 1 << 22
_HAIR_DEG = 1e-9
_AGAIN = "Get the index again from its source, or build it again"
_SAMPLE = 256
_ROWS = 65_536  # compared at a time


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
        files = files_folder(folder, manifest)
    except NadirError as error:
        return [Problem(MANIFEST_FILE, error.problem, error.remedy or _AGAIN)]
    problems = _check_files(files, manifest, part(report, 0.0, 0.8))
    wrong = {problem.file for problem in problems}
    if not wrong & {TILES_FILE, CENTRES_FILE, EXTENTS_FILE, SOURCES_FILE}:
        problems += _check_places(files, manifest, part(report, 0.8, 1.0, "Checking the places"))
    if not problems:
        problems += _check_content(folder)
    for stray in _strays(folder, manifest):
        problems.append(Problem(stray, "it does not belong to the index", "It can be deleted"))
    return problems


def _strays(folder: Path, manifest: Manifest) -> list[str]:
    names = {entry.name for entry in folder.iterdir()} - {MANIFEST_FILE, BUILDING}
    if not manifest.folder:
        return sorted(names - set(manifest.files))
    inside = {entry.name for entry in (folder / manifest.folder).iterdir()} - set(manifest.files)
    return sorted(names - {manifest.folder}) + sorted(f"{manifest.folder}/{n}" for n in inside)


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


def _check_places(files: Path, manifest: Manifest, report: Report) -> list[Problem]:
    """Whether rows lie where the coverage says, and the table and the mapped files say the same."""
    try:
        table = TileTable(files / TILES_FILE, manifest.count)
    except NadirError as error:
        return [Problem(TILES_FILE, error.problem)]
    try:
        if problem := table.problem():
            return [Problem(TILES_FILE, problem)]
        mapped = MappedTiles(files, manifest) if manifest.version > 1 else None
        if mapped is not None and (problem := mapped.problem()):
            return [Problem(CENTRES_FILE, problem)]
        box = manifest.coverage
        for first in range(0, manifest.count, _ROWS):
            report(first, manifest.count, "")
            last = min(first + _ROWS, manifest.count)
            lats, lons, extents = table.places(first, last).T
            # Photos lie on the very edge of the box, whose longitudes were wrapped.
            inside = (lats >= box.south - _HAIR_DEG) & (lats <= box.north + _HAIR_DEG)
            inside &= (lons - box.west + _HAIR_DEG) % 360.0 <= box.width_deg + 2 * _HAIR_DEG
            if not inside.all():
                return [Problem(TILES_FILE, "tiles lie outside the coverage of the manifest")]
            if mapped is None:
                continue
            ids = np.arange(first, last)
            there = (*mapped.positions(ids), mapped.extents[first:last])
            same = (lats == there[0]) & (lons == there[1]) & (np.abs(extents - there[2]) < 1e-2)
            if not same.all():
                return [Problem(TILES_FILE, "it does not say the same as the mapped places")]
    except NadirError as error:
        return [Problem(TILES_FILE, error.problem)]
    finally:
        table.close()
    report(1, 1, "")
    return []


def _check_content(folder: Path) -> list[Problem]:
    """Whether vectors are descriptors and the imagery opens; only once the checksums are right."""
    problems: list[Problem] = []
    try:
        with Index.open(folder) as index:
            manifest = index.manifest
            ids = np.unique(np.linspace(0, manifest.count - 1, _SAMPLE).astype(np.int64))
            lengths = np.linalg.norm(index.vectors(ids), axis=1)
            if not np.abs(lengths - 1).max() <= 0.1:
                vectors = next(name for name in manifest.files if name.startswith("vectors."))
                problems.append(Problem(vectors, "it holds vectors that are no descriptors"))
            sources = np.asarray(index.sources[ids])
            for number, facts in enumerate(manifest.imagery):
                row = ids[sources == number][:1]
                if facts.file is not None and len(row):
                    try:
                        index.crop(int(row[0]), 16)
                    except NadirError as error:
                        problems.append(Problem(facts.file, error.problem))
    except NadirError as error:
        problems.append(Problem(MANIFEST_FILE, error.problem, error.remedy or _AGAIN))
    return problems
