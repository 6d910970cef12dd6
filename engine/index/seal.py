"""Finishing a build: the final files, their checksums, and the moment the folder becomes an index."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.files import sha256_of, write_json
from engine.geo import metres_per_degree
from engine.imagery import AerialSource
from engine.index.grid import around
from engine.index.manifest import (
    CENTRES_FILE,
    IMAGERY_FILE,
    MANIFEST_FILE,
    TILES_FILE,
    VECTORS_FILE,
    FileFacts,
    ImageryFacts,
    Manifest,
    manifest_from_dict,
    read_manifest,
)
from engine.index.parts import read_part, sync
from engine.index.plan import Plan
from engine.index.tiles import write_tiles
from engine.index.vectors import write_vectors
from engine.progress import Report

_COARSE = 2.0  # imagery so much coarser than the encoder's tiles is remarked upon


def _nothing_covered(plan: Plan, imagery: AerialSource) -> ImageryError:
    """Why there is no tile: most often the imagery is smaller than one."""
    box = imagery.bounds
    per_lat, per_lon = metres_per_degree(box.centre[0])
    sides = box.width_deg * per_lon, (box.north - box.south) * per_lat
    remedy = "Choose another area"
    if min(sides) < plan.extent_m:
        remedy = f"Choose a tile extent of {max(1, int(min(sides))):g} m or less, or larger imagery"
    return ImageryError(
        f"no tile of {plan.extent_m:g} m in the area is covered to {plan.minimum_valid:.0%}; the imagery is "
        f"{sides[0]:.0f} m by {sides[1]:.0f} m",
        plan.imagery_name,
        remedy,
    )


def seal(
    work: Path,
    plan: Plan,
    imagery: AerialSource,
    centres: tuple[NDArray[np.float64], NDArray[np.float64]],
    report: Report,
) -> None:
    """Write the final files and their manifest, still inside the work folder."""
    ids: list[NDArray[np.int64]] = []
    for shard in range(plan.shards):
        report(shard, 2 * plan.shards, "")
        ids.append(read_part(work, plan, shard)[0] + plan.shard_range(shard)[0])
    kept = np.concatenate(ids)
    if not len(kept):
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):
            work.parent.rmdir()
        raise _nothing_covered(plan, imagery)
    lats, lons = centres[0][kept], centres[1][kept]
    write_vectors(
        work / VECTORS_FILE,
        lambda: (read_part(work, plan, shard)[1] for shard in range(plan.shards)),
        plan.dimension,
    )
    report(3, 4, "")
    write_tiles(work / TILES_FILE, lats, lons, plan.extent_m, plan.imagery_name)
    np.stack([lats, lons], axis=1).astype("<f8").tofile(work / CENTRES_FILE)
    names = [
        VECTORS_FILE,
        TILES_FILE,
        CENTRES_FILE,
        *([IMAGERY_FILE] if plan.embed_imagery else []),
    ]
    files: dict[str, FileFacts] = {}
    for name in names:
        sync(work / name)
        files[name] = FileFacts(sha256_of(work / name), (work / name).stat().st_size)
    manifest = Manifest(
        name=plan.name,
        encoder_name=plan.encoder_name,
        encoder_hash=plan.encoder_hash,
        kind="aerial",
        extents_m=(plan.extent_m,),
        stride_m=plan.stride_m,
        tile_pixels=plan.tile_pixels,
        count=len(kept),
        dimension=plan.dimension,
        layout="sq8",
        faiss_factory="SQ8",
        coverage=around(lats, lons, plan.extent_m / 2),
        imagery=(
            ImageryFacts(
                file=IMAGERY_FILE if plan.embed_imagery else None,
                name=_file_name(imagery),
                fingerprint=plan.imagery_fingerprint,
                crs=imagery.crs,
                resolution_m=imagery.resolution_m,
                bounds=imagery.bounds,
                attribution=plan.attribution,
                licence=plan.licence,
                terms=getattr(imagery, "terms", ""),
                kind=getattr(imagery, "kind", ""),
            ),
        ),
        files=files,
        plan_hash=plan.hash,
        made_by=plan.made_by,
        notes=_notes(plan, imagery, len(kept)),
    )
    # What could not be read again must not be written.
    manifest_from_dict(json.loads(json.dumps(manifest.to_dict(), allow_nan=False)))
    write_json(work / MANIFEST_FILE, manifest.to_dict())


def _notes(plan: Plan, imagery: AerialSource, kept: int) -> tuple[str, ...]:
    notes = list(imagery.notes)
    if left_out := plan.places - kept:
        notes.append(
            f"{left_out:,} of {plan.places:,} places left out: less than {plan.minimum_valid:.0%} imagery"
        )
    pixel_m = min(plan.cuts_m) / plan.tile_pixels
    if imagery.resolution_m > _COARSE * pixel_m:
        notes.append(
            f"the imagery ({imagery.resolution_m:.2g} m a pixel) is coarser than what the encoder reads "
            f"({pixel_m:.2g} m)"
        )
    return tuple(notes)


def _file_name(imagery: AerialSource) -> str:
    path = getattr(imagery, "path", None)
    return path.name if isinstance(path, Path) else imagery.name


def move_up(out: Path, work: Path) -> None:
    """Give the sealed files their places, the manifest last; may be repeated after an interruption."""
    manifest = read_manifest(work)
    for name in manifest.files:
        if (work / name).exists():
            os.replace(work / name, out / name)
    sync(out)
    os.replace(work / MANIFEST_FILE, out / MANIFEST_FILE)
    sync(out)
