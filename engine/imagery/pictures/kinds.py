"""Whether pictures are tiles seen from above or photos of the street, by the words of their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from engine.errors import ImageryError

Kind = Literal["aerial", "street"]


class PicturesUnclearError(ImageryError):
    """Pictures whose places are known, but of which the user must say more.

    Attributes:
        needs: ``kind``: whether they are tiles or photos; ``extent``: how much ground a tile shows.
        counts: how many are tiles, photos, and neither by what they say of themselves.
    """

    def __init__(
        self,
        needs: Literal["kind", "extent"],
        counts: tuple[int, int, int],
        problem: str,
        path: Path,
        remedy: str,
    ) -> None:
        super().__init__(problem, path, remedy)
        self.needs = needs
        self.counts = counts


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
