"""How a build was asked for, kept beside its unfinished work: going on needs nothing but the folder."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.errors import IndexFolderError
from engine.files import write_json
from engine.index.area import Area, area_from_geojson
from engine.index.job import Settings
from engine.index.json_values import MAX_TEXT

ASKED_FILE = "asked.json"
_BUILDING = "building"  # see engine.index.store
_MAX_BYTES = 8 << 20


@dataclass(frozen=True)
class Asked:
    """A build as it was asked for; what is empty or None was left to the card, the imagery or the program.

    Args:
        imagery: the path of the source, or a server's address; ``kind``: of pictures, as the user said.
        encoder: its path.
        extents_m, stride_m, embed_imagery, attribution, licence, layout: see :class:`engine.index.job.Settings`.
        area: GeoJSON, as a text.
        zoom, cache: of a server's imagery, and where it is kept.
        allow: the hosts that were allowed. They are only told: what may be reached is said anew every time, since a
            folder may come from anybody.
    """

    imagery: str = ""
    kind: str | None = None
    encoder: str = ""
    extents_m: tuple[float, ...] = ()
    stride_m: float | None = None
    area: str = ""
    embed_imagery: bool = True
    attribution: str | None = None
    licence: str | None = None
    layout: str = "auto"
    zoom: int | None = None
    cache: str = ""
    allow: tuple[str, ...] = ()

    def polygons(self) -> Area | None:
        """The area, to the last place; None: all of the imagery."""
        return area_from_geojson(json.loads(self.area)) if self.area else None


def asked_for(source: object, encoder: object, settings: Settings) -> Asked:
    """As it was asked of :func:`engine.index.build_index`; a source or encoder without a path is not known again."""
    area = settings.area
    return Asked(
        imagery=_path(source),
        encoder=_path(encoder),
        extents_m=settings.extents_m or (),
        stride_m=settings.stride_m,
        area="" if area is None else _geojson(area),
        embed_imagery=settings.embed_imagery,
        attribution=settings.attribution,
        licence=settings.licence,
        layout=settings.layout,
    )


def keep_asked(work: Path, asked: Asked) -> None:
    """Write it into a work folder, where it was not said yet."""
    if not (work / ASKED_FILE).exists():
        write_json(work / ASKED_FILE, asdict(asked))


def read_asked(out: Path) -> Asked:
    """How the build in the folder ``out`` was asked for.

    Raises:
        IndexFolderError: nothing was begun there, or it does not say how.
    """
    work = out / _BUILDING
    if not work.is_dir():
        raise IndexFolderError(
            "no build was begun here, so there is nothing to go on with", out, "Give --imagery"
        )
    file = work / ASKED_FILE
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError("too long")
        raw: Any = json.loads(file.read_bytes())
        known = {field.name: raw[field.name] for field in fields(Asked)}
        for key in ("extents_m", "allow"):
            known[key] = tuple(known[key])
        asked = Asked(**known)
        _check(asked)
        asked.polygons()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexFolderError(
            "what was begun here does not say from what",
            out,
            "Give --imagery and what else was given",
        ) from error
    return asked


def resume_command(out: Path | str) -> str:
    """The command that goes on with a build, as it can be typed."""
    out = Path(out)
    if out.parent.name == _BUILDING:  # an addition to an index
        return "the same command as before, and --resume"
    words = ["nadir", "index", "build", str(out), "--resume"]
    with contextlib.suppress(IndexFolderError):
        for host in read_asked(out).allow:
            words += ["--allow", host]
    return _quoted(words)


def _quoted(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _path(thing: object) -> str:
    path = getattr(thing, "path", None)
    return str(path.absolute()) if isinstance(path, Path) else ""


def _geojson(area: Area) -> str:
    polygons = [
        [[*ring.tolist(), ring[0].tolist()] for ring in polygon] for polygon in area.polygons
    ]
    return json.dumps({"type": "MultiPolygon", "coordinates": polygons}, separators=(",", ":"))


def _check(asked: Asked) -> None:
    """Kinds and lengths of what may come from anybody; what the values mean is checked where they are used."""
    texts = (asked.imagery, asked.encoder, asked.layout, asked.cache, *asked.allow)
    may_lack = (asked.kind, asked.attribution, asked.licence)
    good = all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts)
    good &= all(
        text is None or (isinstance(text, str) and len(text) <= MAX_TEXT) for text in may_lack
    )
    numbers = (*asked.extents_m, *(n for n in (asked.stride_m, asked.zoom) if n is not None))
    good &= all(isinstance(n, int | float) and 0 <= n <= 1e6 for n in numbers)
    good &= asked.kind in (None, "aerial", "street") and isinstance(asked.area, str)
    if not good or not isinstance(asked.embed_imagery, bool) or len(asked.allow) > 100:
        raise ValueError("no build that was asked for")
