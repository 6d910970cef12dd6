"""Options and verbs for galleries in Milvus (see ``engine/index/README.md``)."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands.common import Progress
from engine.errors import IndexFolderError, printable

if TYPE_CHECKING:
    from engine.encoder import Encoder
    from engine.index import Index

TOKEN = "NADIR_MILVUS_TOKEN"
_ADDRESS = "http://HOST:19530, or a folder NAME.db for Milvus Lite"


def add_milvus(parser: argparse.ArgumentParser) -> None:
    """``--milvus`` and ``--collection`` of commands that search."""
    group = parser.add_argument_group(
        "search in a Milvus server",
        f"The photo's descriptors are sent there, nothing else. A user and password, or a key: ${TOKEN}.",
    )
    group.add_argument("--milvus", metavar="ADDRESS", help=_ADDRESS)
    group.add_argument("--collection", metavar="NAME", help="what the index was uploaded as")
    group.add_argument(
        "--imagery",
        type=Path,
        metavar="FILE",
        help="the imagery that the uploaded index was built from, for pictures of its tiles",
    )


def milvus_index(args: argparse.Namespace, encoder: Encoder) -> Index | None:
    """The index that ``--milvus`` names; None where it was not given.

    Raises:
        IndexFolderError: it cannot be searched, or the options contradict each other.
    """
    address = getattr(args, "milvus", None)
    if address is None:
        for option in ("collection", "imagery"):
            if getattr(args, option, None) is not None:
                raise IndexFolderError(
                    f"--{option} says nothing without --milvus", None, "Give --milvus ADDRESS too"
                )
        return None
    if args.collection is None:
        raise IndexFolderError(
            "--milvus needs the name of a collection", None, "Give --collection NAME too"
        )
    if args.index is not None:
        raise IndexFolderError("--index and --milvus exclude each other", None, "Give one of them")
    from engine.index.milvus_index import MilvusIndex

    return MilvusIndex.connect(
        address, args.collection, encoder, imagery=args.imagery, token=token()
    )


def token() -> str:
    """What the server is told about who asks; never on the command line, where others may read it."""
    return os.environ.get(TOKEN, "")


def add_upload(verbs: Any) -> None:
    """``nadir index upload``."""
    upload = verbs.add_parser(
        "upload",
        help="put an index into a Milvus server",
        description="Put the descriptors and positions of an index into a Milvus server, for galleries that outgrow "
        "one machine. The imagery stays here. Asked again, an upload that was stopped goes on.",
    )
    upload.add_argument("index", type=Path, metavar="INDEX")
    upload.add_argument("--milvus", required=True, metavar="ADDRESS", help=_ADDRESS)
    upload.add_argument(
        "--collection", required=True, metavar="NAME", help="what it is called there"
    )
    upload.add_argument(
        "--kind",
        choices=("FLAT", "HNSW", "IVF_SQ8"),
        default="FLAT",
        help="how the server searches: all of it, or faster and not quite exactly (default: FLAT)",
    )
    upload.set_defaults(run=run_upload)


def run_upload(args: argparse.Namespace) -> int:
    """Upload an index."""
    from engine.index import Index
    from engine.index.milvus_upload import upload

    start = time.perf_counter()
    with Index.open(args.index) as index, Progress() as report:
        store = upload(
            index, args.milvus, args.collection, kind=args.kind, token=token(), report=report
        )
        store.close()
        count = index.manifest.count
    print(
        printable(
            f"{args.collection}: {count:,} tiles in {time.perf_counter() - start:.0f} s, kept as {store.factory}"
        )
    )
    return 0
