"""Typed access to JSON that may come from anybody: every value is checked, every problem names its key."""

from __future__ import annotations

import math
import re
from typing import Any

from engine.errors import IndexFolderError

MAX_TEXT = 4000
AGAIN = "Get the index again from its source, or build it again"
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9]{1,10}){0,2}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Values:
    """Typed access to a JSON object; every problem names the key."""

    def __init__(self, raw: Any, at: str) -> None:
        self.at = at
        if not isinstance(raw, dict):
            raise self._wrong("", "no group of values")
        self._raw: dict[str, Any] = raw
        self._seen: set[str] = set()

    def peek(self, key: str) -> Any:
        return self._raw.get(key)

    def take(self, key: str) -> Any:
        if key not in self._raw:
            raise self._wrong(key, "missing")
        self._seen.add(key)
        return self._raw[key]

    def group(self, key: str) -> Values:
        return Values(self.take(key), f"{self.at}.{key}" if self.at else key)

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise self._wrong(key, "no text, or too long")
        return value

    def numbers(self, key: str, low: float, high: float, most: int) -> tuple[float, ...]:
        """A list of at most ``most`` numbers."""
        listed = self.take(key)
        if not isinstance(listed, list) or len(listed) > most:
            raise self._wrong(key, f"no list of at most {most} numbers")
        return tuple(Values({key: value}, self.at).number(key, low, high) for value in listed)

    def groups(self, key: str, most: int) -> list[Values]:
        """A list of at least one and at most ``most`` groups of values."""
        listed = self.take(key)
        if not isinstance(listed, list) or not 0 < len(listed) <= most:
            raise self._wrong(key, f"no list of 1 to {most} groups of values")
        at = f"{self.at}.{key}" if self.at else key
        return [Values(raw, f"{at}.{number}") for number, raw in enumerate(listed, 1)]

    def sha256(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise self._wrong(key, "no SHA-256")
        return value

    def file_name(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not FILE_NAME.fullmatch(value):
            raise self._wrong(key, "not a plain file name")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, f"no whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.take(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise self._wrong(key, f"no number from {low:g} to {high:g}")
        return float(value)

    def done(self, *also: str) -> None:
        if unknown := sorted(set(self._raw) - self._seen - set(also)):
            raise self._wrong(unknown[0], "not a key of this version")

    def _wrong(self, key: str, what: str) -> IndexFolderError:
        name = ".".join(part for part in (self.at, key[:80]) if part)
        return IndexFolderError(f'the manifest\'s "{name}" is {what}', None, AGAIN)
