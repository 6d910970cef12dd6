"""``nadir index``: build, add to, merge, describe, verify, upload and measure indexes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands.common import Progress, print_json
from engine.commands.index_build import add_add, add_build
from engine.commands.index_measure import add_measure
from engine.commands.milvus import add_upload
from engine.errors import IndexFolderError, printable

if TYPE_CHECKING:
    from engine.index import ImageryFacts, Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_build(verbs)
    add_add(verbs)
    info = verbs.add_parser("info", help="what an index holds")
    info.add_argument("index", type=Path, metavar="INDEX")
    info.add_argument("--json", action="store_true", help="the manifest itself")
    info.set_defaults(run=run_info)
    verify = verbs.add_parser("verify", help="check every file of an index")
    verify.add_argument("index", type=Path, metavar="INDEX")
    verify.set_defaults(run=run_verify)
    merge = verbs.add_parser("merge", help="put shares of an index, or whole indexes, together")
    merge.add_argument("out", type=Path, metavar="OUT", help="NAME.index")
    merge.add_argument("indexes", type=Path, nargs="+", metavar="INDEX")
    merge.add_argument(
        "--layout", metavar="NAME", help="how descriptors are kept (default: as in the first)"
    )
    merge.set_defaults(run=run_merge)
    add_upload(verbs)
    add_measure(verbs)


def run_merge(args: argparse.Namespace) -> int:
    """Put indexes together."""
    from engine.index import is_shard, merge_indexes, merge_shards

    shares = [is_shard(path) for path in args.indexes]
    if any(shares) and not all(shares):
        odd = args.indexes[shares.index(False)]
        raise IndexFolderError("this is no share, and others are", odd, "Give shares alone")
    if all(shares) and args.layout is not None:
        raise IndexFolderError("shares have the layout that they were begun with", None)
    with Progress() as report:
        if all(shares):
            index = merge_shards(args.out, args.indexes, report)
        else:
            index = merge_indexes(args.out, args.indexes, layout=args.layout, report=report)
    with index:
        manifest = index.manifest
    for note in manifest.notes:
        print(f"note: {printable(note)}")
    print(f"{args.out}: {manifest.count:,} rows of {len(args.indexes):,} together")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print what an index says of itself."""
    from engine.index.manifest import read_manifest
    from engine.index.store import index_folder

    manifest = read_manifest(index_folder(args.index))
    if args.json:
        values = {"hash": manifest.hash, **manifest.to_dict()}
        print_json(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    else:
        print(_index_text(manifest))
    return 0


def _index_text(manifest: Manifest) -> str:
    from engine.localize import position

    box = manifest.coverage
    bytes_ = sum(facts.bytes for facts in manifest.files.values())
    lines = [
        f"{manifest.name}: {_rows_text(manifest)}",
        f"  encoder      {manifest.encoder_name} {manifest.encoder_hash[:12]}",
        f"  from         {position(box.south, box.west)}",
        f"  to           {position(box.north, box.east)}",
        f"  vectors      {manifest.dimension:,} numbers each, {manifest.layout} ({manifest.faiss_factory})",
    ]
    for facts in manifest.imagery:
        lines += _imagery_lines(facts, whose=len(manifest.imagery) > 1)
    if len(manifest.imagery) == 1:
        lines += [
            f"  attribution  {manifest.attribution or 'not stated'}",
            f"  licence      {manifest.licence or 'not stated'}",
        ]
        if manifest.terms:
            lines.append(f"  terms        {manifest.terms}")
    lines += [
        f"  size         {bytes_ / 1e6:,.1f} MB in {len(manifest.files)} files",
        f"  made by      {manifest.made_by}",
        f"  hash         {manifest.hash}",
    ]
    return "\n".join(map(printable, [*lines, *(f"  note: {note}" for note in manifest.notes)]))


def _rows_text(manifest: Manifest) -> str:
    if manifest.kind == "street":
        return f"{manifest.count:,} photos of the street"
    extents = [f"{extent:g}" for extent in manifest.extents_m]
    sizes = ", ".join(extents) if len(extents) < 5 else f"{extents[0]} to {extents[-1]}"
    what = "pictures seen from above," if manifest.pictures else "tiles"
    text = f"{manifest.count:,} {what} of {sizes} m"
    return f"{text}, {manifest.stride_m:g} m apart" if manifest.stride_m else text


def _imagery_lines(facts: ImageryFacts, *, whose: bool) -> list[str]:
    from engine.imagery.describe import metres_text

    held = "inside the index" if facts.file is not None else f"beside the index ({facts.name})"
    words = [facts.name, facts.kind]
    if facts.resolution_m:
        words.append(f"{metres_text(facts.resolution_m)} a pixel")
    lines = [f"  imagery      {', '.join(word for word in [*words, facts.crs, held] if word)}"]
    if whose:
        said = "; ".join(text for text in (facts.attribution, facts.licence, facts.terms) if text)
        lines.append(f"               {said or 'attribution and licence not stated'}")
    return lines


def run_verify(args: argparse.Namespace) -> int:
    """Check an index's checksums; exit code 1 when something is wrong."""
    from engine.index import verify_index

    with Progress() as report:
        problems = verify_index(args.index, report)
    for problem in problems:
        print(f"nadir: {printable(f'{args.index.name or args.index}: {problem}')}", file=sys.stderr)
    if not problems:
        print(f"{args.index}: every file is as it was built")
    return 1 if problems else 0
