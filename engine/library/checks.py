"""Checking an encoder or an index to the last byte."""

from __future__ import annotations

from pathlib import Path

from engine.encoder import open_encoder
from engine.errors import NadirError
from engine.index import verify_index
from engine.library.items import kind_of
from engine.progress import Report, silent


def check_item(path: Path, report: Report = silent) -> tuple[str, ...]:
    """What is wrong with an encoder or an index, each a sentence or two; empty: every file is as it was made.

    An encoder's graphs are opened too: one that cannot be run is wrong, however whole its files are.
    """
    if kind_of(path) == "index":
        return tuple(str(problem) for problem in verify_index(path, report))
    report(0, 0, f"Checking {path.name}")
    try:
        open_encoder(path, threads=1, gpu=False)
    except NadirError as error:
        return (str(error),)
    return ()
