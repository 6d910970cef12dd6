"""What the commands share: options, opening what they name, a line of progress."""

from __future__ import annotations

import argparse
import io
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EncoderError, IndexFolderError, NadirError
from engine.progress import Report
from engine.shipped import shipped_encoder, shipped_index

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index


def print_json(text: str) -> None:
    """Write JSON to standard output: always UTF-8 (RFC 8259), whatever the terminal speaks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(text)


def check_output(path: Path | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse at once, not after the work, a file that cannot be written or must not be.

    Raises:
        NadirError: it is a folder or one of ``inputs``, or its folder is missing or may not be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise NadirError("this is a folder", path, "Give the name of a file to write")
    if any(path.exists() and other.exists() and path.samefile(other) for other in inputs):
        raise NadirError(
            "this file was given to be read, so it is not written over", path, "Give another name"
        )
    folder = path.resolve().parent
    if not folder.is_dir():
        raise NadirError(f"there is no folder {folder}", path, "Make it first, or choose another")
    if not path.exists() and not os.access(folder, os.W_OK):
        raise NadirError(f"the folder {folder} cannot be written to", path, "Choose another")


class Progress:
    """One line on the terminal that counts; nothing when standard error is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        self._start = time.perf_counter()

    def __enter__(self) -> Report:
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _report(self, done: int, total: int, text: str) -> None:
        now = time.perf_counter()
        if not self._live or now - self._shown < 0.1:
            return
        self._shown = now
        share = f"{100 * done // total:3d} %  " if total else ""
        left = ""
        if total and done > total * 0.02 and now - self._start > 2:
            left = f"  about {math.ceil((now - self._start) * (total - done) / done)} s left"
        line = f"{share}{text}{left}"
        sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def add_encoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="NAME.encoder or a zip of it (default: the demo's)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=0,
        metavar="N",
        help="for encoding (default: all cores)",
    )
    parser.add_argument("--cpu", action="store_true", help="do not try the GPU")


def add_encoder_and_index(
    parser: argparse.ArgumentParser, help_text: str = "NAME.index (default: the demo's)"
) -> None:
    add_encoder(parser)
    parser.add_argument("--index", type=Path, metavar="DIR", help=help_text)


def encoder_of(args: argparse.Namespace, *, photos_only: bool = False) -> Encoder:
    from engine.encoder import open_encoder

    path = args.encoder if args.encoder is not None else shipped_encoder()
    if path is None:
        raise EncoderError("this copy of Nadir ships no encoder", None, "Give one with --encoder")
    # More threads than cores only take turns, and a hundred thousand would never start.
    threads = min(args.threads, os.cpu_count() or 1)
    return open_encoder(path, threads=threads, gpu=not args.cpu, photos_only=photos_only)


def index_of(args: argparse.Namespace, encoder: Encoder) -> Index:
    from engine.index import Index

    path = args.index if args.index is not None else shipped_index()
    if path is None:
        raise IndexFolderError("this copy of Nadir ships no index", None, "Give one with --index")
    return Index.open(path, encoder)


def heading(text: str) -> float | str:
    if text in ("unknown", "photo"):
        return text
    return angle(-360, 720)(text) % 360.0


def angle(low: float, high: float):
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low:g} to {high:g}")
        return value

    return parse


def near(text: str) -> tuple[float, float, float]:
    """``LAT,LON,RADIUS``: degrees and metres."""
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no LAT,LON,RADIUS")
    lat, lon = angle(-90, 90)(parts[0]), angle(-180, 180)(parts[1])
    return lat, lon, angle(0, 21_000_000)(parts[2])


def metres(text: str) -> float:
    return angle(0.1, 100_000)(text)


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def positive(text: str) -> int:
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
