"""What a build was asked to do, kept beside its unfinished work so that only the same build goes on with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.errors import IndexFolderError
from engine.files import only_one, write_json

PLAN_FILE = "plan.json"
LOCK_FILE = "lock"
_PARTS = 2  # how unfinished work is kept; another version's is begun anew
_START_OVER = "Continue with the same settings, or delete the folder and start over"
_WORDS = {
    "encoder_hash": "encoder",
    "imagery_fingerprint": "imagery",
    "extent_m": "tile extent",
    "rows_m": "choice of tile extents",
    "stride_m": "stride",
    "area_hash": "area",
    "kind": "kind of rows",
    "embed_imagery": "choice whether to hold a copy of the imagery",
    "minimum_valid": "least share of imagery in a tile",
    "attribution": "attribution",
    "licence": "licence",
    "layout": "layout",
}
# What version 1 did not know has no part in the hash while it is as it was then.
_NEW = {"extents_m": (), "rows_m": (), "kind": "aerial", "layout": "auto"}


@dataclass(frozen=True)
class Plan:
    """All that decides what an index becomes.

    Args:
        extents_m: of all the cuts that are read together for one tile, ``extent_m`` the nearest; empty where it is one.
        rows_m: the extents of tiles, where there is more than one at every place; ``extent_m`` is the least.
        places: rows before those without imagery are left out: places on the grid times extents, or pictures.
        chunk: how many of them are encoded and kept together, after a few smaller chunks.
        minimum_valid: the share of a tile that must have imagery.
        made_by: program and version that began it.
    """

    name: str
    encoder_name: str
    encoder_hash: str
    dimension: int
    tile_pixels: int
    imagery_name: str
    imagery_fingerprint: str
    extent_m: float
    stride_m: float
    area_hash: str
    minimum_valid: float
    embed_imagery: bool
    attribution: str
    licence: str
    places: int
    chunk: int
    made_by: str
    version: int = 1
    extents_m: tuple[float, ...] = ()
    rows_m: tuple[float, ...] = ()
    kind: str = "aerial"
    layout: str = "auto"

    @property
    def tile_extents_m(self) -> tuple[float, ...]:
        """The extents of tiles, one row each at every place."""
        return self.rows_m or (self.extent_m,)

    @property
    def cuts(self) -> tuple[float, ...]:
        """The cuts that an encoder reads together for one tile, in proportion to its extent."""
        return tuple(cut / self.extent_m for cut in self.extents_m) or (1.0,)

    @property
    def hash(self) -> str:
        """Of all but the program's version and the index's name."""
        raw = {k: v for k, v in asdict(self).items() if k not in ("made_by", "name")}
        for key, then in _NEW.items():
            if raw[key] == then:
                del raw[key]
        raw["shard"] = raw.pop("chunk")
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        ramp = self._ramp
        if self.places <= ramp[-1]:
            return next(number for number, end in enumerate(ramp) if self.places <= end)
        return len(ramp) - 1 + -(-(self.places - ramp[-1]) // self.chunk)

    def chunk_range(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk and the one after its last."""
        ramp = self._ramp
        if chunk < len(ramp) - 1:
            return ramp[chunk], min(ramp[chunk + 1], self.places)
        first = ramp[-1] + (chunk - len(ramp) + 1) * self.chunk
        return first, min(first + self.chunk, self.places)

    @property
    def _ramp(self) -> tuple[int, ...]:
        """Where the first chunks begin, and the first whole one: a few rows, so that the encoder has something at
        once, then twice as many each time."""
        ends = [0]
        for halvings in (4, 3, 2, 1):
            ends.append(ends[-1] + max(1, self.chunk >> halvings))
        return tuple(ends)


def read_plan(folder: Path) -> Plan:
    """The plan of a build that was begun in a work folder.

    Raises:
        OSError, ValueError, KeyError, TypeError: it cannot be read.
    """
    raw: Any = json.loads((folder / PLAN_FILE).read_bytes())
    if raw.pop("parts", 1) != _PARTS:
        raise ValueError("begun by another version")
    for key in ("extents_m", "rows_m"):
        raw[key] = tuple(float(value) for value in raw[key])
    whole = ("dimension", "tile_pixels", "places", "chunk", "version")
    good = all(isinstance(raw[key], int) and 0 < raw[key] < 1 << 40 for key in whole)
    texts = (field.name for field in fields(Plan) if field.type == "str")
    if not good or not all(isinstance(raw[key], str) for key in texts):
        raise ValueError("no plan of a build")
    return Plan(**raw)


def keep_plan(folder: Path, plan: Plan) -> Plan:
    """Write the plan of a new build, or check that a begun one is the same. Returns the one that holds.

    Raises:
        IndexFolderError: the build was begun with other settings; the message names the first.
    """
    file = folder / PLAN_FILE
    if not file.exists():
        write_json(file, asdict(plan) | {"parts": _PARTS})
        return plan
    try:
        begun = read_plan(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(
            "what was begun here cannot be read", folder.parent, "Delete the folder and start over"
        ) from error
    if begun.hash == plan.hash:
        return begun
    for key, word in _WORDS.items():
        before, now = getattr(begun, key), getattr(plan, key)
        if before == now:
            continue
        if key == "encoder_hash":
            before, now = begun.encoder_name, plan.encoder_name
        if key == "imagery_fingerprint":
            before, now = begun.imagery_name, plan.imagery_name
        if key == "rows_m":
            before, now = (_listed(each.tile_extents_m) for each in (begun, plan))
        if key == "area_hash":
            whole = hashlib.sha256().hexdigest()
            before, now = ("all of it" if h == whole else "an area" for h in (before, now))
        if key == "embed_imagery":
            before, now = ("with" if held else "without" for held in (before, now))
        if isinstance(before, float):
            before, now = f"{before:g}", f"{now:g}"
        told = "" if before == now else f" ({before}, not {now})"
        raise IndexFolderError(
            f"this build was begun with another {word}{told}", folder.parent, _START_OVER
        )
    raise IndexFolderError(
        "this build was begun by another version of Nadir", folder.parent, _START_OVER
    )


def _listed(extents_m: tuple[float, ...]) -> str:
    return " and ".join(f"{extent:g}" for extent in extents_m) + " m"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second build out while one is at work; the system lets go of the lock when a process dies.

    Raises:
        IndexFolderError: another process holds it.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(only_one(folder / LOCK_FILE))
        except BlockingIOError as error:
            raise IndexFolderError(
                "another build is at work in this folder", folder.parent, "Wait for it"
            ) from error
        yield
