"""Finishing an index: the final files, their checksums, and the moment the folder becomes an index."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.files import sha256_of, write_json
from engine.index.grid import BoxAround
from engine.index.manifest import (
    CENTRES_FILE,
    EXTENTS_FILE,
    MANIFEST_FILE,
    SOURCES_FILE,
    TILES_FILE,
    FileFacts,
    ImageryFacts,
    Manifest,
    manifest_from_dict,
    read_manifest,
)
from engine.index.parts import sync
from engine.index.rows import Rows
from engine.index.tile_writer import write_tiles
from engine.index.vector_store import write_store
from engine.progress import Report, part


@dataclass(frozen=True)
class Sealing:
    """What the manifest will say beside what the rows themselves say; see :class:`Manifest`."""

    name: str
    kind: str
    encoder_name: str
    encoder_hash: str
    extents_m: tuple[float, ...]
    stride_m: float
    tile_pixels: int
    dimension: int
    layout: str
    imagery: tuple[ImageryFacts, ...]
    plan_hash: str
    made_by: str
    notes: tuple[str, ...]
    folder: str = ""
    pictures: bool = False


def seal(work: Path, sealing: Sealing, rows: Rows, report: Report) -> None:
    """Write the final files and their manifest, still inside the work folder; the imagery's files lie there already.

    May be repeated after an interruption, and then writes the same bytes.
    """
    coverage, names = _write_places(work, sealing, rows, part(report, 0.0, 0.1))
    sources = [Path(facts.name).stem or facts.name for facts in sealing.imagery]
    write_tiles(
        work / TILES_FILE,
        _counted(rows, part(report, 0.1, 0.3)),
        sources,
        pictures=sealing.pictures,
    )

    def vectors() -> Iterator[NDArray[np.float32]]:
        for block in rows.blocks(vectors=True):
            if block.vectors is not None and len(block):
                yield block.vectors

    store = write_store(
        work, sealing.layout, vectors, rows.count, sealing.dimension, part(report, 0.3, 0.9)
    )
    held = [facts.file for facts in sealing.imagery if facts.file is not None]
    files: dict[str, FileFacts] = {}
    every = [*store.files, TILES_FILE, *names, *held]
    for number, name in enumerate(every):
        report(900 + 100 * number // len(every), 1000, "")
        sync(work / name)
        files[name] = FileFacts(sha256_of(work / name), (work / name).stat().st_size)
    manifest = Manifest(
        name=sealing.name,
        kind=sealing.kind,
        encoder_name=sealing.encoder_name,
        encoder_hash=sealing.encoder_hash,
        extents_m=sealing.extents_m,
        stride_m=sealing.stride_m,
        tile_pixels=sealing.tile_pixels,
        count=rows.count,
        dimension=sealing.dimension,
        layout=store.layout,
        faiss_factory=store.factory,
        coverage=coverage.bounds,
        imagery=sealing.imagery,
        files=files,
        plan_hash=sealing.plan_hash,
        made_by=sealing.made_by,
        notes=sealing.notes,
        folder=sealing.folder,
    )
    # What could not be read again must not be written.
    manifest_from_dict(json.loads(json.dumps(manifest.to_dict(), allow_nan=False)))
    write_json(work / MANIFEST_FILE, manifest.to_dict())


def _write_places(
    work: Path, sealing: Sealing, rows: Rows, report: Report
) -> tuple[BoxAround, list[str]]:
    """The files that are mapped: centres, and extents and sources where there are several."""
    coverage = BoxAround()
    names = [CENTRES_FILE]
    with contextlib.ExitStack() as files:
        centres = files.enter_context(open(work / CENTRES_FILE, "wb"))
        extents = sources = None
        if len(sealing.extents_m) > 1:
            names.append(EXTENTS_FILE)
            extents = files.enter_context(open(work / EXTENTS_FILE, "wb"))
        if len(sealing.imagery) > 1:
            names.append(SOURCES_FILE)
            sources = files.enter_context(open(work / SOURCES_FILE, "wb"))
        done = 0
        for block in rows.blocks(vectors=False):
            centres.write(np.stack([block.lats, block.lons], axis=1).astype("<f8").tobytes())
            if extents is not None:
                extents.write(block.extents.astype("<f4").tobytes())
            if sources is not None:
                sources.write(block.sources.astype("<u2").tobytes())
            coverage.add(block.lats, block.lons, block.extents.astype(np.float64) / 2)
            done += len(block)
            report(done, rows.count, "")
    return coverage, names


def _counted(rows: Rows, report: Report):
    done = 0
    for block in rows.blocks(vectors=False):
        yield block
        done += len(block)
        report(done, rows.count, "")


def move_up(out: Path, work: Path) -> None:
    """Give the sealed files their places, the manifest last; may be repeated after an interruption."""
    manifest = read_manifest(work)
    target = out / manifest.folder
    target.mkdir(exist_ok=True)
    for name in manifest.files:
        if (work / name).exists():
            os.replace(work / name, target / name)
    sync(target)
    sync(out)
    os.replace(work / MANIFEST_FILE, out / MANIFEST_FILE)
    sync(out)
