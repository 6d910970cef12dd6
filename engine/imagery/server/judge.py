"""What an answer to "this tile, please" is: a picture, nothing, a refusal, or a failure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from engine.imagery.safe_xml import XmlError, parse_xml
from engine.imagery.server.access import Answer
from engine.imagery.server.ask import exception_text, status_words
from engine.imagery.tile_grid import Level
from engine.imagery.tile_image import TileError, decode_tile, kind_of, tile_size
from engine.imagery.tile_rows import line

State = Literal["stored", "absent", "blank", "refused", "failed"]
_REFUSALS = (401, 402, 403, 407, 451)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_SMALLEST, _LARGEST = 64, 2048  # sides of tiles


@dataclass(frozen=True)
class Verdict:
    """What became of a tile.

    Args:
        state: ``stored``: it is a picture. ``absent``: the server has none. ``blank``: it has one colour, or is
            transparent: nothing is to be seen. ``refused``, ``failed``: it may be had another time.
        data: the picture.
        digest: of it, the first 16 bytes of SHA-256.
        why: in words, for all but ``stored``.
        again: whether it may help to ask again soon.
    """

    state: State
    data: bytes = b""
    digest: bytes = b""
    why: str = ""
    again: bool = False


def judge(answer: Answer, level: Level, exact_size: bool) -> Verdict:
    """Look at an answer. Only what decodes as a picture of the right size is one."""
    status = answer.status
    if status in (204, 404, 410):
        return Verdict("absent", why=status_words(status))
    if status in _REFUSALS:
        return Verdict("refused", why=status_words(status))
    if status == 429:
        return Verdict("refused", why=status_words(status), again=True)
    kind = kind_of(answer.body)
    if status != 200 or kind not in ("png", "jpg", "webp"):
        said = _exception(answer.body)
        if said is not None:
            return _of_exception(said)
        if status != 200:
            return Verdict("failed", why=status_words(status), again=status in _AGAIN)
        if not answer.body:
            return Verdict("absent", why="its answer is empty")
        return Verdict("failed", why=f"its answer is {kind or 'no picture'}" + _opening(answer))
    return _picture(answer.body, level, exact_size)


def _picture(data: bytes, level: Level, exact_size: bool) -> Verdict:
    try:
        width, height = tile_size(data)
        wanted = (level.tile_width, level.tile_height)
        if (width, height) != wanted and exact_size:
            return Verdict(
                "failed",
                why=f"its picture has {width} by {height} pixels, not {wanted[0]} by {wanted[1]}",
            )
        if width * wanted[1] != height * wanted[0] or not _SMALLEST <= width <= _LARGEST:
            return Verdict("failed", why=f"its picture has {width} by {height} pixels")
        pixels = decode_tile(data, width, height)
    except TileError as error:
        return Verdict("failed", why=f"its picture cannot be read: {error}", again=True)
    if pixels.mask is not None and not pixels.mask.any():
        return Verdict("blank", why="its picture is transparent")
    flat = pixels.colours.reshape(-1, 3)
    if pixels.mask is not None:
        flat = flat[pixels.mask.ravel() > 0]
    if (flat == flat[0]).all():
        return Verdict("blank", why=f"its picture has one colour, {tuple(flat[0].tolist())}")
    return Verdict("stored", data, hashlib.sha256(data).digest()[:16])


def _exception(body: bytes) -> str | None:
    if body[:256].lstrip()[:1] != b"<":
        return None
    try:
        return exception_text(parse_xml(body))
    except XmlError:
        return None


def _of_exception(said: str) -> Verdict:
    if "TileOutOfRange" in said:
        return Verdict("absent", why="it has no such tile")
    return Verdict("failed", why=f"it answers: {said}")


def _opening(answer: Answer) -> str:
    """How a text begins: servers explain themselves in HTML with status 200."""
    text = line(answer.body[:300].decode("utf-8", "replace"))
    return (
        f" ({text[:80]})" if text and answer.kind.startswith(("text/", "application/json")) else ""
    )
