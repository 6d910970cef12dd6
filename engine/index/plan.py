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
_START_OVER = "Continue with the same settings, or delete the folder and start over"
_WORDS = {
    "encoder_hash": "encoder",
    "imagery_fingerprint": "imagery",
    "extent_m": "tile extent",
    "stride_m": "stride",
    "area_hash": "area",
    "embed_imagery": "choice whether to hold the imagery",
    "minimum_valid": "least share of imagery in a tile",
    "attribution": "attribution",
    "licence": "licence",
}


@dataclass(frozen=True)
class Plan:
    """All that decides what an index becomes.

    Args:
        extents_m: of all the cuts that are read together for one tile, ``extent_m`` the nearest; empty where it is one.
        places: tile centres on the grid, before those without imagery are left out.
        shard: how many of them are encoded and kept together.
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
    shard: int
    made_by: str
    version: int = 1
    extents_m: tuple[float, ...] = ()

    @property
    def cuts_m(self) -> tuple[float, ...]:
        """Extents of the cuts that make one tile."""
        return self.extents_m or (self.extent_m,)

    @property
    def hash(self) -> str:
        """Of all but the program's version and the index's name."""
        raw = {k: v for k, v in asdict(self).items() if k not in ("made_by", "name")}
        if not self.extents_m:  # as indexes were hashed before tiles had several
            del raw["extents_m"]
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()

    @property
    def shards(self) -> int:
        return -(-self.places // self.shard)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """First place of a shard and the one after its last."""
        return shard * self.shard, min((shard + 1) * self.shard, self.places)


def keep_plan(folder: Path, plan: Plan) -> Plan:
    """Write the plan of a new build, or check that a begun one is the same. Returns the one that holds.

    Raises:
        IndexFolderError: the build was begun with other settings; the message names the first.
    """
    file = folder / PLAN_FILE
    if not file.exists():
        write_json(file, asdict(plan))
        return plan
    try:
        raw: Any = json.loads(file.read_bytes())
        raw["extents_m"] = tuple(raw.get("extents_m", ()))
        begun = Plan(**{field.name: raw[field.name] for field in fields(Plan)})
        if begun.hash == plan.hash:
            return begun
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(
            "what was begun here cannot be read", folder.parent, "Delete the folder and start over"
        ) from error
    for key, word in _WORDS.items():
        before, now = getattr(begun, key), getattr(plan, key)
        if before == now:
            continue
        if key == "encoder_hash":
            before, now = begun.encoder_name, plan.encoder_name
        if key == "imagery_fingerprint":
            before, now = begun.imagery_name, plan.imagery_name
        told = "" if key == "area_hash" or before == now else f" ({before}, not {now})"
        raise IndexFolderError(
            f"this build was begun with another {word}{told}", folder.parent, _START_OVER
        )
    raise IndexFolderError(
        "this build was begun by another version of Nadir", folder.parent, _START_OVER
    )


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
