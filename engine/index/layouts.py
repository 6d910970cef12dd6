"""How the descriptors of an index can be kept, which way goes with which size, and which files each has.

A layout has a name for people and a *factory* string in faiss's own words, which is what the manifest holds:

========  ==============================  ==============================================================
name      factory, for example            what it is
========  ==============================  ==============================================================
exact     SQfp16                          every vector, 16 bits a number, all of them looked at
sq8       SQ8                             8 bits a number, all of them looked at
ivf-sq8   IVF4096,SQ8                     8 bits a number, only the nearest of many lists looked at
ivf-pq    OPQ64_128,IVF16384,PQ64x4fs     rotated and shortened, 4 bits for two numbers, the nearest lists
pq        OPQ64_128,PQ64x4fs              the same, all of them looked at
hnsw      HNSW32                          a graph of neighbours over the 16-bit vectors
imi       OPQ64_128,IMI2x10,PQ64          an inverted multi-index: lists are pairs of half lists
========  ==============================  ==============================================================

All but the first two take the best of what they find from ``vectors.f16`` and order it by the 16-bit vectors.

A factory string may come from a stranger's manifest: it is read by the grammar here, whose numbers have limits, and
never handed to faiss.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from engine.errors import IndexFolderError

NAMES = ("exact", "sq8", "ivf-sq8", "ivf-pq", "pq", "hnsw", "imi")
AUTO = "auto"

EXACT_FILE = "vectors.f16"
SQ8_FILE = "vectors.faiss"
ARRAYS_FILE = "vectors.arrays"

DEFAULT_MEMORY = 600_000_000
"""Bytes that an open index may use for its vectors where nobody says."""

EXACT_BYTES = 16 << 20
"""Up to so many bytes of 16-bit vectors (a scan of 3 ms), nothing is gained by any rounding."""

SQ8_BYTES = 256 << 20
"""Up to so many bytes of 8-bit vectors (a scan of 40 ms), nothing is gained by missing some."""

MAX_LISTS = 1 << 20
_POINTS_A_LIST = 39
"""As few as faiss's clustering accepts without a warning."""

Kind = Literal["exact", "sq8", "inverted", "graph"]
CodeKind = Literal["SQ8", "SQ4", "SQfp16", "PQ"]

_TRANSFORM = re.compile(r"(OPQ)(\d{1,4})(?:_(\d{1,5}))?|(PCAR?)(\d{1,5})")
_LISTS = re.compile(r"IVF(\d{1,7})|IMI2x(\d{1,2})")
_CODE = re.compile(r"(SQ8|SQ4|SQfp16)|PQ(\d{1,4})(?:x(\d{1,2}))?(fsr?)?")
_GRAPH = re.compile(r"HNSW(\d{1,3})")


@dataclass(frozen=True)
class Layout:
    """A factory string taken apart.

    Attributes:
        factory: the string.
        kind: which store opens it.
        dimension: of the descriptors; ``inner``: of what is searched, less after a transform.
        transform: "", "OPQ", "PCA" or "PCAR" (PCA and a random rotation); ``opq``: OPQ's pieces.
        lists: inverted lists; 1 where everything is looked at.
        imi_bits: bits of each of two half lists; 0 where there is no multi-index.
        code: what is kept of a vector; ``pieces`` and ``bits`` are those of PQ.
        fast: whether PQ codes are laid out for scanning with SIMD registers (4 bits); ``residual``: whether codes are
            of the difference to their list's centre.
        links: neighbours of a vector in a graph.
    """

    factory: str
    kind: Kind
    dimension: int
    inner: int
    transform: str = ""
    opq: int = 0
    lists: int = 1
    imi_bits: int = 0
    code: CodeKind = "SQfp16"
    pieces: int = 0
    bits: int = 0
    fast: bool = False
    residual: bool = False
    links: int = 0

    @property
    def name(self) -> str:
        """What people call it; the factory itself where it has no name."""
        if self.kind != "inverted":
            return {"exact": "exact", "sq8": "sq8", "graph": "hnsw"}[self.kind]
        if self.imi_bits:
            return "imi"
        flat = "" if self.lists > 1 else "flat-"
        if self.code == "PQ":
            return "ivf-pq" if self.lists > 1 else "pq"
        return f"{flat or 'ivf-'}{self.code.lower()}"

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the index that hold its vectors."""
        if self.kind == "exact":
            return (EXACT_FILE,)
        return (SQ8_FILE,) if self.kind == "sq8" else (EXACT_FILE, ARRAYS_FILE)

    @property
    def code_bytes(self) -> int:
        """Bytes of a vector's code in the lists."""
        if self.code == "PQ":
            return -(-self.pieces * self.bits // 8)
        return {"SQ8": self.inner, "SQ4": -(-self.inner // 2), "SQfp16": 2 * self.inner}[self.code]

    def memory(self, count: int) -> int:
        """About what searching needs in memory, bytes: what every query may touch."""
        if self.kind == "exact":
            return 64 << 20  # a block at a time
        if self.kind == "sq8":
            return count * self.dimension
        if self.kind == "graph":
            return count * (8 * self.links + 16) + 2 * count * self.dimension
        return count * (self.code_bytes + 8)


def parse_layout(factory: str, dimension: int) -> Layout:
    """Take a factory string apart.

    Raises:
        IndexFolderError: it is none that is known, or does not go with the dimension.
    """
    if factory == "SQfp16":
        return Layout(factory, "exact", dimension, dimension)
    if factory == "SQ8":
        return Layout(factory, "sq8", dimension, dimension, code="SQ8")
    words = factory.split(",") if len(factory) <= 60 else []
    if len(words) == 1 and (graph := _GRAPH.fullmatch(factory)):
        links = int(graph[1])
        if not 4 <= links <= 128:
            raise _wrong(factory, "HNSW takes 4 to 128 links")
        return Layout(factory, "graph", dimension, dimension, links=links)
    facts: dict[str, object] = {}
    inner = dimension
    if words and (match := _TRANSFORM.fullmatch(words[0])):
        words = words[1:]
        facts["transform"] = match[1] or match[4]
        inner = int(match[3] or match[5] or dimension)
        facts["opq"] = opq = int(match[2] or 0)
        if not 1 <= inner <= dimension:
            raise _wrong(factory, f"it does not shorten {dimension} numbers to {inner}")
        if match[1] and (opq < 1 or inner % opq):
            raise _wrong(factory, f"{inner} numbers do not make {opq} equal pieces")
    if len(words) == 2 and (match := _LISTS.fullmatch(words[0])):
        words = words[1:]
        bits = int(match[2] or 0)
        lists = 1 << (2 * bits) if match[2] else int(match[1])
        if not 1 <= lists <= MAX_LISTS or (match[2] and (bits < 1 or inner % 2)):
            raise _wrong(
                factory, f"there can be 1 to {MAX_LISTS:,} lists, of halves in a multi-index"
            )
        facts |= {"lists": lists, "imi_bits": bits}
    match = _CODE.fullmatch(words[0]) if len(words) == 1 else None
    if match is None:
        raise _wrong(factory, "")
    if match[1]:
        facts["code"] = match[1]
    else:
        pieces, bits, fast = int(match[2]), int(match[3] or 8), match[4] or ""
        if not 1 <= pieces <= inner or inner % pieces:
            raise _wrong(factory, f"{inner} numbers do not make {pieces} equal pieces")
        if bits not in ((4,) if fast else (4, 8)):
            raise _wrong(factory, "pieces have 4 or 8 bits, 4 for fast scanning")
        facts |= {"code": "PQ", "pieces": pieces, "bits": bits, "fast": bool(fast)}
        facts["residual"] = fast == "fsr"
    return Layout(factory, "inverted", dimension, inner, **facts)  # type: ignore[arg-type]


def choose_layout(asked: str, count: int, dimension: int, memory: int = DEFAULT_MEMORY) -> Layout:
    """The layout for so many vectors.

    Args:
        asked: "auto", a name of :data:`NAMES`, or a factory string.
        memory: bytes that an open index may use; decides where "auto" is asked.

    Raises:
        IndexFolderError: there is no such layout, or it does not go with the count or the dimension.
    """
    if asked == AUTO:
        factory = _automatic(count, dimension, memory)
    else:
        factory = _named(asked, count, dimension) if asked in NAMES else asked
    layout = parse_layout(factory, dimension)
    check_trainable(layout, count)
    return layout


def check_trainable(layout: Layout, count: int) -> None:
    """Refuse a layout that so few vectors cannot be sorted into.

    Raises:
        IndexFolderError: naming how many it needs.
    """
    half = 1 << layout.imi_bits if layout.imi_bits else layout.lists
    least = max(half, 1 << layout.bits if layout.code == "PQ" else 1)
    if layout.transform:
        least = max(least, layout.inner)
    if layout.kind == "inverted" and count < least:
        raise IndexFolderError(
            f"{layout.factory} needs at least {least:,} vectors, and there are {count:,}",
            None,
            "Choose the layout auto",
        )


def _automatic(count: int, dimension: int, memory: int) -> str:
    if 2 * count * dimension <= min(EXACT_BYTES, memory):
        return "SQfp16"
    if count * dimension <= min(SQ8_BYTES, memory):
        return "SQ8"
    factory = _named("ivf-pq", count, dimension)
    while (layout := parse_layout(factory, dimension)).memory(count) > memory:
        pieces = layout.pieces // 2
        if pieces < 8 or layout.inner % pieces:
            break
        factory = factory.replace(f"PQ{layout.pieces}x", f"PQ{pieces}x")
    return factory


def _named(name: str, count: int, dimension: int) -> str:
    fixed = {"exact": "SQfp16", "sq8": "SQ8", "hnsw": "HNSW32"}
    if name in fixed:
        return fixed[name]
    lists = _lists(count)
    if name == "ivf-sq8":
        return f"IVF{lists},SQ8"
    inner = _shortened(min(dimension, count))
    if name == "ivf-pq":
        inner = _shortened(min(dimension, count), 256)
    pieces = max(1, inner // 2)
    rotated = f"OPQ{pieces}_{inner}"
    if name == "pq":
        return f"{rotated},PQ{pieces}x4fs"
    if name == "ivf-pq":
        return f"{rotated},IVF{lists},PQ{pieces}x4fsr"
    bits = int(max(1, min(10, math.log2(max(count, 2)) / 2 - 1)))
    return f"{rotated},IMI2x{bits},PQ{pieces}{'' if count >= 256 else 'x4'}"


def _shortened(dimension: int, most: int = 128) -> int:
    """Numbers that are left after a rotation: an even number, ``most`` where there are more."""
    return most if dimension >= most else max(1, dimension - dimension % 2)


def _lists(count: int) -> int:
    """A power of two of about eight times the root of the count, with enough vectors for each."""
    wanted = 2 ** round(math.log2(max(1.0, 8 * math.sqrt(count))))
    while wanted > 1 and wanted * _POINTS_A_LIST > count:
        wanted //= 2
    return min(wanted, 1 << 16)


def _wrong(factory: str, why: str) -> IndexFolderError:
    known = f"Choose auto, {', '.join(NAMES)}, or a factory such as OPQ128_256,IVF8192,PQ128x4fsr"
    shown = factory[:60]
    return IndexFolderError(
        f"vectors cannot be kept as {shown!r}{': ' + why if why else ''}", None, known
    )
