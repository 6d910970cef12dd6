"""``nadir localize``: find where photos were taken."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands.common import (
    add_encoder_and_index,
    angle,
    check_output,
    encoder_of,
    heading,
    index_of,
    metres,
    near,
    positive,
    print_json,
)
from engine.commands.milvus import add_milvus, milvus_index
from engine.errors import IndexFolderError, NadirError, PhotoError

FORMATS = ("text", "json", "geojson", "kml", "gpx", "csv", "html")

if TYPE_CHECKING:
    from engine.index import Index
    from engine.index.filters import Filter
    from engine.localize import Query, Result
    from engine.photo import Photo, View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find where photos were taken. Nothing leaves this machine, unless --milvus says where to."
    )
    parser.add_argument(
        "photos", nargs="+", type=Path, metavar="PHOTO", help="photos and 360° panoramas"
    )
    add_encoder_and_index(parser)
    add_milvus(parser)
    parser.add_argument(
        "--top", type=positive, default=10, metavar="K", help="candidates wanted (default: 10)"
    )
    parser.add_argument(
        "--heading",
        type=heading,
        default="unknown",
        metavar="DEG|unknown|photo",
        help="compass direction of the photo's middle, clockwise from north; 'photo': as the file says "
        "(default: unknown, it is found)",
    )
    parser.add_argument("--fov", type=angle(1, 360), metavar="DEG", help="horizontal field of view")
    parser.add_argument(
        "--pitch", type=angle(-90, 90), metavar="DEG", help="how far the camera looked up"
    )
    parser.add_argument(
        "--roll", type=angle(-180, 180), metavar="DEG", help="how far it was turned clockwise"
    )
    parser.add_argument(
        "--area", type=Path, metavar="GEOJSON", help="only tiles in these polygons may answer"
    )
    parser.add_argument(
        "--near",
        type=near,
        metavar="LAT,LON,RADIUS",
        help="only tiles within RADIUS metres of a position may answer",
    )
    parser.add_argument(
        "--tile-extent-m",
        type=metres,
        action="append",
        metavar="E",
        help="of an index of several extents, only tiles of this one may answer; may be repeated",
    )
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="of an index of several imageries, only tiles of this one may answer; may be repeated",
    )
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write here instead of to the screen"
    )
    parser.epilog = (
        "A position south of the equator: --near=-48.87,-123.39,500. A photo whose name begins with a dash: "
        "./-name.jpg"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Locate photos. One that cannot be read does not stop the others; the exit code is 1 then."""
    from engine.files import atomic_write
    from engine.index.area import read_area
    from engine.index.filters import Filter
    from engine.localize import WRITERS, localize

    check_output(args.output, args.photos)
    encoder = encoder_of(args, photos_only=True)
    index = milvus_index(args, encoder) or index_of(args, encoder)
    asked = Filter(
        area=read_area(args.area) if args.area is not None else None,
        near=args.near,
        extents_m=_extents(args, index),
        sources=_sources(args, index),
    )
    results: list[Result] = []
    failed: list[NadirError] = []
    for path in args.photos:
        try:
            query = _query(path, args, asked)
            results.append(localize(query, encoder, index))
        except NadirError as error:
            if len(args.photos) == 1:
                raise
            failed.append(error)
    if results:
        text = WRITERS[args.format](results)
        if args.output is None:
            if args.format == "text":
                sys.stdout.write(text)
            else:
                print_json(text)
            sys.stdout.flush()
        else:
            with atomic_write(args.output) as file:
                file.write(text.encode())
            print(f"{args.output}: {len(results)} located", file=sys.stderr)
    for error in failed:
        print(f"nadir: {error}", file=sys.stderr)
    return 1 if failed else 0


def _extents(args: argparse.Namespace, index: Index) -> tuple[float, ...]:
    """The index's extents that the user means: within a hundredth.

    Raises:
        IndexFolderError: it has none like that. Between two there may be more, which the manifest does not list.
    """
    asked: list[float] = args.tile_extent_m or []
    own = index.manifest.extents_m
    found: list[float] = []
    for each in asked:
        meant = next((extent for extent in own if abs(each - extent) <= 0.01 * extent), None)
        if meant is None and (len(own) != 2 or not min(own) < each < max(own)):
            raise IndexFolderError(
                f"it has no tiles of {each:g} m",
                index.path.name,
                f"--tile-extent-m may be: {', '.join(f'{extent:g}' for extent in own)}",
            )
        found.append(each if meant is None else meant)
    return tuple(found)


def _sources(args: argparse.Namespace, index: Index) -> tuple[str, ...]:
    """The imageries that the user means.

    Raises:
        IndexFolderError: the index has none of that name.
    """
    asked: list[str] = args.source or []
    own = [Path(facts.name).stem or facts.name for facts in index.manifest.imagery]
    for each in asked:
        if each not in own:
            raise IndexFolderError(
                f"it has no imagery {each!r}",
                index.path.name,
                f"--source may be: {', '.join(own[:10])}",
            )
    return tuple(asked)


def _query(path: Path, args: argparse.Namespace, asked: Filter) -> Query:
    from engine.localize import Query
    from engine.photo import read_photo, view_of

    photo = read_photo(path)
    view = _corrected(view_of(photo.facts), args, photo)
    known = args.heading
    if known == "photo":
        known = photo.facts.heading_deg
    elif known == "unknown":
        known = None
    return Query(photo, known, view, args.top, asked)


def _corrected(view: View, args: argparse.Namespace, photo: Photo) -> View | None:
    """The view with what the user said; None where nothing was said."""
    changes: dict[str, float] = {}
    for key, value in (("fov_deg", args.fov), ("pitch_deg", args.pitch), ("roll_deg", args.roll)):
        if value is not None:
            changes[key] = value
    if view.kind == "perspective" and changes.get("fov_deg", 0.0) >= 180.0:
        raise PhotoError(
            f"an ordinary photo cannot have a field of view of {changes['fov_deg']:g}°",
            photo.name,
            "Give less than 180",
        )
    return replace(view, **changes) if changes else None
