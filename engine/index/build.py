"""Building an index: cut tiles, encode them, quantise, seal.

All work happens in ``OUT/building``: the imagery first, then the descriptors in chunks, each written whole or not at
all. A build that is stopped, by whatever, goes on at the first missing chunk and ends in the same bytes. Only when
everything is written are the files moved up, the manifest last: without it nothing opens the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError, IndexFolderError, NadirError
from engine.imagery.pictures import PictureSource
from engine.index.area import Area, area_from_geojson
from engine.index.begun import Asked, asked_for, keep_asked, resume_command
from engine.index.encoding import Watch, encode_missing, unwatched
from engine.index.facts import Facts, keep_facts
from engine.index.job import MINIMUM_VALID, Job, Settings, Source, extents, make_job
from engine.index.manifest import MANIFEST_FILE, PICTURES_FILE, read_manifest
from engine.index.nothing import nothing_covered
from engine.index.parts import DamagedPartError, PartRows, Segments, sync
from engine.index.picture_references import PictureReferences
from engine.index.plan import Plan, keep_plan, locked
from engine.index.seal import Sealing, move_up, seal
from engine.index.seam import TileEncoder
from engine.index.store import BUILDING, SHARD_FILE, Index
from engine.progress import Report, part, silent

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def build_index(
    out: Path | str,
    imagery: Source,
    encoder: TileEncoder,
    *,
    extent_m: float | Sequence[float] | None = None,
    stride_m: float | None = None,
    area: Area | Mapping[str, Any] | None = None,
    resume: bool = True,
    embed_imagery: bool = True,
    minimum_valid: float = MINIMUM_VALID,
    attribution: str | None = None,
    licence: str | None = None,
    layout: str = "auto",
    workers: int = 0,
    report: Report = silent,
    watch: Watch = unwatched,
    asked: Asked | None = None,
) -> Index:
    """Encode tiles over an area, or pictures, and keep them as an index.

    Args:
        out: the folder to make, ``NAME.index``. One that was begun is gone on with; one that is finished and was
            asked for in the same way is opened.
        imagery: aerial imagery that tiles are cut from, or pictures that are rows themselves.
        extent_m, stride_m: metres along a tile (several: a row for each at every place) and between tiles; by default
            the encoder card's. Where a card has several extents, ``extent_m`` stands for its nearest, and the others
            keep their proportion to it.
        area: where tile centres may lie, an :class:`Area` or a GeoJSON mapping; by default all of the imagery.
        resume: go on with a begun build; False: refuse to.
        embed_imagery, minimum_valid, attribution, licence, layout: see :class:`engine.index.job.Settings`.
        workers: threads that decode and cut; 0: as many as there are cores.
        report: see :mod:`engine.progress`. A cancelled build can be gone on with.
        watch: is told more of the encoding: the time left, and how long the encoder waited.
        asked: what is kept of how it was asked for, so that the folder alone says how to go on; None: what is known.

    Raises:
        IndexFolderError: the folder is in the way, was begun otherwise, or cannot be written (full disk).
        ImageryError: the imagery cannot be read, or has nothing in the area.
        EncoderError: the encoder gives something else than descriptors.
    """
    out = Path(out)
    settings = Settings(
        extents_m=extents(extent_m),
        stride_m=stride_m,
        area=area_from_geojson(area) if isinstance(area, Mapping) else area,
        embed_imagery=embed_imagery,
        minimum_valid=minimum_valid,
        attribution=attribution,
        licence=licence,
        layout=layout,
    )
    job = make_job(out.stem or "index", imagery, encoder, settings)
    with told(out):
        if (out / MANIFEST_FILE).exists():
            _same_index(out, job.plan, resume)
        else:
            work = work_folder(out, resume)
            with locked(work):
                if (work / SHARD_FILE).exists():
                    raise IndexFolderError(
                        "a share of an index was begun here", out, "Choose another name"
                    )
                job = replace(job, plan=keep_plan(work, job.plan))
                keep_asked(work, asked or asked_for(imagery, encoder, settings))
                _build(out, work, job, encoder, report, watch, workers)
        shutil.rmtree(out / BUILDING, ignore_errors=True)
    return Index.open(out, encoder)


def _same_index(out: Path, plan: Plan, resume: bool) -> None:
    if not resume or read_manifest(out).plan_hash != plan.hash:
        raise IndexFolderError(
            "there is an index here already", out, "Choose another name, or delete it first"
        )


def work_folder(out: Path, resume: bool) -> Path:
    """The folder inside ``out`` where an index is made; made here where nothing was begun.

    Raises:
        IndexFolderError: something else is in the way, or a build was begun and ``resume`` is False.
    """
    work = out / BUILDING
    if out.exists() and not out.is_dir():
        raise IndexFolderError("a file of this name is in the way", out, "Choose another name")
    if work.is_dir():
        if not resume:
            raise IndexFolderError(
                "a build was begun here and not finished",
                out,
                f"Continue with: {resume_command(out)}",
            )
    elif out.is_dir() and any(out.iterdir()):
        raise IndexFolderError(
            "the folder holds other things, so it is left alone", out, "Choose another name"
        )
    work.mkdir(parents=True, exist_ok=True)
    return work


def _build(
    out: Path,
    work: Path,
    job: Job,
    encoder: TileEncoder,
    report: Report,
    watch: Watch,
    workers: int,
) -> None:
    tidy(work)
    plan = job.plan
    if not (work / MANIFEST_FILE).exists():
        rows = encode_range(
            work, job, encoder, (0, plan.chunks), part(report, 0.0, 0.96), watch, workers
        )
        if not rows.count:
            _abandon(work)
            raise nothing_covered(job)
        facts = _naming_what_was_left_out(job, rows)
        seal_parts(work, plan, facts, rows, job.source, part(report, 0.96, 1.0))
    move_up(out, work)


def _naming_what_was_left_out(job: Job, rows: PartRows) -> Facts:
    """The facts with the first pictures that could not be read, by their files' names."""
    if not isinstance(job.source, PictureSource) or rows.count == job.plan.places:
        return job.facts
    references: Any = job.references(job.source)
    kept = [b.pictures.numbers for b in rows.blocks(vectors=False) if b.pictures is not None]
    names = references.names_but(np.concatenate(kept))
    return replace(job.facts, left_out=f"{job.facts.left_out} ({names})")


def _kept_pictures(rows: PartRows) -> NDArray[np.int64]:
    """The numbers of the pictures that became rows."""
    blocks = (block.pictures for block in rows.blocks(vectors=False))
    return np.concatenate([pictures.numbers for pictures in blocks if pictures is not None])


def _naming_left_out(job: Job, rows: PartRows) -> Facts:
    """The facts, with the names of pictures that did not become rows."""
    references = job.references(job.source)
    if not isinstance(references, PictureReferences) or rows.count == job.plan.places:
        return job.facts
    names = references.names_but(_kept_pictures(rows))
    return replace(job.facts, left_out=f"{job.facts.left_out} ({names})")


def tidy(work: Path) -> None:
    """Remove what a kill left half written."""
    for leftover in work.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def encode_range(
    work: Path,
    job: Job,
    encoder: TileEncoder,
    chunks: tuple[int, int],
    report: Report,
    watch: Watch,
    workers: int,
) -> PartRows:
    """Copy the imagery, then encode what is missing of some chunks; gives their rows, all of them checked."""
    keep_facts(work, job.facts)
    segments = Segments(work, job.plan, *chunks)
    with _cut_from(work, job, part(report, 0.0, 0.04)) as source:
        for attempt in range(3):
            encode_missing(
                segments,
                job.plan,
                job.references(source),
                encoder,
                part(report, 0.04, 1.0),
                watch,
                workers,
            )
            try:
                for number in segments.chunks:
                    segments.read(number, vectors=False)
                break
            except DamagedPartError:
                if attempt == 2:  # a disk that keeps nothing
                    raise
    return PartRows([segments], job.facts.ends)


def seal_parts(
    work: Path, plan: Plan, facts: Facts, rows: PartRows, source: Source | None, report: Report
) -> None:
    """Make the files of the index from the parts; ``source``: the pictures, where they are to be copied."""
    notes = list(facts.notes)
    if left_out := plan.places - rows.count:
        notes.append(f"{left_out:,} of {plan.places:,} places left out: {facts.left_out}")
    pictures = plan.stride_m == 0
    if pictures and facts.imagery[0].file is not None:
        assert isinstance(source, PictureSource)
        numbers = _kept_pictures(rows)
        _write_whole(
            work / PICTURES_FILE,
            lambda path: source.write_copy(path, numbers, part(report, 0.0, 0.5)),
        )
    seal(
        work,
        Sealing(
            name=plan.name,
            kind=plan.kind,
            encoder_name=plan.encoder_name,
            encoder_hash=plan.encoder_hash,
            extents_m=facts.extents_m,
            stride_m=plan.stride_m,
            tile_pixels=plan.tile_pixels,
            dimension=plan.dimension,
            layout=plan.layout,
            imagery=facts.imagery,
            plan_hash=plan.hash,
            made_by=plan.made_by,
            notes=tuple(notes),
            pictures=pictures,
        ),
        rows,
        part(report, 0.5 if pictures else 0.0, 1.0, "Writing the index"),
    )


@contextlib.contextmanager
def _cut_from(work: Path, job: Job, report: Report) -> Iterator[Source]:
    """What tiles are cut from: the index's own copies of the imagery, made first, or the imagery itself."""
    source = job.source
    if not job.plan.embed_imagery or isinstance(source, PictureSource):
        yield source
        return
    from engine.imagery.mosaic import combine
    from engine.imagery.raster import RasterSource

    copies = [work / facts.file for facts in job.facts.imagery if facts.file is not None]
    if not all(copy.exists() for copy in copies):
        for number, (copy, box) in enumerate(zip(copies, job.copied_boxes(), strict=True)):
            told = part(report, number / len(copies), (number + 1) / len(copies))
            _write_whole(copy, lambda path, box=box, told=told: source.write_copy(path, box, told))
    with contextlib.ExitStack() as opened:
        yield combine([opened.enter_context(RasterSource(copy, sidecars=False)) for copy in copies])


def _write_whole(path: Path, write: Any) -> None:
    """Have something write a file, all of it or nothing, unless it is there already."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.stem}.part")
    try:
        write(temporary)
    except ImageryError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
            raise error.__cause__ from None  # told like any other full disk
        raise
    sync(temporary)
    os.replace(temporary, path)


def _abandon(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.parent.rmdir()


@contextlib.contextmanager
def told(out: Path) -> Iterator[None]:
    """What the system refused inside, as an error about the index that is being made."""
    try:
        yield
    except NadirError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise _cannot_write(out, error) from error


def _cannot_write(out: Path, error: OSError | sqlite3.Error) -> IndexFolderError:
    full = isinstance(error, OSError) and error.errno in _FULL
    full = full or getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")
    if full:
        return IndexFolderError(
            "the disk is full; what was done so far is kept",
            out,
            f"Make room and continue with: {resume_command(out)}",
        )
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return IndexFolderError(
        f"the index cannot be written here ({reason[:100]})",
        out,
        "Check the permissions of the folder, or choose another one",
    )
