"""Reading JSON values strictly: every key once, nothing left over, problems named by key."""

from __future__ import annotations

import math
from typing import Any

from engine.errors import EncoderError

_MISSING = object()


class Keys:
    """The keys of one JSON object, each taken once; what is left over is unknown."""

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise EncoderError(
                f'the card\'s "{where}" is not an object' if where else "the card is not an object"
            )
        self._raw = dict(raw)
        self._where = where

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def _wrong(self, key: str, what: str) -> EncoderError:
        return EncoderError(f'the card\'s "{self._name(key)}" is not {what}')

    def peek(self, key: str) -> Any:
        return self._raw.get(key)

    def forget(self, *keys: str) -> None:
        for key in keys:
            self._raw.pop(key, None)

    def take(self, key: str, default: Any = _MISSING) -> Any:
        value = self._raw.pop(key, default)
        if value is _MISSING:
            raise EncoderError(f'the card\'s "{self._name(key)}" is missing')
        return value

    def done(self) -> None:
        if self._raw:
            extra = ", ".join(sorted(self._name(key)[:60] for key in self._raw)[:5])
            raise EncoderError(f"the card has keys that this version does not know: {extra}")

    def text(self, key: str, *, default: Any = _MISSING, filled: bool = False) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or (filled and not value.strip()):
            raise self._wrong(key, "a text")
        return value

    def choice(self, key: str, among: tuple[str, ...], default: Any = _MISSING) -> str:
        value = self.take(key, default)
        if value not in among:
            raise self._wrong(key, " or ".join(f'"{item}"' for item in among))
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.take(key)
        if not _is_number(value) or not low <= value <= high:
            raise self._wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, key: str, low: int, high: int, default: Any = _MISSING) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return value

    def integers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        value = self.take(key)
        good = isinstance(value, list) and len(value) == count
        if not good or any(
            not isinstance(v, int) or isinstance(v, bool) or not low <= v <= high for v in value
        ):
            raise self._wrong(key, f"{count} whole numbers from {low} to {high}")
        return tuple(value)

    def numbers(
        self, key: str, count: int | None = None, *, low: float, high: float
    ) -> tuple[float, ...]:
        value = self.take(key)
        good = isinstance(value, list) and (
            len(value) == count if count else 0 < len(value) <= 8192
        )
        if not good or any(not _is_number(v) or not low <= v <= high for v in value):
            raise self._wrong(key, f"{count or 'a list of'} numbers from {low:g} to {high:g}")
        return tuple(float(v) for v in value)

    def mapping(self, key: str, default: Any = _MISSING) -> dict[str, Any]:
        value = self.take(key, default)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return value

    def mappings(self, key: str) -> tuple[dict[str, Any], ...]:
        value = self.take(key, [])
        if not isinstance(value, list) or any(not isinstance(item, dict) for item in value):
            raise self._wrong(key, "a list of objects")
        return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
