"""What the finished index will say of its imagery, kept beside unfinished work: sealing needs no imagery any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine.files import write_json
from engine.geo import Bounds
from engine.imagery import AerialSource
from engine.imagery.describe import metres_text
from engine.imagery.mosaic import Mosaic
from engine.imagery.pictures import PictureSource
from engine.index.json_values import MAX_TEXT, Values
from engine.index.manifest import (
    IMAGERY_FILE,
    PICTURES_FILE,
    ImageryFacts,
    imagery_from,
    notes_from,
)
from engine.index.plan import Plan

FACTS_FILE = "facts.json"
_COARSE = 2.0  # imagery so much coarser than the encoder's tiles is remarked upon


@dataclass(frozen=True)
class Facts:
    """Of the imagery of a build.

    Args:
        imagery: one; of imagery in pieces of which the index holds copies, one for each piece.
        extents_m: of the rows, as the manifest lists them.
        left_out: why rows are left out, as a clause.
        ends: where it is several: how many rows there are, before any is left out, up to the end of each.
    """

    imagery: tuple[ImageryFacts, ...]
    extents_m: tuple[float, ...]
    notes: tuple[str, ...]
    left_out: str
    ends: tuple[int, ...] = ()


def facts_of(
    source: AerialSource | PictureSource, plan: Plan, extents_m: tuple[float, ...], left_out: str
) -> Facts:
    """The facts about a source, with the attribution and licence that the plan says."""
    notes = [note[:MAX_TEXT] for note in source.notes]
    pixel_m = min(plan.tile_extents_m) * min(plan.cuts) / plan.tile_pixels
    pictures = isinstance(source, PictureSource)
    if not pictures and source.resolution_m > _COARSE * pixel_m:
        notes.append(
            f"the imagery ({metres_text(source.resolution_m)} a pixel) is coarser than what the encoder reads "
            f"({metres_text(pixel_m)})"
        )
    file = PICTURES_FILE if pictures else IMAGERY_FILE
    imagery = ImageryFacts(
        file=file if plan.embed_imagery else None,
        name=_file_name(source)[:MAX_TEXT],
        fingerprint=plan.imagery_fingerprint,
        crs=source.crs[:MAX_TEXT],
        resolution_m=source.resolution_m,
        bounds=source.bounds,
        attribution=plan.attribution[:MAX_TEXT],
        licence=plan.licence[:MAX_TEXT],
        terms=_words(source, "terms"),
        kind=_words(source, "kind"),
    )
    return Facts((imagery,), extents_m, tuple(notes), left_out)


def in_pieces(
    facts: Facts, source: AerialSource, pieces: Sequence[Bounds], ends: tuple[int, ...]
) -> Facts:
    """The facts with an imagery for every piece, where there are several and copies of them are to be held."""
    (whole,) = facts.imagery
    if len(pieces) == 1 or whole.file is None:
        return facts
    several: list[ImageryFacts] = []
    for number, box in enumerate(pieces, 1):
        seen = source.part(box) if isinstance(source, Mosaic) else source
        several.append(
            replace(
                whole,
                file=_copy_name(number),
                crs=seen.crs[:MAX_TEXT],
                resolution_m=seen.resolution_m,
                bounds=box,
            )
        )
    return replace(facts, imagery=tuple(several), ends=ends)


def _copy_name(number: int) -> str:
    """Of a piece's copy, as :mod:`engine.index.merging` names them."""
    return IMAGERY_FILE if number == 1 else IMAGERY_FILE.replace(".", f"-{number}.")


def keep_facts(work: Path, facts: Facts) -> None:
    """Write them into a work folder."""
    write_json(work / FACTS_FILE, asdict(facts))


def read_facts(work: Path) -> Facts:
    """Read what :func:`keep_facts` wrote.

    Raises:
        OSError, ValueError: it cannot be read.
        IndexFolderError: a value in it is wrong.
    """
    top = Values(json.loads((work / FACTS_FILE).read_bytes()), "")
    imagery = imagery_from(top)
    ends = top.peek("ends") or []  # what was begun by an earlier version has none
    if not isinstance(ends, list) or len(ends) != (len(imagery) if len(imagery) > 1 else 0):
        raise ValueError("no ends of the pieces")
    if not all(isinstance(end, int) and end > 0 for end in ends) or ends != sorted(ends):
        raise ValueError("the ends of the pieces do not rise")
    for number, one in enumerate(imagery, 1):
        if one.file not in (None, PICTURES_FILE, _copy_name(number)):
            raise ValueError("a copy of imagery has another name")
    return Facts(
        imagery,
        top.numbers("extents_m", 0.01, 1e6, 16),
        notes_from(top.take("notes")),
        top.text("left_out"),
        tuple(ends),
    )


def _file_name(source: AerialSource | PictureSource) -> str:
    path = getattr(source, "path", None)
    return path.name if isinstance(path, Path) else source.name


def _words(source: object, key: str) -> str:
    value = getattr(source, key, "")
    return value[:MAX_TEXT] if isinstance(value, str) else ""
