"""What the commands share: options, opening what they name, a line of progress."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EncoderError, IndexFolderError
from engine.progress import Report
from engine.shipped import shipped_encoder, shipped_index

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index


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


def encoder_of(args: argparse.Namespace) -> Encoder:
    from engine.encoder import open_encoder

    path = args.encoder if args.encoder is not None else shipped_encoder()
    if path is None:
        raise EncoderError("this copy of Nadir ships no encoder", None, "Give one with --encoder")
    return open_encoder(path, threads=args.threads, gpu=not args.cpu)


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
