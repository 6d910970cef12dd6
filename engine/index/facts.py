"""What the finished index will say of its imagery, kept beside unfinished work: sealing needs no imagery any more."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.files import write_json
from engine.imagery import AerialSource
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
        extents_m: of the rows, as the manifest lists them.
        left_out: why rows are left out, as a clause.
    """

    imagery: ImageryFacts
    extents_m: tuple[float, ...]
    notes: tuple[str, ...]
    left_out: str


def facts_of(
    source: AerialSource | PictureSource, plan: Plan, extents_m: tuple[float, ...], left_out: str
) -> Facts:
    """The facts about a source, with the attribution and licence that the plan says."""
    notes = [note[:MAX_TEXT] for note in source.notes]
    pixel_m = min(plan.tile_extents_m) * min(plan.cuts) / plan.tile_pixels
    pictures = isinstance(source, PictureSource)
    if not pictures and source.resolution_m > _COARSE * pixel_m:
        notes.append(
            f"the imagery ({source.resolution_m:.2g} m a pixel) is coarser than what the encoder reads "
            f"({pixel_m:.2g} m)"
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
    return Facts(imagery, extents_m, tuple(notes), left_out)


def keep_facts(work: Path, facts: Facts) -> None:
    """Write them into a work folder."""
    imagery = asdict(facts.imagery)
    write_json(work / FACTS_FILE, asdict(facts) | {"imagery": [imagery]})


def read_facts(work: Path) -> Facts:
    """Read what :func:`keep_facts` wrote.

    Raises:
        OSError, ValueError: it cannot be read.
        IndexFolderError: a value in it is wrong.
    """
    top = Values(json.loads((work / FACTS_FILE).read_bytes()), "")
    (imagery,) = imagery_from(top)
    return Facts(
        imagery,
        top.numbers("extents_m", 0.01, 1e6, 16),
        notes_from(top.take("notes")),
        top.text("left_out"),
    )


def _file_name(source: AerialSource | PictureSource) -> str:
    path = getattr(source, "path", None)
    return path.name if isinstance(path, Path) else source.name


def _words(source: object, key: str) -> str:
    value = getattr(source, key, "")
    return value[:MAX_TEXT] if isinstance(value, str) else ""
