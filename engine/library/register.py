"""``library.json``: what the library knows beyond its folder: items that lie elsewhere, and when which was checked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.files import only_one, write_json

REGISTER_FILE = "library.json"
LOCK_FILE = ".library.lock"
VERSION = 1
_PATIENCE_S = 10.0
_MAX_BYTES = 4 << 20
_MAX_ENTRIES = 10_000
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Check:
    """A check that was made: of what (by its hash), when (ISO 8601), and what was wrong."""

    hash: str
    when: str
    problems: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.problems

    @staticmethod
    def now(hash_: str, problems: tuple[str, ...]) -> Check:
        """One that has just been made."""
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        return Check(hash_, when, problems[:_MAX_PROBLEMS])


@dataclass(frozen=True)
class Register:
    """Paths of items that lie outside the library's folder, and the last check of each item, by its path."""

    elsewhere: tuple[str, ...] = ()
    checks: dict[str, Check] = field(default_factory=dict)
    version: int = VERSION

    def with_item(self, path: Path) -> Register:
        """Knowing an item that lies elsewhere."""
        others = tuple(known for known in self.elsewhere if known != str(path))
        return replace(self, elsewhere=(*others, str(path)))

    def without(self, path: Path) -> Register:
        """Knowing nothing of an item."""
        checks = {name: check for name, check in self.checks.items() if name != str(path)}
        others = tuple(known for known in self.elsewhere if known != str(path))
        return replace(self, elsewhere=others, checks=checks)

    def with_check(self, path: Path, check: Check) -> Register:
        """Knowing that an item was checked."""
        return replace(self, checks={**self.checks, str(path): check})


def read_register(folder: Path) -> Register:
    """Read it; what is missing or makes no sense is left out, since all of it can be found out again."""
    file = folder / REGISTER_FILE
    try:
        if file.stat().st_size > _MAX_BYTES:
            return Register()
        raw: Any = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Register()
    if not isinstance(raw, dict):
        return Register()
    elsewhere, checks = raw.get("elsewhere"), raw.get("checks")
    known = elsewhere if isinstance(elsewhere, list) else []
    entries = checks.items() if isinstance(checks, dict) else ()
    return Register(
        tuple(dict.fromkeys(path for path in known if isinstance(path, str)))[:_MAX_ENTRIES],
        {path: check for path, one in entries if (check := _check(one)) is not None},
    )


def _check(raw: Any) -> Check | None:
    if not isinstance(raw, dict):
        return None
    hash_, when, problems = raw.get("hash"), raw.get("when"), raw.get("problems")
    if not (isinstance(hash_, str) and isinstance(when, str) and isinstance(problems, list)):
        return None
    try:
        datetime.fromisoformat(when)
    except ValueError:
        return None
    texts = tuple(text[:2000] for text in problems if isinstance(text, str))
    return Check(hash_[:200], when, texts[:_MAX_PROBLEMS])


def change_register(folder: Path, change: Callable[[Register], Register]) -> None:
    """Read it, change it and write it, as one step to everybody else who does so.

    Raises:
        OSError: it cannot be written, or somebody holds it for long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with only_one(folder / LOCK_FILE):
                before = read_register(folder)
                after = change(before)
                if after != before:
                    write_register(folder, after)
                return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def write_register(folder: Path, register: Register) -> None:
    """Write it, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / REGISTER_FILE, asdict(register))
