"""Putting whole indexes of one encoder together, and adding to one: a place that two of them know is kept once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import __version__
from engine.errors import IndexFolderError
from engine.geo import metres_per_degree
from engine.index.build import told, work_folder
from engine.index.manifest import (
    GENERATION,
    MANIFEST_FILE,
    MAX_EXTENTS,
    MAX_IMAGERY,
    MAX_NOTES,
    FileFacts,
    ImageryFacts,
    Manifest,
    read_manifest,
)
from engine.index.parts import sync
from engine.index.plan import locked
from engine.index.references import PictureRows
from engine.index.rows import Block
from engine.index.runs import Runs
from engine.index.seal import Sealing, move_up, seal
from engine.index.store import Index, files_folder
from engine.progress import Report, part, silent

_BLOCK = 2048  # rows that are read together
_TOGETHER = 256  # rows compared with what lies about them
# A place is known where another stands within half the diagonal of a cell of the grid: so near to it, it is covered.
_KNOWN = 0.71
_OWN = re.compile(r"(vectors|tiles|centres|extents|sources|imagery|pictures)(-[0-9]+)?\.[a-z0-9]+")


@dataclass(frozen=True)
class _Kept:
    """What is taken of one index: which rows, and the merged index's numbers of its imageries."""

    index: Index
    rows: NDArray[np.bool_]
    numbers: NDArray[np.uint16]


class MergedRows:
    """The rows of several indexes, one index after the other (see :class:`engine.index.rows.Rows`)."""

    def __init__(self, kept: Sequence[_Kept]) -> None:
        self._kept = kept
        self.count = sum(int(np.count_nonzero(each.rows)) for each in kept)

    def blocks(self, *, vectors: bool) -> Iterator[Block]:
        """See :meth:`engine.index.rows.Rows.blocks`."""
        for each in self._kept:
            index = each.index
            extents, sources = index.extents, index.sources
            for first in range(0, len(each.rows), _BLOCK):
                ids = first + np.flatnonzero(each.rows[first : first + _BLOCK])
                if not len(ids):
                    continue
                lats, lons = index.positions(ids)
                yield Block(
                    np.ascontiguousarray(lats),
                    np.ascontiguousarray(lons),
                    np.asarray(extents[ids], np.float32),
                    each.numbers[sources[ids]],
                    _pictures(index, ids),
                    index.vectors(ids) if vectors else None,
                )


def merge_indexes(
    out: Path | str,
    paths: Sequence[Path | str],
    *,
    layout: str | None = None,
    report: Report = silent,
) -> Index:
    """Make one index of several; they stay as they are. Of places that several know, the first keeps its own.

    Args:
        layout: how the vectors are kept; None: as in the first, or chosen anew where that was chosen.

    Raises:
        IndexFolderError: one is damaged, they are of different encoders or kinds, or ``out`` cannot be written.
    """
    out = Path(out)
    with ExitStack() as opened, told(out):
        indexes = [opened.enter_context(Index.open(path)) for path in paths]
        if (out / MANIFEST_FILE).exists():
            raise IndexFolderError("there is an index here already", out, "Choose another name")
        _check_alike(indexes)
        fresh = not out.exists()
        work = work_folder(out, resume=True)
        with locked(work):
            try:
                _only_merges(work)
                sealing, rows, copies = _merged(indexes, out.stem or "index", layout, report)
                for number, (source, name) in enumerate(copies.items()):
                    report(300 + 100 * number // len(copies), 1000, "Copying the imagery")
                    _copy(source, work / name, link=False)
                seal(work, sealing, rows, part(report, 0.4, 1.0, "Writing the index"))
            except BaseException:
                if fresh:  # nothing of it is worth keeping
                    shutil.rmtree(out, ignore_errors=True)
                raise
            move_up(out, work)
        shutil.rmtree(work, ignore_errors=True)
    return Index.open(out)


def join_into(index: Path, addition: Path, work: Path, report: Report) -> int:
    """Put what an index ``addition`` has beyond ``index`` into it; gives how many rows that is.

    The new files are made in a folder of their own inside ``index``; the moment its manifest takes the place of the
    old one, it is the new index. Stopped before, it is the old one; then what was left behind is in nobody's way.
    """
    with Index.open(index) as old, Index.open(addition) as new:
        _check_alike([old, new])
        before = old.manifest
        sealing, rows, copies = _merged([old, new], before.name, before.layout, report)
        more = rows.count - before.count
        if not more:
            return 0
        generation = int(before.folder.rpartition("-")[2] or 1) + 1
        sealing = replace(sealing, folder=f"generation-{generation}")
        target = index / sealing.folder
        if target.exists():
            shutil.rmtree(target)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for source, name in copies.items():
            _copy(source, work / name, link=True)
        seal(work, sealing, rows, part(report, 0.4, 1.0, "Writing the index"))
    move_up(index, work)
    return more


def sweep(index: Path) -> None:
    """Remove what earlier additions left in an index's folder: the files of manifests that hold no more."""
    manifest = read_manifest(index)
    for entry in index.iterdir():
        with suppress(OSError):  # Windows removes nothing that is open: verify tells
            if GENERATION.fullmatch(entry.name) and entry.name != manifest.folder:
                shutil.rmtree(entry)
            elif manifest.folder and _OWN.fullmatch(entry.name) and entry.is_file():
                entry.unlink()


def _check_alike(indexes: Sequence[Index]) -> None:
    if not indexes:
        raise IndexFolderError("no indexes were given")
    first = indexes[0].manifest
    for index in indexes[1:]:
        other = index.manifest
        if other.encoder_hash != first.encoder_hash or other.dimension != first.dimension:
            raise IndexFolderError(
                f"this index was built with the encoder {other.encoder_name} ({other.encoder_hash[:8]}), not with "
                f"{first.encoder_name} ({first.encoder_hash[:8]})",
                index.path,
                "Only indexes of the same encoder go together",
            )
        if (other.kind, other.pictures) != (first.kind, first.pictures):
            raise IndexFolderError(
                f"this is an index of {_words(other)}, and the first is one of {_words(first)}",
                index.path,
                "Only indexes of the same kind go together",
            )


def _words(manifest: Manifest) -> str:
    if manifest.kind == "street":
        return "street photos"
    return "pictures" if manifest.pictures else "tiles of imagery"


def _merged(
    indexes: Sequence[Index], name: str, layout: str | None, report: Report
) -> tuple[Sealing, MergedRows, dict[Path, str]]:
    """What the merged index says, its rows, and the files of imagery to copy, by their new names."""
    imagery, numbers, copies = _imagery(indexes)
    kept: list[_Kept] = []
    notes: list[str] = []
    for position, index in enumerate(indexes):
        notes += index.manifest.notes
        within = part(report, 0.3 * position / len(indexes), 0.3 * (position + 1) / len(indexes))
        rows = _unknown(index, kept, within)
        kept.append(_Kept(index, rows, numbers[position]))
        if left_out := len(rows) - int(np.count_nonzero(rows)):
            notes.append(
                f"{left_out:,} of {len(rows):,} places of {index.manifest.name} left out: they were there already"
            )
        if position and not index.manifest.pictures and "vectors.f16" not in index.manifest.files:
            notes.append(f"the descriptors of {index.manifest.name} were rounded once more")
    first = indexes[0].manifest
    digest = hashlib.sha256(" ".join(["merge", *(index.hash for index in indexes)]).encode())
    sealing = Sealing(
        name=name,
        kind=first.kind,
        encoder_name=first.encoder_name,
        encoder_hash=first.encoder_hash,
        extents_m=_extents(indexes),
        stride_m=min(index.manifest.stride_m for index in indexes),
        tile_pixels=first.tile_pixels,
        dimension=first.dimension,
        layout=layout or first.layout,
        imagery=imagery,
        plan_hash=digest.hexdigest(),
        made_by=f"nadir {__version__}",
        notes=tuple(dict.fromkeys(notes))[:MAX_NOTES],
        pictures=first.pictures,
    )
    return sealing, MergedRows(kept), copies


def _imagery(
    indexes: Sequence[Index],
) -> tuple[tuple[ImageryFacts, ...], list[NDArray[np.uint16]], dict[Path, str]]:
    """All different imageries, the numbers that each index's own get, and the files to copy."""
    found: dict[tuple[ImageryFacts, FileFacts | None], int] = {}
    merged: list[ImageryFacts] = []
    numbers: list[NDArray[np.uint16]] = []
    copies: dict[Path, str] = {}
    for index in indexes:
        files = files_folder(index.path, index.manifest)
        own: list[int] = []
        for facts in index.manifest.imagery:
            held = index.manifest.files[facts.file] if facts.file is not None else None
            key = (replace(facts, file=None), held)
            if key not in found:
                found[key] = len(merged)
                if facts.file is not None:
                    stem, _, ending = facts.file.partition(".")
                    stem = stem.partition("-")[0]
                    name = f"{stem}-{len(merged) + 1}.{ending}" if merged else f"{stem}.{ending}"
                    copies[files / facts.file] = name
                    facts = replace(facts, file=name)
                merged.append(facts)
            own.append(found[key])
        numbers.append(np.array(own, np.uint16))
    if len(merged) > MAX_IMAGERY:
        raise IndexFolderError(
            f"together they have {len(merged):,} imageries; {MAX_IMAGERY} are allowed in an index"
        )
    return tuple(merged), numbers, copies


def _extents(indexes: Sequence[Index]) -> tuple[float, ...]:
    every = sorted({extent for index in indexes for extent in index.manifest.extents_m})
    return tuple(every) if len(every) <= MAX_EXTENTS else (every[0], every[-1])


def _unknown(index: Index, before: Sequence[_Kept], report: Report) -> NDArray[np.bool_]:
    """Which rows of an index are at places that those before it do not have."""
    count = index.manifest.count
    new = np.ones(count, np.bool_)
    for done, each in enumerate(before):
        if index.manifest.pictures:
            _strike_pictures(index, each, new)
            continue
        a, b = each.index.coverage, index.coverage
        apart = a.north < b.south or a.south > b.north
        if not apart:
            radius = _KNOWN * min(each.index.manifest.stride_m, index.manifest.stride_m)
            _strike_near(index, each, radius, new, part(report, done / len(before), 1.0))
    return new


def _strike_near(
    index: Index, known: _Kept, radius_m: float, new: NDArray[np.bool_], report: Report
) -> None:
    """Strike out the rows that have one of the same extent within ``radius_m`` in an index before."""
    lats, lons = known.index.centres
    centres = np.stack([lats, lons], axis=1) if known.index.manifest.version == 1 else lats.base
    assert isinstance(centres, np.ndarray)
    runs, extents = Runs(centres), known.index.extents
    own = index.extents
    for first in range(0, len(new), _TOGETHER):
        report(first, len(new), "Comparing places")
        ids = first + np.flatnonzero(new[first : first + _TOGETHER])
        if not len(ids):
            continue
        here_lat, here_lon = index.positions(ids)
        east = (here_lon - here_lon[0] + 180.0) % 360.0 - 180.0
        lat = float(here_lat.min() + here_lat.max()) / 2
        middle = float(here_lon[0] + (east.min() + east.max()) / 2)
        per_lat, per_lon = (float(v) for v in metres_per_degree(lat))
        reach = radius_m / per_lat + float(np.ptp(here_lat)) / 2
        wide = 1.01 * radius_m / per_lon + float(np.ptp(east)) / 2
        rows = runs.rows(lat, middle, reach, wide)
        there = np.asarray(centres[rows])
        near = (np.abs(there[:, 0] - lat) <= reach) & known.rows[rows]
        near &= np.abs((there[:, 1] - middle + 180.0) % 360.0 - 180.0) <= wide
        rows, there = rows[near], there[near]
        dx = ((there[:, 1] - here_lon[:, None] + 180.0) % 360.0 - 180.0) * per_lon
        dy = (there[:, 0] - here_lat[:, None]) * per_lat
        same = np.asarray(extents[rows]) == np.asarray(own[ids])[:, None]
        new[ids[(same & (dx * dx + dy * dy <= radius_m * radius_m)).any(axis=1)]] = False


def _strike_pictures(index: Index, known: _Kept, new: NDArray[np.bool_]) -> None:
    """Strike out the pictures that an index before has from the same source."""
    sources: dict[str, int] = {}
    there = _picture_keys(known.index, sources)[known.rows]
    new &= ~np.isin(_picture_keys(index, sources), there)


def _picture_keys(index: Index, sources: dict[str, int]) -> NDArray[np.int64]:
    """A number for every picture that tells it from all others; ``sources`` counts where they are from."""
    own = [sources.setdefault(facts.fingerprint, len(sources)) for facts in index.manifest.imagery]
    pictures = np.empty(index.manifest.count, np.int64)
    for first in range(0, len(pictures), _BLOCK):
        ids = np.arange(first, min(first + _BLOCK, len(pictures)))
        found = _pictures(index, ids)
        assert found is not None
        pictures[ids] = found.numbers
    return (np.array(own, np.int64)[index.sources] << 40) + pictures


def _pictures(index: Index, ids: NDArray[np.int64]) -> PictureRows | None:
    if not index.manifest.pictures:
        return None
    tiles = index.tiles(ids)
    headings = [np.nan if tile.heading_deg is None else tile.heading_deg for tile in tiles]
    return PictureRows(
        np.array([tile.picture or 0 for tile in tiles], np.int64),
        np.array(headings, np.float64),
        [tile.name for tile in tiles],
    )


def _copy(source: Path, target: Path, *, link: bool) -> None:
    """A copy of a file; where it may be, another name for it, which takes no room."""
    target.unlink(missing_ok=True)
    if link:
        with suppress(OSError, NotImplementedError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    sync(target)


def _only_merges(work: Path) -> None:
    """Empty a work folder that holds nothing but what a merge left behind."""
    if any((work / name).exists() for name in ("plan.json", "parts")):
        raise IndexFolderError(
            "a build was begun here and not finished", work.parent, "Choose another name"
        )
    for entry in work.iterdir():
        if entry.is_file() and entry.name != "lock":
            entry.unlink()
