"""Going on with a build by its folder alone: what was asked for then stands in it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import IndexFolderError

if TYPE_CHECKING:
    from engine.index import Area
    from engine.index.begun import Asked
    from engine.index.job import Settings


def finished(args: argparse.Namespace) -> bool:
    """Whether a build that is only asked to go on has come to its end before."""
    from engine.index.manifest import MANIFEST_FILE

    return args.imagery is None and (args.out / MANIFEST_FILE).exists()


def go_on(args: argparse.Namespace) -> None:
    """Have options that were not given say what was said when the build was begun.

    Those that are given stay: where they make another build, that is refused when it is compared with the one begun.

    Raises:
        IndexFolderError: nothing says what the imagery is, or an option that is given cannot be meant.
    """
    from engine.index.begun import read_asked
    from engine.index.shards import read_shard
    from engine.index.store import BUILDING, SHARD_FILE

    out: Path = args.out
    try:
        asked = read_asked(out)
    except IndexFolderError:
        if args.imagery is None:
            raise
        return  # nothing was begun yet, or by an older version: then all is given
    if args.imagery is None:
        if not asked.imagery:
            raise IndexFolderError(
                "what was begun here does not say from what", out, "Give --imagery"
            )
        args.imagery = asked.imagery
        args.cache = args.cache or (Path(asked.cache) if asked.cache else None)
    for name in ("kind", "zoom"):
        given, then = getattr(args, name), getattr(asked, name)
        if given is not None and then is not None and given != then:
            raise IndexFolderError(
                f"this build was begun with --{name} {then}, not {given}",
                out,
                "Continue with the same settings, or delete the folder and start over",
            )
    if args.encoder is None and asked.encoder:
        args.encoder = Path(asked.encoder)
    if args.area is None:
        args.area = asked.polygons()
    if args.extent_m is None and asked.extents_m:
        args.extent_m = [asked.extents_m]
    if (out / BUILDING / SHARD_FILE).is_file() and args.shard is None:
        args.shard = read_shard(out / BUILDING)
    args.no_copy = args.no_copy or not asked.embed_imagery
    for name in ("kind", "zoom", "stride_m", "attribution", "licence", "layout"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(asked, name))


def asked_by(args: argparse.Namespace, settings: Settings) -> Asked:
    """What was asked for on the command line. The demo's encoder has no path: it may lie elsewhere the next time."""
    from dataclasses import replace

    from engine.index.begun import asked_for

    return replace(
        asked_for(None, None, settings),
        imagery=args.imagery if "://" in args.imagery else _path(args.imagery),
        kind=args.kind,
        encoder=_path(args.encoder),
        extents_m=extents_of(args) or (),
        zoom=args.zoom,
        cache=_path(args.cache),
        allow=tuple(args.allow or ()),
    )


def extents_of(args: argparse.Namespace) -> tuple[float, ...] | None:
    """All that were given."""
    return tuple(e for given in args.extent_m or () for e in given) or None


def area_of(args: argparse.Namespace) -> Area | None:
    """The polygons of ``--area``, read once."""
    from engine.index.area import read_area

    if isinstance(args.area, Path):
        args.area = read_area(args.area)
    return args.area


def _path(given: Path | str | None) -> str:
    return "" if given is None else os.path.abspath(given)
