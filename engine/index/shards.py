"""One index built on several machines: each encodes its share of the chunks, one of them puts the shares together.

What comes out is byte for byte what one machine would have made, since the shares are kept as a build keeps its own
unfinished work, and sealed in the same way.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import IndexFolderError
from engine.files import sha256_of, write_json
from engine.imagery.pictures import PictureSource
from engine.index.begun import Asked, asked_for, keep_asked, resume_command
from engine.index.build import encode_range, seal_parts, tidy, told, work_folder
from engine.index.encoding import Watch, unwatched
from engine.index.facts import Facts, read_facts
from engine.index.job import Settings, Source, make_job
from engine.index.manifest import MANIFEST_FILE
from engine.index.parts import PartRows, Segments, sync
from engine.index.plan import Plan, keep_plan, locked, read_plan
from engine.index.seal import move_up
from engine.index.seam import TileEncoder
from engine.index.store import BUILDING, SHARD_FILE, Index
from engine.progress import Report, part, silent

_MAX_CHUNKS = 1 << 21
_MAX_TEXT = 1 << 20


@dataclass(frozen=True)
class Shard:
    """Share ``number`` (from 1) of ``of``; which chunks that is follows from the plan."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= 10_000:
            raise ValueError("a share is a number from 1 to how many there are")

    def chunks(self, plan: Plan) -> tuple[int, int]:
        """Its first chunk and the one after its last."""
        return (self.number - 1) * plan.chunks // self.of, self.number * plan.chunks // self.of


def build_shard(
    out: Path | str,
    source: Source,
    encoder: TileEncoder,
    shard: Shard,
    settings: Settings,
    *,
    resume: bool = True,
    workers: int = 0,
    report: Report = silent,
    watch: Watch = unwatched,
    asked: Asked | None = None,
) -> int:
    """Encode one share of an index into a folder of its own; gives how many rows it has.

    Raises:
        IndexFolderError: the folder is in the way or was begun otherwise, the disk is full, or there are fewer chunks
            than shares.
        ImageryError, EncoderError: see :func:`engine.index.build.build_index`.
    """
    out = Path(out)
    if isinstance(source, PictureSource) and settings.embed_imagery:
        raise IndexFolderError(
            "an index of pictures that holds a copy of them is not built in shares",
            out,
            "Build it with --no-copy, or as a whole",
        )
    job = make_job(out.stem or "index", source, encoder, settings)
    first, last = shard.chunks(job.plan)
    if first == last:
        raise IndexFolderError(
            f"there are only {job.plan.chunks:,} pieces of work, too few for {shard.of:,} shares",
            out,
            "Choose fewer shares",
        )
    with told(out):
        if (out / MANIFEST_FILE).exists():
            raise IndexFolderError("there is an index here already", out, "Choose another name")
        work = work_folder(out, resume)
        with locked(work):
            if not (work / SHARD_FILE).exists() and (work / "plan.json").exists():
                raise IndexFolderError(
                    "the build of a whole index was begun here", out, "Choose another name"
                )
            write_or_check(work, shard)
            job = replace(job, plan=keep_plan(work, job.plan))
            keep_asked(work, asked or asked_for(source, encoder, settings))
            tidy(work)
            return encode_range(work, job, encoder, (first, last), report, watch, workers).count


def write_or_check(work: Path, shard: Shard) -> None:
    """Say in a work folder which share it is; refuse where another was begun."""
    file = work / SHARD_FILE
    if not file.exists():
        write_json(file, {"number": shard.number, "of": shard.of})
    elif (found := read_shard(work)) != shard:
        raise IndexFolderError(
            f"share {found.number}/{found.of} was begun here, not {shard.number}/{shard.of}",
            work.parent,
            "Choose another name",
        )


def is_shard(path: Path) -> bool:
    """Whether a folder holds a share of an index."""
    return (path / BUILDING / SHARD_FILE).is_file()


def merge_shards(out: Path | str, paths: Sequence[Path | str], report: Report = silent) -> Index:
    """Put all shares of an index together.

    Raises:
        IndexFolderError: one is missing, unfinished, damaged or of another build, or ``out`` cannot be written.
    """
    out = Path(out)
    works = [Path(path) / BUILDING for path in paths]
    plan, facts, segments = _opened(works)
    with told(out):
        if (out / MANIFEST_FILE).exists():
            raise IndexFolderError("there is an index here already", out, "Choose another name")
        work = work_folder(out, resume=True)
        with locked(work):
            plan = keep_plan(work, replace(plan, name=out.stem or "index"))
            tidy(work)
            if not (work / MANIFEST_FILE).exists():
                if plan.embed_imagery:
                    names = [one.file for one in facts.imagery if one.file is not None]
                    for number, name in enumerate(names):
                        share = 0.2 * number / len(names), 0.2 * (number + 1) / len(names)
                        told_of = part(report, *share, "Comparing the imagery")
                        _copy_imagery(works, work, name, told_of)
                rows = PartRows(segments, facts.ends)
                if not rows.count:
                    raise IndexFolderError("no share holds a tile", out, "Choose another area")
                seal_parts(work, plan, facts, rows, None, part(report, 0.2, 1.0))
            move_up(out, work)
        shutil.rmtree(work, ignore_errors=True)
    return Index.open(out)


def _opened(works: Sequence[Path]) -> tuple[Plan, Facts, list[Segments]]:
    """The plan that all shares follow, and their parts in order."""
    if not works:
        raise IndexFolderError("no shares were given")
    plans: list[Plan] = []
    shards: list[Shard] = []
    every: list[Facts] = []
    for work in works:
        _check_folder(work)
        try:
            plans.append(read_plan(work))
            shards.append(read_shard(work))
            every.append(read_facts(work))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise IndexFolderError(
                "this is no share of an index", work.parent, "Make it with --shard"
            ) from error
        if plans[-1].chunks > _MAX_CHUNKS:
            raise IndexFolderError("its plan is larger than any index may be", work.parent)
        if plans[-1].hash != plans[0].hash or shards[-1].of != shards[0].of:
            raise IndexFolderError("this is a share of another build", work.parent)
    of = shards[0].of
    order = sorted(range(len(works)), key=lambda at: shards[at].number)
    numbers = [shards[at].number for at in order]
    if numbers != list(range(1, of + 1)):
        missing = sorted(set(range(1, of + 1)) - set(numbers))
        what = f"share {missing[0]}/{of} is missing" if missing else "a share is given twice"
        raise IndexFolderError(what, None, f"Give all {of} shares, each once")
    plan = plans[order[0]]
    segments: list[Segments] = []
    for at in order:
        found = Segments(works[at], plan, *shards[at].chunks(plan))
        if found.missing:
            raise IndexFolderError(
                f"share {shards[at].number}/{of} is not finished",
                works[at].parent,
                f"Continue with: {resume_command(works[at].parent)}",
            )
        segments.append(found)
    return plan, every[order[0]], segments


def _check_folder(work: Path) -> None:
    """Refuse links and long texts in what may come from anybody: unfinished ends of its files are cut off."""
    links = [path for path in (work.parent, work, *work.rglob("*")) if path.is_symlink()]
    if links:
        raise IndexFolderError(
            f"{links[0].name} is only a link", work.parent, "Copy the share itself"
        )
    for path in work.glob("*.json"):
        if path.stat().st_size > _MAX_TEXT:
            raise IndexFolderError(f"{path.name} is larger than 1 MB", work.parent)


def _copy_imagery(works: Sequence[Path], work: Path, name: str, report: Report) -> None:
    """A copy of imagery that all shares were cut from, which must be one and the same."""
    digests: list[str] = []
    for number, each in enumerate(works):
        report(number, len(works), "")
        digests.append(sha256_of(each / name))
        if digests[-1] != digests[0]:
            raise IndexFolderError(
                "its copy of the imagery is not the other shares': they were made by different versions of GDAL",
                each.parent,
                f"Copy {name} from the first share's folder before building this one again",
            )
    target = work / name
    if not target.exists():
        temporary = work / ".imagery.part"
        shutil.copyfile(works[0] / name, temporary)
        sync(temporary)
        os.replace(temporary, target)


def read_shard(work: Path) -> Shard:
    """Which share a work folder makes.

    Raises:
        IndexFolderError: it does not say.
    """
    try:
        raw = json.loads((work / SHARD_FILE).read_bytes())
        return Shard(int(raw["number"]), int(raw["of"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError("this is no share of an index", work.parent) from error
