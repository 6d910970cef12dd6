"""``nadir index``: build, describe, verify and upload indexes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands.common import Progress, add_encoder, encoder_of, metres, print_json
from engine.commands.milvus import add_upload
from engine.errors import printable

if TYPE_CHECKING:
    from engine.index import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    build = verbs.add_parser("build", help="encode the tiles of an area")
    build.add_argument("out", type=Path, metavar="OUT", help="NAME.index")
    build.add_argument(
        "--imagery",
        type=Path,
        required=True,
        metavar="SOURCE",
        help="imagery to cut tiles from, a folder of pictures that say where they lie, or a table of such",
    )
    build.add_argument(
        "--kind",
        choices=("aerial", "street"),
        help="SOURCE is a folder or table of pictures: tiles seen from above, or photos of the street "
        "(default: as the dataset says)",
    )
    add_encoder(build)
    build.add_argument(
        "--extent-m",
        type=metres,
        metavar="E",
        help="ground extent of a tile (default: the card's; of pictures, what the dataset says)",
    )
    build.add_argument(
        "--stride-m", type=metres, metavar="S", help="between tile centres (default: the card's)"
    )
    build.add_argument("--area", type=Path, metavar="GEOJSON", help="only tiles in these polygons")
    build.add_argument("--resume", action="store_true", help="go on with a build that was stopped")
    build.set_defaults(run=run_build)
    info = verbs.add_parser("info", help="what an index holds")
    info.add_argument("index", type=Path, metavar="INDEX")
    info.add_argument("--json", action="store_true", help="the manifest itself")
    info.set_defaults(run=run_info)
    verify = verbs.add_parser("verify", help="check every file of an index")
    verify.add_argument("index", type=Path, metavar="INDEX")
    verify.set_defaults(run=run_verify)
    add_upload(verbs)


def run_build(args: argparse.Namespace) -> int:
    """Build an index."""
    from engine.imagery import open_source
    from engine.imagery.pictures import PictureSource
    from engine.index import build_index
    from engine.index.area import read_area

    encoder = encoder_of(args)
    area = read_area(args.area) if args.area is not None else None
    start = time.perf_counter()
    with Progress() as report:
        imagery = open_source(args.imagery, kind=args.kind, extent_m=args.extent_m, report=report)
        pictures = isinstance(imagery, PictureSource)
        index = build_index(
            args.out,
            imagery,
            encoder,
            extent_m=None if pictures else args.extent_m,
            stride_m=args.stride_m,
            area=area,
            resume=args.resume,
            report=report,
        )
    with index:
        count, notes = index.manifest.count, index.manifest.notes
        what = "photos" if index.manifest.kind == "street" else "tiles"
    for note in notes if pictures else ():
        print(f"note: {printable(note)}")
    print(
        f"{args.out}: {count:,} {what} in {time.perf_counter() - start:.0f} s, for {encoder.name} on {encoder.device}"
    )
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

    box, imagery = manifest.coverage, manifest.imagery[0]
    bytes_ = sum(facts.bytes for facts in manifest.files.values())
    held = "inside the index" if imagery.file is not None else f"beside the index ({imagery.name})"
    if manifest.kind == "street":
        what, resolution = f"{manifest.count:,} photos of the street", ""
    else:
        sizes = " to ".join(
            f"{e:g}" for e in dict.fromkeys((manifest.extents_m[0], manifest.extents_m[-1]))
        )
        what, resolution = (
            f"{manifest.count:,} tiles of {sizes} m",
            f"{imagery.resolution_m:.2f} m a pixel, ",
        )
    if manifest.stride_m:
        what += f", {manifest.stride_m:g} m apart"
    lines = [
        f"{manifest.name}: {what}",
        f"  encoder      {manifest.encoder_name} {manifest.encoder_hash[:12]}",
        f"  from         {position(box.south, box.west)}",
        f"  to           {position(box.north, box.east)}",
        f"  vectors      {manifest.dimension:,} numbers each, {manifest.faiss_factory}",
        f"  imagery      {imagery.name}, {resolution}{held}",
        f"  attribution  {manifest.attribution or 'not stated'}",
        f"  licence      {manifest.licence or 'not stated'}",
        f"  size         {bytes_ / 1e6:,.1f} MB in {len(manifest.files)} files",
        f"  made by      {manifest.made_by}",
        f"  hash         {manifest.hash}",
    ]
    return "\n".join(map(printable, [*lines, *(f"  note: {note}" for note in manifest.notes)]))


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
