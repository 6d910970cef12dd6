"""Whether a pyramid's rows count from the south (TMS) or from the north (XYZ), and what the files say of themselves."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.geo import Bounds

Rows = Literal["tms", "xyz"]
_MERCATOR_LIMIT = 85.06
_TAG = re.compile(r"<[^<>]*>")


def line(text: Any, most: int = 2000) -> str:
    """A file's own words as one line of printable text; empty for what is no text."""
    if not isinstance(text, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:most]).split())


def said(value: Any) -> str:
    """What a file says for people, such as an attribution: without the tags that it often comes with."""
    return " ".join(html.unescape(_TAG.sub("", line(value))).split())


def bounds_of(value: Any) -> Bounds | None:
    """``"west,south,east,north"``, or a list of the four; None where it is no box, or the whole world."""
    parts = value.split(",") if isinstance(value, str) and len(value) < 400 else value
    if not isinstance(parts, list) or len(parts) != 4:
        return None
    try:
        west, south, east, north = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    sound = all(math.isfinite(v) for v in (west, south, east, north))
    if not sound or not (
        -90 <= south < north <= 90 and -540 <= west <= 540 and -540 <= east <= 540
    ):
        return None
    return Bounds(south, west, north, east)


def mercator_rows(bounds: Bounds, zoom: int) -> tuple[float, float]:
    """Between which rows (from the north, fractional) a box lies at a zoom."""

    def row(lat: float) -> float:
        lat = min(max(lat, -_MERCATOR_LIMIT), _MERCATOR_LIMIT)
        return (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**zoom

    return row(bounds.north), row(bounds.south)


@dataclass(frozen=True)
class RowRule:
    """How rows count, and what a person should know about why."""

    rows: Rows
    note: str = ""

    def from_north(self, row: int, count: int) -> int:
        """A row as it is stored, counted from the north, or the other way round; ``count`` rows in all."""
        return count - 1 - row if self.rows == "tms" else row


def row_rule(
    stored: tuple[int, int],
    count: int,
    wanted: tuple[float, float] | None,
    default: Rows,
    stated: Rows | None,
    how_to_say: str = "",
) -> RowRule:
    """Decide how rows count.

    Args:
        stored: the first and the last row as they are stored.
        count: how many rows the zoom has in all.
        wanted: between which rows, from the north, the file says that it lies; None where it does not say.
        default: what the format asks for, or what is usual.
        stated: what the file itself says.
        how_to_say: how a person can say it, for the note on a guess.
    """
    first = stated or default
    other: Rows = "xyz" if first == "tms" else "tms"
    if wanted is not None:
        reach = {rule: _overlap(RowRule(rule), stored, count, wanted) for rule in (first, other)}
        if reach[first] <= 0 < reach[other]:
            words = "north" if other == "xyz" else "south"
            return RowRule(
                other, f"its rows count from the {words}: so they lie where its bounds say"
            )
        if reach[first] > 0:
            return RowRule(first)
        return RowRule(first, "its tiles do not lie where its bounds say")
    if stated is None and how_to_say and stored[0] + stored[1] != count - 1:
        words = "north" if first == "xyz" else "south"
        return RowRule(
            first, f"rows are taken to count from the {words}, as nothing says it; {how_to_say}"
        )
    return RowRule(first)


def _overlap(
    rule: RowRule, stored: tuple[int, int], count: int, wanted: tuple[float, float]
) -> float:
    ends = sorted(rule.from_north(row, count) for row in stored)
    return min(ends[1] + 1, wanted[1]) - max(ends[0], wanted[0])


def said_rows(metadata: Mapping[str, Any]) -> Rows | None:
    """What ``scheme`` says."""
    scheme = line(metadata.get("scheme")).lower()
    return scheme if scheme in ("tms", "xyz") else None  # pyright: ignore[reportReturnType]
