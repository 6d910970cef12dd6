"""Whether pictures are tiles seen from above or photos of the street, by the words of their names."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["aerial", "street"]

AERIAL_WORDS = frozenset(
    ("aerial", "bing", "bingmap", "ortho", "orthophoto", "overhead", "sat", "satellite", "satview", "tile", "tiles",
     "topdown")
)  # fmt: skip
STREET_WORDS = frozenset(
    ("ground", "mapillary", "pano", "panorama", "panoramas", "panos", "photo", "photos", "queries", "query", "street",
     "streets", "streetview")
)  # fmt: skip
_WORD = re.compile(r"[a-z]+")


def kind_by_words(*texts: str) -> Kind | None:
    """What the first of the texts that holds a telling word says; None where none does.

    A text with words of both kinds tells nothing.
    """
    for text in texts:
        words = set(_WORD.findall(text.lower()))
        above, street = bool(words & AERIAL_WORDS), bool(words & STREET_WORDS)
        if above != street:
            return "aerial" if above else "street"
    return None


def bare_stem(stem: str) -> tuple[str, Kind | None]:
    """A name without the ending that tells two pictures of one place apart (``ID_sat``), and what it tells."""
    body, mark, last = stem.rpartition("_")
    if mark and body and last.isalpha():
        kind = kind_by_words(last)
        if kind is not None:
            return body, kind
    return stem, None
