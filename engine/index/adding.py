"""``nadir index add``: new area for an index that is there."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from engine.errors import IndexFolderError
from engine.index.area import Area
from engine.index.build import build_index, told
from engine.index.encoding import Watch, unwatched
from engine.index.job import Source
from engine.index.manifest import read_manifest
from engine.index.merging import join_into, sweep
from engine.index.plan import locked
from engine.index.seam import TileEncoder
from engine.index.store import BUILDING, check_encoder, index_folder
from engine.progress import Report, part, silent

_ADDITION, _JOINED, _DONE = "addition.index", "joined", "done"


def add_to_index(
    path: Path | str,
    source: Source,
    encoder: TileEncoder,
    *,
    area: Area | None = None,
    embed_imagery: bool = True,
    attribution: str | None = None,
    licence: str | None = None,
    resume: bool = True,
    workers: int = 0,
    report: Report = silent,
    watch: Watch = unwatched,
) -> int:
    """Encode the tiles of more imagery, of the extents and the stride that the index has, and put them into it.

    Until the last moment the index is the old one, and then the new one at once. An addition that was stopped goes on
    when the same is asked for again. Gives how many rows were added; places that were there are kept as they are.

    Raises:
        IndexFolderError: it is no whole index, another encoder's, another addition was begun, or the disk is full.
        ImageryError, EncoderError: see :func:`engine.index.build.build_index`.
    """
    folder = index_folder(path)
    manifest = read_manifest(folder)
    check_encoder(folder, manifest, encoder)
    work = folder / BUILDING
    with told(folder):
        if work.is_dir() and (work / _ADDITION).exists() and not resume:
            raise IndexFolderError(
                "an addition was begun here and not finished",
                folder,
                "Continue with the same command, and --resume",
            )
        work.mkdir(exist_ok=True)
        with locked(work):
            shutil.rmtree(work / _DONE, ignore_errors=True)
            try:
                build_index(
                    work / _ADDITION,
                    source,
                    encoder,
                    extent_m=None if manifest.pictures else manifest.extents_m,
                    stride_m=None if manifest.pictures else manifest.stride_m,
                    area=area,
                    embed_imagery=embed_imagery,
                    attribution=attribution,
                    licence=licence,
                    layout="exact",
                    workers=workers,
                    report=part(report, 0.0, 0.9),
                    watch=watch,
                ).close()
            except IndexFolderError as error:
                if "there is an index here already" not in error.problem:
                    raise
                raise IndexFolderError(
                    "another addition was begun here",
                    folder,
                    f"Continue with the same settings, or delete the folder {BUILDING} in it",
                ) from error
            more = join_into(folder, work / _ADDITION, work / _JOINED, part(report, 0.9, 1.0))
            # It is done; what cannot be tidied up now is at the next addition.
            with contextlib.suppress(OSError):
                os.replace(work / _ADDITION, work / _DONE)  # half removed it would be in the way
        shutil.rmtree(work, ignore_errors=True)
        sweep(folder)
    return more
