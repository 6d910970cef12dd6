"""Building an index: cut tiles, encode them, quantise, seal.

All work happens in ``OUT/building``: the imagery first, then the descriptors in shards, each written whole or not at
all. A build that is stopped, by whatever, goes on at the first missing shard and ends in the same bytes. Only when
everything is written are the files moved up, the manifest last: without it nothing opens the folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import __version__
from engine.errors import EncoderError, ImageryError, IndexFolderError, NadirError
from engine.imagery import AerialSource
from engine.index.area import Area, area_from_geojson
from engine.index.grid import around, intersection, tile_centres
from engine.index.manifest import IMAGERY_FILE, MANIFEST_FILE, read_manifest
from engine.index.parts import part_path, sync, write_part
from engine.index.plan import Plan, keep_plan, locked
from engine.index.seal import move_up, seal
from engine.index.seam import TileEncoder
from engine.index.store import BUILDING, Index
from engine.progress import Report, part, silent

MINIMUM_VALID = 0.25
_SHARD_BYTES = 64 << 20  # pixels of the tiles of one shard; two are held at a time
_BATCH = 32  # tiles encoded between two reports
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Centres = tuple[NDArray[np.float64], NDArray[np.float64]]


def build_index(
    out: Path | str,
    imagery: AerialSource,
    encoder: TileEncoder,
    *,
    extent_m: float | None = None,
    stride_m: float | None = None,
    area: Area | Mapping[str, Any] | None = None,
    resume: bool = True,
    embed_imagery: bool = True,
    minimum_valid: float = MINIMUM_VALID,
    attribution: str | None = None,
    licence: str | None = None,
    report: Report = silent,
) -> Index:
    """Encode tiles over an area and keep them as an index.

    Args:
        out: the folder to make, ``NAME.index``. One that was begun is gone on with; one that is finished and was
            asked for in the same way is opened.
        extent_m, stride_m: metres along a tile and between tiles; by default the encoder card's. Where a card has
            several extents, ``extent_m`` stands for its nearest, and the others keep their proportion to it.
        area: where tile centres may lie, an :class:`Area` or a GeoJSON mapping; by default all of the imagery.
        resume: go on with a begun build; False: refuse to.
        embed_imagery: keep a compressed copy of the imagery in the index (and cut the tiles from that copy, so that
            the index can show exactly what was encoded); False: remember the original by its fingerprint.
        minimum_valid: leave out tiles with a smaller share of imagery than this, 0..1.
        attribution, licence: whose the imagery is; by default what the imagery itself says.
        report: see :mod:`engine.progress`. A cancelled build can be gone on with.

    Raises:
        IndexFolderError: the folder is in the way, was begun otherwise, or cannot be written (full disk).
        ImageryError: the imagery cannot be read, or has nothing in the area.
        EncoderError: the encoder gives something else than descriptors.
    """
    out = Path(out)
    if isinstance(area, Mapping):
        area = area_from_geojson(area)
    card = encoder.card
    together = card.tile_extents_m
    extent = float(min(together) if extent_m is None else extent_m)
    stride = float(card.stride_m if stride_m is None else stride_m)
    if not (0.01 <= extent <= 1e6 and 0.001 <= stride <= 1e6 and 0 < minimum_valid <= 1):
        raise ValueError("extent and stride must be positive metres, minimum_valid in (0, 1]")
    several = tuple(e * extent / min(together) for e in together) if len(together) > 1 else ()
    pixels = card.branches.reference.tile_pixels
    if pixels is None:
        raise EncoderError("the card does not say how many pixels a tile has")
    centres = _places(imagery, stride, area)
    plan = Plan(
        name=out.stem or "index",
        encoder_name=card.name,
        encoder_hash=encoder.hash,
        dimension=card.descriptor_dim,
        tile_pixels=pixels,
        imagery_name=imagery.name,
        imagery_fingerprint=imagery.fingerprint(),
        extent_m=extent,
        stride_m=stride,
        area_hash=_area_hash(area),
        minimum_valid=float(minimum_valid),
        embed_imagery=embed_imagery,
        attribution=imagery.attribution if attribution is None else attribution,
        licence=imagery.licence if licence is None else licence,
        places=len(centres[0]),
        shard=max(1, min(1024, _SHARD_BYTES // (3 * pixels * pixels * max(1, len(several))))),
        made_by=f"nadir {__version__}",
        extents_m=several,
    )
    try:
        if (out / MANIFEST_FILE).exists():
            _same_index(out, plan, resume)
        else:
            work = _work_folder(out, resume)
            with locked(work):
                plan = keep_plan(work, plan)
                _build(out, work, plan, imagery, encoder, centres, report)
        shutil.rmtree(out / BUILDING, ignore_errors=True)
    except NadirError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise _cannot_write(out, error) from error
    return Index.open(out, encoder)


def _places(imagery: AerialSource, stride_m: float, area: Area | None) -> Centres:
    box = imagery.bounds if area is None else intersection(imagery.bounds, area.bounds)
    lats, lons = tile_centres(box, stride_m, area) if box else (np.zeros(0), np.zeros(0))
    if not len(lats):
        raise ImageryError(
            f"the area holds no tile of the imagery {imagery.name}",
            None,
            "Choose an area that the imagery covers",
        )
    return lats, lons


def _area_hash(area: Area | None) -> str:
    digest = hashlib.sha256()
    for polygon in area.polygons if area else ():
        for ring in polygon:
            digest.update(len(ring).to_bytes(8, "little") + ring.tobytes())
    return digest.hexdigest()


def _same_index(out: Path, plan: Plan, resume: bool) -> None:
    if not resume or read_manifest(out).plan_hash != plan.hash:
        raise IndexFolderError(
            "there is an index here already", out, "Choose another name, or delete it first"
        )


def _work_folder(out: Path, resume: bool) -> Path:
    work = out / BUILDING
    if out.exists() and not out.is_dir():
        raise IndexFolderError("a file of this name is in the way", out, "Choose another name")
    if work.is_dir():
        if not resume:
            raise IndexFolderError(
                "a build was begun here and not finished", out, "Continue it with --resume"
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
    plan: Plan,
    imagery: AerialSource,
    encoder: TileEncoder,
    centres: Centres,
    report: Report,
) -> None:
    for leftover in work.glob(".*.part"):
        leftover.unlink(missing_ok=True)
    if not (work / MANIFEST_FILE).exists():
        with _cut_from(work, plan, imagery, centres, part(report, 0.0, 0.04)) as source:
            _encode(work, plan, source, encoder, centres, part(report, 0.04, 0.96))
        seal(work, plan, imagery, centres, part(report, 0.96, 1.0, "Writing the index"))
    move_up(out, work)


@contextlib.contextmanager
def _cut_from(
    work: Path, plan: Plan, imagery: AerialSource, centres: Centres, report: Report
) -> Iterator[AerialSource]:
    """What tiles are cut from: the index's own copy of the imagery, made first, or the imagery itself."""
    if not plan.embed_imagery:
        yield imagery
        return
    from engine.imagery.raster import RasterSource

    copy = work / IMAGERY_FILE
    if not copy.exists():
        temporary = work / ".imagery.part"
        try:
            imagery.write_copy(temporary, around(*centres, 0.75 * max(plan.cuts_m)), report)
        except ImageryError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                raise error.__cause__ from None  # told like any other full disk
            raise
        sync(temporary)
        os.replace(temporary, copy)
    source = RasterSource(copy, sidecars=False)
    try:
        yield source
    finally:
        source.close()


def _encode(
    work: Path,
    plan: Plan,
    source: AerialSource,
    encoder: TileEncoder,
    centres: Centres,
    report: Report,
) -> None:
    """Write every shard that is missing. The next shard is cut while one is encoded."""
    unmade = [shard for shard in range(plan.shards) if not part_path(work, shard).exists()]
    missing = encoder.card.branches.reference.missing_value

    def cut(shard: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        first, last = plan.shard_range(shard)
        lats, lons = centres[0][first:last], centres[1][first:last]
        cuts = [
            source.cut_many(lats, lons, extent, plan.tile_pixels, missing=missing)
            for extent in plan.cuts_m
        ]
        # A wide cut may well reach beyond the imagery; what lies close about the place must be there.
        nearest = int(np.argmin(plan.cuts_m))
        good = np.flatnonzero(cuts[nearest][1] >= plan.minimum_valid)
        parts = [tiles if len(good) == len(tiles) else tiles[good] for tiles, _ in cuts]
        return (np.stack(parts, axis=1) if plan.extents_m else parts[0]), good

    before = plan.places - sum(last - first for first, last in map(plan.shard_range, unmade))
    done, start = before, time.monotonic()
    with ThreadPoolExecutor(1, "cutting") as cutter:
        ahead: Future[Any] | None = cutter.submit(cut, unmade[0]) if unmade else None
        try:
            for position, shard in enumerate(unmade):
                assert ahead is not None
                tiles, good = ahead.result()
                following = unmade[position + 1 : position + 2]
                ahead = cutter.submit(cut, following[0]) if following else None
                first, last = plan.shard_range(shard)
                vectors = np.zeros((len(good), plan.dimension), np.float32)
                for begin in range(0, len(good), _BATCH):
                    batch = slice(begin, begin + _BATCH)
                    vectors[batch] = _encoded(encoder, tiles[batch], plan)
                    at = done + round((last - first) * min(begin + _BATCH, len(good)) / len(good))
                    report(at, plan.places, _progress_text(at, before, plan.places, start))
                write_part(work, shard, good, vectors)
                done += last - first
                report(done, plan.places, _progress_text(done, before, plan.places, start))
        finally:
            if ahead is not None:
                ahead.cancel()


def _encoded(encoder: TileEncoder, tiles: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    vectors = encoder.encode_tiles(tiles)
    if vectors.shape != (len(tiles), plan.dimension):
        raise EncoderError(
            f"the encoder {plan.encoder_name} gave {vectors.shape} for {len(tiles)} tiles "
            f"where its card says {plan.dimension} numbers each"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or np.abs(lengths - 1).max(initial=0) > 0.01:
        raise EncoderError(
            f"the encoder {plan.encoder_name} gave vectors that are not of length 1",
            None,
            "Export it again",
        )
    return vectors


def _progress_text(done: int, before: int, total: int, start: float) -> str:
    text = f"Encoding tiles: {done:,} of {total:,}"
    elapsed = time.monotonic() - start
    if elapsed < 2 or done <= before:
        return text
    left = elapsed * (total - done) / (done - before)
    if left < 60:
        return f"{text}, about {round(left)} s left"
    return f"{text}, about {round(left / 60):,} min left"


def _cannot_write(out: Path, error: OSError | sqlite3.Error) -> IndexFolderError:
    full = isinstance(error, OSError) and error.errno in _FULL
    full = full or getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")
    if full:
        return IndexFolderError(
            "the disk is full; what was done so far is kept",
            out,
            "Make room and continue with: nadir index build --resume",
        )
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return IndexFolderError(
        f"the index cannot be written here ({reason[:100]})",
        out,
        "Check the permissions of the folder, or choose another one",
    )
